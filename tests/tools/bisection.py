"""Whether ``accel bisect`` names the unit in which a fault was planted.

``python -m tests.tools.bisection`` plants faults in the RTL, one at a time, those of
:mod:`tests.tools.mutation`, in turn from every file, until ``--count`` of them change a result or
when it comes; and writes docs/bisection.md: what each does, and what bisect says of it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.tools.mutants import Mutant
from tests.tools.mutation import MEMORY, ROOT, RTL, SLOW_IMPORTS, checksum, planted

RECORD = ROOT / "build" / "bisection.jsonl"
DOCUMENT = ROOT / "docs" / "bisection.md"
OUTSIDE = ("axi_accelerator", "axi_registers", "performance_counter")
"""Files of what lies around the accelerator, where bisect does not look."""

COUNT, LEAST_RIGHT = 30, 0.9
SECONDS = 600
"""Of CPU time for a mutant."""

RESULTS = {
    "outputs": "wrong results",
    "never": "results do not come",
    "cycles": "results come in other cycles",
    "same": "results are the same",
    "stillborn": "no hardware",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a mutant. units: those that the changed file is a part of."""

    mutant: str
    source: str
    result: str
    """A key of :data:`RESULTS`."""
    units: tuple[str, ...] = ()
    named: str = ""
    """The unit that bisect names; empty if it finds nothing."""
    signal: str = ""
    says: str = ""

    @property
    def counts(self) -> bool:
        return self.result in ("outputs", "never", "cycles")

    @property
    def right(self) -> bool:
        return self.named in self.units


def everything() -> Any:
    """A configuration that has all components."""
    from accel.hardware.config import AccelConfig

    return AccelConfig(
        num_cols=4, num_lanes=2, pixel_groups=2, acc_nbits=26, spad_depth=4, act_depth=256,
        weight_depth=100, param_depth=60, max_layers=5, line_width=8, adder=True, tables=2,
    )  # fmt: skip


def workloads() -> Iterator[tuple[Any, Any, Any, int]]:
    """Networks, configurations, images and seeds of pauses, which together use all of the RTL."""
    import numpy as np

    from accel.hardware.config import AccelConfig
    from tests.networks import Conv, Linear, depthwise_network, random_images, random_network

    sizes: dict[str, Any] = {
        "acc_nbits": 26, "act_depth": 256, "weight_depth": 200, "param_depth": 60, "max_layers": 5,
    }  # fmt: skip
    two_groups = AccelConfig(num_cols=8, num_lanes=2, pixel_groups=2, spad_depth=8, **sizes)
    narrow = AccelConfig(num_cols=4, num_lanes=1, spad_depth=4, **sizes)
    rng = np.random.default_rng(11)
    specs: list[Any] = [Conv(5, (3, 3), 1, 1, True, True), Conv(20, (1, 1)), Linear(7)]
    network = random_network(rng, (1, 9, 9), specs)
    yield network, two_groups, random_images(rng, network, 2), 0
    yield network, two_groups, random_images(rng, network, 2), 3
    specs = [Conv(3, (5, 5), 2, 0, False), Conv(6, (2, 2), 1, 1, False, True), Linear(11, False)]
    network = random_network(rng, (2, 11, 9), specs, signed=True)
    yield network, narrow, random_images(rng, network, 2), 5
    network = depthwise_network(rng, signed=True)
    yield network, everything(), random_images(rng, network, 2), 7


def examine(mutant: Mutant) -> Verdict:
    """In a copy with the fault: what it does to the results, and what bisect names."""
    import numpy as np

    from accel.compiler.compile import compile
    from accel.errors import AccelError
    from accel.simulation.bisect import bisect
    from accel.simulation.runner import simulate

    name, source = mutant.name, checksum(mutant.file)
    try:
        units = _units(mutant)
    except Exception:
        return Verdict(mutant=name, source=source, result="stillborn")
    verdict = Verdict(mutant=name, source=source, result="same", units=units)
    for network, cfg, images, pauses in workloads():
        program = compile(network, cfg)
        expected = simulate(program, images, level="cl", jobs=1, pauses=pauses)
        assert expected.cycles is not None
        try:
            got = simulate(program, images, level="rtl", jobs=1, pauses=pauses,
                           max_cycles=2 * expected.cycles)  # fmt: skip
        except AccelError:
            result = "never"
        else:
            (a,), (b,) = expected.chunks, got.chunks
            same = np.array_equal(a.results, b.results)
            in_time = np.array_equal(a.last_result, b.last_result)  # type: ignore[arg-type]
            result = "outputs" if not same else "same" if in_time else "cycles"
        if result == "same":
            continue
        found = bisect(program, images, pauses=pauses).divergence
        if found is None:
            return Verdict(mutant=name, source=source, result=result, units=units)
        return Verdict(
            mutant=name,
            source=source,
            result=result,
            units=units,
            named=found.unit,
            signal=found.signal,
            says=str(found),
        )
    return verdict


