"""Sweeps of the design space: what each of many configurations makes of some networks.

A point is a configuration and a network. What is found for it is a :data:`Row` of a CSV file, which
is appended when the point is done: a sweep that was interrupted goes on after the last whole line.
A row says what it depends on (:data:`KEY`), and a sweep takes up only rows that it would write.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import fcntl
import hashlib
import io
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from accel import files
from accel.compiler.compile import compile
from accel.errors import AccelError
from accel.exploration.fit import DEPTHS, needs
from accel.hardware.config import SWITCHES, TABLE_SIZE, TAPS, AccelConfig
from accel.network.graph import Network
from accel.parallel import run_tasks, versions
from accel.reports.energy import accesses
from accel.simulation.runner import simulate
from accel.simulation.toolchain import find_toolchain
from accel.verilog.synthesis import FIGURES, find_target, synthesize, tools

Row = dict[str, Any]
"""A line of the file: text, whole numbers, floats, booleans; None where a cell is empty."""

FIELDS = tuple(f.name for f in dataclasses.fields(AccelConfig))
MEASURED, FAILED, WRONG = "measured", "failed", "wrong"
"""States of a row. Failed: this cannot be, and ``reason`` says why. Wrong: it should have been, but
something differs that must be equal, or accel itself failed."""

COLUMNS = (
    *("network", *FIELDS, "level", "state", "reason"),
    *("cycles", "latency_cycles", "utilization", "energy", "multipliers", "storage_bytes"),
    *("target", "seeds", *FIGURES, "fmax_mhz", "time_us"),
    *("images", "network_checksum", "versions"),
)
TEXT = {"network", "level", "state", "reason", "target", "network_checksum", "versions"}
KEY = ("network_checksum", *FIELDS, "level", "images", "target", "seeds", "versions")
"""What a row depends on."""
SYNTHESIS = ("state", "reason", *FIGURES, "fmax_mhz")
"""What synthesis says, the same for all networks."""

MANY_POINTS = 10_000
NUM_IMAGES = 2
"""Images for each point, unless others are asked for. Cycles are the same for all."""


# The points of a sweep


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network to be tried, and what it is tried with. checksum: of both. images: integers
    (N, *input shape). expected: the outputs of the reference of that name, (N, *output shape)."""

    name: str
    checksum: str
    network: Network
    images: NDArray[np.int64]
    expected: NDArray[np.int64]
    reference: str


@dataclass(frozen=True)
class Design:
    """A configuration to be tried; None if there can be none of these fields, and why."""

    fields: dict[str, int | bool]
    cfg: AccelConfig | None
    reason: str | None = None


def load_subjects(paths: Sequence[Path], images: str | None, folder: Path | None) -> list[Subject]:
    """The networks in these files, with images each, of which :func:`accel.images.find` says how
    they are named; two without a name. folder: where Fashion-MNIST's lie, if that is given.

    Raises :class:`AccelError` if a file is no network, or two of them cannot be told apart.
    """
    from accel.frontends.load import load
    from accel.images import find
    from accel.runtimes.reference import reference

    subjects: list[Subject] = []
    for path in paths:
        network = load(path)
        values = find(images, network, count=NUM_IMAGES, data=folder).values
        if values.dtype.kind == "f":
            t = network.input
            values = network.rounding.quantize(values, t.scale, t.zero_point, t.signed)
        if len(values) < 2:
            raise AccelError("--images must be two or more: cycles count from one to the next")
        by = reference(network)
        subjects.append(
            Subject(
                name=_clean(path.stem),
                checksum=_checksum(path.read_bytes() + values.astype(np.int16).tobytes()),
                network=network,
                images=values,
                expected=by.run(network, values)[-1].astype(np.int64),
                reference=by.name,
            )
        )
    for a, b in itertools.combinations(subjects, 2):
        if a.name == b.name:
            raise AccelError(f"two networks are called {a.name}: give files of different names")
        if a.checksum == b.checksum:
            raise AccelError(f"networks {a.name} and {b.name} are the same: leave one of them out")
    return subjects


