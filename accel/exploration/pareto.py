"""What a sweep of the design space says: which configurations no other beats, and a plot of them.

Everything is minimised. A configuration beats another if it is at most as large in all objectives,
and smaller in one; those that none beats are the Pareto front.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray
from rich.table import Table

from accel.errors import AccelError
from accel.exploration.sweep import FAILED, FIELDS, MEASURED, WRONG, Row, Sweep
from accel.reports.tables import add_numbers, new_table
from accel.verilog.synthesis import FIGURES, Target

OBJECTIVES = {
    "cycles": "cycles an image",
    "latency_cycles": "cycles of latency",
    "time_us": "microseconds an image",
    "energy": "energy of an image (multiplications)",
    "multipliers": "multipliers",
    "storage_bytes": "bytes of memory",
    **{name: title.replace("-\n", "-").replace("\n", " ") for name, title in FIGURES.items()},
}
"""What can be minimised: columns of the file, and what they are called."""

PLOTS = (".png", ".svg", ".pdf")
FRONT, DOMINATED, INK, GRID = "#2f6db5", "#b9c2cc", "#1d2733", "#e4e8ee"
MANY_LABELS = 30
FEW = 4
"""Failed points that a terminal shows; the file has all."""
WIDE = 4
"""Ratio of largest to smallest above which an axis is logarithmic."""
_PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")


@dataclass(frozen=True)
class Candidate:
    """A configuration on which all networks run. values: of the objectives."""

    fields: dict[str, Any]
    values: tuple[float, ...]


def available(target: Target | None, placed: bool) -> list[str]:
    """The objectives that there are figures for: of synthesis only those of ``target``."""
    names = ["cycles", "latency_cycles", "energy", "multipliers", "storage_bytes"]
    if target is not None:
        names += target.figures
    return names + ["time_us"] * placed


def choose(text: str | None, target: Target | None, placed: bool) -> tuple[str, ...]:
    """The objectives that an option names, separated by commas; else time, or cycles where there is
    no clock frequency, against area, or multipliers where there is no synthesis, and energy.

    Raises :class:`AccelError` for one that there is no figure for, or fewer than two.
    """
    names = available(target, placed)
    if text is None:
        areas = [n for n in ("area", "lut4_with_carry", "lut4", "multipliers") if n in names]
        return ("time_us" if placed else "cycles"), areas[0], "energy"
    chosen = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in chosen:
        if name not in OBJECTIVES:
            raise AccelError(f"unknown objective '{name}': expected some of {', '.join(names)}")
        if name not in names:
            how = "--pnr" if name == "time_us" else "--synth with a target that has it"
            raise AccelError(f"objective {name} needs {how}; expected some of {', '.join(names)}")
    if len(chosen) < 2:
        raise AccelError("a front needs two objectives or more: name them, separated by commas")
    return chosen


def candidates(rows: Sequence[Row], objectives: Sequence[str]) -> list[Candidate]:
    """Of the rows of a sweep, the configurations that have all figures for all networks.

    A figure is the geometric mean over the networks: none of them weighs more for being larger.
    """
    by_fields: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        by_fields.setdefault(tuple(row[name] for name in FIELDS), []).append(row)
    found = []
    for fields, group in by_fields.items():
        if all(row["state"] == MEASURED for row in group):
            figures = [[row[name] for row in group] for name in objectives]
            values = tuple(_mean(numbers) for numbers in figures)
            found.append(Candidate(dict(zip(FIELDS, fields, strict=True)), values))
    return found


def _mean(numbers: list[float]) -> float:
    """The geometric mean, exact where all are equal."""
    if min(numbers) == max(numbers):
        return numbers[0]
    return float(np.exp(np.log(numbers).mean()))


def front(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of ``values``, (n, objectives), no other row beats: bool (n,)."""
    unbeaten = np.ones(len(values), bool)
    for i, row in enumerate(values):
        unbeaten[i] = not ((values <= row).all(axis=1) & (values < row).any(axis=1)).any()
    return unbeaten


