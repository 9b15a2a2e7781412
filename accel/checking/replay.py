"""What the words of a program make the hardware do, written anew after ``docs/architecture.md`` and
the rules of the RTL: neither a pass of the compiler nor the walk of the models is used.

A nest of loops is here a number in a mixed radix: position n of it has the digits of n, and its
address is the sum of digits times strides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from accel.checking.fault import require
from accel.hardware import fields
from accel.hardware.config import TABLE_SIZE, TAPS, AccelConfig
from accel.hardware.descriptors import (
    BYTES_PER_WORD,
    FIELDS,
    INPUT_FIELDS,
    InputDescriptor,
    LayerDescriptor,
    Loop,
    Offset,
)
from accel.hardware.packets import BIAS, MULTIPLIER, Packet, packets, payload_words
from accel.hardware.pipeline import TO_NEXT_LAYER, Holds, Stage, stages_of

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

READING = "the activation memory is read"
"""What happens to a step in one of the pipeline's stages."""

NEVER = 1 << 62
"""The number of a step that no layer has."""

COORDINATE_NBITS = 11
"""Bits in which the hardware counts rows and columns of a feature map."""


def digits(loops: Sequence[Loop]) -> Ints:
    """Of each position of a nest, in visiting order, how far each loop is: (loops, positions)."""
    counts = [loop.count for loop in reversed(loops)]
    return np.stack(np.unravel_index(np.arange(prod(counts)), counts)[::-1]).astype(np.int64)


def strides(loops: Iterable[Loop | Offset]) -> Ints:
    """Bytes, rows and columns that each loop goes further: (3, loops)."""
    return np.array([(loop.stride, loop.dy, loop.dx) for loop in loops], np.int64).T


# Loading


@dataclass(frozen=True, kw_only=True, eq=False)
class Memories:
    """What the program stream fills."""

    layers: tuple[LayerDescriptor, ...]
    """Those that run, in their order."""
    image: InputDescriptor
    weights: NDArray[np.int8]
    """(words, num_cols, 9)"""
    params: NDArray[np.uint64]
    """(words, num_lanes)"""
    tables: NDArray[np.uint64]
    """(tables * 256,)"""
    has_weights: Bools
    """(words,): the word has been loaded."""
    has_params: Bools
    has_tables: Bools


def load(words: Sequence[int], cfg: AccelConfig) -> Memories:
    """Replay the program stream.

    Raises :class:`MiscompiledError` for a stream that the hardware does not take as one program.
    """
    where = "the program stream"
    layers: dict[int, LayerDescriptor] = {}
    image, running = None, 0
    word_bytes = cfg.weight_word_beats * BYTES_PER_WORD
    weights = np.zeros((cfg.weight_depth, cfg.num_cols, TAPS), np.int8)
    params = np.zeros((cfg.param_depth, cfg.num_lanes), np.uint64)
    tables = np.zeros(cfg.tables * TABLE_SIZE, np.uint64)
    loaded = {
        Packet.WEIGHTS: np.zeros(len(weights), bool),
        Packet.PARAMS: np.zeros(len(params), bool),
        Packet.TABLE: np.zeros(len(tables), bool),
    }
    for kind, count, address, payload in packets(words, cfg):
        require(not running, where, "a packet comes after RUN")
        require(kind in list(Packet), where, f"no packet is of kind {kind}")
        require(
            len(payload) == payload_words(kind, count, cfg),
            where,
            f"the last packet, of kind {Packet(kind).name}, lacks words",
        )
        match kind:
            case Packet.LAYER:
                require(
                    address < cfg.max_layers,
                    where,
                    f"there is a layer {address}, but room for {cfg.max_layers}",
                )
                layers[address] = _layer(payload, f"the descriptor of layer {address}", cfg)
            case Packet.WEIGHTS | Packet.PARAMS | Packet.TABLE:
                has = loaded[Packet(kind)]
                require(
                    count > 0 and address + count <= len(has),
                    where,
                    f"{count} words of {Packet(kind).name} at {address} are none, or do not fit "
                    f"into {len(has)}",
                )
                has[address : address + count] = True
                data = np.array(payload, np.uint64)
                if kind == Packet.PARAMS:
                    params[address : address + count] = data.reshape(count, -1)
                elif kind == Packet.TABLE:
                    tables[address : address + count] = data
                else:
                    taps = data.astype("<u8").view(np.int8).reshape(count, word_bytes)
                    weights[address : address + count] = taps[:, : cfg.num_multipliers].reshape(
                        count, cfg.num_cols, TAPS
                    )
            case Packet.INPUT:
                _banks(fields.decode(INPUT_FIELDS.values(), payload), "the image's descriptor")
                image = InputDescriptor.decode(payload)
                require(
                    1 <= image.last_bytes <= BYTES_PER_WORD,
                    "the image's descriptor",
                    f"last_bytes is {image.last_bytes}, but must be from 1 to {BYTES_PER_WORD}",
                )
            case Packet.RUN:
                running = address
    require(running > 0 and image is not None, where, "RUN with a layer, or INPUT, is missing")
    require(set(range(running)) <= set(layers), where, f"not all of {running} layers are described")
    assert image is not None
    return Memories(
        layers=tuple(layers[i] for i in range(running)),
        image=image,
        weights=weights,
        params=params,
        tables=tables,
        has_weights=loaded[Packet.WEIGHTS],
        has_params=loaded[Packet.PARAMS],
        has_tables=loaded[Packet.TABLE],
    )


