"""Programs as PT2E quantizes them: every operation with real numbers, between dequantizing and
quantizing. Drawn from a seed alone, so that what ExecuTorch made of one can be kept as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # defines the operators
from numpy.typing import NDArray
from torch import nn
from torch.export import ExportedProgram
from torch.nn import functional as F

KINDS = (
    "conv", "conv, one scale", "conv, relu", "depthwise", "linear", "linear, one scale", "add",
    "add, relu", "mean", "max", "cat", "clamp", "images",
    "sequence", "limit", "limit alone", "requantize", "sigmoid", "tanh", "hardsigmoid", "hardswish",
    "silu", "gelu", "elu", "leaky_relu",
)  # fmt: skip

_FUNCTIONS: dict[str, Any] = {
    "limit alone": lambda y: F.hardtanh(y, -0.71, 1.3), "requantize": lambda y: y,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish, "silu": F.silu, "gelu": F.gelu, "elu": F.elu,
    "leaky_relu": lambda y: F.leaky_relu(y, 0.25),
}  # fmt: skip

_OPS: Any = torch.ops.quantized_decomposed
Form = tuple[float, int]
"""Scale and zero point of a tensor."""


def quantize(x: torch.Tensor, form: Form) -> torch.Tensor:
    return _OPS.quantize_per_tensor.default(x, *form, -128, 127, torch.int8)


def dequantize(x: torch.Tensor, form: Form) -> torch.Tensor:
    return _OPS.dequantize_per_tensor.default(x, *form, -128, 127, torch.int8)


def through(x: torch.Tensor, form: Form) -> torch.Tensor:
    """Rounded to the tensor's values."""
    return dequantize(quantize(x, form), form)


class Weights(nn.Module):
    """int8 weights with a scale for each output channel, or one, and a float32 bias."""

    def __init__(
        self, rng: np.random.Generator, shape: tuple[int, ...], one_scale: bool, dyadic: bool
    ) -> None:
        super().__init__()
        outputs = 1 if one_scale else shape[0]
        scale = np.exp2(rng.integers(-9, -5, outputs) if dyadic else rng.uniform(-9, -5, outputs))
        self.scale = float(scale[0]) if one_scale else None
        self.register_buffer("weight", torch.from_numpy(
            rng.integers(-127, 128, shape).astype(np.int8)))  # fmt: skip
        self.register_buffer("scales", torch.from_numpy(scale).float())
        self.register_buffer("zeros", torch.zeros(outputs, dtype=torch.int64))
        self.bias = nn.Parameter(torch.zeros(shape[0]), requires_grad=False)

    def real(self) -> torch.Tensor:
        if self.scale is not None:
            return _OPS.dequantize_per_tensor.default(
                self.weight, self.scale, 0, -127, 127, torch.int8
            )
        return _OPS.dequantize_per_channel.default(
            self.weight, self.scales, self.zeros, 0, -127, 127, torch.int8
        )


