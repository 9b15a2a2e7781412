"""The serial bridge, at all levels."""

from __future__ import annotations

import zlib
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.registers import ADDRESS_NBITS, DATA_NBITS
from accel.hardware.serial import (
    CRC_BYTES,
    HEADER_BYTES,
    SILENCE,
    SOFT_RESET_ADDRESS,
    SOFT_RESET_DATA,
    START,
    Answer,
    Frame,
    Request,
    access,
    from_bytes,
)
from cl_models.serial_bridge import SerialBridgeCL
from fl_models.serial_bridge import INPUTS, OUTPUTS, SerialBridgeFL
from rtl_models.serial_bridge import SerialBridgeRTL
from tests import ROOT
from tests.harness import Simulator, Simulators
from tests.strategies import more_examples

LEVELS = {"fl": SerialBridgeFL, "cl": SerialBridgeCL, "rtl": SerialBridgeRTL}
MAX_WORDS = 4
REFUSED_ADDRESS = 0xFF0
words = st.integers(0, (1 << 64) - 1)


class Board:
    """A bridge with all that is around it: a line, streams that are taken with pauses, registers.

    pauses: in turn, whether something waits in a cycle.
    """

    def __init__(self, sim: Simulator, pauses: list[bool] | None = None) -> None:
        self.sim, self.pauses, self.cycle = sim, pauses or [False], 0
        self.taken: dict[str, list[int]] = {name: [] for name in OUTPUTS}
        self.inputs: dict[str, deque[int]] = {name: deque() for name in INPUTS}
        self.registers: dict[int, int] = {}
        # What was offered and not taken; it has to stand
        self.held: dict[str, int] = {}
        sim.reset()

    def step(self) -> None:
        sim = self.sim
        pause = self.pauses[self.cycle % len(self.pauses)]
        self.cycle += 1
        offered = {
            name: bool(queue) and not (pause and name != "rx")
            for name, queue in self.inputs.items()
        }
        pins = {f"{name}.rdy": int(not pause) for name in OUTPUTS}
        for name, queue in self.inputs.items():
            pins |= {f"{name}.val": offered[name], f"{name}.msg": queue[0] if queue else 0}
        sim.settle(pins)
        moved = [name for name in INPUTS if offered[name] and sim.read(f"{name}.rdy")]
        for name in OUTPUTS:
            if not sim.read(f"{name}.val"):
                assert name not in self.held, f"{name} was withdrawn"
                continue
            message = sim.read(f"{name}.msg")
            assert self.held.setdefault(name, message) == message, f"{name} changed"
            if not pause:
                del self.held[name]
                self.taken[name].append(message)
                if name == "access":
                    self.inputs["reply"].append(self._reply(message))
        sim.edge()
        for name in moved:
            self.inputs[name].popleft()

    def _reply(self, message: int) -> int:
        address = message >> DATA_NBITS & ((1 << ADDRESS_NBITS) - 1)
        if address == REFUSED_ADDRESS:
            return 1 << DATA_NBITS
        if message >> (ADDRESS_NBITS + DATA_NBITS):
            self.registers[address] = message & ((1 << DATA_NBITS) - 1)
            if address == SOFT_RESET_ADDRESS and message & SOFT_RESET_DATA:
                # The accelerator's words are gone, those that wait at the stream too.
                self.inputs["result"].clear()
        return self.registers.get(address, 0)

    def send(self, symbols: bytes | list[int]) -> Frame | None:
        """The answer to these symbols; None if none comes."""
        self.inputs["rx"].extend(symbols)
        already, quiet = len(self.taken["tx"]), 0
        while quiet < 12:
            before = len(self.taken["tx"]), len(self.inputs["rx"])
            self.step()
            quiet = quiet + 1 if (len(self.taken["tx"]), len(self.inputs["rx"])) == before else 0
        data = bytes(self.taken["tx"][already:])
        if not data:
            return None
        answer = from_bytes(data)
        assert answer is not None, data.hex()
        return answer

    def ask(
        self, kind: int, session: int = 1, argument: int = 0, payload: tuple[int, ...] = ()
    ) -> Frame:
        self.sequence = (getattr(self, "sequence", 0) + 1) % 256
        answer = self.send(Frame(kind, self.sequence, session, argument, payload).to_bytes())
        assert answer is not None
        assert (answer.sequence, answer.session) == (self.sequence, session)
        return answer

    def write(self, kind: Request, payload: tuple[int, ...]) -> None:
        """Until there is room."""
        for _ in range(50):
            answer = self.ask(kind, payload=payload)
            if answer.kind != Answer.BUSY:
                assert answer.kind == Answer.OK
                return
        raise AssertionError("never taken")


