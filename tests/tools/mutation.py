"""Plants faults in the RTL, the arithmetic and the compiler, one at a time, and looks whether the
tests see them.

``python -m tests.tools.mutation`` (``make mutate``) runs a sample that is the same for the same
sources, and writes docs/mutants.md; which faults there are is in :mod:`tests.tools.mutants`. What
is done is kept in build/mutants.jsonl, so that a run that was interrupted goes on where it stood;
only survivors run again.

General mutation tools do not serve the RTL. Most of what they would change is Python around the
hardware: widths, loops that build structure, line traces. And PyMTL3 reads the *source* of an
update block, through ``inspect``, to simulate and to translate it: a tool that exchanges functions
in memory, or keeps all mutants in one file behind switches, as mutmut does, changes what Python
runs but not the hardware. So a mutant here is a copy of the project in which a few characters of
one file differ, and a process, forked when all slow imports are done, that runs pytest there. What
serves the hardware serves plain Python as well.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import importlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import tomllib
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.tools.mutants import (
    Find,
    Mutant,
    find_in_hardware,
    find_in_software,
    sample,
)

RECORD = ROOT / "build" / "mutants.jsonl"
EQUIVALENT = ROOT / "tests" / "tools" / "equivalent_mutants.toml"
DOCUMENT = ROOT / "docs" / "mutants.md"
LEAST_A_FILE, LEAST_KILLED = 3, 95.0

SLOW_IMPORTS = (
    "torch.ao.quantization", "pymtl3.stdlib.test_utils", "hypothesis.strategies",
    "hypothesis.extra.numpy", "typer.testing", "rich.live", "plotly.graph_objects",
    "pydantic", "joblib", "safetensors.numpy",
)  # fmt: skip
"""None of them is the project's: that is imported from the copy."""

MEMORY = 8 << 30
"""Bytes that a mutant may have."""


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
NEWEST = (
    # Of layers that add, of column windows, and of tables
    Stage(
        "tests/system/hardware/test_legal_descriptors.py",
        (r"agree\[.*r\d+b?(t\d+)?\]", r"agree.*[bt]\d*\]"),
    ),
    Stage("tests/system/hardware/test_depthwise.py", ("rtl_in_every_cycle",)),
)
BOARD = (Stage("tests/system/board/test_virtual_board.py"),)
RTL_STAGES = {
    f"rtl_models/{name}.py": stages
    for names, stages in (
        (
            (
                *("multiplier", "packed_multiplier", "scratchpad", "pe", "pe_pair"),
                *("column_pair", "pe_array", "accumulator"),
            ),
            (
                Stage("tests/units/test_packed_multiplier.py"),
                Stage("tests/units/test_pe_array.py"),
                *ACCELERATOR,
            ),
        ),
        (
            ("pooling_unit", "pooling_lane"),
            (Stage("tests/units/test_pooling_unit.py"), *ACCELERATOR),
        ),
        (
            ("requantizer", "requantizer_lane"),
            (Stage("tests/units/test_requantizer.py"), *ACCELERATOR),
        ),
        (
            ("loop_counters", "loop_address", "loop_offset", "loop_nest"),
            (Stage("tests/units/test_loops.py"), *ACCELERATOR),
        ),
        (
            ("address_adder", "tap_rows", "tap_address", "pixel_offset", "address_generator"),
            (Stage("tests/units/test_addresses.py"), *ACCELERATOR, *NEWEST),
        ),
        (
            ("program_loader", "image_loader", "descriptor_memory"),
            (Stage("tests/units/test_loaders.py"), *ACCELERATOR),
        ),
        (
            ("step_sequencer", "param_sequencer"),
            (Stage("tests/units/test_sequencers.py"), *ACCELERATOR, *NEWEST),
        ),
        (
            ("adder", "adder_lane"),
            (Stage("tests/units/test_adder.py"), *NEWEST),
        ),
        (("tables",), (Stage("tests/units/test_tables.py"), *NEWEST)),
        (
            ("column_windows", "column_window"),
            (Stage("tests/units/test_column_windows.py"), *NEWEST),
        ),
        (("term_sequencer",), (Stage("tests/units/test_term_sequencer.py"), *NEWEST)),
        (("operand_address", "window_steps"), NEWEST),
        (("serial_bridge",), (Stage("tests/units/test_serial_bridge.py"), *BOARD)),
        (
            ("uart_receiver", "uart_transmitter", "symbol_queue"),
            (Stage("tests/units/test_uart.py"), *BOARD),
        ),
        (("register_access", "board"), BOARD),
        (("operand_fetch", "accelerator"), (*ACCELERATOR, *NEWEST)),
        (
            ("write_sequencer", "result_packer"),
            (Stage("tests/units/test_outputs.py"), *ACCELERATOR),
        ),
        (
            ("traffic_counters", "tap_count"),
            (Stage("tests/units/test_traffic_counters.py"), *ACCELERATOR),
        ),
        (
            ("axi_registers", "axi_accelerator", "performance_counter"),
            (
                Stage(
                    "tests/system/hardware/test_axi.py",
                    ("registers", "illegal", "interrupts", "counter", "soft", "driver", "cocotb"),
                ),
            ),
        ),
    )
    for name in names
}

