"""The host, with boards whose bridge and accelerator are the functional models."""

from __future__ import annotations

import dataclasses
import errno
from typing import Any

import numpy as np
import pytest
import serial
from typer.testing import CliRunner

import accel
from accel import cli
from accel.board import board as host
from accel.board.board import Board, connect
from accel.errors import AccelError
from accel.hardware.config import PRESETS
from tests.networks import Conv, Linear, random_network
from tests.system.board.boards import FakeBoard, Mute, Noise, Parrot, Port

CFG = PRESETS["tiny"]
RNG = np.random.default_rng(7)
NETWORK = random_network(RNG, (2, 9, 8), [Conv(4, (3, 3), padding=1), Linear(10, relu=False)])
PROGRAM = accel.compile(NETWORK, CFG)
OTHER = accel.compile(random_network(RNG, (2, 9, 8), [Linear(10)]), CFG)
IMAGES = RNG.integers(0, 256, (60, 2, 9, 8))
SIMULATED = accel.simulate(PROGRAM, IMAGES, level="fl", jobs=1)
PROGRAM_BYTES = 8 * len(PROGRAM.words)


def check(board: Board, images: Any = IMAGES) -> host.Run:
    run = board.run(PROGRAM, images)
    assert (run.outputs == SIMULATED.outputs[: len(images)]).all()
    assert (run.winners == SIMULATED.winners[: len(images)]).all()
    return run


def test_a_run_is_that_of_a_simulation_and_the_next_one_loads_nothing() -> None:
    with FakeBoard(CFG) as fake:
        with accel.connect(fake.port) as board:
            first = check(board)
            assert first.board is not None and first.board.loads == 1
            assert (first.traffic == SIMULATED.traffic).all()
        with connect(fake.port) as board:
            second = check(board)
            assert second.board is not None and second.board.loads == 0
            assert first.board.bytes_sent - second.board.bytes_sent > PROGRAM_BYTES
            assert (second.traffic == SIMULATED.traffic).all()
            assert fake.num_loads == len(PROGRAM.words)
            expected = accel.simulate(OTHER, IMAGES, level="fl", jobs=1)
            assert (board.run(OTHER, IMAGES).outputs == expected.outputs).all()
            assert fake.num_loads == len(PROGRAM.words) + len(OTHER.words)
            check(board)


@pytest.mark.parametrize("way", ["to_board", "to_host"])
def test_noise_ends_in_a_fresh_start(way: str) -> None:
    noise = Noise(1, 12_000 if way == "to_board" else 1_500)
    restarts = runs = 0
    with FakeBoard(CFG, **{way: noise}) as fake:
        while restarts < 3 and runs < 50:
            with connect(fake.port, timeout=0.1) as board:
                restarts += check(board).board.fresh_starts
                runs += 1
    assert restarts >= 3


def test_a_line_of_noise_is_given_up() -> None:
    with FakeBoard(CFG) as fake, connect(fake.port, timeout=0.05) as board:
        fake.to_board = Noise(1, 100)
        with pytest.raises(AccelError, match=r"breaks again and again, .* 0 of 60 images done"):
            board.run(PROGRAM, IMAGES)


@pytest.mark.parametrize("image", [0, 1, 60])
def test_a_board_that_is_reset(image: int) -> None:
    resets = []

    def progress(done: int) -> None:
        if done >= image and not resets:
            resets.append(done)
            fake.reset()

    with FakeBoard(CFG) as fake, connect(fake.port) as board:
        run = board.run(PROGRAM, IMAGES, progress=progress)
        assert resets and run.board is not None and run.board.fresh_starts == 1
        assert (run.outputs == SIMULATED.outputs).all()
        assert check(board).board.loads == 0


@pytest.mark.parametrize("image", [0, 1])
def test_a_host_that_ends_in_mid_run(image: int) -> None:
    """The next one takes nothing for its own that was the other's: half an image is on the board
    then, since frames do not end where images do."""

    def progress(done: int) -> None:
        if done >= image:
            raise KeyboardInterrupt

    with FakeBoard(CFG) as fake:
        with connect(fake.port) as board:
            check(board)
            with pytest.raises(KeyboardInterrupt):
                board.run(PROGRAM, IMAGES[::-1], progress=progress)
        assert bool(fake.image) == (image > 0)
        with connect(fake.port) as board:
            check(board)


