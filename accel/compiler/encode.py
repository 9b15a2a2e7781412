"""The last pass: descriptors, and the words of the program."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.compiler.convolution import Convolution, Lookup
from accel.compiler.layout import Layout
from accel.compiler.mapping import WINDOW, Mapping
from accel.compiler.placement import Placement
from accel.compiler.program import image_shape
from accel.hardware.config import TABLE_SIZE, TAPS, AccelConfig
from accel.hardware.descriptors import (
    BYTES_PER_WORD,
    InputDescriptor,
    LayerDescriptor,
    Loop,
    Offset,
)
from accel.hardware.packets import BIAS, ENTRY, MULTIPLIER, Packet, header

ONE = int(np.float32(1).view(np.uint32))
"""The multiplier of a column that is no output channel."""


def describe(
    mappings: list[Mapping], placement: Placement, i: int, cfg: AccelConfig
) -> LayerDescriptor:
    """The descriptor of layer ``i``, but for its safe steps."""
    m = mappings[i]
    layer, is_last = m.layer, i == len(mappings) - 1
    source = placement.tensors[layer.source.name]
    # What the last layer yields is in no place.
    target_base = 0 if is_last else placement.tensors[layer.target.name].base
    lo, hi = layer.output_range
    # With column windows the pixels are read, and padding is left to the windows.
    above, left = (0, 0) if m.column_windows else layer.padding[:2]
    read_row, read_bank = divmod(source.base - above * m.source.row_stride - left, TAPS)
    write_row, write_bank = divmod(target_base, TAPS)
    channels_left = m.target.channels - (m.num_groups - 1) * m.channels_per_group
    last_beats = -(-channels_left // cfg.num_lanes)
    one_pixel = m.pixels == 1
    kernel_h, kernel_w = layer.weight.shape[2:]
    (rows, columns), target = m.tile, m.target
    return LayerDescriptor(
        read_loops=_read_loops(m),
        pixel_offsets=_pixel_offsets(m, cfg),
        write_loops=_write_loops(m),
        read_row=read_row,
        read_bank=read_bank,
        padding_rows=above,
        padding_columns=left,
        height=m.source.height,
        width=m.source.width,
        pad_value=layer.pad_value,
        signed=int(layer.source.signed),
        channel_mode=int(m.channel_mode),
        reload=int(m.steps_per_sum > cfg.spad_depth),
        frees_input=int(i == placement.image_freed_by),
        tap_row=(m.source.channel_stride if m.channel_mode else m.source.row_stride) // TAPS,
        weight_base=placement.weight_bases[i],
        last_rows=(kernel_h - 1) % WINDOW + 1,
        last_columns=(kernel_w - 1) % WINDOW + 1,
        # With column windows a pixel group reads a channel for each of its columns.
        last_channels=(
            cfg.group_cols if m.column_windows else (layer.weight.shape[1] - 1) % TAPS + 1
        ),
        param_beats=m.pixels * m.beats,
        param_last_beats=last_beats if one_pixel else m.pixels * m.beats,
        param_vectors=m.vectors_per_group,
        param_groups=m.num_groups,
        param_base=placement.param_bases[i],
        zero_point=layer.zero_point,
        lo=lo,
        hi=hi,
        ties_away=int(layer.ties_away),
        write_row=write_row,
        write_bank=write_bank,
        lane_row=target.channel_stride // TAPS,
        write_beats=m.beats,
        write_last_beats=last_beats,
        last_lanes=channels_left - (last_beats - 1) * cfg.num_lanes,
        group_lanes=m.channels_per_group - (m.beats - 1) * cfg.num_lanes,
        to_result=int(is_last),
        out_signed=int(layer.target.signed),
        pixel_row=target.row_stride // TAPS,
        pixel_x=columns - 1,
        pixel_y=rows - 1,
        drop_x=target.width % columns,
        drop_y=target.height % rows,
        drop_beats=0 if one_pixel else m.beats - last_beats,
        **_lookup_fields(mappings, i),
        **_sum_fields(m, placement, cfg),
        **(_window_fields(layer, channels_left) if m.column_windows else {}),
    )


def _window_fields(layer: Convolution, last_columns: int) -> dict[str, Any]:
    """Which windows are used: without padding on a side none that reaches beyond it there."""
    above, left, below, right = layer.padding
    return {
        "column_windows": 1,
        "row_step": layer.stride[0],
        "column_step": layer.stride[1],
        "skip_top": 1 - above,
        "skip_bottom": 1 - below,
        "skip_left": 1 - left,
        "skip_right": 1 - right,
        "window_columns": last_columns,
    }


def tables(layers: Iterable[Convolution]) -> list[tuple[int, ...]]:
    """The entries of each table that any of the layers needs, for each byte; their place is its
    number."""
    return list(dict.fromkeys(_of_bytes(layer.lookup) for layer in layers if layer.lookup))


def _of_bytes(lookup: Lookup) -> tuple[int, ...]:
    return tuple((np.roll(lookup.entries.astype(np.int64), lookup.least) & 0xFF).tolist())


def _lookup_fields(mappings: list[Mapping], i: int) -> dict[str, Any]:
    lookup = mappings[i].layer.lookup
    if lookup is None:
        return {}
    number = tables(m.layer for m in mappings).index(_of_bytes(lookup))
    return {"looks_up": 1, "table_index": number, "table_signed": int(lookup.signed)}


def _sum_fields(m: Mapping, placement: Placement, cfg: AccelConfig) -> dict[str, Any]:
    """What is added, which lies as the outputs do."""
    addition, target = m.layer.addition, m.target
    if addition is None:
        return {}
    row, bank = divmod(placement.tensors[addition.operand.name].base, TAPS)
    loops, offsets = _write_loops(m), [0, 0]
    next_channels = cfg.group_cols * target.channel_stride
    match m.tile:
        case (1, 2):
            offsets[0] = 1
        case (2, 1):
            offsets[0] = target.row_stride
        case (2, 2):
            offsets = [1, target.row_stride]
        case _:
            # All columns are channels of one pixel.
            offsets = [next_channels, 2 * next_channels]
    lo, hi = addition.output_range
    return {
        "adds": 1,
        "pops": 1,
        "operand_signed": int(addition.operand.signed),
        "operand_row": row,
        "operand_bank": bank,
        "operand_lane_row": target.channel_stride // TAPS,
        "operand_strides": (*(loop.stride for loop in loops), *offsets),
        "own_multiplier": addition.multipliers[0],
        "operand_multiplier": addition.multipliers[1],
        "sum_shift": addition.shift,
        "sum_ties_away": int(addition.ties_away),
        "sum_constant": addition.constant,
        "sum_zero_point": addition.zero_point,
        "sum_lo": lo,
        "sum_hi": hi,
    }


def _read_loops(m: Mapping) -> tuple[Loop, ...]:
    row, channel = m.source.row_stride, m.source.channel_stride
    groups = Loop(m.num_groups, m.group_stride)
    if m.column_windows:
        raster = Loop(m.source.width, 1, 0, 1), Loop(m.source.height, row, 1, 0)
        return (*[Loop()] * 5, *raster, groups)
    (pool_h, pool_w), (stride_y, stride_x) = m.layer.pool, m.layer.stride
    step_y, step_x = _steps_apart(m)
    rows, columns = step_y * m.tile[0], step_x * m.tile[1]
    size, channels = (1, TAPS) if m.channel_mode else (WINDOW, 1)
    kernel_x, kernel_y, num_channels = m.read_counts
    return (
        Loop(kernel_x, size, 0, size),
        Loop(kernel_y, size * row, size, 0),
        Loop(num_channels, channels * channel),
        Loop(pool_w, stride_x, 0, stride_x),
        Loop(pool_h, stride_y * row, stride_y, 0),
        Loop(m.vectors[1], columns, 0, columns),
        Loop(m.vectors[0], rows * row, rows, 0),
        groups,
    )


def _steps_apart(m: Mapping) -> tuple[int, int]:
    """Rows and columns of the input from one output to the next."""
    (rows, columns), (pool_rows, pool_columns) = m.layer.stride, m.layer.pool_stride
    return rows * pool_rows, columns * pool_columns


def _pixel_offsets(m: Mapping, cfg: AccelConfig) -> tuple[Offset, Offset]:
    """What bits 0 and 1 of a pixel group's number add to its addresses."""
    if m.column_windows:
        # The channels of a group's columns follow those of the group before.
        channels = cfg.group_cols * m.source.channel_stride
        return Offset(channels), Offset(2 * channels)
    (step_y, step_x), none = _steps_apart(m), Offset()
    next_row, next_column = (
        Offset(step_y * m.source.row_stride, step_y, 0),
        Offset(step_x, 0, step_x),
    )
    match m.tile:
        case (1, 2):
            return next_column, none
        case (2, 1):
            return next_row, none
        case (2, 2):
            return next_column, next_row
    return none, none