def parse_sweep(options: Sequence[str]) -> dict[str, tuple[int | bool, ...]]:
    """``num_cols=2,4,8`` and its like: the values of each field.

    Raises :class:`AccelError` for an unknown field, one that is named twice, or something else than
    whole numbers (``true`` and ``false`` for what there is or is not).
    """
    sweep: dict[str, tuple[int | bool, ...]] = {}
    for option in options:
        name, equals, values = option.partition("=")
        if not equals or name not in FIELDS:
            raise AccelError(
                f"--sweep {option}: expected FIELD=VALUE,VALUE,... with one of the fields "
                f"{', '.join(FIELDS)}"
            )
        if name in sweep:
            raise AccelError(f"--sweep names {name} twice: give all its values at once")
        known = {"true": True, "false": False} if name in SWITCHES else {}
        texts = [text.strip() for text in values.split(",")]
        for text in texts:
            if text not in known and (known or not text.isdecimal() or len(text) > 9):
                allowed = "true or false" if known else "whole numbers"
                raise AccelError(f"--sweep {name}: values must be {allowed}, not '{text}'")
        # In the order given, each once.
        sweep[name] = tuple(dict.fromkeys(known[t] if known else int(t) for t in texts))
    if not sweep:
        raise AccelError("there is nothing to sweep: give at least one --sweep FIELD=VALUE,VALUE")
    return sweep


def plan(
    base: AccelConfig,
    sweep: Mapping[str, tuple[int | bool, ...]],
    subjects: Sequence[Subject],
    *,
    fit: bool = False,
) -> list[Design]:
    """Each combination of the values in ``base``. fit: make the memories (:data:`DEPTHS`) of each
    the smallest that hold all networks that otherwise fit.

    Raises :class:`AccelError` if there are too many, or ``fit`` is to choose what is swept.
    """
    count = 1
    for values in sweep.values():
        count *= len(values)
    if count > MANY_POINTS:
        raise AccelError(
            f"the sweep has {count:,} configurations, {count - MANY_POINTS:,} more than are tried "
            f"at once: give fewer values"
        )
    if fit and (both := [name for name in DEPTHS if name in sweep]):
        raise AccelError(f"--fit chooses {both[0]}: leave out --fit, or --sweep {both[0]}")
    designs: dict[tuple[Any, ...], Design] = {}
    for values in itertools.product(*sweep.values()):
        fields = dataclasses.asdict(base) | dict(zip(sweep, values, strict=True))
        try:
            cfg = AccelConfig(**fields)
        except AccelError as e:
            design = Design(fields, None, str(e))
        else:
            cfg = _fit(cfg, subjects) if fit else cfg
            design = Design(dataclasses.asdict(cfg), cfg)
        designs.setdefault(tuple(design.fields.values()), design)
    return list(designs.values())


def _fit(cfg: AccelConfig, subjects: Sequence[Subject]) -> AccelConfig:
    needed = []
    for subject in subjects:
        # What does not fit however deep they are says so in its own row.
        with contextlib.suppress(AccelError):
            needed.append(needs(subject.network, cfg, DEPTHS))
    fitted: dict[str, Any] = {name: max(n[name] for n in needed) for name in DEPTHS if needed}
    return dataclasses.replace(cfg, **fitted)


# One point


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all points of a sweep have in common. target: of synthesis, None for none. seeds: runs
    of place and route."""

    level: str
    versions: str
    target: str | None = None
    seeds: int = 0


@dataclass(frozen=True)
class Task:
    """A configuration, and the networks to be run on it. synthesis: cells of its row that are known
    from another network's."""

    design: Design
    subjects: tuple[Subject, ...]
    setting: Setting
    synthesis: Row | None


@dataclass(frozen=True)
class Check:
    """A row that was measured, to be held to Verilated RTL."""

    design: Design
    subject: Subject
    setting: Setting
    row: Row


