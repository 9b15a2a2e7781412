"""Plants faults in the RTL, one at a time, and looks whether the tests see them.

``python -m tests.tools.mutation`` (``make mutate``) runs a sample that is the same for the same
sources, and writes docs/mutants.md. What is done is kept in build/mutants.jsonl, so that a run that
was interrupted goes on where it stood; only survivors run again.

General mutation tools do not serve here. Most of what they would change is Python around the
hardware: widths, loops that build structure, line traces. And PyMTL3 reads the *source* of an
update block, through ``inspect``, to simulate and to translate it: a tool that exchanges functions
in memory, or keeps all mutants in one file behind switches, as mutmut does, changes what Python
runs but not the hardware. So a mutant here is a copy of the project in which a few characters of
one file differ, and a process, forked when all slow imports are done, that runs pytest there.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import tomllib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

RTL = ROOT / "rtl_models"
RECORD = ROOT / "build" / "mutants.jsonl"
EQUIVALENT = ROOT / "tests" / "tools" / "equivalent_mutants.toml"
DOCUMENT = ROOT / "docs" / "mutants.md"
NUM_MUTANTS, LEAST_A_FILE, SEED = 240, 3, 2024
"""How many are drawn; some are stillborn."""

LEAST_LIVING, LEAST_KILLED = 200, 95.0

CPU_SECONDS = 900
"""A mutant that needs more hangs: the longest test run without one takes a third of it."""

SLOW_IMPORTS = (
    "torch.ao.quantization", "pymtl3", "hypothesis.strategies", "accel.frontends.pytorch",
    "cl_models.accelerator", "fl_models.accelerator",
)  # fmt: skip
"""None of them imports the RTL."""


# What can be wrong


@dataclass(frozen=True)
class Mutant:
    """In ``file``, characters ``start`` to ``end`` become ``after``."""

    file: str
    line: int
    column: int
    operator: str
    start: int
    end: int
    before: str
    after: str

    @property
    def name(self) -> str:
        after = " ".join(self.after.split()) or "nothing"
        return f"{self.file}:{self.line}:{self.column} {self.operator}: {after}"

    def apply(self, source: str) -> str:
        assert source[self.start : self.end] == self.before
        return source[: self.start] + self.after + source[self.end :]


BINARY = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "|"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip
COMPARISONS = {
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
}  # fmt: skip
WIDTHS = ("zext", "sext", "trunc", "range", "mk_bits")
"""Arguments of these are Python's, not values of the hardware."""


