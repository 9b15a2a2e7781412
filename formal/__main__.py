"""Proves the properties of the units, for ``make formal``: prints what is proven, and writes the
table of docs/verification.md. A unit's name after ``python -m formal`` proves that one, and writes
nothing.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

from accel import files
from accel.console import console, working
from accel.errors import AccelError
from accel.reports import tables as report
from formal.proofs import PROOFS
from formal.prove import ROOT, Fault, Outcome, Proof, prove

DOC = ROOT / "docs" / "verification.md"
MARKER, END = "<!-- formal -->\n", "<!-- end -->"

Results = dict[tuple[Proof, str, Fault | None], Outcome]


def main() -> int:
    """The exit status: 1 if something is not proven, or a planted fault is not found."""
    chosen = [p for p in PROOFS if p.unit in sys.argv[1:] or not sys.argv[1:]]
    unknown = set(sys.argv[1:]) - {p.unit for p in PROOFS}
    try:
        if unknown:
            names = ", ".join(dict.fromkeys(p.unit for p in PROOFS))
            raise AccelError(f"unknown unit '{unknown.pop()}': expected some of {names}")
        files.check_writable(DOC)
        start = time.monotonic()
        results = _prove_all(chosen)
        failed = _print(results)
        console.print(f"{len(results)} runs in {(time.monotonic() - start) / 60:.1f} minutes")
        if not failed and chosen == list(PROOFS):
            _write(results)
    except AccelError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; nothing was written", file=sys.stderr)
        return 130
    return int(failed)


def _prove_all(proofs: list[Proof]) -> Results:
    """Every proof for each of its configurations, and the search for its faults in the first."""
    runs: list[tuple[Proof, str, Fault | None]] = []
    for proof in proofs:
        runs += [(proof, config, None) for config in proof.configs]
        runs += [(proof, proof.configs[0], fault) for fault in proof.faults]
    results: Results = {}
    with (
        working("proofs", "runs", len(runs)) as work,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        futures: list[Future[Outcome]] = [pool.submit(prove, *run) for run in runs]
        try:
            for run, future in zip(runs, futures, strict=True):
                results[run] = future.result()
                work.show(len(results), note=run[0].unit)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return results


def _print(results: Results) -> bool:
    """Whether any is not as it should be."""
    table = report.new_table("formal proofs", "unit", "configuration")
    report.add_numbers(table, "depth", "seconds")
    table.add_column("result")
    any_wrong = False
    for (proof, config, fault), outcome in results.items():
        wrong = bool(outcome.failed) == (fault is None)
        any_wrong |= wrong
        if fault is None:
            said = f"NOT PROVEN: {outcome.failed}" if wrong else _method(proof)
        else:
            said = "NOT FOUND" if wrong else f"found at {outcome.failed}, cycle {outcome.step}"
            said = f"fault '{fault.what}' {said}"
        if wrong and outcome.trace:
            said += f"\n{outcome.trace}"
        unit = proof.unit if fault is None else ""
        table.add_row(unit, config, str(proof.depth), f"{outcome.seconds:.1f}", said)
    console.print(table)
    return any_wrong


def _method(proof: Proof) -> str:
    return "none within the depth" if proof.bounded else "proven"


def _write(results: Results) -> None:
    """The table between the markers of docs/verification.md."""
    before, marker, rest = DOC.read_text(encoding="utf-8").partition(MARKER)
    _, end, after = rest.partition(END)
    if not (marker and end):
        raise AccelError(f"{DOC} has no place for the table: a line {MARKER.strip()}, and {END}")
    files.write(DOC, "\n".join([before + marker, *_lines(results), "", end + after]))


def _lines(results: Results) -> list[str]:
    """A row for each proof."""
    lines = [
        "| unit | proven | for | how | seconds | planted faults, found in cycle |",
        "|---|---|---|---|---|---|",
    ]
    for proof in dict.fromkeys(proof for proof, _, _ in results):
        seconds = [f"{results[proof, config, None].seconds:.0f}" for config in proof.configs]
        how = f"{proof.depth} cycles from reset" if proof.bounded else f"induction, {proof.depth}"
        faults = [f"{f.what}: {results[proof, proof.configs[0], f].step}" for f in proof.faults]
        cells = [proof.unit, proof.what, ", ".join(proof.configs), how, ", ".join(seconds)]
        lines.append(f"| {' | '.join([*cells, '; '.join(faults)])} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
