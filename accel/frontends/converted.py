"""From a model that PyTorch has quantized to a network: what ``convert_fx``, or in eager mode
``convert``, makes of a calibrated model or of one from quantization-aware training.

The model runs once, on images of zeros, so that shape, scale and zero point of every tensor are
those that PyTorch gives them; what it does is in its graph of modules and functions.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.ao.nn import quantized as nnq
from torch.ao.nn.intrinsic import quantized as nniq
from torch.nn import functional as F

from accel import numerics
from accel.errors import AccelError
from accel.frontends.reading import first_line, is_quantized, numbered, pair
from accel.frontends.stages import Pooling
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Add, AvgPool2d, Concat, Conv2d, Linear, MaxPool2d, Operation, Table
from accel.operations.table import FUNCTIONS
from accel.operations.window import window_count
from accel.process_wide import PYTORCH
from accel.runtimes.qnnpack import engine, function_entries, quantizes_as_we_do, quiet

NUM_RUN = 2
"""Images that it runs on at first: one would be special to whatever drops dimensions of size 1."""
NUM_COMPARED = 16
"""Images of noise on which the network is compared with the model."""

_Q = torch.ops.quantized
_RELUS: tuple[Any, ...] = (nn.ReLU, F.relu, torch.relu, torch.relu_, "relu", "relu_")
_RELU6: tuple[Any, ...] = (nn.ReLU6, nnq.ReLU6, F.relu6, _Q.relu6)
_HARDTANHS: tuple[Any, ...] = (nn.Hardtanh, F.hardtanh)
_CLAMPS: tuple[Any, ...] = (torch.clamp, "clamp", "clamp_")
_MAX_POOLS: tuple[Any, ...] = (
    nn.MaxPool2d, F.max_pool2d, torch.max_pool2d, nn.MaxPool1d, F.max_pool1d, torch.max_pool1d,
)  # fmt: skip
_AVG_POOLS: tuple[Any, ...] = (
    nn.AvgPool2d, F.avg_pool2d, torch._C._nn.avg_pool2d, nn.AvgPool1d, F.avg_pool1d,
    torch.avg_pool1d,
)  # fmt: skip
_GLOBAL_POOLS: tuple[Any, ...] = (
    nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d, nn.AdaptiveAvgPool1d, F.adaptive_avg_pool1d,
)  # fmt: skip
_MEANS: tuple[Any, ...] = (torch.mean, "mean")
_SAME: tuple[Any, ...] = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, F.dropout, F.dropout1d, F.dropout2d,
    nnq.Dropout, _Q.dropout,
    "contiguous", "clone", "detach", "to",
)  # fmt: skip
_VIEWS: tuple[Any, ...] = (
    nn.Flatten, torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze,
    "flatten", "view", "reshape", "squeeze", "unsqueeze",
)  # fmt: skip
_AT_THE_END: tuple[Any, ...] = (
    nn.Softmax, nn.LogSoftmax, F.softmax, F.log_softmax, torch.softmax, torch.log_softmax,
    "softmax", "log_softmax",
)  # fmt: skip
_QUANTIZE: tuple[Any, ...] = (nnq.Quantize, torch.quantize_per_tensor)
_DEQUANTIZE: tuple[Any, ...] = (nnq.DeQuantize, torch.dequantize, "dequantize")
_SUMS: dict[Any, bool] = {_Q.add: False, _Q.add_relu: True}
"""And whether a ReLU follows, as it does below."""
_JOINS: tuple[Any, ...] = (_Q.cat, torch.cat, torch.concat, torch.concatenate)
_FUNCTIONS: dict[Any, str] = {
    nn.Sigmoid: "sigmoid", nnq.Sigmoid: "sigmoid", torch.sigmoid: "sigmoid", F.sigmoid: "sigmoid",
    _Q.sigmoid: "sigmoid", "sigmoid": "sigmoid",
    nn.Tanh: "tanh", torch.tanh: "tanh", F.tanh: "tanh", "tanh": "tanh",
    nn.Hardsigmoid: "hardsigmoid", F.hardsigmoid: "hardsigmoid",
    nn.Hardswish: "hardswish", nnq.Hardswish: "hardswish", F.hardswish: "hardswish",
    _Q.hardswish: "hardswish",
    nn.LeakyReLU: "leaky_relu", nnq.LeakyReLU: "leaky_relu", F.leaky_relu: "leaky_relu",
    _Q.leaky_relu: "leaky_relu",
    nn.ELU: "elu", nnq.ELU: "elu", F.elu: "elu", _Q.elu: "elu",
    nn.SiLU: "silu", F.silu: "silu", nn.Mish: "mish", F.mish: "mish", nn.SELU: "selu",
    F.selu: "selu", nn.GELU: "gelu", F.gelu: "gelu", nn.Softplus: "softplus",
    F.softplus: "softplus",
}  # fmt: skip
"""Functions of one value, by their names in :data:`accel.operations.table.FUNCTIONS`."""
_OF_REAL: dict[Any, str] = {
    **_FUNCTIONS,
    **dict.fromkeys(_RELUS, "relu"),
    **dict.fromkeys(_RELU6, "relu6"),
    **dict.fromkeys((*_HARDTANHS, *_CLAMPS), "hardtanh"),
}
"""Those that may stand between dequantizing and quantizing."""
_WEIGHTED_MODULES: dict[Any, bool] = {
    nnq.Conv1d: False, nniq.ConvReLU1d: True, nnq.Conv2d: False, nniq.ConvReLU2d: True,
    nnq.Linear: False, nniq.LinearReLU: True,
}  # fmt: skip
_WEIGHTED: dict[Any, bool] = {
    _Q.conv1d: False, _Q.conv1d_relu: True, _Q.conv2d: False, _Q.conv2d_relu: True,
    _Q.linear: False, _Q.linear_relu: True,
}  # fmt: skip

Shape = tuple[int, ...]


def is_converted(model: Any) -> bool:
    """Whether it is a model with quantized modules or operators."""
    if not isinstance(model, nn.Module):
        return False
    found = [module for module in model.modules() if is_quantized(module)]
    if any(".dynamic" not in type(module).__module__ for module in found):
        return True
    graphs = (m.graph for m in model.modules() if isinstance(m, fx.GraphModule))
    return any(node.target is torch.quantize_per_tensor for g in graphs for node in g.nodes)


def network_of(model: nn.Module, input_shape: Sequence[int] | None) -> Network:
    """The network of a converted model, whose outputs are those of PyTorch's kernels on QNNPACK,
    whatever engine the model was converted for.

    input_shape: of an image, (channels, height, width), (features,), or (channels, length) of a
    sequence, which becomes a map of one row.

    Raises :class:`AccelError` naming the module or function that is not supported, or what else is
    wrong.
    """
    kind = type(model).__name__
    shape = checked_shape(input_shape, kind)
    with PYTORCH, engine(), torch.no_grad(), quiet(), torch.device("cpu"):
        # Copied, weights are packed for this engine.
        model = copy.deepcopy(model).cpu().eval()
        try:
            graph = fx.Tracer().trace(model)
        except Exception as e:
            raise AccelError(
                f"the forward of {kind} cannot be traced ({first_line(e)}); it must do the same "
                f"with every image"
            ) from e
        reading = _Reading(fx.GraphModule(model, graph), kind)
        try:
            reading.run(torch.zeros(NUM_RUN, *shape))
        except AccelError:
            raise
        except Exception as e:
            raise AccelError(
                f"{kind} does not take images of shape {shape} ({first_line(e)}); input_shape "
                f"must be an image's, channels first"
            ) from e
        notes = tuple(
            f"PyTorch's kernel for {what} yields elements in another order on QNNPACK; here they "
            f"are in their places"
            for what in reading.reordered
        )
        network = Network(name=kind, operations=tuple(reading.operations()), notes=notes)
        _compare(network, reading, kind, shape)
    return network


def checked_shape(shape: Any, kind: str) -> Shape:
    if shape is None:
        raise AccelError(
            f"{kind} does not say which images it takes: give accel.load(model, input_shape=...) "
            f"an image's shape, such as (3, 32, 32)"
        )
    is_shape = isinstance(shape, Sequence) and not isinstance(shape, str)
    if not is_shape or not all(isinstance(n, int) and n >= 1 for n in shape):
        raise AccelError(f"input_shape must be whole numbers such as (3, 32, 32), not {shape!r}")
    return tuple(shape)


def _compare(network: Network, reading: _Reading, kind: str, shape: Shape) -> None:
    """The network yields what the model's quantized tensors hold, on noise."""
    source = network.input
    rng = np.random.default_rng(0)
    lo, hi = source.limits
    x = rng.integers(lo, hi + 1, (NUM_COMPARED, *source.shape))
    real = torch.from_numpy((x - source.zero_point) * source.scale).float()
    reading.run(real.reshape(NUM_COMPARED, *shape))
    for operation, found, expected in zip(
        network.operations, reading.integers(), network.integers(x), strict=True
    ):
        wrong = int((found != expected.reshape(found.shape)).sum())
        if wrong:
            raise AccelError(
                f"layer '{operation.name}' of {kind} yields other integers than "
                f"its network, {wrong} of {found.size} for images of noise: this is a fault of "
                f"accel.load; please report it, with the model"
            )


