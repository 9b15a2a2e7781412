"""The mutants: what can be planted, and that the sample is always the same."""

from __future__ import annotations

import ast
import re

import pytest

from tests import ROOT
from tests.tools.mutants import Find, find_in_hardware, find_in_software, sample
from tests.tools.mutation import AREAS, LEAST_A_FILE, RTL, Area, document, equivalent

EXAMPLE = """\
class CounterRTL(Component):
    def construct(s, nbits):
        s.count = Wire(nbits)
        s.low //= s.count[0:4]
        s.high //= s.count[4:nbits]

        @update
        def up_next():
            s.next @= s.count + zext(s.step, 8)
            if s.hold & ~s.go:
                s.next @= s.count

        @update_ff
        def up_count():
            if s.reset:
                s.count <<= 0
            else:
                s.count <<= s.next
"""

PLAIN = '''\
def place(values, size: int = 3, *, tight: bool = False) -> list[int]:
    """No 1 + 1 of a docstring."""
    assert size > 0, "not of an assertion"
    if size < len(values) and not tight:
        raise ValueError(f"{size + 1} are too few, not {2 - 1}")
    found = []
    for i in range(size - 1):
        found.append(min(values[i:], size * 2)[0])
    return found if found else divmod(size, i)
'''


def changes(find: Find, source: str, operator: str) -> set[tuple[str, str]]:
    return {(m.before, m.after) for m in find("x.py", source) if m.operator == operator}


def test_what_is_planted_in_hardware() -> None:
    def found(operator: str) -> set[tuple[str, str]]:
        return changes(find_in_hardware, EXAMPLE, operator)

    assert found("operator") == {("+", "-"), ("&", "|")}
    assert found("negation dropped") == {("~s.go", "s.go")}
    both = "s.hold & ~s.go"
    assert found("operand dropped") == {(both, "(s.hold)"), (both, "(~s.go)")}
    assert found("condition negated") == {(both, f"~({both})"), ("s.reset", "~(s.reset)")}
    assert found("reset value") == {("0", "1")}
    # The only assignment of a combinational block stays: the block would have no translation.
    assert found("assignment dropped") == {
        ("s.next @= s.count + zext(s.step, 8)", ""), ("0", "s.count"), ("s.next", "s.count"),
    }  # fmt: skip
    assert found("slice shifted") == {("0:4", "1:5"), ("4:nbits", "3:nbits - 1")}
    ((_, swapped),) = found("connections swapped")
    assert swapped == "s.count[4:nbits]\n        s.high //= s.count[0:4]"
    # Nothing else is hardware: neither the width of a number nor that of a wire.
    assert found("constant") == set()


def test_what_is_planted_in_software() -> None:
    def found(operator: str) -> set[tuple[str, str]]:
        return changes(find_in_software, PLAIN, operator)

    test = "size < len(values) and not tight"
    assert found("operator") == {("and", "or"), ("-", "+"), ("*", "+")}
    assert found("comparison") == {("<", "<=")}
    assert found("constant") == {
        ("3", "(4)"), ("3", "(2)"), ("1", "(2)"), ("1", "(0)"), ("2", "(3)"), ("2", "(1)"),
        ("0", "(1)"), ("False", "True"),
    }  # fmt: skip
    assert found("condition negated") == {(test, f"not ({test})")}
    assert found("condition removed") == {(test, f"({test} or True)")}
    assert found("negation dropped") == {("not tight", "(tight)")}
    assert found("operand dropped") == {
        (" and not tight", ""), ("size < len(values) and ", ""), ("size - 1", "(size)"),
        ("size * 2", "(size)"), ("size * 2", "(2)"),
        ("min(values[i:], size * 2)", "(values[i:])"), ("min(values[i:], size * 2)", "(size * 2)"),
    }  # fmt: skip
    assert found("statement dropped") == {
        ('raise ValueError(f"{size + 1} are too few, not {2 - 1}")', "pass"),
        ("found.append(min(values[i:], size * 2)[0])", "pass"),
    }
    assert found("off by one") == {
        ("size - 1", "(size - 1) + 1"), ("size - 1", "(size - 1) - 1"), ("i", "(i + 1)"),
    }  # fmt: skip
    assert found("function") == {("min", "max")}
    assert found("branches swapped") == {
        ("found if found else divmod(size, i)", "((divmod(size, i)) if found else (found))")
    }
    assert found("arguments swapped") == {("size, i", "i, size")}