def board(simulators: Simulators, level: str, pauses: list[bool] | None = None) -> Board:
    return Board(simulators(LEVELS[level], MAX_WORDS), pauses)


def test_requests_and_answers_are_documented() -> None:
    text = (ROOT / "docs" / "reference" / "serial.md").read_text()
    for number in (*Request, *Answer):
        assert f"| {number.value} | `{number.name}` |" in text


def test_frame() -> None:
    """The format, written down once more."""
    header = bytes([0xA5, 4, 9, 1, 1, 0, 0x34, 0x12])
    body = header + bytes([8, 7, 6, 5, 4, 3, 2, 1])
    data = body + zlib.crc32(body).to_bytes(4, "little")
    frame = Frame(Request.IMAGE, 9, 1, 0x1234, (0x0102030405060708,))
    assert frame.to_bytes() == data and from_bytes(data) == frame
    for i in range(len(data)):
        assert from_bytes(data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :]) is None
        assert from_bytes(data[:i]) is None


@pytest.mark.parametrize("pauses", [[False], [True, False], [True, True, False]])
@pytest.mark.parametrize("level", LEVELS)
def test_all_requests(simulators: Simulators, level: str, pauses: list[bool]) -> None:
    b = board(simulators, level, pauses)
    assert b.ask(Request.GET).kind == Answer.SESSION  # of nobody yet
    assert b.ask(Request.OPEN, session=0).kind == Answer.SESSION
    assert b.ask(Request.OPEN).kind == Answer.OK
    b.write(Request.PROGRAM, (1, 2, 3, 4))
    b.write(Request.IMAGE, (5, 6))
    b.write(Request.PROGRAM, (7,))
    assert b.ask(Request.SET, argument=0x10, payload=(0x1_0000_0007,)).kind == Answer.OK
    assert b.ask(Request.GET, argument=0x10).payload == (7,)
    refused = b.ask(Request.GET, argument=REFUSED_ADDRESS)
    assert refused.kind == Answer.REFUSED and refused.payload == ()
    assert b.ask(Request.SET, argument=REFUSED_ADDRESS, payload=(0,)).kind == Answer.REFUSED
    assert b.ask(Request.GET_MARK).payload == (0,)
    assert b.ask(Request.SET_MARK, payload=(1 << 63,)).kind == Answer.OK
    assert b.ask(Request.GET_MARK).payload == (1 << 63,)
    b.write(Request.IMAGE, (9,))
    assert b.ask(Request.GET_MARK).payload == (1 << 63,)
    b.write(Request.PROGRAM, (8,))
    assert b.ask(Request.GET_MARK).payload == (0,)
    assert b.ask(Request.SET_MARK, payload=(1 << 63,)).kind == Answer.OK
    b.inputs["result"].extend(range(100, 107))
    results: list[int] = []
    for most in (0, 1, 9, 9, 9):
        answer = b.ask(Request.RESULT, argument=most)
        assert len(answer.payload) <= min(most, MAX_WORDS)
        results += answer.payload
    assert results == list(range(100, 107))
    assert b.taken["prog"] == [1, 2, 3, 4, 7, 8] and b.taken["image"] == [5, 6, 9]
    for kind, payload in ((0, ()), (10, ()), (Request.PROGRAM, ()), (Request.GET, (1,))):
        assert b.ask(kind, payload=payload).kind == Answer.REQUEST
    assert b.ask(Request.OPEN, session=2).kind == Answer.OK
    assert b.ask(Request.IMAGE, payload=(8,)).kind == Answer.SESSION  # the other host
    assert b.taken["image"] == [5, 6, 9]
    assert b.ask(Request.GET_MARK, session=2).payload == (1 << 63,)
    assert b.taken["access"][0] == access(True, 0x10, 7)


@pytest.mark.parametrize("level", LEVELS)
def test_restart_drops_all(simulators: Simulators, level: str) -> None:
    b = board(simulators, level)
    b.ask(Request.OPEN)
    b.ask(Request.SET_MARK, payload=(5,))
    b.inputs["result"].extend(range(6))
    b.ask(Request.OPEN)
    assert b.ask(Request.RESTART, session=3).kind == Answer.OK
    assert b.taken["access"] == [access(True, SOFT_RESET_ADDRESS, SOFT_RESET_DATA)]
    assert b.ask(Request.RESULT, session=3, argument=9).payload == ()
    assert b.ask(Request.GET_MARK, session=3).payload == (0,)


