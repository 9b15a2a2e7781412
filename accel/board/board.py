"""A board on a serial line, as Python sees it: what ``accel.connect`` returns."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from accel.board.line import Line, LineBroke
from accel.board.link import Asked, Link
from accel.compiler.program import Program
from accel.errors import AccelError
from accel.hardware import registers
from accel.hardware.config import AccelConfig
from accel.hardware.registers import BY_NAME, MAGIC, VERSION
from accel.hardware.serial import BAUD, MAX_WORDS, OCCUPIED, Answer, Frame, Request
from accel.hardware.status import TRAFFIC, Activity, ProgramError
from accel.simulation.runner import NUM_LAYERS, BoardFigures, Chunk, Progress, Run, finish

TRIES = 5
"""Fresh starts without an image done between them, after which a line is given up."""
SOME = 32
"""Words of results for which it is worth while to ask when there are images to send."""
PATIENCE = 60.0
"""Seconds in which an accelerator, which may be simulated, has to yield a word or to take one."""


def connect(port: str, *, baud: int = BAUD, timeout: float = 2.0) -> Board:
    """The board at a serial port, for a ``with`` statement or until :meth:`Board.close`.

    port: as ``/dev/ttyUSB0``. baud: the rate of the board's bitstream. timeout: seconds without a
    byte after which an answer is taken for lost.

    Raises :class:`AccelError` if the port cannot be opened, or what is there is no board with an
    accelerator of this package, by what it answers or does not.
    """
    line = Line(port, baud, timeout)
    try:
        return Board(line)
    except BaseException:
        line.close()
        raise


class Board:
    """An accelerator at the other end of a line, with the program that it has."""

    def __init__(self, line: Line) -> None:
        self.port, self._line, self._link = line.port, line, Link(line)
        self._line.settle(0.01)
        try:
            self._link.begin(Request.OPEN)
            magic, version = self._get("magic"), self._get("version")
        except LineBroke as e:
            what = (
                f"what is at {self.port} does not answer as a board with an accelerator does"
                if line.bytes_received
                else f"nothing answers at {self.port}"
            )
            raise AccelError(
                f"{what}: load a bitstream of 'accel bitstream' into the board, and give the rate "
                f"that it was made for, which now is {line.baud} baud"
            ) from e
        if magic != MAGIC:
            raise AccelError(
                f"the board at {self.port} has no accelerator of this kind (0x{magic:08X}, "
                f"expected 0x{MAGIC:08X}): load a bitstream of 'accel bitstream' into it"
            )
        if version >> 16 != VERSION >> 16 or version < VERSION:
            raise AccelError(
                f"the bitstream at {self.port} has registers of version {version >> 16}."
                f"{version & 0xFFFF}, but this accel needs {VERSION >> 16}.{VERSION & 0xFFFF}: "
                f"make it anew with 'accel bitstream'"
            )
        self._constants = {name: self._get(name) for name in registers.constants(AccelConfig())}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back. The board keeps its program."""
        self._line.close()

    @property
    def bytes_sent(self) -> int:
        """Since the port was opened."""
        return self._line.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Since the port was opened."""
        return self._line.bytes_received

    def check(self, cfg: AccelConfig) -> None:
        """Raises :class:`AccelError` if the board's bitstream has another configuration."""
        expected = registers.constants(cfg)
        differ = [
            f"{name} {found}, not {wanted}"
            for register, value in expected.items()
            for name, found, wanted in _fields(register, self._constants[register], value)
            if found != wanted
        ]
        if differ:
            raise AccelError(
                f"the bitstream at {self.port} is of another configuration than the program (it "
                f"has {', '.join(differ)}): give its own with --config, or load one made for this"
            )

    def run(
        self, program: Program, images: NDArray[Any], *, progress: Progress | None = None
    ) -> Run:
        """Classify images, as ``accel.simulate`` does, at level ``board``.

        images and progress as there. The program is loaded unless the board has it. When the line
        breaks, the images whose results have not come are done again after a fresh start: what is
        returned has come whole.

        Raises :class:`AccelError` for unsuitable images, another configuration, a port that goes
        away, a line that breaks too often, or a board that refuses the program or yields nothing.
        """
        self.check(program.cfg)
        words = program.pack_images(program.quantize(images))
        if not len(words):
            raise AccelError("there are no images: give at least one")
        job = _Job(program, words, progress)
        sent, received = self.bytes_sent, self.bytes_received
        while True:
            done = len(job.results)
            try:
                self._attempt(job)
                break
            except LineBroke as e:
                job.failures = 1 if len(job.results) > done else job.failures + 1
                job.fresh_starts += 1
                if job.failures > TRIES:
                    raise AccelError(
                        f"the line to the board at {self.port} breaks again and again, last since "
                        f"{e}, with {len(job.results)} of {len(words)} images done: use another "
                        f"cable, or a bitstream with a lower rate"
                    ) from e
                self._link.settle()
        figures = BoardFigures(
            activity=job.activity,
            counted_images=job.counted_images,
            bytes_sent=self.bytes_sent - sent,
            bytes_received=self.bytes_received - received,
            loads=job.loads,
            fresh_starts=job.fresh_starts,
        )
        chunk = Chunk(np.array(job.results, np.uint64), None, None, None, job.traffic)
        return finish("board", program, (chunk,), job.seconds, job.load_seconds, figures)

    def _attempt(self, job: _Job) -> None:
        """What is left of a run. Raises :class:`LineBroke` if the line does; then the results that
        have come whole are in ``job``."""
        start = time.monotonic()
        self._load(job)
        if job.progress is not None:
            job.progress(len(job.results))
        before = self._counters(job.program)
        # Whoever comes next, if this host does not come to the end, is to start anew.
        self._link.ask(Request.SET_MARK, payload=(0,))
        job.load_seconds += time.monotonic() - start
        start = time.monotonic()
        try:
            # After a fresh start there is at least one, so that the counters are of some image.
            del job.results[len(job.words) - 1 :]
            first = len(job.results)
            self._stream(job)
            after = self._counters(job.program)
        finally:
            job.seconds += time.monotonic() - start
        self._link.ask(Request.SET_MARK, payload=(_mark(job.program),))
        job.counted_images = len(job.results) - first
        job.traffic[: len(job.program.layers)] = after[0] - before[0]
        job.activity = dict(
            zip((a.name.lower() for a in Activity), (after[1] - before[1]).tolist(), strict=True)
        )

    def _load(self, job: _Job) -> None:
        """The board has the program, no other word, and waits for an image."""
        program, link = job.program, self._link
        if not job.fresh_starts:
            answer = link.ask(Request.GET_MARK)
            is_there = answer.payload == (_mark(program),) and answer.argument == 0
            if is_there and self._status() == {"running": 1, "busy": 0, "error": 0}:
                return
        link.begin(Request.RESTART)
        job.loads += 1
        self._write_program(program)
        status = self._status()
        if status["error"]:
            raise AccelError(
                f"the accelerator at {self.port} refuses the program: "
                f"{ProgramError(status['error']).name}; its bitstream may be of another version: "
                f"make it anew with 'accel bitstream'"
            )
        if not status["running"]:
            raise LineBroke("the program does not run")

    def _write_program(self, program: Program) -> None:
        deadline = time.monotonic() + PATIENCE
        for part in _parts(program.words):
            while self._exchange((Request.PROGRAM, 0, part))[0].kind == Answer.BUSY:
                self._expect(deadline, "words of a program")
        while self._exchange((Request.RESULT, 0, ()))[0].argument & OCCUPIED:
            self._expect(deadline, "words of a program")

    def _stream(self, job: _Job) -> None:
        """Send the images that are not done, while taking results."""
        first, size = len(job.results), job.program.result_words
        parts = _parts(job.words[first:].ravel().tolist())
        part = next(parts, None)
        # Whether words that were written still wait for room; whether no others are sent while they
        # do, which costs a question: where the accelerator was slower than the line once.
        occupied = careful = False
        waiting, came = 0, list[int]()
        deadline = time.monotonic() + PATIENCE
        while len(job.results) < len(job.words):
            requests: list[Asked] = []
            if part is not None and not (careful and occupied):
                requests.append((Request.IMAGE, 0, part))
            writes = bool(requests)
            # Else the line is there for images.
            if not writes or waiting >= SOME:
                requests.append((Request.RESULT, MAX_WORDS, ()))
            # One right behind the other, since an answer takes the line's whole way; but never
            # words behind words, of which the accelerator might take the second alone.
            answers = self._exchange(*requests)
            moved = bool(answers[-1].payload)
            if writes and answers[0].kind == Answer.OK:
                part, moved = next(parts, None), True
            elif writes:
                careful = True
            occupied = bool(answers[-1].argument & OCCUPIED)
            waiting = (answers[-1].argument & ~OCCUPIED) - len(answers[-1].payload)
            came += answers[-1].payload
            while len(came) >= size and len(job.results) < len(job.words):
                job.results.append(came[:size])
                del came[:size]
            if answers[-1].payload and job.progress is not None:
                job.progress(len(job.results))
            if moved:
                deadline = time.monotonic() + PATIENCE
            self._expect(deadline, "images")
        if came or occupied or waiting:
            # Who knows which of them are whose?
            del job.results[first:]
            raise LineBroke("there are more results than images")

    def _exchange(self, *requests: Asked) -> list[Frame]:
        """Answers to requests that move words: OK, or BUSY where there is no room for them."""
        answers = self._link.exchange(*requests)
        for (kind, _, _), answer in zip(requests, answers, strict=True):
            if answer.kind != Answer.OK and (answer.kind, kind) not in (
                (Answer.BUSY, Request.PROGRAM),
                (Answer.BUSY, Request.IMAGE),
            ):
                raise LineBroke(f"the board answered {Answer(answer.kind).name}")
        return answers

    def _expect(self, deadline: float, what: str) -> None:
        """Raises :class:`AccelError` if nothing has moved until now."""
        if time.monotonic() <= deadline:
            return
        error = self._status()["error"]
        reason = f", and stopped with {ProgramError(error).name}" if error else ""
        raise AccelError(
            f"the accelerator at {self.port} has taken {what} and yielded nothing for "
            f"{PATIENCE:.0f} s{reason}: reset the board, and start anew"
        )

    def _get(self, register: str) -> int:
        answer = self._link.ask(Request.GET, BY_NAME[register].offset)
        if len(answer.payload) != 1:
            raise LineBroke(f"register {register} was not read")
        return answer.payload[0]

    def _status(self) -> dict[str, int]:
        register, value = BY_NAME["status"], self._get("status")
        fields = (register.field(name) for name in ("running", "busy", "error"))
        return {f.name: (value & f.mask) >> f.low for f in fields}

    def _counters(self, program: Program) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """What the accelerator at rest has counted: traffic (layers, counters of ``TRAFFIC``), and
        cycles (activities,)."""
        deadline = time.monotonic() + PATIENCE
        while self._status()["busy"]:
            self._expect(deadline, "images")
        traffic = []
        for layer in range(len(program.layers)):
            self._link.ask(Request.SET, BY_NAME["layer"].offset, (layer,))
            traffic.append([self._counter(name) for name in TRAFFIC])
        cycles = [self._counter(f"activity_{activity.name.lower()}") for activity in Activity]
        return np.array(traffic, np.uint64), np.array(cycles, np.uint64)

    def _counter(self, name: str) -> int:
        # The upper half is kept from the moment in which the lower one is read.
        low = self._get(f"{name}_low")
        return self._get(f"{name}_high") << registers.DATA_NBITS | low