@pytest.mark.parametrize("number", [1, 2, 10, 12, 20, 40])
def test_an_answer_that_comes_late(number: int) -> None:
    """It is not taken for the one to the next request."""
    held: list[bytes] = []

    def late(data: bytes) -> bytes:
        held.append(data)
        if len(held) == number:
            return b""
        return held[-2] + data if len(held) == number + 1 else data

    with FakeBoard(CFG, to_host=late) as fake, connect(fake.port, timeout=0.1) as board:
        assert (check(board).traffic == SIMULATED.traffic).all()
        assert (check(board).traffic == SIMULATED.traffic).all()
        assert len(held) > number


def test_results_of_nobody() -> None:
    with FakeBoard(CFG) as fake, connect(fake.port) as board:
        check(board)
        fake.bridge.results.append(9)
        figures = check(board).board
        assert figures is not None and (figures.loads, figures.fresh_starts) == (1, 0)


class Counting(FakeBoard):
    """Yields more or fewer results than it should."""

    extra = 0

    def _take_image(self, word: int) -> None:
        super()._take_image(word)
        if not self.image and self.extra > 0:
            self.results.append(0)
        elif not self.image and self.extra < 0:
            self.results.clear()


def test_more_results_than_images() -> None:
    with Counting(CFG) as fake, connect(fake.port) as board:
        fake.extra = 1
        with pytest.raises(AccelError, match="more results than images"):
            board.run(PROGRAM, IMAGES[:1])
        fake.extra = 0
        check(board)


def test_no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "PATIENCE", 0.3)
    with Counting(CFG) as fake, connect(fake.port) as board:
        fake.extra = -1
        with pytest.raises(AccelError, match="has taken images and yielded nothing for 0 s: reset"):
            board.run(PROGRAM, IMAGES[:1])


def test_a_bitstream_of_another_configuration() -> None:
    other = dataclasses.replace(CFG, num_cols=4, adder=True, act_depth=1024)
    with FakeBoard(other) as fake, connect(fake.port) as board:
        said = r"\(it has num_cols 4, not 2, adder 1, not 0, act_depth 1024, not 512\)"
        with pytest.raises(AccelError, match=said):
            board.run(PROGRAM, IMAGES)
        assert fake.num_loads == 0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("magic", 7, r"no accelerator of this kind \(0x00000007"),
        ("version", 2 << 16, "registers of version 2.0, but this accel needs"),
    ],
)
def test_what_is_no_board_of_ours(name: str, value: int, said: str) -> None:
    with FakeBoard(CFG) as fake:
        fake.constants[name] = value
        with pytest.raises(AccelError, match=said):
            connect(fake.port)


@pytest.mark.parametrize(
    ("what", "said"),
    [(Mute, "nothing answers at"), (Parrot, "does not answer as a board with an accelerator does")],
)
def test_what_is_no_board(what: type[Port], said: str) -> None:
    with what() as other, pytest.raises(AccelError, match=f"{said}.*3000000 baud"):
        connect(other.port, timeout=0.05)


def test_a_line_that_goes_away() -> None:
    with FakeBoard(CFG) as fake, connect(fake.port) as board:
        threads = []

        def progress(done: int) -> None:
            if done and not threads:
                threads.append(done)
                fake.unplug()

        with pytest.raises(AccelError, match="went away: plug it in again"):
            board.run(PROGRAM, IMAGES, progress=progress)


def test_ports(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(AccelError, match=r"there is no port .*none: plug the board in"):
        connect(str(tmp_path / "none"))
    with pytest.raises(AccelError, match="file is no serial port"):
        connect(str(file))
    with FakeBoard(CFG) as fake:
        with connect(fake.port), pytest.raises(AccelError, match="is in use: end the other"):
            connect(fake.port)
        connect(fake.port).close()

    def refuse(*_: Any, **__: Any) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(AccelError, match="may not be opened: join the group"):
        connect("/dev/ttyUSB0")


def test_options() -> None:
    for options, said in (
        (["--level", "board"], "add --port"),
        (["--port", "/dev/ttyUSB0"], "add --level board"),
        (["--baud", "9600"], "add --level board"),
        (["--level", "board", "--port", "none", "--jobs", "2"], "--jobs is of simulations"),
        (["--level", "board", "--port", "none", "--max-cycles", "2"], "--max-cycles is of sim"),
        (["--level", "board", "--port", "/dev/none"], "there is no port /dev/none"),
    ):
        done = CliRunner().invoke(cli.app, ["run", *options])
        assert done.exit_code == 2 and said in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1