def _banks(values: dict[str, int], where: str) -> None:
    for name, value in values.items():
        if name.endswith("bank"):
            require(value < TAPS, where, f"{name} is {value}, but there are {TAPS} banks")


def _layer(payload: list[int], where: str, cfg: AccelConfig) -> LayerDescriptor:
    """A descriptor of a meaning that all levels of the hardware share."""
    _banks(fields.decode(FIELDS.values(), payload), where)
    d = LayerDescriptor.decode(payload).seen_by(cfg)
    is_alone = d.write_loops[-1].count == 1
    for name, lanes in (("last_lanes", d.last_lanes), ("group_lanes", d.group_lanes)):
        require(
            1 <= lanes <= cfg.num_lanes or (is_alone and name == "group_lanes"),
            where,
            f"{name} is {lanes}, but must be from 1 to {cfg.num_lanes}",
        )
    require(
        d.drop_x <= d.pixel_x and d.drop_y <= d.pixel_y,
        where,
        "a pixel of a vector is dropped that there is not",
    )
    if d.column_windows:
        _raster(d, where, cfg)
    beats, room = d.write_last_beats + d.drop_beats, FIELDS["write_last_beats"].maximum
    require(beats <= room, where, f"a pixel has {beats} beats, but {room} can be counted")
    return d


def _raster(d: LayerDescriptor, where: str, cfg: AccelConfig) -> None:
    """What column windows rest on."""
    width = d.read_loops[5].count
    require(
        2 <= width <= cfg.line_width,
        where,
        f"its rows of {width} pixels do not go into line buffers of {cfg.line_width}",
    )
    require(
        all(loop.count == 1 for loop in d.read_loops[:5]) and bool(d.channel_mode),
        where,
        "its steps do not bring a pixel each",
    )
    require(
        d.last_channels == cfg.group_cols,
        where,
        f"{d.last_channels} channels of a pixel are read for {cfg.group_cols} columns",
    )


# The image


@dataclass(frozen=True, eq=False)
class ImageWrites:
    """Where the bytes of an image's words go, (words, 8) each, in the order of the stream."""

    address: Ints
    writes: Bools
    """False for a byte that is left out."""

    @classmethod
    def of(cls, d: InputDescriptor) -> ImageWrites:
        """What the image loader does."""
        position = digits(d.loops)
        byte = np.arange(BYTES_PER_WORD)
        start = d.base + strides(d.loops)[0] @ position
        last = position[0] == d.loops[0].count - 1
        return cls(start[:, None] + byte, ~last[:, None] | (byte < d.last_bytes))


# A layer


