"""The driver of the hand-off folder on a processor: examples/riscv, as its user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accel.hardware.config import load_config
from accel.verilog import handoff
from examples.riscv.firmware import judge
from tests import ROOT
from tests.networks import Conv, Linear, random_images, random_network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(8)
    network = random_network(rng, (1, 6, 6), [Conv(3, (3, 3)), Linear(11)], signed=True)
    images = random_images(rng, network, 3)
    handoff.write(load_config("tiny"), network, images, "random", tmp_path / "out")
    return tmp_path / "out"


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "examples" / "riscv" / "picorv32.py", folder],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def test_driver_yields_the_logits_on_a_processor(folder: Path) -> None:
    """It is built without a C library."""
    done = run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("3 images: logits and classes are those of the folder\n")
    # And it is not satisfied with anything: the end is missing, or the last logit differs by one.
    said = done.stdout.rpartition("3 images")[0]
    assert judge(folder, said) == 0
    assert judge(folder, said.replace("PASS", "")) == 1
    logits = (folder / "logits.txt").read_text().split(" ")
    logits[-1] = f"{int(logits[-1]) + 1}\n"
    (folder / "logits.txt").write_text(" ".join(logits))
    assert judge(folder, said) == 1


def test_another_folder_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {tmp_path} is no hand-off folder, as it has no logits.txt"
    )
    assert "Traceback" not in done.stderr


def test_a_driver_that_does_not_compile(folder: Path) -> None:
    (folder / "accel.c").write_text("int x = ;\n")
    done = run(folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the compiler failed: ") and "accel.c:1" in done.stderr
    assert "Traceback" not in done.stderr
