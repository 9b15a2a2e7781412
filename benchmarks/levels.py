"""Images and cycles a second of every level, one process each."""

from __future__ import annotations

from typing import Any

from benchmarks.common import Spread, Table, each, run

NUM_IMAGES = {"fl": 1000, "cl": 40, "rtl": 3, "verilator": 1000}
REPETITIONS = 3


def measure() -> dict[str, Any]:
    run("verilator", 1)  # built before anything is measured
    part: dict[str, Any] = {level: {"images": n, "seconds": []} for level, n in NUM_IMAGES.items()}
    # One after the other, and again, so that a slow minute of the machine meets all of them.
    for level in each("levels", [*NUM_IMAGES] * REPETITIONS):
        done = run(level, NUM_IMAGES[level], jobs=1)
        part[level]["seconds"].append(done.seconds)
        part[level] |= {"cycles": done.cycles, "cycles_per_image": done.cycles_per_image}
    return part


def fill(part: dict[str, Any]) -> dict[str, Table | str]:
    rows, speed = [], {}
    for name, level in part.items():
        images = Spread.of([level["images"] / s for s in level["seconds"]])
        cycles = ""
        if level["cycles"] is not None:
            rate = Spread.of([level["cycles"] / s for s in level["seconds"]])
            cycles, speed[name] = rate.text(",.0f"), rate.median
            # Once the program is loaded, which takes cycles.
            images = Spread(*(cycles / level["cycles_per_image"] for cycles in rate))
        seconds = Spread.of(level["seconds"]).text()
        per_second = images.text(",.0f" if images.median >= 10 else ".2f")
        rows.append([name, level["images"], seconds, per_second, cycles])
    header = ("level", "images run", "seconds", "images a second", "cycles a second")
    return {
        "levels": Table(header, rows),
        "levels_cl_rtl": f"{speed['cl'] / speed['rtl']:,.0f}",
        "levels_verilator_rtl": f"{speed['verilator'] / speed['rtl']:,.0f}",
        "levels_repetitions": str(len(part["fl"]["seconds"])),
    }
