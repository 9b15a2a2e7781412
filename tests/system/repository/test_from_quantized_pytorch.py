"""The code in docs/howto/from-quantized-pytorch.md works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from accel.cli import app
from tests import ROOT
from tests.pt2e_models import Single, exported

PAGE = ROOT / "docs" / "howto" / "from-quantized-pytorch.md"


@pytest.mark.filterwarnings("ignore")
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text()
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2))
    images = torch.randn(10, 1, 9, 9)
    found: dict[str, Any] = {
        "model": model,
        "images": images,
        "exported": exported(Single("conv", 0)),
    }
    engine = torch.backends.quantized.engine
    try:
        for code in re.findall(r"(?ms)^```python\n(.*?)^```$", text):
            exec(code, found)
        real = found["converted"](images)
    finally:
        torch.backends.quantized.engine = engine
    assert found["of_program"].origin == "executorch"
    output = found["network"].output
    expected = np.rint(real.numpy() / output.scale) + output.zero_point
    np.testing.assert_array_equal(found["run"].outputs.reshape(expected.shape), expected)
    (command,) = re.findall(r"(?m)^    accel (.*)$", text)
    done = CliRunner().invoke(app, command.replace("tinyml", "tinyml --level fl").split())
    assert done.exit_code == 0, done.output
    assert "0 of" in done.output and "PyTorch's quantized kernels" in done.output
