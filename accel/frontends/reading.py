"""Which operations a float PyTorch model does, one after the other.

A model is exported as a graph of PyTorch's own operators (``torch.export``), so that it does not
matter how its forward was written: modules or functions, keywords or defaults, in place or not, in
subclasses, with sizes that it computes. What depends on no image, such as a weight that a forward
makes of another one, is computed here. Each operation becomes the plain module that does it.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, NoReturn, cast

import torch
from torch import fx, nn
from torch.ao.nn.quantized import FloatFunctional, FXFloatFunctional
from torch.export import ExportedProgram

from accel.errors import AccelError
from accel.process_wide import PYTORCH
from accel.runtimes.qnnpack import FLOAT, quiet

_NUM_IMAGES = 3
"""Images of the export: 0 and 1 are special to it, and who writes a batch size writes another."""

_SHAPE = "input_shape=(3, 32, 32)"

_HOW = "expected a torch.nn.Module, or an exported program"


IMAGES = -1
"""In the place of a call's number: what the model is given."""


class Sum(nn.Module):
    """Adds two tensors of one shape."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


class Joined(nn.Module):
    """Puts tensors behind one another, channel after channel."""

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return torch.cat(tensors, 1)


class Function(nn.Module):
    """A function of one value: of :data:`accel.operations.table.FUNCTIONS`."""

    def __init__(self, function: str, arguments: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.function, self.arguments = function, arguments

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return FLOAT[self.function](x, *self.arguments)


@dataclass(frozen=True)
class _Value:
    """What a node of the graph holds: the result of a call, or a view of it."""

    made_by: int
    """The call's number, or :data:`IMAGES`."""
    shape: tuple[int, ...]
    """Of the images, or of what that call yields."""
    odd: Call | None = None
    """A view that has to be undone."""
    end: tuple[fx.Node, ...] = ()
    """What else was done to it."""


@dataclass
class Call:
    """One operation of a model's forward, as the module that does it, if there is one."""

    label: str
    """What it is called in a message."""
    name: str
    """By the module that it belongs to, or whose weight it takes."""
    module: nn.Module | None
    why: str = ""
    """What a message says of it, where there is no module."""
    reads: tuple[int, ...] = ()
    """The numbers of the calls whose results it takes; :data:`IMAGES` for the images."""

    def refuse(self, why: str) -> NoReturn:
        raise AccelError(f"{self.label} {why}")


@dataclass
class Reading:
    """What a model's forward does."""

    calls: list[Call]
    batch: int | None
    """How many images it takes at a time, if it was exported for so many."""
    end: Callable[[torch.Tensor], torch.Tensor] = field(default=lambda y: y)
    """What the model does after the last call, and the accelerator does not: softmax, views."""


# What is a model


def as_model(model: Any) -> nn.Module | ExportedProgram:
    """The float model itself, a copy of it in evaluation mode on the CPU, without what others have
    wrapped around it.

    Raises :class:`AccelError` if it is none, or is quantized already.
    """
    if isinstance(model, ExportedProgram):
        return model
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise AccelError(f"{model.__name__} is a class: {_HOW}, such as {model.__name__}(...)")
    if isinstance(model, dict):
        raise AccelError(
            f"{_a(model)} is no model: {_HOW}; load a state_dict into the model with "
            f"model.load_state_dict(...), and give that"
        )
    if isinstance(model, str | PurePath):
        raise AccelError(
            f"'{model}' is a path: {_HOW}; load the file first, with torch.load or "
            f"torch.export.load"
        )
    if isinstance(model, list | tuple):
        raise AccelError(
            f"a {type(model).__name__} is no model: {_HOW}; of layers in a row make one with "
            f"torch.nn.Sequential(*layers)"
        )
    if not isinstance(model, nn.Module):
        raise AccelError(f"{_a(model)} is no model: {_HOW}")
    model = _unwrapped(model)
    _check_kind(model)
    try:
        # A tensor that was computed, such as a pruned weight, is not copied by itself.
        computed = {
            id(value): value.detach().clone()
            for module in model.modules()
            for value in vars(module).values()
            if isinstance(value, torch.Tensor) and not value.is_leaf
        }
        copied: nn.Module = copy.deepcopy(model, computed)
        # An exported program's module has no such switch, and is what it was exported as.
        if not _is_exported(copied):
            copied = _without_observers(copied.eval())
        return copied.cpu().float()
    except Exception as e:
        raise AccelError(f"{type(model).__name__} cannot be copied ({first_line(e)})") from e


