"""What takes the streams of programs and images apart."""

from __future__ import annotations

import dataclasses
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import TABLE_SIZE, TAPS, AccelConfig
from accel.hardware.descriptors import (
    BYTES_PER_WORD,
    FIELDS,
    PARAM_WORDS,
    STEP_WORDS,
    TERM_WORDS,
    WORDS_PER_LAYER,
    WRITE_WORDS,
    InputDescriptor,
    LayerDescriptor,
    Loop,
)
from accel.hardware.packets import (
    ADDRESS,
    BIAS,
    COUNT,
    ENTRY,
    KIND,
    MULTIPLIER,
    Packet,
    ProgramMemory,
    header,
    payload_words,
)
from accel.hardware.status import ProgramError
from accel.hardware.walk import iterations, offsets
from rtl_models.descriptor_memory import DescriptorMemoryRTL
from rtl_models.image_loader import ImageLoaderRTL
from rtl_models.program_loader import ProgramLoaderRTL
from tests.harness import Simulator, Simulators, run
from tests.strategies import delayed, more_examples, nests
from tests.units.walks import pauses, taking_turns

CFG = AccelConfig(
    num_cols=2, num_lanes=2, act_depth=64, weight_depth=16, param_depth=17, max_layers=3
)
WITH_TABLES = dataclasses.replace(CFG, tables=2)
WRITES = ("layer_wen", "weight_wen", "param_wen", "input_wen")
words_of_64_bits = st.integers(0, (1 << 64) - 1)


# The program loader


@st.composite
def program(draw: st.DrawFn, cfg: AccelConfig) -> list[int]:
    """Whole packets, mostly good ones, up to one that runs them."""
    found: list[int] = []
    depths = ProgramMemory(cfg).depths
    kinds = [Packet.LAYER, Packet.INPUT, *depths]
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from([*kinds, Packet.LAYER, Packet.INPUT]))
        count = draw(st.integers(1, 3))
        found += packet(draw, cfg, kind, draw(st.integers(0, depths.get(kind, 3) - count)), count)
    if draw(st.booleans()):
        any_kind = st.sampled_from([*Packet, 0, 7, 15])
        # Memories' ends, and what would look like few if bits were dropped.
        few = [0, 1, 3, 15, 16, 17, 511, 512, 513]
        numbers = st.sampled_from([*few, 1 << 16, 1 << 17, (1 << 17) + 1, 1 << 27])
        found += packet(draw, cfg, draw(any_kind), draw(numbers), draw(numbers))
    return [*found, header(Packet.RUN, draw(st.integers(1, 3)))]


def packet(draw: st.DrawFn, cfg: AccelConfig, kind: int, address: int, count: int) -> list[int]:
    """With a payload of anything, which repeats itself if it is long. One that is longer than any
    memory is cut off: it is refused."""
    length = min(payload_words(kind, count, cfg), 2 * TABLE_SIZE)
    drawn = min(length, 40)
    payload = draw(st.lists(words_of_64_bits, min_size=drawn, max_size=drawn))
    repeated = list(islice(cycle(payload), length))
    return [KIND.put(kind) | COUNT.put(count) | ADDRESS.put(address), *repeated]


def written(sim: Simulator, cfg: AccelConfig, words: list[int], delays: list[int]) -> ProgramMemory:
    """What the loader makes of words, in a memory filled from its write ports."""
    memory = ProgramMemory(cfg)
    writes = (*WRITES, "table_wen") if cfg.tables else WRITES
    layers: dict[int, list[int]] = {}
    given_input = [0] * 4
    weights = memory.weights.view(np.uint8).reshape(cfg.weight_depth, -1)
    watch = (*writes, "address", "beat", "data", "running", "error", "last_layer")
    inputs = {"prog": list(zip(words, delays, strict=True))}
    seen = run(sim, inputs, {}, watch=watch, steady={"idle": 0, "stuck": 0}).watched
    for at in range(len(seen["data"])):
        address, beat, data = (seen[name][at] for name in ("address", "beat", "data"))
        enabled = [name for name in writes if seen[name][at]]
        assert len(enabled) <= 1
        if enabled == ["layer_wen"]:
            layers.setdefault(address, [0] * WORDS_PER_LAYER)[beat] = data
        elif enabled == ["input_wen"]:
            given_input[beat] = data
            memory.input = InputDescriptor.decode(given_input)
        elif enabled == ["weight_wen"]:
            low = beat * BYTES_PER_WORD
            room = weights[address, low : low + BYTES_PER_WORD]
            room[:] = list(data.to_bytes(BYTES_PER_WORD, "little"))[: room.size]
        elif enabled == ["param_wen"]:
            memory.multipliers[address, beat] = MULTIPLIER.get(data)
            memory.biases[address, beat] = BIAS.get(data)
        elif enabled == ["table_wen"]:
            memory.tables.flat[address] = ENTRY.get(data)
    memory.layers = {
        address: LayerDescriptor.decode(words).seen_by(cfg) for address, words in layers.items()
    }
    memory.running, memory.error = bool(seen["running"][-1]), ProgramError(seen["error"][-1])
    memory.last_layer = seen["last_layer"][-1] if memory.running else 0
    return memory


