"""Requests and answers on a line that may lose, change or add bytes."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from accel.board.line import LONGEST, Line, LineBroke
from accel.hardware.serial import (
    HEADER_BYTES,
    SILENCE_BITS,
    START,
    Answer,
    Frame,
    Request,
    frame_length,
    from_bytes,
)

PAUSES = (0.02, 0.05, 0.2)
"""Seconds of silence before a request that is safe to repeat is repeated."""
AGAIN = frozenset(Request) - {Request.PROGRAM, Request.IMAGE, Request.RESULT}
"""Requests that may be done twice."""

Asked = tuple[Request, int, Sequence[int]]
"""A request, its argument and its payload."""


class Link:
    """A session with a board. Nothing here repeats a request that could move words twice."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.session = 0
        self._sequence = secrets.randbelow(256)

    def begin(self, kind: Request) -> None:
        """OPEN or RESTART a session of which no other host, and no earlier one, knows the number.

        Raises :class:`LineBroke` if the board does not answer.
        """
        others = [number for number in range(1, 256) if number != self.session]
        self.session = secrets.choice(others)
        self.ask(kind)

    def ask(self, kind: Request, argument: int = 0, payload: tuple[int, ...] = ()) -> Frame:
        """The answer OK to a request that may be done twice.

        Raises :class:`LineBroke` if none comes for all repetitions, or it is another.
        """
        assert kind in AGAIN
        for pause in (*PAUSES, None):
            try:
                (answer,) = self.exchange((kind, argument, payload))
            except LineBroke:
                if pause is None:
                    raise
                self.line.settle(self._long_enough(pause))
                continue
            if answer.kind == Answer.OK:
                return answer
            raise LineBroke(f"the board answered {Answer(answer.kind).name}")
        raise AssertionError

    def exchange(self, *requests: Asked) -> list[Frame]:
        """The answers to requests that are sent at once, whatever they say. A board that is
        busy answering the first has room for one more, without payload.

        Raises :class:`LineBroke` if one is missing.
        """
        frames = []
        for kind, argument, payload in requests:
            self._sequence = (self._sequence + 1) % 256
            frames.append(Frame(kind, self._sequence, self.session, argument, tuple(payload)))
        self.line.write(b"".join(frame.to_bytes() for frame in frames))
        return [self._answer(frame) for frame in frames]

    def settle(self) -> None:
        """Until no answer to anything before can come any more."""
        self.line.settle(self._long_enough(PAUSES[-1]))

    def _long_enough(self, pause: float) -> float:
        """At least until the board has noticed that the line is silent."""
        return max(pause, 2 * SILENCE_BITS / self.line.baud)

    def _answer(self, asked: Frame) -> Frame:
        while True:
            header = self.line.read(HEADER_BYTES)
            if header[0] != START or frame_length(header) > LONGEST:
                raise LineBroke("what comes is no answer")
            answer = from_bytes(header + self.line.read(frame_length(header) - HEADER_BYTES))
            if answer is None:
                raise LineBroke("an answer came damaged")
            if answer.kind not in tuple(Answer):
                raise LineBroke("what comes is no answer")
            if (answer.sequence, answer.session) == (asked.sequence, asked.session):
                return answer
            if answer.kind == Answer.LINE:
                raise LineBroke("a request came damaged")
            # Else it answers a request that is not waited for any more.
