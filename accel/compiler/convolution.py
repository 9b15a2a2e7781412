"""What the array is asked to compute: operations of every kind become one or more of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accel.network.tensor import Tensor

if TYPE_CHECKING:
    from accel.operations.operation import Operation
    from accel.operations.weighted import Weighted


@dataclass(frozen=True, kw_only=True, eq=False)
class Addition:
    """The sum of requantized outputs and another tensor: :func:`accel.numerics.add`."""

    operand: Tensor
    """What is added, of the shape of the layer's target."""
    multipliers: tuple[int, int]
    """Of the requantized output and of the operand."""
    constant: int
    shift: int
    ties_away: bool
    zero_point: int
    output_range: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lookup:
    """A table in which requantized outputs are looked up, before anything is added."""

    entries: NDArray[np.integer]
    """(256,), for the values from ``least`` on."""
    least: int
    signed: bool
    """Entries are int8."""


@dataclass(frozen=True, kw_only=True)
class Within:
    """Where a tensor lies in a larger one."""

    whole: Tensor
    first_channel: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution:
    """A convolution over a feature map with all that follows its sums: the maximum over pooling
    windows, bias, requantization and clamp, a table, and what is added then. Other layers are
    convolutions of a special shape."""

    name: str
    kind: str
    source: Tensor
    target: Tensor
    """After pooling, lookup and addition."""
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
    ties_away: bool = False
    """Of the last rounding: else they go to even."""
    zero_point: int
    """What is added after the rounding."""
    output_range: tuple[int, int]
    lookup: Lookup | None = None
    addition: Addition | None = None
    within: tuple[Within, ...] = ()
    """The tensors that its target is a part of, if it is of any: the one that it was joined into
    first, then what that is a part of."""
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
            zero_point=operation.output.zero_point,
            output_range=operation.output_range,
            accumulator_bound=operation.accumulator_bound,
            macs=operation.macs,
        )

    @classmethod
    def of_ones(
        cls,
        operation: Operation,
        source: Tensor,
        kernel: tuple[int, int],
        multiplier: ArrayLike,
        origin: int,
    ) -> Convolution:
        """For ``operation``, sums over windows of each channel of ``source``, of the differences to
        ``origin``; it is added again after requantization."""
        channels, height, width = (*source.shape, 1, 1)[:3]
        area = kernel[0] * kernel[1]
        largest = max(abs(limit) for limit in source.limits) + abs(origin)
        return cls(
            name=operation.name,
            kind=operation.kind,
            source=source,
            target=operation.output,
            source_shape=(channels, height, width),
            weight=np.ones((channels, 1, *kernel), np.int8),
            stride=(1, 1),
            padding=(0, 0, 0, 0),
            pad_value=source.zero_point,
            groups=channels,
            bias=np.full(channels, -origin * area, np.int64),
            multiplier=np.full(channels, multiplier, np.float32),
            zero_point=origin,
            output_range=source.limits,
            accumulator_bound=np.full(channels, largest * area, np.int64),
            macs=0,
        )

    def ends_in(self, tensor: Tensor) -> bool:
        """Whether that tensor is what it makes, or the largest that this is a part of."""
        return (self.within[-1].whole if self.within else self.target) == tensor

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """All tensors that are read."""
        return (self.source,) if self.addition is None else (self.source, self.addition.operand)
