"""The board that ``accel board`` simulates, through its serial line alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accel
from accel.errors import AccelError
from accel.network import file
from accel.simulation.runner import BoardFigures
from tests.system.board.boards import Noise, Relay
from tests.system.board.test_host import CFG, IMAGES, NETWORK, PROGRAM, SIMULATED

ACCEL = [sys.executable, "-c", "from accel.cli import main; main()"]


@dataclass
class Running:
    """``accel board`` under way."""

    process: subprocess.Popen[str]
    port: str

    def press_reset(self) -> None:
        self.process.send_signal(signal.SIGUSR1)
        # It goes by way of two processes.
        time.sleep(0.4)

    def run(self, port: str | None = None, progress: Any = None) -> BoardFigures:
        """A run that is right, whatever happens in it."""
        with accel.connect(port or self.port, timeout=1.0) as board:
            run = board.run(PROGRAM, IMAGES, progress=progress)
        assert (run.outputs == SIMULATED.outputs).all()
        assert (run.winners == SIMULATED.winners).all()
        assert run.board is not None
        if not run.board.fresh_starts:
            assert (run.traffic == SIMULATED.traffic).all()
        return run.board


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    link = tmp_path_factory.mktemp("board") / "line"
    process = subprocess.Popen(
        [*ACCEL, "board", "--config", "tiny", "--link", str(link)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(2)]
    assert said[1] == f"accel run --level board --port {link} --config tiny\n"
    try:
        yield Running(process, str(link))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stdout.read() == "the board is switched off\n"
        assert not link.is_symlink()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run of the command line."""
    place = tmp_path_factory.mktemp("network")
    file.save(NETWORK, place / "network.safetensors")
    np.save(place / "images.npy", IMAGES)
    return [
        *(*ACCEL, "run", "--level", "board", "--config", "tiny", "--network"),
        *(str(place / "network.safetensors"), "--images", str(place / "images.npy")),
    ]


def test_the_second_run_loads_nothing(running: Running) -> None:
    running.press_reset()
    first, second = running.run(), running.run()
    assert (first.loads, second.loads) == (1, 0)
    assert first.bytes_sent - second.bytes_sent > 8 * len(PROGRAM.words)
    # All of the accelerator's time since it had the program, and hardly more than that of the line.
    assert second.activity["step"] == PROGRAM.steps * len(IMAGES)
    assert second.activity["input"] > 10 * second.activity["step"]


def test_command_line(running: Running, command: list[str], tmp_path: Path) -> None:
    running.press_reset()
    figures = tmp_path / "run.json"
    done = subprocess.run(
        [*command, "--port", running.port, "--json", str(figures), "--report", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "0 of 660 outputs differ" in done.stdout
    assert "images a second; the program was loaded in" in done.stdout
    record = json.loads(figures.read_text())
    assert record["level"] == "board" and record["mismatched_outputs"] == 0
    assert record["board"]["fresh_starts"] == 0 and record["board"]["counted_images"] == 60
    assert record["cycles_per_image"] is None
    assert (tmp_path / "report.html").exists()


def test_noise_and_lost_bytes(running: Running) -> None:
    starts = runs = 0
    with Relay(running.port, to_board=Noise(1, 12_000), to_host=Noise(2, 3_000)) as relay:
        while starts < 3 and runs < 20:
            running.press_reset()
            starts += running.run(relay.port).fresh_starts
            runs += 1
    assert starts >= 3
    running.run()


@pytest.mark.parametrize("image", [0, 15])
def test_reset_in_mid_run(running: Running, image: int) -> None:
    pressed = []

    def progress(done: int) -> None:
        if done >= image and not pressed:
            pressed.append(done)
            running.press_reset()

    figures = running.run(progress=progress)
    assert figures.fresh_starts >= 1 and figures.loads >= 1
    after = running.run()
    assert (after.loads, after.fresh_starts) == (0, 0)


def test_host_killed_in_mid_run(running: Running, command: list[str]) -> None:
    running.run()
    with Relay(running.port) as relay:
        # Some images on their way, the last of them in part
        relay.stop_after = 3000
        process = subprocess.Popen([*command, "--port", relay.port], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while relay.num_to_board < relay.stop_after and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert relay.num_to_board == relay.stop_after
    figures = running.run()
    assert (figures.loads, figures.fresh_starts) == (1, 0)


def test_another_configuration(running: Running, command: list[str]) -> None:
    command = [word if word != "tiny" else "base" for word in command]
    done = subprocess.run([*command, "--port", running.port], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "is of another configuration than the program (it has num_cols 2, not 8" in done.stderr


def test_a_board_that_is_switched_off(running: Running) -> None:
    """Here one of its own."""
    from accel.simulation.virtual_board import virtual_board

    with virtual_board(CFG) as other:

        def progress(done: int) -> None:
            if done:
                os.kill(other._pid, signal.SIGKILL)

        with (
            accel.connect(other.port) as board,
            pytest.raises(AccelError, match=r"the line to the board at .* went away"),
        ):
            board.run(PROGRAM, IMAGES, progress=progress)
