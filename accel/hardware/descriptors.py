"""Descriptors: what the sequencers of the hardware are told of a layer, and of an image.

Every field is declared here and nowhere else, with its word, bits, sign and meaning. From that
follow :meth:`LayerDescriptor.encode` and :meth:`~LayerDescriptor.decode`, the slices that the RTL
takes, the limits that the compiler refuses by, ``docs/reference/streams.md`` and what the proofs
assume.

Addresses
    The activation memory is one flat space of bytes; byte ``n`` lies in bank ``n mod 9``, row
    ``n div 9``. Hardware never divides: an address is a pair (row, bank) with
    ``n = 9 * row + bank``, and adding a stride is two small adders with a carry at 9. A feature
    map's element (channel c, row y, column x) is byte ``base + c*channel_stride + y*row_stride +
    x`` with ``row_stride mod 9 == 3`` and ``channel_stride mod 9 == 1``, so that nine taps of a
    3x3 window (offsets 3*dy + dx) and nine consecutive channels (offsets 0 to 8) always lie in
    nine different banks, tap t in bank ``(bank + t) mod 9``.

Loops
    Every address sequence is a nest of counted loops, innermost first; when a loop advances, it
    adds its own stride to the address at which it last advanced, and all loops inside restart
    from there.

Tables
    A layer that ``looks_up`` replaces each requantized byte by what a table has for it, before
    anything is added.

Column windows
    Layers of ``column_windows`` read a feature map as one raster, a pixel's channels a step, group
    of channels after group without a gap: their loops are ``out_x``, ``out_y`` and ``group``, each
    of as many iterations as the map has columns, rows and groups, and the others have one. Column
    k of the array has the window of the group's channel k. The step that brings the pixel at (y,
    x) completes the window that is centred at (y-1, x-1), or at the end of the row before that: a
    row and a pixel behind. So as many steps follow after the last pixel. What of a window lies
    outside the map is the pad value. :mod:`accel.hardware.walk` has it in plain NumPy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accel.hardware import fields
from accel.hardware.config import BUS_NBITS, TAPS, AccelConfig
from accel.hardware.fields import Field

BYTES_PER_WORD = BUS_NBITS // 8


@dataclass(frozen=True)
class Loop:
    """``count`` iterations, each ``stride`` bytes, ``dy`` rows and ``dx`` columns further."""

    count: int = 1
    stride: int = 0
    dy: int = 0
    dx: int = 0


@dataclass(frozen=True)
class Offset:
    """So much further: ``stride`` bytes of memory, ``dy`` rows and ``dx`` columns of the map."""

    stride: int = 0
    dy: int = 0
    dx: int = 0


COUNT = Field(name="count", low=0, nbits=12, least=1, meaning="iterations")
ROW = Field(
    name="row", low=12, nbits=16, signed=True, meaning="of an iteration: rows of memory further"
)
BANK = Field(name="bank", low=28, nbits=4, meaning="and banks further, below 9")
ADDER = "adder"
"""The field of a configuration without which there is nothing to add with."""
TABLES = "tables"
"""And without which there is nothing to look outputs up in."""
OPERAND_ROW, OPERAND_BANK = (
    dataclasses.replace(ROW, low=44, meaning="rows of memory further", only=ADDER),
    dataclasses.replace(BANK, low=60, only=ADDER),
)
DY = Field(name="dy", low=32, nbits=6, meaning="and rows of the feature map further")
DX = Field(name="dx", low=38, nbits=6, meaning="and columns of it further")

READ_LOOPS = ("kernel_x", "kernel_y", "channel", "pool_x", "pool_y", "out_x", "out_y", "group")
"""Loops of the step sequencer, innermost first; loop i is word i. The first three are the steps of
one sum, the next two the pixels of a pooling window, the next two the vectors of a group of output
channels."""
PIXEL_OFFSETS = ("pixel_bit0", "pixel_bit1")
"""How much further a pixel group reads whose number has bit 0, or 1, set."""
WRITE_LOOPS = ("write_x", "write_y", "write_group")
"""Loops of the write sequencer outside pixels and beats, innermost first."""
OPERAND_STRIDES = ("operand_x", "operand_y", "operand_group", "operand_bit0", "operand_bit1")
"""How much further what is added to a vector lies than that of the one before, by the loop that
advances; and for a pixel group whose number has bit 0, or 1, set."""

_READ_WORD, _PIXEL_WORD, _WRITE_WORD = 0, len(READ_LOOPS), 15
_OPERAND_WORD = READ_LOOPS.index("out_x")
STEP_WORDS, PARAM_WORDS, WRITE_WORDS = range(12), range(12, 14), range(14, 18)
"""Words of a layer's descriptor that each of the three sequencers reads."""
TERM_WORDS = range(18, 20)
"""And those of the adder."""
WORDS_PER_LAYER = TERM_WORDS.stop

