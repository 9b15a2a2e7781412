"""The step and the parameter sequencer, against the walk in plain Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import AccelConfig, base
from accel.hardware.descriptors import PARAM_WORDS, STEP_WORDS, LayerDescriptor
from accel.hardware.messages import Param
from accel.hardware.packets import BIAS, MULTIPLIER
from accel.hardware.status import Activity
from accel.hardware.walk import iterations, nest_flags, num_groups, steps_per_group, steps_per_sum
from rtl_models.param_sequencer import ParamSequencerRTL
from rtl_models.step_sequencer import StepSequencerRTL
from tests.harness import Simulators, run
from tests.strategies import waits as drawn_waits
from tests.units.walks import (
    all_reads,
    load,
    pauses,
    read_descriptors,
    taking_turns,
    tap_ports,
)

CFG = dataclasses.replace(
    base, num_cols=8, num_lanes=2, pixel_groups=2, act_depth=64, weight_depth=64, param_depth=32,
    max_layers=4,
)  # fmt: skip


# Steps


@st.composite
def step_layers(draw: st.DrawFn, cfg: AccelConfig) -> list[LayerDescriptor]:
    """Up to three, one of which is the last to read the image."""
    count = draw(st.integers(1, 3))
    frees = draw(st.integers(0, count - 1))
    found = []
    for i in range(count):
        d = draw(read_descriptors(cfg))
        # Legal are fewer than there are steps.
        safe_steps = min(draw(st.sampled_from([0, 1, 2, 5])), iterations(d.read_loops) - 1)
        found.append(
            dataclasses.replace(
                d,
                pad_value=draw(st.integers(-128, 255)),
                signed=draw(st.integers(0, 1)),
                reload=draw(st.integers(0, 1)),
                frees_input=int(i == frees),
                weight_base=draw(st.integers(0, 20)),
                safe_steps=safe_steps,
            )
        )
    return found


def commands(d: LayerDescriptor, layer: int, cfg: AccelConfig) -> Iterator[dict[str, int]]:
    """Those of a layer's steps, field by field."""
    taps, flags = all_reads(d, cfg.pixel_groups), nest_flags(d) * num_groups(d)
    steps = steps_per_sum(d)
    for at, (first, last, pool_first, pool_last) in enumerate(flags):
        group, in_group = divmod(at, steps_per_group(d))
        # The first output of a group of channels brings the weights.
        load = in_group < steps or d.reload
        yield tap_ports(taps, at, cfg) | {
            "layer": layer, "pad_value": d.pad_value & 0x1FF, "is_signed": d.signed,
            "weight_address": d.weight_base + group * steps + at % steps, "load": load,
            "keep": load and not d.reload, "idx": at % steps % cfg.spad_depth, "first": first,
            "last": last, "pool_first": pool_first, "pool_last": pool_last,
            "frees_input": d.frees_input and at == len(flags) - 1,
        }  # fmt: skip


@given(data=st.data(), stops=pauses, blocks=pauses, delays=pauses)
def test_step_sequencer(
    simulators: Simulators,
    data: st.DataObject,
    stops: list[int],
    blocks: list[int],
    delays: list[int],
) -> None:
    """The steps of two images in their order, as soon as the pipeline moves, the image is there,
    and what a step reads is safe or written."""
    sim = simulators(StepSequencerRTL, CFG)
    stop, block, delay = taking_turns(stops), taking_turns(blocks), taking_turns(delays)
    layers = data.draw(step_layers(CFG))
    sim.settle({"go": 1, "image_full": 1, "image_waits": 0, "out_waits": 0, "written": 0})
    load(sim, layers, STEP_WORDS)
    programs = [list(commands(d, i, CFG)) for i, d in enumerate(layers)] * 2
    expected = [command for program in programs for command in program]
    sim.clock({"bus.running": 1})  # the first descriptor is taken up
    issued = [0]
    """Steps of each layer so far."""
    setup, image, image_in, write_in, arrived, phase, written = True, True, 0, 0, 0, 0, 0
    for _ in range(2000):
        if arrived == len(expected):
            break
        number = len(issued) - 1
        d, total = layers[number % len(layers)], len(programs[number % len(programs)])
        go = not next(stop)
        waits = next(block) > 0
        sim.settle({
            "go": go, "image_full": image, "image_waits": waits, "out_waits": waits,
            "written": written,
        })  # fmt: skip
        has_image = image or number % len(layers) > 0
        safe = issued[-1] < d.safe_steps or written == phase
        activity = Activity(sim.read("activity"))
        step = not setup and go and has_image and safe
        if not setup and not has_image:
            assert activity == (Activity.MEMORY if waits else Activity.INPUT)
        elif not setup and not safe:
            assert activity in (Activity.FILL, Activity.DRAIN, Activity.REQUANTIZER)
        elif not go:
            assert activity == (Activity.OUTPUT if waits else Activity.REQUANTIZER)
        else:
            assert activity == (Activity.HANDOVER if setup else Activity.STEP)
        ends = step and issued[-1] == total - 1
        assert sim.read("image_done") == (ends and d.frees_input)
        assert sim.read("at_rest") == (not setup and not has_image and written == phase)
        assert sim.read("layer") == number % len(layers)
        if go and sim.read("command_val"):
            found = {n: int(getattr(sim.port("command"), n)) for n in expected[arrived]}
            assert found == expected[arrived], f"step {arrived}"
            arrived += 1
        # What the other units do: a layer is written some time after its last step.
        write_in -= write_in > 0
        if written != phase and not write_in:
            written ^= 1
        image_in -= image_in > 0
        image = image or not image_in
        if setup:
            setup = not go
        issued[-1] += step
        if ends:
            # The layer before this one must be in memory: its outputs are read.
            if sim.read("image_done"):
                image, image_in = False, next(delay) + 1
            phase, write_in, setup = phase ^ 1, 1 + 2 * next(delay), True
            if written == phase:
                written ^= 1
            issued.append(0)
        sim.edge()
    assert arrived == len(expected)