def test_parentheses_stay_in_pairs() -> None:
    """Where what is dropped is on one side of them."""
    source = "x = (a == 1) and (b == (2)) or (c)\n"
    dropped = [m for m in find_in_software("x.py", source) if m.operator == "operand dropped"]
    texts = {ast.unparse(ast.parse(m.apply(source))) for m in dropped}
    assert texts == {
        "x = a == 1 and b == 2", "x = c", "x = a == 1 or c", "x = b == 2 or c",
    }  # fmt: skip


def test_a_name_outlasts_other_changes() -> None:
    """And tells lines from one another that read the same."""
    source = "x = a - b\ny = a - b\nx = a - b\n"
    names = {m.name for m in find_in_software("x.py", source)}
    assert "x.py: x = a - b (2):6 operator: +" in names
    more = {m.name for m in find_in_software("x.py", "z = 1\n\n" + source)}
    assert names < more


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.title)
def test_sample(area: Area) -> None:
    chosen = area.sample()
    assert chosen == area.sample()
    assert len({mutant.name for mutant in chosen}) == len(chosen) == area.count
    sources = {file: (ROOT / file).read_text() for file in area.files}
    trees = {file: ast.dump(ast.parse(source)) for file, source in sources.items()}
    for mutant in chosen:
        assert ast.dump(ast.parse(mutant.apply(sources[mutant.file]))) != trees[mutant.file]
    without = {file for file in area.files if not area.find(file, (ROOT / file).read_text())}
    assert {mutant.file for mutant in chosen} == set(area.files) - without
    assert {mutant.file for mutant in area.controls()} <= set(area.files)
    assert {area.stages_of(mutant) for mutant in chosen} <= {
        area.stages_of(control) for control in area.controls()
    }


def test_sample_stays_when_a_line_changes() -> None:
    sources = {file: (ROOT / file).read_text() for file in RTL.files}
    before = {m.name for m in sample(sources, RTL.find, RTL.count, LEAST_A_FILE)}
    sources["rtl_models/pe.py"] = "# Above\n" + sources["rtl_models/pe.py"] + "# Below\n"
    assert {m.name for m in sample(sources, RTL.find, RTL.count, LEAST_A_FILE)} == before


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.title)
def test_tests_exist(area: Area) -> None:
    assert set(area.stages) <= set(area.files)
    for stages in (area.otherwise, *area.stages.values()):
        assert all((ROOT / stage.file).exists() for stage in stages)


def test_every_reason_is_of_a_mutant() -> None:
    """Of one that can be drawn, whether it is or not."""
    found = {
        mutant.name
        for area in AREAS
        for file in area.files
        for mutant in area.find(file, (ROOT / file).read_text())
    }
    assert [entry["name"] for entry in equivalent() if entry["name"] not in found] == []


def test_document() -> None:
    """Every survivor is shown, with its reason; one without is a fault, and so are too many."""
    chosen = {area.title: area.sample() for area in AREAS}
    mutants = [mutant for some in chosen.values() for mutant in some]
    record = {mutant.name: {"result": "killed"} for mutant in mutants}
    known = {entry["name"]: entry["why"].strip() for entry in equivalent()}
    shown = {mutant.name for mutant in mutants} & set(known)
    for name in shown:
        record[name] = {"result": "survived"}
    text, wrong = document(chosen, record)
    assert not wrong
    assert all(known[name] in text for name in shown)
    for area in AREAS:
        found = re.search(rf"^{area.count} of the ([\d,]+) that there are", text, re.M)
        assert found and int(found[1].replace(",", "")) > area.count
    one = next(mutant for mutant in mutants if record[mutant.name]["result"] == "killed")
    _, wrong = document(chosen, record | {one.name: {"result": "survived"}})
    assert wrong == [f"{one.name} survived, and no one knows why"]
    _, wrong = document(chosen, {mutant.name: {"result": "survived"} for mutant in mutants})
    assert [line for line in wrong if line.endswith("were killed, 0.0%")] == [
        f"{area.title}: 0 of {area.count} were killed, 0.0%" for area in AREAS
    ]
