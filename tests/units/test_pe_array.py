"""The PE array, at all levels."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import TAPS, AccelConfig, base
from accel.hardware.messages import Acc, Step, pack
from accel.hardware.pipeline import PE_ARRAY_LATENCY
from accel.hardware.pymtl import prepare
from accel.numerics import wrap
from cl_models.pe_array import PEArrayCL
from fl_models.pe_array import PEArrayFL
from rtl_models.pe_array import PEArrayRTL
from tests.harness import HarnessError, Simulators, run
from tests.strategies import delayed, more_examples, steps, waits

LEVELS = {"fl": PEArrayFL, "cl": PEArrayCL, "rtl": PEArrayRTL}


def config(
    num_cols: int,
    acc_nbits: int,
    spad_depth: int,
    pixel_groups: int = 1,
    *,
    gating: bool = True,
    packed: bool = False,
) -> AccelConfig:
    return dataclasses.replace(
        base,
        num_cols=num_cols,
        pixel_groups=pixel_groups,
        num_lanes=1,
        acc_nbits=acc_nbits,
        spad_depth=spad_depth,
        zero_gating=gating,
        packed_multipliers=packed,
    )


# The first four are those that --test-verilog builds.
CONFIGS = [
    config(3, 24, 2),
    config(1, 20, 1, gating=False),
    config(16, 32, 16, 2),
    config(4, 21, 2, 2, packed=True),
    config(2, 32, 1, packed=True, gating=False),
    config(2, 25, 4),
    config(8, 26, 8, 4),
    dataclasses.replace(config(8, 25, 2, 2), line_width=4),
]
SMALL = CONFIGS[0]
GATED = config(8, 26, 8, 4)
WIDE = CONFIGS[2]


def oracle(cfg: AccelConfig, messages: list[Step]) -> list[Acc]:
    scratchpad: dict[int, np.ndarray] = {}
    acc = np.zeros(cfg.num_cols, dtype=np.int64)
    found = []
    for step in messages:
        w = step.w if step.load else scratchpad[step.idx]
        if step.keep:
            scratchpad[step.idx] = step.w
        groups = w.reshape(cfg.operand_sets, cfg.operand_cols, TAPS)
        sums = np.concatenate([g @ x for g, x in zip(groups, step.x, strict=True)])
        acc = (0 if step.first else acc) + sums
        if step.last:
            found.append(Acc(wrap(acc, cfg.acc_nbits), step.pool_first, step.pool_last))
    return found


def constant_steps(cfg: AccelConfig, count: int, x: int, w: int) -> list[Step]:
    """One accumulation of the same step; only the first one loads its weights."""
    xs, ws = np.full((cfg.operand_sets, TAPS), x), np.full((cfg.num_cols, TAPS), w)
    other = np.full_like(ws, 77)
    return [
        Step(xs, ws, 0, 1, 1, 1, int(count == 1), 1, 0)
        if i == 0
        else Step(xs, other, 0, 0, 0, 0, int(i == count - 1), 1, 0)
        for i in range(count)
    ]


def ramp(cfg: AccelConfig) -> list[Step]:
    """Every weight differs from its neighbours, so that no two taps or columns can be swapped."""
    w = np.arange(cfg.num_cols * TAPS).reshape(cfg.num_cols, TAPS) * 37 % 256 - 128
    shape = cfg.operand_sets, TAPS
    num_taps = cfg.operand_sets * TAPS
    ones = np.eye(num_taps, dtype=np.int64).reshape(num_taps, *shape)
    taps = [Step(one, w, 0, 1, 0, 1, 1, t % 2, 1) for t, one in enumerate(ones)]
    return [*taps, Step(np.arange(num_taps).reshape(shape) * 29 % 256, w, 0, 1, 0, 1, 1, 0, 0)]


def scratchpad_sweep(cfg: AccelConfig) -> list[Step]:
    """Fills every entry, then reads them all in another order."""

    def step(idx: int, load: int) -> Step:
        w = np.full((cfg.num_cols, TAPS), idx - 8) if load else np.full((cfg.num_cols, TAPS), 99)
        x = np.arange(cfg.operand_sets * TAPS).reshape(-1, TAPS)
        return Step(x, w, idx, load, load, 1, 1, 0, 0)

    depth = range(cfg.spad_depth)
    return [*(step(i, 1) for i in depth), *(step(i, 0) for i in reversed(depth))]


CASES = {
    "largest": lambda cfg: constant_steps(cfg, 1, 255, 127),
    "smallest": lambda cfg: constant_steps(cfg, 1, 255, -128),
    "both lowest": lambda cfg: constant_steps(cfg, 1, -128, -128),
    "zeros": lambda cfg: constant_steps(cfg, 2, 0, -128),
    # 100 * 9 * 255 * 128 = 29,376,000: beyond 2**24, and wraps in 24 bits
    "long negative": lambda cfg: constant_steps(cfg, 100, 255, -128),
    "long positive": lambda cfg: constant_steps(cfg, 100, 255, 127),
    "ramp": ramp,
    "scratchpad": scratchpad_sweep,
}


@pytest.mark.parametrize("stall", [0, 1, 3])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("level", LEVELS)
def test_chosen(simulators: Simulators, level: str, case: str, stall: int) -> None:
    cfg = WIDE if case in ("ramp", "scratchpad") else SMALL
    messages = CASES[case](cfg)
    sums = oracle(cfg, messages)
    inputs = {"step": [(m, stall % 2) for m in messages]}
    run(simulators(LEVELS[level], cfg), inputs, {"acc": sums}, {"acc": [stall] * len(sums)})


@pytest.mark.parametrize("level", LEVELS)
@more_examples(4)
@given(data=st.data())
def test_random(simulators: Simulators, level: str, data: st.DataObject) -> None:
    cfg = data.draw(st.sampled_from(CONFIGS[:4] if simulators.verilated else CONFIGS))
    messages = data.draw(steps(cfg))
    sums = oracle(cfg, messages)
    inputs, stalls = {"step": data.draw(delayed(messages))}, {"acc": data.draw(waits(len(sums)))}
    run(simulators(LEVELS[level], cfg), inputs, {"acc": sums}, stalls)


@more_examples(2)
@given(data=st.data())
def test_timing(simulators: Simulators, data: st.DataObject) -> None:
    """CL and RTL agree on the cycle of every transfer."""
    cfg = data.draw(st.sampled_from(CONFIGS[:4] if simulators.verilated else CONFIGS))
    messages = data.draw(steps(cfg, max_steps=20))
    sums = oracle(cfg, messages)
    inputs, stalls = {"step": data.draw(delayed(messages))}, {"acc": data.draw(waits(len(sums)))}
    cl, rtl = (
        run(simulators(LEVELS[level], cfg), inputs, {"acc": sums}, stalls)
        for level in ("cl", "rtl")
    )
    assert cl.timing == rtl.timing


@pytest.mark.parametrize("level", ["cl", "rtl"])
def test_latency_and_throughput(simulators: Simulators, level: str) -> None:
    messages = [step._replace(last=1, load=1) for step in constant_steps(SMALL, 20, 3, 4)]
    inputs = {"step": [(m, 0) for m in messages]}
    timing = run(simulators(LEVELS[level], SMALL), inputs, {"acc": oracle(SMALL, messages)}).timing
    assert timing["step"] == list(range(20))
    assert timing["acc"] == [cycle + PE_ARRAY_LATENCY for cycle in range(20)]


@cache
def prepared_array() -> Any:
    """PyMTL3's own simulation, whose inner signals can be looked at."""
    return prepare(PEArrayRTL(GATED))


