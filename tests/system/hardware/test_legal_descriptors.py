"""Any legal descriptors, not only those that the compiler makes, mean the same at all levels."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accel.compiler.overlap import safe_steps
from accel.hardware.config import TABLE_SIZE, TAPS, AccelConfig
from accel.hardware.descriptors import InputDescriptor, LayerDescriptor, Loop, Offset
from accel.hardware.legality import contradictions
from accel.hardware.messages import TERM_FIELDS, Ints
from accel.hardware.packets import BIAS, MULTIPLIER, Packet, header, packets
from accel.hardware.status import TRAFFIC
from accel.hardware.walk import (
    OUT_X,
    OUT_Y,
    num_groups,
    operand_reads,
    reads,
    total_steps,
    vectors_per_group,
    writes,
)
from fl_models.accelerator import AcceleratorCoreFL
from tests.harness import Simulators, run
from tests.networks import compile_if_it_fits
from tests.strategies import networks, terms, waits
from tests.system.hardware.test_accelerator import CONFIGS as ACCELERATOR_CONFIGS
from tests.system.hardware.test_accelerator import LEVELS, PORTS
from tests.system.hardware.test_depthwise import CONFIGS as DEPTHWISE_CONFIGS

CONFIGS = [
    *ACCELERATOR_CONFIGS[:2],
    *(dataclasses.replace(cfg, adder=True) for cfg in ACCELERATOR_CONFIGS[:2]),
    DEPTHWISE_CONFIGS[0],
    dataclasses.replace(DEPTHWISE_CONFIGS[1], adder=True, zero_gating=True, tables=2),
    dataclasses.replace(ACCELERATOR_CONFIGS[0], tables=1),
]
MEMORY_WORDS = 24
"""So many words of the weight and the parameter memory are filled."""
IMAGE_WORDS, IMAGE_ROWS, REGION_ROWS = 72, 64, 32
"""The memory is cut into three: the image, which fills its part, and what two layers write."""


class Drawn(NamedTuple):
    cfg: AccelConfig
    words: list[int]
    image: list[int]


def strides() -> st.SearchStrategy[int]:
    """Small ones mostly, so that what is read lies within what was written."""
    return st.one_of(st.integers(-9, 21), st.integers(-60, 120))


@st.composite
def read_loops(draw: st.DrawFn) -> tuple[Loop, ...]:
    """Few iterations each; any strides, also of the loop over groups of output channels."""
    steps = st.builds(Loop, st.integers(1, 3), strides(), st.integers(0, 3), st.integers(0, 3))
    few = st.builds(Loop, st.integers(1, 2), strides(), st.integers(0, 3), st.integers(0, 3))
    return tuple(draw(steps if i in (0, 1, 2, 5) else few) for i in range(8))


@st.composite
def rasters(draw: st.DrawFn, cfg: AccelConfig) -> dict[str, Any]:
    """What a layer of column windows says of them: any map, of which any windows are used."""
    columns = draw(st.integers(2, min(cfg.line_width, 5)))
    counts = columns, draw(st.integers(1, 4)), draw(st.integers(1, 3))
    loops = [Loop(1, *dataclasses.astuple(loop)[1:]) for loop in draw(read_loops())]
    loops[OUT_X:] = [
        dataclasses.replace(loop, count=count)
        for loop, count in zip(loops[OUT_X:], counts, strict=True)
    ]
    skips = ("skip_top", "skip_bottom", "skip_left", "skip_right")
    return {
        "read_loops": tuple(loops),
        "column_windows": 1,
        "channel_mode": 1,
        "last_channels": cfg.group_cols,
        "window_columns": draw(st.integers(1, cfg.num_cols)),
        **{name: draw(st.integers(1, 2)) for name in ("row_step", "column_step")},
        **{name: draw(st.integers(0, 1)) for name in skips},
    }


@st.composite
def layers(draw: st.DrawFn, cfg: AccelConfig, number: int, *, last: bool) -> LayerDescriptor:
    loops = draw(read_loops())
    if has_windows := bool(cfg.line_width) and draw(st.booleans()):
        raster = draw(rasters(cfg))
        loops = raster["read_loops"]
    pixel_x = draw(st.integers(0, 1)) if cfg.pixel_groups == 2 else 0
    pixels = 1 + pixel_x
    groups = loops[-1].count
    vectors = loops[OUT_X].count * loops[OUT_Y].count
    if has_windows:
        vectors = vectors_per_group(LayerDescriptor(**raster))
        assume(vectors)
    beats = cfg.num_beats // pixels
    last_beats = draw(st.integers(1, beats))
    # Vectors are written in rows and columns of any shape that has as many.
    columns = draw(st.sampled_from([n for n in range(1, vectors + 1) if vectors % n == 0]))
    drop_beats = draw(st.integers(0, beats - last_beats)) if pixels > 1 else 0
    channel, signed = draw(st.integers(0, 3)), draw(st.integers(0, 1))
    out_signed = draw(st.integers(0, 1))
    low = -128 * out_signed
    adds = draw(st.integers(0, 1)) if cfg.adder and not has_windows else 0
    numbers = draw(terms())._replace(pops=adds, lo=low + draw(st.integers(0, 100)), hi=low + 255)
    sums = loops[0].count * loops[1].count * loops[2].count
    # What is looked up, and what is added to, may be of another sign than outputs.
    looks_up = draw(st.integers(0, 1)) if cfg.tables else 0
    value_low = -128 * (draw(st.integers(0, 1)) if looks_up else out_signed)
    table_signed = draw(st.integers(0, 1)) if adds else out_signed
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
        padding_rows=draw(st.integers(0, 3)),
        padding_columns=draw(st.integers(0, 3)),
        height=draw(st.integers(1, 12)),
        width=draw(st.integers(1, 12)),
        pad_value=draw(st.integers(-128, 127) if signed else st.integers(0, 255)),
        signed=signed,
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
        zero_point=draw(st.integers(0, 255)) + value_low,
        lo=draw(st.integers(0, 100)) + value_low,
        hi=draw(st.integers(100, 255)) + value_low,
        write_row=(IMAGE_ROWS + number * REGION_ROWS) % cfg.act_depth,
        write_bank=draw(st.integers(0, 8)),
        lane_row=channel,
        write_beats=beats,
        write_last_beats=last_beats,
        last_lanes=draw(st.integers(1, cfg.num_lanes)),
        group_lanes=draw(st.integers(1, cfg.num_lanes)),
        to_result=int(last),
        out_signed=out_signed,
        pixel_row=draw(st.integers(0, 3)),
        pixel_x=pixel_x,
        drop_x=draw(st.integers(0, pixel_x)),
        drop_beats=drop_beats,
        adds=adds,
        operand_signed=draw(st.integers(0, 1)),
        operand_lane_row=draw(st.integers(0, 5)),
        operand_strides=tuple(draw(strides()) for _ in range(5)),
        ties_away=draw(st.integers(0, 1)) * cfg.adder,
        looks_up=looks_up,
        table_index=draw(st.integers(0, cfg.tables - 1)) if cfg.tables else 0,
        table_signed=table_signed,
        **(dict(zip(TERM_FIELDS, numbers, strict=True)) if cfg.adder else {}),
    )
    if has_windows:
        d = dataclasses.replace(d, **raster)
    small = dataclasses.replace(cfg, weight_depth=MEMORY_WORDS, param_depth=MEMORY_WORDS)
    assume(not contradictions(dataclasses.replace(d, safe_steps=0), small))
    return d


def read_bytes(d: LayerDescriptor, cfg: AccelConfig) -> Ints:
    """Bytes that a layer's sums read, before they wrap."""
    taps = [reads(d, cfg.pixel_groups, group) for group in range(num_groups(d))]
    return np.unique(np.concatenate([t.address[t.inside] for t in taps]))