def _a(thing: Any) -> str:
    if thing is None:
        return "None"
    kind = type(thing).__name__
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"


def _unwrapped(model: nn.Module) -> nn.Module:
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            # What torch.compile returns
            model = cast(nn.Module, model._orig_mod)
        else:
            return model


def is_quantized(module: nn.Module) -> bool:
    """Whether it is what PyTorch makes of a float module when it converts a model."""
    # The float modules that stand for functions live beside the quantized ones.
    return type(module).__module__.startswith(
        ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")
    ) and not isinstance(module, FloatFunctional | FXFloatFunctional)


def _check_kind(model: nn.Module) -> None:
    kind = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule):
        raise AccelError(
            f"{kind} is TorchScript, which is not supported: give the model that it was made of"
        )
    for name, module in model.named_modules():
        origin = type(module).__module__
        where = f"module '{name}' ({type(module).__name__})" if name else kind
        if origin.startswith(("torch.ao.nn.qat", "torch.ao.nn.intrinsic.qat")) or isinstance(
            module, torch.ao.quantization.FakeQuantizeBase
        ):
            raise AccelError(
                f"{where} is prepared for quantization-aware training: accel.load(model, {_SHAPE}) "
                f"reads what convert_fx or convert makes of it; or give the float model"
            )
        if is_quantized(module):
            how = "" if ".dynamic" in origin else f"accel.load(model, {_SHAPE}) reads it, or "
            raise AccelError(f"{where} is quantized already: {how}give the float model")
    if isinstance(model, fx.GraphModule):
        for node in model.graph.nodes:
            if "quantize" in node.name and node.op.startswith("call"):
                raise AccelError(
                    f"{kind} is quantized already (operation '{node.name}'): "
                    f"accel.load(model, {_SHAPE}) reads it, or give the float model"
                )
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(value):
            raise AccelError(
                f"{kind} has no values yet for {name}: run the model on an image first"
            )
        if value.is_meta:
            raise AccelError(
                f"{kind} is on the meta device, so {name} has no values: load it to the CPU"
            )


def _is_exported(model: nn.Module) -> bool:
    return isinstance(model, fx.GraphModule) and any(
        node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)
        for node in model.graph.nodes
    )


