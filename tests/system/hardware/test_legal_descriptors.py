"""Any legal descriptors, not only those that the compiler makes, mean the same at all levels."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accel.compiler.overlap import safe_steps
from accel.hardware.config import TAPS, AccelConfig, base
from accel.hardware.descriptors import InputDescriptor, LayerDescriptor, Loop, Offset
from accel.hardware.legality import contradictions
from accel.hardware.packets import BIAS, MULTIPLIER, Packet, header, packets
from accel.hardware.status import TRAFFIC
from accel.hardware.walk import (
    num_groups,
    reads,
    steps_per_group,
    writes,
)
from fl_models.accelerator import AcceleratorCore
from tests.harness import Simulators, run
from tests.networks import compile_if_it_fits
from tests.strategies import networks, waits
from tests.test_accelerator import LEVELS, PORTS, SMALL

CONFIGS = [
    dataclasses.replace(SMALL, act_depth=64, weight_depth=40, param_depth=40),
    dataclasses.replace(
        base, num_cols=8, pixel_groups=2, num_lanes=2, act_depth=64, weight_depth=40,
        param_depth=40, spad_depth=4, max_layers=4,
    ),
]  # fmt: skip
REGION_ROWS = 16
"""The memory is cut into four: the image's, and what up to three layers write."""


class Drawn(NamedTuple):
    cfg: AccelConfig
    words: list[int]
    image: list[int]


def strides(small: bool = True) -> st.SearchStrategy[int]:
    return st.integers(-40 if small else -200, 60 if small else 200)


@st.composite
def read_loops(draw: st.DrawFn) -> tuple[Loop, ...]:
    """Few iterations each; any strides, also of the loop over groups of output channels."""
    steps = st.builds(Loop, st.integers(1, 3), strides(), st.integers(0, 3), st.integers(0, 3))
    few = st.builds(Loop, st.integers(1, 2), strides(), st.integers(0, 3), st.integers(0, 3))
    return tuple(draw(steps if i in (0, 1, 2, 5) else few) for i in range(8))


