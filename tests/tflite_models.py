"""Random models of LiteRT: one operator each, or several that follow one another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.tflite import ACTIVATIONS, SAME, VALID, Model

F = np.float32
KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "AVERAGE_POOL_2D", "ADD")
"""Operators that a model of one may have; an ADD adds what two convolutions yield."""

PLAIN: dict[str, Any] = {
    "padding": VALID, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1,
}  # fmt: skip
"""Options of a convolution."""


@dataclass
class Activation:
    """A tensor of a model under construction."""

    index: int
    shape: tuple[int, ...]
    scale: np.float32
    zero_point: int


class Random:
    """Adds operators to a model, of sizes, scales, zero points and options that chance chooses."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.model = rng, Model()

    def zero_point(self) -> int:
        return int(self.rng.choice([-128, 127, self.rng.integers(-128, 128)]))

    def given(self, shape: tuple[int, ...]) -> Activation:
        """An input of that shape."""
        scale, zero_point = F(np.exp2(self.rng.uniform(-12, 0))), self.zero_point()
        return Activation(self.model.tensor(shape, scale, zero_point), shape, scale, zero_point)

    def map_shape(self, smallest: int = 1, channels: int = 20) -> tuple[int, ...]:
        return (
            1,
            *(int(n) for n in self.rng.integers(smallest, 12, 2)),
            int(self.rng.integers(1, channels)),
        )

    def activation(self) -> int:
        return ACTIVATIONS[str(self.rng.choice(list(ACTIVATIONS)))]

    def add(self, kind: str, x: Activation, **options: Any) -> Activation:
        """An operator of that kind that reads x."""
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return self.conv(kind, x, **options)
        if kind == "FULLY_CONNECTED":
            return self.linear(x, **options)
        return self.pool(kind, x)

    def conv(
        self, kind: str, x: Activation, *, groups: int = 1, keeps_shape: bool = False
    ) -> Activation:
        rng, (_, height, width, channels) = self.rng, x.shape
        kernel = tuple(int(rng.integers(1, min(n, 5) + 1)) for n in (height, width))
        stride = tuple(int(n) for n in rng.integers(1, 4, 2))
        padding = int(rng.choice([SAME, VALID]))
        if keeps_shape:
            stride, padding = (1, 1), SAME
        options: dict[str, Any] = {"dilationHFactor": 1, "dilationWFactor": 1}
        if kind == "CONV_2D":
            outputs = int(rng.integers(1, 20 if groups == 1 else 9)) * groups
            shape, axis = (outputs, *kernel, channels // groups), 0
        else:
            multiplier = int(rng.integers(1, 4)) if rng.random() < 0.3 and not keeps_shape else 1
            outputs = channels * multiplier
            shape, axis = (1, *kernel, outputs), 3
            options["depthMultiplier"] = multiplier
        size = window_count(padding, (height, width), kernel, stride)
        return self.weighted(
            kind, x, shape, axis, (1, *size, outputs), padding=padding, strideH=stride[0],
            strideW=stride[1], **options,
        )  # fmt: skip

    def linear(self, x: Activation) -> Activation:
        outputs = int(self.rng.integers(1, 40))
        shape = (outputs, int(np.prod(x.shape)))
        return self.weighted("FULLY_CONNECTED", x, shape, 0, (1, outputs))

    def weighted(
        self,
        kind: str,
        x: Activation,
        shape: tuple[int, ...],
        axis: int,
        output: tuple[int, ...],
        **options: Any,
    ) -> Activation:
        """With an output scale that the sums fill more or less."""
        rng = self.rng
        weight = rng.integers(-128, 128, shape).astype(np.int8)
        per_channel = rng.random() < 0.7
        scale = np.exp2(rng.uniform(-10, -2, shape[axis] if per_channel else 1)).astype(F)
        spread = 75 * 75 * np.sqrt(weight.size / shape[axis]) * np.median(scale) * x.scale
        bias = (rng.normal(size=shape[axis]) * spread / (scale * x.scale)).astype(np.int32)
        made = self.made(output, F(spread / rng.uniform(10, 90)))
        inputs = [
            x.index,
            self.model.constant(weight, scale, axis),
            self.model.constant(bias, (scale * x.scale).astype(F)),
        ]
        self.model.operator(
            kind, inputs, made.index, fusedActivationFunction=self.activation(), **options
        )
        return made

    def made(self, shape: tuple[int, ...], scale: np.float32) -> Activation:
        """A tensor of that scale, or of one at which the ends of an activation lie at ties."""
        if self.rng.random() < 0.3:
            near = np.floor(F(6) / scale) + F(0.5)
            scale = F(6) / near if near < 200 else scale
        zero_point = self.zero_point()
        return Activation(self.model.tensor(shape, scale, zero_point), shape, scale, zero_point)

    def pool(self, kind: str, x: Activation) -> Activation:
        rng, (_, height, width, channels) = self.rng, x.shape
        size = tuple(int(rng.integers(1, min(n, 7) + 1)) for n in (height, width))
        stride = tuple(int(n) for n in rng.integers(1, 4, 2))
        padding = VALID if kind == "AVERAGE_POOL_2D" else int(rng.choice([SAME, VALID]))
        count = window_count(padding, (height, width), size, stride)
        shape = (1, *count, channels)
        index = self.model.tensor(shape, x.scale, x.zero_point)
        self.model.operator(
            kind, [x.index], index, padding=padding, strideH=stride[0], strideW=stride[1],
            filterHeight=size[0], filterWidth=size[1],
        )  # fmt: skip
        return Activation(index, shape, x.scale, x.zero_point)

    def sum(self, a: Activation, b: Activation) -> Activation:
        scale = F(np.hypot(a.scale, b.scale) * np.exp2(self.rng.uniform(-2, 3)))
        made = self.made(a.shape, scale)
        self.model.operator(
            "ADD", [a.index, b.index], made.index, fusedActivationFunction=self.activation()
        )
        return made

    def images(self, x: Activation, count: int) -> NDArray[np.int8]:
        return self.rng.integers(-128, 128, (count, *x.shape[1:])).astype(np.int8)


def window_count(
    padding: int, size: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[int, ...]:
    """TensorFlow's rows and columns of windows."""
    if padding == SAME:
        return tuple(-(-n // step) for n, step in zip(size, stride, strict=True))
    return tuple((n - k) // step + 1 for n, k, step in zip(size, window, stride, strict=True))


def one(rng: np.random.Generator, kind: str) -> tuple[bytes, Random, Activation]:
    """A model of one operator: its content, and its input."""
    r = Random(rng)
    if kind == "ADD":
        return branches(rng)
    x = r.given(r.map_shape())
    y = r.add(kind, x)
    return r.model.content([x.index], [y.index]), r, x


def branches(rng: np.random.Generator) -> tuple[bytes, Random, Activation]:
    """What two 1x1 convolutions make of an image, added up."""
    r = Random(rng)
    x = r.given(r.map_shape())
    shape = (int(rng.integers(1, 20)), 1, 1, x.shape[3])
    a, b = (r.weighted("CONV_2D", x, shape, 0, (*x.shape[:3], shape[0]), **PLAIN) for _ in range(2))
    y = r.sum(a, b)
    return r.model.content([x.index], [y.index]), r, x


def joined(rng: np.random.Generator) -> tuple[bytes, Random, Activation]:
    """What convolutions make of an image, and it itself twice, all of one scale."""
    r = Random(rng)
    x = r.given(r.map_shape())
    parts = [x.index, x.index]
    for _ in range(int(rng.integers(1, 4))):
        shape = (int(rng.integers(1, 20)), 1, 1, x.shape[3])
        y = r.weighted("CONV_2D", x, shape, 0, (*x.shape[:3], shape[0]), **PLAIN)
        quantization = r.model.graph.tensors[y.index].quantization
        quantization.scale = np.full(1, x.scale, F)
        quantization.zeroPoint = np.full(1, x.zero_point)
        parts.append(y.index)
    rng.shuffle(parts)
    channels = sum(int(r.model.graph.tensors[part].shape[3]) for part in parts)
    y = r.model.tensor((*x.shape[:3], channels), x.scale, x.zero_point)
    r.model.operator("CONCATENATION", parts, y, axis=int(rng.choice([3, -1])))
    return r.model.content([x.index], [y]), r, x


def whole(rng: np.random.Generator) -> tuple[bytes, Random, Activation]:
    """A model of every operator that there is, but those that only make other types."""
    r = Random(rng)
    m = r.model
    x = r.given((1, int(rng.integers(6, 10)), int(rng.integers(6, 10)), int(rng.integers(1, 4))))
    # Padded on four sides, and then the convolution's own padding may come on top.
    sides = np.array([[0, 0], *rng.integers(0, 3, (2, 2)).tolist(), [0, 0]], np.int32)
    shape = tuple(n + int(sum(side)) for n, side in zip(x.shape, sides, strict=True))
    padded = replace(x, index=m.tensor(shape, x.scale, x.zero_point), shape=shape)
    m.operator("PAD", [x.index, m.constant(sides)], padded.index)
    first = r.conv("CONV_2D", padded)
    second = r.conv("DEPTHWISE_CONV_2D", first, keeps_shape=True)
    added = r.sum(first, second)
    y = r.pool("MAX_POOL_2D", added)
    y = r.pool("AVERAGE_POOL_2D", y)
    flat = replace(y, shape=(1, int(np.prod(y.shape))))
    flat.index = m.tensor(flat.shape, y.scale, y.zero_point)
    m.operator("RESHAPE", [y.index, m.constant(np.array(flat.shape, np.int32))], flat.index)
    logits = r.linear(flat)
    end = m.tensor(logits.shape, F(1 / 256), -128)
    m.operator("SOFTMAX", [logits.index], end, beta=1.0)
    return m.content([x.index], [end]), r, x


def even_sum(rng: np.random.Generator) -> tuple[bytes, Random, Activation]:
    """An image and its maxima, added at a scale that puts many sums at ties."""
    r = Random(rng)
    x = r.given(r.map_shape())
    pooled = r.model.tensor(x.shape, x.scale, x.zero_point)
    r.model.operator("MAX_POOL_2D", [x.index], pooled, padding=SAME, strideH=1, strideW=1,
                     filterHeight=2, filterWidth=2)  # fmt: skip
    scale = F(x.scale * np.exp2(rng.integers(1, 4)) * rng.choice([1, 0.75]))
    made = r.model.tensor(x.shape, scale, r.zero_point())
    r.model.operator("ADD", [x.index, pooled], made, fusedActivationFunction=r.activation())
    return r.model.content([x.index], [made]), r, x


def ties(rng: np.random.Generator, kind: str, outputs: int) -> tuple[bytes, NDArray[np.int8]]:
    """A layer of one pixel, and an image for which each accumulator times its multiplier lies at a
    tie, as near as float32 numbers can say, so that each of its roundings decides."""
    r = Random(rng)
    depthwise, linear = kind == "DEPTHWISE_CONV_2D", kind == "FULLY_CONNECTED"
    inputs = outputs if depthwise else 2
    x = r.given((1, inputs) if linear else (1, 1, 1, inputs))
    image = r.images(x, 1)
    made = r.made((1, outputs) if linear else (1, 1, 1, outputs), F(np.exp2(rng.uniform(-12, 0))))
    steps = rng.integers(-120, 120, outputs)
    if rng.random() < 0.5:
        # Whole multiples of half a step: the multiplier is one over an even number.
        factor = int(rng.integers(1, 5000))
        acc, multiplier = (2 * steps + 1) * factor, np.array([0.5 / factor])
    else:
        magnitude = np.exp2(rng.uniform(7, 22, outputs)).astype(np.int64)
        acc = np.where(steps < 0, -magnitude, magnitude)
        multiplier = (steps + 0.5) / acc
    scale = (multiplier * made.scale / x.scale).astype(F)
    scale = np.nextafter(scale, F(np.inf) * rng.choice([-1, 1]).astype(F))
    shape = {
        "CONV_2D": (outputs, 1, 1, inputs),
        "DEPTHWISE_CONV_2D": (1, 1, 1, outputs),
        "FULLY_CONNECTED": (outputs, inputs),
    }[kind]
    weight = rng.integers(-127, 128, shape).astype(np.int8)
    pixel = image.ravel().astype(np.int64) - x.zero_point
    sums = weight.ravel() * pixel if depthwise else weight.reshape(outputs, inputs) @ pixel
    tensors = [
        x.index,
        r.model.constant(weight, scale, 3 if depthwise else 0),
        r.model.constant((acc - sums).astype(np.int32), (scale * x.scale).astype(F)),
    ]
    options = {} if linear else PLAIN | ({"depthMultiplier": 1} if depthwise else {})
    r.model.operator(kind, tensors, made.index, **options)
    return r.model.content([x.index], [made.index]), image