FORMAT = ("descriptors", "fields", "packets", "walk")
"""What in ``accel.hardware`` says how programs are written, and what they mean."""

# Tests that need no RTL come first: they are fast.
WITHOUT_RTL = (
    Stage("tests/system/compiler/test_compiler.py"),
    Stage(
        "tests/system/hardware/test_accelerator.py",
        (
            "chosen_networks.*fl",
            "any_network.*fl",
            "chosen_networks.*cl",
            "any_network",
            "many_layers",
            "equal_outputs",
            "cycles_of",
        ),
    ),
    Stage("tests/system/hardware/test_legal_descriptors.py"),
    Stage("tests/system/hardware/test_random_networks.py"),
)
UNITS = ("loops", "addresses", "loaders", "sequencers", "outputs", "traffic_counters")
HARDWARE_PACKAGE = (
    Stage("tests/system/hardware/test_format.py"),
    *(Stage(f"tests/units/test_{name}.py") for name in UNITS),
    *WITHOUT_RTL,
)
SOFTWARE_STAGES: dict[str, tuple[Stage, ...]] = {
    "accel/numerics.py": (
        Stage("tests/system/network/test_numerics.py"),
        Stage("tests/units/test_requantizer.py"),
        Stage("tests/units/test_adder.py"),
        Stage("tests/system/frontends/test_reference.py"),
    ),
    **{f"accel/hardware/{name}.py": HARDWARE_PACKAGE for name in FORMAT},
}


@dataclass(frozen=True, kw_only=True)
class Area:
    """Sources that are changed alike. least: of the ``count`` mutants, how many must not be
    stillborn. stages: by file, else ``otherwise``; levels: whose tests see anything of it.
    seconds: of CPU time after which a mutant hangs, three times the longest stage without one."""

    title: str
    intro: tuple[str, ...]
    stillborn: str
    files: tuple[str, ...]
    find: Find
    count: int
    least: int
    stages: Mapping[str, tuple[Stage, ...]]
    otherwise: tuple[Stage, ...]
    levels: tuple[str | None, ...]
    seconds: int

    def sources(self) -> dict[str, str]:
        return {file: (ROOT / file).read_text() for file in self.files}

    def sample(self) -> list[Mutant]:
        return sample(self.sources(), self.find, self.count, LEAST_A_FILE)

    def drawn(self) -> str:
        """How many of how many are in the sample."""
        number = sum(len(self.find(file, source)) for file, source in self.sources().items())
        return f"{self.count} of the {number:,} that there are were drawn"

    def stages_of(self, mutant: Mutant) -> tuple[Stage, ...]:
        return self.stages.get(mutant.file, self.otherwise)

    def controls(self) -> list[Mutant]:
        """A copy without a change for each set of tests: what fails on it would kill anything."""
        files = {self.otherwise: self.files[0]}
        files |= {stages: file for file, stages in self.stages.items()}
        others = [file for file in self.files if file not in self.stages]
        files |= {self.otherwise: others[0]} if others else {}
        return [Mutant(file, "", 1, 0, "control", 0, 0, "", "") for file in files.values()]


