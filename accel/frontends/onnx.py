"""From a quantized ONNX model to a network.

ONNX has two forms of quantized models, and both are read: integer operators (QLinearConv, QGemm and
their like: "QOperator"), and float operators between DequantizeLinear and QuantizeLinear ("QDQ"),
in whose place ONNX Runtime puts integer operators where it can. Of either the network has what the
integer operator computes. What else there is in a file is refused by node, all of it at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.errors import AccelError
from accel.frontends.onnx_file import Node, array_of, parse, printable, read_file
from accel.frontends.onnx_graph import (
    ADVICE,
    Activation,
    Constant,
    OfHost,
    Params,
    Reader,
    Sums,
    Value,
)
from accel.network.graph import Network
from accel.network.tensor import MAX_SIZE, Tensor, short
from accel.operations import AvgPool2d, Concat, Conv2d, Linear, MaxPool2d, Operation, Table
from accel.operations.window import Pair, Sides, window_count
from accel.runtimes.onnxruntime import function_entries
from accel.runtimes.rounding import ONNXRUNTIME

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

READS: dict[tuple[str, str], Callable[[Reader, Node], Value]] = {}
"""By domain and operator, what makes the output of a node."""

WHY_NOT = {
    "Add": "ONNX Runtime adds in float32 on x86, which no integer adder equals",
    "AveragePool": "ONNX Runtime averages in float32, which no sum of integers equals; a "
    "GlobalAveragePool is read",
    "Mul": "the hardware multiplies by weights only",
}
"""Operators that quantized models have, but which are not read, and why."""


def load(path: Path) -> Network:
    """The network in an ONNX file.

    Its tensors are named as the integer tensors in the file are, or as the float tensor is where
    there is no other name. Nothing in the file runs, and no other file is read.

    Raises :class:`AccelError` for a file that cannot be read, is damaged or no ONNX model, and for
    nodes that are no part of a quantized network.
    """
    try:
        graph = parse(read_file(path))
        return Reader(graph, READS).network(printable(path.stem))
    except AccelError as e:
        raise AccelError(f"cannot load the ONNX model {path}: {e}") from e


def _reads(*kinds: str, domain: str = "") -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        for kind in kinds:
            READS[domain, kind] = function
        return function

    return register


# Quantizing and dequantizing


@_reads("QuantizeLinear")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 3)
    axis, block = node.take("axis", 1), node.take("block_size", 0)
    node.take("saturate", 1)  # of types that are not read
    kind, precision = node.take("output_dtype", 0), node.take("precision", 0)
    if block or precision or kind not in (0, 2, 3):
        raise AccelError("it quantizes in blocks, or to another type than INT8 or UINT8")
    value = reader.value(node, 0)
    if isinstance(value, OfHost):
        return value
    if isinstance(value, np.ndarray):
        return _quantized_constant(reader, node, value, axis)
    params = reader.params(node, 1, signed=kind == 3)
    if isinstance(value, Sums):
        return _requantized(reader, node, value, params)
    activation = reader.activation(node, 0)
    if not activation.is_real:
        raise AccelError("it quantizes integers")
    return replace(reader.scaled(activation, params), is_real=False)


def _quantized_constant(reader: Reader, node: Node, value: NDArray[Any], axis: int) -> NDArray[Any]:
    """What ONNX Runtime makes of a float constant before anything runs."""
    scale, zero = reader.constant(node, 1), reader.constant(node, 2)
    if value.dtype != np.float32 or scale.dtype != np.float32:
        raise AccelError("it quantizes something else than float32")
    if zero.dtype not in (np.int8, np.uint8) or zero.shape != scale.shape:
        raise AccelError("its zero point must be like its scale, of type INT8 or UINT8")
    along = _along(scale, value, axis)
    if not np.isfinite(value).all() or not (scale > 0).all():
        raise AccelError("it quantizes what is not finite, or with a scale that is not positive")
    signed = zero.dtype == np.int8
    zeros: Any = _along(zero, value, axis).astype(np.int64)
    return numerics.quotient_quantize(value, along, zeros, signed).astype(zero.dtype)


def _along(array: NDArray[Any], values: NDArray[Any], axis: int) -> NDArray[Any]:
    """One number, or one for each place along an axis, so that it broadcasts."""
    if array.size == 1:
        return array.reshape(())
    axis += values.ndim if axis < 0 else 0
    if array.ndim != 1 or not 0 <= axis < values.ndim or len(array) != values.shape[axis]:
        raise AccelError("its scale must be one number, or one for each place along its axis")
    return array.reshape([-1 if i == axis else 1 for i in range(values.ndim)])


def _requantized(reader: Reader, node: Node, sums: Sums, params: Params) -> Activation:
    """A float operator that is quantized becomes the integer operator."""
    scale, zero_point, signed = params
    if signed != sums.signed and not sums.of_any_type:
        raise AccelError("input and output of an integer operator must be of the same type")
    options: dict[str, Any] = {}
    if sums.is_weighted:
        lo, hi = Tensor(
            name="output",
            shape=sums.shape,
            scale=float(scale),
            zero_point=zero_point,
            signed=signed,
        ).limits
        least, most = (
            int(numerics.quotient_quantize(limit, scale, zero_point, signed))
            for limit in (sums.least, sums.most)
        )
        if least not in (lo, zero_point):
            raise AccelError(
                f"the hardware cuts off outputs below zero, or nowhere, not below {sums.least:.6g}"
            )
        if most < max(least, zero_point if least == zero_point else lo):
            raise AccelError("it cuts off all outputs")
        options = {"relu": least == zero_point and lo != zero_point, "largest": most}
        reach = [float(scale) * (limit - zero_point) for limit in (lo, hi)]
        # Its own rule, in clip_quant_fusion.cc and relu_quant_fusion.cc.
        if sums.least - reach[0] > 2.0**-23 or reach[1] - sums.most > 2.0**-23:
            reader.note(
                sums.node,
                "ONNX Runtime computes it in float32, since its outputs are cut off within the "
                "range of their type; here it is the integer operator, so that an output may "
                "differ by one",
            )
        elif sums.only_if_allowed:
            reader.only_if_allowed.append(sums.node)
    activation = reader.add(sums.node, sums.make, sums.shape, params, node.outputs[0], **options)
    return replace(activation, shape=sums.seen or activation.shape)


@_reads("DequantizeLinear")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 3)
    axis, block = node.take("axis", 1), node.take("block_size", 0)
    if block or node.take("output_dtype", 1) not in (0, 1):
        raise AccelError("it dequantizes blocks, or to another type than FLOAT")
    value = reader.value(node, 0)
    if isinstance(value, OfHost):
        return value
    if isinstance(value, np.ndarray):
        scale = reader.constant(node, 1)
        zero = reader.constant(node, 2) if reader.has(node, 2) else np.zeros_like(value, shape=())
        if scale.dtype != np.float32 or zero.dtype != value.dtype:
            raise AccelError("its scale must be of type FLOAT, its zero point as its input")
        _along(scale, value, axis)
        return Constant(value, scale.reshape(-1), zero.reshape(-1), axis % max(value.ndim, 1))
    return replace(reader.integers(node, 0, 1), is_real=True)


# Sums of products


@dataclass(frozen=True)
class _Weights:
    weight: NDArray[np.int8]
    """Output channels first."""
    scale: NDArray[np.float32]


def _weights(
    weight: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], outputs: int
) -> _Weights:
    """Weights, output channels first, as int8 with zero points of 0."""
    if scale.dtype != np.float32 or scale.size not in (1, outputs):
        raise AccelError("the scale of its weights must be one number, or one for each output")
    if weight.dtype not in (np.int8, np.uint8) or zero.dtype != weight.dtype:
        raise AccelError("its weights and their zero point must be of type INT8 or UINT8")
    middle = 0 if weight.dtype == np.int8 else 128
    if np.any(zero != middle):
        raise AccelError(
            f"the zero point of {weight.dtype.name} weights must be {middle}, not "
            f"{int(zero[zero != middle].flat[0])}: quantize with symmetric weights"
        )
    centred = (weight.astype(np.int16) - middle).astype(np.int8)
    return _Weights(np.ascontiguousarray(centred), scale.reshape(-1))


def _quantized_weights(
    reader: Reader, node: Node, i: int, axis: int, transposed: bool = False
) -> _Weights:
    """Dequantized weights with one scale, or one for each place along ``axis``, which is that of
    the output channels."""
    value = reader.value(node, i)
    if not isinstance(value, Constant):
        raise AccelError(f"its weights are not quantized: {ADVICE}")
    if value.scale.size > 1 and value.axis != axis:
        raise AccelError("its weights must have one scale, or one for each output channel")
    weight = value.values.T if transposed else value.values
    return _weights(weight, value.scale, value.zero_point, len(weight) if weight.ndim else 0)


def _no_bias(weights: _Weights) -> NDArray[np.int32]:
    return np.zeros(len(weights.weight), np.int32)


def _integer_bias(bias: NDArray[Any], weights: _Weights) -> NDArray[np.int32]:
    if bias.dtype != np.int32:
        raise AccelError("its bias must be of type INT32")
    return _bias_shape(bias, weights)


def _bias_shape(bias: NDArray[Any], weights: _Weights) -> NDArray[Any]:
    """One number for each output, whatever the axes before that are called."""
    outputs = len(weights.weight)
    if bias.size != outputs or (bias.ndim and bias.shape[-1] != outputs):
        raise AccelError("its bias must have a number for each output")
    return bias.reshape(-1)


def _real_bias(value: Value, tensor: Tensor, weights: _Weights) -> NDArray[Any]:
    """The bias of a float operator: float32, or integers at the scale of its sums."""
    if isinstance(value, np.ndarray):
        if value.dtype != np.float32:
            raise AccelError("its bias must be of type FLOAT, or dequantized")
        return _bias_shape(value, weights)
    if not isinstance(value, Constant) or value.values.dtype != np.int32:
        raise AccelError("its bias must be a constant, of type FLOAT or dequantized INT32")
    expected = np.float32(tensor.scale) * weights.scale
    scale = value.scale.astype(np.float64)
    # As it was rounded by whoever wrote it: ONNX Runtime does not look at it.
    with np.errstate(all="ignore"):
        fits = scale.size in (1, expected.size) and np.all(np.abs(scale / expected - 1) < 2.0**-20)
    if not fits:
        raise AccelError(
            "the scale of its bias must be that of its input times that of its weights"
        )
    if np.any(value.zero_point):
        raise AccelError("the zero point of its bias must be 0")
    return _bias_shape(value.values, weights)


def _window(node: Node, shape: tuple[int, ...], kernel: Pair, padding: Sides) -> tuple[Pair, Sides]:
    """Stride, and padding on four sides, over a map of that shape which has ``padding`` already."""
    stride = node.sizes("strides", [1, 1], 1)
    pads = node.sizes("pads", [0, 0, 0, 0], 0)
    if node.sizes("dilations", [1, 1], 1) != (1, 1):
        raise AccelError("the hardware has no dilated windows")
    how = node.take("auto_pad", "NOTSET")
    if len(shape) != 3:
        raise AccelError(f"its input must be a feature map, but has shape {shape}")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        rows, columns = (
            _same(shape[1 + i] + padding[i] + padding[2 + i], kernel[i], stride[i], how)
            for i in range(2)
        )
        pads = (rows[0], columns[0], rows[1], columns[1])
    elif how not in ("NOTSET", "VALID"):
        raise AccelError(f"its attribute auto_pad is {short(how)}, which is none")
    above, left, below, right = (a + b for a, b in zip(pads, padding, strict=True))
    return (stride[0], stride[1]), (above, left, below, right)


def _same(size: int, kernel: int, stride: int, how: str) -> Pair:
    """Padding before and after, such that there are ceil(size / stride) windows."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    less = total // 2
    return (less, total - less) if how == "SAME_UPPER" else (total - less, less)


