"""Random quantized networks whose values spread over their ranges, without training one."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.compiler.refusal import DoesNotFitError
from accel.hardware.config import AccelConfig
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Add, Concat, Conv2d, MaxPool2d, Operation, Table
from accel.operations import Linear as LinearOperation
from accel.operations.conv2d import conv2d_shape
from accel.runtimes.qnnpack import function_entries
from accel.runtimes.registry import RUNTIMES
from accel.runtimes.rounding import QNNPACK, Rounding


class Conv(NamedTuple):
    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    relu: bool = True
    pool: bool = False
    depthwise: bool = False


class Linear(NamedTuple):
    features: int
    relu: bool = True


def random_network(
    rng: np.random.Generator,
    input_shape: tuple[int, ...],
    specs: list[Conv | Linear],
    *,
    per_channel: bool = True,
    signed: bool = False,
    weights: str = "any",
    zero_points: str = "any",
    rounding: Rounding = QNNPACK,
) -> Network:
    """A network of these layers with random weights, biases, scales and zero points.

    weights: ``any``, only the ``ends``, a few that are not ``zero``, or all the ``lowest``.
    zero_points: ``any`` but near the ends, or the ``lowest`` or the ``highest``.
    """

    def tensor(name: str, shape: tuple[int, ...], scale: float) -> Tensor:
        zero_point = int(rng.integers(40, 200)) - 128 * signed
        if zero_points != "any":
            zero_point = {"lowest": 0, "highest": 255}[zero_points] - 128 * signed
        return Tensor(
            name=name,
            shape=shape,
            scale=float(np.float32(scale)),
            zero_point=zero_point,
            signed=signed,
        )

    x = tensor("input", input_shape, 2 ** rng.uniform(-8, 0))
    operations: list[Operation] = []
    for i, spec in enumerate(specs):
        name = f"layer{i}"
        options: dict[str, Any] = {"relu": spec.relu, "rounding": rounding}
        if isinstance(spec, Conv):
            shape = (spec.channels, 1 if spec.depthwise else x.shape[0], *spec.kernel)
            options["groups"] = x.shape[0] if spec.depthwise else 1
            window = {"stride": (spec.stride,) * 2, "padding": (spec.padding,) * 4}
            options |= window
            out_shape = conv2d_shape(x.shape, shape, **window)
        else:
            shape, out_shape = (spec.features, x.size), (spec.features,)
        weight = rng.integers(-128, 128, shape).astype(np.int8)
        if weights == "ends":
            weight = np.where(weight < 0, -128, 127).astype(np.int8)
        elif weights == "zero":
            weight[rng.random(shape) < 0.8] = 0
        elif weights == "lowest":
            weight[:] = -128
        weight_scale = 2 ** rng.uniform(-9, -7, shape[0] if per_channel else 1)
        spread = 70 * 74 * np.sqrt(np.prod(shape[1:]))
        bias = rng.normal(size=shape[0]) * spread * x.scale * weight_scale / 3
        output = tensor(name, out_shape, x.scale * weight_scale.mean() * spread / 70)
        kind = Conv2d if isinstance(spec, Conv) else LinearOperation
        operations.append(
            kind(
                name=name,
                weight=weight,
                weight_scale=weight_scale.astype(np.float32),
                bias=bias.astype(np.float32),
                input=x,
                output=output,
                **options,
            )
        )
        x = output
        if isinstance(spec, Conv) and spec.pool:
            x = pooled(output, f"{name}.pool")
            operations.append(MaxPool2d(name=x.name, input=output, output=x))
    origin = next(name for name, runtime in RUNTIMES.items() if runtime.rounding == rounding)
    return Network(name="random", operations=tuple(operations), origin=origin)


def pooled(tensor: Tensor, name: str) -> Tensor:
    """What a maximum over windows of 2x2 makes of a tensor."""
    channels, height, width = tensor.shape
    return dataclasses.replace(tensor, name=name, shape=(channels, height // 2, width // 2))


def added(rng: np.random.Generator, name: str, a: Tensor, b: Tensor, **options: Any) -> Add:
    """The sum of two tensors, whose values spread over the range of its output."""
    output = dataclasses.replace(
        a,
        name=name,
        scale=float(np.float32(np.hypot(a.scale, b.scale) * 2 ** rng.uniform(-1, 1))),
        zero_point=int(rng.integers(40, 200)) - 128 * a.signed,
    )
    return Add(name=name, input=a, other=b, output=output, **{"relu": False} | options)


def residual_network(
    rng: np.random.Generator, signed: bool = False, size: tuple[int, int] = (5, 7)
) -> Network:
    """Blocks whose skip is their own input, and a tensor that is added to itself; the last sum
    reads what the first layer wrote. On eight columns a layer has groups of eight channels and one
    of four, and with two or four pixels a vector some are dropped."""
    specs: list[Conv | Linear] = [Conv(20, (3, 3), padding=1)] * 3
    first, second, third = random_network(rng, (2, *size), specs, signed=signed).layers
    block = added(rng, "block", second.output, first.output, relu=True)
    third = dataclasses.replace(third, input=block.output)
    largest = third.output.limits[1] - 40
    twice = added(rng, "twice", third.output, third.output, largest=largest)
    last = added(rng, "last", twice.output, first.output)
    return Network(name="residual", operations=(first, second, block, third, twice, last))


def depthwise_network(rng: np.random.Generator, signed: bool = False) -> Network:
    """An inverted bottleneck's depthwise convolution of 3x3 with a skip around it, and a linear
    layer: what column windows, tables and the adder are for."""
    specs: list[Conv | Linear] = [
        Conv(6, (1, 1)),
        Conv(6, (3, 3), padding=1, depthwise=True),
        Conv(6, (1, 1), relu=False),
        Linear(5, relu=False),
    ]
    first, depthwise, last, linear = random_network(rng, (2, 5, 6), specs, signed=signed).layers
    swish = looked_up(rng, "swish", first.output, "hardswish")
    depthwise = dataclasses.replace(depthwise, input=swish.output)
    leaky = looked_up(rng, "leaky", last.output, "leaky_relu")
    block = added(rng, "block", leaky.output, swish.output)
    linear = dataclasses.replace(linear, input=block.output)
    operations = (first, swish, depthwise, last, leaky, block, linear)
    return Network(name="depthwise", operations=operations)


ARGUMENTS: dict[str, tuple[float, ...]] = {
    "elu": (0.7,), "leaky_relu": (0.1,), "softplus": (2.0, 15.0),
    "hard_sigmoid": (0.3, 0.4),
    "quantized.elu": (1.3,), "quantized.leaky_relu": (0.3,),
}  # fmt: skip
"""What functions of tables are given besides the value."""


def looked_up(
    rng: np.random.Generator, name: str, x: Tensor, function: str, signed: bool | None = None
) -> Table:
    """A function of each value of a tensor, at a scale at which some are cut off, or few values
    are used."""
    signed = x.signed if signed is None else signed
    arguments = ARGUMENTS.get(function, ())
    largest = np.abs(np.array(x.limits) - x.zero_point).max() * x.scale
    output = dataclasses.replace(
        x,
        name=name,
        scale=float(np.float32(largest / 255 * 2 ** rng.uniform(-1, 1))),
        zero_point=int(rng.integers(40, 200)) - 128 * signed,
        signed=signed,
    )
    return Table(
        name=name, input=x, output=output, function=function, arguments=arguments,
        entries=function_entries(function, arguments, x, output),
    )  # fmt: skip


def table_network(rng: np.random.Generator, signed: bool = False) -> Network:
    """Layers that look up what they yield, one of them before something is added to it; and tables
    that are layers of their own: of a sum, and of what others read too. A maximum follows one of
    another sign."""
    specs: list[Conv | Linear] = [Conv(10, (3, 3), padding=1, relu=False)] * 3
    first, second, third = random_network(rng, (2, 5, 7), specs, signed=signed).layers
    swish = looked_up(rng, "swish", first.output, "hardswish")
    second = dataclasses.replace(second, input=swish.output)
    leaky = looked_up(rng, "leaky", second.output, "leaky_relu")
    block = added(rng, "block", leaky.output, swish.output)
    curve = looked_up(rng, "curve", block.output, "tanh")
    third = dataclasses.replace(third, input=curve.output)
    again = looked_up(rng, "again", third.output, "elu")
    total = added(rng, "total", again.output, third.output)
    other = looked_up(rng, "other", total.output, "sigmoid", signed=not signed)
    largest = pooled(other.output, "largest")
    operations = (first, swish, second, leaky, block, curve, third, again, total, other,
                  MaxPool2d(name="largest", input=other.output, output=largest))  # fmt: skip
    return Network(name="tables", operations=operations)


def joined(name: str, *parts: Tensor, **output: Any) -> Concat:
    """Tensors behind one another, at the first one's scale unless ``output`` says otherwise."""
    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
    tensor = dataclasses.replace(parts[0], name=name, shape=shape, **output)
    return Concat(name=name, parts=parts, output=tensor)


