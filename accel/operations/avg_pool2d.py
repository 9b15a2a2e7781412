"""An average over windows of a feature map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution
from accel.operations.operation import Integers, Kernel, Readers
from accel.operations.pool import Pool
from accel.runtimes.rounding import QNNPACK, Rounding

LARGEST_EXACT = 1 << 13
"""Pixels of a window whose mean is exact (:func:`accel.numerics.mean_multiplier`)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AvgPool2d(Pool):
    """The mean of each window, padding included, which is zero."""

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

    @property
    def _area(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def multiplier(self) -> NDArray[np.float32]:
        """From sums to steps of the output."""
        if self.rounding.exact_averages:
            return numerics.mean_multiplier(self._area)
        return numerics.pool_multiplier(self.input.scale, self.output.scale, self._area)

    @property
    def origin(self) -> int:
        """The integer that sums are of differences to."""
        return 0 if self.rounding.exact_averages else self.input.zero_point

    def integers(self, *values: Integers) -> NDArray[np.int64]:
        channels = self.input.shape[0]
        ones = np.ones((channels, 1, *self.size), np.int64)
        x = self._padded(*values) - self.origin
        sums = numerics.conv2d(x, ones, self.stride, (0, 0, 0, 0), 0, channels)
        return numerics.requantize(
            sums, self.multiplier, self.origin, *self.output.limits, self.rounding.exact_averages
        )

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        window = list(self.size), list(self.stride), [0, 0]
        return qnnpack.pool_kernel(self, lambda qx: qnnpack.avg_pool2d(qx, *window), self._padded)

    def _padded(self, x: Integers) -> NDArray[np.int64]:
        return numerics.pad2d(x, self.padding, self.input.zero_point)

    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        """A depthwise convolution whose weights are ones."""
        layer = Convolution.of_ones(self, self.input, self.size, self.multiplier, self.origin)
        layers.append(
            replace(
                layer,
                stride=self.stride,
                padding=self.padding,
                ties_away=self.rounding.exact_averages,
            )
        )