@dataclass
class _Value:
    """What a node of the graph holds, of one image: a tensor of the network."""

    tensor: Tensor
    made_by: int | None
    """The number of the operation, or None for the input."""


class _Reading(fx.Interpreter):
    """Runs the model and keeps what it does as operations."""

    def __init__(self, module: fx.GraphModule, kind: str) -> None:
        super().__init__(module, garbage_collect_values=False)
        # Of an error only what it says is wanted.
        self.extra_traceback = False
        self._kind = kind
        self._values: dict[fx.Node, _Value] = {}
        self._real: dict[fx.Node, fx.Node] = {}
        """Numbers that are real again, and the node of the quantized ones."""
        self._functions: dict[fx.Node, tuple[str, tuple[float, ...]]] = {}
        """Of these numbers, where a function has been computed."""
        self._of_host: set[fx.Node] = set()
        """And those that a softmax has made of them."""
        self._made: list[Operation] = []
        self.results: dict[fx.Node, Any] = {}
        self._is_read = False
        self.reordered: list[str] = []
        """What PyTorch's kernel does not do as it should, by its label."""
        self.last: fx.Node | None = None

    def operations(self) -> list[Operation]:
        if not self._made:
            raise AccelError(f"{self._kind} has no layers")
        if self.last is None or self._values[self.last].made_by != len(self._made) - 1:
            raise AccelError(f"{self._kind} yields something else than what its last layer makes")
        return self._made

    def integers(self) -> list[NDArray[Any]]:
        """What each operation yielded last, with its limits."""
        last = {v.made_by: node for node, v in self._values.items()}
        return [self.results[last[i]].int_repr().numpy() for i in range(len(self._made))]

    def run(self, *args: Any) -> Any:  # type: ignore[override]
        result = super().run(*args)
        self._is_read = True
        return result

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> Any:
        arguments = super().fetch_args_kwargs_from_env(n)
        if self._what(n) in (*_RELU6, *_HARDTANHS, *_CLAMPS):
            # On QNNPACK these yield elements in another order where channels are innermost.
            arguments = fx.node.map_aggregate(arguments, _contiguous)
        return arguments

    def _what(self, node: fx.Node) -> Any:
        """The module's class, the function, or the method's name."""
        if node.op == "call_module":
            return type(self.fetch_attr(str(node.target)))
        return node.target

    def run_node(self, n: fx.Node) -> Any:
        result = self.results[n] = super().run_node(n)
        if not self._is_read:
            self._read(n, result)
        return result

    # What a node is

    def _read(self, node: fx.Node, result: Any) -> None:
        if node.op == "output":
            self._end(node)
            return
        if node.op in ("placeholder", "get_attr"):
            return
        target: Any = node.target
        module = self.fetch_attr(str(target)) if node.op == "call_module" else None
        what = self._what(node)
        if not isinstance(result, torch.Tensor) or target in (getattr, operator.getitem, "size"):
            # Sizes, and numbers that follow from them
            return
        of = [n for n in node.all_input_nodes if n in self._values]
        real = [n for n in node.all_input_nodes if n in self._real]
        if what in _QUANTIZE:
            self._quantize(node, result)
        elif what in _DEQUANTIZE and of:
            self._real[node] = of[0]
        elif real and what in _OF_REAL and real[0] not in (*self._functions, *self._of_host):
            self._real[node] = self._real[real[0]]
            self._functions[node] = self._function(node, what, module)
        elif real:
            if what not in (*_AT_THE_END, *_SAME, *_VIEWS):
                self._refuse(node, "computes with real numbers, not with quantized ones")
            self._real[node] = self._real[real[0]]
            if real[0] in self._functions:
                self._functions[node] = self._functions[real[0]]
            if what in _AT_THE_END or real[0] in self._of_host:
                self._of_host.add(node)
        elif of:
            self._compute(node, what, module, of, result)
        elif any(n.op == "placeholder" for n in node.all_input_nodes):
            self._refuse(node, "computes with the images before they are quantized")

    def _label(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"module '{node.target}' ({self._what(node).__name__})"
        target: Any = node.target
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        return f"operation '{node.name}' ({name})"

    def _refuse(self, node: fx.Node, why: str) -> NoReturn:
        raise AccelError(f"{self._label(node)} {why}")

    def _quantize(self, node: fx.Node, result: torch.Tensor) -> None:
        (source, *_) = node.all_input_nodes
        if source in self._of_host:
            self._refuse(node, "follows a softmax, which the host computes at the end")
        if source in self._real:
            value = self._values[self._real[source]]
            found = replace(_tensor(value.tensor.name, result), shape=value.tensor.shape)
            function = self._functions.get(source, ("requantize", ()))
            if found != value.tensor or source in self._functions:
                self._look_up(node, value, *function, result)
                value = self._values[node]
            self._view(node, value, result)
            return
        if source.op != "placeholder":
            self._refuse(node, "quantizes what was computed with real numbers before")
        found = _tensor("input", result)
        for value in self._values.values():
            if value.tensor != found:
                self._refuse(node, "quantizes the images in a second way, which is not supported")
        self._values[node] = _Value(found, None)

    def _end(self, node: fx.Node) -> None:
        (value, *_) = node.args
        if isinstance(value, fx.Node) and value in self._functions:
            self._refuse(value, "computes with real numbers, not with quantized ones")
        while isinstance(value, tuple | list) and len(value) == 1:
            (value,) = value
        if not isinstance(value, fx.Node):
            raise AccelError(f"{self._kind} must yield one tensor")
        self.last = self._real.get(value, value)
        if self.last not in self._values:
            raise AccelError(f"{self._kind} yields what is not computed with quantized numbers")

    def _compute(
        self, node: fx.Node, what: Any, module: Any, of: list[fx.Node], result: torch.Tensor
    ) -> None:
        value = self._values[of[0]]
        options = self._options(node, module)
        if what in _SAME:
            self._require_scale(node, value, result)
            self._values[node] = value
        elif what in _VIEWS:
            self._view(node, value, result)
        elif what in _RELUS:
            self._clamp(node, value, 0.0, math.inf, result)
        elif what in _RELU6:
            self._clamp(node, value, 0.0, 6.0, result)
            self.reordered.append(self._label(node))
        elif what in (*_HARDTANHS, *_CLAMPS):
            self._clamp(node, value, *_ends(what, options), result)
            self.reordered.append(self._label(node))
        elif what in _SUMS:
            self._sum(node, of, _SUMS[what], result)
        elif what in _JOINS:
            self._join(node, result)
        elif what in _WEIGHTED_MODULES:
            packed = module._packed_params
            packed = getattr(packed, "_packed_params", packed)
            if getattr(module, "padding_mode", "zeros") != "zeros":
                self._refuse(node, f"pads by mode '{module.padding_mode}', which is not supported")
            self._weighted(node, value, packed, _WEIGHTED_MODULES[what], result)
        elif what in _WEIGHTED:
            packed = self.env[node.args[1]] if isinstance(node.args[1], fx.Node) else node.args[1]
            self._weighted(node, value, packed, _WEIGHTED[what], result)
        elif what in _FUNCTIONS:
            function, arguments = self._function(node, what, module)
            self._look_up(node, value, f"quantized.{function}", arguments, result)
        elif what in (*_MAX_POOLS, *_AVG_POOLS, *_GLOBAL_POOLS, *_MEANS):
            self._pool(node, value, what, options, result)
        else:
            self._refuse(node, "is not supported")

    # What it becomes

    def _name(self, node: fx.Node) -> str:
        """By its module, or the node; a module that is used twice has a number behind its name."""
        name = str(node.target) if node.op == "call_module" else node.name
        return numbered(name, {operation.name for operation in self._made} | {"input"})

    def _add(self, node: fx.Node, operation: Operation) -> None:
        self._made.append(operation)
        self._values[node] = _Value(operation.output, len(self._made) - 1)

    def _options(self, node: fx.Node, module: Any) -> Callable[[str, int, Any], Any]:
        """By name and place in a function's arguments, or as the module has it."""

        def option(name: str, place: int, default: Any) -> Any:
            if module is not None:
                return getattr(module, name, default)
            found = node.kwargs.get(name, node.args[place] if len(node.args) > place else default)
            return self.env[found] if isinstance(found, fx.Node) else found

        return option

    def _require_scale(self, node: fx.Node, value: _Value, result: torch.Tensor) -> None:
        tensor = value.tensor
        if (result.q_scale(), result.q_zero_point()) != (tensor.scale, tensor.zero_point):
            self._refuse(node, "has another scale than what it reads, which is not supported")

    def _view(self, node: fx.Node, value: _Value, result: torch.Tensor) -> None:
        """Whatever a view is called, linear layers read a map's elements in this order."""
        shape, before = tuple(result.shape), value.tensor.shape
        own, others = ([n for n in sizes if n != 1] for sizes in (shape[1:], before))
        if shape[0] != NUM_RUN or own not in (others, [math.prod(before)][: len(others)]):
            self._refuse(node, f"makes {shape} of {(NUM_RUN, *before)}, which is not supported")
        self._values[node] = value

    def _clamp(
        self,
        node: fx.Node,
        value: _Value,
        low: float,
        high: float,
        result: torch.Tensor,
    ) -> None:
        """A limit of what made the tensor, if nothing else reads it."""
        tensor = value.tensor
        self._require_scale(node, value, result)
        smallest, largest = (_integer(x, tensor) for x in (low, high))
        lo, hi = tensor.limits
        made = None if value.made_by is None else self._made[value.made_by]
        if smallest <= lo and largest >= hi:
            self._values[node] = value
            return
        if not isinstance(made, Add | Conv2d | Linear):
            self._refuse(
                node, "follows no convolution, linear layer or sum, which is not supported"
            )
        assert value.made_by is not None
        if any(len(n.users) > 1 for n, v in self._values.items() if v is value):
            self._refuse(node, "limits what others read without it, which is not supported")
        self._made[value.made_by] = replace(
            made,
            relu=made.relu or low == 0,
            smallest=max(made.smallest, smallest),
            largest=min(made.largest, largest),
        )
        self._values[node] = value

    def _sum(self, node: fx.Node, of: list[fx.Node], relu: bool, result: torch.Tensor) -> None:
        values = [self._values[n] for n in node.args[:2] if isinstance(n, fx.Node) and n in of]
        name = self._name(node)
        output = _tensor(name, result)
        if len(values) != 2 or any(v.tensor.shape != output.shape for v in values):
            self._refuse(node, "adds something else than two tensors of one shape")
        first, second = (value.tensor for value in values)
        self._add(node, Add(name=name, input=first, other=second, output=output, relu=relu))

    def _join(self, node: fx.Node, result: torch.Tensor) -> None:
        taken = node.args[0] if node.args else node.kwargs.get("tensors")
        dim = (
            node.args[1]
            if len(node.args) > 1
            else node.kwargs.get("dim", node.kwargs.get("axis", 0))
        )
        nodes = (
            [n for n in taken if isinstance(n, fx.Node)] if isinstance(taken, list | tuple) else []
        )
        parts = [self._values[n].tensor for n in nodes if n in self._values]
        if not isinstance(dim, int) or dim % result.ndim != 1 or len(parts) != len(nodes):
            self._refuse(node, "joins something else than channels of quantized tensors")
        maps = {part.shape[1:] for part in parts}
        name = self._name(node)
        output = _tensor(name, result)
        if len(maps) != 1 or math.prod(output.shape) != sum(part.size for part in parts):
            self._refuse(node, f"joins tensors of shapes {', '.join(str(p.shape) for p in parts)}")
        # Vectors that are maps in another shape are joined as maps, which is the same.
        output = replace(output, shape=(sum(part.shape[0] for part in parts), *maps.pop()))
        if len(parts) == 1:
            self._values[node] = self._values[nodes[0]]
            return
        scales = {(part.scale, part.zero_point) for part in (*parts, output)}
        if len(scales) > 1 and not quantizes_as_we_do():
            self._refuse(
                node,
                "joins tensors of other scales, which this version of PyTorch rounds in another "
                "way than the network: give all of them one scale, or use PyTorch 2.13",
            )
        self._add(node, Concat(name=name, parts=tuple(parts), output=output))

    def _function(self, node: fx.Node, what: Any, module: Any) -> tuple[str, tuple[float, ...]]:
        """Its name, and what it takes besides the value."""
        function, option = _OF_REAL[what], self._options(node, module)
        match function:
            case "hardtanh":
                least, most = np.finfo(np.float32).min, np.finfo(np.float32).max
                return function, tuple(
                    float(np.clip(end, least, most)) for end in _ends(what, option)
                )
            case "leaky_relu":
                return function, (float(option("negative_slope", 1, 0.01)),)
            case "elu":
                return function, (float(option("alpha", 3 if what is _Q.elu else 1, 1.0)),)
            case "softplus":
                return function, (float(option("beta", 1, 1.0)), float(option("threshold", 2, 20)))
            case "gelu" if option("approximate", 1, "none") == "tanh":
                return "gelu_tanh", ()
        return function, ()

    def _look_up(
        self,
        node: fx.Node,
        value: _Value,
        function: str,
        arguments: tuple[float, ...],
        result: torch.Tensor,
    ) -> None:
        if function not in FUNCTIONS:
            self._refuse(node, "is not supported")
        name = self._name(node)
        output = replace(_tensor(name, result), shape=value.tensor.shape)
        entries = function_entries(function, arguments, value.tensor, output)
        self._add(
            node,
            Table(
                name=name,
                input=value.tensor,
                output=output,
                function=function,
                arguments=arguments,
                entries=entries,
            ),
        )

    def _weighted(
        self, node: fx.Node, value: _Value, packed: Any, relu: bool, result: torch.Tensor
    ) -> None:
        weight, bias = packed.unpack()
        if weight.dtype != torch.qint8:
            self._refuse(node, f"has weights of {weight.dtype}, but only qint8 is supported")
        if weight.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            scales, zeros = [weight.q_scale()], [weight.q_zero_point()]
        else:
            scales = weight.q_per_channel_scales().tolist()
            zeros = weight.q_per_channel_zero_points().tolist()
        if any(zeros):
            self._refuse(node, "has weights with a zero point, which is not supported")
        name = self._name(node)
        common: dict[str, Any] = {
            "name": name,
            "weight": weight.int_repr().numpy(),
            "weight_scale": np.array(scales, np.float32),
            "bias": np.zeros(len(weight), np.float32)
            if bias is None
            else bias.detach().float().numpy(),
            "relu": relu,
            "input": value.tensor,
            "output": _tensor(name, result),
        }
        if weight.ndim == 2:
            if len(result.shape) != 2:
                self._refuse(node, "is applied to more than a vector, which is not supported")
            self._add(node, Linear(**common))
            return
        if any(n != 1 for n in packed.dilation()):
            self._refuse(node, f"has dilation {tuple(packed.dilation())}, which is not supported")
        above, left = packed.padding()
        stride = (packed.stride()[0], packed.stride()[1])
        padding, groups = (above, left, above, left), packed.groups()
        self._add(node, Conv2d(**common, stride=stride, padding=padding, groups=groups))

    def _pool(
        self, node: fx.Node, value: _Value, what: Any, option: Any, result: torch.Tensor
    ) -> None:
        tensor, name = value.tensor, self._name(node)
        is_max = what in _MAX_POOLS
        if what in _MEANS:
            dims = option("dim", 1, None)
            dims = [dims] if isinstance(dims, int) else list(dims or [])
            ndim = self.results[node.all_input_nodes[0]].ndim
            if not dims or sorted(d % ndim for d in dims) != list(range(2, ndim)):
                self._refuse(node, "is a mean over something else than rows and columns")
            pool = Pooling(False, None)
        elif what in _GLOBAL_POOLS:
            if _map_shape(result) == tensor.shape:
                self._values[node] = value
                return
            if any(n != 1 for n in result.shape[2:]):
                self._refuse(node, f"makes {tuple(result.shape[2:])} of {tensor.shape[1:]}, but "
                             f"only an average of the whole map is supported")  # fmt: skip
            pool = Pooling(False, None)
        else:
            sequence = result.ndim == 3
            size = _of_map(option("kernel_size", 1, None), sequence)
            if is_max and pair(option("dilation", 4, 1)) != (1, 1):
                self._refuse(node, "has a dilation, which is not supported")
            padding = _of_map(option("padding", 3, 0), sequence, 0)
            ceil = bool(option("ceil_mode", 5 if is_max else 4, False))
            if not is_max:
                counts = option("count_include_pad", 5, True)
                if option("divisor_override", 6, None) is not None or (any(padding) and not counts):
                    self._refuse(node, "divides by another number than a window's pixels")
            stride = _of_map(option("stride", 2, None) or size, sequence)
            pool = Pooling(is_max, size, stride, padding, ceil)
        window = pool.window(tensor.shape)
        if not is_max and window["padding"] != (*window["padding"][:2], *window["padding"][:2]):
            self._refuse(node, "averages a last window that is not full, which is not supported")
        count = window_count(tensor.shape, window["size"], window["stride"], window["padding"])
        output = replace(tensor, name=name, shape=(tensor.shape[0], *count))
        kind: Any = MaxPool2d if is_max else AvgPool2d
        self._add(node, kind(name=name, input=tensor, output=output, **window))


def _ends(what: Any, options: Callable[[str, int, Any], Any]) -> tuple[float, float]:
    """Of a limit, with or without both."""
    low, high = (
        (options("min_val", 1, -1.0), options("max_val", 2, 1.0))
        if what in _HARDTANHS
        else (options("min", 1, None), options("max", 2, None))
    )
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _tensor(name: str, x: torch.Tensor) -> Tensor:
    """Of the network, for what a node yields of one image."""
    if not x.is_quantized or x.dtype not in (torch.quint8, torch.qint8):
        kind = str(x.dtype).removeprefix("torch.")
        raise AccelError(f"'{name}' yields {kind}, but only quint8 and qint8 are supported")
    return Tensor(
        name=name,
        shape=_map_shape(x),
        scale=x.q_scale(),
        zero_point=x.q_zero_point(),
        signed=x.dtype == torch.qint8,
    )


def _map_shape(x: torch.Tensor) -> Shape:
    """Of one image; a sequence is a map of one row."""
    _, *sizes = x.shape
    return (sizes[0], 1, sizes[1]) if len(sizes) == 2 else tuple(sizes)


def _integer(limit: float, tensor: Tensor) -> int:
    lo, hi = tensor.limits
    if math.isinf(limit):
        return lo if limit < 0 else hi
    return int(numerics.quantize(limit, tensor.scale, tensor.zero_point, tensor.signed))


def _contiguous(x: Any) -> Any:
    return x.contiguous() if isinstance(x, torch.Tensor) else x


def _of_map(value: Any, sequence: bool, of_rows: int = 1) -> tuple[int, int]:
    """Of rows and columns; ``of_rows`` rows of a sequence, whose map has one."""
    rows, columns = pair(value)
    return (of_rows if sequence else rows, columns)
