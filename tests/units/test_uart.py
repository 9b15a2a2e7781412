"""The two halves of a serial line's UART, held to what a line carries, bit for bit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.serial import QUEUED_SYMBOLS, SILENCE
from cl_models.uart import UartReceiverCL, UartTransmitterCL
from fl_models.uart import line_of, symbols_of
from rtl_models.symbol_queue import SymbolQueueRTL
from rtl_models.uart_receiver import UartReceiverRTL
from rtl_models.uart_transmitter import UartTransmitterRTL
from tests.harness import Simulator, Simulators, run
from tests.strategies import delayed

DIVISORS = (4, 5)
SILENCE_BITS = 32
octets = st.integers(0, 255)


def bits_of(octet: int) -> list[int]:
    """What is on the line, a number a bit's time: start, eight bits, stop."""
    return [0, *(octet >> i & 1 for i in range(8)), 1]


def received(sim: Simulator, line: list[int], pauses: list[bool] | None = None) -> list[int]:
    """The symbols that the receiver makes of a line, a number a cycle. pauses: in turn, whether
    nobody takes a symbol in a cycle."""
    sim.reset()
    pauses = pauses or [False]
    symbols: list[int] = []
    held: int | None = None
    for cycle, level in enumerate(line):
        rdy = not pauses[cycle % len(pauses)]
        sim.settle({"rx": level, "out.rdy": rdy})
        if sim.read("out.val"):
            message = sim.read("out.msg")
            assert held in (None, message), "what is offered stands"
            held = None if rdy else message
            if rdy:
                symbols.append(message)
        else:
            assert held is None, "what is offered is not withdrawn"
        sim.edge()
    return symbols


def cycles(bits: list[int], divisor: int) -> list[int]:
    """A line, a number a cycle, of bits that take ``divisor`` cycles each."""
    return [bit for bit in bits for _ in range(divisor)]


def sampled(levels: list[tuple[int, float]]) -> list[int]:
    """A line, a number a cycle, of levels that take so many cycles each, not always whole."""
    line: list[int] = []
    end = 0.0
    for level, duration in levels:
        end += duration
        line += [level] * (math.ceil(end) - len(line))
    return line


def quiet(divisor: int, bits: int = SILENCE_BITS + 4) -> list[int]:
    return [1] * (bits * divisor)


@pytest.mark.parametrize("divisor", DIVISORS)
@given(data=st.lists(st.tuples(octets, st.integers(0, 3)), max_size=4))
def test_transmitter(simulators: Simulators, divisor: int, data: list[tuple[int, int]]) -> None:
    """Each byte in ten bits' time, the next one right behind if it is there; high in between."""
    sim = simulators(UartTransmitterRTL, divisor)
    sim.reset()
    line: list[int] = []

    def cycle(val: int, octet: int = 0) -> bool:
        sim.settle({"octet.val": val, "octet.msg": octet})
        taken = bool(val and sim.read("octet.rdy"))
        line.append(sim.read("tx"))
        sim.edge()
        return taken

    expected = []
    for octet, gap in data:
        before = len(line)
        for _ in range(gap):
            cycle(0)
        while not cycle(1, octet):
            assert len(line) < before + 20 * divisor
        expected.append((len(line), octet))
    for _ in range(11 * divisor):
        cycle(0)
    wanted = [1] * len(line)
    for start, octet in expected:
        wanted[start : start + 10 * divisor] = cycles(bits_of(octet), divisor)
    assert line == wanted
    starts = [start for start, _ in expected]
    for (_, gap), a, b in zip(data[1:], starts, starts[1:], strict=False):
        assert b - a == max(10 * divisor, gap) + 1


@pytest.mark.parametrize("divisor", DIVISORS)
@given(data=st.data())
def test_receiver(simulators: Simulators, divisor: int, data: st.DataObject) -> None:
    """Bytes of a sender that is up to two in a hundred faster or slower, with any pauses between
    them, on a line that has been high; then silence, once."""
    sim = simulators(UartReceiverRTL, divisor, SILENCE_BITS)
    speed = data.draw(st.floats(0.98, 1.02))
    levels, symbols = [(1, 2.0 * divisor)], []
    for octet, gap in data.draw(st.lists(st.tuples(octets, st.floats(0, 20)), max_size=6)):
        levels += [(1, gap * divisor), *((bit, divisor * speed) for bit in bits_of(octet))]
        symbols.append(octet)
    line = sampled(levels) + quiet(divisor) * 2
    assert received(sim, line) == [*symbols, *[SILENCE] * bool(symbols)]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_silence_takes_its_time(simulators: Simulators, divisor: int) -> None:
    sim = simulators(UartReceiverRTL, divisor, SILENCE_BITS)
    for bits, symbols in ((SILENCE_BITS - 2, [7, 8]), (SILENCE_BITS + 2, [7, SILENCE, 8])):
        line = cycles(bits_of(7), divisor) + quiet(divisor, bits) + cycles(bits_of(8), divisor)
        assert received(sim, line + quiet(divisor, 4)) == symbols


