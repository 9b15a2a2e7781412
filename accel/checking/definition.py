"""What a network defines for each layer of a program: its own reading of the operations, apart from
the compiler's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.errors import AccelError
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Linear,
    MaxPool2d,
    Mean,
    Operation,
    Table,
)
from accel.operations.pool import Pool
from accel.operations.weighted import Weighted

Ints = NDArray[np.int64]
Sums = Callable[[Ints, Ints, int], Ints]


@dataclass(frozen=True, kw_only=True, eq=False)
class Summand:
    """What is added to each requantized output, and the numbers of :func:`accel.numerics.add`."""

    tensor: Tensor
    """What is added, element by element."""
    own_multiplier: int
    multiplier: int
    constant: int
    shift: int
    ties_away: bool
    zero_point: int
    lo: int
    hi: int


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A tensor that consists of others, channel after channel."""

    whole: Tensor
    parts: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Definition:
    """Sums of products over windows of a feature map, the maximum of some neighbouring ones, what
    requantizes it, and what is added then.

    A linear layer is one window, the whole map. A vector is a map of one pixel. A pool is a layer
    with weights of one.
    """

    name: str
    source: Tensor
    target: Tensor
    weight: NDArray[np.int8]
    """(outputs, channels / groups, kernel rows, kernel columns)"""
    groups: int = 1
    """The channels are cut into as many parts, and each makes its part of the outputs."""
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    """Rows above, and columns at the left."""
    pad_value: int
    pool: tuple[int, int] = (1, 1)
    """Rows and columns of sums that one output is the maximum of."""
    pool_stride: tuple[int, int] = (1, 1)
    """And from those of one output to those of the next."""
    bias: Ints
    """(outputs,), with what the input's zero point adds to the sums taken out."""
    multiplier: NDArray[np.float32]
    """(outputs,)"""
    ties_away: bool = False
    """Of the last rounding, to an integer."""
    zero_point: int
    """What is added to the scaled and rounded sums."""
    lo: int
    hi: int
    table: Table | None = None
    """What becomes of each output then, before anything is added."""
    summand: Summand | None = None
    joined: tuple[Joined, ...] = ()
    """Tensors that are there when the layer has ended, since their parts are, in this order."""
    sums: Sums
    """The operation's own arithmetic for one of its groups: of channels of a feature map, weights
    (sets of weights, channels, kernel rows, kernel columns) and the value of padding, the sums
    (sets of weights, rows, columns)."""

    @property
    def source_shape(self) -> tuple[int, int, int]:
        return map_shape(self.source)

    @property
    def target_shape(self) -> tuple[int, int, int]:
        return map_shape(self.target)

    @property
    def kernel(self) -> tuple[int, int]:
        """Its rows and columns."""
        return self.weight.shape[2], self.weight.shape[3]


def map_shape(tensor: Tensor) -> tuple[int, int, int]:
    """A tensor's channels, rows and columns."""
    channels, height, width = (*tensor.shape, 1, 1)[:3]
    return channels, height, width


def definitions(network: Network) -> list[Definition]:
    """A definition for each layer of a program for ``network``.

    Raises :class:`AccelError` naming an operation of a kind that :func:`define` does not know.
    """
    found: list[Definition] = []
    for operation in network.operations:
        before = found[-1] if found else None
        if before and isinstance(operation, MaxPool2d) and _is_of(operation, before, network):
            # Maxima of outputs that nothing else needs are taken before these are requantized.
            found[-1] = replace(
                before,
                target=operation.output,
                pool=operation.size,
                pool_stride=operation.stride,
            )
        elif before and isinstance(operation, Add) and _adds_to(operation, before, network):
            # The same holds of outputs that are only summands.
            found[-1] = replace(
                before, target=operation.output, summand=_summand(operation, before.target)
            )
        elif before and isinstance(operation, Table) and _looks_up(operation, before, network):
            found[-1] = replace(before, target=operation.output, table=operation)
        elif isinstance(operation, Concat):
            _join(operation, found, network)
        else:
            found.append(define(operation))
    return found