def joining_network(
    rng: np.random.Generator, signed: bool = False, ends_joined: bool = False
) -> Network:
    """Branches that are joined in place; a join within a join; a part that others read, one that
    is there twice, the image, and parts of other scales. The last join's parts are results, or a
    linear layer's input."""
    specs: list[Conv | Linear] = [Conv(7, (3, 3), padding=1), *[Conv(5, (1, 1))] * 4]
    first, left, right, third, fourth = random_network(rng, (2, 5, 6), specs, signed=signed).layers
    same = {"scale": first.output.scale, "zero_point": first.output.zero_point}
    left, right = (
        _reading(layer, first.output, rng, output=dataclasses.replace(layer.output, **same))
        for layer in (left, right)
    )
    inner = joined("inner", right.output, left.output)
    outer = joined("outer", inner.output, first.output, first.output, first.input)
    third, fourth = _reading(third, outer.output, rng), _reading(fourth, inner.output, rng)
    last = joined("last", third.output, fourth.output, scale=fourth.output.scale)
    operations = [first, left, right, inner, outer, third, fourth, last]
    if not ends_joined:
        (linear,) = random_network(rng, last.output.shape, [Linear(5, relu=False)]).layers
        operations.append(dataclasses.replace(linear, name="linear", input=last.output,
                          output=dataclasses.replace(linear.output, name="linear",
                          signed=signed, zero_point=3)))  # fmt: skip
    return Network(name="joining", operations=tuple(operations))


def _reading(layer: Any, tensor: Tensor, rng: np.random.Generator, **fields: Any) -> Any:
    """The layer, a convolution of 1x1, with another input and new weights."""
    weight = rng.integers(-128, 128, (len(layer.weight), tensor.shape[0], 1, 1)).astype(np.int8)
    return dataclasses.replace(layer, input=tensor, weight=weight, **fields)


def layer_output_shape(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: int,
    padding: int,
    pool: bool = False,
) -> tuple[int, ...]:
    """The shape of a convolution's output, after pooling."""
    channels, *sizes = conv2d_shape(input_shape, weight_shape, (stride,) * 2, (padding,) * 4)
    return (channels, *(size // (2 if pool else 1) for size in sizes))


def random_images(rng: np.random.Generator, network: Network, count: int) -> np.ndarray:
    """int64 (count, *input shape), over the whole range of the input tensor."""
    lo, hi = network.input.limits
    return rng.integers(lo, hi + 1, (count, *network.input.shape))


def compile_if_it_fits(network: Network, cfg: AccelConfig) -> Program | None:
    """The program, or None where the network is too large for so small an accelerator."""
    try:
        return compile(network, cfg)
    except DoesNotFitError:
        return None