def _without_observers(model: nn.Module) -> nn.Module:
    """Observers of a model that was prepared for quantization let everything pass."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.ao.quantization.ObserverBase):
                setattr(module, name, nn.Identity())
    return model


def takes_sequences(model: nn.Module | ExportedProgram) -> bool:
    """Whether it takes (N, channels, length): it has convolutions in one dimension only."""
    if isinstance(model, ExportedProgram):
        found = {_operator(n) for n in model.graph.nodes if n.op == "call_function"}
        return "conv1d" in found and "conv2d" not in found
    kinds = [type(m) for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)]
    return bool(kinds) and all(issubclass(kind, nn.Conv1d) for kind in kinds)


# The graph of its operators


def read(model: nn.Module | ExportedProgram, images: torch.Tensor) -> Reading:
    """What ``model`` does with ``images``, float32 (N, ...).

    Raises :class:`AccelError` if its operations depend on an image's values, or it takes or yields
    something else than one tensor.
    """
    if isinstance(model, ExportedProgram):
        return _Reader(model, None).reading()
    batch = _exported_batch(model) if _is_exported(model) else None
    example = images[torch.arange(batch or _NUM_IMAGES) % len(images)]
    kind = type(model).__name__
    with _tracing():
        try:
            model(example)
        except Exception as e:
            raise AccelError(
                f"the model does not take calibration images of shape {tuple(images.shape[1:])} "
                f"({first_line(e)}){_channels_last(images)}"
            ) from e
        try:
            program = torch.export.export(model, (example,), strict=False)
        except Exception as e:
            raise AccelError(
                f"the forward of {kind} cannot be traced ({first_line(e)}); it must do the same "
                f"with every image"
            ) from e
    return _Reader(program, model, batch).reading()


def _channels_last(images: torch.Tensor) -> str:
    if images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        return "; channels come first: images.permute(0, 3, 1, 2) puts them there"
    return ""


def _exported_batch(model: nn.Module) -> int | None:
    assert isinstance(model, fx.GraphModule)
    for node in model.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and isinstance(value, torch.Tensor) and value.ndim:
            return value.shape[0] if isinstance(value.shape[0], int) else None
    return None


@contextmanager
def _tracing() -> Iterator[None]:
    """PyTorch's tracer to ourselves, and quiet: what it logs of a failure is in the error too."""
    loggers = [logging.getLogger(f"torch.{name}") for name in ("fx", "_export", "_dynamo")]
    loggers.append(logging.getLogger("torch.fx.experimental.symbolic_shapes"))
    with PYTORCH, quiet(), torch.no_grad(), torch.device("cpu"):
        # What a model warns of, it warns its user of without us.
        warnings.simplefilter("ignore")
        before = [logger.disabled for logger in loggers]
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled


_SAME = {
    "alias", "clone", "contiguous", "detach", "detach_", "lift_fresh_copy", "_to_copy", "to",
    "positive",
}  # fmt: skip
"""Operators that change no value, if the type stays."""

_VIEWS = {
    "view", "reshape", "flatten", "squeeze", "squeeze_", "unsqueeze", "unsqueeze_", "_unsafe_view",
    "unflatten", "permute", "transpose", "view_as", "reshape_as",
}  # fmt: skip

_SUMS = ("add", "add_")

_JOINS = ("cat", "concat", "concatenate")

_QUANTIZED = ("quantize", "dequantize", "fake_quant")