class _Finder:
    """Collects the mutants of a source, node by node."""

    def __init__(self, file: str, source: str) -> None:
        self.file, self.source = file, source
        self.lines = [0]
        for text in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(text))
        self.found: list[Mutant] = []

    def all(self) -> list[Mutant]:
        for node in ast.walk(ast.parse(self.source)):
            if isinstance(node, ast.FunctionDef) and node.name == "construct":
                self._structure(node.body)
        unique = {(m.start, m.end, m.after): m for m in self.found}
        return sorted(unique.values(), key=lambda m: (m.start, m.end, m.operator, m.after))

    def _start(self, node: Any) -> int:
        return self.lines[node.lineno - 1] + node.col_offset

    def _end(self, node: Any) -> int:
        return self.lines[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: Any) -> str:
        return self.source[self._start(node) : self._end(node)]

    def _add(self, operator: str, start: int, end: int, after: str) -> None:
        line = self.source.count("\n", 0, start)
        column = start - self.lines[line]
        before = self.source[start:end]
        self.found.append(Mutant(self.file, line + 1, column, operator, start, end, before, after))

    def _replace(self, operator: str, node: Any, after: str) -> None:
        self._add(operator, self._start(node), self._end(node), after)

    def _structure(self, body: Sequence[ast.stmt]) -> None:
        """Update blocks, connections, and the constants that are made for them."""
        before: ast.AugAssign | None = None
        for node in body:
            connection = (
                node
                if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.FloorDiv)
                else None
            )
            if connection is not None:
                self._slices(connection)
                if before is not None and self._text(before.value) != self._text(node.value):
                    start, end = self._start(before.value), self._end(connection.value)
                    between = self.source[self._end(before.value) : self._start(connection.value)]
                    swapped = self._text(connection.value) + between + self._text(before.value)
                    self._add("connections swapped", start, end, swapped)
            before = connection
            if isinstance(node, ast.FunctionDef):
                sequential = any(self._text(d) == "update_ff" for d in node.decorator_list)
                self._block(node.body, sequential, in_reset=False)
            elif isinstance(node, ast.For | ast.If):
                self._structure(node.body)
                self._structure(node.orelse)
            elif isinstance(node, ast.Assign) and not re.search(
                r"nbits|\(|\[|\{", self._text(node)
            ):
                self._expression(node.value, "constant")

    def _slices(self, root: ast.AST) -> None:
        for node in ast.walk(root):
            if isinstance(node, ast.Subscript):
                self._select(node.slice)

    def _select(self, node: ast.AST) -> None:
        """Shifted by a place, where it starts at a number."""
        if isinstance(node, ast.Slice):
            low, high = node.lower, node.upper
            if isinstance(low, ast.Constant) and high is not None:
                by = -1 if low.value else 1
                end = (
                    str(high.value + by)
                    if isinstance(high, ast.Constant)
                    else f"{self._text(high)} {'-' if by < 0 else '+'} 1"
                )
                self._replace("slice shifted", node, f"{low.value + by}:{end}")
        elif isinstance(node, ast.Constant):
            self._replace("slice shifted", node, str(node.value + (-1 if node.value else 1)))
        else:
            self._expression(node, "constant")

    def _block(self, body: Sequence[ast.stmt], sequential: bool, in_reset: bool) -> None:
        for node in body:
            if isinstance(node, ast.AugAssign):
                self._expression(node.value, "reset value" if in_reset else "constant")
                self._slices(node.target)
                # Without a statement a block has no translation; a register can keep its value.
                if len(body) > 1:
                    self._replace("assignment dropped", node, "")
                elif sequential:
                    self._replace("assignment dropped", node.value, self._text(node.target))
            elif isinstance(node, ast.If):
                test = self._text(node.test)
                self._replace("condition negated", node.test, f"~({test})")
                self._replace("condition removed", node.test, f"({test}) | ~({test})")
                self._expression(node.test, "constant")
                self._block(node.body, sequential, in_reset or "s.reset" in test)
                self._block(node.orelse, sequential, in_reset)
            elif isinstance(node, ast.For):
                self._block(node.body, sequential, in_reset)

    def _expression(self, node: ast.AST, constant: str) -> None:
        if isinstance(node, ast.BinOp):
            for side in (node.left, node.right):
                self._expression(side, constant)
            if type(node.op) in BINARY:
                self._operator("operator", node.left, node.right, BINARY[type(node.op)])
            if isinstance(node.op, ast.BitAnd | ast.BitOr):
                for side in (node.left, node.right):
                    self._replace("operand dropped", node, f"({self._text(side)})")
        elif isinstance(node, ast.Compare):
            (right,) = node.comparators
            for side in (node.left, right):
                self._expression(side, constant)
            self._operator("comparison", node.left, right, COMPARISONS[type(node.ops[0])])
        elif isinstance(node, ast.UnaryOp):
            self._expression(node.operand, constant)
            if isinstance(node.op, ast.Invert):
                self._replace("negation dropped", node, self._text(node.operand))
        elif isinstance(node, ast.IfExp):
            swapped = f"{self._text(node.orelse)} if {self._text(node.test)} else "
            self._replace("branches swapped", node, swapped + self._text(node.body))
        elif isinstance(node, ast.Subscript):
            self._expression(node.value, constant)
            self._select(node.slice)
        elif isinstance(node, ast.Attribute):
            self._expression(node.value, constant)
        elif isinstance(node, ast.Call):
            is_width = isinstance(node.func, ast.Name) and node.func.id in WIDTHS
            for argument in node.args[: 1 if is_width else None]:
                self._expression(argument, constant)
        elif isinstance(node, ast.Tuple):
            for item in node.elts:
                self._expression(item, constant)
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            for other in {node.value + 1, abs(node.value - 1)}:
                self._replace(constant, node, str(other))

    def _operator(self, kind: str, left: Any, right: Any, symbols: tuple[str, str]) -> None:
        start, end = self._end(left), self._start(right)
        at = self.source.index(symbols[0], start, end)
        self._add(kind, at, at + len(symbols[0]), symbols[1])


