"""The code in docs/howto/from-onnx.md works as it stands there."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from accel.cli import app
from tests import ROOT
from tests.onnx_models import drawn_images, float_model

PAGE = ROOT / "docs" / "howto" / "from-onnx.md"


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text()
    use, make = re.findall(r"(?ms)^```python\n(.*?)^```$", text)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    onnx.save(float_model(rng, "add"), "float.onnx")
    images = drawn_images(rng, 10, 3, 12, 12)
    found: dict[str, Any] = {"images": images, "calibration_images": images}
    logging.disable(logging.WARNING)
    try:
        exec(make, found)
    finally:
        logging.disable(logging.NOTSET)
    last = use.rindex("accel.run_network")
    exec(use[:last] + "kernels = " + use[last:], found)
    np.testing.assert_array_equal(found["kernels"], found["run"].outputs)
    assert found["run"].outputs.shape == (10, 10)
    commands = re.findall(r"(?m)^    accel (.*)$", text)
    assert len(commands) == 2
    for command in commands:
        level = ["--level", "fl"] if command.startswith("run") else []
        done = CliRunner().invoke(app, [*command.split(), *level])
        assert done.exit_code == 0, done.output
