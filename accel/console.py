"""What the command line prints with: two consoles, progress, and JSON."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from accel import files

console = Console()
error_console = Console(stderr=True)

PATIENCE = 2.0
"""Seconds without a word that nobody minds."""
INTERVAL = 10.0
"""Seconds between two lines of progress where there is no terminal."""


def set_quiet(quiet: bool) -> None:
    """Whether nothing but errors is printed from now on."""
    console.quiet = error_console.quiet = quiet


def say(text: str) -> None:
    """A line as it is: not folded, not coloured, nothing in it taken for markup."""
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def is_stdout(file: Path | None) -> bool:
    """Whether ``--json`` names the standard output, which then has nothing else on it."""
    return file == Path("-")


def check_json(file: Path | None) -> None:
    """Find out before long work whether :func:`write_json` will be able to write there, and keep
    the standard output free if that is where the JSON goes.

    Raises :class:`accel.errors.AccelError`.
    """
    if is_stdout(file):
        console.quiet = True
    elif file is not None:
        files.check_writable(file)


def write_json(file: Path | None, record: dict[str, Any]) -> None:
    """``record`` as JSON to the file, to the standard output if it is ``-``; nowhere if None.

    Raises :class:`accel.errors.AccelError` if that cannot be written.
    """
    if file is None:
        return
    if "record" not in record:
        record = {"written_by": "accel"} | record
    text = json.dumps(record, indent=2)
    if is_stdout(file):
        print(text)
    else:
        files.write(file, text + "\n")


class Work:
    """Something that takes long, and how far it is."""

    def __init__(self, what: str, unit: str, total: float | None, bar: Progress | None) -> None:
        self.what, self.unit, self.total, self._bar = what, unit, total, bar
        self._task = None if bar is None else bar.add_task(what, total=total, said="")
        self._start = time.monotonic()
        self._next_line = self._first_line = self._start + PATIENCE

    def show(
        self,
        done: float,
        *,
        total: float | None = None,
        what: str | None = None,
        note: str = "",
    ) -> None:
        """So much of it is done. ``total`` and ``what``: if that has changed; note: what else there
        is to say.

        The rate is that since ``what`` last changed.
        """
        now = time.monotonic()
        if what is not None and what != self.what:
            self.what, self._start = what, now
        self.total = total if total is not None else self.total
        said = "; ".join(part for part in (self._said(done, now - self._start), note) if part)
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, completed=done, total=self.total, description=self.what, said=said
            )
        elif now >= self._next_line:
            self._next_line = now + INTERVAL
            self._print(said)

    def say_what(self) -> None:
        """A line, unless there was one: called when so long was silence that a user wonders."""
        if self._next_line == self._first_line:
            self._next_line = time.monotonic() + INTERVAL
            self._print("under way")

    def _print(self, said: str) -> None:
        error_console.print(f"{self.what}: {said}", soft_wrap=True, highlight=False, markup=False)

    def _said(self, done: float, seconds: float) -> str:
        """How much, how fast and how long still."""
        if self.total is None:
            return ""
        said = f"{done:,.0f} of {self.total:,.0f} {self.unit}"
        if done and seconds >= 0.1:
            rate = done / seconds
            left = (self.total - done) / rate
            rounded = f"{rate:,.{0 if rate >= 10 else 1}f}" if rate >= 1 else f"{rate:.2g}"
            said += f", {rounded} {self.unit}/s, {_clock(left)} left"
        return said


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else (
        f"{minutes}:{rest:02d}"
    )  # fmt: skip


@contextmanager
def working(what: str, unit: str = "", total: float | None = None) -> Iterator[Work]:
    """Shows how far something is on the standard error: a bar in a terminal, else a line now and
    then once it has taken two seconds; nothing if quiet.

    Where it cannot be counted, :meth:`Work.show` need not be called: the name and the time that it
    has taken show that it goes on. unit: what ``total``, and the numbers given to
    :meth:`Work.show`, count.
    """
    if error_console.quiet or not error_console.is_terminal:
        work = Work(what, unit, total, None)
        timer = threading.Timer(PATIENCE, work.say_what)
        timer.daemon = True
        timer.start()
        try:
            yield work
        finally:
            timer.cancel()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=error_console, transient=True) as bar:
        yield Work(what, unit, total, bar)