def test_waits_are_called_by_where_the_last_step_is(simulators: Simulators) -> None:
    """In the fetch, in the array, and behind it, as long as the pipeline moves."""
    sim = simulators(StepSequencerRTL, CFG)
    layers = [LayerDescriptor(), LayerDescriptor()]
    sim.settle({"go": 1, "image_full": 1, "image_waits": 0, "out_waits": 0, "written": 0})
    load(sim, layers, STEP_WORDS)
    found = []
    for _ in range(22):
        sim.settle({"bus.running": 1})
        found.append(Activity(sim.read("activity")).name)
        sim.edge()
    assert found == [
        "IDLE", "HANDOVER", "STEP", "HANDOVER", *["FILL"] * 5, *["DRAIN"] * 4,
        *["REQUANTIZER"] * 9,
    ]  # fmt: skip


# Parameters


@st.composite
def param_layers(draw: st.DrawFn) -> list[LayerDescriptor]:
    few = st.integers(1, 3)
    numbers = st.integers(-128, 255)
    return [
        LayerDescriptor(
            param_beats=draw(few), param_last_beats=draw(few), param_vectors=draw(few),
            param_groups=draw(few), param_base=draw(st.integers(0, CFG.param_depth - 9)),
            zero_point=draw(numbers), lo=draw(numbers), hi=draw(numbers),
            ties_away=draw(st.integers(0, 1)), looks_up=draw(st.integers(0, 1)),
            table_index=draw(st.integers(0, 1)), table_signed=draw(st.integers(0, 1)),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]  # fmt: skip


def params(d: LayerDescriptor, memory: np.ndarray, cfg: AccelConfig) -> Iterator[Param]:
    """Those of a layer. memory: words (param_depth, num_lanes)."""
    d = d.seen_by(cfg)
    for group in range(d.param_groups):
        beats = d.param_last_beats if group == d.param_groups - 1 else d.param_beats
        for vector in range(d.param_vectors):
            ends_vectors = vector == d.param_vectors - 1 and group == d.param_groups - 1
            for beat in range(beats):
                words = memory[d.param_base + group * d.param_beats + beat].tolist()
                multiplier = np.array([MULTIPLIER.get(word) for word in words])
                bias = np.array([BIAS.get(word) for word in words])
                last = int(beat == beats - 1)
                numbers = d.zero_point, d.lo, d.hi, last
                lookup = d.looks_up, d.table_index, d.table_signed * cfg.adder
                ends = last * ends_vectors * cfg.adder
                yield Param(multiplier, bias, *numbers, d.ties_away, ends, *lookup)


@pytest.mark.parametrize(
    "has", [{}, {"adder": True}, {"tables": 2}, {"adder": True, "tables": 2}], ids=str
)
@given(data=st.data())
def test_param_sequencer(simulators: Simulators, has: dict[str, Any], data: st.DataObject) -> None:
    """Layer after layer, image after image, as fast as they are taken."""
    cfg = dataclasses.replace(CFG, **has)
    sim = simulators(ParamSequencerRTL, cfg)
    layers = data.draw(param_layers())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    memory = rng.integers(0, 1 << 64, (CFG.param_depth, CFG.num_lanes), np.uint64)
    sim.settle({"param_wen": 0, "param.rdy": 0})
    load(sim, layers, PARAM_WORDS)
    for (address, beat), word in np.ndenumerate(memory):
        at = {"param_waddr": address, "param_wbeat": beat, "bus.wdata": int(word)}
        sim.clock(at | {"param_wen": 1})
    sim.settle({"param_wen": 0})
    # It never ends: as many as come in some time, of more than there can be.
    expected = [param for d in layers for param in params(d, memory, cfg)]
    stalls = data.draw(drawn_waits(len(expected)))
    steady = {"bus.running": 1, "bus.last_layer": len(layers) - 1}
    cycles = sum(stalls) + 2 * (len(expected) + len(layers)) + 8
    found = run(
        sim, {}, {"param": expected * 8}, {"param": stalls}, steady=steady, cycles=cycles
    ).timing["param"]  # fmt: skip
    assert len(found) >= 2 * len(expected)
    if not any(stalls):
        # A cycle for a layer's start, else one a beat.
        assert found[len(expected) - 1] - found[0] == len(expected) - 1 + len(layers) - 1
