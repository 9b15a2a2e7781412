"""How time grows with the number of images."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from benchmarks import common
from benchmarks.common import BLUE, GREEN, ORANGE, Spread, Table, each, run

COUNTS = {
    "fl": (10, 100, 1000, 10_000),
    "cl": (10, 100, 1000),
    "verilator": (10, 100, 1000, 10_000),
}
REPETITIONS = 3
COLOURS = {"fl": GREEN, "cl": ORANGE, "verilator": BLUE}


def measure() -> dict[str, Any]:
    run("verilator", 1)  # built before anything is measured
    seconds: dict[str, dict[int, list[float]]] = {
        level: {n: [] for n in counts} for level, counts in COUNTS.items()
    }
    runs = [(level, n) for level, counts in COUNTS.items() for n in counts] * REPETITIONS
    for level, n in each("images", runs):
        seconds[level][n].append(run(level, n).seconds)
    return {
        "different_images": len(common.different_images()),
        # Lists, since JSON has no numbers as keys.
        "seconds": {level: list(of.items()) for level, of in seconds.items()},
    }


def fill(part: dict[str, Any]) -> dict[str, Table | str]:
    rows = [
        [level, n, Spread.of(times).text(",.3f"), f"{n / Spread.of(times).median:,.0f}"]
        for level, of in part["seconds"].items()
        for n, times in of
    ]
    return {
        "images": Table(("level", "images", "seconds", "images a second"), rows),
        "images_different": f"{part['different_images']:,}",
    }


def draw(part: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for level, of in part["seconds"].items():
        counts = [n for n, _ in of]
        rates = [[n / s for s in times] for n, times in of]
        for axis, values in ((left, [times for _, times in of]), (right, rates)):
            medians, least, most = zip(*map(Spread.of, values), strict=True)
            axis.plot(counts, medians, "o-", color=COLOURS[level], label=level)
            axis.vlines(counts, least, most, color=COLOURS[level])
    for axis, title in ((left, "seconds"), (right, "images a second")):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_major_formatter("{x:,g}")
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.set_title(title)
        axis.set_xlabel("images")
        axis.grid(alpha=0.3)
        axis.legend()
    return figure
