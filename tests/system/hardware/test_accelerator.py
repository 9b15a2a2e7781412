"""The whole accelerator, at all levels, on whole networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.hardware.config import AccelConfig, base, wide
from accel.hardware.descriptors import WORDS_PER_LAYER, LayerDescriptor, Loop
from accel.hardware.messages import Ints
from accel.hardware.packets import Packet, ProgramMemory, header, payload_words
from accel.hardware.status import TRAFFIC, WATCHDOG_CYCLES, Activity, ProgramError
from accel.network.graph import Network
from accel.runtimes.qnnpack import run_network
from accel.simulation.runner import simulate
from cl_models.accelerator import AcceleratorCL
from fl_models.accelerator import AcceleratorCoreFL, AcceleratorFL
from rtl_models.accelerator import AcceleratorRTL
from tests.harness import Simulator, Simulators, Transfers, run
from tests.networks import Conv, Linear, compile_if_it_fits, random_images, random_network
from tests.strategies import network_images, networks, waits

LEVELS = {"fl": AcceleratorFL, "cl": AcceleratorCL, "rtl": AcceleratorRTL}
PORTS = ("activity", "layer", "streams", "running", "busy", "error", "result_last")

SMALL = AccelConfig(
    num_cols=2, num_lanes=1, acc_nbits=25, spad_depth=2, act_depth=256, weight_depth=600,
    param_depth=100, max_layers=4,
)  # fmt: skip
# Those that --test-verilog builds. Each field has several values.
CONFIGS = [
    SMALL,
    dataclasses.replace(base, pixel_groups=2, act_depth=256, weight_depth=300, param_depth=64),
    dataclasses.replace(
        SMALL, num_cols=8, pixel_groups=4, num_lanes=2, acc_nbits=32, spad_depth=4, max_layers=7,
        zero_gating=False,
    ),
]  # fmt: skip
WITH_TABLES = dataclasses.replace(SMALL, tables=2)
# For the levels that need no build.
MORE_CONFIGS = [
    *CONFIGS,
    dataclasses.replace(SMALL, num_cols=1, spad_depth=1, act_depth=512, weight_depth=1500),
    dataclasses.replace(base, num_cols=16, pixel_groups=2, num_lanes=8, act_depth=512),
    dataclasses.replace(base, num_cols=4, num_lanes=4, weight_depth=400, act_depth=256),
    dataclasses.replace(base, num_cols=6, num_lanes=2, spad_depth=8),
]

VARIED = {
    "everything": (
        (3, 8, 7),
        [
            Conv(5, (3, 3), 1, 1, True, True),
            Conv(7, (2, 3), 1, 0, False),
            Linear(5),
            Linear(4, relu=False),
        ],
    ),
    "one convolution": ((2, 6, 5), [Conv(9, (3, 3), 2, 1, False)]),
    "one linear layer": ((1, 3, 3), [Linear(3, relu=False)]),
    "vectors": ((20,), [Linear(9), Linear(10, relu=False)]),
    # Where a byte too many would go into a tensor that is still read: a lane past the last channel,
    # a pixel past the end of a row, and the next image while this one's last step waits.
    "tensors side by side": (
        (1, 3, 12),
        [*(Conv(n, (3, 3), 1, 1) for n in (5, 4, 5)), Linear(3, relu=False)],
    ),
    "image full to the brim": (
        (1, 3, 3),
        [Conv(9, (3, 3), 1, 1), Conv(9, (3, 3), 1, 1), Linear(4, relu=False)],
    ),
    # The last vector of a row, and of a column, has pixels beyond the feature map.
    "odd sizes": (
        (2, 7, 5),
        [Conv(3, (3, 3), 1, 1), Conv(6, (2, 2), 1, 0, True, True), Conv(2, (3, 2), 1, 2)],
    ),
    "more outputs than lanes": ((9,), [Linear(20, relu=False)]),
    "channel mode": ((10, 4, 4), [Conv(5, (1, 1)), Conv(3, (5, 5), 1, 2), Linear(6, relu=False)]),
}


def pack(program: Program, images: Ints) -> list[int]:
    return [int(word) for word in program.pack_images(images).ravel()]


def result_words(program: Program, outputs: Ints) -> list[int]:
    """What must come for outputs (N, *output shape), put together here from the definition: bytes
    of the outputs in the order in which they come, then the number of the first largest."""
    words = []
    for image in outputs.reshape(len(outputs), -1):
        data = bytearray(8 * (program.result_words - 1))
        for value, at in zip(image.tolist(), program.output_bytes.tolist(), strict=True):
            data[at] = value & 0xFF
        words += [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
        words.append(int(np.argmax(image[np.argsort(program.output_bytes)])))
    return words


def drive(
    simulators: Simulators,
    level: str,
    program: Program,
    images: Ints,
    outputs: Ints,
    image_delays: list[int] | None = None,
    stalls: list[int] | None = None,
) -> Transfers:
    """Load the program, then classify the images; delays and stalls repeat as need be."""
    # Images are offered from the start: their stream is closed until the program runs.
    words = pack(program, images)
    delays = [0] if image_delays is None else image_delays
    sim = simulators(LEVELS[level], program.cfg)
    transfers = run(
        sim,
        {
            "prog": [(word, 0) for word in program.words],
            "image": [(word, delays[i % len(delays)]) for i, word in enumerate(words)],
        },
        {"result": result_words(program, outputs)},
        {"result": [stall for _ in outputs for stall in (stalls or [0])]},
        # A layer computes without a transfer at the edge, for up to num_beats cycles a step.
        patience=1000 + (1 + program.cfg.num_beats) * program.steps,
        watch=() if level == "fl" else PORTS,
    )
    if level != "fl":
        assert traffic(sim, program) == expected_traffic(program, images)
    return transfers


def traffic(sim: Simulator, program: Program) -> list[list[int]]:
    """What the hardware counted for each layer."""
    found = []
    for layer in range(len(program.layers)):
        sim.port("traffic_layer").__imatmul__(layer)
        sim.eval_combinational()
        found.append([int(sim.port(name)) for name in TRAFFIC])
    return found


def expected_traffic(program: Program, images: Ints) -> list[list[int]]:
    """The same as the functional model counts it."""
    core = AcceleratorCoreFL(program.cfg)
    core.load(program.words)
    core.run(program.pack_images(images))
    return [core.program.traffic[layer] for layer in range(len(program.layers))]


def reference(network: Network, images: Ints) -> Ints:
    """The logits that PyTorch's quantized kernels compute."""
    return run_network(network, images)[-1].astype(np.int64)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("cfg", CONFIGS, ids=str)
