"""From a ``.tflite`` file, quantized to int8 throughout, to a network with the bytes that LiteRT
yields with its XNNPACK delegate, which it uses unless it is told not to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.errors import AccelError
from accel.frontends.tflite import Model, Operator, TensorInfo, parse, read
from accel.network.graph import Network
from accel.network.order import Order
from accel.network.tensor import MAX_NAME, MAX_SIZE, Tensor, require
from accel.operations import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Linear,
    MaxPool2d,
    Mean,
    Operation,
    Table,
)
from accel.operations.weighted import Weighted
from accel.operations.window import Pair, Sides
from accel.runtimes.litert import function_entries
from accel.runtimes.rounding import LITERT

TAKEN = (
    "CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, AVERAGE_POOL_2D, MAX_POOL_2D, MEAN, ADD, "
    "CONCATENATION, PAD, RESHAPE, LOGISTIC, TANH, HARD_SWISH, LEAKY_RELU, ELU, GELU, RELU, RELU6, "
    "QUANTIZE, and DEQUANTIZE and SOFTMAX at the ends"
)

MULTIPLIER_END = 256.0
"""XNNPACK makes no layer whose accumulators are multiplied with this or more."""

NO_PADDING: Sides = (0, 0, 0, 0)
_INT8 = (-128, 127)
_CLAMPS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}
_FUNCTIONS: dict[str, str] = {
    "ELU": "elu",
    "GELU": "gelu",
    "HARD_SWISH": "hardswish",
    "LEAKY_RELU": "leaky_relu",
    "LOGISTIC": "sigmoid",
    "QUANTIZE": "requantize",
    "RELU": "relu",
    "RELU6": "relu6",
    "TANH": "tanh",
}
"""Operators of one value, and their functions."""
_OPTIONS = {
    "GELU": "GeluOptions",
    "HARD_SWISH": "HardSwishOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "QUANTIZE": "QuantizeOptions",
}
_SHAPES = ("SHAPE", "STRIDED_SLICE", "PACK")
"""What computes the shape for a RESHAPE, which the file says anyway."""


def load(path: str | Path) -> Network:
    """The network of a ``.tflite`` file. It takes images and yields maps in the file's order: rows,
    columns, channels.

    It begins behind a QUANTIZE or RESHAPE of the file's input, and ends before a SOFTMAX or
    DEQUANTIZE, which are the host's.

    Raises :class:`AccelError` for a file that cannot be read or is damaged, and for what is not
    int8, or no operator that the network can have, by the operator's and the tensor's name.
    """
    path = Path(path)
    name = "".join(c for c in path.stem if c.isprintable())[:MAX_NAME] or "network"
    try:
        return network(read(path), name)
    except AccelError as e:
        raise AccelError(f"cannot load the network {path}: {e}") from e


def network(data: bytes, name: str) -> Network:
    """The network of a file of that content.

    Raises :class:`AccelError` as :func:`load` does.
    """
    return _Reading(parse(data)).network(name, data)


@dataclass(frozen=True, kw_only=True)
class _Value:
    """A tensor of the file, as the network has it."""

    info: TensorInfo
    tensor: Tensor | None = None
    """Channels first; None for the file's input, and what only another shape or type makes of it:
    the network has not begun."""
    limits: Pair = _INT8
    """Its smallest and largest value."""
    padding: Sides = NO_PADDING
    """What a PAD puts around it, which the next operation does."""
    host: Operator | None = None
    """What the host does with it first; nothing of the network can follow."""


class _Reading:
    """Operator by operator, in the file's order."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.operations: list[Operation] = []
        self.notes: list[str] = []
        self.values: dict[int, _Value] = {}
        for what, tensors in (("input", model.inputs), ("output", model.outputs)):
            require(len(tensors) == 1, f"it has {len(tensors)} {what}s, but a network here has one")
        (given,) = model.inputs
        self.values[given.index] = _Value(info=given)

    def network(self, name: str, data: bytes) -> Network:
        for op in self.model.operators:
            self._read(op)
        (wanted,) = self.model.outputs
        value = self.values.get(wanted.index)
        if value is None:
            raise AccelError(f"no operator yields its output, {wanted}")
        require(len(self.operations) > 0, f"nothing is computed: expected {TAKEN}")
        last = self.operations[-1].output
        require(
            value.tensor == last and value.padding == NO_PADDING,
            f"its output, {wanted}, is not what its last operator yields",
        )
        return Network(
            name=name,
            operations=tuple(self.operations),
            origin="litert",
            notes=tuple(self.notes),
            source=data,
            order=Order.CHANNELS_LAST,
        )

    def _read(self, op: Operator) -> None:
        if op.kind in _SHAPES and all(t.type == "INT32" for t in op.outputs):
            return
        handler = _HANDLERS.get(op.kind)
        if handler is None:
            _refuse(op, f"an operator that this cannot take: expected {TAKEN}")
        if len(op.outputs) != 1:
            _refuse(op, f"it has {len(op.outputs)} outputs, not one")
        (output,) = op.outputs
        if output.index in self.values or output.is_constant:
            _refuse(op, "its output is there already")
        self.values[output.index] = handler(self, op, output)

    # What an operator reads

    def _value(self, op: Operator, number: int) -> _Value:
        """Input ``number`` of an operator, which is given or computed."""
        info = op.inputs[number] if number < len(op.inputs) else None
        if info is None:
            _refuse(op, f"it has no input {number}")
        if info.is_constant:
            _refuse(op, f"its input, {info}, is a constant")
        value = self.values.get(info.index)
        if value is None:
            _refuse(op, f"its input, {info}, is not computed before it")
        return value

    def _activation(self, op: Operator, number: int = 0, padded: bool = False) -> _Value:
        """The same, with a tensor: if the network has not begun, it begins with this one."""
        value = self._value(op, number)
        if value.host is not None:
            _refuse(op, f"it follows {value.host}, which only the host computes, at the end")
        if value.padding != NO_PADDING and not padded:
            _refuse(op, "what a PAD yields may only be the input of a convolution or a maximum")
        tensor = _tensor(op, value.info)
        if value.tensor is None:
            # It has one input: what else of the file is the same bytes, is this.
            for index, other in self.values.items():
                self.values[index] = replace(other, tensor=tensor)
            value = replace(value, tensor=tensor)
        begun = value.tensor
        assert begun is not None
        zero_point = begun.zero_point - (0 if begun.signed else 128)
        if (tensor.scale, tensor.zero_point) != (begun.scale, zero_point):
            _refuse(op, f"its input, {value.info}, has another scale or zero point than its values")
        return value

    def _map(self, op: Operator, padded: bool = False) -> tuple[_Value, Tensor]:
        """The first input, which must be a feature map."""
        value = self._activation(op, 0, padded)
        tensor, shape = value.tensor, value.info.shape
        assert tensor is not None
        if len(tensor.shape) != 3 or len(shape) != 4:
            _refuse(op, f"its input, {value.info}, of shape {shape}, is no feature map")
        _, height, width, channels = shape
        above, left, below, right = value.padding
        if tensor.shape != (channels, height - above - below, width - left - right):
            _refuse(
                op, f"its input, {value.info}, is a map of shape {tensor.shape} in another shape"
            )
        return value, tensor

    # Operators

    def _conv2d(self, op: Operator, output: TensorInfo) -> _Value:
        value, x = self._map(op, padded=True)
        weight, scale = _weight(op, 4, 0)
        if weight.shape[3] == 0 or x.shape[0] % weight.shape[3]:
            _refuse(op, f"its weights take {weight.shape[3]} channels, not {x.shape[0]}")
        groups = x.shape[0] // weight.shape[3]
        return self._convolution(op, output, value, weight.transpose(0, 3, 1, 2), scale, groups)

    def _depthwise(self, op: Operator, output: TensorInfo) -> _Value:
        value, x = self._map(op, padded=True)
        weight, scale = _weight(op, 4, 3)
        outputs = x.shape[0] * op.options["DepthMultiplier"]
        if weight.shape[0] != 1 or weight.shape[3] != outputs:
            _refuse(op, f"its weights have shape {weight.shape}, not (1, rows, columns, {outputs})")
        return self._convolution(op, output, value, weight.transpose(3, 0, 1, 2), scale, x.shape[0])

    def _convolution(
        self,
        op: Operator,
        output: TensorInfo,
        value: _Value,
        weight: NDArray[np.int8],
        scale: NDArray[np.float32],
        groups: int,
    ) -> _Value:
        """weight: (outputs, channels / groups, rows, columns)."""
        rows, columns = weight.shape[2:]
        for axis, kernel in (("H", rows), ("W", columns)):
            dilation = op.options[f"Dilation{axis}Factor"]
            if dilation != 1 and kernel != 1:
                _refuse(op, f"its windows have gaps: dilation must be 1, not {dilation}")
        stride, padding = _window(op, value.info.shape, (rows, columns))
        bias = _bias(op, len(weight))
        if bias is None:
            _refuse(op, "it has no bias, without which LiteRT runs no int8 convolution")
        return self._weighted(
            op,
            output,
            Conv2d,
            input=value.tensor,
            weight=np.ascontiguousarray(weight),
            weight_scale=scale,
            bias=bias,
            stride=stride,
            padding=_both(value.padding, padding),
            groups=groups,
        )

    def _fully_connected(self, op: Operator, output: TensorInfo) -> _Value:
        x = self._activation(op).tensor
        assert x is not None
        weight, scale = _weight(op, 2, 0)
        if op.options["WeightsFormat"] != 0:
            _refuse(op, "its weights are shuffled")
        outputs, inputs = weight.shape
        if inputs != x.size:
            _refuse(op, f"its weights take {inputs} inputs, not {x.size}")
        if len(x.shape) == 3:
            # The file's rows, columns, channels become channels, rows, columns.
            channels, height, width = x.shape
            by_pixel = weight.reshape(outputs, height, width, channels)
            weight = np.ascontiguousarray(by_pixel.transpose(0, 3, 1, 2)).reshape(outputs, inputs)
        bias = _bias(op, outputs)
        return self._weighted(
            op,
            output,
            Linear,
            input=x,
            weight=weight,
            weight_scale=scale,
            bias=np.zeros(outputs, np.int32) if bias is None else bias,
        )

    def _weighted(
        self, op: Operator, output: TensorInfo, kind: type[Weighted], **fields: Any
    ) -> _Value:
        after = _tensor(op, output)
        if kind is Linear:
            after = replace(after, shape=(after.size,))
        made = self._rounded(op, output, kind, after, **fields)
        layer = self.operations[-1]
        assert isinstance(layer, Weighted)
        largest = float(layer.multiplier.max())
        if largest >= MULTIPLIER_END:
            _refuse(
                op,
                f"its scales multiply sums by {largest:.6g}, but LiteRT runs no layer with "
                f"{MULTIPLIER_END:.0f} or more",
            )
        return made

    def _rounded(
        self, op: Operator, output: TensorInfo, kind: Any, after: Tensor, **fields: Any
    ) -> _Value:
        """Adds an operation that is requantized, with its activation."""
        lo, hi = _limits(op, after, numerics.xnnpack_limit)
        self._add(
            op,
            kind,
            output=after,
            relu=False,
            smallest=lo,
            largest=hi,
            rounding=LITERT,
            **fields,
        )
        return _Value(info=output, tensor=after, limits=(lo, hi))

    def _add(self, op: Operator, kind: type[Operation], **fields: Any) -> None:
        try:
            self.operations.append(kind(name=f"{op.kind.lower()}_{op.index}", **fields))
        except AccelError as e:
            _refuse(op, str(e))

    def _sum(self, op: Operator, output: TensorInfo) -> _Value:
        a, b = (self._activation(op, number) for number in (0, 1))
        if a.info.shape != b.info.shape:
            _refuse(op, f"it adds tensors of shapes {a.info.shape} and {b.info.shape}")
        x = a.tensor
        assert x is not None
        after = replace(_tensor(op, output), shape=x.shape)
        return self._rounded(op, output, Add, after, input=x, other=b.tensor)

    def _join(self, op: Operator, output: TensorInfo) -> _Value:
        values = [self._activation(op, number) for number in range(len(op.inputs))]
        if not values:
            _refuse(op, "it has no input")
        after, axis = _tensor(op, output), op.options["Axis"]
        rank = len(output.shape)
        if axis not in (rank - 1, -1):
            _refuse(op, f"it joins tensors along dimension {axis}, but only along channels it may")
        if op.options["FusedActivationFunction"] != "NONE":
            _refuse(op, f"its activation is {op.options['FusedActivationFunction']}, not NONE")
        parts = tuple(value.tensor for value in values if value.tensor is not None)
        for value, part in zip(values, parts, strict=True):
            _, *sizes, last = value.info.shape
            if (last, *sizes) != part.shape and part.shape[1:] not in ((), (1, 1)):
                _refuse(
                    op, f"its input, {value.info}, is a map of shape {part.shape} in another shape"
                )
        if len({len(part.shape) for part in parts}) > 1:
            _refuse(op, "it joins maps and vectors")
        if not after.signed or not all(part.signed for part in parts):
            _refuse(op, "it joins bytes that are not signed")
        shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
        if after.size != sum(part.size for part in parts):
            _refuse(op, f"its output has shape {output.shape}, not one of {shape[0]} channels")
        after = replace(after, shape=shape)
        limits = min(v.limits[0] for v in values), max(v.limits[1] for v in values)
        if len(parts) == 1:
            return replace(values[0], info=output)
        self._add(op, Concat, parts=parts, output=after, rounding=LITERT)
        return _Value(info=output, tensor=after, limits=limits)

    def _average(self, op: Operator, output: TensorInfo) -> _Value:
        """Not XNNPACK's but LiteRT's own: the mean of the bytes, ties away from zero."""
        value, x = self._map(op)
        fields = self._pool(op, output, value, numerics.litert_limit)
        if fields["padding"] != NO_PADDING:
            _refuse(op, "its windows lie over the edge, where LiteRT averages fewer pixels")
        return self._pooled(op, output, AvgPool2d, value, input=x, rounding=LITERT, **fields)

    def _mean(self, op: Operator, output: TensorInfo) -> _Value:
        _, x = self._map(op)
        axes = _constant(op, 1, "INT32")
        if sorted(int(axis) % 4 for axis in np.ravel(axes)) != [1, 2]:
            _refuse(op, f"it must be over rows and columns, not dimensions {axes.ravel().tolist()}")
        after = _tensor(op, output)
        if after.size != x.shape[0]:
            _refuse(op, f"it yields {after.size} means, not one of each of {x.shape[0]} channels")
        after = replace(after, shape=(after.size, 1, 1))
        self._add(op, Mean, input=x, output=after, rounding=LITERT)
        return _Value(info=output, tensor=after)

    def _maximum(self, op: Operator, output: TensorInfo) -> _Value:
        value, x = self._map(op, padded=True)
        fields = self._pool(op, output, value, numerics.xnnpack_limit)
        if value.padding != NO_PADDING and x.zero_point != x.limits[0]:
            _refuse(op, "its input is padded with zeros, not with the least value")
        fields["padding"] = _both(value.padding, fields["padding"])
        return self._pooled(op, output, MaxPool2d, value, input=x, **fields)

    def _pool(
        self, op: Operator, output: TensorInfo, value: _Value, limit: _Limit
    ) -> dict[str, Any]:
        size = op.options["FilterHeight"], op.options["FilterWidth"]
        if not all(1 <= n <= MAX_SIZE for n in size):
            _refuse(op, f"its windows have {size[0]}x{size[1]} pixels")
        stride, padding = _window(op, value.info.shape, size)
        lo, hi = _limits(op, _tensor(op, output), limit)
        if lo > value.limits[0] or hi < value.limits[1]:
            activation = op.options["FusedActivationFunction"]
            _refuse(op, f"its {activation} changes values; only after a layer with weights it may")
        return {"size": size, "stride": stride, "padding": padding}

    def _pooled(
        self,
        op: Operator,
        output: TensorInfo,
        kind: type[Operation],
        value: _Value,
        **fields: Any,
    ) -> _Value:
        x = fields["input"]
        after = replace(_tensor(op, output), signed=x.signed)
        if not x.signed:
            after = replace(after, zero_point=after.zero_point + 128)
        self._add(op, kind, output=after, **fields)
        return _Value(info=output, tensor=after, limits=value.limits)

    def _pad(self, op: Operator, output: TensorInfo) -> _Value:
        value = self._activation(op, padded=True)
        sides = _constant(op, 1, "INT32", "INT64")
        if sides.shape != (4, 2) or (sides < 0).any() or (sides > MAX_SIZE).any():
            _refuse(op, f"it must pad a feature map, but has sizes of shape {sides.shape}")
        (above, below), (left, right) = sides[1:3].tolist()
        if sides[0].any() or sides[3].any():
            _refuse(op, "it pads channels or images")
        return replace(
            value, info=output, padding=_both(value.padding, (above, left, below, right))
        )

    def _reshape(self, op: Operator, output: TensorInfo) -> _Value:
        """The same values in the same order."""
        value = self._value(op, 0)
        if value.padding != NO_PADDING:
            _refuse(op, "what a PAD yields may only be the input of a convolution or a maximum")
        if np.prod(value.info.shape) != np.prod(output.shape):
            _refuse(op, f"its input has shape {value.info.shape}, its output {output.shape}")
        if value.tensor is None:
            self.notes.append(
                f"the network begins behind {op}: it takes images of shape {output.shape}"
            )
        return replace(value, info=output)

    def _quantize(self, op: Operator, output: TensorInfo) -> _Value:
        """From and to the types that a file may have at its ends."""
        value = self._value(op, 0)
        if value.padding != NO_PADDING:
            _refuse(op, "what a PAD yields may only be the input of a convolution or a maximum")
        before = value.info
        if value.host is not None:
            return replace(value, info=output)
        if before.type == "FLOAT32" and value.tensor is None:
            self.notes.append(
                f"the network begins behind {op}: accel makes integers of real numbers as it does"
            )
            return _Value(info=output)
        shifts = {"INT8": 0, "UINT8": 128}
        same = (
            {before.type, output.type} <= shifts.keys()
            and before.scale.size == output.scale.size == 1
            and before.scale[0] == output.scale[0]
            and before.zero_point[0] - shifts[before.type]
            == output.zero_point[0] - shifts[output.type]
        )
        if not same and before.type == output.type == "INT8":
            return self._function(op, output)
        if not same:
            _refuse(
                op,
                "it changes the type in another way than between real numbers or uint8 and int8 at "
                "the file's ends",
            )
        if before.type == "UINT8" and value.tensor is None:
            unsigned = _tensor(op, before, "UINT8")
            return _Value(info=output, tensor=unsigned)
        if output.type == "UINT8":
            self.notes.append(f"the network ends before {op}: its bytes are 128 less")
            return replace(value, info=output, host=op)
        return replace(value, info=output)

    def _function(self, op: Operator, output: TensorInfo) -> _Value:
        """A table of what LiteRT itself makes of each byte."""
        value = self._activation(op)
        before = value.tensor
        assert before is not None
        after = replace(_tensor(op, output), shape=before.shape)
        if not before.signed:
            _refuse(op, "it reads uint8, but must read int8")
        function = _FUNCTIONS[op.kind]
        arguments: tuple[float, ...] = ()
        if op.kind == "ELU":
            arguments = (1.0,)
        elif op.kind == "LEAKY_RELU":
            arguments = (float(op.options["Alpha"]),)
        elif op.kind == "GELU" and op.options["Approximate"]:
            function = "gelu_tanh"
        options = (_OPTIONS[op.kind], op.options) if op.kind in _OPTIONS else None
        try:
            entries = function_entries(op.kind, options, before, after)
        except AccelError as e:
            _refuse(op, str(e))
        self._add(op, Table, input=before, output=after, function=function,
                  arguments=arguments, entries=entries)  # fmt: skip
        return _Value(info=output, tensor=after, limits=(int(entries.min()), int(entries.max())))

    def _left_to_host(self, op: Operator, output: TensorInfo) -> _Value:
        value = self._value(op, 0)
        if value.host is None:
            value = self._activation(op)
            self.notes.append(f"the network ends before {op}, which is left to the host")
        return replace(value, info=output, host=op)


