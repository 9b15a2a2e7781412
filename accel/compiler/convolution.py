"""What the array is asked to compute: operations of every kind become one or more of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accel.network.tensor import Tensor

if TYPE_CHECKING:
    from accel.operations.weighted import Weighted


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution:
    """A convolution over a feature map with all that follows its sums: the maximum over pooling
    windows, bias, requantization and clamp. Other layers are convolutions of a special shape."""

    name: str
    kind: str
    source: Tensor
    target: Tensor
    """After pooling."""
    source_shape: tuple[int, ...]
    """(channels, height, width)"""
    weight: NDArray[np.int8]
    """(outputs, channels / groups, kernel rows, kernel columns)"""
    stride: tuple[int, int]
    """Of rows and of columns."""
    padding: tuple[int, int, int, int]
    """Rows above, columns at the left, rows below, columns at the right."""
    pad_value: int
    """What a tap there reads."""
    groups: int
    """The first ``channels / groups`` channels make the first ``outputs / groups`` outputs, and so
    on."""
    pool: tuple[int, int] = (1, 1)
    """Rows and columns of a pooling window."""
    pool_stride: tuple[int, int] = (1, 1)
    """From one to the next."""
    bias: NDArray[np.int64]
    """(outputs,), with what the input's zero point adds taken out."""
    multiplier: NDArray[np.float32]
    """(outputs,)"""
    output_range: tuple[int, int]
    accumulator_bound: NDArray[np.int64]
    """(outputs,): the largest magnitude of each accumulator, whatever the input."""
    macs: int

    @classmethod
    def of(
        cls,
        operation: Weighted,
        source_shape: tuple[int, ...],
        weight: NDArray[np.int8],
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        groups: int = 1,
    ) -> Convolution:
        """The convolution that computes ``operation``, with its weights in four dimensions."""
        return cls(
            name=operation.name,
            kind=operation.kind,
            source=operation.input,
            target=operation.output,
            source_shape=source_shape,
            weight=weight,
            stride=stride,
            padding=padding,
            pad_value=operation.input.zero_point,
            groups=groups,
            bias=operation.folded_bias,
            multiplier=operation.multiplier,
            output_range=operation.output_range,
            accumulator_bound=operation.accumulator_bound,
            macs=operation.macs,
        )