class _Reader:
    """Goes through an exported graph; ``model`` is what it was exported from, if that is known."""

    def __init__(
        self, program: ExportedProgram, model: nn.Module | None, batch: int | None = None
    ) -> None:
        self._graph = program.graph
        self._kind = "the exported program" if model is None else type(model).__name__
        self._model = model
        self._batch = batch
        self._constants: dict[fx.Node, Any] = {}
        self._sources: dict[fx.Node, str] = {}
        self._calls: list[Call] = []
        self._names: set[str] = set()
        self._values: dict[fx.Node, _Value] = {}
        # Results of calls that were changed in place
        self._overwritten: set[int] = set()
        signature = program.graph_signature
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        lifted = signature.inputs_to_lifted_tensor_constants
        for node in self._graph.nodes:
            if node.op != "placeholder":
                continue
            if node.name in names:
                name = names[node.name]
                value = program.state_dict.get(name, program.constants.get(name))
                self._constants[node], self._sources[node] = value, name
            elif node.name in lifted:
                self._constants[node] = program.constants[lifted[node.name]]
            elif not isinstance(node.meta.get("val"), torch.Tensor):
                # An argument that has a default
                self._constants[node] = node.meta.get("val")
            else:
                self._take_images(node)
        if not self._values:
            raise AccelError(f"{self._kind} takes no images: its forward must take one tensor")

    def _take_images(self, node: fx.Node) -> None:
        for other in self._values:
            raise AccelError(
                f"{self._kind} takes several tensors, {other.name} and {node.name}, but only "
                f"the images are there to be given"
            )
        shape = node.meta["val"].shape
        if self._model is None:
            self._batch = shape[0] if isinstance(shape[0], int) else None
        self._values[node] = _Value(IMAGES, tuple(shape))

    def reading(self) -> Reading:
        used = self._used()
        for node in self._graph.nodes:
            if node.op == "call_function" and node in used:
                self._visit(node)
        end = self._output().end

        def finish(y: torch.Tensor) -> torch.Tensor:
            for node in end:
                y = self._run(node, y)
            return y

        return Reading(self._calls, self._batch, finish)

    def _used(self) -> set[fx.Node]:
        """The nodes that the output depends on: checks and sizes have no other effect."""
        used: set[fx.Node] = set()
        waiting = [node for node in self._graph.nodes if node.op == "output"]
        while waiting:
            node = waiting.pop()
            if node not in used:
                used.add(node)
                waiting.extend(node.all_input_nodes)
        # In place: what comes before it is what it works on, which an exported graph says too.
        return used

    def _visit(self, node: fx.Node) -> None:
        inputs = node.all_input_nodes
        if all(n in self._constants for n in inputs):
            arguments = fx.map_arg((node.args, node.kwargs), self._constants.__getitem__)
            with torch.no_grad():
                self._constants[node] = _function(node)(*arguments[0], **arguments[1])
            source = next((self._sources[n] for n in inputs if n in self._sources), None)
            if source:
                self._sources[node] = source
            return
        op = _operator(node)
        call = Call(self._label(node, op), self._name(node), None)
        of_images = [n for n in inputs if n not in self._constants]
        unknown = any(n not in self._values for n in of_images)
        if unknown or (len(of_images) > 1 and op not in (*_SUMS, *_JOINS)):
            call.refuse("reads not only what comes before it, which is not supported")
        values = [self._values[n] for n in of_images]
        if any(value.made_by in self._overwritten for value in values):
            call.refuse("reads what was changed in place since, which is not supported")
        value = values[0]
        if op in _SAME and _dtype(node) == torch.float32:
            self._values[node] = value
            return
        if op in _VIEWS and self._keeps_order(node, op):
            self._view(node, call, value)
            return
        for read, n in zip(values, of_images, strict=True):
            if read.odd is not None and tuple(n.meta["val"].shape) != read.shape:
                read.odd.refuse("must flatten all dimensions but the first")
            self._no_end(read)
        if op in ("softmax", "log_softmax", "_softmax", "_log_softmax") and self._is_by_class(
            node, value
        ):
            self._values[node] = replace(value, odd=None, end=(*value.end, node))
            return
        if op in _SUMS:
            call.module, call.why, of_images = self._sum(node)
        elif op in _JOINS:
            call.module, call.why, of_images = self._join(node)
        else:
            call.module, call.why = self._module(node, op)
        call.reads = tuple(self._values[n].made_by for n in of_images)
        self._calls.append(call)
        if op == "mean" and call.module is not None and not self._arguments(node)["keepdim"]:
            flat = Call(call.label, call.name, nn.Flatten(), reads=(len(self._calls) - 1,))
            self._calls.append(flat)
        result = node.meta["val"]
        shape = tuple(result.shape) if isinstance(result, torch.Tensor) else ()
        self._values[node] = _Value(len(self._calls) - 1, shape)
        if op.endswith("_"):
            # Whoever reads it from now on, by whatever name, reads the result.
            self._overwritten.add(value.made_by)
            self._values[of_images[0]] = self._values[node]

    def _sum(self, node: fx.Node) -> tuple[nn.Module | None, str, list[fx.Node]]:
        """The sum of two tensors, and both."""
        a = self._arguments(node)
        both = [n for n in (a["self"], a["other"]) if isinstance(n, fx.Node)]
        if len(both) != 2:
            return (
                None,
                "adds a constant, but only tensors can be added that follow from images",
                both,
            )
        if a["alpha"] != 1:
            return None, f"adds with alpha = {a['alpha']}, but only 1 is supported", both
        first, second = (tuple(n.meta["val"].shape[1:]) for n in both)
        if first != second:
            return (
                None,
                f"adds tensors of shapes {first} and {second}, which must be the same",
                both,
            )
        return Sum(), "", both

    def _join(self, node: fx.Node) -> tuple[nn.Module | None, str, list[fx.Node]]:
        """Tensors behind one another, and all of them."""
        a = self._arguments(node)
        parts = [n for n in a["tensors"] if isinstance(n, fx.Node)]
        if len(parts) != len(a["tensors"]):
            return None, "joins a constant, but only tensors that follow from images can be", parts
        ndim = node.meta["val"].ndim
        if a["dim"] % ndim != 1:
            return None, f"joins along dimension {a['dim']}, but only along 1, the channels", parts
        return (Joined() if len(parts) > 1 else nn.Identity()), "", parts

    def _no_end(self, value: _Value) -> None:
        ends = [n for n in value.end if _operator(n) not in _VIEWS]
        if ends:
            label = self._label(ends[0], _operator(ends[0]))
            raise AccelError(f"{label} is only supported as the last operation, not before others")

    def _is_by_class(self, node: fx.Node, value: _Value) -> bool:
        dim = self._arguments(node).get("dim")
        return isinstance(dim, int) and dim % len(value.shape) == 1

    def _keeps_order(self, node: fx.Node, op: str) -> bool:
        """Whether a view only gives the same row of numbers another shape."""
        if op not in ("permute", "transpose"):
            return True
        shape = node.all_input_nodes[0].meta["val"].shape
        arguments, dims = self._arguments(node), list(range(len(shape)))
        if op == "permute":
            order = [d % len(shape) for d in arguments["dims"]]
        else:
            a, b = arguments.get("dim0"), arguments.get("dim1")
            if not isinstance(a, int) or not isinstance(b, int):
                return False
            order = list(dims)
            order[a], order[b] = order[b], order[a]
        moved = [d for d in order if shape[d] != 1]
        return moved == sorted(moved)

    def _view(self, node: fx.Node, call: Call, value: _Value) -> None:
        shape = tuple(node.meta["val"].shape)
        if shape == value.shape:
            self._values[node] = replace(value, odd=None, end=(*value.end, node))
        elif len(value.shape) > 2 and shape == (value.shape[0], _product(value.shape[1:])):
            call.module, call.reads = nn.Flatten(), (value.made_by,)
            self._calls.append(call)
            self._values[node] = _Value(len(self._calls) - 1, shape, end=value.end)
        else:
            self._values[node] = replace(value, odd=call, end=(*value.end, node))

    def _output(self) -> _Value:
        output = next(node for node in self._graph.nodes if node.op == "output")
        found = [n for n in _flat(output.args) if isinstance(n, fx.Node)]
        if len(found) != 1:
            raise AccelError(
                f"{self._kind} returns {len(found)} tensors, but must return one: the logits"
            )
        value = self._values.get(found[0])
        if value is None or value.made_by != len(self._calls) - 1:
            raise AccelError(f"{self._kind} returns something else than what its last layer yields")
        if value.odd is not None:
            shape = tuple(found[0].meta["val"].shape)
            if not shape or shape[0] != value.shape[0]:
                value.odd.refuse("must flatten all dimensions but the first")
        return value

    # Names and arguments

    def _name(self, node: fx.Node) -> str:
        """The module whose weight it takes, else the one that it is called in."""
        source = next((self._sources[n] for n in node.all_input_nodes if n in self._sources), None)
        if source is None:
            name = _innermost(node)[0] or node.name
        else:
            name = source.removesuffix(".original0").removesuffix(".original1")
            name = name.replace(".parametrizations.", ".")
            name = name.rpartition(".")[0] or node.name
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}.{number}"
        if _operator(node) in (
            *_SUMS,
            *_JOINS,
            "conv1d",
            "conv2d",
            "convolution",
            "linear",
            "matmul",
            "addmm",
        ):
            self._names.add(unique)
        return unique

    def _label(self, node: fx.Node, op: str) -> str:
        path, kind = _innermost(node)
        plain = kind.startswith("torch.nn.modules.") and ".container." not in kind
        if self._model is not None and path:
            try:
                plain = next(self._model.get_submodule(path).children(), None) is None
            except AttributeError:
                plain = False
        name = kind.rpartition(".")[2] if kind else ""
        # A bare layer is its own root.
        if plain and (path or kind.startswith("torch.nn.modules.")):
            of_module = f"module '{path or '0'}' ({name})"
            # What a hook does is not the layer.
            return of_module if op not in ("mul", "add", "sub", "div") else f"'{op}' in {of_module}"
        where = f"the forward of {name or self._kind}"
        return f"operation '{op}' in {where}"

    def _arguments(self, node: fx.Node) -> dict[str, Any]:
        """By the names of the operator's schema, with its defaults; constants in place of nodes."""
        schema = node.target._schema.arguments  # type: ignore[union-attr]
        found = {a.name: a.default_value for a in schema if a.has_default_value()}
        found |= {a.name: value for a, value in zip(schema, node.args, strict=False)}
        found |= dict(node.kwargs)
        return {
            name: fx.map_arg(value, lambda n: self._constants.get(n, n))
            for name, value in found.items()
        }

    def _run(self, node: fx.Node, y: torch.Tensor) -> torch.Tensor:
        def value(n: fx.Node) -> Any:
            return self._constants.get(n, y)

        if _operator(node) in _VIEWS:
            shape = node.meta["val"].shape[1:]
            return y.reshape(len(y), *shape)
        args, kwargs = fx.map_arg((node.args, node.kwargs), value)
        result: torch.Tensor = _function(node)(*args, **kwargs)
        return result

    # Modules

    def _module(self, node: fx.Node, op: str) -> tuple[nn.Module | None, str]:
        a = self._arguments(node) if isinstance(node.target, torch._ops.OpOverload) else {}
        if any(isinstance(value, fx.Node) for key, value in a.items() if key in _WEIGHTS):
            return None, "has weights that depend on the image, which is not supported"
        for name in _QUANTIZED:
            if name in op:
                return None, "quantizes, but the float model is expected"
        shape = getattr(node.all_input_nodes[0].meta["val"], "shape", torch.Size())
        if op in OF_SEQUENCES:
            # A sequence is a map of one row.
            op, a, shape = op.replace("1d", "2d"), of_maps(a), _with_row(shape)
        match op:
            case "conv2d" | "convolution" if not a.get("transposed", False):
                return _conv2d(a)
            case "linear":
                return _linear(a["weight"], a["bias"]), ""
            case "matmul" | "mm" if isinstance(a.get("other", a.get("mat2")), torch.Tensor):
                weight = cast(torch.Tensor, a.get("other", a.get("mat2")))
                return (_linear(weight.t(), None), "") if weight.ndim == 2 else (None, "")
            case "addmm" if isinstance(a["mat2"], torch.Tensor) and a["beta"] == a["alpha"] == 1:
                return _linear(a["mat2"].t(), a["self"]), ""
            case "batch_norm" | "_native_batch_norm_legit_no_training":
                return _batch_norm(a, node.meta["val"])
            case "relu" | "relu_":
                return nn.ReLU(), ""
            case "clamp" | "clamp_" | "clamp_min" | "clamp_min_" | "hardtanh" | "hardtanh_":
                return _clamp(a), ""
            case "relu6" | "relu6_":
                return nn.ReLU6(), ""
            case "max_pool2d":
                return _max_pool2d(a, shape), ""
            case "pad" | "constant_pad_nd":
                return _pad(a, len(shape))
            case "max_pool2d_with_indices":
                return None, "must not return indices"
            case "avg_pool2d":
                return nn.AvgPool2d(
                    a["kernel_size"], a["stride"] or None, a["padding"], a["ceil_mode"],
                    a["count_include_pad"], a["divisor_override"],
                ), ""  # fmt: skip
            case "adaptive_avg_pool2d":
                return _adaptive_avg_pool2d(a, shape), ""
            case "mean":
                return _mean(a, len(shape))
            case "dropout" | "dropout_" | "feature_dropout" | "feature_dropout_":
                if not a["train"] or a["p"] == 0:
                    return nn.Identity(), ""
                return None, (
                    "is active in evaluation mode too: write F.dropout(x, training=self.training) "
                    "or nn.Dropout"
                )
            case "elu" | "elu_" | "selu" | "selu_":
                return _elu(op.rstrip("_"), a)
            case "leaky_relu" | "leaky_relu_":
                return Function("leaky_relu", (float(a["negative_slope"]),)), ""
            case "softplus":
                return Function("softplus", (float(a["beta"]), float(a["threshold"]))), ""
            case "gelu" | "gelu_":
                return Function("gelu_tanh" if a["approximate"] == "tanh" else "gelu"), ""
            case _ if op.rstrip("_") in _FUNCTIONS:
                return Function(op.rstrip("_")), ""
            case "argmax" | "softmax":
                return None, (
                    "is not supported; leave it out where it is the last operation: the class that "
                    "wins is the same without it"
                )
        return None, ""


