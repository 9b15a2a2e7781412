"""The unit in docs/howto/add-a-unit.md works as it stands there, and its test can fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "howto" / "add-a-unit.md"
FILES = [f"{level}_models/rectifier.py" for level in ("fl", "cl", "rtl")] + [
    "tests/units/test_rectifier.py"
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the page's unit in it."""
    place = tmp_path_factory.mktemp("project")
    for name in ("accel", "cl_models", "fl_models", "rtl_models", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    blocks = re.findall(r"(?ms)^```python\n# (\S+)\n(.*?)^```$", PAGE.read_text())
    assert [name for name, _ in blocks] == FILES
    for name, text in blocks:
        assert not (place / name).exists()
        (place / name).write_text(text)
    return place


def pytest_in(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", FILES[-1]]
    environment = os.environ | {"PYTHONPATH": str(project)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def test_the_unit_passes_its_test(project: Path) -> None:
    result = pytest_in(project)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\b28 passed", result.stdout), result.stdout


def test_the_unit_has_the_style(project: Path) -> None:
    for options in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *options, *FILES]
        result = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("level", ["fl", "cl", "rtl"])
def test_a_fault_is_seen(project: Path, level: str) -> None:
    file = project / f"{level}_models" / "rectifier.py"
    right = file.read_text()
    wrong = right.replace("if s.number[c][sign]:", "if ~s.number[c][sign]:")
    wrong = wrong.replace("np.maximum(vector.acc, 0)", "vector.acc")
    assert wrong != right
    file.write_text(wrong)
    try:
        assert "1 failed" in pytest_in(project).stdout
    finally:
        file.write_text(right)