def find(file: str, source: str) -> list[Mutant]:
    """All mutants of a source, in the order of its text."""
    return _Finder(file, source).all()


def sample(files: Sequence[Path], count: int, seed: int) -> list[Mutant]:
    """``count`` mutants: some of every file, the rest by what there is to change in it; within a
    file each operator in turn."""
    rng = random.Random(seed)
    pools: dict[Path, list[Mutant]] = {}
    for path in files:
        found = find(path.name, path.read_text())
        rng.shuffle(found)
        if found:
            pools[path] = found
    quotas = {path: min(LEAST_A_FILE, len(pool)) for path, pool in pools.items()}
    rest, total = count - sum(quotas.values()), sum(map(len, pools.values()))
    shares = {path: rest * len(pool) / total for path, pool in pools.items()}
    for path, share in shares.items():
        quotas[path] += int(share)
    by_remainder = sorted(pools, key=lambda path: int(shares[path]) - shares[path])
    for path in by_remainder[: count - sum(quotas.values())]:
        quotas[path] += 1

    chosen: list[Mutant] = []
    for path, pool in pools.items():
        # The first of each operator, then the second of each, and so on.
        turns: Counter[str] = Counter()
        order = []
        for i, mutant in enumerate(pool):
            order.append((turns[mutant.operator], i, mutant))
            turns[mutant.operator] += 1
        chosen += [mutant for _, _, mutant in sorted(order)[: quotas[path]]]
    return chosen


# What should see it


@dataclass(frozen=True)
class Stage:
    """Tests of a file whose names match one of ``patterns``, in the order of the patterns."""

    file: str
    patterns: tuple[str, ...] = ("",)
    options: tuple[str, ...] = ()


VERILOG = ("--test-verilog=zeros",)
ACCELERATOR = (
    # The fastest in PyMTL3's own simulator, then all as Verilog.
    Stage(
        "tests/system/hardware/test_accelerator.py",
        (
            r"chosen_networks\[one linear layer-c2.*rtl",
            r"chosen_networks\[vectors-c2.*rtl",
            r"chosen_networks\[one convolution-c8l2a32s4.*rtl",
            r"chosen_networks\[more outputs than lanes-c8l2a32s16.*rtl",
            "nothing_is_read_in_vain",
        ),
    ),
    # Those of the smallest configuration first.
    Stage(
        "tests/system/hardware/test_accelerator.py",
        ("chosen_networks.*-c2", "wrong_header", "contradictory", "chosen_networks", ""),
        VERILOG,
    ),
)
STAGES: dict[str, tuple[Stage, ...]] = {
    **dict.fromkeys(
        ("multiplier.py", "pe.py", "pe_array.py", "accumulator.py"),
        (Stage("tests/units/test_pe_array.py"), *ACCELERATOR),
    ),
    **dict.fromkeys(
        ("pooling_unit.py", "pooling_lane.py"),
        (Stage("tests/units/test_pooling_unit.py"), *ACCELERATOR),
    ),
    **dict.fromkeys(
        ("requantizer.py", "requantizer_lane.py"),
        (Stage("tests/units/test_requantizer.py"), *ACCELERATOR),
    ),
    **dict.fromkeys(
        ("axi_registers.py", "axi_accelerator.py", "performance_counter.py"),
        (
            Stage(
                "tests/system/hardware/test_axi.py",
                ("registers", "illegal", "interrupts", "counter", "soft", "driver", "cocotb"),
            ),
        ),
    ),
}


