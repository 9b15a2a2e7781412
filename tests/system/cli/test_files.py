"""A file is written whole or not at all."""

import os

import pytest

from accel import files
from accel.errors import AccelError


@pytest.mark.parametrize("content", [b"\x00\xff", "text, \u00d7 too"])
def test_writes_and_overwrites(tmp_path, content):
    path = tmp_path / "new" / "folder" / "file"
    for _ in range(2):
        files.check_writable(path)
        files.write(path, content)
    data = content if isinstance(content, bytes) else content.encode()
    assert path.read_bytes() == data
    assert os.listdir(path.parent) == ["file"]


def test_follows_a_link(tmp_path):
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    files.write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_permissions_are_those_of_any_new_file(tmp_path):
    files.write(tmp_path / "ours", b"")
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("interruption", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, interruption):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted(fd):
        raise interruption

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises((AccelError, KeyboardInterrupt)):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("action", [files.check_writable, lambda path: files.write(path, b"")])
@pytest.mark.parametrize("name", ["a_file/below", "a_folder", "/proc/nothing/here"])
def test_what_cannot_be_written(tmp_path, action, name):
    (tmp_path / "a_file").touch()
    (tmp_path / "a_folder").mkdir()
    with pytest.raises(
        AccelError, match=r"^cannot write .*; name a (file that can be written|folder for it)$"
    ) as e:
        action(tmp_path / name)
    assert "None" not in str(e.value)
    assert ("a_file is a file, not a folder" in str(e.value)) == (name == "a_file/below")
    assert sorted(os.listdir(tmp_path)) == ["a_file", "a_folder"]


def test_checking_leaves_nothing_and_changes_nothing(tmp_path):
    path = tmp_path / "file"
    files.check_writable(path)
    assert os.listdir(tmp_path) == []
    path.write_bytes(b"old")
    files.check_writable(path)
    assert path.read_bytes() == b"old"


def test_writes_to_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    files.check_writable(path)
    files.write(path, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