def _convolution(
    reader: Reader, node: Node, activation: Activation, weights: _Weights, bias: NDArray[Any]
) -> tuple[Callable[..., Operation], tuple[int, ...]]:
    """What makes a convolution, and the shape of its output."""
    weight, tensor = weights.weight, activation.tensor
    assert tensor is not None
    if weight.ndim != 4:
        raise AccelError("the hardware has convolutions over rows and columns only")
    kernel = weight.shape[2], weight.shape[3]
    if node.sizes("kernel_shape", list(kernel), 1) != kernel:
        raise AccelError("its attribute kernel_shape is not that of its weights")
    stride, padding = _window(node, activation.shape, kernel, activation.padding)
    _check_map(activation)
    make = partial(
        Conv2d,
        input=tensor,
        weight=weight,
        weight_scale=weights.scale,
        bias=bias,
        stride=stride,
        padding=padding,
        groups=node.take("group", 1),
        rounding=ONNXRUNTIME,
    )
    count = window_count(tensor.shape, kernel, stride, padding)
    return make, (len(weight), *(max(n, 1) for n in count))


def _check_map(activation: Activation) -> None:
    assert activation.tensor is not None
    if activation.shape != activation.tensor.shape:
        raise AccelError(
            f"it takes '{activation.tensor.name}' in the shape {activation.shape}, but the "
            f"hardware holds it as {activation.tensor.shape}"
        )


