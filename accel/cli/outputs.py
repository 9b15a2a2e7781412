"""Files that commands write: what is there is kept, unless accel wrote it or --force says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accel import console, files
from accel.errors import AccelError

_force = False


def set_force(force: bool) -> None:
    """Whether whatever is there may be overwritten from now on."""
    global _force
    _force = force


def forced() -> bool:
    """Whether whatever is there may be overwritten."""
    return _force


ForceOption = Annotated[
    bool,
    typer.Option(
        "--force", callback=set_force, help="Overwrite files that accel did not write, too."
    ),
]


def check(*paths: Path) -> None:
    """Find out before long work whether these can be written, and may be.

    Raises :class:`AccelError` if one cannot, or is there already and is not accel's.
    """
    for path in paths:
        files.check_writable(path)
    foreign = [str(path) for path in paths if not _force and not files.is_own(path)]
    if foreign:
        raise AccelError(
            f"{', '.join(foreign)} {'is' if len(foreign) == 1 else 'are'} there already, and accel "
            f"did not write {'it' if len(foreign) == 1 else 'them'}: give another name, or --force "
            f"to overwrite"
        )


def check_json(file: Path | None) -> None:
    """The same of what ``--json`` names; see :func:`accel.console.check_json`."""
    console.check_json(file)
    if file is not None and not console.is_stdout(file):
        check(file)
