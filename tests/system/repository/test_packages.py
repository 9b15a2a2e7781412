"""What rests on what: the hardware on its declarations alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT

LOADED = """
import sys
import {module}
print(*(name for name in sys.modules if name.split(".")[0] in {packages}))
"""


def loaded(module: str, *packages: str) -> set[str]:
    """Modules of these packages that a new Python has loaded when it has imported ``module``."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module, packages=packages)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["rtl_models.accelerator", "rtl_models.axi_accelerator"])
def test_rtl_rests_on_the_hardware_package_alone(module: str) -> None:
    """No line of the compiler, of networks or of the arithmetic is read by what is translated."""
    found = loaded(module, "accel", "fl_models", "cl_models", "torch", "safetensors")
    others = {name for name in found if not name.startswith("accel.hardware")}
    assert others == {"accel", "accel.errors", "accel.process_wide"}
    assert "accel.hardware.descriptors" in found


def test_the_hardware_package_rests_on_nothing_else_of_accel() -> None:
    names = sorted(p.stem for p in (ROOT / "accel" / "hardware").glob("*.py"))
    modules = ", ".join(f"accel.hardware.{name}" for name in names if name != "__init__")
    found = loaded(modules, "accel", "torch", "safetensors")
    assert {name for name in found if not name.startswith("accel.hardware")} == {
        "accel",
        "accel.errors",
        "accel.process_wide",
    }