def _product(
    activation: Activation, weights: _Weights, bias: NDArray[Any]
) -> tuple[Callable[..., Operation], tuple[int, ...]]:
    """What makes a fully connected layer, and the shape of its output."""
    if len(activation.shape) != 1 or any(activation.padding) or weights.weight.ndim != 2:
        raise AccelError(
            f"the hardware multiplies vectors by a matrix, not an input of shape "
            f"{activation.shape} by weights of {weights.weight.ndim} dimensions"
        )
    assert activation.tensor is not None
    make = partial(
        Linear,
        input=activation.tensor,
        weight=weights.weight,
        weight_scale=weights.scale,
        bias=bias,
        rounding=ONNXRUNTIME,
    )
    return make, (len(weights.weight),)


def _check_same_type(activation: Activation, params: Params) -> None:
    if activation.signed != params[2]:
        raise AccelError("input and output of an integer operator must be of the same type")


@_reads("QLinearConv")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 9)
    activation = reader.integers(node, 0, 1)
    weight, scale, zero = (reader.constant(node, i) for i in (3, 4, 5))
    weights = _weights(weight, scale, zero, len(weight) if weight.ndim else 0)
    params = reader.params(node, 6)
    _check_same_type(activation, params)
    has_bias = reader.has(node, 8)
    bias = _integer_bias(reader.constant(node, 8), weights) if has_bias else _no_bias(weights)
    make, shape = _convolution(reader, node, activation, weights, bias)
    return reader.add(node, make, shape, params, node.outputs[0], relu=False)


