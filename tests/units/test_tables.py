"""The tables, at all levels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import TABLE_SIZE, AccelConfig, base
from accel.hardware.messages import Beat, Entry, Out, Value
from accel.hardware.pipeline import TABLE_LATENCY
from cl_models.tables import TablesCL
from fl_models.tables import TablesFL
from rtl_models.tables import TablesRTL
from tests.harness import HarnessError, Simulators, run
from tests.strategies import delayed, more_examples, waits

LEVELS = {"fl": TablesFL, "cl": TablesCL, "rtl": TablesRTL}


def config(num_lanes: int, tables: int, adder: bool) -> AccelConfig:
    return dataclasses.replace(base, num_lanes=num_lanes, tables=tables, adder=adder)


# The first two are those that --test-verilog builds.
CONFIGS = [config(2, 2, True), config(1, 1, False), config(4, 4, False), config(1, 1, True)]


def entries(cfg: AccelConfig, seed: int) -> list[Entry]:
    rng = np.random.default_rng(seed)
    # All different within a table, so that no entry stands for another.
    tables = np.concatenate([rng.permutation(TABLE_SIZE) for _ in range(cfg.tables)])
    return [Entry(address, int(value)) for address, value in enumerate(tables)]


def oracle(cfg: AccelConfig, tables: list[Entry], values: list[Value]) -> list[Out | Beat]:
    found: list[Out | Beat] = []
    for value in values:
        y = value.y
        if value.looks_up:
            y = np.array(
                [tables[TABLE_SIZE * value.table_index + (n & 0xFF)].value for n in y.tolist()]
            )
            if value.table_signed:
                y = y.astype(np.uint8).view(np.int8).astype(np.int64)
        found.append(Beat(y, value.last, value.ends_layer) if cfg.adder else Out(y & 0xFF))
    return found


@st.composite
def values(draw: st.DrawFn, cfg: AccelConfig) -> Value:
    low = -128 if cfg.adder else 0
    y = np.array(draw(st.lists(st.integers(low, 255), min_size=cfg.num_lanes,
                               max_size=cfg.num_lanes)))  # fmt: skip
    looks_up, table = draw(st.integers(0, 1)), draw(st.integers(0, cfg.tables - 1))
    return Value(y, looks_up, table, *(draw(st.integers(0, cfg.adder)) for _ in range(3)))


def after_entries(
    messages: list[tuple[Value, int]], tables: list[Entry]
) -> list[tuple[Value, int]]:
    """As the accelerator does: nothing is looked up before all entries have come."""
    (first, delay), *others = messages
    return [(first, delay + len(tables)), *others]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("cfg", CONFIGS[:2], ids=str)
def test_every_entry(simulators: Simulators, level: str, cfg: AccelConfig) -> None:
    """Of every table, in every lane; what is not looked up passes by."""
    tables = entries(cfg, 1)
    low = -128 if cfg.adder else 0
    numbers = [
        Value(np.array([n] * cfg.num_lanes), looks_up, table, signed, n & cfg.adder, 0)
        for looks_up, signed in ((1, 0), (0, 0), *([(1, 1)] * cfg.adder))
        for table in range(cfg.tables)
        for n in range(low, 256)
    ]
    inputs = {
        "entry": [(entry, 0) for entry in tables],
        "value": after_entries([(value, 0) for value in numbers], tables),
    }
    run(simulators(LEVELS[level], cfg), inputs, {"out": oracle(cfg, tables, numbers)})


@pytest.mark.parametrize("level", LEVELS)
@more_examples(4)
@given(data=st.data())
def test_random(simulators: Simulators, level: str, data: st.DataObject) -> None:
    cfg = data.draw(st.sampled_from(CONFIGS[:2] if simulators.verilated else CONFIGS))
    tables = entries(cfg, data.draw(st.integers(0, 99)))
    numbers = data.draw(st.lists(values(cfg), min_size=1, max_size=12))
    outs = oracle(cfg, tables, numbers)
    inputs = {
        "entry": [(entry, 0) for entry in tables],
        "value": after_entries(data.draw(delayed(numbers)), tables),
    }
    run(simulators(LEVELS[level], cfg), inputs, {"out": outs}, {"out": data.draw(waits(len(outs)))})


@more_examples(4)
@given(data=st.data())
def test_timing(simulators: Simulators, data: st.DataObject) -> None:
    """CL and RTL agree on the cycle of every transfer."""
    cfg = data.draw(st.sampled_from(CONFIGS[:2] if simulators.verilated else CONFIGS))
    tables = entries(cfg, 2)
    numbers = data.draw(st.lists(values(cfg), min_size=1, max_size=12))
    outs = oracle(cfg, tables, numbers)
    inputs = {
        "entry": [(entry, 0) for entry in tables],
        "value": after_entries(data.draw(delayed(numbers)), tables),
    }
    stalls = {"out": data.draw(waits(len(outs)))}
    cl, rtl = (
        run(simulators(LEVELS[level], cfg), inputs, {"out": outs}, stalls)
        for level in ("cl", "rtl")
    )
    assert cl.timing == rtl.timing


@pytest.mark.parametrize("level", ["cl", "rtl"])
def test_latency_and_throughput(simulators: Simulators, level: str) -> None:
    cfg = CONFIGS[1]
    tables = entries(cfg, 3)
    numbers = [Value(np.array([n]), n & 1, 0) for n in range(20)]
    inputs = {
        "entry": [(entry, 0) for entry in tables],
        "value": after_entries([(value, 0) for value in numbers], tables),
    }
    timing = run(simulators(LEVELS[level], cfg), inputs,
                 {"out": oracle(cfg, tables, numbers)}).timing  # fmt: skip
    start = timing["value"][0]
    assert timing["value"] == [start + i for i in range(20)]
    assert timing["out"] == [start + TABLE_LATENCY + i for i in range(20)]


@pytest.mark.parametrize("level", LEVELS)
def test_tables_stay_and_values_do_not(simulators: Simulators, level: str) -> None:
    """Each run begins with a reset; it drops what was on its way, and no table."""
    cfg, sim = CONFIGS[1], simulators(LEVELS[level], CONFIGS[1])
    tables = entries(cfg, 4)
    numbers = [Value(np.array([n]), 1, 0) for n in range(30)]
    inputs = {
        "entry": [(entry, 0) for entry in tables],
        "value": after_entries([(value, 0) for value in numbers], tables),
    }
    with pytest.raises(HarnessError, match="after its last message"):
        run(sim, inputs, {"out": []})
    again = {"entry": [], "value": [(value, 0) for value in numbers]}
    run(sim, again, {"out": oracle(cfg, tables, numbers)})
