"""What the hardware runs: layer descriptors, packets of the program stream, and the whole program.

Addresses
    The activation memory is one flat space of bytes; byte ``n`` lies in bank ``n mod 9``, row
    ``n div 9``. Hardware never divides: an address is a pair ``(q, r)`` with ``n = 9q + r``, and
    adding a stride is two small adders with a carry at 9. A feature map's element (channel c, row
    y, column x) is byte ``base + c*channel_stride + y*row_stride + x`` with
    ``row_stride mod 9 == 3`` and ``channel_stride mod 9 == 1``, so that nine taps of a 3x3 window
    (offsets 3*dy + dx) and nine consecutive channels (offsets 0 to 8) always lie in nine
    different banks, tap t in bank ``(r + t) mod 9``.

Loops
    Every address sequence is a nest of counted loops, innermost first; when a loop advances, it
    adds its own stride to the address at which it last advanced, and all loops inside restart
    from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from accel.hardware.config import BUS_NBITS, TAPS

WORDS_PER_LAYER = 18
INPUT_WORDS = 4
BYTES_PER_WORD = BUS_NBITS // 8

MAX_COUNT = 4096
"""Most iterations of one loop."""
MAX_SIZE = 511
"""Largest height or width of a feature map."""
MAX_PADDING = 15
MAX_STEP = 63
"""Most rows or columns from one output, or one vector of neighbouring outputs, to the next."""
MAX_SAFE_STEPS = 65535


@dataclass(frozen=True)
class Loop:
    """``count`` iterations, each ``stride`` bytes, ``dy`` rows and ``dx`` columns further."""

    count: int = 1
    stride: int = 0
    dy: int = 0
    dx: int = 0


@dataclass(frozen=True)
class Bits:
    """A field's place in a descriptor: word, lowest bit, width."""

    word: int
    low: int
    nbits: int


def _at(word: int, low: int, nbits: int) -> Any:
    return field(default=0, metadata={"bits": Bits(word, low, nbits)})


READ_LOOPS = ("kernel_x", "kernel_y", "channel", "pool_x", "pool_y", "out_x", "out_y", "group")
"""Loops of the step sequencer, innermost first; loop i is descriptor word i."""
PIXEL_WORD = len(READ_LOOPS)
"""Descriptor word PIXEL_WORD + i: how much further a pixel group reads whose number has bit i set,
as the stride, rows and columns of a loop. Zero where all groups read the same."""
WRITE_LOOPS = ("out_x", "out_y", "group")
"""Loops of the write sequencer outside pixels and beats; loop i is descriptor word
WRITE_WORD + 1 + i, without rows and columns."""
PARAM_WORD, WRITE_WORD = 12, 14
"""First words of the parameter sequencer and of the write sequencer."""

LOOP_COUNT, LOOP_Q, LOOP_R = (0, 12), (12, 16), (28, 4)
LOOP_DY, LOOP_DX = (32, 6), (38, 6)