@_reads("Conv")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 3)
    activation, weights = reader.reals(node, 0), _quantized_weights(reader, node, 1, 0)
    assert activation.tensor is not None and activation.signed is not None
    bias = _no_bias(weights)
    if reader.has(node, 2):
        bias = _real_bias(reader.value(node, 2), activation.tensor, weights)
    make, shape = _convolution(reader, node, activation, weights, bias)
    return Sums(node, make, shape, activation.signed, True, only_if_allowed=activation.signed)


@_reads("QGemm", domain=MICROSOFT)
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 9)
    activation = reader.integers(node, 0, 1)
    is_plain = node.take("alpha", 1.0) == 1.0 and node.take("transA", 0) == 0
    if not is_plain:
        raise AccelError("its attributes alpha and transA must be 1 and 0")
    weight, scale, zero = (reader.constant(node, i) for i in (3, 4, 5))
    weight = weight if node.take("transB", 0) else weight.T
    weights = _weights(weight, scale, zero, len(weight) if weight.ndim else 0)
    if not reader.has(node, 7):
        raise AccelError(f"its output is not quantized: {ADVICE}")
    params = reader.params(node, 7)
    _check_same_type(activation, params)
    has_bias = reader.has(node, 6)
    bias = _integer_bias(reader.constant(node, 6), weights) if has_bias else _no_bias(weights)
    make, shape = _product(activation, weights, bias)
    return reader.add(node, make, shape, params, node.outputs[0], relu=False)


@_reads("QLinearMatMul")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 8)
    activation = reader.integers(node, 0, 1)
    weight, scale, zero = (reader.constant(node, i) for i in (3, 4, 5))
    weights = _weights(weight.T, scale, zero, weight.shape[-1] if weight.ndim else 0)
    params = reader.params(node, 6)
    _check_same_type(activation, params)
    make, shape = _product(activation, weights, _no_bias(weights))
    return reader.add(node, make, shape, params, node.outputs[0], relu=False)


@_reads("Gemm")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 3)
    activation, transposed = reader.reals(node, 0), node.take("transB", 0)
    is_plain = node.take("alpha", 1.0) == node.take("beta", 1.0) == 1.0
    if not is_plain or node.take("transA", 0):
        raise AccelError("its attributes alpha, beta and transA must be 1, 1 and 0")
    weights = _quantized_weights(
        reader, node, 1, axis=0 if transposed else 1, transposed=not transposed
    )
    assert activation.tensor is not None and activation.signed is not None
    bias = _no_bias(weights)
    if reader.has(node, 2):
        bias = _real_bias(reader.value(node, 2), activation.tensor, weights)
    make, shape = _product(activation, weights, bias)
    return Sums(node, make, shape, activation.signed, True)


@_reads("MatMul")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 2)
    activation = reader.reals(node, 0)
    weights = _quantized_weights(reader, node, 1, axis=1, transposed=True)
    assert activation.signed is not None
    make, shape = _product(activation, weights, _no_bias(weights))
    return Sums(node, make, shape, activation.signed, True, only_if_allowed=activation.signed)


