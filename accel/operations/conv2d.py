"""A convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution
from accel.operations.operation import Integers, Kernel
from accel.operations.weighted import Weighted
from accel.operations.window import Pair, Sides, Windowed, window_count


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d(Weighted, Windowed):
    """A convolution (PyTorch's: a cross-correlation); padded taps are the input's zero point.

    With ``groups`` the channels are cut into as many parts, and each makes its part of the outputs:
    as many groups as channels are a depthwise convolution.
    """

    KIND: ClassVar = "conv2d"
    OPTIONS: ClassVar = {**Weighted.OPTIONS, **Windowed.WINDOW_OPTIONS, "groups": int}
    WEIGHT_DIMENSIONS: ClassVar = 4

    groups: int = 1

    @property
    def window(self) -> Pair:
        return self.weight.shape[2], self.weight.shape[3]

    def _check_input(self) -> None:
        self._require_int("groups", 1)
        outputs, inputs = self.weight.shape[:2]
        self._require(
            len(self.input.shape) == 3 and self.input.shape[0] == inputs * self.groups,
            f"weight takes {inputs * self.groups} channels, but the input has shape "
            f"{self.input.shape}",
        )
        self._require(
            outputs % self.groups == 0,
            f"{outputs} outputs cannot be cut into {self.groups} groups of the same size",
        )
        self._check_windows()

    def output_shape(self) -> tuple[int, ...]:
        return (len(self.weight), *self.map_shape())

    def sums(self, x: Integers) -> NDArray[np.int64]:
        zero = self.input.zero_point
        return numerics.conv2d(x, self.weight, self.stride, self.padding, zero, self.groups)

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        ops = qnnpack.ops()
        # PyTorch pads both sides alike; what is left is padded before.
        above, left, below, right = self.padding
        is_symmetric = (above, left) == (below, right)
        padding = [above, left] if is_symmetric else [0, 0]
        window: list[Any] = [list(self.stride), padding, [1, 1], self.groups]
        packed = ops.conv2d_prepack(*qnnpack.parameters(self), *window)
        run = ops.conv2d_relu if self.relu else ops.conv2d
        kernel = qnnpack.weighted_kernel(self, run, packed)
        if is_symmetric:
            return kernel
        return lambda x: kernel(numerics.pad2d(x, self.padding, self.input.zero_point))

    def convolution(self) -> Convolution:
        return Convolution.of(
            self,
            self.input.shape,
            self.weight,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
        )

    @property
    def macs(self) -> int:
        return self.weight.size * math.prod(self.output.shape[1:])


def conv2d_shape(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: Pair, padding: Sides
) -> tuple[int, ...]:
    """The shape of a convolution's output."""
    outputs, _, rows, columns = weight_shape
    return (outputs, *window_count(input_shape, (rows, columns), stride, padding))
