"""The term sequencer, against the descriptors that it was given."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import base
from accel.hardware.descriptors import TERM_WORDS, LayerDescriptor
from accel.hardware.messages import TERM_FIELDS, Terms
from rtl_models.term_sequencer import TermSequencerRTL
from tests.harness import Simulators, run
from tests.strategies import terms
from tests.strategies import waits as drawn_waits
from tests.units.walks import load

CFG = dataclasses.replace(base, max_layers=4, adder=True)


@given(data=st.data(), layers=st.lists(terms(), min_size=1, max_size=4))
def test_term_sequencer(simulators: Simulators, data: st.DataObject, layers: list[Terms]) -> None:
    """Those of layer after layer, image after image, each until it is taken."""
    sim = simulators(TermSequencerRTL, CFG)
    descriptors = [LayerDescriptor(**dict(zip(TERM_FIELDS, t, strict=True))) for t in layers]
    sim.settle({"terms.rdy": 0})
    load(sim, descriptors, TERM_WORDS)
    # No layer ends in the cycle after another's end.
    stalls = [stall + 1 for stall in data.draw(drawn_waits(3 * len(layers)))]
    steady = {"bus.running": 1, "bus.last_layer": len(layers) - 1}
    cycles = 1 + sum(stalls) + len(stalls)
    found = run(
        sim, {}, {"terms": layers * 3}, {"terms": stalls}, steady=steady, cycles=cycles
    ).timing["terms"]  # fmt: skip
    assert found == [at + sum(stalls[: at + 1]) + 1 for at in range(len(stalls))]


def test_terms_end_with_the_program(simulators: Simulators) -> None:
    """What waits is withdrawn, and the next program begins with its first layer."""
    sim = simulators(TermSequencerRTL, CFG)
    layers = [LayerDescriptor(pops=i) for i in range(2)]
    sim.settle({"terms.rdy": 0})
    load(sim, layers, TERM_WORDS)
    offered = []
    for running in (1, 1, 1, 1, 0, 0, 0, 1, 1):
        sim.settle({"bus.running": running, "terms.rdy": len(offered) % 2 == 0})
        pops = int(sim.port("terms.msg").pops)
        offered.append(pops if sim.read("terms.val") else None)
        sim.edge()
    assert offered == [None, 0, 0, 1, 1, None, None, None, 0]