@_reads("Add")
def _(reader: Reader, node: Node) -> Value:
    """A bias that follows a matrix product, which ONNX Runtime makes one of with it."""
    reader.at_most(node, 2)
    for i in range(2):
        sums, other = reader.value(node, i), reader.value(node, 1 - i)
        is_product = isinstance(sums, Sums) and sums.node.kind == "MatMul"
        if is_product and isinstance(other, np.ndarray | Constant):
            assert isinstance(sums, Sums) and isinstance(sums.make, partial)
            fields = sums.make.keywords
            weights = _Weights(fields["weight"], fields["weight_scale"])
            bias = _real_bias(other, fields["input"], weights)
            if (sums.least, sums.most) == (-math.inf, math.inf) and not np.any(fields["bias"]):
                make = partial(sums.make, bias=bias)
                return replace(sums, make=make, only_if_allowed=False)
    raise AccelError(WHY_NOT["Add"])


# What cuts off


@_reads("Relu")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 1)
    return _clipped(reader, node, 0.0, math.inf)


@_reads("Clip")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 3)
    limits = [node.take("min", -math.inf), node.take("max", math.inf)]
    for i in (1, 2):
        if reader.has(node, i):
            limit = reader.constant(node, i)
            if limit.size != 1 or limit.dtype != np.float32:
                raise AccelError("its limits must be numbers of type FLOAT")
            limits[i - 1] = float(limit.item())
    if not limits[0] <= limits[1]:
        raise AccelError("its limits leave nothing")
    return _clipped(reader, node, *limits)


def _clipped(reader: Reader, node: Node, least: float, most: float) -> Value:
    value = reader.value(node, 0)
    if isinstance(value, Sums) and value.is_weighted:
        return replace(
            value,
            least=min(max(value.least, least), most),
            most=max(min(value.most, most), least),
        )
    activation = reader.reals(node, 0)
    tensor = activation.tensor
    assert tensor is not None
    reach = [tensor.scale * (limit - tensor.zero_point) for limit in tensor.limits]
    if reach[0] < least or reach[1] > most:
        raise AccelError(
            f"the hardware cuts off only what a convolution or a matrix product yields, but "
            f"'{tensor.name}' reaches from {reach[0]:.6g} to {reach[1]:.6g}"
        )
    return activation


# Pooling


@_reads("MaxPool")
def _(reader: Reader, node: Node) -> Value:
    """It commutes with dequantizing, so that it is one of integers either way."""
    reader.at_most(node, 1)
    activation = reader.activation(node, 0)
    tensor = activation.tensor
    if tensor is None:
        raise AccelError("it reads the input, whose scale is said nowhere before")
    if any(activation.padding) and tensor.zero_point != tensor.limits[0]:
        raise AccelError("it reads a padded tensor whose zeros are not its least values")
    size = node.sizes("kernel_shape", [0, 0], 1)
    kernel = (size[0], size[1])
    ceil, order = node.take("ceil_mode", 0), node.take("storage_order", 0)
    stride, padding = _window(node, activation.shape, kernel, activation.padding)
    _check_map(activation)
    fits = all(
        (tensor.shape[1 + i] + padding[i] + padding[2 + i] - kernel[i]) % stride[i] == 0
        for i in range(2)
    )
    if order or (ceil and not fits):
        raise AccelError("the hardware has no windows that are not whole")
    make = partial(MaxPool2d, input=tensor, size=kernel, stride=stride, padding=padding)
    count = window_count(tensor.shape, kernel, stride, padding)
    shape = (tensor.shape[0], *(max(n, 1) for n in count))
    params = np.float32(tensor.scale), tensor.zero_point, tensor.signed
    pooled = reader.add(node, make, shape, params, node.outputs[0])
    return replace(pooled, is_real=activation.is_real)


def _average(activation: Activation) -> tuple[Callable[..., Operation], tuple[int, ...]]:
    """What makes an average over a whole map, and the shape of its output."""
    if len(activation.shape) != 3 or any(activation.padding):
        raise AccelError(f"it must read a feature map without padding, not {activation.shape}")
    _check_map(activation)
    assert activation.tensor is not None
    rows, columns = activation.shape[1:]
    make = partial(
        AvgPool2d,
        input=activation.tensor,
        size=(rows, columns),
        stride=(1, 1),
        rounding=ONNXRUNTIME,
    )
    return make, (activation.shape[0], 1, 1)


@_reads("QLinearGlobalAveragePool", domain=MICROSOFT)
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 5)
    if node.take("channels_last", 0):
        raise AccelError("its channels are the last axis; the hardware takes them first")
    activation, params = reader.integers(node, 0, 1), reader.params(node, 3)
    _check_same_type(activation, params)
    make, shape = _average(activation)
    return reader.add(node, make, shape, params, node.outputs[0])