def _files(*patterns: str) -> tuple[str, ...]:
    found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return tuple(str(path.relative_to(ROOT)) for path in found if path.name != "__init__.py")


RTL = Area(
    title="RTL",
    intro=("Blocks, connections and constants of `rtl_models/`.",),
    stillborn="no hardware: they do not elaborate, or do not translate",
    files=_files("rtl_models/*.py"),
    find=find_in_hardware,
    count=240,
    least=200,
    stages=RTL_STAGES,
    otherwise=ACCELERATOR,
    levels=(None, "rtl"),
    seconds=900,
)
SOFTWARE = Area(
    title="Arithmetic and compiler",
    intro=(
        "Plain Python: `accel/numerics.py`, `accel/compiler/`, and what says in `accel/hardware/`",
        "how programs are written.",
    ),
    stillborn="no program: they cannot be imported",
    files=_files(
        "accel/numerics.py",
        "accel/compiler/*.py",
        *(f"accel/hardware/{name}.py" for name in FORMAT),
    ),
    find=find_in_software,
    count=120,
    least=100,
    stages=SOFTWARE_STAGES,
    otherwise=WITHOUT_RTL,
    levels=(None, "fl", "cl"),
    seconds=600,
)
AREAS = (RTL, SOFTWARE)


class _Plugin:
    """Picks a stage's tests, and keeps what the first failure was."""

    def __init__(self, stage: Stage, levels: tuple[str | None, ...]) -> None:
        self.stage, self.levels = stage, levels
        self.killer, self.asserted = "", False

    def pytest_collection_modifyitems(self, config: Any, items: list[pytest.Item]) -> None:
        ranked: list[tuple[int, int, pytest.Item]] = []
        for i, item in enumerate(items):
            level = getattr(item, "callspec", None) and item.callspec.params.get("level")
            rank = [k for k, p in enumerate(self.stage.patterns) if re.search(p, item.name)]
            if level in self.levels and rank:
                ranked.append((rank[0], i, item))
        items[:] = [item for _, _, item in sorted(ranked)]

    def pytest_exception_interact(self, node: Any, call: Any, report: Any) -> None:
        self.killer = self.killer or report.nodeid
        self.asserted = self.asserted or call.excinfo.errisinstance(AssertionError)


