"""A fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution
from accel.operations.operation import Integers, Kernel
from accel.operations.weighted import Weighted


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear(Weighted):
    """A fully connected layer; it takes a feature map in the order channel, row, column."""

    KIND: ClassVar = "linear"

    def _check_input(self) -> None:
        self._require(
            self.input.size == self.weight.shape[1],
            f"weight takes {self.weight.shape[1]} inputs, but the input of shape "
            f"{self.input.shape} has {self.input.size}",
        )

    def output_shape(self) -> tuple[int, ...]:
        return (self.weight.shape[0],)

    def sums(self, x: Integers) -> NDArray[np.int64]:
        return numerics.linear(np.reshape(x, (len(x), self.input.size)), self.weight)

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        ops = qnnpack.ops()
        packed = ops.linear_prepack(*qnnpack.parameters(self))
        return qnnpack.weighted_kernel(self, ops.linear_relu if self.relu else ops.linear, packed)

    def convolution(self) -> Convolution:
        """Over a feature map it is a convolution whose kernel is the whole map."""
        shape = (*self.input.shape, 1, 1)[:3]
        return Convolution.of(self, shape, self.weight.reshape(len(self.weight), *shape))

    @property
    def macs(self) -> int:
        return self.weight.size