class _Plugin:
    """Picks a stage's tests, and keeps what the first failure was."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.killer, self.asserted = "", False

    def pytest_collection_modifyitems(self, config: Any, items: list[pytest.Item]) -> None:
        ranked: list[tuple[int, int, pytest.Item]] = []
        for i, item in enumerate(items):
            level = getattr(item, "callspec", None) and item.callspec.params.get("level", "rtl")
            rank = [k for k, p in enumerate(self.stage.patterns) if re.search(p, item.name)]
            if level in (None, "rtl") and rank:
                ranked.append((rank[0], i, item))
        items[:] = [item for _, _, item in sorted(ranked)]

    def pytest_exception_interact(self, node: Any, call: Any, report: Any) -> None:
        self.killer = self.killer or report.nodeid
        self.asserted = self.asserted or call.excinfo.errisinstance(AssertionError)


def judge(mutant: Mutant, stage: Stage, answer: Connection) -> None:
    """In a process of its own: makes the copy, runs the tests, and answers with (result, by)."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        place = Path(folder)
        log = os.open(place / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for name in ("accel", "cl_models", "fl_models", "rtl_models", "tests"):
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", place)
        target = place / "rtl_models" / mutant.file
        target.write_text(mutant.apply(target.read_text()))
        # In front of where the project is installed; and nothing that was built before is found.
        os.environ |= {"XDG_CACHE_HOME": str(place / "cache"), "PYTHONPATH": folder}
        sys.path.insert(0, folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        os.chdir(place)
        try:
            result, by = _run(mutant, stage, place)
        except Exception as e:
            result, by = "failed", repr(e)
        if result == "failed":
            by += "\n" + (place / "log").read_text()[-2000:]
        answer.send((result, by))


def _run(mutant: Mutant, stage: Stage, place: Path) -> tuple[str, str]:
    plugin = _Plugin(stage)
    # PyMTL3's plugin is there already, which pytest would rather import itself.
    options = ["-x", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning", *stage.options]
    status = pytest.main([*options, str(place / stage.file)], plugins=[plugin])
    loaded = sys.modules.get(f"rtl_models.{mutant.file.removesuffix('.py')}")
    if loaded is not None and not str(loaded.__file__).startswith(str(place)):
        return "failed", f"the tests ran on {loaded.__file__}, not on the mutant"
    if status == pytest.ExitCode.OK:
        return "survived", ""
    if not plugin.asserted:
        # Did the tests see something wrong, or is this no hardware at all?
        try:
            importlib.import_module("accel.verilog.translation").translate_axi(_small())
        except Exception as e:
            return "stillborn", type(e).__name__
    if status != pytest.ExitCode.TESTS_FAILED:
        return "failed", f"pytest ended with status {status}"
    return "killed", plugin.killer


def _small() -> Any:
    return importlib.import_module("tests.tools.random_networks").CONFIGS["groups"]


# The run


def run(mutants: Sequence[Mutant], jobs: int) -> Iterator[tuple[Mutant, str, str]]:
    """Yields (mutant, result, by) as they end, ``jobs`` side by side. What survives its first tests
    goes to the end of the queue, so that most is known soon."""
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.startswith("rtl_models")]
    fork = multiprocessing.get_context("fork")
    queue = deque((mutant, STAGES.get(mutant.file, ACCELERATOR)) for mutant in mutants)
    running: dict[Any, Any] = {}
    try:
        while queue or running:
            while queue and len(running) < jobs:
                mutant, stages = queue.popleft()
                mine, theirs = fork.Pipe(duplex=False)
                process = fork.Process(target=judge, args=(mutant, stages[0], theirs))
                process.start()
                theirs.close()
                running[mine] = mutant, stages[1:], process
            for answer in wait(list(running)):
                mutant, stages, process = running.pop(answer)
                try:
                    result, by = answer.recv()
                except EOFError:
                    process.join()
                    late = process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL)
                    reason = f"the process ended with {process.exitcode}"
                    result, by = ("killed", "time-out") if late else ("failed", reason)
                process.join()
                if result == "survived" and stages:
                    queue.append((mutant, stages))
                else:
                    yield mutant, result, by
    finally:
        for _, _, process in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _checksum(file: str) -> str:
    return hashlib.sha256((RTL / file).read_bytes()).hexdigest()[:12]


def read_record() -> dict[str, dict[str, Any]]:
    """The last line of each mutant whose file is still the same."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    entries = [json.loads(line) for line in lines]
    return {e["name"]: e for e in entries if e["source"] == _checksum(e["file"])}


def controls() -> list[Mutant]:
    """A copy without a change for each set of tests: what fails on it would kill anything."""
    files = {stages: file for file, stages in {"accelerator.py": ACCELERATOR, **STAGES}.items()}
    return [Mutant(file, 1, 0, "control", 0, 0, "", "") for file in files.values()]


# What is told of it


def document(chosen: Sequence[Mutant], record: dict[str, dict[str, Any]]) -> tuple[str, list[str]]:
    """The page, and what is wrong: survivors without an explanation, or too many of them."""
    reasons = {e["name"]: e["why"] for e in tomllib.loads(EQUIVALENT.read_text())["mutant"]}
    results = {mutant: record[mutant.name]["result"] for mutant in chosen}
    total = Counter(results.values())
    living = total["killed"] + total["survived"]
    share = 100 * total["killed"] / living
    survivors = [mutant for mutant, result in results.items() if result == "survived"]
    wrong = [f"{m.name} survived, and no one knows why" for m in survivors if m.name not in reasons]
    if living < LEAST_LIVING or share < LEAST_KILLED:
        wrong.append(f"{total['killed']} of {living} mutants were killed, {share:.1f}%")

    def table(title: str, keys: dict[Mutant, str]) -> list[str]:
        rows = [f"| {title} | killed | survived | no hardware |", "|---|---|---|---|"]
        for key in [*sorted(set(keys.values())), "all"]:
            found = Counter(r for m, r in results.items() if key in (keys[m], "all"))
            counts = (found[name] for name in ("killed", "survived", "stillborn"))
            rows.append(f"| {key} | {' | '.join(map(str, counts))} |")
        return [*rows, ""]

    lines = [
        "# Mutants",
        "",
        "Written by `make mutate`, which plants faults in the RTL, one at a time, and looks",
        "whether the tests see them: [verification.md](verification.md).",
        "",
        f"{total['killed']} of {living} mutants were killed, {share:.1f}%.",
        f"{total['stillborn']} more are no hardware: they do not elaborate, or do not translate.",
        "",
        *table("file", {m: f"`{m.file}`" for m in chosen}),
        *table("change", {m: m.operator for m in chosen}),
        "## Survivors",
        "",
        "Each is equivalent: no test can tell it from the original, for the reason given.",
        "",
    ]
    for mutant in survivors:
        text = (RTL / mutant.file).read_text().splitlines()
        after = mutant.apply((RTL / mutant.file).read_text()).splitlines()
        lines += [f"`{mutant.file}`, {mutant.operator}:", "", "```diff"]
        lines += list(difflib.unified_diff(text, after, n=1, lineterm=""))[3:]
        lines += ["```", "", reasons.get(mutant.name, "No one knows why."), ""]
    return "\n".join(lines).rstrip() + "\n", wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutation", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants side by side")
    parser.add_argument("--only", default="", help="a pattern that the mutants' names match")
    parser.add_argument("--list", action="store_true", help="only print the mutants' names")
    arguments = parser.parse_args()
    chosen = sample(sorted(RTL.glob("*.py")), NUM_MUTANTS, SEED)
    todo = [*controls(), *chosen]
    picked = [mutant for mutant in todo if re.search(arguments.only, mutant.name)]
    if arguments.list:
        print("\n".join(mutant.name for mutant in picked))
        return
    RECORD.parent.mkdir(exist_ok=True)
    known = read_record()
    # A survivor may be killed by a test that is new.
    right = {mutant.name: ("killed", "stillborn") for mutant in chosen}
    right |= {mutant.name: ("survived",) for mutant in controls()}
    left = [m for m in picked if known.get(m.name, {}).get("result") not in right[m.name]]
    print(f"{len(picked)} mutants, {len(picked) - len(left)} of them done before", flush=True)
    for mutant, result, by in run(left, arguments.jobs):
        print(f"{result:9} {mutant.name}  {by}", flush=True)
        if result == "failed" or (mutant.operator == "control" and result != "survived"):
            sys.exit("error: the tests do not run without a mutant either")
        entry = {
            "name": mutant.name, "file": mutant.file, "source": _checksum(mutant.file),
            "operator": mutant.operator, "before": mutant.before, "after": mutant.after,
            "result": result, "by": by,
        }  # fmt: skip
        with RECORD.open("a") as record:
            record.write(json.dumps(entry) + "\n")
    known = read_record()
    missing = [mutant for mutant in todo if mutant.name not in known]
    if missing:
        print(f"{len(missing)} mutants are left: {DOCUMENT.name} is written when all are done")
        return
    text, wrong = document(chosen, known)
    DOCUMENT.write_text(text)
    print(f"{DOCUMENT.relative_to(ROOT)} is written")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