@pytest.mark.parametrize("level", LEVELS)
def test_too_long(simulators: Simulators, level: str) -> None:
    """A frame of more words than there is room for is dropped to its end."""
    b = board(simulators, level)
    b.ask(Request.OPEN)
    long = Frame(Request.IMAGE, 1, 1, 0, tuple(range(MAX_WORDS + 1))).to_bytes()
    assert b.send(long) is None
    answer = b.send([SILENCE])
    assert answer is not None and answer.kind == Answer.LINE
    assert b.taken["image"] == []
    assert b.ask(Request.GET_MARK).kind == Answer.OK


@given(data=st.data())
@pytest.mark.parametrize("level", LEVELS)
def test_noise(simulators: Simulators, level: str, data: st.DataObject) -> None:
    """What a disturbed frame says is never done; after a silence the next one is."""
    b = board(simulators, level)
    b.ask(Request.OPEN)
    payload = tuple(data.draw(st.lists(words, min_size=1, max_size=MAX_WORDS)))
    good = Frame(Request.PROGRAM, 7, 1, 0, payload).to_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    how = data.draw(st.sampled_from(["flip", "lose", "add", "cut"]))
    changed = {
        "flip": good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :],
        "lose": good[:at] + good[at + 1 :],
        "add": good[:at] + data.draw(st.binary(min_size=1, max_size=9)) + good[at:],
        "cut": good[:at],
    }[how]
    sent = b.send([*changed, SILENCE, SILENCE])
    # Bytes added before a frame, none of which begins one, leave it as it was.
    whole = good in changed and START not in changed[: changed.index(good)]
    if whole:
        assert sent is not None and b.taken["prog"] == list(payload)
    else:
        assert b.taken["prog"] == []
        assert sent is None or sent.kind == Answer.LINE
    b.taken["prog"].clear()
    b.write(Request.PROGRAM, (1, 2))
    assert b.taken["prog"] == [1, 2]


@given(data=st.data())
@pytest.mark.parametrize("level", LEVELS)
def test_everything_arrives_once(simulators: Simulators, level: str, data: st.DataObject) -> None:
    """Of any words, whatever waits."""
    pauses = [*data.draw(st.lists(st.booleans(), max_size=9)), False]
    b = board(simulators, level, pauses)
    b.ask(Request.OPEN)
    told: dict[str, list[int]] = {"prog": [], "image": []}
    coming = data.draw(st.lists(words, max_size=12))
    b.inputs["result"].extend(coming)
    results: list[int] = []
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(["prog", "image"]))
        payload = data.draw(st.lists(words, min_size=1, max_size=MAX_WORDS))
        b.write(Request.PROGRAM if name == "prog" else Request.IMAGE, tuple(payload))
        told[name] += payload
        argument = data.draw(st.integers(0, 300))
        results += b.ask(Request.RESULT, argument=argument).payload
    while len(results) < len(coming):
        results += b.ask(Request.RESULT, argument=9).payload
    for _ in range(100):
        b.step()
    assert results == coming and {n: b.taken[n] for n in told} == told


@st.composite
def symbols(draw: st.DrawFn) -> list[int]:
    """Frames with little wrong, and silences."""
    found: list[int] = []
    for _ in range(draw(st.integers(1, 5))):
        payload = draw(st.lists(words, max_size=MAX_WORDS + 1))
        kind = draw(st.sampled_from([*Request, Request.GET, Request.SET, 0, 10]))
        if kind not in (Request.PROGRAM, Request.IMAGE, 0):
            payload = payload[: kind in (Request.SET, Request.SET_MARK)]
        data = Frame(
            kind, draw(st.integers(0, 255)), draw(st.sampled_from([1, 1, 1, 0])),
            draw(st.integers(0, 0xFFFF)), tuple(payload),
        ).to_bytes()  # fmt: skip
        match draw(st.integers(0, 5)):
            case 0:
                data = data[: draw(st.integers(0, len(data)))]
            case 1:
                at = draw(st.integers(0, len(data) - 1))
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        found += data
        if draw(st.booleans()) or len(data) < HEADER_BYTES + CRC_BYTES:
            found.append(SILENCE)
    return [*Frame(Request.OPEN, 0, 1).to_bytes(), *found, SILENCE]


