"""The serial bridge, cycle level."""

from collections import deque
from enum import Enum, auto

from accel.hardware.registers import DATA_NBITS
from accel.hardware.serial import (
    MAX_WORDS,
    OCCUPIED,
    WORD_BYTES,
    Answer,
    Frame,
    Request,
)
from fl_models.serial_bridge import BROKEN, Receiver, SerialBridgePorts, access_of, verdict


class State(Enum):
    """What the bridge does in a cycle."""

    RECEIVE = auto()
    ACT = auto()
    ACCESS = auto()
    REPLY = auto()
    PREPARE = auto()
    SEND = auto()


class SerialBridgeCoreCL:
    """An answer is offered 3 cycles after its request's last byte was taken, or 2 cycles after a
    register's reply or the silence after a wrong frame. Words go on every other cycle."""

    def __init__(self, max_words: int) -> None:
        self.max_words = max_words
        self.receiver = Receiver(max_words)
        self.reset()

    def reset(self) -> None:
        self.receiver.reset()
        self.state = State.RECEIVE
        self.frame, self.found = BROKEN, Answer.OK
        self.payload: tuple[int, ...] = ()
        self.num_results = 0
        self.answer = b""
        self.num_sent = 0
        # Whether a word of the frame under way found no room
        self.missed = False
        self.words: deque[int] = deque()
        self.port, self.fetched = "prog", False
        self.results: deque[int] = deque()
        self.session = self.mark = 0

    def offer(self, name: str) -> int | None:
        """What an output offers in this cycle; None if nothing."""
        match name:
            case "tx":
                return self.answer[self.num_sent] if self.state is State.SEND else None
            case "access":
                return access_of(self.frame) if self.state is State.ACCESS else None
        return self.words[0] if self.fetched and self.port == name else None

    def wants(self, name: str) -> bool:
        """Whether an input is taken in this cycle."""
        match name:
            case "rx":
                return self.state is State.RECEIVE
            case "reply":
                return self.state is State.REPLY
        return len(self.results) < self.max_words

    def tick(self, taken: dict[str, int], sent: set[str]) -> None:
        """The clock edge. taken: what came at inputs. sent: outputs whose offer was taken."""
        state, occupied = self.state, bool(self.words)
        num_waiting = len(self.results)
        if sent & {"prog", "image"}:
            self.words.popleft()
            self.fetched = False
        else:
            self.fetched = occupied
        if "result" in taken:
            self.results.append(taken["result"])
        match state:
            case State.RECEIVE:
                if "rx" in taken:
                    self._receive(taken["rx"], occupied)
            case State.ACT:
                self._act(num_waiting)
            case State.ACCESS:
                if "access" in sent:
                    self.state = State.REPLY
            case State.REPLY:
                if "reply" in taken:
                    self._replied(taken["reply"])
            case State.PREPARE:
                argument = num_waiting | (OCCUPIED if occupied else 0)
                self._prepare(argument)
            case State.SEND:
                if "tx" in sent:
                    self._sent()

    def _receive(self, symbol: int, occupied: bool) -> None:
        if not self.receiver.data:
            self.missed = False
        frame = self.receiver.receive(symbol)
        if self.receiver.ends_a_word and occupied:
            self.missed = True
        if frame is BROKEN:
            self.frame, self.found, self.payload = BROKEN, Answer.LINE, ()
            self.num_results = 0
            self.state = State.PREPARE
        elif frame is not None:
            self.frame, self.state = frame, State.ACT

    def _act(self, num_waiting: int) -> None:
        frame = self.frame
        self.found = verdict(frame, self.session, self.missed, self.max_words)
        self.payload, self.num_results = (), 0
        self.state = State.PREPARE
        if self.found is not Answer.OK:
            return
        match frame.kind:
            case Request.OPEN | Request.RESTART:
                self.session = frame.session
            case Request.PROGRAM | Request.IMAGE:
                self.words.extend(frame.payload)
                self.port = "prog" if frame.kind == Request.PROGRAM else "image"
                if frame.kind == Request.PROGRAM:
                    self.mark = 0
            case Request.RESULT:
                self.num_results = min(frame.argument, num_waiting)
            case Request.GET_MARK:
                self.payload = (self.mark,)
            case Request.SET_MARK:
                self.mark = frame.payload[0]
        if frame.kind == Request.RESTART:
            self.words.clear()
            self.fetched = False
        if access_of(frame) is not None:
            self.state = State.ACCESS

    def _replied(self, reply: int) -> None:
        self.state = State.PREPARE
        if reply >> DATA_NBITS:
            self.found = Answer.REFUSED
        elif self.frame.kind == Request.GET:
            self.payload = (reply,)
        if self.frame.kind == Request.RESTART:
            self.results.clear()
            self.mark = 0

    def _prepare(self, argument: int) -> None:
        payload = self.payload + tuple(list(self.results)[: self.num_results])
        frame = self.frame
        self.answer = Frame(self.found, frame.sequence, frame.session, argument, payload).to_bytes()
        self.num_sent, self.state = 0, State.SEND

    def _sent(self) -> None:
        self.num_sent += 1
        # A result leaves the queue when the word before it has left.
        if self.num_sent % WORD_BYTES == 0 and self.num_sent // WORD_BYTES <= self.num_results:
            self.results.popleft()
        if self.num_sent == len(self.answer):
            self.state = State.RECEIVE


class SerialBridgeCL(SerialBridgePorts):
    """:class:`SerialBridgeCoreCL` with val/rdy ports."""

    def construct(s, max_words: int = MAX_WORDS) -> None:
        s.add_core(SerialBridgeCoreCL(max_words))
