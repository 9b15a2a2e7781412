"""A maximum over windows of a feature map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution
from accel.operations.operation import Integers, Kernel, Readers
from accel.operations.pool import Pool


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool2d(Pool):
    """The largest of each window; padding is the least value there is."""

    KIND: ClassVar = "max_pool2d"

    def integers(self, *values: Integers) -> NDArray[np.int64]:
        return numerics.max_pool2d(self._padded(*values), self.size, self.stride)

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        window = list(self.size), list(self.stride), [0, 0], [1, 1], False
        run = qnnpack.ops().max_pool2d
        return qnnpack.pool_kernel(self, lambda qx: run(qx, *window), self._padded)

    def _padded(self, x: Integers) -> NDArray[np.int64]:
        return numerics.pad2d(x, self.padding, self.input.limits[0])

    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        """The array computes the pixels of a window one after another, and keeps the largest: of
        the convolution before, where no pixel is in two windows; else of a copy of the input."""
        before = layers[-1] if layers else None
        if (
            before is not None
            and before.target == self.input
            and before.pool == before.pool_stride == (1, 1)
            and before.lookup is None
            and before.addition is None
            and readers[self.input.name] == (self,)
            and self.size == self.stride
            and not any(self.padding)
        ):
            area = self.input.size // self.input.shape[0]
            kept = self.output.size // self.output.shape[0] * self.size[0] * self.size[1]
            layers[-1] = replace(
                before,
                target=self.output,
                pool=self.size,
                pool_stride=self.stride,
                macs=before.macs // area * kept,
            )
            return
        copy = Convolution.of_ones(self, self.input, (1, 1), 1, self.input.zero_point)
        layers.append(
            replace(
                copy,
                padding=self.padding,
                pad_value=self.input.limits[0],
                pool=self.size,
                pool_stride=self.stride,
            )
        )
