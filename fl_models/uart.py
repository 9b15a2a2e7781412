"""A serial line, functional: what is on it for bytes, and which bytes what is on it are."""

from collections.abc import Sequence

from accel.hardware.serial import SILENCE


def line_of(octets: Sequence[int], divisor: int) -> list[int]:
    """The line's level in each cycle for bytes without a pause: a start bit, eight bits from the
    lowest on, a stop bit, ``divisor`` cycles each."""
    bits = [bit for octet in octets for bit in (0, *(octet >> i & 1 for i in range(8)), 1)]
    return [bit for bit in bits for _ in range(divisor)]


def symbols_of(line: Sequence[int], divisor: int, silence_bits: int) -> list[int]:
    """The bytes, and ``SILENCE`` where it has been silent for so long after some, of a line's level
    in each cycle, which may be anything.

    A start bit that is not low until its middle is none, and a byte whose stop bit is low is
    dropped, with all that comes until the line is high again.
    """
    symbols: list[int] = []
    at = quiet = 0
    heard = False
    while at < len(line):
        if line[at]:
            at += 1
            quiet += 1
            if heard and quiet == silence_bits * divisor:
                symbols.append(SILENCE)
                heard = False
            continue
        middle = at + divisor // 2
        start = line[at : middle + 1]
        if 1 in start:
            at += start.index(1) + 1
            quiet = 0
            continue
        samples = line[middle + divisor : middle + 9 * divisor + 1 : divisor]
        if len(samples) > 8:
            heard, quiet = True, 0
            if samples[8]:
                symbols.append(sum(bit << i for i, bit in enumerate(samples[:8])))
        at = middle + 9 * divisor + 1
        if len(samples) > 8 and not samples[8]:
            while at < len(line) and not line[at]:
                at += 1
            at += 1
    return symbols