def _join(operation: Concat, found: list[Definition], network: Network) -> None:
    """Layers write their outputs side by side. What no layer yields, what is in another tensor or
    twice in this one, and what has another scale, is copied; and in the end all, to the results."""
    yielded = {definition.target.name for definition in found}
    joined = [join for definition in found for join in definition.joined]
    yielded |= {join.whole.name for join in joined}
    taken = {part.name for join in joined for part in join.parts}
    after, parts = operation.output, []
    for i, part in enumerate(operation.parts, 1):
        at_scale = (part.scale, part.zero_point) == (after.scale, after.zero_point)
        if part.name not in yielded or part.name in taken or not at_scale:
            # No tensor of the network has such a name.
            copied = _Copied(name=f"{after.name}\t{i}", shape=part.shape, scale=after.scale,
                             zero_point=after.zero_point, signed=after.signed)  # fmt: skip
            copy = _copy(operation, (1, 1), lambda x, w, pad: x * w[:, 0], part)
            copy = replace(copy, name=f"{operation.name}.{i}", target=copied)
            found.append(_rescaled(copy, operation, part))
            part = copied
        taken.add(part.name)
        parts.append(part)
    join = Joined(whole=after, parts=tuple(parts))
    found[-1] = replace(found[-1], joined=(*found[-1].joined, join))
    if not network.readers[after.name]:
        found.append(_copy(operation, (1, 1), lambda x, w, pad: x * w[:, 0], after))


def _rescaled(copy: Definition, operation: Concat, part: Tensor) -> Definition:
    """The copy of a part, at the scale of the whole: by a multiplier, or where there is none that
    rounds alike, by a table."""
    after, multiplier = operation.output, operation.multiplier(part)
    if multiplier is None:
        values = np.arange(part.limits[0], part.limits[1] + 1)
        entries = operation.rescaled(part, values).astype(np.int8 if after.signed else np.uint8)
        table = Table(
            name=copy.name,
            input=part,
            output=replace(after, shape=part.shape),
            function="requantize",
            entries=entries,
        )
        return replace(copy, table=table)
    lo, hi = after.limits
    return replace(
        copy,
        multiplier=np.full(part.shape[0], multiplier, np.float32),
        zero_point=after.zero_point,
        lo=lo,
        hi=hi,
    )


class _Copied(Tensor):
    """One that only the check knows."""

    def __post_init__(self) -> None:
        """Its name may be any."""


@singledispatch
def define(operation: Operation) -> Definition:
    """What a layer has to compute that is this operation. ``define.register`` adds a kind; what it
    says there must not come from the kind's ``lower`` or ``convolution``, which it is to check."""
    raise AccelError(
        f"layer '{operation.name}': the check of programs knows no operation of kind "
        f"'{operation.kind}': say in accel/checking/definition.py what it defines"
    )


def _is_of(operation: MaxPool2d, before: Definition, network: Network) -> bool:
    """The maximum is taken by the layer before: of each of its sums once, and of nothing else."""
    return (
        before.target == operation.input
        and (before.pool, before.pool_stride) == ((1, 1), (1, 1))
        and network.readers[operation.input.name] == (operation,)
        and operation.size == operation.stride
        and operation.padding == (0, 0, 0, 0)
        and before.table is None
        and before.summand is None
    )


def _looks_up(operation: Table, before: Definition, network: Network) -> bool:
    """What the layer before yields is looked up by that itself: nothing else needs it."""
    return (
        before.target == operation.input
        and before.table is None
        and before.summand is None
        and network.readers[operation.input.name] == (operation,)
    )


def _adds_to(operation: Add, before: Definition, network: Network) -> bool:
    """The sum is made by the layer before: of each of its outputs and one of another tensor."""
    return (
        [tensor == before.target for tensor in operation.inputs].count(True) == 1
        and before.groups == 1
        and before.summand is None
        and network.readers[before.target.name] == (operation,)
    )


def _summand(operation: Add, own: Tensor) -> Summand:
    """own: which of the two tensors the layer has made itself."""
    a, b = operation.inputs
    nbits = operation.how.nbits
    ma, mb, shift = numerics.add_multipliers(a.scale, b.scale, operation.output.scale, nbits)
    (own_multiplier, multiplier), other = ((ma, mb), b) if own == a else ((mb, ma), a)
    lo, hi = operation.output_range
    return Summand(
        tensor=other,
        own_multiplier=own_multiplier,
        multiplier=multiplier,
        constant=-a.zero_point * ma - b.zero_point * mb,
        shift=shift,
        ties_away=operation.how.ties_away,
        zero_point=operation.output.zero_point,
        lo=lo,
        hi=hi,
    )


@define.register
def _(operation: Conv2d) -> Definition:
    return replace(
        weighted(operation, operation.weight, _windows(operation)),
        groups=operation.groups,
        stride=operation.stride,
        padding=operation.padding[:2],
    )