def measure(task: Task) -> list[Row]:
    """A row for each network: cycles and energy from CL, figures of synthesis if asked for."""
    rows = [_simulated(task, subject) for subject in task.subjects]
    measured = [row for row in rows if row["state"] == MEASURED]
    if task.setting.target is not None and measured:
        cells = task.synthesis or _synthesized(task)
        for row in measured:
            row |= cells
            if row["fmax_mhz"]:
                # Cycles over cycles a microsecond.
                row["time_us"] = row["cycles"] / row["fmax_mhz"]
    return rows


def check(task: Check) -> list[Row]:
    """One row, of the same point in Verilated RTL: wrong if cycles, energy or outputs differ."""
    row = _simulated(task, task.subject)
    for name in ("cycles", "latency_cycles", "energy"):
        if row["state"] == MEASURED and row[name] != task.row[name]:
            row["state"] = WRONG
            row["reason"] = (
                f"{name}: {row[name]:,} in Verilated RTL, but {task.row[name]:,} at level cl"
            )
    return [row]


def _simulated(task: Task | Check, subject: Subject) -> Row:
    """The row of one network, with what simulation says."""
    row = _new_row(task.design, subject, task.setting)
    try:
        assert task.design.cfg is not None
        program = compile(subject.network, task.design.cfg)
        run = simulate(program, subject.images, level=task.setting.level, jobs=1)
        wrong = run.mismatches(subject.expected)
    except Exception as e:
        return row | _reason(e)
    energy = sum(layer.total for layer in accesses(program, run.traffic))
    row |= {"state": MEASURED, "cycles": _whole(run.cycles_per_image), "energy": _whole(energy)}
    row |= {"latency_cycles": run.latency_cycles, "utilization": run.utilization}
    if wrong:
        row["state"] = WRONG
        row["reason"] = (
            f"{wrong:,} of {run.outputs.size + len(run.outputs):,} outputs differ from those of "
            f"{subject.reference} at level {task.setting.level}"
        )
    return row


def _synthesized(task: Task) -> Row:
    """Cells of a row: the figures of synthesis, or why there are none."""
    from accel.verilog.translation import module_name, translate

    cfg, setting = task.design.cfg, task.setting
    try:
        assert cfg is not None and setting.target is not None
        outcome = synthesize(
            *(translate(cfg), module_name(cfg), find_target(setting.target)),
            num_seeds=setting.seeds,
            by_unit=False,
        )
    except Exception as e:
        return _reason(e)
    whole = {name: _whole(number) for name, number in outcome.whole.items()}
    return whole | {"fmax_mhz": outcome.fmax_mhz}


def _reason(error: Exception) -> Row:
    """Why there is no figure. What is no :class:`AccelError` is accel's own fault, but must not end
    a sweep of a night."""
    if isinstance(error, AccelError):
        return {"state": FAILED, "reason": _clean(str(error))}
    name = type(error).__name__
    return {"state": WRONG, "reason": _clean(f"accel itself failed with {name}: {error}")}


def _new_row(design: Design, subject: Subject, setting: Setting) -> Row:
    """A row of which only the figures are missing."""
    row: Row = dict.fromkeys(COLUMNS)
    row |= design.fields | dataclasses.asdict(setting)
    row |= {"network": subject.name, "network_checksum": subject.checksum}
    row |= {"images": len(subject.images)}
    if design.cfg is not None:
        row["multipliers"] = design.cfg.num_multipliers
        row["storage_bytes"] = storage_bytes(design.cfg)
    return row


def storage_bytes(cfg: AccelConfig) -> int:
    """Bytes of the memories whose size is a matter of choice: activations, weights, parameters,
    scratchpads and tables."""
    return (
        TAPS * cfg.pixel_groups * cfg.act_depth
        + cfg.num_multipliers * (cfg.weight_depth + cfg.spad_depth)
        + 8 * cfg.num_lanes * cfg.param_depth
        + TABLE_SIZE * cfg.num_lanes * cfg.tables
    )


