"""Folders that a command writes, with a list of what is in them, by which it knows its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from accel import files
from accel.errors import AccelError

NAME = "manifest.json"
"""The list, which has the SHA-256 of each other file under ``sha256``."""


def hashes(contents: Mapping[str, str | bytes]) -> dict[str, str]:
    """What the list says of files, by their names."""
    return {
        name: hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
        for name, data in sorted(contents.items())
    }


def check(out: Path, names: Iterable[str], command: str, *, force: bool) -> None:
    """Find out before long work whether files of these names can be written to ``out``, and may be:
    what is there has to be as ``command`` left it, unless ``force``.

    Raises :class:`AccelError` otherwise.
    """
    names = list(names)
    for name in names:
        files.check_writable(out / name)
    foreign = [] if force else _foreign(out, names)
    if foreign:
        raise AccelError(
            f"{', '.join(foreign)} in folder {out} {'is' if len(foreign) == 1 else 'are'} there "
            f"already, and not as {command} wrote them: give another folder, or --force to "
            f"overwrite"
        )


def _foreign(out: Path, names: list[str]) -> list[str]:
    """Those of the files that are there and are not as the folder's list has them."""
    try:
        known = dict(json.loads((out / NAME).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        known = {}
    # The list itself can be told by what is in it.
    there = [name for name in names if (out / name).exists() and not (known and name == NAME)]
    return [
        name
        for name in there
        if hashlib.sha256((out / name).read_bytes()).hexdigest() != known.get(name)
    ]