@pytest.mark.parametrize("name", VARIED)
def test_chosen_networks(simulators: Simulators, level: str, cfg: AccelConfig, name: str) -> None:
    """Three images one after another, without a reset, with and without stalls."""
    if (level, name) == ("rtl", "channel mode") and cfg != SMALL and not simulators.verilated:
        pytest.skip("minutes in PyMTL3's own simulator; its Verilog runs it")
    rng = np.random.default_rng(5)
    network = random_network(rng, *VARIED[name], signed=cfg == SMALL)
    images = random_images(rng, network, 3)
    program = compile(network, cfg)
    outputs = reference(network, images)
    assert len(np.unique(outputs)) > 2
    drive(simulators, level, program, images, outputs)
    drive(simulators, level, program, images, outputs, [0, 0, 3, 0, 1], [4, 0, 30])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("cfg", CONFIGS, ids=str)
def test_as_many_layers_as_there_can_be(
    simulators: Simulators, level: str, cfg: AccelConfig
) -> None:
    """Each with outputs, and so traffic, of its own."""
    rng = np.random.default_rng(8)
    layers = [Linear(2 + i % 5, relu=False) for i in range(cfg.max_layers)]
    network = random_network(rng, (4,), layers)
    images = random_images(rng, network, 2)
    drive(simulators, level, compile(network, cfg), images, reference(network, images))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("cfg", CONFIGS, ids=str)