@st.composite
def layers(draw: st.DrawFn, cfg: AccelConfig, region: int, *, last: bool) -> LayerDescriptor:
    loops = draw(read_loops())
    pixel_x = draw(st.integers(0, 1)) if cfg.pixel_groups == 2 else 0
    pixels = 1 + pixel_x
    groups = loops[-1].count
    vectors = loops[5].count * loops[6].count
    beats = cfg.num_beats // pixels
    last_beats = draw(st.integers(1, beats))
    # Vectors are written in rows and columns of any shape that has as many.
    columns = draw(st.sampled_from([n for n in range(1, vectors + 1) if vectors % n == 0]))
    drop_beats = draw(st.integers(0, beats - last_beats)) if pixels > 1 else 0
    channel = draw(st.integers(0, 3))
    sums = loops[0].count * loops[1].count * loops[2].count
    d = LayerDescriptor(
        read_loops=loops,
        pixel_offsets=tuple(
            Offset(draw(strides()), draw(st.integers(0, 3)), draw(st.integers(0, 3)))
            for _ in range(2)
        ),
        write_loops=(
            Loop(columns, draw(st.integers(1, 12))),
            Loop(vectors // columns, draw(st.integers(1, 40))),
            Loop(groups, draw(st.integers(1, 60))),
        ),
        read_row=draw(st.integers(0, cfg.act_depth - 1)),
        read_bank=draw(st.integers(0, 8)),
        padding=draw(st.integers(0, 3)),
        height=draw(st.integers(1, 12)),
        width=draw(st.integers(1, 12)),
        pad_value=draw(st.integers(-128, 255)),
        signed=draw(st.integers(0, 1)),
        channel_mode=draw(st.integers(0, 1)),
        reload=int(sums > cfg.spad_depth or draw(st.booleans())),
        tap_row=draw(st.integers(0, 5)),
        weight_base=draw(st.integers(0, 4)),
        last_rows=draw(st.integers(0, 3)),
        last_columns=draw(st.integers(0, 3)),
        last_channels=draw(st.integers(0, 15)),
        param_beats=pixels * beats,
        param_last_beats=pixels * (last_beats + drop_beats),
        param_vectors=vectors,
        param_groups=groups,
        param_base=draw(st.integers(0, 4)),
        zero_point=draw(st.integers(0, 255)),
        lo=draw(st.integers(0, 100)),
        hi=draw(st.integers(100, 255)),
        write_row=region * REGION_ROWS,
        write_bank=draw(st.integers(0, 8)),
        lane_row=channel,
        write_beats=beats,
        write_last_beats=last_beats,
        last_lanes=draw(st.integers(1, cfg.num_lanes)),
        to_result=int(last),
        out_signed=draw(st.integers(0, 1)),
        pixel_row=draw(st.integers(0, 3)),
        pixel_x=pixel_x,
        drop_x=draw(st.integers(0, pixel_x)),
        drop_beats=drop_beats,
    )
    assume(not contradictions(dataclasses.replace(d, safe_steps=0), cfg))
    return d


def read_bytes(d: LayerDescriptor, cfg: AccelConfig) -> set[int]:
    """Bytes that a layer reads."""
    found: set[int] = set()
    for group in range(num_groups(d)):
        taps = reads(d, cfg.pixel_groups, group)
        found |= set((taps.address[taps.inside] % (TAPS * cfg.act_depth)).tolist())
    return found


@st.composite
def programs(draw: st.DrawFn, cfg: AccelConfig) -> Drawn:
    """Up to three layers; each may read what any before it wrote, or the image, or what nobody
    did."""
    count = draw(st.integers(1, 3))
    found: list[LayerDescriptor] = []
    image = set(range(TAPS * REGION_ROWS))
    for i in range(count):
        last = i == count - 1
        d = draw(layers(cfg, i + 1, last=last))
        if not last:
            at = writes(d, cfg.num_lanes).address % (TAPS * cfg.act_depth)
            # Each output has a place of its own, which is neither the image's nor read meanwhile.
            assume(len(set(at.tolist())) == at.size)
            assume(not set(at.tolist()) & (image | read_bytes(d, cfg)))
        most = num_groups(d) * steps_per_group(d) - 1
        safe = safe_steps(found[-1], d, cfg) if found else most
        # Fewer than are safe are legal too.
        safe = draw(st.sampled_from([safe, safe // 2]))
        found.append(dataclasses.replace(d, safe_steps=min(safe, most)))
    readers = [i for i, d in enumerate(found) if image & read_bytes(d, cfg)] or [0]
    found[readers[-1]] = dataclasses.replace(found[readers[-1]], frees_input=1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Drawn(cfg, program_words(cfg, found, rng), rng.integers(0, 2**63, 6).tolist())


def program_words(
    cfg: AccelConfig, descriptors: list[LayerDescriptor], rng: np.random.Generator
) -> list[int]:
    """Weights and parameters of any values fill both memories; an image is two rows of two words
    and one of its channels' two."""
    loops = (Loop(2, 8), Loop(3, 21), Loop(1, 0))
    words = [header(Packet.INPUT), *InputDescriptor(base=0, loops=loops, last_bytes=5).encode()]
    beats = cfg.weight_depth * cfg.weight_word_beats
    words.append(header(Packet.WEIGHTS, 0, cfg.weight_depth))
    words += rng.integers(0, 2**64, beats, np.uint64).tolist()
    words.append(header(Packet.PARAMS, 0, cfg.param_depth))
    for _ in range(cfg.param_depth * cfg.num_lanes):
        multiplier = np.float32(2.0 ** rng.uniform(-14, -6)).view(np.uint32)
        words.append(MULTIPLIER.put(int(multiplier)) | BIAS.put(int(rng.integers(-9999, 9999))))
    for i, d in enumerate(descriptors):
        words += [header(Packet.LAYER, i), *d.encode()]
    return [*words, header(Packet.RUN, len(descriptors))]


@pytest.mark.parametrize("cfg", CONFIGS, ids=str)
@settings(max_examples=max(10, settings().max_examples // 2))
@given(data=st.data())
def test_all_levels_agree(simulators: Simulators, cfg: AccelConfig, data: st.DataObject) -> None:
    """In every byte and counter; CL and RTL in every cycle. Two images, the second of other
    values."""
    drawn = data.draw(programs(cfg))
    core = AcceleratorCore(cfg)
    core.load(drawn.words)
    images = np.array([drawn.image, drawn.image[::-1]], np.uint64)
    results = core.run(images).ravel().tolist()
    layers = len(core.program.layers)
    counted = [[core.program.traffic[i][j] for j in range(len(TRAFFIC))] for i in range(layers)]
    delays, stalls = data.draw(waits(12)), data.draw(waits(len(results)))
    found = []
    for level in LEVELS:
        sim = simulators(LEVELS[level], cfg)
        transfers = run(
            sim,
            {
                "prog": [(word, 0) for word in drawn.words],
                "image": list(zip(images.ravel().tolist(), delays, strict=True)),
            },
            {"result": results},
            {"result": stalls},
            patience=20_000,
            watch=() if level == "fl" else PORTS,
        )
        if level != "fl":
            found.append(transfers)
            seen = []
            for layer in range(layers):
                sim.port("traffic_layer").__imatmul__(layer)
                sim.eval_combinational()
                seen.append([int(sim.port(name)) for name in TRAFFIC])
            assert seen == counted, level
    assert found[0].timing == found[1].timing
    assert found[0].watched == found[1].watched


@given(data=st.data())
def test_what_the_compiler_makes_is_legal(data: st.DataObject) -> None:
    cfg = data.draw(st.sampled_from(CONFIGS))
    program = compile_if_it_fits(data.draw(networks()), cfg)
    if program is None:
        return
    for packet in packets(program.words, cfg):
        if packet.kind == Packet.LAYER:
            assert contradictions(LayerDescriptor.decode(packet.payload), cfg) == []


LEGAL = LayerDescriptor(
    read_loops=(Loop(),) * 7 + (Loop(2),), write_loops=(Loop(), Loop(), Loop(2)), param_groups=2,
    last_lanes=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"param_groups": 1}, "it reads 2, requantizes 1 and writes 2 groups"),
        ({"write_loops": (Loop(2), Loop(), Loop(2))}, "it makes 1, requantizes 1 and writes 2"),
        ({"param_vectors": 3}, "it makes 1, requantizes 3 and writes 1 vectors"),
        ({"write_beats": 2}, "of a group's vectors it requantizes 1 beats and puts away 1 times 2"),
        ({"write_last_beats": 2}, "of the last group's vectors"),
        ({"drop_beats": 1}, "of the last group's vectors"),
        ({"param_beats": 9, "write_beats": 9}, "a vector of 9 beats has more than num_cols"),
        ({"last_lanes": 0}, "last_lanes must be from 1"),
        ({"last_lanes": 9}, "last_lanes must be from 1"),
        ({"drop_x": 1}, "it drops a second column"),
        ({"drop_y": 1}, "it drops a second row"),
        ({"read_loops": (Loop(9),) + (Loop(),) * 6 + (Loop(2),)}, "are not read anew"),
        ({"weight_base": 39}, "weights end at word 41, beyond weight_depth = 40"),
        ({"param_base": 39}, "parameters end at word 41, beyond param_depth = 40"),
        ({"read_bank": 9}, "a bank must be from 0 to 8"),
        ({"write_bank": 9}, "a bank must be from 0 to 8"),
        ({"read_loops": (Loop(),) * 6 + (Loop(20, 0, 60), Loop(2)), "param_vectors": 20,
          "write_loops": (Loop(20), Loop(), Loop(2))}, "a tap lies 1140 rows further"),
        ({"safe_steps": 2}, "safe_steps = 2 leaves none of its 2 steps"),
    ],
)  # fmt: skip
def test_contradictions_are_named(changes: dict[str, object], says: str) -> None:
    assert contradictions(LEGAL, CONFIGS[0]) == []
    wrong = dataclasses.replace(LEGAL, **changes)  # type: ignore[arg-type]
    assert any(says in clause for clause in contradictions(wrong, CONFIGS[0]))
