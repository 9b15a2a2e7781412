"""The adder, at all levels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import AccelConfig, base
from accel.hardware.descriptors import LEAST_SHIFT, LayerDescriptor
from accel.hardware.legality import MAX_SHIFT
from accel.hardware.messages import Beat, Ints, Operand, Out, Terms
from accel.hardware.pipeline import ADDER_LATENCY, OPERANDS
from accel.numerics import add, add_multipliers
from accel.runtimes.rounding import QNNPACK, XNNPACK, Rounding
from cl_models.adder import AdderCL
from fl_models.adder import AdderFL
from rtl_models.adder import AdderRTL
from tests.harness import HarnessError, Simulators, run
from tests.strategies import delayed, more_examples, sums, waits

LEVELS = {"fl": AdderFL, "cl": AdderCL, "rtl": AdderRTL}


def config(num_cols: int, num_lanes: int, pixel_groups: int = 1) -> AccelConfig:
    return dataclasses.replace(
        base, num_cols=num_cols, num_lanes=num_lanes, pixel_groups=pixel_groups, adder=True
    )


# The first three are those that --test-verilog builds.
CONFIGS = [config(8, 2), config(1, 1), config(8, 8), config(9, 1), config(16, 4, 2)]

NOTHING_ADDED = Terms.of(LayerDescriptor())


def oracle(terms: list[Terms], operands: list[Operand], beats: list[Beat]) -> list[Out]:
    found: list[Out] = []
    layers, vectors, at = iter(terms), iter(operands), 0
    of_layer, vector = None, None
    for beat in beats:
        if of_layer is None:
            of_layer = next(layers)
        y, t = beat.y, of_layer
        if t.pops:
            if vector is None:
                vector = next(vectors).x
            added = vector[at : at + len(beat.y)]
            numbers = (t.own, t.operand), t.constant, t.shift, bool(t.ties_away), t.zero_point
            y = add(y, added, *numbers, t.lo, t.hi)
        found.append(Out(y & 0xFF))
        at += len(beat.y)
        if beat.last:
            at, vector = 0, None
        if beat.ends_layer:
            of_layer = None
    return found


def pairs(cfg: AccelConfig, a: Ints, b: Ints, terms: Terms) -> tuple[list[Operand], list[Beat]]:
    """A layer that adds all of b to all of a, as many as fill whole vectors."""
    vectors = a.reshape(-1, cfg.num_beats, cfg.num_lanes)
    beats = [
        Beat(beat, int(i == cfg.num_beats - 1), 0) for v in vectors for i, beat in enumerate(v)
    ]
    beats[-1] = beats[-1]._replace(ends_layer=1)
    operands = [Operand(v) for v in b.reshape(-1, cfg.num_cols)] if terms.pops else []
    return operands, beats


def terms_of(
    rounding: Rounding,
    scales: tuple[float, float, float],
    zeros: tuple[int, int, int],
    lo: int = 0,
    hi: int = 255,
) -> Terms:
    ma, mb, shift = add_multipliers(*scales, rounding.add.nbits)
    constant = -(ma * zeros[0] + mb * zeros[1])
    return Terms(ma, mb, shift, int(rounding.add.ties_away), 1, constant, zeros[2], lo, hi)


ALL = np.arange(65536)
LARGEST = (1 << 23) - 1
CHOSEN = {
    # Halves and quarters: of all pairs of bytes every second, or every fourth, is at a tie.
    "ties": terms_of(QNNPACK, (0.5, 0.5, 1.0), (100, 200, 90)),
    "ties up": terms_of(XNNPACK, (0.5, 0.5, 1.0), (100, 200, 90)),
    "quarters": terms_of(QNNPACK, (0.25, 0.75, 1.0), (128, 128, 128)),
    "any scales": terms_of(QNNPACK, (0.0231, 0.0117, 0.0294), (3, 250, 17), 17, 255),
    "carried multipliers": terms_of(QNNPACK, (1 - 2**-24, 1 - 2**-24, 1.0), (255, 255, 255)),
    "least shift of a runtime": terms_of(XNNPACK, (255.9, 2**-9, 1.0), (255, 0, 0)),
    "largest shift": terms_of(QNNPACK, (2**-10, 2**-10, 1.0), (0, 0, 0)),
    "lower byte cut off": terms_of(QNNPACK, (1.0, 1.0, 1.0), (0, 0, 0), 100, 200),
}


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("level", ["fl", "rtl"])
def test_all_pairs_of_bytes(simulators: Simulators, level: str, name: str) -> None:
    """In the RTL every seventh where it is simulated in Python."""
    cfg, terms = CONFIGS[2], CHOSEN[name]
    step = 1 if level == "fl" or simulators.verilated else 97
    chosen = ALL[::step][: len(ALL) // step // 8 * 8]
    operands, beats = pairs(cfg, chosen >> 8, chosen & 255, terms)
    inputs = {
        "terms": [(terms, 0)],
        "operand": [(m, 0) for m in operands],
        "beat": [(m, 0) for m in beats],
    }
    run(simulators(LEVELS[level], cfg), inputs, {"out": oracle([terms], operands, beats)})


# Of one lane: what is computed at the ends of all numbers, of either sign.
ENDS = [
    (terms, a, b)
    for a in (-128, -1, 0, 255)
    for b in (-128, -1, 0, 255)
    for shift in (LEAST_SHIFT, MAX_SHIFT)
    for away in (0, 1)
    for terms in (
        Terms(LARGEST, LARGEST, shift, away, 1, (1 << 31) - 1, -128, -128, 255),
        Terms(LARGEST, LARGEST, shift, away, 1, -(1 << 31), 255, -128, 255),
        Terms(1, 1, shift, away, 1, (1 << shift - 1) - 1, 3, -128, 255),
        Terms(1, 1, shift, away, 1, -(1 << shift - 1), 3, -128, 255),
        Terms(1 << 12, 0, shift, away, 0, 0, 0, -128, 127),
    )
]


@pytest.mark.parametrize("stall", [0, 1, 3])
@pytest.mark.parametrize("level", LEVELS)
def test_ends_of_all_numbers(simulators: Simulators, level: str, stall: int) -> None:
    """Each is a layer of one beat, so that terms change with every one."""
    cfg = CONFIGS[1]
    terms = [t for t, _, _ in ENDS]
    operands = [Operand(np.array([b])) for t, _, b in ENDS if t.pops]
    beats = [Beat(np.array([a]), 1, 1) for _, a, _ in ENDS]
    outs = oracle(terms, operands, beats)
    assert len({int(out.y[0]) for out in outs}) > 5
    inputs = {
        "terms": [(m, 0) for m in terms],
        "operand": [(m, stall % 2) for m in operands],
        "beat": [(m, 0) for m in beats],
    }
    run(simulators(LEVELS[level], cfg), inputs, {"out": outs}, {"out": [stall] * len(outs)})


@pytest.mark.parametrize("level", LEVELS)
def test_without_an_operand_nothing_changes(simulators: Simulators, level: str) -> None:
    cfg = CONFIGS[0]
    y = np.resize(np.arange(-128, 256), 400)
    _, beats = pairs(cfg, y, y, NOTHING_ADDED)
    outs = [Out(beat.y & 0xFF) for beat in beats]
    inputs = {"terms": [(NOTHING_ADDED, 0)], "operand": [], "beat": [(m, 0) for m in beats]}
    run(simulators(LEVELS[level], cfg), inputs, {"out": outs})


@pytest.mark.parametrize("level", LEVELS)
@more_examples(2)
@given(data=st.data())
def test_random(simulators: Simulators, level: str, data: st.DataObject) -> None:
    cfg = data.draw(st.sampled_from(CONFIGS[:3] if simulators.verilated else CONFIGS))
    messages = data.draw(sums(cfg))
    outs = oracle(*messages)
    inputs = {
        name: data.draw(delayed(part))
        for name, part in zip(("terms", "operand", "beat"), messages, strict=True)
    }
    run(simulators(LEVELS[level], cfg), inputs, {"out": outs}, {"out": data.draw(waits(len(outs)))})


@more_examples(4)
@given(data=st.data())
def test_timing(simulators: Simulators, data: st.DataObject) -> None:
    """CL and RTL agree on the cycle of every transfer."""
    cfg = data.draw(st.sampled_from(CONFIGS[:3] if simulators.verilated else CONFIGS))
    messages = data.draw(sums(cfg, max_vectors=2 * OPERANDS))
    outs = oracle(*messages)
    inputs = {
        name: data.draw(delayed(part))
        for name, part in zip(("terms", "operand", "beat"), messages, strict=True)
    }
    stalls = {"out": data.draw(waits(len(outs)))}
    cl, rtl = (
        run(simulators(LEVELS[level], cfg), inputs, {"out": outs}, stalls)
        for level in ("cl", "rtl")
    )
    assert cl.timing == rtl.timing


@pytest.mark.parametrize("level", ["cl", "rtl"])
def test_latency_and_throughput(simulators: Simulators, level: str) -> None:
    """A beat a cycle; terms are taken with the last output, and then the next layer's only beat,
    to which nothing is added, passes by. The queue of operands fills while nothing takes them."""
    cfg, terms = CONFIGS[0], CHOSEN["any scales"]
    operands, beats = pairs(cfg, np.arange(8 * 30) % 256, np.arange(8 * 30) % 256, terms)
    second = [Beat(np.array([1, 2]), 1, 1)]
    inputs = {
        "terms": [(terms, 0), (NOTHING_ADDED, 0)],
        "operand": [(m, 0) for m in operands],
        "beat": [(m, 30 * (i == 0)) for i, m in enumerate([*beats, *second])],
    }
    outs = oracle([terms, NOTHING_ADDED], operands, [*beats, *second])
    timing = run(simulators(LEVELS[level], cfg), inputs, {"out": outs}).timing
    assert timing["operand"][: OPERANDS + 1] == [*range(OPERANDS), 31 + cfg.num_beats]
    ends = 30 + ADDER_LATENCY + len(beats)
    assert timing["beat"] == [*range(30, 30 + len(beats)), ends]
    assert timing["out"] == [*range(30 + ADDER_LATENCY, ends), ends]
    assert timing["terms"] == [ends - 1, ends]


@pytest.mark.parametrize("level", LEVELS)
def test_reset_in_flight(simulators: Simulators, level: str) -> None:
    """Each run begins with a reset; it drops what an earlier run left in the pipeline."""
    cfg, terms = CONFIGS[0], CHOSEN["ties"]
    operands, beats = pairs(cfg, np.arange(80), np.arange(80), terms)
    inputs = {
        "terms": [(terms, 0)],
        "operand": [(m, 0) for m in operands],
        "beat": [(m, 0) for m in beats],
    }
    sim = simulators(LEVELS[level], cfg)
    with pytest.raises(HarnessError, match="after its last message"):
        run(sim, inputs, {"out": []})
    run(sim, inputs, {"out": oracle([terms], operands, beats)})
