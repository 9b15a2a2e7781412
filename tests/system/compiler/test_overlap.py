"""What may overlap: no step reads what is yet to be written, and the margin is not a vector more
than that takes."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.compiler import overlap
from accel.compiler.compile import compile
from accel.errors import AccelError
from accel.hardware import pipeline
from accel.hardware.config import TAPS, AccelConfig, base
from accel.hardware.descriptors import LayerDescriptor, Loop
from accel.hardware.legality import contradictions
from accel.hardware.packets import Packet, header, packets
from accel.hardware.walk import writes
from accel.network.graph import Network
from accel.simulation.runner import simulate
from cl_models.accelerator import AcceleratorCL, AcceleratorCoreCL
from fl_models.accelerator import AcceleratorCoreFL
from rtl_models.accelerator import AcceleratorRTL
from tests.harness import HarnessError, Simulators, run
from tests.networks import Conv, compile_if_it_fits, random_images, random_network
from tests.strategies import networks
from tests.system.hardware.test_accelerator import CONFIGS, pack
from tests.tools.random_networks import CONFIGS as RANDOM_CONFIGS

WIDTH, HEIGHT = 12, 9
TOO_EARLY = (
    r"layer 1 reads byte \d+ of the activation memory \(row \d+, bank \d\) in its step {}, but "
    r"that byte is yet to be written: the program lets the layer begin too early "
    r"\(safe_steps = {}\)"
)


class Pair(NamedTuple):
    """Layer 0 is a 1x1 convolution over ``channels`` that makes a vector a pixel; layer 1 reads a
    pixel a step, and in step number ``step`` the one called ``pixel``. Then it waits."""

    cfg: AccelConfig
    channels: int
    pixel: int
    step: int = 0
    seed: int = 0

    def words(self) -> tuple[list[int], list[int]]:
        """Of the program, and of an image."""
        cfg, outputs = self.cfg, self.cfg.num_cols
        specs = [Conv(outputs, (1, 1), relu=False), Conv(1, (1, 1), relu=False)]
        rng = np.random.default_rng(self.seed)
        network = random_network(rng, (self.channels, HEIGHT, WIDTH), specs)
        program = compile(network, cfg)
        found = list(packets(program.words, cfg))
        before, after = (LayerDescriptor.decode(p.payload) for p in found if p.kind == Packet.LAYER)
        # Of a pixel the last channels, which are the last to be written
        channels = min(outputs, TAPS)
        place = writes(before, cfg.num_lanes).address[outputs - channels :: outputs]
        # Rows of pixels lie apart, so the steps before go up a row each.
        row_stride = int(place[WIDTH] - place[0])
        row, bank = divmod(int(place[self.pixel]) - self.step * row_stride, TAPS)
        steps = self.step + 2
        changed = dataclasses.replace(
            after,
            read_loops=(Loop(),) * 5 + (Loop(steps, row_stride, 0, 0), Loop(), Loop()),
            write_loops=(Loop(steps), Loop(), Loop()),
            param_vectors=steps,
            read_row=row, read_bank=bank, padding_rows=0, padding_columns=0,
            channel_mode=1, reload=1, last_channels=channels, tap_row=before.lane_row,
            safe_steps=self.step + 1,
        )  # fmt: skip
        assert contradictions(changed, cfg) == []
        words = []
        for packet in found:
            words.append(header(Packet(packet.kind), packet.address, packet.num_words))
            is_second = packet.kind == Packet.LAYER and packet.address == 1
            words += changed.encode() if is_second else packet.payload
        return words, pack(program, random_images(rng, network, 1))

    def run(self, simulators: Simulators, component: type) -> None:
        """Raises HarnessError where the results are not the functional model's."""
        words, image = self.words()
        core = AcceleratorCoreFL(self.cfg)
        core.load(words)
        results = core.run(np.array([image], np.uint64)).ravel().tolist()
        inputs = {"prog": [(word, 0) for word in words], "image": [(word, 0) for word in image]}
        run(simulators(component, self.cfg), inputs, {"result": results}, patience=20_000)

    def is_wrong(self, simulators: Simulators, component: type) -> bool:
        try:
            self.run(simulators, component)
        except HarnessError:
            return True
        return False

    def margin(self) -> int:
        """Vectors that the compiler takes to be outstanding at that step."""
        words, _ = self.words()
        payload = next(p.payload for p in packets(words, self.cfg) if p.kind == Packet.LAYER)
        d = LayerDescriptor.decode(payload)
        return int(overlap.vectors_in_flight(d, np.array(self.step), self.cfg, d.safe_steps))


