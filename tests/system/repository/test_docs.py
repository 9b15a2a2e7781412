"""What the documents name is there."""

from __future__ import annotations

import re

import pytest

from tests import ROOT

NAMED = re.compile(r"`(\w+)::(test_\w+)`")


@pytest.mark.parametrize("document", ["numerics.md", "verification.md"])
def test_named_tests_exist(document: str) -> None:
    named = NAMED.findall((ROOT / "docs" / document).read_text())
    assert len(named) > 20
    for file, test in named:
        (found,) = (ROOT / "tests").rglob(f"test_{file}.py")
        text = found.read_text()
        assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), f"{file}::{test}"