_Limit = Callable[[float, float, int], int]

_HANDLERS: dict[str, Callable[[_Reading, Operator, TensorInfo], _Value]] = {
    "ADD": _Reading._sum,
    "AVERAGE_POOL_2D": _Reading._average,
    "CONCATENATION": _Reading._join,
    "CONV_2D": _Reading._conv2d,
    "DEPTHWISE_CONV_2D": _Reading._depthwise,
    "DEQUANTIZE": _Reading._left_to_host,
    "ELU": _Reading._function,
    "EXPAND_DIMS": _Reading._reshape,
    "FULLY_CONNECTED": _Reading._fully_connected,
    "GELU": _Reading._function,
    "HARD_SWISH": _Reading._function,
    "LEAKY_RELU": _Reading._function,
    "LOGISTIC": _Reading._function,
    "MAX_POOL_2D": _Reading._maximum,
    "MEAN": _Reading._mean,
    "PAD": _Reading._pad,
    "QUANTIZE": _Reading._quantize,
    "RELU": _Reading._function,
    "RELU6": _Reading._function,
    "TANH": _Reading._function,
    "RESHAPE": _Reading._reshape,
    "SOFTMAX": _Reading._left_to_host,
    "SQUEEZE": _Reading._reshape,
}


def _refuse(op: Operator, why: str) -> NoReturn:
    raise AccelError(f"{op}: {why}")