class Single(nn.Module):
    """One operation of :data:`KINDS` on images; sums and joins are of the images and what a
    convolution makes of them."""

    def __init__(self, kind: str, seed: int) -> None:
        super().__init__()
        self.rng = np.random.default_rng([seed, KINDS.index(kind)])
        rng = self.rng
        self.kind, self.own = kind, kind.split(",")[0]
        # At dyadic scales many outputs are at ties.
        self.dyadic = bool(rng.integers(2))
        channels, side = int(rng.integers(2, 9)), int(rng.integers(3, 8))
        self.shape: tuple[int, ...] = channels, side, side
        self.window: dict[str, Any] = {}
        kernel = None
        if self.own == "linear":
            self.shape = (int(rng.integers(2, 90)),)
            kernel = int(rng.integers(1, 20)), *self.shape
        elif self.own == "sequence":
            self.shape = channels, side * 3
            kernel = int(rng.integers(1, 12)), channels, int(rng.integers(1, 6))
        elif self.own in ("conv", "clamp", "limit", "requantize"):
            kernel = int(rng.integers(1, 12)), channels, *[int(rng.integers(1, 4))] * 2
        elif self.own == "depthwise":
            kernel = channels, 1, 3, 3
        elif self.own in ("add", "cat"):
            kernel = channels, channels, 1, 1
        if self.own in ("conv", "clamp", "limit", "requantize", "depthwise", "sequence"):
            stride, padding = int(rng.integers(1, 3)), int(rng.integers(0, 2))
            groups = channels if self.own == "depthwise" else 1
            self.window = {"stride": stride, "padding": padding, "groups": groups}
        self.before = self._form(-5)
        self.after = self.before
        if self.own not in ("max", "images"):
            self.after = self._form(np.log2(self.before[0]) - 0.5)
        self.weights = None
        if kernel is not None:
            self.weights = Weights(rng, kernel, kind.endswith("one scale"), self.dyadic)
            spread = 74 * float(np.sqrt(np.prod(kernel[1:])))
            scale = self.before[0] * float(self.weights.scales.mean())
            self.after = self._form(np.log2(scale * spread))
            bias = self.rng.normal(size=kernel[0]) * 70 * spread * scale / 3
            self.weights.bias.data += torch.from_numpy(bias).float()
        # Of what is added, joined, or looked up
        self.made = self.after
        if self.own in ("limit", "requantize"):
            self.after = self._form(np.log2(self.made[0]))
        if self.own in ("sigmoid", "tanh", "hardsigmoid"):
            self.after = self._form(-8)
        if self.own == "cat":
            self.after = self.before = self.made
        if self.own == "add":
            self.after = self._form(np.log2(max(self.made[0], self.before[0]) * 1.5))

    def _form(self, near: float) -> Form:
        rng = self.rng
        scale = 2.0 ** (near + rng.uniform(-1, 1))
        if self.dyadic:
            scale = 2.0 ** round(near + rng.uniform(-1, 1)) * float(rng.choice([1.0, 1.0, 1.5]))
        return float(np.float32(scale)), int(rng.integers(-70, 70))

    def images(self, count: int) -> NDArray[np.float32]:
        """Real numbers that are values of the first tensor, so that nothing depends on how they
        are rounded; of the kind "images" they lie at ties, or anywhere."""
        scale, zero_point = self.before
        steps: Any = self.rng.integers(-128, 128, (count, *self.shape)) - zero_point
        if self.kind == "images":
            steps = steps + np.where(self.rng.random(steps.shape) < 0.7, 0.5,
                                     self.rng.normal(size=steps.shape))  # fmt: skip
        return (steps * np.float64(scale)).astype(np.float32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = through(x, self.before)
        own, w = self.own, self.weights
        if own == "mean":
            y = F.adaptive_avg_pool2d(x, 1)
        elif own in ("max", "images"):
            y = F.max_pool2d(x, 2, 1)
        elif w is None:
            y = _FUNCTIONS[own](x)
        else:
            assert w is not None
            layer: Any = {"linear": F.linear, "sequence": F.conv1d}.get(own, F.conv2d)
            y = layer(x, w.real(), w.bias, **self.window)
            if own in ("add", "cat", "clamp", "limit", "requantize"):
                y = through(y, self.made)
            if own == "add":
                y = y + x
            elif own == "cat":
                y = torch.cat([x, y], 1)
            elif own == "clamp":
                y = F.hardtanh(y, -20 * self.after[0], 30.3 * self.after[0])
            elif own == "limit":
                y = F.hardtanh(y, -40 * self.after[0], 60.3 * self.after[0])
        if self.kind.endswith(", relu"):
            y = y.relu()
        return through(y, self.after)


def exported(model: Single) -> ExportedProgram:
    """For images one by one."""
    return torch.export.export(model.eval(), (torch.zeros(1, *model.shape),))