@more_examples(2)
@pytest.mark.parametrize("cfg", [CFG, WITH_TABLES], ids=["plain", "tables"])
@given(data=st.data())
def test_program_loader(simulators: Simulators, cfg: AccelConfig, data: st.DataObject) -> None:
    """It fills the memories as their model in plain Python, with the same error."""
    words = data.draw(program(cfg))
    delays = [n for _, n in data.draw(delayed(words))]
    found = written(simulators(ProgramLoaderRTL, cfg), cfg, words, delays)
    expected = ProgramMemory(cfg)
    for word in words:
        expected.take(word)
    assert (found.error, found.running) == (expected.error, expected.running)
    assert not found.running or found.last_layer == expected.last_layer
    assert (found.layers, found.input) == (expected.layers, expected.input)
    for name in ("weights", "multipliers", "biases", "tables"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


GOOD = [
    header(Packet.INPUT), *[0] * 4, header(Packet.LAYER, 0), *[0] * WORDS_PER_LAYER,
    header(Packet.RUN, 1),
]  # fmt: skip


def test_program_loader_takes_a_word_a_cycle(simulators: Simulators) -> None:
    """Two cycles after a header apart, in which it is looked at."""
    inputs = {"prog": [(word, 0) for word in GOOD]}
    timing = run(
        simulators(ProgramLoaderRTL, CFG), inputs, {}, steady={"idle": 0, "stuck": 0}
    ).timing["prog"]
    headers = (0, 5)
    expected, cycle = [], 0
    for number in range(len(GOOD)):
        expected.append(cycle)
        cycle += 3 if number in headers else 1
    assert timing == expected


def running(sim: Simulator) -> None:
    """The loader, with a program that runs."""
    run(sim, {"prog": [(word, 0) for word in GOOD]}, {}, steady={"idle": 0, "stuck": 0})
    assert sim.read("running")


def test_program_loader_waits_until_nothing_runs(simulators: Simulators) -> None:
    """A header comes after a cycle that has kept images out, if none has come with that one."""
    sim = simulators(ProgramLoaderRTL, CFG)
    running(sim)
    offer = {"prog.val": 1, "prog.msg": header(Packet.RUN, 1), "stuck": 0}
    found = []
    for idle in (0, 0, 1, 0, 0, 1, 1, 1):
        sim.settle(offer | {"idle": idle})
        found.append((sim.read("close"), sim.read("prog.rdy"), sim.read("running")))
        sim.edge()
        if found[-1][1]:
            offer["prog.val"] = 0
    assert found == [
        (0, 0, 1), (0, 0, 1), (0, 0, 1), (1, 0, 1), (0, 0, 1), (0, 0, 1), (1, 1, 1), (0, 0, 0),
    ]  # fmt: skip


def test_program_loader_drops_all_after_an_error(simulators: Simulators) -> None:
    sim = simulators(ProgramLoaderRTL, CFG)
    running(sim)
    sim.clock({"prog.val": 0, "idle": 0, "stuck": 1})
    for word in GOOD:
        sim.settle({"prog.val": 1, "prog.msg": word, "stuck": 0})
        assert sim.read("prog.rdy") and sim.read("failed")
        assert sim.read("error") == ProgramError.STUCK
        assert not any(sim.read(name) for name in WRITES)
        sim.edge()


# The image loader


@st.composite
def input_descriptors(draw: st.DrawFn) -> InputDescriptor:
    first, second, third = draw(nests(3, 12))
    return InputDescriptor(
        base=draw(st.integers(0, TAPS * CFG.act_depth - 1)),
        loops=tuple(Loop(loop.count, loop.stride) for loop in (first, second, third)),
        last_bytes=draw(st.integers(1, BYTES_PER_WORD)),
    )


def image_bytes(d: InputDescriptor, words: list[int]) -> list[dict[int, int]]:
    """For each word of an image, its bytes by their address."""
    found = []
    for at, offset in enumerate(offsets(d.loops).tolist()):
        last = at % d.loops[0].count == d.loops[0].count - 1
        data = words[at].to_bytes(BYTES_PER_WORD, "little")[: d.last_bytes if last else None]
        start = d.base + offset
        found.append({(start + i) % (TAPS * CFG.act_depth): byte for i, byte in enumerate(data)})
    return found


def write_ports(sim: Simulator) -> dict[int, int]:
    """What a unit writes in this cycle to the activation memory: bytes by address."""
    mask, rows, bank, data = (
        sim.read(f"write_{name}") for name in ("mask", "rows", "bank", "data")
    )
    row_nbits = CFG.act_addr_nbits
    return {
        TAPS * (rows >> t * row_nbits & (CFG.act_depth - 1)) + (bank + t) % TAPS:
        # The address of a tap whose bank has wrapped is in the next row, which rows says.
        data >> 8 * t & 255
        for t in range(TAPS)
        if mask >> t & 1
    }


@more_examples(2)
@given(data=st.data(), waits=pauses, holds=pauses)
def test_image_loader(
    simulators: Simulators, data: st.DataObject, waits: list[int], holds: list[int]
) -> None:
    """Image after image, each byte to its place once, in the order of the words; none while the
    write port is taken, or the last image is not done with."""
    sim = simulators(ImageLoaderRTL, CFG)
    wait, hold_next = taking_turns(waits), taking_turns(holds)
    d = data.draw(input_descriptors())
    idle = {name: 0 for name in ("running", "failed", "wen", "hold", "close", "done", "image.val")}
    sim.settle(idle)
    sim.reset()
    for number, word in enumerate(d.encode()):
        sim.clock({"wen": 1, "word": number, "data": word})
    sim.clock({"wen": 0, "running": 1})
    count = iterations(d.loops)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    words = rng.integers(0, 1 << 64, 2 * count, np.uint64).tolist()
    expected = [
        *image_bytes(d, words[:count]),
        *image_bytes(d, words[count:]),
    ]
    full = False
    offered = taken = delay = hold = since = 0
    for _ in range(500):
        # An image is done with some cycles after it is there.
        since = since + 1 if full else 0
        val, done = delay == 0 and offered < len(words), since > 2
        sim.settle({
            "image.val": val, "image.msg": words[offered % len(words)], "hold": hold > 0,
            "done": done,
        })  # fmt: skip
        assert sim.read("full") == full
        found = write_ports(sim)
        if found:
            assert not hold and not full
            assert found == expected[taken], taken
            taken += 1
        full = (full and not done) or (bool(found) and taken % count == 0)
        if val and sim.read("image.rdy"):
            offered += 1
            delay = next(wait)
        else:
            delay -= delay > 0
        hold = hold - 1 if hold else next(hold_next)
        sim.edge()
        if taken == len(expected) and not full:
            break
    assert taken == len(expected)
    sim.settle({"image.val": 0})
    assert sim.read("empty") and not sim.read("full")


def test_image_loader_keeps_words_out(simulators: Simulators) -> None:
    """Closed it takes none; without a program neither; after an error all, and drops them."""
    sim = simulators(ImageLoaderRTL, CFG)
    ports = {name: 0 for name in ("running", "failed", "wen", "hold", "close", "done")}
    sim.settle(ports | {"image.val": 0})
    sim.reset()
    for wanted, change in (
        (0, {}), (0, {"running": 1}), (1, {"running": 1}), (0, {"running": 1, "close": 1}),
        (1, {"failed": 1}), (1, {"failed": 1, "running": 1, "close": 1}),
    ):  # fmt: skip
        sim.settle(ports | change | {"image.val": 0})
        assert sim.read("image.rdy") == wanted, change
        sim.edge()


# Descriptors


@pytest.mark.parametrize(
    ("words", "has"),
    [
        (STEP_WORDS, {}),
        (STEP_WORDS, {"adder": True}),
        (PARAM_WORDS, {}),
        (PARAM_WORDS, {"adder": True}),
        (PARAM_WORDS, {"tables": 2}),
        (WRITE_WORDS, {}),
        (TERM_WORDS, {"adder": True}),
    ],
)
@given(data=st.data(), waits=pauses)
def test_descriptor_memory(
    simulators: Simulators,
    words: range,
    has: dict[str, Any],
    data: st.DataObject,
    waits: list[int],
) -> None:
    """Layer after layer, then the first again; what is loaded to no word of this sequencer's
    leaves it alone. Bits that the configuration does not look at are not kept."""
    cfg = dataclasses.replace(CFG, **has)
    sim = simulators(DescriptorMemoryRTL, cfg, words)
    wait = taking_turns(waits)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    content = rng.integers(0, 1 << 64, (CFG.max_layers, WORDS_PER_LAYER), np.uint64).tolist()
    sim.settle({"bus.running": 0, "advance": 0, "bus.wen": 0})
    sim.reset()
    for layer, word in rng.permutation(
        [(i, j) for i in range(CFG.max_layers) for j in range(WORDS_PER_LAYER)]
    ).tolist():
        load = {"bus.wlayer": layer, "bus.wword": word, "bus.wdata": content[layer][word]}
        sim.clock(load | {"bus.wen": 1})
    last = data.draw(st.integers(0, CFG.max_layers - 1))
    sim.clock({"bus.wen": 0, "bus.last_layer": last})
    sim.clock({})
    for layer in [*range(last + 1), *range(last + 1), 0]:
        sim.clock({"bus.running": 1, "advance": 1})
        for _ in range(1 + next(wait)):
            sim.settle({"advance": 0})
            assert sim.read("layer") == layer
            for word in words:
                fields = [f for f in FIELDS.values() if not f.only or f.only in has]
                used = max(f.end for f in fields if f.word == word)
                assert sim.read(f"word{word}") == content[layer][word] % (1 << used)
            sim.edge()
