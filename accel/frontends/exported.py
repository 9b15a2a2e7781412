"""From a program that PT2E has quantized to a network with ExecuTorch's bytes: what
``convert_pt2e`` makes of a model that was prepared with the quantizer for XNNPACK, calibrated or
trained so, and what ``torch.export`` makes of that.

In such a program every operation computes with real numbers, between dequantizing and quantizing.
XNNPACK, to which ExecuTorch hands them, computes each with integers; so do the operations here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx
from torch.export import ExportedProgram

from accel import numerics
from accel.errors import AccelError
from accel.frontends.converted import checked_shape
from accel.frontends.reading import OF_SEQUENCES, first_line, numbered, of_maps, pair
from accel.frontends.stages import Pooling
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Add, Concat, Conv2d, Linear, MaxPool2d, Mean, Operation, Table
from accel.operations.window import Sides, window_count
from accel.process_wide import PYTORCH
from accel.runtimes.executorch import function_entries
from accel.runtimes.qnnpack import quiet
from accel.runtimes.rounding import XNNPACK

ORIGIN = "executorch"

_QUANTIZED = "quantized_decomposed"
_INT8 = (-128, 127, torch.int8)
"""Ends and type of what is quantized, as the quantizer for XNNPACK has them."""
_CLAMPS = {
    "relu", "relu_", "relu6", "relu6_", "hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min",
    "clamp_min_",
}  # fmt: skip
_SAME = {
    "alias", "clone", "contiguous", "detach", "detach_", "lift_fresh_copy", "_to_copy", "to",
    "dropout", "dropout_", "feature_dropout", "feature_dropout_",
}  # fmt: skip
_VIEWS = {
    "view", "reshape", "flatten", "squeeze", "squeeze_", "unsqueeze", "unsqueeze_",
    "_unsafe_view", "view_copy",
}  # fmt: skip
_FUNCTIONS: dict[str, tuple[str, ...]] = {
    "sigmoid": (), "tanh": (), "hardsigmoid": (), "hardswish": (), "silu": (), "gelu": (),
    "elu": ("alpha",), "leaky_relu": ("negative_slope",),
}  # fmt: skip
"""Functions of one value, and what they take besides it."""
_WEIGHTED = ("conv2d", "convolution", "linear")
_PADDED = ("conv2d", "convolution", "pad", "constant_pad_nd")
_AT_THE_END = {"softmax", "_softmax", "log_softmax", "_log_softmax"}
NO_PADDING: Sides = (0, 0, 0, 0)


def is_exported(model: Any) -> bool:
    """Whether it is a graph that quantizes and dequantizes."""
    graph = getattr(model, "graph", None)
    if not isinstance(model, ExportedProgram | fx.GraphModule) or graph is None:
        return False
    return any(_namespace(node) == _QUANTIZED for node in graph.nodes)


def network_of(
    model: ExportedProgram | fx.GraphModule, input_shape: Sequence[int] | None
) -> Network:
    """The network of a program that PT2E has quantized.

    input_shape: of an image, (channels, height, width), (features,), or (channels, length) of a
    sequence, which becomes a map of one row; needed only where the program does not say it.

    Raises :class:`AccelError` naming the operation that is not supported, or what else is wrong.
    """
    with PYTORCH, torch.no_grad(), quiet(), torch.device("cpu"):
        program = _exported(model, input_shape)
        reading = _Reading(program)
        operations = reading.operations()
    return Network(
        name=type(model).__name__,
        operations=operations,
        origin=ORIGIN,
        notes=tuple(reading.notes),
    )


def _exported(
    model: ExportedProgram | fx.GraphModule, input_shape: Sequence[int] | None
) -> ExportedProgram:
    kind = type(model).__name__
    shape = None if input_shape is None else checked_shape(input_shape, kind)
    if isinstance(model, ExportedProgram):
        if shape is not None:
            raise AccelError(
                f"input_shape is for models that do not say which images they take: {kind} does, "
                f"so leave it out"
            )
        return model
    batch = 1
    for node in model.graph.nodes:
        known = node.meta.get("val")
        if node.op == "placeholder" and isinstance(known, torch.Tensor):
            sizes = [n if isinstance(n, int) else None for n in known.shape]
            batch = sizes[0] or 2
            if shape is None and None not in sizes[1:]:
                shape = tuple(n for n in sizes[1:] if n is not None)
            break
    if shape is None:
        raise AccelError(
            f"{kind} does not say which images it takes: give accel.load(model, input_shape=...) "
            f"an image's shape, such as (3, 32, 32)"
        )
    try:
        return torch.export.export(model, (torch.zeros(batch, *shape),), strict=False)
    except Exception as e:
        raise AccelError(
            f"{kind} does not take images of shape {shape} ({first_line(e)}); input_shape must be "
            f"an image's, channels first"
        ) from e


@dataclass(frozen=True)
class _Pending:
    """What is computed with real numbers and not yet quantized."""

    node: fx.Node
    make: Callable[[str, Tensor, tuple[int, int]], Operation]
    """Of a name, the output, and the least and largest integer that are left."""
    shape: tuple[int, ...]
    least: float = -math.inf
    largest: float = math.inf


@dataclass(frozen=True)
class _Value:
    """What a node holds, of one image: quantized, or real and known to be so many steps."""

    tensor: Tensor
    made_by: int | None
    """The number of the operation, or None for the input."""
    shape: tuple[int, ...]
    """The node's, without the batch."""
    least: float = -math.inf
    largest: float = math.inf
    """A clamp that is still to be done, of real numbers."""
    padding: Sides = NO_PADDING
    at_the_end: bool = False


