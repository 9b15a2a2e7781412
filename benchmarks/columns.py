"""Cycles an image against the number of columns, with and without pixel groups."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from matplotlib.figure import Figure

from accel.hardware.config import AccelConfig, base
from benchmarks.common import BLUE, GREY, ORANGE, Table, each, run

NUM_IMAGES = 20
# Lanes: so many that the requantizer is not what limits.
SIZES: dict[int, dict[str, Any]] = {
    2: {"num_lanes": 1, "weight_depth": 4608},
    4: {"num_lanes": 2, "weight_depth": 2560},
    8: {"num_lanes": 2, "weight_depth": 2048},
    16: {"num_lanes": 4, "weight_depth": 1024},
    32: {"num_lanes": 8, "weight_depth": 512},
}
GROUPS = {2: (1,), 4: (1,), 8: (1,), 16: (1, 2), 32: (1, 4)}


def configurations() -> list[AccelConfig]:
    """Each width, and those that gain from pixel groups with them as well."""
    return [
        dataclasses.replace(base, num_cols=columns, pixel_groups=groups, **SIZES[columns])
        for columns in SIZES
        for groups in GROUPS[columns]
    ]


def measure() -> dict[str, Any]:
    points = []
    for cfg in each("columns", configurations()):
        done = run("verilator", NUM_IMAGES, cfg=cfg)
        points.append(
            {
                "columns": cfg.num_cols,
                "pixel_groups": cfg.pixel_groups,
                "config": str(cfg),
                "multipliers": cfg.num_multipliers,
                "macs": done.program.macs,
                "steps": done.program.steps,
                "cycles": done.cycles_per_image,
            }
        )
    return {"images": NUM_IMAGES, "points": points}


def fill(part: dict[str, Any]) -> dict[str, Table | str]:
    rows, gains, over = [], [], []
    alone: dict[int, float] = {}
    for p in part["points"]:
        columns, groups, steps, cycles = (
            p[key] for key in ("columns", "pixel_groups", "steps", "cycles")
        )
        floor = p["macs"] / p["multipliers"]
        name = str(columns) if groups == 1 else f"{columns} in {groups} groups"
        shares = [f"{cycles / steps - 1:.1%}", f"{floor / cycles:.1%}"]
        rows.append([name, p["multipliers"], math.ceil(floor), steps, round(cycles), *shares])
        over.append(cycles - steps)
        # The points without groups come first.
        before = alone.setdefault(columns, cycles)
        if groups > 1:
            gains.append(f"{name}: {cycles:,.0f} cycles instead of {before:,.0f}")
    header = ("columns", "multipliers", "floor", "mapping", "measured", "over mapping", "use")
    return {
        "columns": Table(header, rows),
        "columns_images": str(part["images"]),
        "columns_over": f"{min(over):,.0f} to {max(over):,.0f}",
        "columns_gain": "; ".join(gains),
    }


def draw(part: dict[str, Any]) -> Figure:
    """Lines: without groups, and with as many as each width gains from."""
    plain = [p for p in part["points"] if p["pixel_groups"] == 1]
    best = {p["columns"]: p for p in part["points"]}
    lines = (("one pixel at a time", plain, ORANGE), ("with pixel groups", best.values(), BLUE))

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    columns = [p["columns"] for p in plain]
    floors = [p["macs"] / p["multipliers"] for p in plain]
    left.plot(columns, floors, ":", color=GREY, label="floor: all multipliers busy")
    for label, points, colour in lines:
        steps, cycles = [p["steps"] for p in points], [p["cycles"] for p in points]
        left.plot(columns, steps, "--", color=colour, label=f"mapping, {label}")
        left.plot(columns, cycles, "o", color=colour, label=f"measured, {label}")
        for style, values in (("--", steps), ("o-", cycles)):
            use = [100 * floor / value for floor, value in zip(floors, values, strict=True)]
            what = "mapping" if style == "--" else "measured"
            right.plot(columns, use, style, color=colour, label=f"{what}, {label}")
    left.set_yscale("log", base=2)
    left.set_yticks([1000 * 2**i for i in range(5)])
    left.yaxis.set_major_formatter("{x:,g}")
    left.set_title("cycles an image")
    right.set_ylim(0, 105)
    right.set_title("multipliers in use (%)")
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_xticks(columns, [str(n) for n in columns])
        axis.set_xlabel("columns of 9 multipliers")
        axis.grid(alpha=0.3)
        axis.legend()
    return figure