OF_SEQUENCES = {"conv1d", "max_pool1d", "avg_pool1d", "adaptive_avg_pool1d"}
"""Operators of which there is one for maps, called so but for the number."""


def of_maps(a: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an operator of sequences as those of the one of maps."""
    found = dict(a)
    for name, of_rows in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("output_size", 1),
                          ("padding", 0)):  # fmt: skip
        value = a.get(name)
        if isinstance(value, int) or (isinstance(value, list | tuple) and value):
            found[name] = (of_rows, value if isinstance(value, int) else value[0])
    if isinstance(a.get("weight"), torch.Tensor):
        found["weight"] = a["weight"].unsqueeze(2)
    return found | {"divisor_override": None} if "count_include_pad" in a else found


def _with_row(shape: torch.Size) -> torch.Size:
    """Of a map of one row, for a sequence's (N, channels, length)."""
    return torch.Size([*shape[:2], 1, *shape[2:]])


_FUNCTIONS = ("sigmoid", "tanh", "hardsigmoid", "hardswish", "silu", "mish")
"""Operators without arguments that are functions of one value."""


def _elu(op: str, a: dict[str, Any]) -> tuple[nn.Module | None, str]:
    if op == "selu":
        return Function("selu"), ""
    if a["scale"] != 1 or a["input_scale"] != 1:
        return None, "has scales of its own, which is not supported"
    return Function("elu", (float(a["alpha"]),)), ""


_WEIGHTS = ("weight", "bias", "running_mean", "running_var", "mean", "var")


def _conv2d(a: dict[str, Any]) -> tuple[nn.Module | None, str]:
    weight, bias, groups = a["weight"], a["bias"], a["groups"]
    if weight.ndim != 4:
        return None, "is not supported: only convolutions in two dimensions are"
    padding = a["padding"]
    kernel = tuple(weight.shape[2:])
    dilation = pair(a["dilation"])
    if isinstance(padding, str):
        needed = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if padding == "valid":
            padding = (0, 0)
        elif all(n % 2 == 0 for n in needed):
            padding = tuple(n // 2 for n in needed)
    module = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        kernel,
        stride=pair(a["stride"]),
        padding=padding if isinstance(padding, str) else pair(padding),
        dilation=dilation,
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    _set(module, weight=weight, bias=bias)
    return module, ""


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module:
    outputs, inputs = weight.shape
    module = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    _set(module, weight=weight, bias=None if bias is None else bias.expand(outputs))
    return module


def _batch_norm(a: dict[str, Any], y: torch.Tensor) -> tuple[nn.Module | None, str]:
    if a.get("training"):
        if a["running_mean"] is None:
            return None, "must directly follow a convolution or linear layer and have statistics"
        return None, "is in training mode: call model.eval() before it is exported"
    kind: Any = nn.BatchNorm1d if y.ndim == 2 else nn.BatchNorm2d
    module: nn.Module = kind(len(a["running_mean"]), eps=a["eps"], affine=False, device="meta")
    module.running_mean, module.running_var = a["running_mean"], a["running_var"]
    module.register_buffer("num_batches_tracked", None)
    ones = torch.ones(len(a["running_mean"]), dtype=torch.float32, device="cpu")
    _set(
        module,
        weight=ones if a["weight"] is None else a["weight"],
        bias=0 * ones if a["bias"] is None else a["bias"],
    )
    return module, ""


def _pad(a: dict[str, Any], ndim: int) -> tuple[nn.Module | None, str]:
    mode, value = a.get("mode", "constant"), a.get("value") or 0
    if mode != "constant" or value != 0:
        of = f"by mode '{mode}'" if mode != "constant" else f"with {value:g}"
        return None, f"pads {of}, but only zeros are supported"
    sides = (*a["pad"], 0, 0) if ndim == 3 and len(a["pad"]) == 2 else tuple(a["pad"])
    if len(sides) != 4 or ndim == 2:
        return None, "pads other dimensions than height and width, which is not supported"
    return nn.ZeroPad2d(sides), ""


def _clamp(a: dict[str, Any]) -> nn.Module | None:
    low, high = a.get("min", a.get("min_val")), a.get("max", a.get("max_val"))
    if any(isinstance(bound, torch.Tensor | fx.Node) for bound in (low, high)) or low is None:
        return None
    if low == 0 and (high is None or high == math.inf):
        return nn.ReLU()
    return None if high is None else nn.Hardtanh(float(low), float(high))


def _max_pool2d(a: dict[str, Any], shape: torch.Size) -> nn.Module:
    kernel, padding, dilation = (pair(a[n]) for n in ("kernel_size", "padding", "dilation"))
    stride = pair(a["stride"] or kernel)
    # Where windows fill the map, it is the same whether a size is rounded up or down.
    left_over = any(
        (size + 2 * p - d * (k - 1) - 1) % s
        for size, k, s, p, d in zip(shape[-2:], kernel, stride, padding, dilation, strict=True)
    )
    ceil_mode = bool(a["ceil_mode"]) and left_over
    return nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)


def _adaptive_avg_pool2d(a: dict[str, Any], shape: torch.Size) -> nn.Module:
    """Where the map divides into so many windows, they are those of an average pool."""
    size, wanted = tuple(shape[-2:]), tuple(a["output_size"])
    if size == wanted:
        return nn.Identity()
    if wanted != (1, 1) and all(n % m == 0 for n, m in zip(size, wanted, strict=True)):
        return nn.AvgPool2d((size[0] // wanted[0], size[1] // wanted[1]))
    return nn.AdaptiveAvgPool2d(wanted)


def _mean(a: dict[str, Any], ndim: int) -> tuple[nn.Module | None, str]:
    if sorted(d % ndim for d in a.get("dim") or ()) != list(range(2, ndim)) or ndim == 2:
        return None, "is a mean over something else than rows and columns, which is not supported"
    return nn.AdaptiveAvgPool2d(1), ""


def _set(module: nn.Module, **values: torch.Tensor | None) -> None:
    """Give it these parameters, and put it into evaluation mode."""
    module.eval()
    for name, value in values.items():
        held = None if value is None else value.detach().cpu().float().contiguous()
        module.register_parameter(
            name, None if held is None else nn.Parameter(held, requires_grad=False)
        )


def pair(value: Any) -> tuple[int, int]:
    """Of rows and columns, if they are one number or two."""
    numbers = [value] if isinstance(value, int) else list(value)
    return (numbers[0], numbers[-1])


def _function(node: fx.Node) -> Callable[..., Any]:
    assert callable(node.target)
    return node.target


def _operator(node: fx.Node) -> str:
    target: Any = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.rpartition("::")[2]
    return str(getattr(target, "__name__", target))


def _innermost(node: fx.Node) -> tuple[str, str]:
    """Path and class of the module that it is called in."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    kind = f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else str(kind)
    return str(path), kind


def _dtype(node: fx.Node) -> torch.dtype | None:
    value = node.meta.get("val")
    return value.dtype if isinstance(value, torch.Tensor) else None


def _product(sizes: tuple[int, ...]) -> int:
    return math.prod(sizes)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def numbered(name: str, taken: Collection[str]) -> str:
    """That name; or if it is taken, with a number behind it."""
    number, found = 2, name
    while found in taken:
        number, found = number + 1, f"{name}#{number}"
    return found


def first_line(error: Exception) -> str:
    """What an error says first."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]