@define.register
def _(operation: Table) -> Definition:
    copy = _copy(operation, (1, 1), lambda x, w, pad: x * w[:, 0], operation.input)
    return replace(copy, target=operation.output, table=operation)


@define.register
def _(operation: Linear) -> Definition:
    return weighted(
        operation,
        operation.weight.reshape(-1, *map_shape(operation.input)),
        _whole_map,
    )


def _whole_map(x: Ints, w: Ints, pad: int) -> Ints:
    return numerics.linear(x.reshape(1, -1), w.reshape(len(w), -1)).T[:, :, None]


def _windows(operation: Conv2d | AvgPool2d) -> Sums:
    stride, padding = operation.stride, operation.padding
    return lambda x, w, pad: numerics.conv2d(x[None], w, stride, padding, pad)[0]


def weighted(operation: Weighted, weight: NDArray[np.int8], sums: Sums) -> Definition:
    """Of an operation with these weights in four dimensions, one group, no padding and stride 1."""
    source, target = operation.input, operation.output
    lo, hi = numerics.output_range(target.signed, operation.relu, target.zero_point)
    return Definition(
        name=operation.name,
        source=source,
        target=target,
        weight=weight,
        pad_value=source.zero_point,
        bias=operation.bias_q - _of_zero_point(source, weight),
        multiplier=operation.multiplier,
        zero_point=target.zero_point,
        lo=max(lo, operation.smallest),
        hi=min(hi, operation.largest),
        sums=sums,
    )


def _of_zero_point(source: Tensor, weight: NDArray[np.int8]) -> Ints:
    """What the zero point of all elements adds to the sums: (outputs,)."""
    sums: Ints = weight.reshape(len(weight), -1).astype(np.int64).sum(axis=1)
    return source.zero_point * sums


@define.register
def _(operation: AvgPool2d) -> Definition:
    after, channels = operation.output, operation.input.shape[0]
    of_windows = replace(
        _copy(operation, operation.size, _windows(operation)),
        stride=operation.stride,
        padding=operation.padding[:2],
        multiplier=np.full(channels, operation.multiplier, np.float32),
        zero_point=after.zero_point,
        lo=after.limits[0],
        hi=after.limits[1],
    )
    if not operation.rounding.exact_averages:
        return of_windows
    # Of the bytes as they are
    return replace(of_windows, bias=np.zeros(channels, np.int64), zero_point=0)


@define.register
def _(operation: MaxPool2d) -> Definition:
    """The maximum of sums of one element each. Padding is less than nothing."""
    padding = operation.padding
    return replace(
        _copy(
            operation,
            (1, 1),
            lambda x, w, pad: numerics.conv2d(x[None], w, (1, 1), padding, pad)[0],
        ),
        padding=padding[:2],
        pad_value=operation.input.limits[0],
        pool=operation.size,
        pool_stride=operation.stride,
    )


@define.register
def _(operation: Mean) -> Definition:
    """The sum of a whole map, and the integers that make its mean of it."""
    bias, multiplier, added = operation.scaling
    channels, height, width = operation.input.shape
    return replace(
        _copy(operation, (height, width), _whole_map),
        bias=np.full(channels, bias, np.int64),
        multiplier=np.full(channels, multiplier, np.float32),
        zero_point=added,
    )


@define.register
def _(operation: Add) -> Definition:
    """To a tensor as it is the other one is added."""
    copy = _copy(operation, (1, 1), lambda x, w, pad: x * w[:, 0])
    return replace(copy, summand=_summand(operation, operation.input))


def _copy(
    operation: Pool | Add | Mean | Concat | Table,
    size: tuple[int, int],
    sums: Sums,
    source: Tensor | None = None,
) -> Definition:
    """Sums of so many elements, with weights of one; they are requantized to what they are."""
    source = operation.inputs[0] if source is None else source
    channels = source.shape[0]
    weight = np.ones((channels, 1, *size), np.int8)
    lo, hi = source.limits
    return Definition(
        name=operation.name,
        source=source,
        target=operation.output,
        weight=weight,
        groups=channels,
        pad_value=source.zero_point,
        bias=-_of_zero_point(source, weight),
        multiplier=np.ones(channels, np.float32),
        zero_point=source.zero_point,
        lo=lo,
        hi=hi,
        sums=sums,
    )