@dataclass(frozen=True, kw_only=True)
class LayerDescriptor:
    """One layer, as the three sequencers walk it. Counts are stored minus one.

    Words 0 to 11 belong to the step sequencer, 12 and 13 to the parameter sequencer, 14 to 17 to
    the write sequencer.
    """

    read_loops: tuple[Loop, ...] = (Loop(),) * len(READ_LOOPS)
    pixel_offsets: tuple[Loop, ...] = (Loop(),) * 2
    write_loops: tuple[Loop, ...] = (Loop(),) * len(WRITE_LOOPS)

    # Step sequencer
    read_q: int = _at(10, 0, 16)
    read_r: int = _at(10, 16, 4)
    padding: int = _at(10, 20, 4)
    height: int = _at(10, 24, 9)
    width: int = _at(10, 33, 9)
    pad_value: int = _at(10, 42, 9)
    """The input's zero point, which a tap outside the feature map reads."""
    signed: int = _at(10, 51, 1)
    """The input is int8, not uint8."""
    channel_mode: int = _at(10, 52, 1)
    """Taps are nine channels of one pixel, not a 3x3 window of one channel."""
    reload: int = _at(10, 53, 1)
    """The steps of one output do not fit the scratchpads: read weights for each output anew."""
    frees_input: int = _at(10, 54, 1)
    """After this layer nothing reads the image: the next one may be loaded."""
    tap_q: int = _at(11, 0, 16)
    """Rows from one tap row (window) or channel (channel mode) to the next."""
    weight_base: int = _at(11, 16, 16)
    safe_steps: int = _at(11, 32, 16)
    """So many first steps read nothing that the layer before may still have in flight."""
    last_rows: int = _at(11, 48, 2)
    last_columns: int = _at(11, 50, 2)
    """Rows and columns of the kernel in its last window."""
    last_channels: int = _at(11, 52, 4)
    """Channels in the last block of nine."""

    # Parameter sequencer
    param_beats: int = _at(12, 0, 6)
    param_last_beats: int = _at(12, 6, 6)
    """Beats of a vector, and of one in the last group of output channels; minus one."""
    param_vectors: int = _at(12, 12, 24)
    """Vectors of a group, minus one."""
    param_groups: int = _at(12, 36, 12)
    param_base: int = _at(12, 48, 16)
    zero_point: int = _at(13, 0, 9)
    lo: int = _at(13, 9, 9)
    hi: int = _at(13, 18, 9)

    # Write sequencer
    write_q: int = _at(14, 0, 16)
    write_r: int = _at(14, 16, 4)
    lane_q: int = _at(14, 20, 16)
    """Rows from one channel to the next."""
    write_beats: int = _at(14, 36, 6)
    write_last_beats: int = _at(14, 42, 6)
    """Beats with outputs of a pixel, and of one in the last group of output channels; minus one."""
    last_lanes: int = _at(14, 48, 4)
    """Channels in the very last of these beats of the last group."""
    to_result: int = _at(14, 52, 1)
    """The last layer: outputs go to the result stream, not to memory."""
    out_signed: int = _at(14, 53, 1)
    """Outputs are int8, not uint8 (the winning class is chosen among numbers, not bytes)."""
    pixel_row_q: int = _at(15, 32, 16)
    """Rows of memory from one row of outputs to the next."""
    pixel_x: int = _at(15, 48, 1)
    pixel_y: int = _at(15, 49, 1)
    """A vector has two columns, or rows, of pixels."""
    drop_x: int = _at(15, 50, 1)
    drop_y: int = _at(15, 51, 1)
    """The second one of the last vector lies beyond the feature map."""
    drop_beats: int = _at(15, 52, 6)
    """Beats without outputs that follow a pixel's in the last group of output channels."""

    def encode(self) -> list[int]:
        words = [0] * WORDS_PER_LAYER

        def put(word: int, low: int, nbits: int, value: int) -> None:
            assert -(1 << nbits) < value < 1 << nbits, "the compiler checks limits by name"
            words[word] |= (int(value) & ((1 << nbits) - 1)) << low

        nests = (
            (0, self.read_loops),
            (PIXEL_WORD, self.pixel_offsets),
            (WRITE_WORD + 1, self.write_loops),
        )
        for first, loops in nests:
            for i, loop in enumerate(loops):
                q, r = divmod(loop.stride, TAPS)
                parts = (LOOP_COUNT, LOOP_Q, LOOP_R, LOOP_DY, LOOP_DX)
                values = (loop.count - 1, q, r, loop.dy, loop.dx)
                for (low, nbits), value in zip(parts, values, strict=True):
                    put(first + i, low, nbits, value)
        for name, bits in FIELDS.items():
            put(bits.word, bits.low, bits.nbits, getattr(self, name))
        return words

    @classmethod
    def decode(cls, words: list[int]) -> LayerDescriptor:
        def get(word: int, low: int, nbits: int) -> int:
            return (words[word] >> low) & ((1 << nbits) - 1)

        def loop(word: int) -> Loop:
            stride = TAPS * signed_field(get(word, *LOOP_Q), 16) + get(word, *LOOP_R)
            reads = word < PARAM_WORD
            dy, dx = (get(word, *LOOP_DY), get(word, *LOOP_DX)) if reads else (0, 0)
            return Loop(get(word, *LOOP_COUNT) + 1, stride, dy, dx)

        values = {n: get(b.word, b.low, b.nbits) for n, b in FIELDS.items()}
        for name in SIGNED_FIELDS:
            values[name] = signed_field(values[name], FIELDS[name].nbits)
        return cls(
            read_loops=tuple(loop(i) for i in range(len(READ_LOOPS))),
            pixel_offsets=tuple(loop(PIXEL_WORD + i) for i in range(2)),
            write_loops=tuple(loop(WRITE_WORD + 1 + i) for i in range(len(WRITE_LOOPS))),
            **values,
        )


FIELDS: dict[str, Bits] = {
    f.name: f.metadata["bits"] for f in fields(LayerDescriptor) if "bits" in f.metadata
}
SIGNED_FIELDS = ("read_q", "pad_value", "zero_point", "lo", "hi")


def signed_field(value: int, nbits: int) -> int:
    return value - (1 << nbits) if value >> (nbits - 1) else value


@dataclass(frozen=True, kw_only=True)
class InputDescriptor:
    """How the words of an image fall into memory: word in a row, row, channel."""

    base: int
    loops: tuple[Loop, Loop, Loop]
    last_bytes: int
    """Bytes used of a row's last word."""

    def encode(self) -> list[int]:
        words = []
        for loop in self.loops:
            q, r = divmod(loop.stride, TAPS)
            words.append((loop.count - 1) << LOOP_COUNT[0] | q << LOOP_Q[0] | r << LOOP_R[0])
        q, r = divmod(self.base, TAPS)
        words.append(q | r << 16 | self.last_bytes << 20)
        return words

    @classmethod
    def decode(cls, words: list[int]) -> InputDescriptor:
        loops = [
            Loop((w & 0xFFF) + 1, TAPS * (w >> LOOP_Q[0] & 0xFFFF) + (w >> LOOP_R[0] & 15))
            for w in words[:3]
        ]
        base = TAPS * (words[3] & 0xFFFF) + (words[3] >> 16 & 15)
        return cls(base=base, loops=(loops[0], loops[1], loops[2]), last_bytes=words[3] >> 20 & 15)