@given(data=st.data())
def test_zero_activations_switch_no_multiplier(data: st.DataObject) -> None:
    """While its activation is zero, both inputs of a tap's multipliers keep what they hold."""
    cfg, top = GATED, prepared_array()
    top.sim_reset()
    top.acc.rdy @= 1
    top.step.val @= 1

    def inputs() -> dict[tuple[int, int], tuple[int, ...]]:
        """Of all multipliers, by column and tap."""
        return {
            (c, 3 * r + i): (
                int(getattr(row[c], f"multiplier{i}").activation),
                int(getattr(row[c], f"multiplier{i}").weight),
            )
            for c in range(cfg.num_cols)
            for r, row in enumerate((top.row0, top.row1, top.row2))
            for i in range(3)
        }

    for step in data.draw(steps(cfg)):
        top.step.msg @= pack(cfg, step)
        top.sim_eval_combinational()
        before = inputs()
        top.sim_edge()
        after = inputs()
        for (c, t), held in before.items():
            x = int(step.x[c // cfg.operand_cols, t])
            if x == 0:
                assert after[c, t] == held
            else:
                assert after[c, t][0] == x & 0x1FF


@pytest.mark.parametrize("level", LEVELS)
def test_reset_in_flight(simulators: Simulators, level: str) -> None:
    """Each run begins with a reset; it drops what an earlier run left in the pipeline."""
    messages = scratchpad_sweep(SMALL) + ramp(SMALL)
    inputs = {"step": [(m, 0) for m in messages]}
    sim = simulators(LEVELS[level], SMALL)
    with pytest.raises(HarnessError, match="after its last message"):
        run(sim, inputs, {"acc": []})
    run(sim, inputs, {"acc": oracle(SMALL, messages)})
