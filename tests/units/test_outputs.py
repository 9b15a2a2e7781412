"""Where outputs go: the write sequencer and the result packer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import TAPS, AccelConfig, base
from accel.hardware.descriptors import WRITE_WORDS, LayerDescriptor, Loop
from accel.hardware.messages import Out
from accel.hardware.walk import pixels_per_vector, write_pixels, writes
from rtl_models.result_packer import ResultPackerRTL
from rtl_models.write_sequencer import WriteSequencerRTL
from tests.harness import Simulators, run
from tests.strategies import delayed, more_examples, nests, waits
from tests.units.walks import load, pauses, taking_turns

CFG = dataclasses.replace(base, num_cols=8, num_lanes=2, act_depth=64, max_layers=4)
CONFIGS = [CFG, *(dataclasses.replace(CFG, num_lanes=lanes) for lanes in (1, 8))]


class Beat(NamedTuple):
    """Outputs of so many lanes; 0 where all of them are dropped."""

    y: list[int]
    num_valid: int
    ends_image: bool = False


def result_words(beats: Sequence[Beat], is_signed: bool) -> list[int]:
    """Result words of an image, put together from the definition."""
    data = b"".join(
        bytes(beat.y[: beat.num_valid]).ljust(len(beat.y), b"\0")
        for beat in beats
        if beat.num_valid
    )
    words = [data[i : i + 8] for i in range(0, len(data), 8)]
    outputs = [y for beat in beats for y in beat.y[: beat.num_valid]]
    values = np.array(outputs, np.uint8).view(np.int8 if is_signed else np.uint8)
    return [*(int.from_bytes(word, "little") for word in words), int(values.argmax())]


# The write sequencer


@st.composite
def write_layers(draw: st.DrawFn, cfg: AccelConfig) -> list[LayerDescriptor]:
    """Up to three, whose last may go to the results."""
    few, one = st.integers(1, 3), st.integers(0, 1)
    count = draw(few)
    found = []
    for i in range(count):
        pixel_x, pixel_y = draw(one), draw(one)
        loops = (Loop(loop.count, loop.stride) for loop in draw(nests(3, 6)))
        found.append(
            LayerDescriptor(
                write_loops=tuple(loops),
                write_row=draw(st.integers(0, cfg.act_depth - 1)),
                write_bank=draw(st.integers(0, TAPS - 1)),
                lane_row=draw(st.integers(0, 20)),
                write_beats=draw(few),
                write_last_beats=draw(few),
                last_lanes=draw(st.integers(1, cfg.num_lanes)),
                group_lanes=draw(st.integers(1, cfg.num_lanes)),
                to_result=int(i == count - 1 and draw(st.booleans())),
                out_signed=draw(one),
                pixel_row=draw(st.integers(0, 20)),
                pixel_x=pixel_x,
                pixel_y=pixel_y,
                drop_x=pixel_x and draw(one),
                drop_y=pixel_y and draw(one),
                drop_beats=draw(st.integers(0, 2)),
            )
        )
    return found


def beats(d: LayerDescriptor, cfg: AccelConfig, rng: np.random.Generator) -> Iterator[Beat]:
    """What the requantizer makes of a layer: any outputs."""
    _, inside = write_pixels(d)
    last_pixel = int(np.flatnonzero(inside)[-1])
    groups = d.write_loops[-1].count
    for group in range(groups):
        last_group = group == groups - 1
        with_outputs = d.write_last_beats if last_group else d.write_beats
        for pixel, is_inside in enumerate(inside):
            for beat in range(with_outputs + (d.drop_beats if last_group else 0)):
                at_end, num_valid = beat == with_outputs - 1, cfg.num_lanes
                if at_end:
                    num_valid = d.last_lanes if last_group else d.group_lanes
                if not is_inside or beat >= with_outputs:
                    num_valid = 0
                y = rng.integers(256, size=cfg.num_lanes).tolist()
                yield Beat(y, num_valid, last_group and at_end and pixel == last_pixel)


@given(data=st.data())
def test_write_sequencer(simulators: Simulators, data: st.DataObject) -> None:
    """Every output of two images to its byte once, in the order in which they come, or to the
    results; a layer is written when its last beat is taken."""
    cfg = CFG if simulators.verilated else data.draw(st.sampled_from(CONFIGS))
    sim = simulators(WriteSequencerRTL, cfg)
    layers = data.draw(write_layers(cfg))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    sim.settle({"out.val": 0, "result.rdy": 0})
    load(sim, layers, WRITE_WORDS)
    made = [(d, list(beats(d, cfg, rng))) for d in layers * 2]
    messages = [Out(np.array(beat.y)) for _, some in made for beat in some]
    results, to_memory, outputs = [], [], []
    for d, some in made:
        outputs.append(sum(beat.num_valid for beat in some))
        if d.to_result:
            results += result_words(some, bool(d.out_signed))
        else:
            values = [y for beat in some for y in beat.y[: beat.num_valid]]
            addresses = writes(d, cfg.num_lanes).address % (TAPS * cfg.act_depth)
            to_memory += list(zip(addresses.tolist(), values, strict=True))
    watch = ("write_mask", "write_rows", "write_bank", "write_data", "num_taken", "taken_layer",
             "written", "result_last")  # fmt: skip
    found = run(
        sim,
        {"out": data.draw(delayed(messages))},
        {"result": results},
        {"result": data.draw(waits(len(results)))},
        watch=watch,
        steady={"bus.running": 1, "bus.last_layer": len(layers) - 1},
    )
    written = []
    seen = found.watched
    for mask, rows, bank, data_ in zip(*(seen[name] for name in watch[:4]), strict=True):
        for t in range(TAPS):
            if mask >> t & 1:
                row = rows >> t * cfg.act_addr_nbits & (cfg.act_depth - 1)
                written.append((TAPS * row + (bank + t) % TAPS, data_ >> 8 * t & 255))
    assert written == to_memory
    # In which layer outputs were taken, and how many before each change of ``written``.
    taken, finished = 0, []
    per_layer = [0] * len(layers)
    for i, count in enumerate(seen["num_taken"]):
        taken += count
        per_layer[seen["taken_layer"][i]] += count
        if i + 1 < len(seen["written"]) and seen["written"][i] != seen["written"][i + 1]:
            finished.append(taken)
    assert finished == np.cumsum(outputs).tolist()
    assert per_layer == [sum(outputs[i :: len(layers)]) for i in range(len(layers))]
    # The class is an image's last word.
    is_last = [seen["result_last"][cycle] for cycle, _ in found.ports["result"]]
    images = 2 if layers[-1].to_result else 0
    assert sum(is_last) == images and (not images or is_last[-1])


def test_pixels_lie_as_the_walk_says() -> None:
    """The order of pixels in this file's own terms: a tile, columns of tiles, rows of them."""
    d = LayerDescriptor(
        write_loops=(Loop(2, 2), Loop(1, 0), Loop(1, 0)), pixel_row=1, pixel_x=1, pixel_y=1,
        drop_x=1,
    )  # fmt: skip
    offsets, inside = write_pixels(d)
    assert pixels_per_vector(d) == 4
    assert offsets.tolist() == [0, 1, 12, 13, 2, 3, 14, 15]
    assert inside.tolist() == [True] * 5 + [False, True, False]


