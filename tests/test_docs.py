"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(\w+)::(test_\w+)`")


@pytest.mark.parametrize("document", ["numerics.md", "verification.md"])
def test_named_tests_exist(document: str) -> None:
    named = NAMED.findall((ROOT / "docs" / document).read_text())
    assert len(named) > 20
    for file, test in named:
        text = (ROOT / "tests" / f"test_{file}.py").read_text()
        assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), f"{file}::{test}"
