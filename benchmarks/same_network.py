"""The same network on 72 multipliers: cycles of ours, of SCALE-Sim's arrays, and as quoted."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from accel.hardware.config import base
from benchmarks import scalesim
from benchmarks.common import BLUE, GREEN, GREY, ORANGE, Table, each, network, run

NUM_IMAGES = 1000
ARRAYS = ((9, 8), (8, 9))
OURS, BEST = "**this project, measured**", "SCALE-Sim, best of these three"

QUOTED = (
    ("NNgen 1.3.4, 128-bit AXI, the best of three settings", 72, 18_809, 246_792),
    ("NNgen 1.3.4, 32-bit AXI, ideal memory", 72, 31_065, 246_792),
    ("NNgen 1.3.4, 32-bit AXI", 72, 38_833, 246_792),
    ("NNgen 1.3.4, 128-bit AXI", 144, 14_673, 246_792),
    ("NNgen 1.3.4 as it comes", 9, 118_209, 246_792),
    ("student design, one of six kernels of conv1", 72, 263, 7_056),
)
"""Design, multipliers, cycles, multiply-accumulates: measured once with the same network."""


def measure() -> dict[str, Any]:
    ours = run("verilator", NUM_IMAGES)
    assert ours.spent is not None, "only level fl has no cycles"
    layers = ours.program.layers
    arrays = [(dataflow, h, w) for h, w in ARRAYS for dataflow in scalesim.DATAFLOWS]
    return {
        "images": NUM_IMAGES,
        "multipliers": base.num_multipliers,
        "layers": [layer.name for layer in layers],
        "kinds": [layer.kind for layer in network().layers],
        "macs": [layer.macs for layer in layers],
        "steps": [layer.steps for layer in layers],
        "cycles": [float(cycles) for cycles in ours.spent.sum(axis=1)],
        "scalesim": {
            f"{dataflow} {height}x{width}": scalesim.simulate(network(), dataflow, height, width)
            for dataflow, height, width in each("SCALE-Sim", arrays)
        },
        "quoted": QUOTED,
    }


def _rows(part: dict[str, Any]) -> dict[str, list[float]]:
    """Cycles of each layer, by design."""
    floor = [macs / part["multipliers"] for macs in part["macs"]]
    rows = {"floor": floor, "this project, its mapping": part["steps"], OURS: part["cycles"]}
    one_way = {key: cycles for key, cycles in part["scalesim"].items() if key.endswith("9x8")}
    for key, cycles in one_way.items():
        rows[f"SCALE-Sim, {scalesim.DATAFLOWS[key.split()[0]]}"] = cycles
    for name, designs in ((BEST, one_way), ("SCALE-Sim, best of all six", part["scalesim"])):
        rows[name] = [min(layer) for layer in zip(*designs.values(), strict=True)]
    return rows


def _convolutions(part: dict[str, Any], design: str) -> float:
    """Cycles of the convolutions alone."""
    kinds = zip(part["kinds"], _rows(part)[design], strict=True)
    return sum(cycles for kind, cycles in kinds if kind == "conv2d")


def _use(part: dict[str, Any], cycles: float) -> float:
    return sum(part["macs"]) / (cycles * part["multipliers"])


def fill(part: dict[str, Any]) -> dict[str, Table | str]:
    designs = _rows(part)
    rows: list[list[str | int]] = [
        [name, *map(math.ceil, [*cycles, sum(cycles)]), f"{_use(part, sum(cycles)):.1%}"]
        for name, cycles in designs.items()
    ]
    quoted = [
        [name, multipliers, cycles, f"{macs / cycles / multipliers:.1%}"]
        for name, multipliers, cycles, macs in part["quoted"]
    ]
    return {
        "same_network": Table(("", *part["layers"], "image", "use"), rows),
        "same_network_quoted": Table(("", "multipliers", "cycles", "use"), quoted),
        "same_network_images": f"{part['images']:,}",
        "same_network_times": f"{sum(designs[BEST]) / sum(designs[OURS]):.1f}",
        "same_network_linear": f"{1 - _convolutions(part, BEST) / sum(designs[BEST]):.0%}",
        "same_network_conv_times": f"{_convolutions(part, BEST) / _convolutions(part, OURS):.1f}",
    }


def draw(part: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    axis = figure.subplots()
    totals: list[float] = []
    for name, cycles in _rows(part).items():
        left = 0.0
        for i, layer in enumerate(cycles):
            label = part["layers"][i] if not totals else None
            colour = (BLUE, ORANGE, GREEN, "#a14e8a", "#5b5b5b")[i % 5]
            axis.barh(name.replace("**", ""), layer, left=left, color=colour, label=label)
            left += layer
        totals.append(left)
    for name, multipliers, total, macs in part["quoted"]:
        if multipliers == part["multipliers"] and macs == sum(part["macs"]):
            axis.barh(f"{name} (quoted)", total, color=GREY)
            totals.append(total)
    for i, total in enumerate(totals):
        text = f" {math.ceil(total):,} ({_use(part, total):.0%})"
        axis.annotate(text, (total, i), va="center", fontsize=9)
    axis.set_title(f"one image on {part['multipliers']} multipliers: cycles (multipliers in use)")
    axis.xaxis.set_major_formatter("{x:,g}")
    axis.set_xlabel("cycles")
    axis.invert_yaxis()
    axis.margins(x=0.16)
    axis.legend(loc="upper right")
    return figure