LEAST_SHIFT = 13
"""Of the adder's sums: those of runtimes are never less (:mod:`accel.numerics`)."""


def _bits(
    word: int,
    low: int,
    nbits: int,
    meaning: str,
    *,
    signed: bool = False,
    least: int = 0,
    only: str = "",
) -> Any:
    field = Field(
        name="",
        word=word,
        low=low,
        nbits=nbits,
        meaning=meaning,
        signed=signed,
        least=least,
        only=only,
    )
    return dataclasses.field(default=least, metadata={"field": field})


@dataclass(frozen=True, kw_only=True)
class LayerDescriptor:
    """One layer, as the three sequencers walk it. :data:`FIELDS` says what each field means."""

    read_loops: tuple[Loop, ...] = (Loop(),) * len(READ_LOOPS)
    pixel_offsets: tuple[Offset, ...] = (Offset(),) * len(PIXEL_OFFSETS)
    write_loops: tuple[Loop, ...] = (Loop(),) * len(WRITE_LOOPS)
    """Without rows and columns."""
    operand_strides: tuple[int, ...] = (0,) * len(OPERAND_STRIDES)
    """Bytes."""

    # Step sequencer
    read_row: int = _bits(10, 0, 16, "row of the first tap of the first step", signed=True)
    read_bank: int = _bits(10, 16, 4, "and its bank")
    padding_rows: int = _bits(10, 20, 4, "rows of it that lie above the feature map")
    height: int = _bits(10, 24, 9, "of the feature map that is read")
    width: int = _bits(10, 33, 9, "of it")
    pad_value: int = _bits(10, 42, 9, "what a tap outside reads: the zero point", signed=True)
    signed: int = _bits(10, 51, 1, "the input is int8, not uint8")
    channel_mode: int = _bits(
        10, 52, 1, "taps are nine channels of one pixel, not a 3x3 window of one channel"
    )
    reload: int = _bits(
        10, 53, 1, "the steps of one output do not fit the scratchpads: read weights for each anew"
    )
    frees_input: int = _bits(10, 54, 1, "after this layer nothing reads the image: load the next")
    padding_columns: int = _bits(10, 55, 4, "columns of the first tap left of the feature map")
    tap_row: int = _bits(
        11, 0, 16, "rows of memory from one tap row (window) or channel (channel mode) to the next"
    )
    weight_base: int = _bits(11, 16, 16, "first word of the layer's in the weight memory")
    safe_steps: int = _bits(
        11, 32, 16, "so many first steps read nothing that the layer before may still write"
    )
    last_rows: int = _bits(11, 48, 2, "rows of the kernel in its last window")
    last_columns: int = _bits(11, 50, 2, "columns of it")
    last_channels: int = _bits(11, 52, 4, "channels in the last block of nine")
    adds: int = _bits(
        10, 59, 1, "each vector begins with a step that reads what is added to it", only=ADDER
    )
    operand_signed: int = _bits(10, 60, 1, "what is added is int8, not uint8", only=ADDER)
    operand_row: int = _bits(4, 44, 16, "row of what is added to the first output", only=ADDER)
    operand_bank: int = _bits(4, 60, 4, "and its bank", only=ADDER)
    operand_lane_row: int = _bits(
        3, 44, 16, "rows from one channel of it to the next, and one bank", only=ADDER
    )
    # In the place of the counts that an offset does not have
    column_windows: int = _bits(
        8, 0, 1, "each column has a channel, and a 3x3 window of it, of its own"
    )
    row_step: int = _bits(8, 1, 1, "rows from a window to the next that is used", least=1)
    column_step: int = _bits(8, 2, 1, "and columns", least=1)
    skip_top: int = _bits(8, 3, 1, "no window centred on the map's first row is used")
    skip_bottom: int = _bits(8, 4, 1, "none on its last")
    skip_left: int = _bits(8, 5, 1, "none on its first column")
    skip_right: int = _bits(8, 6, 1, "none on its last")
    window_columns: int = _bits(
        9, 0, 6, "columns that have a channel in the last group of channels", least=1
    )

    # Parameter sequencer
    param_beats: int = _bits(12, 0, 6, "beats of a vector", least=1)
    param_last_beats: int = _bits(12, 6, 6, "the same in the last group of channels", least=1)
    param_vectors: int = _bits(12, 12, 24, "vectors of a group", least=1)
    param_groups: int = _bits(12, 36, 12, "groups of output channels", least=1)
    param_base: int = _bits(12, 48, 16, "first word of the layer's in the parameter memory")
    zero_point: int = _bits(13, 0, 9, "of the output", signed=True)
    lo: int = _bits(13, 9, 9, "least output", signed=True)
    hi: int = _bits(13, 18, 9, "largest output", signed=True)
    ties_away: int = _bits(
        13, 27, 1, "ties of the requantizer's last rounding go away from zero, not to even",
        only=ADDER,
    )  # fmt: skip
    looks_up: int = _bits(
        13, 28, 1, "the requantized output is looked up in a table, as a byte", only=TABLES
    )
    table_index: int = _bits(13, 29, 4, "in which one", only=TABLES)
    table_signed: int = _bits(13, 33, 1, "what is in it is int8, not uint8", only=TABLES)

    # Write sequencer
    write_row: int = _bits(14, 0, 16, "row of the first output")
    write_bank: int = _bits(14, 16, 4, "and its bank")
    lane_row: int = _bits(14, 20, 16, "rows from one channel to the next, and one bank")
    write_beats: int = _bits(14, 36, 6, "beats with outputs of a pixel", least=1)
    write_last_beats: int = _bits(14, 42, 6, "the same in the last group of channels", least=1)
    last_lanes: int = _bits(14, 48, 4, "channels in the very last of these beats")
    group_lanes: int = _bits(14, 54, 4, "channels in a pixel's last beat, in all other groups")
    to_result: int = _bits(14, 52, 1, "the last layer: outputs go to the results, not to memory")
    out_signed: int = _bits(
        14, 53, 1, "outputs are int8, not uint8: the winner is chosen among numbers, not bytes"
    )
    pixel_row: int = _bits(15, 32, 16, "rows from one row of outputs to the next, and 3 banks")
    pixel_x: int = _bits(15, 48, 1, "a vector has two columns of pixels")
    pixel_y: int = _bits(15, 49, 1, "a vector has two rows of pixels")
    drop_x: int = _bits(15, 50, 1, "the second one of the last column lies beyond the feature map")
    drop_y: int = _bits(15, 51, 1, "the second one of the last row does")
    drop_beats: int = _bits(
        15, 52, 6, "beats without outputs that follow a pixel's in the last group of channels"
    )

    # Adder: sums of a requantized output and another tensor's element, requantized in their turn.
    # Where nothing is added it looks at `pops` alone.
    own_multiplier: int = _bits(18, 0, 23, "of the requantized output", only=ADDER)
    operand_multiplier: int = _bits(18, 23, 23, "of what is added to it", only=ADDER)
    sum_shift: int = _bits(
        18, 46, 5, "bits that are rounded away of the sum", least=LEAST_SHIFT, only=ADDER
    )
    sum_ties_away: int = _bits(
        18, 51, 1, "ties of this rounding go away from zero, not up", only=ADDER
    )
    pops: int = _bits(18, 52, 1, "the same as `adds`, for the adder", only=ADDER)
    sum_constant: int = _bits(19, 0, 32, "added to the products", signed=True, only=ADDER)
    sum_zero_point: int = _bits(19, 32, 9, "of the sum", signed=True, only=ADDER)
    sum_lo: int = _bits(19, 41, 9, "least sum", signed=True, only=ADDER)
    sum_hi: int = _bits(19, 50, 9, "largest sum", signed=True, only=ADDER)

    def encode(self) -> list[int]:
        """The descriptor's words.

        Raises :class:`AccelError` naming a field that does not hold its value.
        """
        values = {name: getattr(self, name) for name in SCALARS}
        names = (*READ_LOOPS, *PIXEL_OFFSETS, *WRITE_LOOPS, *OPERAND_STRIDES)
        parts: list[Loop | Offset] = [*self.read_loops, *self.pixel_offsets, *self.write_loops]
        parts += [Offset(stride) for stride in self.operand_strides]
        for name, part in zip(names, parts, strict=True):
            values |= _parts(name, part)
        return fields.encode(FIELDS.values(), values, WORDS_PER_LAYER)

    @classmethod
    def decode(cls, words: list[int]) -> LayerDescriptor:
        """The inverse of :meth:`encode`."""
        values = fields.decode(FIELDS.values(), words)
        return cls(
            read_loops=tuple(_loop(name, values) for name in READ_LOOPS),
            pixel_offsets=tuple(_offset(name, values) for name in PIXEL_OFFSETS),
            write_loops=tuple(_loop(name, values) for name in WRITE_LOOPS),
            operand_strides=tuple(_offset(name, values).stride for name in OPERAND_STRIDES),
            **{name: values[name] for name in SCALARS},
        )

    def seen_by(self, cfg: AccelConfig) -> LayerDescriptor:
        """Without what this configuration does not look at."""
        ignored = {
            f.name: f.default
            for f in dataclasses.fields(self)
            if f.metadata and (only := f.metadata["field"].only) and not getattr(cfg, only)
        }
        if not cfg.adder:
            ignored["operand_strides"] = (0,) * len(OPERAND_STRIDES)
        return dataclasses.replace(self, **ignored)  # type: ignore[arg-type]