@_reads("GlobalAveragePool")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 1)
    activation = reader.reals(node, 0)
    assert activation.signed is not None
    make, shape = _average(activation)
    return Sums(node, make, shape, activation.signed, False)


# Functions of one value

_ATTRIBUTES: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "Sigmoid": ("sigmoid", ()),
    "Tanh": ("tanh", ()),
    "HardSwish": ("hardswish", ()),
    "HardSigmoid": ("hard_sigmoid", (("alpha", 0.2), ("beta", 0.5))),
    "LeakyRelu": ("leaky_relu", (("alpha", 0.01),)),
    "Elu": ("elu", (("alpha", 1.0),)),
    "Selu": ("selu", ()),
    "Mish": ("mish", ()),
    "Gelu": ("gelu", ()),
    "Softplus": ("softplus", ()),
}
"""Of an operator its function, and its attributes with their defaults."""


@_reads(*_ATTRIBUTES)
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 1)
    activation = reader.reals(node, 0)
    make, shape = _function(node, node.kind, activation)
    assert activation.signed is not None
    return Sums(
        node, make, shape, activation.signed, False, seen=activation.shape, of_any_type=True
    )


@_reads("QLinearSigmoid", "QLinearLeakyRelu", domain=MICROSOFT)
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 5)
    activation, params = reader.integers(node, 0, 1), reader.params(node, 3)
    _check_same_type(activation, params)
    make, shape = _function(node, node.kind.removeprefix("QLinear"), activation)
    return replace(reader.add(node, make, shape, params, node.outputs[0]), shape=activation.shape)


def _function(
    node: Node, kind: str, activation: Activation
) -> tuple[Callable[..., Operation], tuple[int, ...]]:
    """What makes a table of that function of a tensor, and the tensor's shape."""
    function, attributes = _ATTRIBUTES[kind]
    arguments = tuple(float(node.take(name, default)) for name, default in attributes)
    if node.take("approximate", "none") != "none":
        raise AccelError("its attribute approximate must be none")
    if kind == "Softplus":
        # PyTorch's, which is that of others, up to where it is a line.
        arguments = (1.0, 20.0)
    if any(activation.padding):
        raise AccelError("it reads what is padded, which only a convolution may")
    before = activation.tensor
    assert before is not None

    def make(*, name: str, output: Tensor) -> Operation:
        entries = function_entries(function, arguments, before, output)
        return Table(name=name, input=before, output=output, function=function,
                     arguments=arguments, entries=entries)  # fmt: skip

    return make, before.shape


# What is joined


def _joined(
    node: Node, parts: list[Activation]
) -> tuple[Callable[..., Operation], tuple[int, ...], tuple[int, ...]]:
    """What makes one tensor of several, its shape, and that in which the graph has it."""
    tensors, shapes = [], []
    for part in parts:
        if part.tensor is None or any(part.padding):
            raise AccelError("it joins what is padded, or the input, whose scale is said nowhere")
        tensors.append(part.tensor)
        shapes.append(part.shape)
    if node.take("axis", 1) not in (1, -len(shapes[0])):
        raise AccelError("the hardware joins tensors along the channels, axis 1, only")
    is_flat = len(shapes[0]) == 1
    sizes = {tensor.shape[1:] for tensor in tensors}
    # Maps of one size that are vectors are joined as maps, which is the same.
    if len(sizes) > 1 or any(
        shape != ((tensor.size,) if is_flat else tensor.shape)
        for tensor, shape in zip(tensors, shapes, strict=True)
    ):
        raise AccelError(
            f"it joins tensors of shapes {', '.join(map(str, shapes))}, which the hardware holds "
            f"as {', '.join(str(tensor.shape) for tensor in tensors)}: they must differ in their "
            f"channels only"
        )
    (size,) = sizes
    channels = sum(tensor.shape[0] for tensor in tensors)
    shape = (channels, *size)
    make = partial(Concat, parts=tuple(tensors), rounding=ONNXRUNTIME)
    return make, shape, (math.prod(shape),) if is_flat else shape


@_reads("QLinearConcat", domain=MICROSOFT)
def _(reader: Reader, node: Node) -> Value:
    params = reader.params(node, 0)
    count, left = divmod(len(node.inputs) - 2, 3)
    if left or count < 1:
        raise AccelError("each of its inputs must have a scale and a zero point")
    parts = [reader.integers(node, 2 + 3 * i, 3 + 3 * i) for i in range(count)]
    for part in parts:
        _check_same_type(part, params)
    make, shape, seen = _joined(node, parts)
    return replace(reader.add(node, make, shape, params, node.outputs[0]), shape=seen)