def _write_loops(m: Mapping) -> tuple[Loop, ...]:
    return (
        Loop(m.vectors[1], m.tile[1]),
        Loop(m.vectors[0], m.tile[0] * m.target.row_stride),
        Loop(m.num_groups, m.channels_per_group * m.target.channel_stride),
    )


def words(
    mappings: list[Mapping],
    descriptors: list[LayerDescriptor],
    placement: Placement,
    cfg: AccelConfig,
) -> list[int]:
    """The program stream."""
    found = []
    for i, (m, descriptor) in enumerate(zip(mappings, descriptors, strict=True)):
        found += [header(Packet.LAYER, i), *descriptor.encode()]
        found += [header(Packet.WEIGHTS, placement.weight_bases[i], m.weight_words)]
        found += _weight_beats(m, cfg)
        found += [
            header(Packet.PARAMS, placement.param_bases[i], m.param_words),
            *_param_beats(m, cfg),
        ]
    for i, entries in enumerate(tables(m.layer for m in mappings)):
        found += [header(Packet.TABLE, i * TABLE_SIZE, TABLE_SIZE), *map(ENTRY.put, entries)]
    (image,) = (p for p in placement.tensors.values() if p.written_by is None)
    shape = image_shape(mappings[0].layer.source.shape)
    found += [header(Packet.INPUT), *describe_input(shape, image.layout, image.base).encode()]
    return [*found, header(Packet.RUN, len(mappings))]


