"""What the tests reach of the Verilated RTL: merges and tells what Verilator counted.

``python -m tests.tools.coverage FOLDER`` reads what ``pytest --test-verilog=zeros
--rtl-coverage=FOLDER`` left there; ``make coverage`` does both. Verilator counts how often each
branch and each line of a block was reached, and for each bit of a signal how often it rose and how
often it fell. A place of the RTL counts once, however many instances and configurations have it.

Verilator's own tool for this, ``verilator_coverage``, is not in the package; the files
are a line of text for each point.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HOLES = Path(__file__).with_name("coverage_holes.toml")
KINDS = ("line", "branch", "toggle")
LEAST = 98.0
"""Percent of what is not explained to be out of reach."""


class Point(NamedTuple):
    """A place that can be reached. module: class of the RTL, without its parameters. place: a line
    of the Verilog, counted from the module's first block, or a signal's bit and direction."""

    kind: str
    module: str
    place: str


def read(path: Path) -> list[tuple[Point, int, int]]:
    """(point, line of the Verilog, how often it was reached) for all in a file of Verilator's.

    A line there is ``C 'KEY VALUE KEY VALUE ...' COUNT``, with bytes 1 and 2 in front of keys and
    values: ``page`` is kind and module, ``o`` signal or branch, ``l`` and ``n`` line and column.
    """
    found = []
    for text in path.read_text("latin-1").splitlines():
        if text.startswith("C "):
            body, _, count = text[3:].rpartition("' ")
            fields = dict(part.split("\2", 1) for part in body.split("\1")[1:])
            kind, _, module = fields["page"].removeprefix("v_").partition("/")
            found.append((kind, module, fields, int(count)))
    # What is above a module's blocks, and so their lines, depends on the configuration.
    first: dict[str, int] = {}
    for kind, module, fields, _ in found:
        if kind != "toggle":
            first[module] = min(int(fields["l"]), first.get(module, sys.maxsize))
    points = []
    for kind, module, fields, count in found:
        line = int(fields["l"])
        place = fields["o"]
        if kind != "toggle":
            place = f"+{line - first[module]}:{fields['n']} {place}"
        name = re.sub(r"_(_.*|noparam|c\d+(l\d+)?a\d+\w*|\d+(_\d+)*)$", "", module)
        name = name[0].upper() + name[1:]
        points.append((Point(kind, name, place), line, count))
    return points


def merge(paths: Iterable[Path]) -> Counter[Point]:
    """How often each point was reached, in all files together."""
    total: Counter[Point] = Counter()
    for path in paths:
        for point, _, count in read(path):
            total[point] += count
    return total


@dataclass(frozen=True)
class Hole:
    """Points out of reach. where: a pattern for ``module place``. why: what keeps them so."""

    what: str
    where: str
    why: str

    def holds(self, point: Point) -> bool:
        return re.fullmatch(self.where, f"{point.module} {point.place}") is not None


def holes() -> list[Hole]:
    return [Hole(**entry) for entry in tomllib.loads(HOLES.read_text()).get("hole", [])]


def table(total: Counter[Point]) -> tuple[str, list[Point], float]:
    """The table by module, what is reached by no test for no known reason, and the percentage."""
    known = holes()
    used: Counter[str] = Counter()
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    unexplained = []
    for point, count in sorted(total.items()):
        for row in (rows[point.module], rows["all"]):
            row[point.kind] += 1
            row[f"{point.kind} reached"] += count > 0
        if not count:
            why = next((hole for hole in known if hole.holds(point)), None)
            if why is None:
                unexplained.append(point)
            else:
                used[why.what] += 1
                rows[point.module]["explained"] += 1
                rows["all"]["explained"] += 1
    lines = [
        "| module | lines | branches | toggles | explained | rest |",
        "|---|---|---|---|---|---|",
    ]
    for module in [*sorted(rows.keys() - {"all"}), "all"]:
        row = rows[module]
        cells = [f"{row[f'{kind} reached']:,} of {row[kind]:,}" for kind in KINDS]
        reached = sum(row[f"{kind} reached"] for kind in KINDS)
        rest = sum(row[kind] for kind in KINDS) - row["explained"] - reached
        lines.append(f"| {module} | {' | '.join(cells)} | {row['explained']:,} | {rest:,} |")
    reached = sum(rows["all"][f"{kind} reached"] for kind in KINDS)
    percent = 100 * reached / (reached + len(unexplained))
    lines += ["", "| out of reach | points | why |", "|---|---|---|"]
    lines += [f"| {hole.what} | {used[hole.what]:,} | {hole.why} |" for hole in known]
    return "\n".join(lines), unexplained, percent


def annotate(folder: Path) -> None:
    """Writes the Verilog of a folder again, with counts in front of the lines that have some; the
    lowest, where a line has several."""
    counts: dict[int, int] = {}
    for point, line, count in read(folder / "coverage.dat"):
        if point.kind != "toggle":
            counts[line] = min(count, counts.get(line, count))
    (verilog,) = folder.glob("*__pickled.v")
    lines = verilog.read_text().splitlines()
    marked = (f"{counts.get(i, ''):>10} {text}" for i, text in enumerate(lines, 1))
    (folder / "annotated.v").write_text("\n".join(marked) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.coverage", description=__doc__)
    parser.add_argument("folder", type=Path, help="what --rtl-coverage named")
    folder = parser.parse_args().folder
    paths = sorted(folder.glob("*/coverage.dat"))
    if not paths:
        sys.exit(f"error: no coverage in {folder}: run pytest with --rtl-coverage={folder} first")
    for path in paths:
        annotate(path.parent)
    text, unexplained, percent = table(merge(paths))
    print(text)
    listing = folder / "unexplained.txt"
    listing.write_text("".join(f"{p.kind} {p.module} {p.place}\n" for p in unexplained))
    print(f"\n{percent:.2f}% of what can be reached is; the rest is in {listing}")
    if percent < LEAST:
        sys.exit(1)


if __name__ == "__main__":
    main()
