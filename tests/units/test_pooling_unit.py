"""The pooling unit, at all levels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import AccelConfig, base
from accel.hardware.messages import Acc, Pooled
from cl_models.pooling_unit import PoolingUnitCL
from fl_models.pooling_unit import PoolingUnitFL
from rtl_models.pooling_unit import PoolingUnitRTL
from tests.harness import HarnessError, Simulators, run
from tests.strategies import delayed, more_examples, pooling_windows, waits

LEVELS = {"fl": PoolingUnitFL, "cl": PoolingUnitCL, "rtl": PoolingUnitRTL}


def config(num_cols: int, acc_nbits: int) -> AccelConfig:
    return dataclasses.replace(base, num_cols=num_cols, num_lanes=1, acc_nbits=acc_nbits)


# The first three are those that --test-verilog builds.
CONFIGS = [config(3, 20), config(1, 25), config(16, 32), config(2, 24), config(8, 26)]


def oracle(messages: list[Acc]) -> list[Pooled]:
    found, window = [], []
    for message in messages:
        window = [message.acc] if message.pool_first else [*window, message.acc]
        if message.pool_last:
            found.append(Pooled(np.max(window, axis=0)))
    return found


def window(cfg: AccelConfig, *values: int) -> list[Acc]:
    """One window; columns see the values rotated, so that they differ."""
    last = len(values) - 1
    return [
        Acc(
            np.array([values[(i + c) % len(values)] for c in range(cfg.num_cols)]),
            i == 0,
            i == last,
        )
        for i in range(len(values))
    ]


HIGH, LOW = (1 << 19) - 1, -(1 << 19)
CASES = {
    "alone": [[5], [-5], [0], [LOW], [HIGH]],
    "rising": [[1, 2, 3, 4]],
    "falling": [[4, 3, 2, 1]],
    "negative": [[-4, -3, -2, -1], [-1, -2, -3, -4]],
    "across zero": [[-1, 0, 1, 0], [0, -1, 0, -1]],
    "extremes": [[LOW, HIGH, LOW, HIGH], [LOW] * 4, [HIGH] * 4, [LOW, LOW + 1]],
    "equal": [[7, 7, 7, 7]],
    # Each bit decides, below the same and above anything: what a synthesized comparator divides.
    "each bit": [
        [a & ~(1 << k), a | 1 << k][:: 1 if a % 2 else -1]
        for k in range(19)
        for a in (HIGH, LOW, 0x2AAAA, LOW | 0x15555, 0x33CC3, LOW | 0x4C3C4)
    ],
    # What an earlier window left must not show.
    "forgets": [[HIGH, HIGH], [LOW, LOW], [-9]],
}


@pytest.mark.parametrize("stall", [0, 1, 3])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("level", LEVELS)
def test_chosen(simulators: Simulators, level: str, case: str, stall: int) -> None:
    cfg = CONFIGS[0]
    messages = [message for values in CASES[case] for message in window(cfg, *values)]
    pooled = oracle(messages)
    inputs = {"acc": [(m, stall % 2) for m in messages]}
    stalls = {"pooled": [stall] * len(pooled)}
    run(simulators(LEVELS[level], cfg), inputs, {"pooled": pooled}, stalls)


@pytest.mark.parametrize("level", LEVELS)
@more_examples(4)
@given(data=st.data())
def test_random(simulators: Simulators, level: str, data: st.DataObject) -> None:
    cfg = data.draw(st.sampled_from(CONFIGS[:3] if simulators.verilated else CONFIGS))
    messages = data.draw(pooling_windows(cfg))
    pooled = oracle(messages)
    inputs = {"acc": data.draw(delayed(messages))}
    stalls = {"pooled": data.draw(waits(len(pooled)))}
    run(simulators(LEVELS[level], cfg), inputs, {"pooled": pooled}, stalls)


@more_examples(4)
@given(data=st.data())
def test_timing(simulators: Simulators, data: st.DataObject) -> None:
    """CL and RTL agree on the cycle of every transfer."""
    cfg = data.draw(st.sampled_from(CONFIGS[:3] if simulators.verilated else CONFIGS))
    messages = data.draw(pooling_windows(cfg))
    pooled = oracle(messages)
    inputs = {"acc": data.draw(delayed(messages))}
    stalls = {"pooled": data.draw(waits(len(pooled)))}
    cl, rtl = (
        run(simulators(LEVELS[level], cfg), inputs, {"pooled": pooled}, stalls)
        for level in ("cl", "rtl")
    )
    assert cl.timing == rtl.timing


@pytest.mark.parametrize("level", ["cl", "rtl"])
def test_latency_and_throughput(simulators: Simulators, level: str) -> None:
    cfg = CONFIGS[0]
    messages = [message for i in range(20) for message in window(cfg, i)]
    inputs = {"acc": [(m, 0) for m in messages]}
    timing = run(simulators(LEVELS[level], cfg), inputs, {"pooled": oracle(messages)}).timing
    assert timing["acc"] == list(range(20))
    assert timing["pooled"] == list(range(1, 21))


@pytest.mark.parametrize("level", LEVELS)
def test_reset_in_flight(simulators: Simulators, level: str) -> None:
    """Each run begins with a reset; it drops what an earlier run left in the unit."""
    cfg = CONFIGS[0]
    messages = [message for i in range(5) for message in window(cfg, i, -i)]
    inputs = {"acc": [(m, 0) for m in messages]}
    sim = simulators(LEVELS[level], cfg)
    with pytest.raises(HarnessError, match="after its last message"):
        run(sim, inputs, {"pooled": []})
    run(sim, inputs, {"pooled": oracle(messages)})
