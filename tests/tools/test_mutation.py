"""The mutants of the RTL: what can be planted, and that the sample is always the same."""

from __future__ import annotations

import ast
import tomllib

from tests.tools.mutation import (
    ACCELERATOR,
    EQUIVALENT,
    NUM_MUTANTS,
    ROOT,
    RTL,
    SEED,
    STAGES,
    document,
    find,
    sample,
)

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


def changes(operator: str) -> set[tuple[int, str, str]]:
    return {(m.line, m.before, m.after) for m in find("x.py", EXAMPLE) if m.operator == operator}


def test_what_is_planted() -> None:
    assert changes("operator") == {(9, "+", "-"), (10, "&", "|")}
    assert changes("negation dropped") == {(10, "~s.go", "s.go")}
    assert changes("operand dropped") == {
        (10, "s.hold & ~s.go", "(s.hold)"), (10, "s.hold & ~s.go", "(~s.go)"),
    }  # fmt: skip
    assert changes("condition negated") == {
        (10, "s.hold & ~s.go", "~(s.hold & ~s.go)"), (15, "s.reset", "~(s.reset)"),
    }  # fmt: skip
    assert changes("reset value") == {(16, "0", "1")}
    # The only assignment of a combinational block stays: the block would have no translation.
    assert changes("assignment dropped") == {
        (9, "s.next @= s.count + zext(s.step, 8)", ""),
        (16, "0", "s.count"),
        (18, "s.next", "s.count"),
    }
    assert changes("slice shifted") == {(4, "0:4", "1:5"), (5, "4:nbits", "3:nbits - 1")}
    (swapped,) = changes("connections swapped")
    assert swapped[2] == "s.count[4:nbits]\n        s.high //= s.count[0:4]"
    # Nothing else is hardware: neither the width of a number nor that of a wire.
    assert changes("constant") == set()


def test_sample() -> None:
    files = sorted(RTL.glob("*.py"))
    chosen = sample(files, NUM_MUTANTS, SEED)
    assert chosen == sample(files, NUM_MUTANTS, SEED)
    assert len({mutant.name for mutant in chosen}) == len(chosen) == NUM_MUTANTS
    assert {mutant.file for mutant in chosen} == {f.name for f in files if f.name != "__init__.py"}
    for mutant in chosen:
        source = (RTL / mutant.file).read_text()
        assert ast.dump(ast.parse(mutant.apply(source))) != ast.dump(ast.parse(source))


def test_tests_exist() -> None:
    assert {RTL / file for file in STAGES} <= set(RTL.glob("*.py"))
    for stages in (ACCELERATOR, *STAGES.values()):
        assert all((ROOT / stage.file).exists() for stage in stages)


def test_document() -> None:
    """Every survivor is shown, with its reason; one without is a fault, and so are too many."""
    chosen = sample(sorted(RTL.glob("*.py")), NUM_MUTANTS, SEED)
    record = {mutant.name: {"result": "killed"} for mutant in chosen}
    known = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    for entry in known:
        record[entry["name"]] = {"result": "survived"}
    text, wrong = document(chosen, record)
    assert not wrong
    assert all(entry["why"].strip() in text for entry in known)
    one = next(mutant for mutant in chosen if record[mutant.name]["result"] == "killed")
    _, wrong = document(chosen, record | {one.name: {"result": "survived"}})
    assert wrong == [f"{one.name} survived, and no one knows why"]
    _, wrong = document(chosen, {mutant.name: {"result": "survived"} for mutant in chosen})
    assert wrong[-1].endswith("mutants were killed, 0.0%")
