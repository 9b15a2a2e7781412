"""Programs that are started end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from accel.children import started
from accel.simulation import verilated
from accel.simulation.toolchain import is_plain

CODE = """
import sys
from accel.children import started
with started(["sleep", "600"], cwd=sys.argv[1]) as process:
    print("started", flush=True)
    process.wait()
"""


def working_in(folder) -> bool:
    done = subprocess.run(["ls", "-l", *_links()], capture_output=True, text=True)
    return str(folder) in done.stdout


def _links() -> list[str]:
    return [f"/proc/{name}/cwd" for name in os.listdir("/proc") if name.isdigit()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_ends_with_us(tmp_path, number) -> None:
    process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"started\n"
    assert working_in(tmp_path)
    process.send_signal(number)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while working_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not working_in(tmp_path)


def test_status_and_output(tmp_path) -> None:
    file = tmp_path / "output"
    with file.open("wb") as f, started(["sh", "-c", "echo said; exit 7"], output=f) as process:
        assert process.wait() == 7
    assert file.read_text() == "said\n"


def test_leftovers_of_a_killed_build_go(tmp_path) -> None:
    (tmp_path / "building-c1").mkdir()
    (tmp_path / "c2").mkdir()
    verilated._remove_leftovers(tmp_path)
    assert not (tmp_path / "building-c1").exists() and (tmp_path / "c2").exists()


@pytest.mark.parametrize(("path", "plain"), [("/a/b-1.c", True), ("/a b", False), ("/a$b", False)])
def test_paths_that_make_takes(tmp_path, path, plain) -> None:
    assert is_plain(tmp_path.with_name("x") / path) == plain
