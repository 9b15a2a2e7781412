"""The mean of each channel of a feature map."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution
from accel.network.tensor import MAX_SCALE, MIN_SCALE, Tensor
from accel.operations.operation import Integers, Kernel, Operation, Readers
from accel.runtimes.rounding import LITERT, XNNPACK, Rounding

MAX_AREA = 1 << 12
"""Pixels of a map."""
TRIED = 64
"""Multipliers that are tried, about the middle of those that may do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mean(Operation):
    """Over rows and columns, to a scale of its own: XNNPACK's, as LiteRT and ExecuTorch call it.

    It adds the zero points as real numbers, which the array does not. But what it makes of a sum is
    known for each sum there can be, so the array's integers can be chosen such that it makes the
    same of all of them.
    """

    KIND: ClassVar = "mean"

    input: Tensor
    rounding: Rounding = LITERT

    def _check(self) -> None:
        self._require(
            self.rounding.name in (LITERT.name, XNNPACK.name),
            f"what {self.rounding.name} makes of means is not known, only what {LITERT.name} and "
            f"{XNNPACK.name} do",
        )
        self._require(
            len(self.input.shape) == 3 and self.area <= MAX_AREA,
            f"it takes a feature map of at most {MAX_AREA} pixels, not of shape {self.input.shape}",
        )
        self._require(
            self.input.signed and self.output.signed, "its input and its output must be signed"
        )
        ratio = float(np.float32(self.input.scale) / np.float32(self.output.scale))
        self._require(
            MIN_SCALE * MAX_AREA <= ratio <= MAX_SCALE / MAX_AREA,
            f"the scale of the input is {ratio:.6g} times that of the output",
        )

    @property
    def area(self) -> int:
        return math.prod(self.input.shape[1:])

    def output_shape(self) -> tuple[int, ...]:
        return (self.input.shape[0], 1, 1)

    def integers(self, *values: Integers) -> NDArray[np.int64]:
        (x,) = values
        return self._of(np.asarray(x, np.int64).sum(axis=(2, 3), keepdims=True))

    def _of(self, sums: NDArray[np.int64]) -> NDArray[np.int64]:
        x, y = self.input, self.output
        return numerics.mean(sums, self.area, x.scale, x.zero_point, y.scale, y.zero_point)

    def kernel(self) -> Kernel:
        return self._fail("PyTorch has no such kernel")

    @cached_property
    def scaling(self) -> tuple[int, np.float32, int]:
        """Bias, multiplier and zero point with which :func:`accel.numerics.requantize` makes of
        every sum what LiteRT makes of it.

        Raises :class:`AccelError` if none are found.
        """
        least, most = (limit * self.area for limit in self.input.limits)
        sums = np.arange(least, most + 1)
        means = self._of(sums)
        # Both rise with the sum: where they agree about each step, they agree about all.
        before = np.flatnonzero(np.diff(means))
        kept = np.unique(np.concatenate([[0], before, before + 1, [len(sums) - 1]]))
        sums, means = sums[kept], means[kept]
        for bias, multipliers, added in self._candidates(sums, means):
            for multiplier in multipliers:
                found = numerics.requantize(sums + bias, multiplier, added, *self.output.limits)
                if np.array_equal(found, means):
                    return bias, np.float32(multiplier), added
        return self._fail(
            f"no integers were found with which the array makes the means that "
            f"{self.rounding.name} does"
        )

    def _candidates(
        self, sums: NDArray[np.int64], means: NDArray[np.int64]
    ) -> Iterator[tuple[int, NDArray[np.float32], int]]:
        """Biases, multipliers and zero points that may do for these sums."""
        x, y = self.input, self.output
        ratio = float(np.float32(x.scale) / np.float32(y.scale)) / self.area
        lo, hi = y.limits
        # A tie goes to the even one of two numbers before the zero point is added.
        for added in (y.zero_point, y.zero_point - 1, y.zero_point + 1):
            bias = round((y.zero_point - added) / ratio) - x.zero_point * self.area
            total = sums + bias
            used = total != 0
            total, wanted = total[used], means[used]
            # Of the total times the multiplier: at the clamp's ends there is one bound only.
            least = np.where(wanted == lo, -np.inf, wanted - added - 0.5) / total
            most = np.where(wanted == hi, np.inf, wanted - added + 0.5) / total
            low = float(np.max(np.minimum(least, most), initial=0))
            high = float(np.min(np.maximum(least, most), initial=MAX_SCALE))
            middle = np.float32((low + high) / 2 if high < MAX_SCALE else max(low, ratio))
            nearest = middle.view(np.int32) + np.arange(-TRIED // 2, TRIED // 2, dtype=np.int32)
            order = np.argsort(np.abs(nearest - middle.view(np.int32)), kind="stable")
            yield bias, nearest[order].view(np.float32), added

    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        """A depthwise convolution whose weights are ones."""
        bias, multiplier, added = self.scaling
        channels, height, width = self.input.shape
        layer = Convolution.of_ones(self, self.input, (height, width), multiplier, 0)
        layers.append(
            replace(
                layer,
                bias=np.full(channels, bias, np.int64),
                zero_point=added,
                accumulator_bound=layer.accumulator_bound + abs(bias),
            )
        )