def oldest_outstanding(pair: Pair) -> tuple[Pair, Pair]:
    """The pair that reads the last pixel's vector less the margin, and with one vector less of
    margin."""
    safe = HEIGHT * WIDTH - 1 - pair.margin()
    return pair._replace(pixel=safe), pair._replace(pixel=safe + 1)


@pytest.mark.parametrize("step", [0, 3])
def test_a_vector_less_is_seen_in_results(simulators: Simulators, step: int) -> None:
    """The cycle-level model says so, and the RTL yields something else."""
    safe, early = oldest_outstanding(Pair(CONFIGS[0], 3, 0, step))
    for component in (AcceleratorCL, AcceleratorRTL):
        safe.run(simulators, component)
    with pytest.raises(AccelError, match=TOO_EARLY.format(step, step + 1)):
        early.run(simulators, AcceleratorCL)
    # What was there before must be another byte, and one that makes a difference.
    others = [early._replace(seed=seed) for seed in range(1, 5)]
    wrong = [other.is_wrong(simulators, AcceleratorRTL) for other in others]
    assert any(wrong)


@given(data=st.data())
def test_a_vector_less_is_always_caught(data: st.DataObject) -> None:
    """Whatever the shape of array, requantizer and layers: the margin is exact."""
    lanes = data.draw(st.sampled_from([1, 2, 4]))
    cfg = dataclasses.replace(
        base, num_cols=lanes * data.draw(st.integers(2, 16 // lanes)), num_lanes=lanes
    )
    # With a step a vector the array runs ahead of the requantizer, and every place fills.
    is_exact(Pair(cfg, data.draw(st.integers(1, TAPS)), 0, data.draw(st.integers(0, 5))))


@given(data=st.data())
def test_a_vector_less_is_always_caught_where_vectors_do_not_wait(data: st.DataObject) -> None:
    """With more steps than beats a vector every one comes in its time, and the margin is exact in
    cycles."""
    lanes, beats = data.draw(st.sampled_from([(1, 4), (2, 3), (4, 2), (4, 1), (8, 1)]))
    windows = {"line_width": data.draw(st.sampled_from([0, 16]))}
    cfg = dataclasses.replace(
        base, num_cols=lanes * beats, num_lanes=lanes, adder=data.draw(st.booleans()), **windows
    )
    steps = data.draw(st.integers(max(beats, pipeline.vector_cycles(cfg)) + 1, 7))
    channels = TAPS * steps - data.draw(st.integers(0, TAPS - 1))
    is_exact(Pair(cfg, channels, 0, data.draw(st.integers(0, 5))))


def is_exact(pair: Pair) -> None:
    """The cycle-level model runs the pair, but not with a vector less of margin."""
    safe, early = oldest_outstanding(pair)
    core(safe)
    with pytest.raises(AccelError, match=TOO_EARLY.format(pair.step, pair.step + 1)):
        core(early)


def core(pair: Pair) -> None:
    """The cycle-level model's core, to the last result."""
    words, image = pair.words()
    model, prog, rest = AcceleratorCoreCL(pair.cfg), deque(words), deque(image)
    for _ in range(20_000):
        model.evaluate(result_rdy=True)
        taken = prog.popleft() if prog and model.prog_rdy else None
        pixel = rest.popleft() if rest and not prog and model.image_rdy else None
        model.tick(bool(prog) or taken is not None, taken, pixel, result_rdy=True)
        if not prog and not rest and model.program.running and model.idle:
            return
    raise AssertionError("it does not end")


@given(network=networks(), config=st.sampled_from(["narrow", "groups", "squares", "one", "adder"]))
def test_no_step_of_a_compiled_network_is_too_early(network: Network, config: str) -> None:
    """The cycle-level model checks every step of every simulation; pauses fill the pipeline."""
    program = compile_if_it_fits(network, RANDOM_CONFIGS[config])
    if program is not None:
        images = random_images(np.random.default_rng(0), network, 2)
        run_cl = simulate(program, images, level="cl", jobs=1, pauses=3)
        np.testing.assert_array_equal(run_cl.outputs, network.integers(images)[-1])
