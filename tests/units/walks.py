"""How the tests of a nest's parts drive them, and what they expect, position by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from accel.hardware.config import TAPS
from accel.hardware.descriptors import COUNT, Loop
from accel.hardware.messages import pack_ints
from accel.hardware.walk import iterations, last_iterations
from tests.harness import Simulator

pauses = st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=1, max_size=8)
"""Cycles to wait, for :func:`taking_turns`."""


class Position(NamedTuple):
    """Bit masks of the loops: in their first and last iterations, that advances next, and that
    start again or advance."""

    first: int
    last: int
    select: int
    restart: int


def positions(loops: Sequence[Loop]) -> list[Position]:
    found = []
    lasts = last_iterations(tuple(loops))
    for at in range(iterations(tuple(loops))):
        first = last = select = restart = 0
        inner, inner_end = 1, True
        for i, loop in enumerate(loops):
            first |= (at // inner % loop.count == 0) << i
            last |= int(lasts[i][at]) << i
            restart |= inner_end << i
            select |= (inner_end and not lasts[i][at]) << i
            inner_end = inner_end and bool(lasts[i][at])
            inner *= loop.count
        found.append(Position(first, last, select, restart))
    return found


def counts(loops: Sequence[Loop]) -> int:
    """What the port ``counts`` of a nest carries."""
    return sum(COUNT.put(loop.count) << i * COUNT.nbits for i, loop in enumerate(loops))


def strides(loops: Sequence[Loop], row_nbits: int) -> dict[str, int]:
    """What the ports of the loops' strides carry, in rows and banks."""
    rows, banks = zip(*(divmod(loop.stride, TAPS) for loop in loops), strict=True)
    return {"strides_row": pack_ints(rows, row_nbits), "strides_bank": pack_ints(banks, 4)}


def taking_turns(waits: Sequence[int]) -> Iterator[int]:
    """The same waits again and again."""
    while True:
        yield from waits


def two_stages(
    sim: Simulator, loops: Sequence[Loop], start: dict[str, Any], waits: Iterator[int]
) -> Iterator[int]:
    """Walks the loops as :class:`LoopAddressRTL` wants it; yields each position's number in every
    cycle in which its address must be there. A position is issued while the one before it leaves,
    or later."""
    selects = [position.select for position in positions(loops)]
    sim.clock(start | {"start": 1, "issue": 0, "leave": 0})
    sim.clock({"start": 0, "issue": 1, "select": selects[0]})
    for at, position in enumerate(positions(loops)):
        for _ in range(next(waits)):
            sim.settle({"issue": 0, "leave": 0})
            yield at
            sim.edge()
        late = at + 1 < len(selects) and next(waits) > 0
        following = {"issue": not late, "select": selects[(at + 1) % len(selects)]}
        sim.settle({"leave": 1, "restart": position.restart} | following)
        yield at
        sim.edge()
        if late:
            sim.clock(following | {"issue": 1, "leave": 0})