def added_bytes(d: LayerDescriptor, cfg: AccelConfig) -> Ints:
    """And those that it reads to be added."""
    if not d.adds:
        return np.empty(0, np.int64)
    found = [operand_reads(d, cfg, group) for group in range(num_groups(d))]
    return np.unique(np.concatenate([o.address[o.used] for o in found]))


def all_bytes(d: LayerDescriptor, cfg: AccelConfig) -> Ints:
    """All that it reads."""
    return np.concatenate([read_bytes(d, cfg), added_bytes(d, cfg)])


@st.composite
def placed(draw: st.DrawFn, d: LayerDescriptor, known: Ints, cfg: AccelConfig) -> LayerDescriptor:
    """The layer, reading from where all that it reads is ``known``: written by a layer before it,
    or the image's. What nobody wrote may be anything."""
    size = TAPS * cfg.act_depth
    is_known = np.zeros(size, bool)
    is_known[known] = True
    starts = np.arange(size)
    places = {}
    for what, found in (("read", read_bytes(d, cfg)), ("operand", added_bytes(d, cfg))):
        fits = is_known[(starts[:, None] + found) % size].all(axis=1)
        assume(fits.any())
        places[what] = divmod(draw(st.sampled_from(starts[fits].tolist())), TAPS)
    row, bank = places["read"]
    operand_row, operand_bank = places["operand"]
    return dataclasses.replace(
        d, read_row=row, read_bank=bank, operand_row=operand_row, operand_bank=operand_bank
    )


