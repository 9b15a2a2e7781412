"""How the tests of a nest's parts drive them, and what they expect, position by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import COUNT, READ_LOOPS, LayerDescriptor, Loop, Offset
from accel.hardware.messages import pack_ints
from accel.hardware.walk import Reads, iterations, last_iterations, num_groups, reads
from tests.harness import Simulator
from tests.strategies import nests

pauses = st.lists(st.sampled_from([0, 0, 0, 1, 2]), max_size=8).map(lambda some: [*some, 0])
"""Cycles to wait, for :func:`taking_turns`; not always some."""


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


@st.composite
def read_descriptors(draw: st.DrawFn, cfg: AccelConfig) -> LayerDescriptor:
    """What makes a layer's addresses; taps within the feature map and around it."""
    small = st.integers(0, 3)
    return LayerDescriptor(
        read_loops=draw(nests(len(READ_LOOPS), 24, furthest=3)),
        pixel_offsets=tuple(
            Offset(draw(st.integers(-40, 200)), draw(small), draw(small)) for _ in range(2)
        ),
        read_row=draw(st.integers(0, cfg.act_depth - 1)),
        read_bank=draw(st.integers(0, TAPS - 1)),
        padding_rows=draw(st.sampled_from([0, 1, 2, 15])),
        padding_columns=draw(st.sampled_from([0, 1, 2, 15])),
        height=draw(st.integers(1, 12)),
        width=draw(st.integers(1, 12)),
        channel_mode=draw(st.integers(0, 1)),
        tap_row=draw(st.integers(0, 20)),
        last_rows=draw(small),
        last_columns=draw(small),
        last_channels=draw(st.integers(0, TAPS)),
    )


def all_reads(d: LayerDescriptor, pixel_groups: int) -> Reads:
    """Those of all groups of output channels, one after another."""
    parts = (reads(d, pixel_groups, group) for group in range(num_groups(d)))
    return Reads(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def tap_ports(taps: Reads, step: int, cfg: AccelConfig) -> dict[str, int]:
    """The ports of a step: rows of its taps, bank of the first, taps that read and that pad."""
    address = taps.address[step]
    return {
        "rows": pack_ints(address // TAPS, cfg.act_addr_nbits),
        "bank": pack_ints(address[:, 0] % TAPS, 4),
        "reads": pack_ints(taps.inside[step], 1),
        "pads": pack_ints(taps.padding[step], 1),
    }


def load(sim: Simulator, descriptors: Sequence[LayerDescriptor], words: range) -> None:
    """Writes a sequencer's words of layers into it, while nothing runs."""
    sim.settle({"bus.running": 0, "bus.wen": 0})
    sim.reset()
    for layer, d in enumerate(descriptors):
        for word in words:
            at = {"bus.wlayer": layer, "bus.wword": word, "bus.wdata": d.encode()[word]}
            sim.clock(at | {"bus.wen": 1})
    # The first layer is read from memory.
    for _ in range(2):
        sim.clock({"bus.wen": 0, "bus.last_layer": len(descriptors) - 1})