# The result packer


@more_examples(2)
@given(data=st.data(), offers=pauses, stalls=pauses)
def test_result_packer(
    simulators: Simulators, data: st.DataObject, offers: list[int], stalls: list[int]
) -> None:
    """Bytes in their order, then the first of the largest outputs."""
    cfg = CFG if simulators.verilated else data.draw(st.sampled_from(CONFIGS))
    sim = simulators(ResultPackerRTL, cfg)
    offer, stall = taking_turns(offers), taking_turns(stalls)
    is_signed = data.draw(st.booleans())
    # Few different outputs, so that equal ones and both ends are often among them.
    outputs = st.sampled_from([0, 1, 127, 128, 255])
    images = [
        [
            Beat(
                data.draw(st.lists(outputs, min_size=cfg.num_lanes, max_size=cfg.num_lanes)),
                data.draw(st.integers(1, cfg.num_lanes)) if i == count - 1 else cfg.num_lanes,
                i == count - 1,
            )
            for i in range(count)
        ]
        for count in data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    ]
    expected = [word for image in images for word in result_words(image, is_signed)]
    last_words = np.cumsum([len(result_words(image, is_signed)) for image in images]) - 1
    coming = [beat for image in images for beat in image]
    sim.settle({"en": 0, "result.rdy": 0, "is_signed": is_signed})
    sim.reset()
    found: list[int] = []
    wait = 0
    for _ in range(400):
        sim.settle({"en": 0, "result.rdy": not next(stall)})
        if coming and not wait and sim.read("rdy"):
            beat = coming.pop(0)
            packed = int.from_bytes(bytes(beat.y), "little")
            ports = {"y": packed, "num_valid": beat.num_valid, "last": beat.ends_image}
            sim.settle(ports | {"en": 1})
            wait = next(offer)
        else:
            wait -= wait > 0
        if sim.read("result.val"):
            assert sim.read("busy")
            word = sim.read("result.msg")
            assert word == expected[len(found)]
            assert sim.read("at_class") == (len(found) in last_words)
            if sim.read("result.rdy"):
                found.append(word)
        sim.edge()
        if len(found) == len(expected) and not coming:
            break
    sim.settle({"en": 0})
    assert len(found) == len(expected) and not sim.read("busy")