def _parts(name: str, part: Loop | Offset) -> dict[str, int]:
    """The fields of a loop or an offset called ``name``."""
    row, bank = divmod(part.stride, TAPS)
    values = {"row": row, "bank": bank, "dy": part.dy, "dx": part.dx}
    if isinstance(part, Loop):
        values["count"] = part.count
    return {f"{name}.{key}": value for key, value in values.items()}


def _offset(name: str, values: Mapping[str, int]) -> Offset:
    stride = TAPS * values[f"{name}.row"] + values[f"{name}.bank"]
    return Offset(stride, values.get(f"{name}.dy", 0), values.get(f"{name}.dx", 0))


def _loop(name: str, values: Mapping[str, int]) -> Loop:
    return Loop(values[f"{name}.count"], *dataclasses.astuple(_offset(name, values)))


def _named(parts: tuple[Field, ...], names: tuple[str, ...], word: int) -> list[Field]:
    return [part.within(name, word + i) for i, name in enumerate(names) for part in parts]


_SCALARS = [
    dataclasses.replace(f.metadata["field"], name=f.name)
    for f in dataclasses.fields(LayerDescriptor)
    if f.metadata
]
SCALARS = tuple(f.name for f in _SCALARS)
FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        *_named((COUNT, ROW, BANK, DY, DX), READ_LOOPS, _READ_WORD),
        *_named((ROW, BANK, DY, DX), PIXEL_OFFSETS, _PIXEL_WORD),
        *_SCALARS,
        *_named((COUNT, ROW, BANK), WRITE_LOOPS, _WRITE_WORD),
        *_named((OPERAND_ROW, OPERAND_BANK), OPERAND_STRIDES, _OPERAND_WORD),
    )
}
"""All fields of a layer's descriptor by name; a loop's are called like ``out_x.count``."""

