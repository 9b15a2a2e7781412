"""The serial protocol between a host and a board: frames, requests, and what answers them. What
:mod:`rtl_models.serial_bridge` decodes is said here once; docs/reference/serial.md explains it."""

from __future__ import annotations

import zlib
from enum import IntEnum
from typing import NamedTuple

from accel.hardware.registers import ADDRESS_NBITS, BY_NAME, DATA_NBITS

START = 0xA5
"""The first byte of a frame."""
SILENCE = 0x100
"""What the receiver says after bytes when the line has been silent: no byte has this bit."""
SYMBOL_NBITS = 9
BAUD = 3_000_000
"""Bits a second of a board, unless its bitstream is made for others."""
QUEUED_SYMBOLS = 32
"""So many come before they are looked at, while an answer goes out: a request without payload,
which a host sends right after the one before it."""
SILENCE_BITS = 1 << 16
"""So many bits long the line has to be high to be silent: 22 ms at 3 Mbaud, longer than a host
with something else to do makes a frame's bytes wait."""
HEADER_BYTES, WORD_BYTES, CRC_BYTES = 8, 8, 4
MAX_WORDS = 256
"""Words of a frame at most: what is written has room on the board before it is looked at."""
OCCUPIED = 1 << 15
"""Of an answer's argument: words that were written are still on their way to the accelerator."""

CRC_POLYNOMIAL = 0xEDB88320
CRC_RESIDUE = 0xDEBB20E3
"""What the CRC-32's register holds after a frame and its own CRC, whatever the frame."""

SOFT_RESET_ADDRESS = BY_NAME["control"].offset
SOFT_RESET_DATA = BY_NAME["control"].field("soft_reset").mask
ACCESS_NBITS = 1 + ADDRESS_NBITS + DATA_NBITS
"""Of a register: whether it is written, its address, what is written."""
REPLY_NBITS = 1 + DATA_NBITS
"""Whether the access was refused, and what was read."""


class Request(IntEnum):
    """What a host asks for."""

    OPEN = 1
    """Begins a session; nothing else changes."""
    RESTART = 2
    """Begins a session, resets the accelerator softly, drops all words and the mark."""
    PROGRAM = 3
    """The payload goes to the stream `prog`, and the mark becomes 0."""
    IMAGE = 4
    """The payload goes to the stream `image`."""
    RESULT = 5
    """Asks for words of the stream `result`, as many as there are but no more than the argument."""
    GET = 6
    """Reads the register at the address in the argument's lower 12 bits."""
    SET = 7
    """Writes the payload's lower 32 bits there."""
    GET_MARK = 8
    """Reads the mark: 64 bits that the board keeps for the host."""
    SET_MARK = 9
    """The payload becomes the mark."""


class Answer(IntEnum):
    """What became of a request. All but OK have changed nothing."""

    OK = 0
    LINE = 1
    """Bytes were lost, changed or added: the frame's end did not come, or its CRC is wrong."""
    REQUEST = 2
    """There is no such request, or its payload has not as many words."""
    SESSION = 3
    """The board is in another session: it was reset, or there is another host."""
    BUSY = 4
    """The accelerator has not taken all words yet that were written before: ask again."""
    REFUSED = 5
    """There is no such register, or it cannot be written so."""


class Frame(NamedTuple):
    """A frame without start and CRC. kind: of :class:`Request`, or :class:`Answer`."""

    kind: int
    sequence: int
    session: int
    argument: int = 0
    payload: tuple[int, ...] = ()

    def to_bytes(self) -> bytes:
        fields = (
            (START, 1),
            (self.kind, 1),
            (self.sequence, 1),
            (self.session, 1),
            (len(self.payload), 2),
            (self.argument, 2),
        )
        header = b"".join(value.to_bytes(size, "little") for value, size in fields)
        body = header + b"".join(word.to_bytes(WORD_BYTES, "little") for word in self.payload)
        return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


def frame_length(header: bytes) -> int:
    """Bytes of the whole frame that begins with these ``HEADER_BYTES``."""
    return HEADER_BYTES + WORD_BYTES * int.from_bytes(header[4:6], "little") + CRC_BYTES


def from_bytes(data: bytes) -> Frame | None:
    """The frame that these bytes are, all of them; None if they are none."""
    if len(data) < HEADER_BYTES + CRC_BYTES or data[0] != START or len(data) != frame_length(data):
        return None
    body, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if zlib.crc32(body) != int.from_bytes(crc, "little"):
        return None
    words = range(HEADER_BYTES, len(body), WORD_BYTES)
    return Frame(
        kind=body[1],
        sequence=body[2],
        session=body[3],
        argument=int.from_bytes(body[6:8], "little"),
        payload=tuple(int.from_bytes(body[i : i + WORD_BYTES], "little") for i in words),
    )


def num_words_allowed(kind: int, count: int, max_words: int = MAX_WORDS) -> bool:
    """Whether there is such a request, with a payload of so many words."""
    if kind in (Request.PROGRAM, Request.IMAGE):
        return 1 <= count <= max_words
    return count == (kind in (Request.SET, Request.SET_MARK)) and kind in tuple(Request)


def access(write: bool, address: int, data: int = 0) -> int:
    """The message on the stream ``access``."""
    return (write << ADDRESS_NBITS | address) << DATA_NBITS | data