@_reads("Concat")
def _(reader: Reader, node: Node) -> Value:
    parts = [reader.activation(node, i) for i in range(len(node.inputs))]
    if not parts:
        raise AccelError("it joins nothing")
    if all(part.is_real for part in parts):
        parts = [reader.reals(node, i) for i in range(len(parts))]
        make, shape, seen = _joined(node, parts)
        signed = parts[0].signed
        assert signed is not None
        return Sums(node, make, shape, signed, False, seen=seen)
    make, shape, seen = _joined(node, parts)
    scales = {(t.tensor.scale, t.tensor.zero_point, t.tensor.signed) for t in parts if t.tensor}
    if any(part.is_real for part in parts) or len(scales) != 1:
        raise AccelError("the integers that it joins must be of one scale and zero point")
    ((scale, zero_point, is_signed),) = scales
    params = np.float32(scale), zero_point, is_signed
    return replace(reader.add(node, make, shape, params, node.outputs[0]), shape=seen)


# What moves nothing


@_reads("Identity", "Dropout")
def _(reader: Reader, node: Node) -> Value:
    node.take("ratio", 0.5)
    node.take("seed", 0)
    reader.at_most(node, 3 if node.kind == "Dropout" else 1)
    if reader.has(node, 2):
        raise AccelError("it may drop values")
    return reader.value(node, 0)


@_reads("Constant")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 0)
    value = node.take("value")
    if value is None:
        raise AccelError("its attribute value must be a tensor")
    return array_of(value)


@_reads("Flatten")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 1)
    axis = node.take("axis", 1)

    def flat(full: tuple[int, ...]) -> tuple[int, ...]:
        if not -len(full) <= axis <= len(full):
            raise AccelError("its axis is none")
        at = axis + len(full) if axis < 0 else axis
        return math.prod(full[:at]), math.prod(full[at:])

    return _reshaped(reader, node, flat)


@_reads("Reshape")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 2)
    wanted, zeros_stay = _numbers(reader.constant(node, 1)), not node.take("allowzero", 0)

    def reshaped(full: tuple[int, ...]) -> tuple[int, ...]:
        if not zeros_stay and 0 in wanted:
            raise AccelError("a tensor of no elements is none")
        shape = [full[i] if size == 0 and i < len(full) else size for i, size in enumerate(wanted)]
        if shape.count(-1) == 1:
            others = math.prod(size for size in shape if size != -1)
            if others <= 0 or math.prod(full) % others:
                raise AccelError(f"a tensor of shape {full} cannot have the shape {tuple(wanted)}")
            shape[shape.index(-1)] = math.prod(full) // others
        return tuple(shape)

    return _reshaped(reader, node, reshaped)


@_reads("Squeeze", "Unsqueeze")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 2)
    axes = node.take("axes", kind=list)
    if axes is None and reader.has(node, 1):
        axes = _numbers(reader.constant(node, 1))

    def squeezed(full: tuple[int, ...]) -> tuple[int, ...]:
        places = [i for i, size in enumerate(full) if size == 1] if axes is None else axes
        count = len(full) if node.kind == "Squeeze" else len(full) + len(places)
        at = {place + count if place < 0 else place for place in places}
        if len(at) != len(places) or not at <= set(range(count)):
            raise AccelError("its axes are none")
        if node.kind == "Squeeze":
            if any(full[i] != 1 for i in at):
                raise AccelError("it leaves out an axis with more than one place")
            return tuple(size for i, size in enumerate(full) if i not in at)
        sizes: Iterator[int] = iter(full)
        return tuple(1 if i in at else next(sizes) for i in range(count))

    return _reshaped(reader, node, squeezed)


@_reads("Transpose")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 1)
    value = reader.value(node, 0)
    ndim = _ndim(value)
    order = node.take("perm", list(range(ndim))[::-1])
    if sorted(order) != list(range(ndim)):
        raise AccelError("its attribute perm is no order of the axes")
    if isinstance(value, np.ndarray):
        return np.transpose(value, order)
    if isinstance(value, Constant):
        axis = list(order).index(value.axis) if value.values.ndim else 0
        return replace(value, values=np.transpose(value.values, order), axis=axis)

    def transposed(full: tuple[int, ...]) -> tuple[int, ...]:
        if [i for i in order if full[i] != 1] != [i for i in range(ndim) if full[i] != 1]:
            raise AccelError("it moves elements, which the hardware cannot")
        return tuple(full[i] for i in order)

    return _reshaped(reader, node, transposed)


