"""Writing files so that a good one is never left half overwritten."""

from __future__ import annotations

import os
import re
from pathlib import Path

from accel.errors import AccelError

MARKS = re.compile(
    rb'"__metadata__":\s*\{"accel"'
    rb'|"record": "accel|"written_by": "accel'
    rb'|<meta name="generator" content="accel">'
    rb"|\$version\s+accel\s|\[\*\] Written by accel|^(//|#) Written by accel"
    rb"|Software\0accel|<dc:title>accel</dc:title>|/Creator \(accel\)"
)
"""What every kind of file that a command writes has near its beginning or its end: networks, JSON,
pages, waveforms and their set-ups, Verilog, configurations, and plots as PNG, SVG and PDF."""
NEAR = 65536


def is_own(path: Path) -> bool:
    """Whether a command of accel wrote what is there, or nothing is."""
    if not path.is_file():
        return True
    try:
        with open(path, "rb") as f:
            first = f.read(NEAR)
            f.seek(max(0, path.stat().st_size - NEAR))
            return not first or bool(MARKS.search(first) or MARKS.search(f.read()))
    except OSError as e:
        raise AccelError(f"cannot read {path}: {e.strerror}; name another file") from e


def write(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all: what was there stays until the new content is on disk.

    Text is written as UTF-8. A pipe or a terminal is written to as it is. A missing folder is
    made. Raises :class:`AccelError` when that is not possible.
    """
    data = content.encode() if isinstance(content, str) else content
    # A link is followed, so that it goes on being one.
    path = path.resolve()
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
    except OSError as e:
        raise _not_writable(path, e) from e


def check_writable(path: Path) -> None:
    """Find out before long work whether :func:`write` will be able to write ``path``.

    Makes its folder when it is missing. Raises :class:`AccelError`.
    """
    path = path.resolve()
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() or not path.exists():
            # Only trying tells: permissions mean nothing to root, nor on a read-only disk.
            probe = _temporary(path)
            probe.touch(exist_ok=False)
            probe.unlink()
    except OSError as e:
        raise _not_writable(path, e) from e


def _replace(path: Path, data: bytes) -> None:
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> Path:
    # Beside the file: only within one file system does a rename replace at once.
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _not_writable(path: Path, error: OSError) -> AccelError:
    # Of a file in a folder's place the system says "File exists", or "Not a directory".
    folder = next((parent for parent in path.parents if os.path.exists(parent)), path)
    if not os.path.isdir(folder):
        return AccelError(
            f"cannot write {path}: {folder} is a file, not a folder; name a folder for it"
        )
    return AccelError(f"cannot write {path}: {error.strerror}; name a file that can be written")