def judge(area: Area, mutant: Mutant, stage: Stage, answer: Connection) -> None:
    """In a process of its own: makes the copy, runs the tests, and answers with (result, by)."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (area.seconds, area.seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    with planted(mutant) as log:
        try:
            result, by = _run(area, mutant, stage, log.parent)
        except Exception as e:
            result, by = "failed", repr(e)
        if result == "failed":
            by += "\n" + log.read_text()[-2000:]
        answer.send((result, by))


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[Path]:
    """Makes a copy of the project with the fault, from which this process imports from now on, and
    goes there. Yields the file to which all is printed."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        place = Path(folder)
        log = os.open(place / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for name in ("accel", "cl_models", "fl_models", "rtl_models", "tests"):
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", place)
        target = place / mutant.file
        target.write_text(mutant.apply(target.read_text()))
        # In front of where the project is installed; and nothing that was built before is found.
        os.environ |= {"XDG_CACHE_HOME": str(place / "cache"), "PYTHONPATH": folder}
        sys.path.insert(0, folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        os.chdir(place)
        yield place / "log"


def _run(area: Area, mutant: Mutant, stage: Stage, place: Path) -> tuple[str, str]:
    plugin = _Plugin(stage, area.levels)
    # PyMTL3's plugin is there already, which pytest would rather import itself.
    options = ["-x", "-q", "-W", "ignore::pytest.PytestAssertRewriteWarning", *stage.options]
    status = pytest.main([*options, str(place / stage.file)], plugins=[plugin])
    module = mutant.file.removesuffix(".py").replace("/", ".")
    loaded = sys.modules.get(module)
    if loaded is not None and not str(loaded.__file__).startswith(str(place)):
        return "failed", f"the tests ran on {loaded.__file__}, not on the mutant"
    if status == pytest.ExitCode.OK:
        return "survived", ""
    if not plugin.asserted:
        # Did the tests see something wrong, or is this no hardware, or no Python, at all?
        try:
            importlib.import_module(module)
            if area is RTL:
                importlib.import_module("accel.verilog.translation").translate_axi(_small())
        except Exception as e:
            return "stillborn", type(e).__name__
    if status != pytest.ExitCode.TESTS_FAILED:
        return "failed", f"pytest ended with status {status}"
    return "killed", plugin.killer


def _small() -> Any:
    return importlib.import_module("tests.tools.random_networks").CONFIGS["groups"]


# The run


def run(work: Sequence[tuple[Area, Mutant]], jobs: int) -> Iterator[tuple[Mutant, str, str]]:
    """Yields (mutant, result, by) as they end, ``jobs`` side by side. What survives its first tests
    goes to the end of the queue, so that most is known soon."""
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    project = ("accel", "cl_models", "fl_models", "rtl_models")
    assert not [name for name in sys.modules if name.partition(".")[0] in project]
    # Named, since from Python 3.14 on a process is not forked unless one says so, and imports anew.
    fork = multiprocessing.get_context("fork")
    queue = deque((area, mutant, area.stages_of(mutant)) for area, mutant in work)
    running: dict[Any, Any] = {}
    try:
        while queue or running:
            while queue and len(running) < jobs:
                area, mutant, stages = queue.popleft()
                mine, theirs = fork.Pipe(duplex=False)
                process = fork.Process(target=judge, args=(area, mutant, stages[0], theirs))
                process.start()
                theirs.close()
                running[mine] = area, mutant, stages[1:], process
            for answer in wait(list(running)):
                area, mutant, stages, process = running.pop(answer)
                try:
                    result, by = answer.recv()
                except EOFError:
                    process.join()
                    late = process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL)
                    reason = f"the process ended with {process.exitcode}"
                    result, by = ("killed", "time-out") if late else ("failed", reason)
                process.join()
                if result == "survived" and stages:
                    queue.append((area, mutant, stages))
                else:
                    yield mutant, result, by
    finally:
        for *_, process in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def checksum(file: str) -> str:
    """Of a source, for a record to hold good while it is the same."""
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()[:12]


def read_record() -> dict[str, dict[str, Any]]:
    """The last line of each mutant whose file is still the same."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    entries = [json.loads(line) for line in lines]
    return {e["name"]: e for e in entries if e["source"] == checksum(e["file"])}


# What is told of it


def equivalent() -> list[dict[str, str]]:
    """Mutants that no test can tell from the original, each with its name and why."""
    found: list[dict[str, str]] = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    return found


def document(
    chosen: Mapping[str, Sequence[Mutant]], record: Mapping[str, Mapping[str, Any]]
) -> tuple[str, list[str]]:
    """The page, and what is wrong: survivors without an explanation, or too many of them.

    chosen: by the title of the area.
    """
    lines = [
        "# Mutants",
        "",
        "Written by `make mutate`, which plants faults in the sources, one at a time, and looks",
        "whether the tests see them: [verification.md](verification.md).",
        "",
    ]
    wrong = []
    reasons = {entry["name"]: entry["why"] for entry in equivalent()}
    for area in AREAS:
        part, complaints = _chapter(area, chosen[area.title], record, reasons)
        lines += part
        wrong += complaints
    return "\n".join(lines).rstrip() + "\n", wrong


def _chapter(
    area: Area,
    chosen: Sequence[Mutant],
    record: Mapping[str, Mapping[str, Any]],
    reasons: Mapping[str, str],
) -> tuple[list[str], list[str]]:
    results = {mutant: record[mutant.name]["result"] for mutant in chosen}
    total = Counter(results.values())
    living = total["killed"] + total["survived"]
    share = 100 * total["killed"] / living
    survivors = [mutant for mutant, result in results.items() if result == "survived"]
    wrong = [f"{m.name} survived, and no one knows why" for m in survivors if m.name not in reasons]
    if living < area.least or share < LEAST_KILLED:
        wrong.append(f"{area.title}: {total['killed']} of {living} were killed, {share:.1f}%")

    def table(title: str, keys: dict[Mutant, str]) -> list[str]:
        rows = [f"| {title} | killed | survived | stillborn |", "|---|---|---|---|"]
        for key in [*sorted(set(keys.values())), "all"]:
            found = Counter(r for m, r in results.items() if key in (keys[m], "all"))
            counts = (found[name] for name in ("killed", "survived", "stillborn"))
            rows.append(f"| {key} | {' | '.join(map(str, counts))} |")
        return [*rows, ""]

    lines = [
        f"## {area.title}",
        "",
        *area.intro,
        f"{area.drawn()}.",
        f"{total['killed']} of {living} mutants were killed, {share:.1f}%.",
        f"{total['stillborn']} more are {area.stillborn}.",
        "",
        *table("file", {m: f"`{m.file}`" for m in chosen}),
        *table("change", {m: m.operator for m in chosen}),
    ]
    if survivors:
        lines += ["The survivors are equivalent, each for the reason given:", ""]
    for mutant in survivors:
        source = (ROOT / mutant.file).read_text()
        lines += [f"`{mutant.file}`, {mutant.operator}:", "", "```diff"]
        texts = source.splitlines(), mutant.apply(source).splitlines()
        lines += list(difflib.unified_diff(*texts, n=1, lineterm=""))[3:]
        lines += ["```", "", reasons.get(mutant.name, "No one knows why.").strip(), ""]
    return lines, wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutation", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants side by side")
    parser.add_argument("--only", default="", help="a pattern that the mutants' names match")
    parser.add_argument("--list", action="store_true", help="only print names and numbers")
    arguments = parser.parse_args()
    chosen = {area.title: area.sample() for area in AREAS}
    todo = [(area, m) for area in AREAS for m in [*area.controls(), *chosen[area.title]]]
    picked = [(area, m) for area, m in todo if re.search(arguments.only, m.name)]
    if arguments.list:
        print("\n".join(mutant.name for _, mutant in picked))
        print("\n".join(f"{area.title}: {area.drawn()}" for area in AREAS))
        return
    RECORD.parent.mkdir(exist_ok=True)
    known = read_record()
    left = [(area, m) for area, m in picked if not _is_settled(m, known)]
    print(f"{len(picked)} mutants, {len(picked) - len(left)} of them done before", flush=True)
    for mutant, result, by in run(left, arguments.jobs):
        print(f"{result:9} {mutant.name}  {by}", flush=True)
        if result == "failed" or (mutant.operator == "control" and result != "survived"):
            sys.exit("error: the tests do not run without a mutant either")
        entry = {
            "name": mutant.name, "file": mutant.file, "source": checksum(mutant.file),
            "operator": mutant.operator, "before": mutant.before, "after": mutant.after,
            "result": result, "by": by,
        }  # fmt: skip
        with RECORD.open("a") as record:
            record.write(json.dumps(entry) + "\n")
    known = read_record()
    missing = [mutant for _, mutant in todo if mutant.name not in known]
    if missing:
        print(f"{len(missing)} mutants are left: {DOCUMENT.name} is written when all are done")
        return
    text, wrong = document(chosen, known)
    DOCUMENT.write_text(text)
    print(f"{DOCUMENT.relative_to(ROOT)} is written")
    if wrong:
        sys.exit("\n".join(wrong))


def _is_settled(mutant: Mutant, known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Not where it survived: it may be killed by a test that is new."""
    right = ("survived",) if mutant.operator == "control" else ("killed", "stillborn")
    return known.get(mutant.name, {}).get("result") in right


if __name__ == "__main__":
    main()
