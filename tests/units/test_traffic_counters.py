"""What the traffic counters count, against plain sums."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import ACT_NBITS, TAPS, AccelConfig, base
from accel.hardware.messages import pack_ints
from accel.hardware.status import TRAFFIC
from rtl_models.traffic_counters import TrafficCountersRTL
from tests.harness import Simulator, Simulators
from tests.strategies import more_examples

CFG = dataclasses.replace(base, num_cols=4, pixel_groups=2, num_lanes=1, max_layers=3)
CONFIGS = [
    CFG,
    dataclasses.replace(CFG, pixel_groups=1, zero_gating=False),
    dataclasses.replace(CFG, pixel_groups=4),
    dataclasses.replace(CFG, line_width=4),
    dataclasses.replace(CFG, adder=True),
    dataclasses.replace(CFG, line_width=4, adder=True),
]
QUIET = {"clear": 0, "step": 0, "num_taken": 0}


def counted(sim: Simulator, cfg: AccelConfig) -> list[list[int]]:
    found = []
    for layer in range(cfg.max_layers):
        sim.settle(QUIET | {"layer": layer})
        found.append([sim.read(name) for name in TRAFFIC])
        sim.edge()
    return found


def clear(sim: Simulator, layer: int) -> None:
    sim.clock(QUIET | {"clear": 1, "clear_layer": layer})


@more_examples(2)
@given(data=st.data())
def test_traffic_counters(simulators: Simulators, data: st.DataObject) -> None:
    """Steps and outputs in any cycles, of layers that are not the same; a layer that is loaded
    anew begins at zero, and the others go on. Zeros are counted where the array multiplies: not
    of a window that is not used, nor of what is added."""
    cfg = CFG if simulators.verilated else data.draw(st.sampled_from(CONFIGS))
    sim = simulators(TrafficCountersRTL, cfg)
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    num_taps, num_operands = cfg.pixel_groups * TAPS, cfg.operand_sets * TAPS
    kind = ("used",) if cfg.line_width else ("operand",) if cfg.adder else ()
    sim.settle(QUIET)
    sim.reset()
    for layer in range(cfg.max_layers):
        clear(sim, layer)
    expected = np.zeros((cfg.max_layers, len(TRAFFIC)), int)
    for _ in range(2):
        for _ in range(data.draw(st.integers(0, 30))):
            step, load = rng.integers(2, size=2)
            layer, out_layer = rng.integers(cfg.max_layers, size=2)
            reads = rng.integers(2, size=num_taps) | rng.integers(2)
            x = rng.choice([0, 0, 1, -1, 255, -256], num_operands)
            flags = {name: int(rng.integers(2)) for name in kind}
            multiplied = flags.get("used", 1) and not flags.get("operand", 0)
            num_taken = int(rng.choice([0, 1, 8]))
            sim.clock({
                "clear": 0, "step": int(step), "step_layer": int(layer), "load": int(load),
                "reads": pack_ints(reads, 1), "x": pack_ints(x, ACT_NBITS),
                "out_layer": int(out_layer), "num_taken": num_taken, **flags,
            })  # fmt: skip
            gated = np.sum(x == 0) if cfg.zero_gating and multiplied else 0
            expected[layer] += step * np.array([load, reads.sum(), gated, 0])
            expected[out_layer][-1] += num_taken
        for _ in range(3):
            sim.clock(QUIET)
        assert counted(sim, cfg) == expected.tolist()
        again = data.draw(st.integers(0, cfg.max_layers - 1))
        clear(sim, again)
        expected[again] = 0
        assert counted(sim, cfg) == expected.tolist()
