"""Where the taps of a step lie, against the walk in plain Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import TAPS, AccelConfig, base
from accel.hardware.descriptors import DX, LayerDescriptor
from accel.hardware.messages import pack_ints
from rtl_models.address_generator import AddressGeneratorRTL
from rtl_models.tap_address import OFFSET_NBITS, TapAddressRTL
from tests.harness import Simulators
from tests.units.walks import (
    all_reads,
    pauses,
    positions,
    read_descriptors,
    strides,
    taking_turns,
    tap_ports,
    two_stages,
)

CONFIGS = [
    dataclasses.replace(base, num_cols=4, num_lanes=1, act_depth=64, pixel_groups=groups)
    for groups in (2, 4, 1)
]


def all_strides(d: LayerDescriptor, cfg: AccelConfig) -> dict[str, int]:
    return strides(d.read_loops, cfg.act_addr_nbits) | {
        "strides_y": pack_ints([loop.dy for loop in d.read_loops], DX.nbits),
        "strides_x": pack_ints([loop.dx for loop in d.read_loops], DX.nbits),
    }


@given(data=st.data(), waits=pauses)
def test_tap_address(simulators: Simulators, data: st.DataObject, waits: list[int]) -> None:
    cfg = CONFIGS[0]
    sim = simulators(TapAddressRTL, cfg)
    wait = taking_turns(waits)
    for d in data.draw(st.lists(read_descriptors(cfg), min_size=1, max_size=2)):
        # In channel mode a tap is a channel, else three of them are a row.
        reach = [d.tap_row * (t if d.channel_mode else t // 3) for t in range(TAPS)]
        above, left = (-n % (1 << OFFSET_NBITS) for n in (d.padding_rows, d.padding_columns))
        start = {
            "start_row": d.read_row, "start_bank": d.read_bank,
            "start_y": above, "start_x": left,
            "channel_mode": d.channel_mode, "height": d.height, "width": d.width,
            "reach": pack_ints(reach, cfg.act_addr_nbits),
        } | all_strides(d, cfg)  # fmt: skip
        taps = all_reads(d, 1)
        for step in two_stages(sim, d.read_loops, start, wait):
            used = taps.inside[step] | taps.padding[step]
            sim.settle({"used": pack_ints(used, 1)})
            ports = tap_ports(taps, step, cfg)
            assert {name: sim.read(name) for name in ports} == ports


def layer_ports(d: LayerDescriptor, cfg: AccelConfig) -> dict[str, int]:
    """What the address generator is told of a layer."""
    ports = {
        "start_row": d.read_row, "start_bank": d.read_bank,
        "padding_rows": d.padding_rows, "padding_columns": d.padding_columns,
        "channel_mode": d.channel_mode, "tap_row": d.tap_row,
    } | all_strides(d, cfg)  # fmt: skip
    for i, offset in enumerate(d.pixel_offsets):
        row, bank = divmod(offset.stride, TAPS)
        ports[f"pixel_row{i}"] = row % cfg.act_depth
        ports |= {f"pixel_bank{i}": bank, f"pixel_y{i}": offset.dy, f"pixel_x{i}": offset.dx}
    return ports


@given(data=st.data(), waits=pauses)
def test_address_generator(simulators: Simulators, data: st.DataObject, waits: list[int]) -> None:
    """A step's command comes two moves after it, layer after layer without a gap; nothing changes
    while the pipeline does not move."""
    cfg = CONFIGS[0] if simulators.verilated else data.draw(st.sampled_from(CONFIGS))
    sim = simulators(AddressGeneratorRTL, cfg)
    issued_type = type(sim.port("issued"))
    wait = taking_turns(waits)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    sim.settle({"go": 1, "start": 0, "issued_val": 0})
    sim.reset()
    # Steps in the two registers, as the command's fields.
    address_stage: dict[str, int] | None = None
    command: dict[str, int] | None = None

    def move(inputs: dict[str, Any], step: dict[str, int] | None) -> None:
        nonlocal address_stage, command
        for go in (0,) * next(wait) + (1,):
            off = {} if go else {"start": 0, "issued_val": 0}
            sim.settle(inputs | off | {"go": go})
            assert sim.read("command_val") == (command is not None)
            for name, value in (command or {}).items():
                assert int(getattr(sim.port("command"), name)) == value, name
            reading = address_stage is not None and address_stage["frees_input"]
            assert sim.read("reading_input") == reading
            sim.edge()
        address_stage, command = step, address_stage

    for d in data.draw(st.lists(read_descriptors(cfg), min_size=1, max_size=2)):
        move(layer_ports(d, cfg) | {"start": 1, "issued_val": 0}, None)
        taps = all_reads(d, cfg.pixel_groups)
        for at, position in enumerate(positions(d.read_loops)):
            for _ in range(next(wait)):
                move({"start": 0, "issued_val": 0}, None)
            used = taps.inside[at, 0] | taps.padding[at, 0]
            carried = dict(labels(cfg, rng))
            issued = issued_type(
                restart=position.restart, used=pack_ints(used, 1), channel_mode=d.channel_mode,
                height=d.height, width=d.width, **carried,
            )  # fmt: skip
            inputs = {"issued": issued, "issued_val": 1, "select": position.select, "start": 0}
            move(inputs, tap_ports(taps, at, cfg) | carried)
    for _ in range(3):
        move({"start": 0, "issued_val": 0}, None)


def labels(cfg: AccelConfig, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
    """What a command has from its step as it is."""
    for name, nbits in {
        "layer": cfg.layer_nbits, "pad_value": 9, "is_signed": 1, "load": 1, "keep": 1, "first": 1,
        "weight_address": cfg.weight_addr_nbits, "idx": cfg.spad_idx_nbits, "last": 1,
        "pool_first": 1, "pool_last": 1, "frees_input": 1,
    }.items():  # fmt: skip
        yield name, int(rng.integers(1 << nbits))