def _ndim(value: Value) -> int:
    if isinstance(value, np.ndarray):
        return value.ndim
    if isinstance(value, Constant):
        return value.values.ndim
    return 1 + len(value.activation.shape if isinstance(value, OfHost) else value.shape)


def _numbers(array: NDArray[Any]) -> list[int]:
    if array.dtype != np.int64 or array.ndim != 1 or array.size > 8:
        raise AccelError("the shape or the axes that it takes must be a few numbers of type INT64")
    return [int(n) for n in array]


def _reshaped(
    reader: Reader, node: Node, shape: Callable[[tuple[int, ...]], tuple[int, ...]]
) -> Value:
    """The same elements in another shape. shape: from the old one, batch first, to the new one."""
    value = reader.value(node, 0)
    if isinstance(value, OfHost):
        return value
    activation = reader.activation(node, 0)
    if any(activation.padding):
        raise AccelError("the hardware cannot reshape what is padded")
    full = shape((reader.batch, *activation.shape))
    if not full or full[0] != reader.batch or math.prod(full[1:]) != math.prod(activation.shape):
        raise AccelError(
            f"it makes of images of shape {activation.shape} something else than as many images"
        )
    return replace(activation, shape=full[1:])


@_reads("Pad")
def _(reader: Reader, node: Node) -> Value:
    """Zeros around a map, which the convolution that reads it takes for padding of its own."""
    reader.at_most(node, 4)
    if node.take("mode", "constant") != "constant":
        raise AccelError("the hardware pads with zeros only")
    activation = reader.activation(node, 0)
    if len(activation.shape) != 3:
        raise AccelError(f"it pads an input of shape {activation.shape}, which is no feature map")
    pads, fill = node.take("pads", kind=list), node.take("value", 0.0)
    if pads is None:
        pads = _numbers(reader.constant(node, 1))
        if reader.has(node, 2):
            value = reader.constant(node, 2)
            if value.size != 1:
                raise AccelError("what it pads with must be one number")
            fill = value.item()
        elif not activation.is_real:
            fill = 0
    if reader.has(node, 3):
        axes = _numbers(reader.constant(node, 3))
        sides = dict(zip(axes, zip(pads, pads[len(axes) :], strict=False), strict=False))
        if len(pads) != 2 * len(axes) or not set(axes) <= set(range(-4, 4)):
            raise AccelError("its axes are none")
        both = [sides.get(i, sides.get(i - 4, (0, 0))) for i in range(4)]
        pads = [side[0] for side in both] + [side[1] for side in both]
    if len(pads) != 8 or any(not 0 <= n <= MAX_SIZE for n in pads) or any(pads[::4] + pads[1::4]):
        raise AccelError("it must add rows and columns, and nothing else")
    if activation.is_real and fill != 0:
        raise AccelError("the hardware pads with zeros only")
    padding: Any = tuple(
        a + b for a, b in zip(activation.padding, (pads[2], pads[3], pads[6], pads[7]), strict=True)
    )
    value_of_pad = None if activation.is_real else int(fill)
    if any(activation.padding) and activation.pad_value != value_of_pad:
        raise AccelError("it pads with another value than the node before it")
    padded = replace(activation, padding=padding, pad_value=value_of_pad)
    if padded.tensor is None or activation.is_real:
        return padded
    tensor = padded.tensor
    return reader.scaled(padded, (np.float32(tensor.scale), tensor.zero_point, tensor.signed))


# What is left to the host


@_reads("Softmax", "LogSoftmax")
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 1)
    node.take("axis", -1)
    return _left(reader, node, reader.reals(node, 0))


@_reads("QLinearSoftmax", domain=MICROSOFT)
def _(reader: Reader, node: Node) -> Value:
    reader.at_most(node, 5)
    node.take("axis", -1)
    node.take("opset", 13)
    return _left(reader, node, reader.integers(node, 0, 1))


def _left(reader: Reader, node: Node, activation: Activation) -> OfHost:
    reader.note(node, "it is left to the host, since the largest output is the same without")
    return OfHost(activation)


# What is not read


def _refused(reader: Reader, node: Node) -> Value:
    raise AccelError(WHY_NOT[node.kind.removeprefix("QLinear")])


for _kind in WHY_NOT:
    READS.setdefault(("", _kind), _refused)
    READS[MICROSOFT, f"QLinear{_kind}"] = _refused
