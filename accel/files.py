"""Writing files so that a good one is never left half overwritten."""

from __future__ import annotations

import os
from pathlib import Path

from accel.errors import AccelError


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
    reason = error.strerror if os.path.isdir(folder) else f"{folder} is not a folder"
    return AccelError(f"cannot write {path}: {reason}; name a file that can be written")