def _whole(number: float | None) -> float | None:
    """A whole number as such: 3697, not 3697.0."""
    return int(number) if number is not None and number == int(number) else number


# The file


def _clean(text: str) -> str:
    """Text that stays on its line."""
    return " ".join(text.encode(errors="replace").decode().split())


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _synthesis_key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in (*FIELDS, "target", "seeds", "versions"))


def _line(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _number(text: str) -> int | float:
    return float(text) if any(c in text for c in ".en") else int(text)


def _parse(cells: list[str]) -> Row:
    """Raises ValueError if this is no row."""
    row: Row = {}
    for name, text in zip(COLUMNS, cells, strict=True):
        if name in TEXT:
            row[name] = text or None
        elif name in SWITCHES:
            row[name] = {"True": True, "False": False}[text]
        else:
            row[name] = _number(text) if text else None
    if row["level"] not in ("cl", "verilator") or row["state"] not in (MEASURED, FAILED, WRONG):
        raise ValueError
    if row["state"] == MEASURED and not (row["cycles"] and row["energy"]):
        raise ValueError
    return row


def _rows(path: Path, content: bytes) -> list[Row]:
    """Those of whole lines, the header first. Raises :class:`AccelError` for a damaged one."""
    rows = []
    for number, line in enumerate(content.splitlines(keepends=True)[1:], 2):
        try:
            (cells,) = csv.reader([line.decode()], strict=True)
            rows.append(_parse(cells))
        except (ValueError, KeyError, csv.Error) as e:
            raise AccelError(
                f"line {number} of {path} is damaged: delete it, and its point is tried again"
            ) from e
    return rows


def read_rows(path: Path) -> list[Row]:
    """All points of a file, in the order of its lines, of which the first one is no point.

    Raises :class:`AccelError` if it cannot be read, or is no such file.
    """
    try:
        content = path.read_bytes()
    except OSError as e:
        raise AccelError(f"cannot read {path}: {e.strerror}") from e
    whole = content[: content.rfind(b"\n") + 1]
    if not whole.startswith(_line(COLUMNS)):
        raise AccelError(f"{path} is not what this version of accel explore writes")
    return _rows(path, whole)


class Results:
    """The file of a sweep: a CSV file of :data:`COLUMNS`, which others read while it grows.

    ``rows``: all that are in it, also those of other sweeps. Raises :class:`AccelError` if the file
    cannot be written, is another one, is damaged, or another sweep is writing it. What an
    interrupted sweep left of a last line is taken away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []

    def __enter__(self) -> Self:
        files.check_writable(self.path)
        try:
            self._file = open(self.path, "a+b")
        except OSError as e:
            raise self._not_writable(e) from e
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise
        return self

    def _open(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise AccelError(
                f"another sweep is writing {self.path}: wait for it, or give another --out"
            ) from e
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        header = _line(COLUMNS)
        # Of a file that is nothing but the start of a header, nothing is lost.
        if not content.startswith(header) if whole else not header.startswith(content):
            raise AccelError(
                f"{self.path} is not what this version of accel explore writes: give another --out"
            )
        self.rows += _rows(self.path, content[:whole])
        self._file.truncate(whole)
        if not whole:
            self._write(header)

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, row: Row) -> Row:
        """Writes a row, whole, to the disk. Returns it as it will be read."""
        line = _line(row[name] for name in COLUMNS)
        self._write(line)
        (cells,) = csv.reader([line.decode()], strict=True)
        self.rows.append(_parse(cells))
        return self.rows[-1]

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as e:
            raise self._not_writable(e) from e

    def _not_writable(self, error: OSError) -> AccelError:
        return AccelError(f"cannot write {self.path}: {error.strerror}; give another --out")


# The sweep

Progress = Callable[[int, int, str], None]
"""Called with how many configurations are done, of how many, and what is being done with them."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What came out, in the order of the sweep. kept: rows that the file had before."""

    rows: list[Row]
    checks: list[Row]
    kept: int


def run(
    designs: Sequence[Design],
    subjects: Sequence[Subject],
    results: Results,
    *,
    target: str | None = None,
    seeds: int = 0,
    checks: int = 0,
    jobs: int | None = None,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Try all ``designs`` with all ``subjects``, but for what ``results`` has already.

    target: of synthesis, if any. seeds: runs of place and route, 0 for none. checks: how many of
    the measured points are run on Verilated RTL too, evenly spread. jobs, cluster: as
    :func:`accel.parallel.run_tasks` has them.

    A point that cannot be is a row with its reason. Raises :class:`AccelError` for what would end
    all points alike: a missing tool, a cluster that is lost, a disk that is full.
    """
    setting = Setting(level="cl", versions=_versions(target, seeds), target=target, seeds=seeds)
    compiled = None
    if checks:
        version = f"{_versions()}; Verilator {find_toolchain().version}"
        compiled = Setting(level="verilator", versions=version)
    points = [(d, s, _new_row(d, s, setting)) for d in designs for s in subjects]

    before = {_key(row) for row in results.rows}
    twins = {
        _synthesis_key(row): {name: row[name] for name in SYNTHESIS}
        for row in results.rows
        if row["target"] and row["cycles"] and row["state"] != WRONG
    }
    tasks = []
    for design, of_design in itertools.groupby(points, key=lambda point: point[0]):
        missing = [(s, row) for _, s, row in of_design if _key(row) not in before]
        if missing and design.cfg is not None:
            twin = twins.get(_synthesis_key(missing[0][1]))
            tasks.append(Task(design, tuple(s for s, _ in missing), setting, twin))
        for _, row in missing if design.cfg is None else ():
            results.append(row | {"state": FAILED, "reason": _clean(design.reason or "")})
    _work("exploring", measure, tasks, results, jobs, cluster, progress)

    known = {_key(row): row for row in results.rows}
    rows = [known[_key(row)] | {"network": row["network"]} for _, _, row in points]
    checked: list[Row] = []
    if compiled is not None:
        measured = [
            Check(design, subject, compiled, row)
            for (design, subject, _), row in zip(points, rows, strict=True)
            if row["state"] == MEASURED
        ]
        chosen = np.linspace(0, len(measured) - 1, min(checks, len(measured))).round().astype(int)
        wanted = [(measured[i], _new_row(measured[i].design, measured[i].subject, compiled))
                  for i in chosen]  # fmt: skip
        todo = [task for task, row in wanted if _key(row) not in before]
        _work("checking in Verilator", check, todo, results, jobs, cluster, progress)
        known = {_key(row): row for row in results.rows}
        checked = [known[_key(row)] | {"network": row["network"]} for _, row in wanted]
    return Sweep(rows=rows, checks=checked, kept=sum(_key(row) in before for row in rows))


def _work(
    what: str,
    function: Callable[[Any], list[Row]],
    tasks: list[Any],
    results: Results,
    jobs: int | None,
    cluster: str | None,
    progress: Progress | None,
) -> None:
    """All tasks, and their rows into the file as they come."""
    done, say = 0, progress or (lambda done, total, what: None)
    say(done, len(tasks), what)
    if tasks:
        finished: Any = run_tasks(function, tasks, jobs=jobs, cluster=cluster)
        with closing(finished):
            for _, rows in finished:
                for row in rows:
                    results.append(row)
                done += 1
                say(done, len(tasks), what)


def _versions(target: str | None = None, seeds: int = 0) -> str:
    """Of all that a row depends on, the tools of synthesis among them."""
    parts = [", ".join(f"{name} {version}" for name, version in versions().items())]
    if target is not None:
        chosen = find_target(target)
        parts.append(tools(chosen, seeds))
        if chosen.liberty is not None:
            parts.append(f"{chosen.name} {_checksum(chosen.liberty.read_bytes())}")
    return "; ".join(parts)


def _checksum(content: bytes) -> str:
    # Not the bare digits, which might look like a number.
    return f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"