def _tensor(op: Operator, info: TensorInfo, kind: str = "INT8") -> Tensor:
    """An activation of the file, channels first."""
    if info.type != kind:
        _refuse(op, f"{info} is {info.type}, but must be {kind}: quantize the model to full int8")
    if info.scale.size != 1:
        _refuse(op, f"{info} has {info.scale.size} scales, but must have one")
    shape = info.shape
    if len(shape) not in (2, 4) or shape[0] != 1:
        _refuse(
            op,
            f"{info} has shape {shape}, but must be (1, rows, columns, channels) or (1, features)",
        )
    _, *sizes, last = shape
    try:
        return Tensor(
            name=f"tensor {info.index}",
            shape=(last, *sizes),
            scale=float(info.scale[0]),
            zero_point=int(info.zero_point[0]),
            signed=kind == "INT8",
        )
    except AccelError as e:
        _refuse(op, f"{info}: {e}")


def _constant(op: Operator, number: int, *types: str) -> NDArray[Any]:
    """A constant input of an operator."""
    info = op.inputs[number] if number < len(op.inputs) else None
    if info is None or info.data is None or info.type not in types:
        found = "missing" if info is None else f"{info}, of {info.type}"
        _refuse(op, f"its input {number} must be a constant of {types[0]}, but is {found}")
    return info.data


