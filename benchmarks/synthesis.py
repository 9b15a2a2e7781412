"""Writes the figures of docs/synthesis.md anew, by ``make synth``: an hour or more. A section's
name after ``python -m benchmarks.synthesis`` does that one only."""

from __future__ import annotations

import re
import sys

from accel import files
from accel.config import PRESETS
from accel.errors import AccelError
from accel.synthesis import FIGURES, Synthesis, find_target, synthesize
from accel.translation import module_name, translate
from benchmarks.common import ROOT

DOC = ROOT / "docs" / "synthesis.md"
CELLS = "/usr/share/qflow/tech/osu018/osu018_stdcells.lib"
SECTIONS = {
    "ecp5": [("tiny", "ecp5", 1), ("base", "ecp5", 5), ("wide", "ecp5", 1)],
    "ecp5-25k": [("tiny", "ecp5-25k", 1)],
    "ice40": [("tiny", "ice40", 1)],
    "osu018": [(config, CELLS, 0) for config in PRESETS],
}
"""Configuration, target and seeds of each row of each table."""


def main() -> None:
    """Fill in what is between the markers of each section."""
    text = DOC.read_text(encoding="utf-8")
    chosen = sys.argv[1:] or list(SECTIONS)
    if not set(chosen) <= set(SECTIONS):
        sys.exit(f"error: expected some of {', '.join(SECTIONS)}, not {' '.join(chosen)}")
    try:
        files.check_writable(DOC)
        if "osu018" in chosen:
            find_target(CELLS)
        for section in chosen:
            marker, end = f"<!-- {section} -->\n", "<!-- end -->"
            before, _, rest = text.partition(marker)
            _, _, after = rest.partition(end)
            text = "\n".join([before + marker, *_section(SECTIONS[section]), end + after])
        files.write(DOC, text)
    except AccelError as e:
        sys.exit(f"error: {e}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; no file was left half-written")


def _section(runs: list[tuple[str, str, int]]) -> list[str]:
    found: list[tuple[str, Synthesis, str]] = []
    notes, commands = [], []
    for config, target, seeds in runs:
        synthesis, excess = _run(config, target, seeds)
        fmax = synthesis.fmax_mhz
        found.append((config, synthesis, f"{fmax:.1f}" if fmax else "-"))
        notes += [f"`{config}`: {excess}.", ""] if excess else []
        options = [f"--seeds {seeds}"] if seeds > 1 else []
        options = ["--pnr", *options] if seeds else []
        commands.append(" ".join(["accel synth", f"--config {config} --target {target}", *options]))
    names = [name for name in FIGURES if name in found[0][1].whole]
    placed = any(seeds for _, _, seeds in runs)
    lines = ["```sh", *commands, "```", "", *_header("", names, placed)]
    lines += [_row(config, s.whole, names, [mhz] * placed) for config, s, mhz in found]
    lines += ["", *notes, f"{found[0][1].tools}.", ""]
    for config, synthesis, _ in found:
        if config == "base":
            lines += ["`base` by unit:", "", *_header("", names, False)]
            lines += [*(_row(unit, f, names, []) for unit, f in synthesis.units.items()), ""]
            if synthesis.runs:
                lines += ["```", *synthesis.summary(), "```", "", *_goals(synthesis), ""]
    return lines


def _goals(synthesis: Synthesis) -> list[str]:
    """What was asked of ``base``, and whether it is so."""
    whole, cfg = synthesis.whole, PRESETS["base"]
    multipliers = cfg.num_multipliers + 4 * cfg.num_lanes
    goals = [
        ("90 MHz, better 130", f"{synthesis.fmax_mhz:.1f} MHz", (synthesis.fmax_mhz or 0) >= 90),
        (
            "12,000 LUT4 with carry",
            f"{whole['lut4_with_carry']:,.0f}",
            whole["lut4_with_carry"] <= 12000,
        ),
        (
            f"all {multipliers} multipliers in DSPs",
            f"{whole['dsp']:,.0f}",
            whole["dsp"] >= multipliers,
        ),
        (
            "all memories in block RAM",
            f"{whole['distributed_ram']:,.0f} distributed RAMs",
            not whole["distributed_ram"],
        ),
    ]
    rows = [f"| {goal} | {is_} | {'yes' if met else '**no**'} |" for goal, is_, met in goals]
    return ["| goal for `base` | it is | met |", "|---|---|---|", *rows]


def _run(config: str, target: str, seeds: int) -> tuple[Synthesis, str]:
    """The synthesis, and why it was not placed if it does not fit."""
    cfg = PRESETS[config]
    design = translate(cfg), module_name(cfg), find_target(target)

    def say(done: int, total: int, what: str) -> None:
        print(f"{config} on {target}: {what} ({done} of {total})", flush=True)

    try:
        return synthesize(*design, num_seeds=seeds, progress=say), ""
    except AccelError as e:
        if not seeds or "does not fit" not in str(e):
            raise
        return synthesize(*design, progress=say), str(e).partition("; ")[0]


def _header(first: str, names: list[str], placed: bool) -> list[str]:
    titles = [re.sub(r"(?<=-)\n|\n(?=\+)", "", FIGURES[name]).replace("\n", " ") for name in names]
    titles += ["MHz"] * placed
    return [f"| {first} | {' | '.join(titles)} |", "|---|" + "---:|" * len(titles)]


def _row(first: str, figures: dict[str, float], names: list[str], more: list[str]) -> str:
    return f"| {' | '.join([first, *(f'{figures[name]:,.0f}' for name in names), *more])} |"


if __name__ == "__main__":
    main()