@st.composite
def programs(draw: st.DrawFn, cfg: AccelConfig) -> Drawn:
    """Up to three layers; each may read what any before it wrote, or the image, or what nobody
    did."""
    size, count = TAPS * cfg.act_depth, draw(st.integers(1, 3))
    found: list[LayerDescriptor] = []
    image = known = np.arange(TAPS * IMAGE_ROWS)
    for i in range(count):
        last = i == count - 1
        d = draw(placed(draw(layers(cfg, i, last=last)), known, cfg))
        if not last:
            at = writes(d, cfg.num_lanes).address % size
            # Each output has a place of its own, which is neither the image's nor read meanwhile.
            taken = np.concatenate([image, all_bytes(d, cfg) % size])
            assume(np.unique(at).size == at.size and not np.isin(at, taken).any())
            known = np.union1d(known, at)
        most = total_steps(d) - 1
        # Fewer steps than are safe are legal too.
        safe = most
        if found:
            free_from = 0 if len(found) > 1 else found[-1].safe_steps
            safe = safe_steps(found[-1], d, cfg, free_from)
        safe = draw(st.sampled_from([safe, safe // 2]))
        found.append(dataclasses.replace(d, safe_steps=min(safe, most)))
    readers = [i for i, d in enumerate(found) if np.isin(all_bytes(d, cfg) % size, image).any()]
    last_reader = max(readers, default=0)
    found[last_reader] = dataclasses.replace(found[last_reader], frees_input=1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    words = rng.integers(0, 2**64, IMAGE_WORDS, np.uint64).tolist()
    return Drawn(cfg, program_words(cfg, found, rng), words)


def program_words(
    cfg: AccelConfig, descriptors: list[LayerDescriptor], rng: np.random.Generator
) -> list[int]:
    """Weights, parameters and tables of any values, and an image that fills its part of the
    memory."""
    loops = (Loop(4, 8), Loop(6, 32), Loop(3, 192))
    words = [header(Packet.INPUT), *InputDescriptor(base=0, loops=loops, last_bytes=8).encode()]
    beats = MEMORY_WORDS * cfg.weight_word_beats
    words.append(header(Packet.WEIGHTS, 0, MEMORY_WORDS))
    words += rng.integers(0, 2**64, beats, np.uint64).tolist()
    words.append(header(Packet.PARAMS, 0, MEMORY_WORDS))
    for _ in range(MEMORY_WORDS * cfg.num_lanes):
        multiplier = np.float32(2.0 ** rng.uniform(-14, -6)).view(np.uint32)
        words.append(MULTIPLIER.put(int(multiplier)) | BIAS.put(int(rng.integers(-9999, 9999))))
    if entries := cfg.tables * TABLE_SIZE:
        words += [header(Packet.TABLE, 0, entries), *rng.integers(0, 256, entries).tolist()]
    for i, d in enumerate(descriptors):
        words += [header(Packet.LAYER, i), *d.encode()]
    return [*words, header(Packet.RUN, len(descriptors))]


@pytest.mark.parametrize("cfg", CONFIGS, ids=str)
@settings(max_examples=settings().max_examples // 6)
@given(data=st.data())
def test_all_levels_agree(simulators: Simulators, cfg: AccelConfig, data: st.DataObject) -> None:
    """In every byte and counter; CL and RTL in every cycle. Two images, the second of other
    values."""
    drawn = data.draw(programs(cfg))
    core = AcceleratorCoreFL(cfg)
    core.load(drawn.words)
    images = np.array([drawn.image, drawn.image[::-1]], np.uint64)
    results = core.run(images).ravel().tolist()
    layers = len(core.program.layers)
    counted = [[core.program.traffic[i][j] for j in range(len(TRAFFIC))] for i in range(layers)]
    delays, stalls = data.draw(waits(2 * IMAGE_WORDS)), data.draw(waits(len(results)))
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
    last_lanes=1, group_lanes=1,
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
        ({"group_lanes": 0}, "group_lanes must be from 1"),
        ({"drop_x": 1}, "it drops a second column"),
        ({"drop_y": 1}, "it drops a second row"),
        ({"read_loops": (Loop(9),) + (Loop(),) * 6 + (Loop(2),)}, "are not read anew"),
        ({"weight_base": 599}, "weights end at word 601, beyond weight_depth = 600"),
        ({"param_base": 99}, "parameters end at word 101, beyond param_depth = 100"),
        ({"pad_value": -1}, "pad_value = -1 is none of the input's values, from 0 to 255"),
        ({"lo": -1}, "outputs from -1 to 0 are not within their type, from 0 to 255"),
        ({"lo": 9, "hi": 8}, "outputs from 9 to 8 are not within"),
        ({"read_bank": 9}, "a bank must be from 0 to 8"),
        ({"write_bank": 9}, "a bank must be from 0 to 8"),
        ({"read_loops": (Loop(),) * 6 + (Loop(20, 0, 60), Loop(2)), "param_vectors": 20,
          "write_loops": (Loop(20), Loop(), Loop(2))}, "a tap lies 1140 rows further"),
        ({"safe_steps": 2}, "safe_steps = 2 leaves none of its 2 steps"),
        ({"adds": 1}, "it adds a tensor, which needs an adder"),
        ({"ties_away": 1}, "it rounds ties away from zero, which needs an adder"),
    ],
)  # fmt: skip
def test_contradictions_are_named(changes: dict[str, object], says: str) -> None:
    assert contradictions(LEGAL, CONFIGS[0]) == []
    wrong = dataclasses.replace(LEGAL, **changes)  # type: ignore[arg-type]
    assert any(says in clause for clause in contradictions(wrong, CONFIGS[0]))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pops": 0}, "of what is added it reads every vector, but takes no one"),
        ({"adds": 0}, "of what is added it reads no vector, but takes every one"),
        ({"lo": 1, "hi": 0}, "what it adds to is from 1 to 0, beyond -128 to 255"),
        ({"sum_lo": -1}, "outputs from -1 to 255 are not within their type, from 0 to 255"),
        ({"sum_shift": 32}, "it shifts sums by 32 bits, more than 31"),
        ({"operand_bank": 9}, "a bank must be from 0 to 8"),
        ({"safe_steps": 4}, "safe_steps = 4 leaves none of its 4 steps"),
    ],
)
def test_contradictions_of_sums_are_named(changes: dict[str, object], says: str) -> None:
    cfg, legal = CONFIGS[2], dataclasses.replace(LEGAL, adds=1, pops=1, sum_hi=255)
    assert contradictions(legal, cfg) == []
    wrong = dataclasses.replace(legal, **changes)  # type: ignore[arg-type]
    assert any(says in clause for clause in contradictions(wrong, cfg))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"table_index": 1}, "it looks outputs up in table 1, of tables = 1"),
        ({"table_signed": 1}, "outputs are unsigned, but not those of its table"),
        ({"lo": -129}, "outputs from -129 to 0 are not within their type, from -128 to 255"),
    ],
)
def test_contradictions_of_tables_are_named(changes: dict[str, int], says: str) -> None:
    cfg, legal = CONFIGS[-1], dataclasses.replace(LEGAL, looks_up=1, lo=-5)
    assert contradictions(legal, cfg) == []
    wrong = dataclasses.replace(legal, **changes)  # type: ignore[arg-type]
    assert any(says in clause for clause in contradictions(wrong, cfg))