def test_first_of_equal_outputs_wins(simulators: Simulators, level: str, cfg: AccelConfig) -> None:
    """Those that are equal lie in one beat of the requantizer, and in a later one."""
    network = random_network(np.random.default_rng(6), (9,), [Linear(6, relu=False)])
    layer = network.layers[0]
    bias = np.float32(layer.output.scale) * np.array([-9, -9, 9, 9, -9, 9], np.float32)
    layer = dataclasses.replace(layer, weight=np.zeros_like(layer.weight), bias=bias)
    network = dataclasses.replace(network, operations=(layer,))
    images = random_images(np.random.default_rng(7), network, 2)
    outputs = reference(network, images)
    assert (outputs[:, [3, 5]] == outputs[:, [2]]).all() and (outputs.argmax(1) == 2).all()
    drive(simulators, level, compile(network, cfg), images, outputs)


@pytest.mark.parametrize("level", ["fl", "cl"])
@given(data=st.data())
def test_any_network(simulators: Simulators, level: str, data: st.DataObject) -> None:
    network = data.draw(networks())
    program = compile_if_it_fits(network, data.draw(st.sampled_from(MORE_CONFIGS)))
    if program is not None:
        images = data.draw(network_images(network, 2))
        stalls = data.draw(waits(program.result_words))
        drive(simulators, level, program, images, reference(network, images), stalls=stalls)


