"""The serial bridge, functional."""

from collections import deque
from typing import Any

from pymtl3 import Component, Wire, connect, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.hardware.config import BUS_NBITS
from accel.hardware.registers import DATA_NBITS
from accel.hardware.serial import (
    ACCESS_NBITS,
    CRC_BYTES,
    HEADER_BYTES,
    MAX_WORDS,
    OCCUPIED,
    REPLY_NBITS,
    SILENCE,
    SOFT_RESET_ADDRESS,
    SOFT_RESET_DATA,
    START,
    SYMBOL_NBITS,
    WORD_BYTES,
    Answer,
    Frame,
    Request,
    access,
    frame_length,
    from_bytes,
    num_words_allowed,
)

INPUTS = {"rx": SYMBOL_NBITS, "result": BUS_NBITS, "reply": REPLY_NBITS}
OUTPUTS = {"tx": 8, "prog": BUS_NBITS, "image": BUS_NBITS, "access": ACCESS_NBITS}
BROKEN = Frame(0, 0, 0)
"""What is answered where a frame was not right."""


class Receiver:
    """Makes frames of symbols."""

    def __init__(self, max_words: int) -> None:
        self.max_words = max_words
        self.reset()

    def reset(self) -> None:
        self.data = bytearray()
        self.hunting = False

    def receive(self, symbol: int) -> Frame | None:
        """The frame that ends with this symbol, ``BROKEN`` for a wrong one; None before that."""
        if symbol & SILENCE:
            broken = self.hunting or bool(self.data)
            self.reset()
            return BROKEN if broken else None
        if self.hunting or not (self.data or symbol == START):
            return None
        self.data.append(symbol)
        if len(self.data) < HEADER_BYTES:
            return None
        if int.from_bytes(self.data[4:6], "little") > self.max_words:
            self.hunting = True
        elif len(self.data) == frame_length(self.data):
            frame = from_bytes(bytes(self.data))
            self.data.clear()
            self.hunting = frame is None
            return frame
        return None

    @property
    def ends_a_word(self) -> bool:
        """Whether the symbol before was the last one of a word of the payload."""
        num_bytes = len(self.data) - HEADER_BYTES
        ends = num_bytes > 0 and num_bytes % WORD_BYTES == 0
        return ends and len(self.data) <= frame_length(self.data) - CRC_BYTES


def verdict(frame: Frame, session: int, busy: bool, max_words: int) -> Answer:
    """What is answered, unless a register refuses. session: the board's. busy: a write has no
    room."""
    if frame is BROKEN:
        return Answer.LINE
    if not num_words_allowed(frame.kind, len(frame.payload), max_words):
        return Answer.REQUEST
    if frame.kind in (Request.OPEN, Request.RESTART):
        return Answer.OK if frame.session else Answer.SESSION
    if frame.session != session or session == 0:
        return Answer.SESSION
    if frame.kind in (Request.PROGRAM, Request.IMAGE) and busy:
        return Answer.BUSY
    return Answer.OK


def access_of(frame: Frame) -> int | None:
    """What a request does with a register: the message on ``access``, None if it does nothing."""
    match frame.kind:
        case Request.RESTART:
            return access(True, SOFT_RESET_ADDRESS, SOFT_RESET_DATA)
        case Request.GET:
            return access(False, frame.argument & 0xFFF)
        case Request.SET:
            return access(True, frame.argument & 0xFFF, frame.payload[0] & ((1 << DATA_NBITS) - 1))
    return None


