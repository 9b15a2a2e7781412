"""`python -m benchmarks`: measures, prints, and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from string import Template
from typing import Any

from accel import files
from accel.errors import AccelError
from benchmarks import (
    cluster,
    columns,
    drivers,
    images,
    levels,
    mlperf_tiny,
    same_network,
    scalesim,
)
from benchmarks.common import ROOT, error_console, machine, png

SECTIONS = {
    "same-network": same_network,
    "levels": levels,
    "drivers": drivers,
    "images": images,
    "columns": columns,
    "mlperf-tiny": mlperf_tiny,
    "cluster": cluster,
}
TEMPLATE = Path(__file__).with_name("template.md")
DOCS = ROOT / "docs"
NUMBERS, DOCUMENT = DOCS / "benchmarks.json", DOCS / "benchmarks.md"


def main() -> int:
    names = ", ".join(SECTIONS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "section",
        nargs="*",
        help=f"{names}: measures and prints it, and writes nothing. document: draws "
        f"docs/benchmarks.md from docs/benchmarks.json. Without any: measures all, writes both.",
    )
    chosen = parser.parse_args().section
    if chosen != ["document"] and not set(chosen) <= set(SECTIONS):
        parser.error(f"expected some of {names}, or document alone")
    try:
        for path in (NUMBERS, DOCUMENT):
            files.check_writable(path)
        if chosen == ["document"]:
            write(json.loads(NUMBERS.read_text()))
        else:
            measure(chosen)
    except AccelError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; no file was left half-written", file=sys.stderr)
        return 130
    return 0


def measure(chosen: list[str]) -> None:
    """Measures and prints the chosen sections; all of them, and writes the document, if none is."""
    start = time.monotonic()
    record: dict[str, Any] = {"machine": machine()}
    if not chosen or "same-network" in chosen:
        error_console.print("SCALE-Sim's environment")
        scalesim.install()
    for name in chosen or SECTIONS:
        # As if read from the file: JSON makes lists of tuples.
        record[name] = json.loads(json.dumps(SECTIONS[name].measure()))
        for place, value in SECTIONS[name].fill(record[name]).items():
            print(f"{place}: {value}" if isinstance(value, str) else f"\n{value}\n", flush=True)
    if not chosen:
        write(record)
        print(f"\nall of docs/benchmarks.md in {(time.monotonic() - start) / 60:.1f} minutes")


def write(record: dict[str, Any]) -> None:
    """The numbers, and the document and the pictures that follow from them."""
    places = {"machine": "\n".join(f"- {key}: {value}" for key, value in record["machine"].items())}
    for name, section in SECTIONS.items():
        places |= section.fill(record[name])
        if hasattr(section, "draw"):
            figure = png(section.draw(record[name]))
            files.write(DOCS / "images" / f"{name.replace('-', '_')}.png", figure)
    files.write(NUMBERS, json.dumps(record, indent=1) + "\n")
    files.write(DOCUMENT, Template(TEMPLATE.read_text()).substitute(places))


if __name__ == "__main__":
    sys.exit(main())