def _units(mutant: Mutant) -> tuple[str, ...]:
    """The units of the accelerator that the mutant's file is a part of."""
    from pymtl3 import Component

    from rtl_models.accelerator import AcceleratorRTL

    top: Any = AcceleratorRTL(everything())
    top.elaborate()
    module = mutant.file.removesuffix(".py").replace("/", ".")
    found = set()
    for component in top.get_all_object_filter(lambda x: isinstance(x, Component)):
        if type(component).__module__ == module:
            _, *path = repr(component).replace("[", ".").split(".")
            found.add(path[0] if path else "accelerator")
    return tuple(sorted(found))


def judge(mutant: Mutant, answer: Connection) -> None:
    """In a process of its own."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    with planted(mutant) as log, contextlib.suppress(BrokenPipeError):
        try:
            verdict: Any = examine(mutant)
        except BaseException as e:
            verdict = f"{e!r}\n{log.read_text()[-2000:]}"
        answer.send(verdict)


def order(mutants: Sequence[Mutant]) -> list[Mutant]:
    """One of every file, then the second of every file, and so on."""
    turns: dict[str, int] = {}
    ranked = []
    for i, mutant in enumerate(mutants):
        if Path(mutant.file).stem not in OUTSIDE:
            turn = turns[mutant.file] = turns.get(mutant.file, -1) + 1
            ranked.append((turn, i, mutant))
    return [mutant for _, _, mutant in sorted(ranked)]


def run(mutants: Sequence[Mutant], known: dict[str, Verdict], count: int) -> list[Verdict]:
    """Verdicts in the order of the mutants, until ``count`` of them count."""
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    fork = multiprocessing.get_context("fork")
    found: list[Verdict] = []
    for mutant in mutants:
        if sum(v.counts for v in found) == count:
            break
        verdict: Any = known.get(mutant.name)
        if verdict is None:
            mine, theirs = fork.Pipe(duplex=False)
            process = fork.Process(target=judge, args=(mutant, theirs))
            process.start()
            theirs.close()
            try:
                verdict = mine.recv()
            except EOFError:
                verdict = "the process ended"
            process.join()
            if not isinstance(verdict, Verdict):
                sys.exit(f"error: {mutant.name}: {verdict}")
            RECORD.parent.mkdir(exist_ok=True)
            with RECORD.open("a") as record:
                record.write(json.dumps(asdict(verdict)) + "\n")
        found.append(verdict)
        right = ("right" if verdict.right else "wrong") if verdict.counts else ""
        print(f"{verdict.result:9} {right:5} {mutant.name}  {verdict.says}", flush=True)
    return found


def read_record() -> dict[str, Verdict]:
    """Verdicts of before, of files that are still the same."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    found = {}
    for line in lines:
        entry = json.loads(line)
        verdict = Verdict(**entry | {"units": tuple(entry["units"])})
        if checksum(verdict.mutant.partition(":")[0]) == verdict.source:
            found[verdict.mutant] = verdict
    return found


def document(found: Sequence[Verdict]) -> str:
    counted = [v for v in found if v.counts]
    right = sum(v.right for v in counted)
    lines = [
        "# What bisect names",
        "",
        "Written by `make bisection`, which plants faults in the RTL, those of",
        "[mutants](mutants.md), in turn from every file, until so many change a result of a small",
        "network, or when it comes. `accel bisect` looks for each; it is right if it names a unit",
        "that the changed file is a part of. A memory, a queue or a counter is part of several.",
        "",
        f"**{right} of {len(counted)}** are named rightly; {len(found) - len(counted)} more were "
        f"planted that change no result, or are no hardware.",
        "",
        "| fault | does | bisect names | first signal | right |",
        "|---|---|---|---|---|",
    ]
    for v in counted:
        fault = v.mutant.removeprefix("rtl_models/").replace("|", "\\|")
        named = f"`{v.named}`" if v.named else "nothing"
        signal = f"`{v.signal}`" if v.signal else ""
        lines.append(
            f"| `` {fault} `` | {RESULTS[v.result]} | {named} | {signal} "
            f"| {'yes' if v.right else 'no: ' + ', '.join(v.units)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.bisection", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="faults that change a result")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = run(order(RTL.sample()), read_record(), arguments.count)
    counted = [v for v in found if v.counts]
    right = sum(v.right for v in counted)
    if arguments.count == COUNT:
        DOCUMENT.write_text(document(found))
        print(f"{DOCUMENT.relative_to(ROOT)} is written")
    print(f"{right} of {len(counted)} are named rightly")
    if right < LEAST_RIGHT * len(counted):
        sys.exit("error: bisect names too few")


if __name__ == "__main__":
    main()
