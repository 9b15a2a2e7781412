"""What is made of Verilator's counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools import coverage
from tests.tools.coverage import Hole, Point, annotate, merge, table


def line(page: str, at: int, name: str, count: int) -> str:
    fields = {"f": "x.v", "l": at, "n": 5, "t": "", "page": page, "o": name, "h": "TOP.x"}
    return "C '" + "".join(f"\1{key}\2{value}" for key, value in fields.items()) + f"' {count}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A module in two configurations, whose blocks lie elsewhere in the text."""
    for name, module, first, counts in (
        ("a", "PE_c2l1a25s2m256w600p100d4g1z1", 3, (0, 2, 1, 0)),
        ("b", "PE_c8l2a32s4m256w600p100d7g4z0", 4, (7, 0, 0, 0)),
    ):
        (tmp_path / name).mkdir()
        text = "# SystemC::Coverage-3\n"
        text += line(f"v_line/{module}", first, "block", counts[0])
        text += line(f"v_branch/{module}", first + 1, "if", counts[1])
        text += line(f"v_toggle/{module}", 1, "x[0]:0->1", counts[2])
        text += line(f"v_toggle/{module}", 1, "x[0]:1->0", counts[3])
        (tmp_path / name / "coverage.dat").write_text(text)
        (tmp_path / name / "PE__pickled.v").write_text("one\ntwo\nthree\nfour\nfive\n")
    return tmp_path


def test_a_place_counts_once(folder: Path) -> None:
    assert merge(sorted(folder.glob("*/coverage.dat"))) == {
        Point("line", "PE", "+0:5 block"): 7,
        Point("branch", "PE", "+1:5 if"): 2,
        Point("toggle", "PE", "x[0]:0->1"): 1,
        Point("toggle", "PE", "x[0]:1->0"): 0,
    }


def test_holes_are_explained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = merge(folder.glob("*/coverage.dat"))
    monkeypatch.setattr(coverage, "holes", lambda: [])
    text, rest, percent = table(total)
    assert "| PE | 1 of 1 | 1 of 1 | 1 of 2 | 0 | 1 |" in text
    assert rest == [Point("toggle", "PE", "x[0]:1->0")]
    assert percent == 75
    monkeypatch.setattr(coverage, "holes", lambda: [Hole("x", r"PE x\[0\]:.*", "never falls")])
    text, rest, percent = table(total)
    assert "| PE | 1 of 1 | 1 of 1 | 1 of 2 | 1 | 0 |" in text
    assert "| x | 1 | never falls |" in text
    assert not rest and percent == 100


def test_listing(folder: Path) -> None:
    annotate(folder / "a")
    lines = (folder / "a" / "annotated.v").read_text().splitlines()
    assert lines[2:4] == ["         0 three", "         2 four"]