@pytest.mark.parametrize("divisor", DIVISORS)
@given(data=st.data())
def test_what_is_no_byte(simulators: Simulators, divisor: int, data: st.DataObject) -> None:
    """A pulse too short for a start bit is nothing, alone or before a byte; of a line that is held
    low nothing comes, and the next byte is whole."""
    sim = simulators(UartReceiverRTL, divisor, SILENCE_BITS)
    octet = data.draw(octets)
    pulse = [0] * data.draw(st.integers(1, divisor // 2 - 1))
    gap = [1] * data.draw(st.integers(1, 30))
    byte = cycles(bits_of(octet), divisor)
    assert received(sim, [1, *pulse, *quiet(divisor)]) == []
    assert received(sim, [1, *pulse, *gap, *byte, *quiet(divisor)]) == [octet, SILENCE]
    low = [0] * data.draw(st.integers(10 * divisor, 40 * divisor))
    assert received(sim, [1, *low, *gap, *byte, *quiet(divisor)]) == [octet, SILENCE]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_bytes_that_nobody_takes(simulators: Simulators, divisor: int) -> None:
    """One waits; what comes before it is taken is lost, and the next is right again."""
    sim = simulators(UartReceiverRTL, divisor, SILENCE_BITS)
    line = [level for octet in range(5) for level in cycles(bits_of(octet), divisor)]
    pauses = [True] * (38 * divisor) + [False] * (60 * divisor)
    assert received(sim, line + quiet(divisor), pauses) == [0, 3, 4, SILENCE]


@given(data=st.data())
def test_queue(simulators: Simulators, data: st.DataObject) -> None:
    """All symbols, in their order, whoever waits."""
    symbols = data.draw(st.lists(st.integers(0, SILENCE), max_size=2 * QUEUED_SYMBOLS))
    stalls = data.draw(st.lists(st.integers(0, 3), min_size=len(symbols), max_size=len(symbols)))
    inputs = {"recv": data.draw(delayed(symbols))}
    run(simulators(SymbolQueueRTL), inputs, {"send": symbols}, {"send": stalls})


def test_queue_has_its_room(simulators: Simulators) -> None:
    """A symbol a cycle is taken until there is no place left, then one for each that goes."""
    symbols = list(range(QUEUED_SYMBOLS + 8))
    found = run(
        simulators(SymbolQueueRTL),
        {"recv": [(symbol, 0) for symbol in symbols]},
        {"send": symbols},
        {"send": [100, *[0] * (len(symbols) - 1)]},
    )
    came, went = found.timing["recv"], found.timing["send"]
    assert came[:QUEUED_SYMBOLS] == list(range(QUEUED_SYMBOLS))
    assert went == list(range(went[0], went[0] + len(symbols)))
    assert came[QUEUED_SYMBOLS:] == [cycle + 1 for cycle in went[:8]]


@st.composite
def lines(draw: st.DrawFn, divisor: int) -> list[int]:
    """Anything that may be on a line: bytes with disturbances, and levels for any times."""
    line: list[int] = []
    for _ in range(draw(st.integers(0, 4))):
        line += cycles(bits_of(draw(octets)), divisor)
        if draw(st.booleans()):
            at = draw(st.integers(0, len(line) - 1))
            line[at] ^= 1
        line += [draw(st.integers(0, 1))] * draw(st.integers(0, 12 * divisor))
    return [*line, *quiet(divisor)]


@pytest.mark.parametrize("divisor", DIVISORS)
@given(data=st.data())
def test_any_line(simulators: Simulators, divisor: int, data: st.DataObject) -> None:
    """RTL yields what the functional model finds on it, and CL equals RTL in every cycle, whoever
    waits."""
    line = data.draw(lines(divisor))
    rtl = simulators(UartReceiverRTL, divisor, SILENCE_BITS)
    # Two registers, and a cycle in which a symbol is offered
    assert received(rtl, [*line, 1, 1, 1]) == symbols_of(line, divisor, SILENCE_BITS)
    pauses = data.draw(st.lists(st.booleans(), max_size=40))
    cl = simulators(UartReceiverCL, divisor, SILENCE_BITS)
    for sim in (cl, rtl):
        sim.reset()
    for cycle, level in enumerate(line):
        rdy = not pauses[cycle % len(pauses)] if pauses else 1
        seen = []
        for sim in (cl, rtl):
            sim.settle({"rx": level, "out.rdy": rdy})
            val = sim.read("out.val")
            seen.append((val, val and sim.read("out.msg")))
            sim.edge()
        assert seen[0] == seen[1], f"cycle {cycle}"


@pytest.mark.parametrize("divisor", DIVISORS)
@given(data=st.lists(st.tuples(octets, st.integers(0, 30)), max_size=4))
def test_sent_line(simulators: Simulators, divisor: int, data: list[tuple[int, int]]) -> None:
    """CL and RTL agree on the line in every cycle, and the bytes are on it."""
    sims = [simulators(unit, divisor) for unit in (UartTransmitterCL, UartTransmitterRTL)]
    for sim in sims:
        sim.reset()
    line: list[int] = []
    for octet, gap in [*data, (0, 10 * divisor)]:
        for val in [0] * gap + [1] * (10 * divisor + 1):
            for sim in sims:
                sim.settle({"octet.val": val, "octet.msg": octet})
            levels, ready = ({sim.read(name) for sim in sims} for name in ("tx", "octet.rdy"))
            assert len(levels) == len(ready) == 1
            line += levels
            for sim in sims:
                sim.edge()
            if val and ready == {1}:
                break
    found = symbols_of(line, divisor, SILENCE_BITS)
    assert [s for s in found if s != SILENCE] == [octet for octet, _ in data]


def test_functional_line() -> None:
    assert line_of([0b0101_0011], 2) == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1]
    assert symbols_of(line_of([1, 255, 0], 4) + [1] * 40, 4, 8) == [1, 255, 0, SILENCE]