@more_examples(2)
@given(data=st.data())
def test_timing(simulators: Simulators, data: st.DataObject) -> None:
    """CL and RTL agree on every output in every cycle, whatever comes."""
    line = data.draw(symbols())
    # A bit a cycle says whether a port has, or takes, something; drawn once, walked in turn.
    ways = {name: data.draw(st.lists(st.booleans(), max_size=7)) for name in (*INPUTS, *OUTPUTS)}
    numbers = data.draw(st.lists(words, min_size=3, max_size=3))
    held_equal(simulators, line, ways, numbers)


def test_a_read_carries_no_data(simulators: Simulators) -> None:
    """Though a word was written before."""
    frames = (
        Frame(Request.OPEN, 0, 1),
        Frame(Request.SET, 1, 1, 4, (0x1234_5678,)),
        Frame(Request.GET, 2, 1, 8),
    )
    line = [symbol for frame in frames for symbol in frame.to_bytes()]
    held_equal(simulators, line, {name: [] for name in (*INPUTS, *OUTPUTS)}, [0, 0, 0])


def held_equal(
    simulators: Simulators, line: list[int], ways: dict[str, list[bool]], numbers: list[int]
) -> None:
    """CL and RTL, for 500 cycles."""
    sims = [simulators(LEVELS[level], MAX_WORDS) for level in ("cl", "rtl")]
    for sim in sims:
        sim.reset()
    at = 0
    for cycle in range(500):
        on = {name: [*way, True][cycle % (len(way) + 1)] for name, way in ways.items()}
        on["rx"] &= at < len(line)
        pins = {f"{name}.val": on[name] for name in INPUTS}
        pins |= {f"{name}.rdy": on[name] for name in OUTPUTS}
        pins["rx.msg"] = line[at] if at < len(line) else 0
        pins["result.msg"] = numbers[cycle % 3]
        pins["reply.msg"] = numbers[cycle % 3] & ((2 << DATA_NBITS) - 1)
        seen = []
        for sim in sims:
            sim.settle(pins)
            values = {f"{n}.rdy": sim.read(f"{n}.rdy") for n in INPUTS}
            values |= {f"{n}.val": sim.read(f"{n}.val") for n in OUTPUTS}
            values |= {f"{n}.msg": sim.read(f"{n}.msg") for n in OUTPUTS if values[f"{n}.val"]}
            seen.append(values)
            sim.edge()
        assert seen[0] == seen[1], f"cycle {cycle}"
        at += on["rx"] and seen[0]["rx.rdy"]


@pytest.mark.parametrize("level", ["cl", "rtl"])
def test_room_that_comes_too_late(simulators: Simulators, level: str) -> None:
    """Words of which the first found no room are refused, though there is room at the end."""
    b = board(simulators, level)
    b.ask(Request.OPEN)
    # Both frames come without a pause, while the stream takes nothing until the second's last word.
    first = Frame(Request.PROGRAM, 1, 1, 0, (1, 2, 3, 4)).to_bytes()
    second = Frame(Request.PROGRAM, 2, 1, 0, (5, 6, 7, 8)).to_bytes()
    b.inputs["rx"].extend(first + second)
    b.pauses, b.cycle = [True], 0
    while len(b.inputs["rx"]) > len(second):
        b.step()
    # The answer to the first goes out; then the second's first word comes while all is full.
    stalled = Stalled(b)
    stalled.until(len(second) - HEADER_BYTES - 9)
    b.pauses = [False]
    answers = stalled.answers()
    assert [a.kind for a in answers[-2:]] == [Answer.OK, Answer.BUSY]
    assert b.taken["prog"] == [1, 2, 3, 4]


class Stalled:
    """Of a board whose stream ``prog`` alone takes nothing."""

    def __init__(self, b: Board) -> None:
        self.b, self.start = b, len(b.taken["tx"])

    def until(self, num_left: int) -> None:
        sim = self.b.sim
        while len(self.b.inputs["rx"]) > num_left:
            queue = self.b.inputs["rx"]
            sim.settle({"rx.val": True, "rx.msg": queue[0], "prog.rdy": False, "tx.rdy": True})
            taken = sim.read("rx.rdy")
            if sim.read("tx.val"):
                self.b.held.pop("tx", None)
                self.b.taken["tx"].append(sim.read("tx.msg"))
            sim.edge()
            if taken:
                queue.popleft()

    def answers(self) -> list[Frame]:
        for _ in range(300):
            self.b.step()
        data, found = bytes(self.b.taken["tx"][self.start :]), []
        while data:
            frame = from_bytes(data[: HEADER_BYTES + CRC_BYTES])
            assert frame is not None
            found.append(frame)
            data = data[HEADER_BYTES + CRC_BYTES :]
        return found