@dataclass(frozen=True, eq=False)
class Layer:
    """What a layer's descriptor makes the three sequencers do.

    Loops of the reads, innermost first: kernel column, kernel row, channel make up a *sum* of
    ``steps`` steps; pooling column and row a *vector* of ``window`` sums; columns and rows of the
    output a *group* of ``vectors`` vectors; there are ``groups`` of those. With column windows the
    columns and rows are those of the map, and not each of its pixels has a vector.
    """

    d: LayerDescriptor
    cfg: AccelConfig

    @property
    def steps(self) -> int:
        return prod(loop.count for loop in self.d.read_loops[:3])

    @property
    def window(self) -> int:
        return prod(loop.count for loop in self.d.read_loops[3:5])

    @property
    def positions(self) -> int:
        """Iterations of the loops over columns and rows."""
        return prod(loop.count for loop in self.d.read_loops[5:7])

    @property
    def vectors(self) -> int:
        return len(self.centres) if self.d.column_windows else self.positions

    @cached_property
    def centres(self) -> Ints:
        """With column windows: the pixels of the raster whose windows have vectors, (vectors,)."""
        d, used = self.d, []
        for loop, step, first, last in (
            (d.read_loops[6], d.row_step, d.skip_top, d.skip_bottom),
            (d.read_loops[5], d.column_step, d.skip_left, d.skip_right),
        ):
            at = np.arange(loop.count)
            odd = at & 1
            border = (at == 0) & bool(first) | (at == loop.count - 1) & bool(last)
            used.append(~border & ((odd == first) | (step == 1)))
        return np.flatnonzero(used[0][:, None] & used[1])

    @property
    def behind(self) -> int:
        """With column windows: steps from a pixel to the one that completes its window."""
        return self.d.read_loops[5].count + 1 if self.d.column_windows else 0

    @property
    def groups(self) -> int:
        return self.d.read_loops[7].count

    @property
    def vector_steps(self) -> int:
        """Of a vector, the one that reads what is added to it included."""
        return self.d.adds + self.window * self.steps

    @property
    def total_steps(self) -> int:
        sums = self.groups * self.positions * self.window
        return sums * self.steps + self.d.adds * self.groups * self.vectors + self.behind

    def step_number(self, number: Ints, step: Ints) -> Ints:
        """Among all of the layer's steps, that of a step of sum number ``number``."""
        before = self.d.adds * (number // self.window + 1)
        return before + number * self.steps + step

    def window_columns(self, group: int) -> int:
        """With column windows: the columns that have a channel in this group of channels."""
        return self.d.window_columns if group == self.groups - 1 else self.cfg.num_cols

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What its steps, vectors and beats pass."""
        return stages_of(self.cfg, adds=bool(self.d.adds))

    @property
    def last_steps(self) -> Ints:
        """The number of each vector's last step, (groups * vectors,)."""
        if not self.d.column_windows:
            return (np.arange(self.groups * self.vectors) + 1) * self.vector_steps - 1
        start = np.arange(self.groups)[:, None] * self.positions
        return (start + self.centres + self.behind).ravel()

    def _vectors_before(self, step: int) -> int:
        """Vectors of which the last step comes before this one."""
        if not self.d.column_windows:
            return step // self.vector_steps
        group, position = divmod(max(0, step - self.behind), self.positions)
        return group * self.vectors + int(np.count_nonzero(self.centres < position))

    # Pixels and beats, as the write sequencer counts them

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of pixels that a vector holds."""
        return self.d.pixel_y + 1, self.d.pixel_x + 1

    @cached_property
    def pixel_beats(self) -> Ints:
        """Beats of a pixel in each group, (groups,)."""
        beats = np.full(self.groups, self.d.write_beats, np.int64)
        beats[-1] = self.d.write_last_beats + self.d.drop_beats
        return beats

    @cached_property
    def channels(self) -> Ints:
        """Outputs of a pixel in each group, (groups,)."""
        lanes = self.cfg.num_lanes
        others = (self.d.write_beats - 1) * lanes + self.d.group_lanes
        channels = np.full(self.groups, others, np.int64)
        channels[-1] = (self.d.write_last_beats - 1) * lanes + self.d.last_lanes
        return channels

    @property
    def first_beats(self) -> Ints:
        """The number of each vector's first beat, and of the beat after the last one:
        (groups * vectors + 1,)."""
        beats = np.repeat(self.pixel_beats * prod(self.tile), self.vectors)
        return np.concatenate([[0], np.cumsum(beats)])

    def first_reads(self, free_from: int) -> Ints:
        """The first step of the next layer by which each beat is in memory: (beats,). free_from:
        the layer's step from whose issue on no result waits to be taken."""
        found = self._first_reads_in_time(free_from)
        # From the last of these steps on, all that comes before it is the next layer's.
        for step in reversed(range(len(self.stages))):
            beats = slice(self.oldest_beat_in_flight(step))
            found[beats] = np.minimum(found[beats], step)
        return found

    def _first_reads_in_time(self, free_from: int) -> Ints:
        """The same, by following the vectors that end with step ``free_from`` or later. Cycles
        count from the issue of the layer's last step; before it every step took one, or more."""
        cfg, first_beats = self.cfg, self.first_beats
        number, ends = len(first_beats) - 1, self.last_steps
        at_least = 1 if cfg.passes_vectors_on else 2
        # Where "next" does not hold a vector that is held at once, that takes no cycle.
        (held,) = (i for i, s in enumerate(self.stages, 1) if s.register == "held vector")
        to_lanes = held - cfg.passes_vectors_on
        behind = len(self.stages) - held + 1
        # At first everything is full: the vectors in front, queues, and what is added before.
        others = stages_of(cfg, adds=cfg.adder)
        free = sum(max(cfg.num_beats, at_least) for s in others if s.holds is Holds.VECTOR)
        free += sum(s.places - 1 for s in others) + TO_NEXT_LAYER
        free += sum(s.unit == "adder" for s in others)
        found, known = np.full(first_beats[-1], NEVER), False
        for vector in range(int(np.searchsorted(ends, free_from)), number):
            comes = int(ends[vector]) - (self.total_steps - 1) + to_lanes
            start = max(comes, free) if known else comes + free
            beats = np.arange(first_beats[vector], first_beats[vector + 1])
            free = start + max(len(beats), at_least)
            # Two cycles after the last step's issue comes step 0, which reads two cycles later.
            found[beats] = start + np.arange(len(beats)) + behind - 4
            if not known:
                found[: beats[0]] = found[beats[0]]
                known = True
        return found.clip(min=0)

    def oldest_beat_in_flight(self, step: int, stages: Sequence[Stage] | None = None) -> int:
        """The first beat that may not be in memory when the next layer's step number ``step``
        reads.

        At worst every register of the pipeline is full, whatever stalls: counted back from the
        layer's last step, register by register. The register of the step that reads is followed by
        those of the next layer's steps before it, and by one that is empty, since no step is issued
        when a layer is handed over. And the pipeline moves when a step reads, so that the
        accumulators and the registers for vectors after them are not all full at once.
        """
        stages = self.stages if stages is None else stages
        (reads,) = (i for i, stage in enumerate(stages) if READING in stage.does)
        oldest, holds, first_beats = self.total_steps, Holds.STEP, self.first_beats
        free = step + 2
        for stage in stages[reads + 1 :]:
            if holds is Holds.STEP and stage.holds is not Holds.STEP:
                oldest = self._vectors_before(oldest)
                holds = Holds.VECTOR
            if holds is Holds.VECTOR and stage.holds is Holds.BEAT:
                oldest = int(first_beats[oldest])
                holds = Holds.BEAT
            taken = min(free, stage.places) if holds is Holds.STEP else 0
            free -= taken
            oldest = max(0, oldest - stage.places + taken)
        return oldest


@dataclass(frozen=True, eq=False)
class Reads:
    """What a layer's steps read, taken apart: the address of tap t of step k for sum n is
    ``sum_at[0, n] + tap_at[0, (k, t)]``, plus what pixel group and group of output channels add.
    Rows 1 and 2 of each are row and column of the feature map. Only taps that the layer uses are
    there: the others are zero."""

    sum_at: Ints
    """(3, sums of a group)"""
    tap_at: Ints
    """(3, taps)"""
    step: Ints
    """(taps,): the number of each tap's step."""
    tap: Ints
    """(taps,): and its place in it, 0 to 8."""
    pixel_at: Ints
    """(3, pixel groups)"""
    group_at: Ints
    """(3,): from one group of output channels to the next."""

    @classmethod
    def of(cls, layer: Layer) -> Reads:
        """What the step sequencer does."""
        d = layer.d
        inner, outer = d.read_loops[:3], d.read_loops[3:7]
        position = digits(inner)
        at_end = position == np.array([[loop.count - 1] for loop in inner])
        tap = np.arange(TAPS)
        if d.channel_mode:
            reach = np.stack([tap * (TAPS * d.tap_row + 1), 0 * tap, 0 * tap])
            used = ~at_end[2][:, None] | (tap < d.last_channels)
        else:
            row, column = np.divmod(tap, 3)
            reach = np.stack([row * TAPS * d.tap_row + tap, row, column])
            used = ~at_end[1][:, None] | (row < d.last_rows)
            used &= ~at_end[0][:, None] | (column < d.last_columns)
        step, tap = np.nonzero(used)
        first = [TAPS * d.read_row + d.read_bank, -d.padding_rows, -d.padding_columns]
        number = np.arange(layer.cfg.pixel_groups)
        return cls(
            sum_at=np.array(first)[:, None] + strides(outer) @ digits(outer),
            tap_at=(strides(inner) @ position)[:, step] + reach[:, tap],
            step=step,
            tap=tap,
            pixel_at=strides(d.pixel_offsets) @ np.stack([number & 1, number >> 1 & 1]),
            group_at=strides(d.read_loops[7:])[:, 0],
        )

    def __len__(self) -> int:
        """Sums of a group of output channels."""
        return self.sum_at.shape[1]

    def taps(self, layer: Layer, sums: Ints, further: Ints) -> tuple[Ints, Bools]:
        """Address of each tap (sums, taps), and whether it lies inside the feature map: then it is
        read, else it is the pad value. further: (3,), of pixel group and group of channels."""
        d, wrap = layer.d, (1 << COORDINATE_NBITS) - 1
        start = self.sum_at[:, sums] + further[:, None]
        inside = np.ones((start.shape[1], self.tap_at.shape[1]), bool)
        for i, size in ((1, d.height), (2, d.width)):
            # Most layers have no padding.
            least, largest = (f(start[i]) + f(self.tap_at[i]) for f in (np.min, np.max))
            if least < 0 or largest >= size:
                at, tap_at = ((a & wrap).astype(np.int16) for a in (start[i], self.tap_at[i]))
                inside &= (at[:, None] + tap_at & wrap) < size
        return start[0][:, None] + self.tap_at[0], inside


@dataclass(frozen=True, eq=False)
class Windows:
    """What the windows of a column are made of, in a group of output channels."""

    pixel: Ints
    """(vectors, 9): which pixel of the raster each tap is."""
    outside: Bools
    """(vectors, 9): it is the pad value instead."""

    @classmethod
    def of(cls, layer: Layer) -> Windows:
        """What the hardware makes: a window shifts, and is fed with the pixel that comes and with
        those that came one and two rows before it."""
        width, centre = layer.d.read_loops[5].count, layer.centres[:, None]
        row, column = np.divmod(np.arange(TAPS), 3)
        age = (2 - row) * width + (2 - column)
        outside = (row == 0) & (centre < width)
        outside |= (row == 2) & (centre >= layer.positions - width)
        outside |= (column == 0) & (centre % width == 0)
        outside |= (column == 2) & (centre % width == width - 1)
        return cls(np.where(outside, 0, centre + layer.behind - age), outside)


def weight_words(layer: Layer, *, later: bool) -> Ints:
    """From which word of the weight memory each step's weights are, (groups, steps): for the first
    sum of a group, or for the ``later`` ones, which may find them in the scratchpads."""
    d, steps, depth = layer.d, layer.steps, layer.cfg.spad_depth
    step = np.arange(steps)
    if later and not d.reload:
        # An entry holds what the first sum left there last.
        step = step + (steps - 1 - step) // depth * depth
    return d.weight_base + np.arange(layer.groups)[:, None] * steps + step


@dataclass(frozen=True, eq=False)
class Outputs:
    """What becomes of the outputs of a layer, by channel and pixel: the write sequencer counts
    channels by group, beat and lane, and rows and columns by its loops and the pixels of a vector.
    """

    group: Ints
    """(channels,)"""
    number: Ints
    """(channels,): within its group."""
    channel_at: Ints
    """(channels,): bytes from the first one."""
    vector: Ints
    """(rows, columns): of its group."""
    pixel: Ints
    """(rows, columns): of its vector."""
    pixel_at: Ints
    """(rows, columns): the byte of the first channel."""

    @classmethod
    def of(cls, layer: Layer) -> Outputs:
        """What the write sequencer does."""
        d, (tile_rows, tile_columns) = layer.d, layer.tile
        columns, rows, groups = d.write_loops
        group = np.repeat(np.arange(layer.groups), layer.channels)
        number = np.concatenate([np.arange(n) for n in layer.channels])
        y = np.arange(rows.count * tile_rows - d.drop_y)[:, None]
        x = np.arange(columns.count * tile_columns - d.drop_x)
        (vector_y, tile_y), (vector_x, tile_x) = divmod(y, tile_rows), divmod(x, tile_columns)
        start = TAPS * d.write_row + d.write_bank
        return cls(
            group=group,
            number=number,
            channel_at=group * groups.stride + number * (TAPS * d.lane_row + 1),
            vector=vector_y * columns.count + vector_x,
            pixel=tile_y * tile_columns + tile_x,
            pixel_at=start + vector_y * rows.stride + vector_x * columns.stride
            + tile_y * (TAPS * d.pixel_row + 3) + tile_x,
        )  # fmt: skip

    def columns(self, layer: Layer) -> Ints:
        """The column of its vector that each output comes from, (pixels of a vector, channels)."""
        pixel = np.arange(prod(layer.tile))[:, None]
        return pixel * layer.pixel_beats[self.group] * layer.cfg.num_lanes + self.number

    def summands(self, layer: Layer) -> tuple[Ints, Ints]:
        """The byte that is added to each output, and the number of the step that reads it,
        (channels, rows, columns): the pixel group of an output's column reads nine bytes, of which
        the first are added to its columns."""
        d, cfg = layer.d, layer.cfg
        column = self.columns(layer)[self.pixel]  # (rows, columns, channels)
        pixel_group, tap = np.divmod(np.moveaxis(column, 2, 0), cfg.group_cols)
        along, down, further, *bits = d.operand_strides
        y, x = np.divmod(self.vector, d.read_loops[5].count)
        first = TAPS * d.operand_row + d.operand_bank
        at = first + x * along + y * down + (self.group * further)[:, None, None]
        at = at + tap * (TAPS * d.operand_lane_row + 1)
        at += (pixel_group & 1) * bits[0] + (pixel_group >> 1 & 1) * bits[1]
        vector = self.group[:, None, None] * layer.vectors + self.vector
        return at, vector * layer.vector_steps

    def beats(self, layer: Layer) -> Ints:
        """The number of the beat that each output comes with, (channels, rows, columns)."""
        vector = self.group[:, None, None] * layer.vectors + self.vector
        of_pixel = self.pixel * layer.pixel_beats[self.group][:, None, None]
        within = (self.number // layer.cfg.num_lanes)[:, None, None]
        return layer.first_beats[vector] + of_pixel + within

    def param_words(self, layer: Layer) -> tuple[Ints, Ints]:
        """Word and lane of the parameter memory for each output of a vector, (pixels of a vector,
        channels): the parameter sequencer counts beats."""
        beat, lane = np.divmod(self.columns(layer), layer.cfg.num_lanes)
        return layer.d.param_base + self.group * layer.d.param_beats + beat, lane

    def result_bytes(self, layer: Layer) -> Ints:
        """Place of each output in the results, (channels, rows, columns): beats with outputs are
        packed in the order in which they come."""
        lanes = layer.cfg.num_lanes
        # Beats of a pixel that are kept, in each group, and the pixel's place in its group
        kept = -(-layer.channels // lanes)
        order = np.empty(self.vector.size, np.int64)
        order[np.lexsort((self.pixel.ravel(), self.vector.ravel()))] = np.arange(order.size)
        first = np.concatenate([[0], np.cumsum(kept * order.size)])[self.group]
        beat, lane = np.divmod(self.number, lanes)
        at = first[:, None] + order * kept[self.group][:, None] + beat[:, None]
        return (at * lanes + lane[:, None]).reshape(-1, *self.vector.shape)


def parameters(words: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """Multipliers, as bits, and biases of words of the parameter memory."""
    found = []
    for f in (MULTIPLIER, BIAS):
        bits = words >> np.uint64(f.low) & np.uint64((1 << f.nbits) - 1)
        values = bits.astype(np.int64)
        found.append(np.where(values > f.maximum, values - (1 << f.nbits), values))
    return found[0], found[1]
