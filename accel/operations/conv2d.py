"""A convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution
from accel.network.tensor import MAX_ELEMENTS
from accel.operations.operation import Integers, Kernel
from accel.operations.weighted import Weighted


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d(Weighted):
    """A convolution (PyTorch's: a cross-correlation); padded taps are the input's zero point."""

    KIND: ClassVar = "conv2d"
    OPTIONS: ClassVar = {"relu": bool, "stride": int, "padding": int}
    WEIGHT_DIMENSIONS: ClassVar = 4

    stride: int = 1
    """In both directions."""
    padding: int = 0
    """On all four sides."""

    def _check_input(self) -> None:
        self._require_int("stride", 1)
        self._require_int("padding", 0)
        self._require(
            len(self.input.shape) == 3 and self.input.shape[0] == self.weight.shape[1],
            f"weight takes {self.weight.shape[1]} channels, but the input has shape "
            f"{self.input.shape}",
        )
        channels, height, width = self.input.shape
        padded = (height + 2 * self.padding, width + 2 * self.padding)
        self._require(
            channels * math.prod(padded) <= MAX_ELEMENTS,
            f"the padded input has more than {MAX_ELEMENTS} elements",
        )
        kernel = self.weight.shape[2:]
        self._require(
            all(size >= k for size, k in zip(padded, kernel, strict=True)),
            f"nothing is left of an input of shape {self.input.shape} after a kernel of "
            f"{kernel[0]}x{kernel[1]}, stride {self.stride}, padding {self.padding}",
        )

    def output_shape(self) -> tuple[int, ...]:
        return conv2d_shape(self.input.shape, self.weight.shape, self.stride, self.padding)

    def sums(self, x: Integers) -> NDArray[np.int64]:
        return numerics.conv2d(x, self.weight, self.stride, self.padding, self.input.zero_point)

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        ops, window = qnnpack.ops(), [[self.stride] * 2, [self.padding] * 2, [1, 1], 1]
        packed = ops.conv2d_prepack(*qnnpack.parameters(self), *window)
        return qnnpack.weighted_kernel(self, ops.conv2d_relu if self.relu else ops.conv2d, packed)

    def convolution(self) -> Convolution:
        return Convolution.of(
            self, self.input.shape, self.weight, stride=self.stride, padding=self.padding
        )

    @property
    def macs(self) -> int:
        return self.weight.size * math.prod(self.output.shape[1:])


def conv2d_shape(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: int, padding: int
) -> tuple[int, ...]:
    """The shape of a convolution's output."""
    outputs, _, *kernel = weight_shape
    sizes = (
        (size + 2 * padding - k) // stride + 1
        for size, k in zip(input_shape[1:], kernel, strict=False)
    )
    return (outputs, *sizes)