class Outcome:
    """What came out of a sweep. objectives: columns of the file. values: those that were given to
    fields of the configuration.

    front: in the order of the first objective. others: those that are beaten. failed: rows of what
    cannot be. wrong: rows in which something differs. Both are of points and of checks. good:
    whether there is a front, nothing differs, and each check could be made.
    """

    def __init__(
        self, sweep: Sweep, objectives: Sequence[str], values: Mapping[str, Sequence[int | bool]]
    ) -> None:
        self.sweep, self.objectives = sweep, tuple(objectives)
        # What a point is called by: fields that were given one value do not tell them apart.
        self.swept = [name for name in values if len(values[name]) > 1] or list(values)
        # A check has no figures of its own, but one that fails is its point's.
        bad = [row for row in sweep.checks if row["state"] != MEASURED]
        rows = [*sweep.rows, *bad]
        self.wrong = [row for row in rows if row["state"] == WRONG]
        self.failed = [row for row in rows if row["state"] == FAILED]
        found = candidates(rows, objectives)
        figures = np.array([c.values for c in found], np.float64)
        unbeaten = front(figures.reshape(-1, len(objectives)))
        best = [c for c, keep in zip(found, unbeaten, strict=True) if keep]
        self.front = sorted(best, key=lambda c: c.values)
        self.others = [c for c, keep in zip(found, unbeaten, strict=True) if not keep]
        self.good = bool(self.front) and not self.wrong and not bad
        self.networks = list(dict.fromkeys(row["network"] for row in sweep.rows))

    def _places(self) -> dict[tuple[float, ...], list[Candidate]]:
        """The configurations of the front by their figures, which several may share."""
        found: dict[tuple[float, ...], list[Candidate]] = {}
        for candidate in self.front:
            found.setdefault(candidate.values, []).append(candidate)
        return found

    def table(self) -> Table:
        """The front for a terminal: what was swept, and the objectives."""
        shown = new_table("Pareto front", "")
        for name in self.swept:
            shown.add_column(_heading(name), justify="right")
        add_numbers(shown, *(_heading(name) for name in self.objectives))
        for number, (values, equal) in enumerate(self._places().items(), 1):
            cells = [
                ", ".join(dict.fromkeys(str(c.fields[name]).lower() for c in equal))
                for name in self.swept
            ]
            shown.add_row(str(number), *cells, *map(_text, values))
        shown.caption = (
            "No configuration is better in one of these and as good in the others: "
            + ", ".join(OBJECTIVES[name] for name in self.objectives)
            + "."
        )
        if len(self.networks) > 1:
            shown.caption += f" They are geometric means over {len(self.networks)} networks."
        return shown

    def summary(self, file: Path) -> list[str]:
        """How many points there are, which failed and why, and what the checks say, a line each."""
        rows, checks = self.sweep.rows, self.sweep.checks
        measured = sum(row["state"] == MEASURED for row in rows)
        points = "point" if len(rows) == 1 else "points"
        lines = [
            f"{len(rows):,} {points} in {file}, {self.sweep.kept:,} of them from before: "
            f"{measured:,} measured, {sum(row['state'] == FAILED for row in rows):,} failed"
        ]
        lines += [self._why(row) for row in self.failed[:FEW]]
        if len(self.failed) > FEW:
            lines.append(f"  and {len(self.failed) - FEW:,} more: see their reasons in {file}")
        if checks:
            equal = sum(row["state"] == MEASURED for row in checks)
            lines.append(
                f"{equal:,} of {len(checks):,} points that were run on Verilated RTL too are equal "
                f"in cycles and outputs"
            )
        return lines + [self._why(row) for row in self.wrong]

    def _why(self, row: Row) -> str:
        point = [f"{name} {str(row[name]).lower()}" for name in self.swept]
        if len(self.networks) > 1:
            point.append(row["network"])
        return f"  {row['state']}: {', '.join(point)}: {row['reason']}"

    def record(self, command: str, file: Path) -> dict[str, Any]:
        """What goes into the JSON file."""
        return {
            "record": "accel explore",
            "command": command,
            "file": str(file),
            "networks": self.networks,
            "objectives": list(self.objectives),
            "points": len(self.sweep.rows),
            "kept": self.sweep.kept,
            "checked": len(self.sweep.checks),
            "failed": [self._short(row) for row in self.failed],
            "wrong": [self._short(row) for row in self.wrong],
            "front": [
                c.fields | dict(zip(self.objectives, c.values, strict=True)) for c in self.front
            ],
        }

    def _short(self, row: Row) -> Row:
        return {name: row[name] for name in ("network", *FIELDS, "level", "reason")}

    def draw(self, format: str) -> bytes:
        """A plot: the second objective to the right, the first upwards, a third as colour. Dots of
        the front are numbered as in its table; all others are dimmed. format: png, svg or pdf."""
        best, rest, objectives = self.front, self.others, self.objectives
        figure = Figure(figsize=(8, 5.2), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        title = f"{len(best) + len(rest):,} configurations of {', '.join(self.networks)}"
        axis.set_title(title, loc="left", fontsize=11, color=INK)
        y, x, *others = np.array([c.values for c in best], np.float64).T
        if rest:
            dim_y, dim_x, *_ = np.array([c.values for c in rest], np.float64).T
            axis.scatter(dim_x, dim_y, s=22, color=DOMINATED, alpha=0.6, linewidths=0,
                         label=f"{len(rest)} others")  # fmt: skip
        # Where a third objective decides, dots of the front may lie above the line of these two.
        order = np.lexsort((y, x))
        lowest = np.minimum.accumulate(y[order])
        axis.step(x[order], lowest, where="post", color=FRONT, linewidth=1, alpha=0.5, zorder=1)
        colors: dict[str, Any] = {"color": FRONT}
        if others:
            colors = {"c": others[0], "cmap": "viridis_r"}
        dots = axis.scatter(
            x, y, s=60, edgecolors=INK, linewidths=0.8, zorder=3, **colors,
        )  # fmt: skip
        # In the legend without a colour, which there is one of for each dot.
        axis.scatter([], [], s=60, color="white" if others else FRONT, edgecolors=INK,
                     linewidths=0.8, label=f"Pareto front, {len(best)}")  # fmt: skip
        if others:
            bar = figure.colorbar(dots, ax=axis, pad=0.02, format=_PLAIN)
            bar.set_label(OBJECTIVES[objectives[2]], color=INK)
            bar.outline.set_visible(False)
        # Dots that differ in what is no axis have one label.
        places: dict[tuple[float, float], list[int]] = {}
        for number, (upwards, right, *_) in enumerate(self._places(), 1):
            places.setdefault((right, upwards), []).append(number)
        for place, numbers in places.items() if len(places) <= MANY_LABELS else ():
            axis.annotate(
                ", ".join(map(str, numbers)), place, xytext=(6, 5), textcoords="offset points",
                fontsize=8, color=INK, zorder=4,
            )  # fmt: skip
        axis.set_ylabel(OBJECTIVES[objectives[0]], color=INK)
        axis.set_xlabel(OBJECTIVES[objectives[1]], color=INK)
        every = np.array([c.values for c in (*best, *rest)], np.float64)
        # Twice as much is as far away at each size.
        for one, scale, values in (
            (axis.yaxis, axis.set_yscale, every[:, 0]),
            (axis.xaxis, axis.set_xscale, every[:, 1]),
        ):
            if values.max() > WIDE * values.min() > 0:
                scale("log")
                one.set_major_locator(LogLocator(subs=(1, 2, 5)))
                one.set_minor_formatter(NullFormatter())
            one.set_major_formatter(_PLAIN)
        axis.margins(0.08)
        axis.grid(color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(loc="upper right", fontsize=9, frameon=False)
        file = io.BytesIO()
        # So that the file is known for accel's.
        mark = {"png": "Software", "svg": "Title", "pdf": "Creator"}[format]
        figure.savefig(file, format=format, metadata={mark: "accel"})
        return file.getvalue()


def _heading(name: str) -> str:
    return name.replace("_", "\n", 1)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"


def plot_format(path: Path) -> str:
    """What :func:`draw` calls the kind of file that ``path`` is.

    Raises :class:`AccelError` if it is none that can be drawn.
    """
    if path.suffix not in PLOTS:
        raise AccelError(f"--plot {path}: the file's name must end in {', '.join(PLOTS)}")
    return path.suffix[1:]
