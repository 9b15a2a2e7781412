"""A nest of loops in hardware, part by part, against the walk in plain Python."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import TAPS
from accel.hardware.descriptors import DX, Loop
from accel.hardware.messages import pack_ints
from accel.hardware.walk import offsets
from rtl_models.loop_address import LoopAddressRTL
from rtl_models.loop_counters import LoopCountersRTL
from rtl_models.loop_nest import LoopNestRTL
from rtl_models.loop_offset import LoopOffsetRTL
from tests.harness import Simulators
from tests.strategies import more_examples, nests
from tests.units.walks import (
    Position,
    counts,
    pauses,
    positions,
    strides,
    taking_turns,
    two_stages,
)

NUM_LOOPS, ROW_NBITS, OFFSET_NBITS = 4, 6, 11
BYTES = TAPS << ROW_NBITS
"""Of the memory: addresses wrap there."""

walks = st.lists(nests(NUM_LOOPS), min_size=1, max_size=3)
"""One after another, since nothing of the first may be left in the second."""
addresses = st.integers(0, BYTES - 1)


@more_examples(2)
@given(walks=walks, waits=pauses)
def test_counters(simulators: Simulators, walks: list[tuple[Loop, ...]], waits: list[int]) -> None:
    sim = simulators(LoopCountersRTL, NUM_LOOPS)
    wait = taking_turns(waits)
    for loops in walks:
        sim.clock({"start": 1, "advance": 0, "counts": counts(loops)})
        everything = positions(loops)
        for at, position in enumerate(everything):
            # Nothing changes while it does not advance.
            for idle in (1,) * next(wait) + (0,):
                sim.settle({"start": 0, "advance": not idle})
                assert Position(*map(sim.read, Position._fields)) == position
                assert sim.read("done") == (at == len(everything) - 1)
                sim.edge()


@more_examples(2)
@given(walks=walks, waits=pauses, data=st.data())
def test_address(
    simulators: Simulators, walks: list[tuple[Loop, ...]], waits: list[int], data: st.DataObject
) -> None:
    sim = simulators(LoopAddressRTL, NUM_LOOPS, ROW_NBITS)
    wait = taking_turns(waits)
    for loops in walks:
        begin = data.draw(addresses)
        start = {"start_row": begin // TAPS, "start_bank": begin % TAPS} | strides(loops, ROW_NBITS)
        expected = (begin + offsets(loops)) % BYTES
        for at in two_stages(sim, loops, start, wait):
            assert TAPS * sim.read("row") + sim.read("bank") == expected[at]


@more_examples(2)
@given(walks=walks, waits=pauses, origin=st.integers(0, (1 << OFFSET_NBITS) - 1))
def test_offset(
    simulators: Simulators, walks: list[tuple[Loop, ...]], waits: list[int], origin: int
) -> None:
    sim = simulators(LoopOffsetRTL, NUM_LOOPS, OFFSET_NBITS, DX.nbits)
    wait = taking_turns(waits)
    for loops in walks:
        packed = pack_ints([loop.dx for loop in loops], DX.nbits)
        expected = (origin + offsets(loops, "dx")) % (1 << OFFSET_NBITS)
        for at in two_stages(sim, loops, {"origin": origin, "strides": packed}, wait):
            assert sim.read("offset") == expected[at]


@more_examples(2)
@given(walks=walks, waits=pauses, data=st.data())
def test_nest(
    simulators: Simulators, walks: list[tuple[Loop, ...]], waits: list[int], data: st.DataObject
) -> None:
    """A position a cycle, from two cycles after the start on, and none after the last; a nest that
    is not at its end can start anew."""
    sim = simulators(LoopNestRTL, NUM_LOOPS, ROW_NBITS)
    wait = taking_turns(waits)
    sim.settle({"start": 0, "take": 0})
    sim.reset()
    for loops in walks:
        begin = data.draw(addresses)
        start = {"start_row": begin // TAPS, "start_bank": begin % TAPS} | strides(loops, ROW_NBITS)
        sim.clock(start | {"start": 1, "take": 0, "counts": counts(loops)})
        sim.settle({"start": 0})
        assert not sim.read("val")
        sim.edge()
        expected = (begin + offsets(loops)) % BYTES
        everything = positions(loops)
        cut = data.draw(st.sampled_from([len(everything), len(everything) // 2]))
        for at, position in enumerate(everything[:cut]):
            for idle in (1,) * next(wait) + (0,):
                sim.settle({"take": not idle})
                assert sim.read("val")
                assert TAPS * sim.read("row") + sim.read("bank") == expected[at]
                assert sim.read("last") == position.last
                assert sim.read("done") == (at == len(everything) - 1)
                sim.edge()
        if cut == len(everything):
            for _ in range(3):
                sim.settle({"take": 0})
                assert not sim.read("val")
                sim.edge()