def _weight(op: Operator, rank: int, axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights, and their scales: one, or one for each output, which are along ``axis``."""
    weight: NDArray[np.int8] = _constant(op, 1, "INT8")
    info = op.inputs[1]
    assert info is not None
    if weight.ndim != rank:
        _refuse(op, f"its weights, {info}, have shape {weight.shape}, but must have {rank} sizes")
    if info.zero_point.any():
        _refuse(op, f"its weights, {info}, have a zero point, but must be symmetric")
    if info.scale.size not in (1, weight.shape[axis]) or (
        info.scale.size > 1 and info.axis != axis
    ):
        _refuse(
            op,
            f"its weights, {info}, have {info.scale.size} scales along dimension {info.axis}, but "
            f"must have one, or {weight.shape[axis]} along dimension {axis}",
        )
    return weight, np.array(info.scale)


def _bias(op: Operator, outputs: int) -> NDArray[np.int32] | None:
    if len(op.inputs) < 3 or op.inputs[2] is None:
        return None
    bias = _constant(op, 2, "INT32")
    if bias.size != outputs:
        _refuse(op, f"its bias, {op.inputs[2]}, has {bias.size} elements, not {outputs}")
    return bias.reshape(outputs).astype(np.int32)


def _window(op: Operator, shape: tuple[int, ...], size: Pair) -> tuple[Pair, Sides]:
    """Stride and padding of windows of that size over a map of shape (1, rows, columns,
    channels)."""
    stride = op.options["StrideH"], op.options["StrideW"]
    if not all(1 <= step <= MAX_SIZE for step in stride):
        _refuse(op, f"its stride is {stride[0]}x{stride[1]}")
    if op.options["Padding"] == "VALID":
        return stride, NO_PADDING
    if op.options["Padding"] != "SAME":
        _refuse(op, f"its padding is {op.options['Padding']}, but must be SAME or VALID")
    # As many windows as strides begin in the map; what is odd goes below and to the right.
    (above, below), (left, right) = (
        (missing // 2, missing - missing // 2)
        for n, window, step in zip(shape[1:3], size, stride, strict=True)
        for missing in (max((-(-n // step) - 1) * step + window - n, 0),)
    )
    return stride, (above, left, below, right)


def _both(a: Sides, b: Sides) -> Sides:
    above, left, below, right = (x + y for x, y in zip(a, b, strict=True))
    return above, left, below, right


def _limits(op: Operator, tensor: Tensor, limit: _Limit) -> Pair:
    """The smallest and largest value that the operator's activation leaves."""
    name = op.options["FusedActivationFunction"]
    if name not in _CLAMPS:
        _refuse(op, f"its activation is {name}, but must be one of {', '.join(_CLAMPS)}")
    ends = zip(_CLAMPS[name], _INT8, strict=True)
    lo, hi = (
        end if real is None else limit(real, tensor.scale, tensor.zero_point) for real, end in ends
    )
    return lo, hi