class SerialBridgeCore:
    """Requests and answers, without time: words that were written are there for the streams as soon
    as their frame was right."""

    def __init__(self, max_words: int) -> None:
        self.max_words = max_words
        self.receiver = Receiver(max_words)
        self.reset()

    def reset(self) -> None:
        self.receiver.reset()
        self.answer: deque[int] = deque()
        self.words: deque[int] = deque()
        self.port = "prog"
        self.results: deque[int] = deque()
        self.access: int | None = None
        self.accessing: Frame | None = None
        self.session = self.mark = 0

    def offer(self, name: str) -> int | None:
        """What an output offers; None if nothing."""
        match name:
            case "tx":
                return self.answer[0] if self.answer else None
            case "access":
                return self.access
        return self.words[0] if self.words and self.port == name else None

    def wants(self, name: str) -> bool:
        """Whether an input is taken."""
        match name:
            case "rx":
                return not self.answer and self.accessing is None
            case "reply":
                return self.accessing is not None and self.access is None
        return len(self.results) < self.max_words

    def tick(self, taken: dict[str, int], sent: set[str]) -> None:
        """taken: what came at inputs. sent: outputs whose offer was taken."""
        if "tx" in sent:
            self.answer.popleft()
        if "access" in sent:
            self.access = None
        if sent & {"prog", "image"}:
            self.words.popleft()
        if "result" in taken:
            self.results.append(taken["result"])
        if "reply" in taken:
            self._replied(taken["reply"])
        if "rx" in taken:
            frame = self.receiver.receive(taken["rx"])
            if frame is not None:
                self._act(frame)

    def _act(self, frame: Frame) -> None:
        found = verdict(frame, self.session, bool(self.words), self.max_words)
        payload: tuple[int, ...] = ()
        if found is Answer.OK:
            match frame.kind:
                case Request.OPEN | Request.RESTART:
                    self.session = frame.session
                case Request.PROGRAM | Request.IMAGE:
                    self.words.extend(frame.payload)
                    self.port = "prog" if frame.kind == Request.PROGRAM else "image"
                    if frame.kind == Request.PROGRAM:
                        self.mark = 0
                case Request.GET_MARK:
                    payload = (self.mark,)
                case Request.SET_MARK:
                    self.mark = frame.payload[0]
            if frame.kind == Request.RESTART:
                self.words.clear()
            self.access = access_of(frame)
            if self.access is not None:
                self.accessing = frame
                return
        num_waiting = len(self.results)
        if found is Answer.OK and frame.kind == Request.RESULT:
            count = min(frame.argument, num_waiting)
            payload = tuple(self.results.popleft() for _ in range(count))
        self._answer(found, frame, payload, num_waiting)

    def _replied(self, reply: int) -> None:
        frame, self.accessing = self.accessing, None
        assert frame is not None
        if frame.kind == Request.RESTART:
            self.results.clear()
            self.mark = 0
        if reply >> DATA_NBITS:
            self._answer(Answer.REFUSED, frame, (), len(self.results))
        else:
            payload = (reply,) if frame.kind == Request.GET else ()
            self._answer(Answer.OK, frame, payload, len(self.results))

    def _answer(
        self, answer: Answer, frame: Frame, payload: tuple[int, ...], num_waiting: int
    ) -> None:
        argument = num_waiting | (OCCUPIED if self.words else 0)
        self.answer.extend(
            Frame(answer, frame.sequence, frame.session, argument, payload).to_bytes()
        )


class SerialBridgePorts(Component):
    """Val/rdy ports for a core with ``offer``, ``wants``, ``tick`` and ``reset`` as above."""

    def add_core(s, core: Any) -> None:
        for name, nbits in INPUTS.items():
            setattr(s, name, RecvIfcRTL(mk_bits(nbits)))
        for name, nbits in OUTPUTS.items():
            setattr(s, name, SendIfcRTL(mk_bits(nbits)))

        # Wires
        s.in_msg = [Wire(nbits) for nbits in INPUTS.values()]
        s.in_val = [Wire() for _ in INPUTS]
        s.in_rdy = [Wire() for _ in INPUTS]
        s.out_msg = [Wire(nbits) for nbits in OUTPUTS.values()]
        s.out_val = [Wire() for _ in OUTPUTS]
        s.out_rdy = [Wire() for _ in OUTPUTS]

        # Structure
        for i, name in enumerate(INPUTS):
            port = getattr(s, name)
            connect(port.msg, s.in_msg[i])
            connect(port.val, s.in_val[i])
            connect(port.rdy, s.in_rdy[i])
        for i, name in enumerate(OUTPUTS):
            port = getattr(s, name)
            connect(port.msg, s.out_msg[i])
            connect(port.val, s.out_val[i])
            connect(port.rdy, s.out_rdy[i])

        # Combinational
        @update
        def up_ports():
            for i, name in enumerate(INPUTS):
                s.in_rdy[i] @= core.wants(name)
            for i, name in enumerate(OUTPUTS):
                message = core.offer(name)
                s.out_val[i] @= message is not None
                s.out_msg[i] @= message or 0

        # Sequential
        @update_ff
        def up_tick():
            if s.reset:
                core.reset()
            else:
                taken = {
                    name: int(s.in_msg[i])
                    for i, name in enumerate(INPUTS)
                    if s.in_val[i] & s.in_rdy[i]
                }
                sent = {name for i, name in enumerate(OUTPUTS) if s.out_val[i] & s.out_rdy[i]}
                core.tick(taken, sent)

    def line_trace(s) -> str:
        return " ".join(str(getattr(s, name)) for name in (*INPUTS, *OUTPUTS))


class SerialBridgeFL(SerialBridgePorts):
    """:class:`SerialBridgeCore` with val/rdy ports."""

    def construct(s, max_words: int = MAX_WORDS) -> None:
        s.add_core(SerialBridgeCore(max_words))