INPUT_LOOPS = ("word", "row", "channel")
"""Loops over the words of an image, innermost first; loop i is word i."""
_BASE_WORD = len(INPUT_LOOPS)
INPUT_FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        *_named((COUNT, ROW, BANK), INPUT_LOOPS, 0),
        Field(name="base_row", word=_BASE_WORD, low=0, nbits=16, meaning="row of the first byte"),
        Field(name="base_bank", word=_BASE_WORD, low=16, nbits=4, meaning="and its bank"),
        Field(
            name="last_bytes",
            word=_BASE_WORD,
            low=20,
            nbits=4,
            meaning="bytes in use of the last word of a row, from 1 to 8",
        ),
    )
}
"""All fields of the input's descriptor by name."""
INPUT_WORDS = _BASE_WORD + 1


@dataclass(frozen=True, kw_only=True)
class InputDescriptor:
    """How the words of an image fall into memory: word in a row, row, channel."""

    base: int
    """Byte of the activation memory."""
    loops: tuple[Loop, Loop, Loop]
    last_bytes: int
    """Bytes used of a row's last word."""

    def encode(self) -> list[int]:
        """The descriptor's words.

        Raises :class:`AccelError` naming a field that does not hold its value.
        """
        row, bank = divmod(self.base, TAPS)
        values = {"base_row": row, "base_bank": bank, "last_bytes": self.last_bytes}
        for name, loop in zip(INPUT_LOOPS, self.loops, strict=True):
            values |= _parts(name, loop)
        return fields.encode(INPUT_FIELDS.values(), values, INPUT_WORDS)

    @classmethod
    def decode(cls, words: list[int]) -> InputDescriptor:
        """The inverse of :meth:`encode`."""
        values = fields.decode(INPUT_FIELDS.values(), words)
        first, second, third = (_loop(name, values) for name in INPUT_LOOPS)
        return cls(
            base=TAPS * values["base_row"] + values["base_bank"],
            loops=(first, second, third),
            last_bytes=values["last_bytes"],
        )
