"""An average over windows of a feature map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution
from accel.network.tensor import MAX_SCALE, MIN_SCALE
from accel.operations.operation import Integers, Kernel, Readers
from accel.operations.pool import Pool
from accel.runtimes.rounding import QNNPACK, Rounding

LARGEST_EXACT = 1 << 12
"""Pixels of a window whose mean is exact (:func:`accel.numerics.mean_multiplier`)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AvgPool2d(Pool):
    """The mean of each window, padding included, which is zero. Where the runtime allows that, the
    output has a scale and zero point of its own."""

    KIND: ClassVar = "avg_pool2d"

    rounding: Rounding = QNNPACK

    def _check(self) -> None:
        super()._check()
        if self.rounding.exact_averages:
            self._require(
                not any(self.padding) and self._area <= LARGEST_EXACT,
                f"{self.rounding.name} averages windows of at most {LARGEST_EXACT} pixels without "
                f"padding, not of {self._area} with padding {self.padding}",
            )
        self._require(
            MIN_SCALE <= float(self.multiplier) <= MAX_SCALE,
            "the multiplier that follows from the scales must be a positive normal float32",
        )
        largest = float(self._layer.accumulator_bound[0])
        self._require(
            largest * float(self.multiplier) < numerics.INT32_MAX,
            f"the output scale {self.output.scale:.6g} is so small that an output can leave 32 "
            f"bits before it saturates",
        )

    @property
    def _area(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def _may_rescale(self) -> bool:
        return self.rounding.pools_rescale

    @property
    def multiplier(self) -> NDArray[np.float32]:
        """From sums to steps of the output."""
        if self.rounding.exact_averages:
            return numerics.mean_multiplier(self._area)
        return numerics.pool_multiplier(self.input.scale, self.output.scale, self._area)

    @property
    def _zeros(self) -> tuple[int, int]:
        """The integer that sums are of differences to, and the one that is added to their mean."""
        if self.rounding.exact_averages:
            return 0, 0
        return self.input.zero_point, self.output.zero_point

    @property
    def _layer(self) -> Convolution:
        """What sums a window, without stride and padding."""
        zero, added = self._zeros
        return replace(
            Convolution.of_ones(self, self.input, self.size, self.multiplier, zero),
            zero_point=added,
            output_range=self.output.limits,
        )

    def integers(self, *values: Integers) -> NDArray[np.int64]:
        channels, (zero, added) = self.input.shape[0], self._zeros
        ones = np.ones((channels, 1, *self.size), np.int64)
        x = self._padded(*values) - zero
        sums = numerics.conv2d(x, ones, self.stride, (0, 0, 0, 0), 0, channels)
        return numerics.requantize(sums, self.multiplier, added, *self.output.limits)

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        window = list(self.size), list(self.stride), [0, 0]
        return qnnpack.pool_kernel(self, lambda qx: qnnpack.avg_pool2d(qx, *window), self._padded)

    def _padded(self, x: Integers) -> NDArray[np.int64]:
        return numerics.pad2d(x, self.padding, self.input.zero_point)

    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        """A depthwise convolution whose weights are ones."""
        layers.append(replace(self._layer, stride=self.stride, padding=self.padding))