@dataclass
class _Reading:
    """Takes the nodes of a program one after the other."""

    program: ExportedProgram
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._made: list[Operation] = []
        self._has_limit: set[int] = set()
        """Numbers of operations whose outputs have a limit, whether integers show it or not."""
        self._values: dict[fx.Node, _Value | _Pending] = {}
        self._constants: dict[fx.Node, Any] = {}
        self._weights: dict[fx.Node, tuple[NDArray[np.int8], Any]] = {}
        """Integers of what is dequantized from constants, and their scales: float32 of each
        channel, or one number."""
        self._image: fx.Node | None = None
        signature = self.program.graph_signature
        names = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        for node in self.program.graph.nodes:
            if node.op != "placeholder":
                continue
            if node.name in names:
                name = names[node.name]
                state, constants = self.program.state_dict, self.program.constants
                self._constants[node] = state[name] if name in state else constants[name]
            elif isinstance(node.meta.get("val"), torch.Tensor):
                if self._image is not None:
                    raise AccelError(
                        "the program takes several tensors, but only the images are there to be "
                        "given"
                    )
                self._image = node
        if self._image is None:
            raise AccelError("the program takes no images: its forward must take one tensor")

    def operations(self) -> tuple[Operation, ...]:
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                self._read(node)
            elif node.op == "output":
                self._end(node)
        return tuple(self._made)

    # Nodes

    def _read(self, node: fx.Node) -> None:
        op, inputs = _operator(node), node.all_input_nodes
        if not isinstance(node.meta.get("val"), torch.Tensor):
            # Checks, and sizes
            return
        if op.startswith("dequantize") and _namespace(node) == _QUANTIZED:
            self._dequantize(node)
        elif op.startswith("quantize") and _namespace(node) == _QUANTIZED:
            self._quantize(node)
        elif all(n in self._constants for n in inputs):
            self._constants[node] = self._folded(node)
        elif self._image in inputs:
            self._refuse(node, "computes with the images before they are quantized")
        elif any(n in self._values for n in inputs):
            self._compute(node, op)

    def _quantize(self, node: fx.Node) -> None:
        arguments: tuple[Any, ...] = node.args
        source, scale, zero_point, *kind = arguments[:6]
        if source in self._constants:
            self._constants[node] = self._folded(node)
            return
        if "per_tensor" not in _operator(node) or tuple(kind) != _INT8:
            least, most, dtype = kind
            self._refuse(
                node,
                f"quantizes activations to {str(dtype).removeprefix('torch.')} from {least} to "
                f"{most}, but XNNPACK takes int8 from -128 to 127, with one scale",
            )
        form: dict[str, Any] = {
            "scale": float(np.float32(self._number(scale))),
            "zero_point": int(self._number(zero_point)),
            "signed": True,
        }
        value = self._values.get(source)
        if source is self._images:
            shape = tuple(source.meta["val"].shape[1:])
            as_map = (shape[0], 1, shape[1]) if len(shape) == 2 else shape
            tensor = Tensor(name="input", shape=as_map, **form)
            if any(v.tensor != tensor for v in self._values.values() if isinstance(v, _Value)):
                self._refuse(node, "quantizes the images in a second way")
            self._values[node] = _Value(tensor, None, shape)
        elif isinstance(value, _Pending):
            self._make(node, value, form)
        elif value is not None:
            self._values[node] = self._again(node, value, form)
        else:
            self._refuse(node, "quantizes what was not computed with quantized numbers")

    def _folded(self, node: fx.Node) -> Any:
        """What a node yields that depends on constants alone."""
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._constants.__getitem__)
        target: Any = node.target
        return target(*args, **kwargs)

    def _again(self, node: fx.Node, value: _Value, form: dict[str, Any]) -> _Value:
        """What is quantized has been dequantized before, and at most cut off since."""
        if value.at_the_end:
            self._refuse(node, "follows a softmax, which the host computes at the end")
        tensor = replace(value.tensor, **form)
        made = None if value.made_by is None else self._made[value.made_by]
        if (value.least, value.largest) == (-math.inf, math.inf):
            if tensor == value.tensor:
                return value
            return self._looked_up(node, "requantize", (), value, form)
        least, largest = (_limit(x, tensor) for x in (value.least, value.largest))
        if tensor == value.tensor and (least, largest) == tensor.limits:
            return replace(value, least=-math.inf, largest=math.inf)
        if not isinstance(made, Add | Conv2d | Linear):
            return self._limited_alone(node, made, value, form)
        if value.padding != NO_PADDING:
            self._refuse(node, "follows a padding with zeros, but only a convolution may")
        # XNNPACK computes both at once, so the tensor between them is not there.
        readers = [n for n, v in self._values.items()
                   if isinstance(v, _Value) and v.made_by == value.made_by
                   and _operator(n).startswith("quantize")]  # fmt: skip
        if len(readers) != 1 or sum(len(dq.users) for dq in readers[0].users) != 1:
            self._refuse(node, "limits what others read without it, which is not supported")
        if tensor != value.tensor and value.made_by in self._has_limit:
            self._refuse(node, "limits to another scale what is limited before, which is not "
                         "supported")  # fmt: skip
        assert value.made_by is not None
        self._has_limit.add(value.made_by)
        self._made[value.made_by] = replace(
            made,
            output=tensor,
            smallest=max(made.smallest, least),
            largest=min(made.largest, largest),
        )
        return replace(value, tensor=tensor, least=-math.inf, largest=math.inf)

    def _limited_alone(
        self, node: fx.Node, made: Operation | None, value: _Value, form: dict[str, Any]
    ) -> _Value:
        """A limit of what has no limits of its own."""
        other = replace(value.tensor, **form) != value.tensor
        if isinstance(made, MaxPool2d | Table) and other:
            self._refuse(node, f"limits to another scale what a {made.kind} makes, which is not "
                         f"supported")  # fmt: skip
        ends = tuple(
            float(np.clip(x, np.finfo(np.float32).min, np.finfo(np.float32).max))
            for x in (value.least, value.largest)
        )
        return self._looked_up(node, "hardtanh", ends, value, form)

    def _looked_up(
        self,
        node: fx.Node,
        function: str,
        arguments: tuple[float, ...],
        value: _Value,
        form: dict[str, Any],
    ) -> _Value:
        """A function of a tensor's values, named after what is quantized."""
        if value.padding != NO_PADDING:
            self._refuse(node, "follows a padding with zeros, but only a convolution may")
        before = node.args[0]
        assert isinstance(before, fx.Node)
        pending = self._function(before, function, arguments, value)
        self._make(node, pending, form)
        made = self._values[node]
        assert isinstance(made, _Value)
        return made

    def _function(
        self, node: fx.Node, function: str, arguments: tuple[float, ...], value: _Value
    ) -> _Pending:
        before = value.tensor

        def make(name: str, output: Tensor, limits: tuple[int, int]) -> Operation:
            _require_whole(limits, output)
            entries = function_entries(function, arguments, before, output)
            return Table(name=name, input=before, output=output, function=function,
                         arguments=arguments, entries=entries)  # fmt: skip

        return _Pending(node, make, before.shape)

    def _make(self, node: fx.Node, pending: _Pending, form: dict[str, Any]) -> None:
        name = self._name(pending.node)
        output = Tensor(name=name, shape=pending.shape, **form)
        least, largest = (_limit(x, output) for x in (pending.least, pending.largest))
        try:
            self._made.append(pending.make(name, output, (least, largest)))
        except AccelError as e:
            self._refuse(pending.node, f"is not supported: {e}")
        shape, number = tuple(node.meta["val"].shape[1:]), len(self._made) - 1
        if (pending.least, pending.largest) != (-math.inf, math.inf):
            self._has_limit.add(number)
        self._values[node] = _Value(self._made[-1].output, number, shape)

    def _dequantize(self, node: fx.Node) -> None:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        if source in self._constants:
            integers, scale = self._constants[source], node.args[1]
            zeros: Any = self._number(node.args[2])
            if integers.dtype != torch.int8 or bool(torch.as_tensor(zeros).any()):
                self._refuse(node, "has weights that are no int8, or have a zero point")
            axis = node.args[3] if "per_channel" in _operator(node) else 0
            if axis != 0:
                self._refuse(node, f"has scales along dimension {axis} of the weights, not 0")
            self._weights[node] = integers.numpy(), self._number(scale)
            return
        value = self._values.get(source)
        if not isinstance(value, _Value):
            self._refuse(node, "dequantizes what was not quantized before")
        self._values[node] = value

    def _number(self, value: Any) -> Any:
        """A number or an array that may be a constant of the graph."""
        if isinstance(value, fx.Node):
            if value not in self._constants:
                self._refuse(value, "is a scale or zero point that depends on the images")
            value = self._constants[value]
        return value.detach().numpy() if isinstance(value, torch.Tensor) else value

    def _end(self, node: fx.Node) -> None:
        (value, *others) = node.args[0] if isinstance(node.args[0], tuple | list) else node.args
        found = self._values.get(value) if isinstance(value, fx.Node) else None
        if others:
            raise AccelError("the program must yield one tensor")
        if not isinstance(found, _Value):
            raise AccelError(
                "the program's output is not quantized: expected a model that is so throughout"
            )
        if not self._made or found.made_by != len(self._made) - 1:
            raise AccelError("the program yields something else than what its last layer makes")
        if found.least > -math.inf or found.largest < math.inf or found.padding != NO_PADDING:
            raise AccelError("the program's output is changed after it was quantized last")

    # What operations become

    def _compute(self, node: fx.Node, op: str) -> None:
        first = next(n for n in node.all_input_nodes if n in self._values)
        value, a = self._values[first], _arguments(node)
        shape = tuple(node.meta["val"].shape[1:])
        if op in OF_SEQUENCES:
            op, a = op.replace("1d", "2d"), of_maps(a)
        if op in _CLAMPS:
            self._values[node] = _clamped(value, *_ends(op, a))
            return
        if isinstance(value, _Pending):
            if op in (*_SAME, *_VIEWS) and math.prod(shape) == math.prod(value.shape):
                self._values[node] = value
                return
            self._refuse(node, "computes with real numbers, not with quantized ones")
        if op not in (*_SAME, *_VIEWS):
            self._check_read(node, op)
        if op in _SAME:
            if a.get("train"):
                self._refuse(node, "is in training mode: export the model in evaluation mode")
            self._values[node] = value
        elif op in _VIEWS:
            self._values[node] = self._view(node, value, shape)
        elif op in _AT_THE_END:
            self.notes.append(f"the network ends before {op}, which is left to the host")
            self._values[node] = replace(value, at_the_end=True)
        elif op in ("pad", "constant_pad_nd"):
            self._values[node] = self._padded(node, value, a, shape)
        elif op in _WEIGHTED:
            self._values[node] = self._weighted(node, op, value, a)
        elif op in ("add", "add_"):
            self._values[node] = self._sum(node, a)
        elif op in ("cat", "concat", "concatenate"):
            self._values[node] = self._joined(node, a)
        elif op == "max_pool2d":
            self._values[node] = self._maximum(node, value, a)
        elif op in ("mean", "adaptive_avg_pool2d"):
            self._values[node] = self._mean(node, op, value, a, shape)
        elif op.removesuffix("_") in _FUNCTIONS:
            arguments = tuple(float(a[x]) for x in _FUNCTIONS[op.removesuffix("_")])
            if a.get("approximate", "none") != "none" or a.get("scale", 1) != 1:
                self._refuse(node, "is of a form that is not supported")
            self._values[node] = self._function(node, op.removesuffix("_"), arguments, value)
        elif op == "avg_pool2d":
            self._refuse(node, "is computed with real numbers by ExecuTorch, so no integers are "
                         "right; only an average of the whole map is supported")  # fmt: skip
        else:
            self._refuse(node, "is not supported")

    def _check_read(self, node: fx.Node, op: str) -> None:
        """All that an operation reads is a tensor of the network as it is, but for zeros around
        what a convolution reads."""
        for value in (self._values.get(n) for n in node.all_input_nodes):
            if not isinstance(value, _Value):
                continue
            if value.at_the_end:
                self._refuse(node, "follows a softmax, which the host computes at the end")
            if (value.least, value.largest) != (-math.inf, math.inf):
                self._refuse(node, "computes with real numbers, not with quantized ones")
            if value.padding != NO_PADDING and op not in _PADDED:
                self._refuse(node, "follows a padding with zeros, but only a convolution may")

    def _view(self, node: fx.Node, value: _Value, shape: tuple[int, ...]) -> _Value:
        """Whatever a view is called, linear layers read a map's elements in this order."""
        own, others = ([n for n in sizes if n != 1] for sizes in (shape, value.tensor.shape))
        batch = node.meta["val"].shape[0] == self._images.meta["val"].shape[0]
        if not batch or own not in (others, [math.prod(others)][: len(others)]):
            self._refuse(node, f"makes {shape} of {value.shape}, which is not supported")
        return replace(value, shape=shape)

    @property
    def _images(self) -> fx.Node:
        assert self._image is not None
        return self._image

    def _padded(
        self, node: fx.Node, value: _Value, a: dict[str, Any], shape: tuple[int, ...]
    ) -> _Value:
        if a.get("mode", "constant") != "constant" or (a.get("value") or 0) != 0:
            self._refuse(node, "pads with something else than zeros, which is not supported")
        sizes = [*a["pad"], 0, 0, 0, 0][:4]
        if len(a["pad"]) > 4 or min(sizes) < 0 or len(value.tensor.shape) != 3:
            self._refuse(node, "pads other dimensions than height and width")
        (left, right, above, below), before = sizes, value.padding
        padding = (before[0] + above, before[1] + left, before[2] + below, before[3] + right)
        return replace(value, padding=padding, shape=shape)

    def _weighted(self, node: fx.Node, op: str, value: _Value, a: dict[str, Any]) -> _Pending:
        weight_node, bias_node = a.get("weight"), a.get("bias")
        if weight_node not in self._weights:
            self._refuse(node, "has weights that are not quantized to int8 beforehand")
        weight, scale = self._weights[weight_node]
        if weight.ndim == 3:
            # Of a sequence, which is a map of one row
            weight = weight[:, :, None]
        bias = self._integer_bias(node, bias_node, value.tensor, scale, len(weight))
        common: dict[str, Any] = {
            "weight_scale": np.asarray(scale, np.float32).reshape(-1),
            "bias": bias,
            "input": value.tensor,
            "relu": False,
            "rounding": XNNPACK,
        }
        if op == "linear":
            if weight.shape[1] != value.tensor.size or len(node.meta["val"].shape) != 2:
                self._refuse(node, "is applied to more than a vector, which is not supported")
            common["weight"] = np.ascontiguousarray(weight)
            return _Pending(node, _limited(Linear, common), (len(weight),))
        if len(value.tensor.shape) != 3 or weight.ndim != 4:
            self._refuse(node, "is no convolution of a feature map")
        stride, dilation = pair(a["stride"]), pair(a["dilation"])
        if a.get("transposed"):
            self._refuse(node, "is transposed, which is not supported")
        if dilation != (1, 1):
            self._refuse(node, f"has dilation {dilation}, but only 1 is supported")
        if isinstance(a["padding"], str):
            self._refuse(
                node,
                f"has padding '{a['padding']}', but only numbers of rows and columns are supported",
            )
        pads = pair(a["padding"])
        above, left, below, right = value.padding
        padding = (above + pads[0], left + pads[1], below + pads[0], right + pads[1])
        count = window_count(value.tensor.shape, weight.shape[2:], stride, padding)
        common |= {
            "weight": np.ascontiguousarray(weight), "stride": stride, "padding": padding,
            "groups": a["groups"],
        }  # fmt: skip
        return _Pending(node, _limited(Conv2d, common), (len(weight), *count))

    def _integer_bias(
        self, node: fx.Node, bias: Any, before: Tensor, scale: Any, outputs: int
    ) -> NDArray[np.int32]:
        if bias is None:
            return np.zeros(outputs, np.int32)
        if bias not in self._constants:
            self._refuse(node, "has a bias that depends on the images, or is quantized itself")
        real = self._constants[bias].detach().float().numpy()
        if not np.isfinite(real).all():
            self._refuse(node, "has a bias that is not finite")
        if np.ndim(scale) == 0:
            return numerics.double_bias(real, before.scale, float(scale))
        return numerics.quantize_bias(real, before.scale, scale)

    def _sum(self, node: fx.Node, a: dict[str, Any]) -> _Pending:
        values = [self._values.get(a[name]) if isinstance(a[name], fx.Node) else None
                  for name in ("self", "other")]  # fmt: skip
        found = [v.tensor for v in values if isinstance(v, _Value)]
        if len(found) != 2 or found[0].shape != found[1].shape or a.get("alpha", 1) != 1:
            self._refuse(node, "adds something else than two quantized tensors of one shape")
        x, y = found
        common = {"input": x, "other": y, "relu": False, "rounding": XNNPACK}
        return _Pending(node, _limited(Add, common), x.shape)

    def _joined(self, node: fx.Node, a: dict[str, Any]) -> _Pending:
        values = [self._values.get(n) for n in a["tensors"]]
        parts = tuple(v.tensor for v in values if isinstance(v, _Value))
        if len(parts) != len(values) or a.get("dim", 0) % node.meta["val"].ndim != 1:
            self._refuse(node, "joins something else than channels of quantized tensors")

        def make(name: str, output: Tensor, limits: tuple[int, int]) -> Operation:
            _require_whole(limits, output)
            return Concat(name=name, parts=parts, output=output, rounding=XNNPACK)

        return _Pending(node, make, (sum(p.shape[0] for p in parts), *parts[0].shape[1:]))

    def _maximum(self, node: fx.Node, value: _Value, a: dict[str, Any]) -> _Pending:
        size = pair(a["kernel_size"])
        if pair(a["dilation"]) != (1, 1):
            self._refuse(node, "has a dilation, which is not supported")
        pool = Pooling(True, size, pair(a["stride"] or size), pair(a["padding"]),
                       bool(a["ceil_mode"]))  # fmt: skip
        window = pool.window(value.tensor.shape)
        before = value.tensor
        count = window_count(before.shape, window["size"], window["stride"], window["padding"])

        def make(name: str, output: Tensor, limits: tuple[int, int]) -> Operation:
            _require_whole(limits, output)
            return MaxPool2d(name=name, input=before, output=output, **window)

        return _Pending(node, make, (before.shape[0], *count))

    def _mean(
        self, node: fx.Node, op: str, value: _Value, a: dict[str, Any], shape: tuple[int, ...]
    ) -> _Pending | _Value:
        before = value.tensor
        if len(value.shape) == 2:
            self._refuse(
                node,
                "averages a sequence, which ExecuTorch does with real numbers, so no integers are "
                "right: make maps of one row of the sequences, and average those",
            )
        if op == "mean":
            dims = a.get("dim") or []
            whole = len(value.shape) == 3 and sorted(d % 4 for d in dims) == [2, 3]
            if whole and not a.get("keepdim"):
                self._refuse(
                    node,
                    "is computed with real numbers by ExecuTorch, so no integers are right: write "
                    "mean([2, 3], keepdim=True), which is not",
                )
        else:
            if shape == before.shape:
                return value
            whole = shape[1:] == (1, 1)
        if not whole:
            self._refuse(node, "averages something else than whole maps, which is not supported")

        def make(name: str, output: Tensor, limits: tuple[int, int]) -> Operation:
            _require_whole(limits, output)
            return Mean(name=name, input=before, output=output, rounding=XNNPACK)

        return _Pending(node, make, (before.shape[0], 1, 1))

    # Names and refusals

    def _name(self, node: fx.Node) -> str:
        """By its module, or the node; what is there twice has a number behind its name."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = str(stack[-1][0]) if stack else ""
        name = path.removeprefix("L['self'].").strip(".") or node.name
        return numbered(name, {operation.name for operation in self._made} | {"input"})

    def _refuse(self, node: fx.Node, why: str) -> NoReturn:
        raise AccelError(f"operation '{node.name}' ({_operator(node)}) {why}")


def _limited(
    kind: type[Conv2d | Linear | Add], fields: dict[str, Any]
) -> Callable[[str, Tensor, tuple[int, int]], Operation]:
    def make(name: str, output: Tensor, limits: tuple[int, int]) -> Operation:
        smallest, largest = limits
        return kind(name=name, output=output, smallest=smallest, largest=largest, **fields)

    return make


def _require_whole(limits: tuple[int, int], output: Tensor) -> None:
    if limits != output.limits:
        raise AccelError("its output is cut off before it is quantized")


def _clamped(value: _Value | _Pending, low: float | None, high: float | None) -> _Value | _Pending:
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    return replace(value, least=max(value.least, low), largest=min(value.largest, high))


def _limit(real: float, tensor: Tensor) -> int:
    """The integer that XNNPACK cuts off at."""
    lo, hi = tensor.limits
    if math.isinf(real):
        return lo if real < 0 else hi
    return numerics.xnnpack_limit(real, tensor.scale, tensor.zero_point)


def _ends(op: str, a: dict[str, Any]) -> tuple[float | None, float | None]:
    if op.startswith("relu6"):
        return 0.0, 6.0
    if op.startswith("relu"):
        return 0.0, None
    return a.get("min", a.get("min_val")), a.get("max", a.get("max_val"))


def _arguments(node: fx.Node) -> dict[str, Any]:
    """By name, with defaults."""
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return dict(node.kwargs)
    found = {}
    for i, argument in enumerate(target._schema.arguments):
        default = argument.default_value if argument.has_default_value() else None
        found[argument.name] = node.kwargs.get(
            argument.name, node.args[i] if i < len(node.args) else default
        )
    return found


def _operator(node: fx.Node) -> str:
    target: Any = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.rpartition("::")[2]
    return str(getattr(target, "__name__", target))


def _namespace(node: fx.Node) -> str:
    target: Any = node.target
    return target.namespace if isinstance(target, torch._ops.OpOverload) else ""
