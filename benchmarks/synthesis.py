"""Synthesizes the presets for ``make synth``: figures into docs/synthesis.json, and from them the
tables and the plot of docs/synthesis.md. An hour or more; a section's name after ``python -m
benchmarks.synthesis`` measures that one only, and ``text`` writes the document from what is there.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from matplotlib.figure import Figure

from accel import files
from accel.errors import AccelError
from accel.hardware.config import PRESETS
from accel.verilog.synthesis import FIGURES, find_target, synthesize
from accel.verilog.translation import module_name, translate
from benchmarks import common
from benchmarks.common import BLUE, GREEN, ROOT

DOC = ROOT / "docs" / "synthesis.md"
DATA = ROOT / "docs" / "synthesis.json"
PLOT = ROOT / "docs" / "images" / "area.png"
CELLS = "/usr/share/qflow/tech/osu018/osu018_stdcells.lib"
SECTIONS = {
    "ecp5": [("tiny", "ecp5", 1), ("base", "ecp5", 5), ("wide", "ecp5", 1)],
    "ecp5-25k": [("tiny", "ecp5-25k", 1)],
    "ice40": [("tiny", "ice40", 1)],
    "osu018": [(config, CELLS, 0) for config in PRESETS],
}
"""Configuration, target and seeds of each row of each table."""

Record = dict[str, Any]
"""What ``accel synth --json`` writes, with ``cycles_per_image`` of the bundled network at level cl,
and ``excess``, why it was not placed, if it does not fit."""


def main() -> None:
    """Measure the sections that are named, or all; then write the document."""
    chosen = sys.argv[1:] or list(SECTIONS)
    if not set(chosen) <= {*SECTIONS, "text"}:
        sys.exit(f"error: expected some of {', '.join(SECTIONS)}, text, not {' '.join(chosen)}")
    try:
        for file in (DOC, DATA, PLOT):
            files.check_writable(file)
        if "osu018" in chosen:
            find_target(CELLS)
        records = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
        for config, target, seeds in (run for name in chosen for run in SECTIONS.get(name, [])):
            records[_key(config, target)] = _measure(config, target, seeds)
            # After each, so that an interruption costs one.
            files.write(DATA, json.dumps(records, indent=1) + "\n")
        _write(records)
    except AccelError as e:
        sys.exit(f"error: {e}")
    except KeyboardInterrupt:
        sys.exit(f"error: interrupted; {DATA} has what was measured before")


def _key(config: str, target: str) -> str:
    return f"{config} {find_target(target).name if target in SECTIONS else 'osu018'}"


def _measure(config: str, target: str, seeds: int) -> Record:
    cfg = PRESETS[config]
    design = translate(cfg), module_name(cfg), find_target(target)

    def say(done: int, total: int, what: str) -> None:
        print(f"{config} on {target}: {what} ({done} of {total})", flush=True)

    excess = ""
    try:
        synthesis = synthesize(*design, num_seeds=seeds, progress=say)
    except AccelError as e:
        if not seeds or "does not fit" not in str(e):
            raise
        excess = str(e).partition("; ")[0]
        synthesis = synthesize(*design, progress=say)
    cycles = common.run("cl", 10, cfg=cfg).cycles_per_image
    summary = synthesis.summary()
    return synthesis.record() | {"cycles_per_image": cycles, "excess": excess, "summary": summary}


def _write(records: dict[str, Record]) -> None:
    """Fill in what is between the markers of each section, for the presets that were measured."""
    text = DOC.read_text(encoding="utf-8")
    for section, runs in SECTIONS.items():
        runs = [run for run in runs if _key(run[0], run[1]) in records]
        if runs:
            marker, end = f"<!-- {section} -->\n", "<!-- end -->"
            before, _, rest = text.partition(marker)
            _, _, after = rest.partition(end)
            text = "\n".join([before + marker, *_section(runs, records), end + after])
    files.write(DOC, text)
    _draw(records)


def _section(runs: list[tuple[str, str, int]], records: dict[str, Record]) -> list[str]:
    found = [(config, records[_key(config, target)]) for config, target, _ in runs]
    commands = []
    for config, target, seeds in runs:
        options = ["--pnr"] * bool(seeds) + [f"--seeds {seeds}"] * (seeds > 1)
        commands.append(" ".join(["accel synth", f"--config {config} --target {target}", *options]))
    names = [name for name in FIGURES if name in found[0][1]["whole"]]
    placed = any(seeds for _, _, seeds in runs)
    lines = ["```sh", *commands, "```", "", *_header("", names, placed)]
    for config, record in found:
        mhz, cycles = record["fmax_mhz"], record["cycles_per_image"]
        speed = [f"{mhz:.1f}", f"{1e6 * mhz / cycles:,.0f}"] if mhz else ["-", "-"]
        lines.append(_row(config, record["whole"], names, speed * placed))
    lines.append("")
    for config, record in found:
        lines += [f"`{config}`: {record['excess']}.", ""] if record["excess"] else []
    if placed:
        lines += [
            "MHz: estimated by timing analysis, without pads. Images a second: that over the "
            "cycles an image takes in steady state, without a host.",
            "",
        ]
    lines += [f"{found[0][1]['tools']}.", ""]
    for config, record in found:
        if config == "base":
            lines += ["`base` by unit:", "", *_header("", names, False)]
            lines += [*(_row(unit, f, names, []) for unit, f in record["units"].items()), ""]
            if record["runs"]:
                lines += ["```", *record["summary"], "```", "", *_goals(record), ""]
    return lines


def _goals(record: Record) -> list[str]:
    """What was asked of ``base``, and whether it is so."""
    whole, cfg = record["whole"], PRESETS["base"]
    multipliers = cfg.num_multipliers + 4 * cfg.num_lanes
    luts = f"{whole['lut4_with_carry']:,.0f}"
    goals = [
        ("90 MHz, better 130", f"{record['fmax_mhz']:.1f} MHz", record["fmax_mhz"] >= 90),
        ("12,000 LUT4 with carry", luts, whole["lut4_with_carry"] <= 12000),
        (
            f"all {multipliers} multipliers in DSPs",
            f"{whole['dsp']:,.0f}",
            whole["dsp"] >= multipliers,
        ),
    ]
    rows = [f"| {goal} | {is_} | {'yes' if met else '**no**'} |" for goal, is_, met in goals]
    return ["| goal for `base` | it is | met |", "|---|---|---|", *rows]


def _draw(records: dict[str, Record]) -> None:
    """Area of ``base`` by unit, on the FPGA and in standard cells."""
    panels = [
        ("ecp5", "lut4_with_carry", "ECP5: LUT4, carry cells as two", BLUE),
        ("osu018", "area", "standard cells: um2, memories apart", GREEN),
    ]
    panels = [panel for panel in panels if f"base {panel[0]}" in records]
    if not panels:
        return
    figure = Figure(figsize=(5 * len(panels) + 1.5, 3.6), layout="constrained")
    for i, (target, name, title, colour) in enumerate(panels):
        units = records[f"base {target}"]["units"]
        order = sorted(units, key=lambda unit: units[unit][name])
        axes = figure.add_subplot(1, len(panels), i + 1)
        bars = axes.barh(order, [units[unit][name] for unit in order], color=colour)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    files.write(PLOT, common.png(figure))


def _header(first: str, names: list[str], placed: bool) -> list[str]:
    titles = [re.sub(r"(?<=-)\n|\n(?=\+)", "", FIGURES[name]).replace("\n", " ") for name in names]
    titles += ["MHz", "images a second"] * placed
    return [f"| {first} | {' | '.join(titles)} |", "|---|" + "---:|" * len(titles)]


def _row(first: str, figures: dict[str, float], names: list[str], more: list[str]) -> str:
    return f"| {' | '.join([first, *(f'{figures[name]:,.0f}' for name in names), *more])} |"


if __name__ == "__main__":
    main()