@dataclasses.dataclass
class _Job:
    """How far a run is."""

    program: Program
    words: NDArray[np.uint64]
    """(N, image_words)"""
    progress: Progress | None
    results: list[list[int]] = dataclasses.field(default_factory=list)
    """Of the images that are done, from the first on."""
    traffic: NDArray[np.uint64] = dataclasses.field(
        default_factory=lambda: np.zeros((NUM_LAYERS, len(TRAFFIC)), np.uint64)
    )
    activity: dict[str, int] = dataclasses.field(default_factory=dict)
    counted_images: int = 0
    failures: int = 0
    """Fresh starts since an image was done."""
    fresh_starts: int = 0
    loads: int = 0
    seconds: float = 0.0
    load_seconds: float = 0.0


def _mark(program: Program) -> int:
    """What the board keeps to say that it has this program: 64 bits, never 0."""
    words = np.array(program.words, "<u8").tobytes()
    return int.from_bytes(hashlib.sha256(words).digest()[:8], "little") or 1


def _parts(words: Sequence[int]) -> Iterator[Sequence[int]]:
    """Words of a frame each."""
    return (words[i : i + MAX_WORDS] for i in range(0, len(words), MAX_WORDS))


def _fields(register: str, found: int, wanted: int) -> Iterator[tuple[str, int, int]]:
    """Each field of a constant register, or itself where it has none: what two values have."""
    fields = BY_NAME[register].fields
    if not fields:
        yield register, found, wanted
    for field in fields:
        yield field.name, (found & field.mask) >> field.low, (wanted & field.mask) >> field.low
