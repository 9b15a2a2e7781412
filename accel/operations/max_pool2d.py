"""A maximum over windows of a feature map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution
from accel.network.tensor import Tensor
from accel.operations.operation import Integers, Kernel, Operation, Readers

WINDOW = 2
"""Rows and columns of a window, and from one to the next."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool2d(Operation):
    """Windows of 2x2 with stride 2; a last odd row or column is left out. Scale and zero point
    stay."""

    KIND: ClassVar = "max_pool2d"

    input: Tensor

    def _check(self) -> None:
        self._require(
            len(self.input.shape) == 3 and min(self.input.shape[1:]) >= WINDOW,
            f"nothing is left of an input of shape {self.input.shape} after pooling",
        )
        before, after = ((t.scale, t.zero_point, t.signed) for t in (self.input, self.output))
        self._require(
            before == after,
            "a maximum keeps scale, zero point and sign, but its output is said to have others",
        )

    def output_shape(self) -> tuple[int, ...]:
        channels, *sizes = self.input.shape
        return (channels, *(size // WINDOW for size in sizes))

    def integers(self, *values: Integers) -> NDArray[np.int64]:
        return numerics.max_pool2d(*values)

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        return qnnpack.max_pool_kernel(self, WINDOW)

    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        """The array computes the pixels of a window one after another, and keeps the largest."""
        self._require(
            bool(layers)
            and layers[-1].target == self.input
            and layers[-1].pool == 1
            and readers[self.input.name] == (self,),
            "a maximum must directly follow a convolution whose output nothing else reads, and not "
            "another maximum",
        )
        before = layers[-1]
        layers[-1] = replace(
            before,
            target=self.output,
            pool=WINDOW,
            macs=before.macs // _area(self.input.shape) * _area(self.output.shape) * WINDOW**2,
        )


def _area(shape: tuple[int, ...]) -> int:
    return shape[1] * shape[2]