@settings(max_examples=settings().max_examples // 2)
@given(data=st.data())
def test_rtl_in_every_cycle(simulators: Simulators, data: st.DataObject) -> None:
    """RTL equals PyTorch's kernels in value and the cycle-level model in every cycle: transfers at
    the edge, what the issue stage does, and the streams between the units."""
    network = data.draw(networks(max_size=6))
    program = compile_if_it_fits(network, data.draw(st.sampled_from(CONFIGS)))
    if program is not None:
        images = data.draw(network_images(network, 2))
        outputs = reference(network, images)
        delays, stalls = data.draw(waits(5)), data.draw(waits(program.result_words))
        cl, rtl = (
            drive(simulators, level, program, images, outputs, delays, stalls)
            for level in ("cl", "rtl")
        )
        assert cl.timing == rtl.timing
        assert cl.watched == rtl.watched


@pytest.mark.parametrize("level", ["cl", "rtl"])
def test_program_after_program(simulators: Simulators, level: str) -> None:
    """A program is taken up when all images before it are done, whatever the one before was."""
    rng = np.random.default_rng(8)
    prog: list[tuple[int, int]] = []
    image: list[tuple[int, int]] = []
    expected: list[int] = []
    # A program is offered while images are under way, the next images long after they are done.
    for name, delay in (("one convolution", 0), ("vectors", 60), ("channel mode", 800)):
        network = random_network(rng, *VARIED[name], signed=delay == 60)
        images = random_images(rng, network, 2)
        program = compile(network, SMALL)
        prog += [(word, 0 if i else delay) for i, word in enumerate(program.words)]
        words = pack(program, images)
        image += [(word, 0 if i or not image else 900) for i, word in enumerate(words)]
        expected += result_words(program, reference(network, images))
    sim = simulators(LEVELS[level], SMALL)
    run(sim, {"prog": prog, "image": image}, {"result": expected}, patience=5000)


# (kind, count, address) of a header, what is wrong with it, and at which configuration
WRONG = {
    "kind 0": ((0, 1, 0), ProgramError.KIND),
    "kind 7": ((7, 0, 0), ProgramError.KIND),
    "kind 15": ((15, 2**28 - 1, 2**32 - 1), ProgramError.KIND),
    "no weights": ((Packet.WEIGHTS, 0, 3), ProgramError.COUNT),
    "no parameters": ((Packet.PARAMS, 0, 2**32 - 1), ProgramError.COUNT),
    "weights one too far": ((Packet.WEIGHTS, 1, SMALL.weight_depth), ProgramError.ADDRESS),
    "weights one too many": ((Packet.WEIGHTS, SMALL.weight_depth, 1), ProgramError.ADDRESS),
    "weights far too many": ((Packet.WEIGHTS, 1 << 27, 0), ProgramError.ADDRESS),
    "weights far too far": ((Packet.WEIGHTS, 1, 1 << 16), ProgramError.ADDRESS),
    "parameters one too many": ((Packet.PARAMS, SMALL.param_depth, 1), ProgramError.ADDRESS),
    "parameters far too many": ((Packet.PARAMS, 1 << 17, 0), ProgramError.ADDRESS),
    "layer one too far": ((Packet.LAYER, 0, SMALL.max_layers), ProgramError.ADDRESS),
    "layer far too far": ((Packet.LAYER, 0, 1 << 31), ProgramError.ADDRESS),
    "run nothing": ((Packet.RUN, 0, 0), ProgramError.LAYERS),
    "run one too many": ((Packet.RUN, 0, SMALL.max_layers + 1), ProgramError.LAYERS),
    "run far too many": ((Packet.RUN, 0, 1 << 16), ProgramError.LAYERS),
    "run a layer that was not loaded": ((Packet.RUN, 0, 2), ProgramError.MISSING),
    "a table where there is none": ((Packet.TABLE, 1, 0), ProgramError.KIND),
}
WRONG_TABLES = {
    "no entries": ((Packet.TABLE, 0, 3), ProgramError.COUNT),
    "entries one too far": ((Packet.TABLE, 1, 512), ProgramError.ADDRESS),
    "entries one too many": ((Packet.TABLE, 512, 1), ProgramError.ADDRESS),
    "entries far too many": ((Packet.TABLE, 1 << 17, 0), ProgramError.ADDRESS),
    "entries far too far": ((Packet.TABLE, 1, 1 << 16), ProgramError.ADDRESS),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", [*WRONG, *WRONG_TABLES])
def test_wrong_header(simulators: Simulators, level: str, name: str) -> None:
    """An error code; then both inputs take and drop everything, and after reset the next good
    program runs. A program before the wrong packet has been finished."""
    (kind, count, address), error = (WRONG | WRONG_TABLES)[name]
    cfg = SMALL if name in WRONG else WITH_TABLES
    rng = np.random.default_rng(8)
    network = random_network(rng, *VARIED["one linear layer"])
    images = random_images(rng, network, 2)
    program = compile(network, cfg)
    words = list(program.words)
    results = result_words(program, reference(network, images))
    sim = simulators(LEVELS[level], cfg)
    prog = [*words, header(kind, address, count), *words]
    # The wrong packet comes when the images are done, and one more image after it.
    delays = [400 if i == len(words) else 0 for i in range(len(prog))]
    image = [(word, 0) for word in pack(program, images)]
    late = [(word, 0 if i else 600) for i, word in enumerate(pack(program, images[:1]))]
    run(
        sim,
        {"prog": list(zip(prog, delays, strict=True)), "image": [*image, *late]},
        {"result": results},
        patience=1500,
    )
    assert int(sim.port("error")) == error
    drive(simulators, level, program, images, reference(network, images))
    assert int(sim.port("error")) == ProgramError.NONE


@pytest.mark.parametrize("level", LEVELS)
def test_packets_up_to_the_brim(simulators: Simulators, level: str) -> None:
    """The last word of each memory, and all of it, are no error."""
    cfg = WITH_TABLES
    descriptor = LayerDescriptor().encode()
    weights = [7] * cfg.weight_depth * cfg.weight_word_beats
    packets = [
        *(word for i in range(cfg.max_layers) for word in [header(Packet.LAYER, i), *descriptor]),
        header(Packet.WEIGHTS, cfg.weight_depth - 1, 1), *weights[: cfg.weight_word_beats],
        header(Packet.WEIGHTS, 0, cfg.weight_depth), *weights,
        header(Packet.PARAMS, cfg.param_depth - 1, 1), *[0] * cfg.num_lanes,
        header(Packet.PARAMS, 0, cfg.param_depth), *[0] * cfg.param_depth * cfg.num_lanes,
        header(Packet.TABLE, 511, 1), 255,
        header(Packet.TABLE, 0, 512), *[0] * 512,
        header(Packet.RUN, cfg.max_layers),
    ]  # fmt: skip
    sim = simulators(LEVELS[level], cfg)
    run(sim, {"prog": [(word, 0) for word in packets]}, {})
    # All but the input descriptor is there.
    assert int(sim.port("error")) == ProgramError.MISSING


@settings(max_examples=settings().max_examples // 2)
@given(data=st.data())
def test_wrong_programs_in_every_cycle(simulators: Simulators, data: st.DataObject) -> None:
    """Any packets: the levels agree on the error, CL and RTL on every cycle."""
    cfg = data.draw(st.sampled_from([*CONFIGS, WITH_TABLES]))
    depths = ProgramMemory(cfg).depths.values()
    places = st.one_of(
        st.integers(0, 8), st.sampled_from([*depths, cfg.max_layers, 1 << 16, 1 << 27])
    )
    words = []
    for _ in range(data.draw(st.integers(1, 5))):
        kind, count, address = data.draw(st.integers(0, 7)), data.draw(places), data.draw(places)
        # No program starts: what layers of nothing but zeros do is not of interest.
        if kind == Packet.RUN and 1 <= address <= cfg.max_layers:
            kind = Packet.INPUT
        words.append(header(kind, address, count))
        words += [1] * payload_words(kind, count if count <= 8 else 3, cfg)
    delays = data.draw(waits(len(words)))
    prog = [(word, delays[i % len(delays)]) for i, word in enumerate(words)]
    image = [(5, 0)] if data.draw(st.booleans()) else []
    errors, timings = [], []
    for level in LEVELS:
        sim = simulators(LEVELS[level], cfg)
        watch = () if level == "fl" else PORTS
        inputs = {"prog": prog}
        core = AcceleratorCoreFL(cfg)
        core.load(words)
        if core.program.error:
            inputs["image"] = image
        found = run(sim, inputs, {"result": []}, watch=watch)
        errors.append(int(sim.port("error")))
        if level != "fl":
            timings.append(found)
    assert errors == [core.program.error] * 3
    assert timings[0].timing == timings[1].timing
    assert timings[0].watched == timings[1].watched


def contradictory(program: Program, layer: int, **changes: object) -> list[int]:
    """The program with another descriptor for a layer."""
    words = list(program.words)
    at = words.index(header(Packet.LAYER, layer)) + 1
    descriptor = LayerDescriptor.decode(words[at : at + WORDS_PER_LAYER])
    other = dataclasses.replace(descriptor, **changes)
    return [*words[:at], *other.encode(), *words[at + WORDS_PER_LAYER :]]


STUCK = {
    # The write sequencer waits for outputs that never come, while no image is there, or one is.
    "more outputs put away than computed": (1, {"write_loops": (Loop(), Loop(), Loop(2))}, 1),
    "the same, with an image waiting": (0, {"write_loops": (Loop(), Loop(), Loop(3))}, 3),
}


@pytest.mark.parametrize("name", STUCK)
def test_contradictory_descriptors(simulators: Simulators, name: str) -> None:
    """The watchdog ends what would hang, in the same cycle at both levels."""
    layer, changes, count = STUCK[name]
    rng = np.random.default_rng(2)
    network = random_network(rng, (12,), [Linear(2), Linear(2, relu=False)])
    images = random_images(rng, network, count)
    program = compile(network, SMALL)
    words = contradictory(program, layer, **changes)
    found = []
    for level in ("cl", "rtl"):
        sim = simulators(LEVELS[level], SMALL)
        # The last packet is taken up, and dropped, after the error only.
        prog = [*words, header(Packet.RUN, 1)]
        transfers = run(
            sim,
            {
                "prog": [(word, 0) for word in prog],
                "image": [(word, 0) for word in pack(program, images)],
            },
            {"result": []},
            patience=WATCHDOG_CYCLES + 500,
            watch=PORTS,
        )
        assert int(sim.port("error")) == ProgramError.STUCK
        assert int(sim.port("busy"))
        found.append(transfers)
        drive(simulators, level, program, images, reference(network, images))
    assert found[0].timing == found[1].timing
    assert found[0].watched == found[1].watched


@pytest.mark.parametrize("cfg", CONFIGS, ids=str)
def test_reset_ends_any_program(simulators: Simulators, cfg: AccelConfig) -> None:
    """Descriptors, weights and parameters of random bits start whatever they start; after a reset,
    the next program is exact."""
    if not simulators.verilated:
        pytest.skip("Python has no memory beyond its last word; Verilog reads something there")
    rng = np.random.default_rng(9)
    network = random_network(rng, *VARIED["one convolution"])
    images = random_images(rng, network, 2)
    program = compile(network, cfg)
    sim = simulators(AcceleratorRTL, cfg)
    prog, image, result = (sim.port(name) for name in ("prog", "image", "result"))
    for _ in range(12):
        contents = {
            **{(Packet.LAYER, i): 0 for i in range(cfg.max_layers)},
            (Packet.INPUT, 0): 0,
            (Packet.WEIGHTS, 0): 4,
            (Packet.PARAMS, 0): 4,
            (Packet.RUN, cfg.max_layers): 0,
        }
        words = [
            word
            for (kind, address), count in contents.items()
            for word in [
                header(kind, address, count),
                *rng.integers(0, 2**64, payload_words(kind, count, cfg), np.uint64).tolist(),
            ]
        ]
        sim.reset()
        for _ in range(len(words) + 600):
            prog.val @= bool(words)
            prog.msg @= words[0] if words else 0
            image.val @= 1
            image.msg @= int(rng.integers(0, 2**64, dtype=np.uint64))
            result.rdy @= bool(rng.integers(0, 4))
            sim.eval_combinational()
            if words and prog.rdy:
                words.pop(0)
            sim.edge()
        assert not words
        assert sim.port("running") or sim.port("error")
        drive(simulators, "rtl", program, images, reference(network, images))


@pytest.mark.parametrize("level", ["cl", "rtl"])
def test_patience_with_the_host(simulators: Simulators, level: str) -> None:
    """A host that is slow with images, or with results, is no error."""
    rng = np.random.default_rng(4)
    network = random_network(rng, (20,), [Linear(9), Linear(20, relu=False)])
    images = random_images(rng, network, 4)
    program = compile(network, SMALL)
    long = WATCHDOG_CYCLES + 100
    delays = [0, 0, long, 0, 0, 0, long, 0, 0, 0, 0, 0]
    stalls = [0, long, 0, 0, 0, 0, 0, long]
    sim = simulators(LEVELS[level], SMALL)
    run(
        sim,
        {
            "prog": [(word, 0) for word in program.words],
            "image": list(zip(pack(program, images), delays, strict=True)),
        },
        {"result": result_words(program, reference(network, images))},
        {"result": stalls},
        patience=long + 500,
    )
    assert int(sim.port("error")) == ProgramError.NONE


@pytest.mark.parametrize("level", ["cl", "rtl"])
def test_image_beside_the_next_program(simulators: Simulators, level: str) -> None:
    """A program and an image come at the same time, or nearly: the image is not lost."""
    rng = np.random.default_rng(6)
    network = random_network(rng, *VARIED["vectors"])
    program = compile(network, SMALL)
    images = random_images(rng, network, 2)
    expected = result_words(program, reference(network, images))
    first, second = pack(program, images[:1]), pack(program, images[1:])
    again = [(word, 0 if i else 250) for i, word in enumerate(program.words)]
    sim = simulators(LEVELS[level], SMALL)
    for delay in range(232, 252):
        run(
            sim,
            {
                "prog": [*((word, 0) for word in program.words), *again],
                "image": [
                    *((word, 0) for word in first),
                    *((word, 0 if i else delay) for i, word in enumerate(second)),
                ],
            },
            {"result": expected},
            patience=2000,
        )


def test_random_stalls_lose_nothing(simulators: Simulators) -> None:
    """Many images in a row with random delays and stalls."""
    rng = np.random.default_rng(3)
    network = random_network(rng, *VARIED["everything"])
    images = random_images(rng, network, 12)
    program = compile(network, CONFIGS[2])
    outputs = reference(network, images)
    delays = rng.integers(0, 3, 101).tolist()
    stalls = (rng.integers(0, 60, 2 * 12) * rng.integers(0, 2, 2 * 12)).tolist()
    cl, rtl = (
        drive(simulators, level, program, images, outputs, delays, stalls)
        for level in ("cl", "rtl")
    )
    assert cl.timing == rtl.timing
    assert cl.watched == rtl.watched


@pytest.mark.parametrize(("level", "step"), [("cl", 3), ("rtl", 31)])
def test_reset_in_any_cycle(simulators: Simulators, level: str, step: int) -> None:
    """Wherever a reset cuts a run off, the next one is as the first in every cycle. All cycles, and
    random states, are in :mod:`tests.tools.rough`."""
    rng = np.random.default_rng(9)
    network = random_network(rng, *VARIED["one linear layer"])
    program = compile(network, SMALL)
    images = random_images(rng, network, 2)
    inputs = {
        "prog": [(word, 0) for word in program.words],
        "image": [(word, 0) for word in pack(program, images)],
    }
    expected = {"result": result_words(program, reference(network, images))}
    sim = simulators(LEVELS[level], SMALL)
    first = run(sim, inputs, expected, watch=PORTS)
    for cycles in range(1, first.timing["result"][-1] + 2, step):
        run(sim, inputs, expected, cycles=cycles)
        assert run(sim, inputs, expected, watch=PORTS) == first


FASHION = [
    Conv(6, (3, 3), 1, 1, True, True), Conv(16, (3, 3), 1, 0, True, True), Linear(120),
    Linear(84), Linear(10, relu=False),
]  # fmt: skip
"""Layers of the project's network."""


@pytest.mark.parametrize(
    ("cfg", "steps", "most"),
    [
        (dataclasses.replace(base, num_cols=2, num_lanes=1, weight_depth=4608), 13742, 1.03),
        (dataclasses.replace(base, num_cols=4, weight_depth=2560), 7268, 1.03),
        (base, 3646, 1.03),
        (wide, 1862, 1.08),
        (dataclasses.replace(wide, num_cols=32, pixel_groups=4, num_lanes=8), 936, 1.08),
    ],
    ids=str,
)
def test_cycles_of_the_projects_network(cfg: AccelConfig, steps: int, most: float) -> None:
    """Few more than the steps that the mapping needs, and each of them has a cause."""
    rng = np.random.default_rng(0)
    network = random_network(rng, (1, 28, 28), FASHION)
    program = compile(network, cfg)
    images = random_images(rng, network, 3)
    found = simulate(program, images, level="cl", jobs=1)
    np.testing.assert_array_equal(found.outputs, reference(network, images))
    assert program.steps == steps
    assert found.spent is not None
    assert found.spent[:, Activity.STEP].tolist() == [layer.steps for layer in program.layers]
    assert found.spent[:, Activity.IDLE].sum() == 0
    (chunk,) = found.chunks
    assert chunk.last_result is not None
    periods = np.diff(chunk.last_result.astype(np.int64))
    assert found.cycles_per_image == found.spent.sum() == periods[-1]
    assert found.cycles_per_image <= most * steps
    if cfg == base:
        assert found.cycles_per_image <= 3720
        assert found.latency_cycles is not None
        assert found.latency_cycles <= 3900
        assert found.traffic[:, TRAFFIC.index("weight_words")].sum() <= 1200


def test_zero_gating_changes_nothing_else() -> None:
    rng = np.random.default_rng(4)
    network = random_network(rng, *VARIED["everything"])
    images = random_images(rng, network, 2)
    gated, other = (
        simulate(compile(network, dataclasses.replace(SMALL, zero_gating=on)), images, level="rtl")
        for on in (True, False)
    )
    np.testing.assert_array_equal(gated.outputs, other.outputs)
    np.testing.assert_array_equal(gated.spent, other.spent)
    taps = TRAFFIC.index("gated_taps")
    assert gated.traffic[:, taps].min() > 0
    assert other.traffic[:, taps].max() == 0
    np.testing.assert_array_equal(gated.traffic[:, :taps], other.traffic[:, :taps])


def test_packed_multipliers_change_nothing() -> None:
    """Nor does zero gating of them."""
    rng = np.random.default_rng(4)
    network = random_network(rng, *VARIED["everything"])
    images = random_images(rng, network, 2)
    cfg = dataclasses.replace(SMALL, num_cols=4, zero_gating=True)
    each, *packed = (
        simulate(compile(network, dataclasses.replace(cfg, **fields)), images, level="rtl")
        for fields in ({}, {"packed_multipliers": True},
                       {"packed_multipliers": True, "zero_gating": False})
    )  # fmt: skip
    for other in packed:
        np.testing.assert_array_equal(other.outputs, each.outputs)
        np.testing.assert_array_equal(other.spent, each.spent)
    np.testing.assert_array_equal(packed[0].traffic, each.traffic)


def test_nothing_is_read_in_vain(simulators: Simulators, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memories are enabled for the bytes and the words that are counted, and for no others."""
    if simulators.verilated:
        pytest.skip("looks at signals within")
    rng = np.random.default_rng(4)
    network = random_network(rng, *VARIED["one convolution"])
    images = random_images(rng, network, 1)
    program = compile(network, CONFIGS[2])
    sim = simulators(AcceleratorRTL, program.cfg)
    fetch, edge = sim.top.operand_fetch, sim.edge
    reads = [0, 0]

    def counted_edge() -> None:
        reads[0] += int(fetch.weights.ren)
        reads[1] += sum(int(memory.ren).bit_count() for memory in fetch.activations)
        edge()

    monkeypatch.setattr(sim, "edge", counted_edge)
    drive(simulators, "rtl", program, images, reference(network, images))
    counts = np.sum(traffic(sim, program), axis=0)
    assert reads == [counts[TRAFFIC.index(name)] for name in ("weight_words", "activation_bytes")]
    # Taps beyond the feature map, and beyond the kernel, are not read.
    assert 0 < reads[1] < 9 * program.cfg.pixel_groups * program.steps


def test_levels_agree_through_the_runner() -> None:
    rng = np.random.default_rng(1)
    network = random_network(rng, *VARIED["everything"])
    program = compile(network, SMALL)
    images = random_images(rng, network, 3)
    runs = {level: simulate(program, images, level=level) for level in ("fl", "cl", "rtl")}
    for found in runs.values():
        np.testing.assert_array_equal(found.outputs, reference(network, images))
        best = found.outputs.max(axis=1)
        np.testing.assert_array_equal(found.outputs[np.arange(3), found.winners], best)
    assert runs["cl"].cycles == runs["rtl"].cycles
    np.testing.assert_array_equal(runs["cl"].spent, runs["rtl"].spent)
    for found in runs.values():
        np.testing.assert_array_equal(found.traffic, runs["fl"].traffic)