def describe_input(shape: tuple[int, int, int], layout: Layout, base: int) -> InputDescriptor:
    """How an image that crosses the stream in that shape falls into memory."""
    channels, height, width = shape
    row_words = -(-width // BYTES_PER_WORD)
    return InputDescriptor(
        base=base,
        loops=(
            Loop(row_words, BYTES_PER_WORD),
            Loop(height, layout.row_stride),
            Loop(channels, layout.channel_stride),
        ),
        last_bytes=width - (row_words - 1) * BYTES_PER_WORD,
    )


def _weight_beats(m: Mapping, cfg: AccelConfig) -> list[int]:
    """Weight words as 64-bit beats, byte 9*column + tap of a word in byte order."""
    rows = m.weights.reshape(-1, cfg.num_multipliers).view(np.uint8)
    padded = np.zeros((rows.shape[0], cfg.weight_word_beats * BYTES_PER_WORD), np.uint8)
    padded[:, : rows.shape[1]] = rows
    return padded.view("<u8").ravel().tolist()


def _param_beats(m: Mapping, cfg: AccelConfig) -> list[int]:
    """Multiplier and bias of each output channel; ones and zeros fill up a group's last beat, and
    the last group."""
    lanes, channel = m.beats * cfg.num_lanes, np.arange(m.target.channels)
    groups = np.full((m.num_groups, lanes), MULTIPLIER.put(ONE), np.uint64)
    patterns = m.layer.multiplier.astype(np.float32).view(np.uint32).tolist()
    groups[channel // m.channels_per_group, channel % m.channels_per_group] = [
        MULTIPLIER.put(multiplier) | BIAS.put(bias)
        for multiplier, bias in zip(patterns, m.layer.bias.tolist(), strict=True)
    ]
    # Each of a vector's pixels has its own copy.
    return np.tile(groups, (1, m.pixels)).ravel().tolist()


def output_bytes(m: Mapping, cfg: AccelConfig) -> NDArray[np.int64]:
    """Byte of each output element in the results: beats of num_lanes bytes, in order."""
    columns = m.channels_per_group
    pixels, full = m.target.height * m.target.width, m.beats
    # Pixels come tile by tile.
    y, x = np.divmod(np.arange(pixels), m.target.width)
    (rows, cols), order = m.tile, np.empty(pixels, np.int64)
    order[np.lexsort((x % cols, y % rows, x // cols, y // rows))] = np.arange(pixels)
    last = -(-(m.target.channels - (m.num_groups - 1) * columns) // cfg.num_lanes)
    channel = np.arange(m.target.channels)[:, None]
    pixel = order[None, :]
    group, column = divmod(channel, columns)
    beats = np.where(group == m.num_groups - 1, last, full)
    beat = group * pixels * full + pixel * beats + column // cfg.num_lanes
    return (beat * cfg.num_lanes + column % cfg.num_lanes).ravel()
