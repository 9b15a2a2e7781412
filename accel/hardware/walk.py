"""What a layer's descriptor makes the sequencers do, in which order, in plain NumPy."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import LayerDescriptor, Loop

SUM_END, WINDOW_END, VECTORS_END = 3, 5, 7
OUT_X, OUT_Y = 5, 6
"""Of :data:`~accel.hardware.descriptors.READ_LOOPS` so many, from the innermost on, walk through
the steps of one sum; through those of one pooling window; through a group of output channels."""


def iterations(loops: tuple[Loop, ...]) -> int:
    """How often the innermost of the loops is visited."""
    return prod(loop.count for loop in loops)


def offsets(loops: tuple[Loop, ...], attribute: str = "stride") -> NDArray[np.int64]:
    """The nest's ``stride``, ``dy`` or ``dx`` offsets in visiting order: int64 (iterations,)."""
    out = np.zeros(1, np.int64)
    for loop in loops:
        steps = np.arange(loop.count, dtype=np.int64) * getattr(loop, attribute)
        out = (steps[:, None] + out).ravel()
    return out


def steps_per_sum(d: LayerDescriptor) -> int:
    """Steps of one sum of products."""
    return iterations(d.read_loops[:SUM_END])


def steps_per_window(d: LayerDescriptor) -> int:
    """Steps of one vector that leaves the pooling unit."""
    return iterations(d.read_loops[:WINDOW_END])


def steps_per_group(d: LayerDescriptor) -> int:
    """Steps that read for the sums of one group of output channels."""
    return iterations(d.read_loops[:VECTORS_END])


def steps_per_vector(d: LayerDescriptor) -> int:
    """The same, with the step that reads what is added to it."""
    return steps_per_window(d) + d.adds


def num_groups(d: LayerDescriptor) -> int:
    """Groups of output channels."""
    return d.read_loops[-1].count


def total_steps(d: LayerDescriptor) -> int:
    """Steps of a layer."""
    of_group = steps_per_group(d) + d.adds * vectors_per_group(d)
    return num_groups(d) * of_group + steps_behind(d)


def vectors_per_group(d: LayerDescriptor) -> int:
    """Vectors that leave the pooling unit for one group of output channels."""
    if d.column_windows:
        return int(np.count_nonzero(used_windows(d)))
    return steps_per_group(d) // steps_per_window(d)


def steps_behind(d: LayerDescriptor) -> int:
    """So many steps after a pixel the window that is centred on it is complete, and so many follow
    after a layer's last pixel; 0 of a layer without column windows."""
    return d.read_loops[OUT_X].count + 1 if d.column_windows else 0


def used_windows(d: LayerDescriptor) -> NDArray[np.bool_]:
    """Of a layer with column windows: whether the window centred on each pixel is used, (rows,
    columns) of the map."""
    parts = (
        (d.read_loops[OUT_Y].count, d.row_step, d.skip_top, d.skip_bottom),
        (d.read_loops[OUT_X].count, d.column_step, d.skip_left, d.skip_right),
    )
    used = []
    for count, step, skips_first, skips_last in parts:
        at = np.arange(count)
        is_used = (at - skips_first) % step == 0
        is_used &= (at >= skips_first) & (at < count - skips_last)
        used.append(is_used)
    return used[0][:, None] & used[1]


def window_ends(d: LayerDescriptor) -> NDArray[np.bool_]:
    """Of a layer with column windows: whether each of its steps completes one that is used,
    (steps,)."""
    behind = np.zeros(steps_behind(d), bool)
    return np.concatenate([behind, np.tile(used_windows(d).ravel(), num_groups(d))])


def vector_ends(d: LayerDescriptor) -> NDArray[np.int64]:
    """The number of the last step of each vector, (vectors,)."""
    if d.column_windows:
        return np.flatnonzero(window_ends(d))
    vectors = num_groups(d) * vectors_per_group(d)
    return np.arange(1, vectors + 1) * steps_per_vector(d) - 1


def window_edges(d: LayerDescriptor) -> NDArray[np.bool_]:
    """Of a layer with column windows: whether the window centred on each pixel has its first row,
    last row, first column, last column outside the map, (rows, columns, 4)."""
    height, width = (d.read_loops[i].count for i in (OUT_Y, OUT_X))
    y, x = np.indices((height, width))
    return np.stack([y == 0, y == height - 1, x == 0, x == width - 1], axis=-1)


def groups_read_alike(d: LayerDescriptor) -> bool:
    """The sums of every group of output channels read what those of the first one read."""
    group = d.read_loops[-1]
    return group.count == 1 or (group.stride, group.dy, group.dx) == (0, 0, 0)


class Reads(NamedTuple):
    """What the taps of a layer's steps for one group of output channels read, (steps,
    pixel_groups, 9) each."""

    address: NDArray[np.int64]
    """Byte of the activation memory, before it wraps."""
    inside: NDArray[np.bool_]
    """The byte is read."""
    padding: NDArray[np.bool_]
    """The tap lies outside the feature map: it is the pad value. A tap that is neither lies outside
    the kernel, or beyond the last channel: it is zero."""


def reads(d: LayerDescriptor, pixel_groups: int, group: int = 0) -> Reads:
    """What a layer's sums read for a group of output channels, in the order of their steps. The
    last :func:`steps_behind` steps of a layer read nothing, and are in no group."""
    loops, outermost = d.read_loops[:-1], d.read_loops[-1]
    tap = np.arange(TAPS)
    kernel_x, kernel_y, channel = last_iterations(loops)[:SUM_END]
    if d.channel_mode:
        dy = dx = np.zeros(TAPS, np.int64)
        reach = tap * (TAPS * d.tap_row + 1)
        used = ~channel[:, None] | (tap < d.last_channels)
    else:
        dy, dx = tap // 3, tap % 3
        reach = dy * (TAPS * d.tap_row + 3) + dx
        used = ~kernel_y[:, None] | (dy < d.last_rows)
        used &= ~kernel_x[:, None] | (dx < d.last_columns)

    def of_taps(attribute: str, offset: NDArray[np.int64]) -> NDArray[np.int64]:
        bits = tuple(Loop(2, o.stride, o.dy, o.dx) for o in d.pixel_offsets)
        pixels = offsets(bits, attribute)[:pixel_groups, None]
        start = group * getattr(outermost, attribute)
        return start + offsets(loops, attribute)[:, None, None] + pixels + offset

    y, x = of_taps("dy", dy - d.padding_rows), of_taps("dx", dx - d.padding_columns)
    inside = (y >= 0) & (y < d.height) & (x >= 0) & (x < d.width)
    used = used[:, None]
    if d.column_windows and group == num_groups(d) - 1:
        column = np.arange(pixel_groups)[:, None] * d.last_channels + tap
        used = used & (column < d.window_columns)
    return Reads(
        address=TAPS * d.read_row + d.read_bank + of_taps("stride", reach),
        inside=inside & used,
        padding=~inside & used,
    )


class OperandReads(NamedTuple):
    """What is read to be added to the vectors of a group of output channels, (vectors, num_cols)
    each."""

    address: NDArray[np.int64]
    """Byte of the activation memory, before it wraps."""
    used: NDArray[np.bool_]
    """The column has an output there. Of the others a byte is read as well, and what becomes of it
    is dropped."""


def operand_reads(d: LayerDescriptor, cfg: AccelConfig, group: int = 0) -> OperandReads:
    """What the steps read that each begin a vector of a layer that adds."""
    columns, rows = d.read_loops[WINDOW_END:VECTORS_END]
    x, y, further, *bits = d.operand_strides
    vector = offsets((Loop(columns.count, x), Loop(rows.count, y)))
    column = np.arange(cfg.num_cols)
    pixel_group, tap = np.divmod(column, cfg.group_cols)
    start = TAPS * d.operand_row + d.operand_bank + group * further
    place = start + offsets(tuple(Loop(2, bit) for bit in bits))[pixel_group]
    beats = d.param_last_beats if group == d.param_groups - 1 else d.param_beats
    pixel, channel = np.divmod(column, beats * cfg.num_lanes // pixels_per_vector(d))
    has_channel = channel < output_channels(d, cfg.num_lanes)[group]
    has_channel &= pixel < pixels_per_vector(d)
    inside = write_pixels(d)[1].reshape(-1, pixels_per_vector(d))
    return OperandReads(
        address=vector[:, None] + place + tap * (TAPS * d.operand_lane_row + 1),
        used=inside[:, np.minimum(pixel, pixels_per_vector(d) - 1)] & has_channel,
    )


def step_numbers(d: LayerDescriptor, group: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of the steps of sums of a group of output channels, (steps,), and of those that
    read what is added, (vectors,), among all of the layer's in the order of their issue."""
    number = group * steps_per_group(d) + np.arange(steps_per_group(d))
    of_sums = number + d.adds * (number // steps_per_window(d) + 1)
    vector = group * vectors_per_group(d) + np.arange(d.adds * vectors_per_group(d))
    return of_sums, vector * steps_per_vector(d)


def last_iterations(loops: tuple[Loop, ...]) -> list[NDArray[np.bool_]]:
    """For each loop of a nest, whether it is in its last iteration: bool (iterations,)."""
    at = np.arange(iterations(loops))
    found, inner = [], 1
    for loop in loops:
        found.append(at // inner % loop.count == loop.count - 1)
        inner *= loop.count
    return found


def nest_flags(d: LayerDescriptor) -> list[tuple[int, int, int, int]]:
    """``first, last, pool_first, pool_last`` of the steps of one group of output channels."""
    at, steps = np.arange(steps_per_group(d)), steps_per_sum(d)
    window = steps_per_window(d) // steps
    step, pixel = at % steps, at // steps % window
    flags = (step == 0, step == steps - 1, pixel == 0, pixel == window - 1)
    return [tuple(row) for row in np.stack(flags, 1).astype(int).tolist()]


def write_pixels(d: LayerDescriptor) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The pixels of a group's vectors, in the order in which they come.

    Returns int64 (pixels,): bytes from the group's first output to each; and bool (pixels,):
    whether it lies inside the feature map.
    """
    row = TAPS * d.pixel_row + 3
    tile = Loop(d.pixel_x + 1, 1), Loop(d.pixel_y + 1, row)
    columns, rows, _ = d.write_loops
    inside = np.ones((rows.count, columns.count, d.pixel_y + 1, d.pixel_x + 1), bool)
    inside[:, -1, :, 1:] = not d.drop_x
    inside[-1, :, 1:] &= not d.drop_y
    return offsets((*tile, columns, rows)), inside.ravel()


def pixels_per_vector(d: LayerDescriptor) -> int:
    """Neighbouring pixels whose outputs a vector holds."""
    return (d.pixel_x + 1) * (d.pixel_y + 1)


def output_channels(d: LayerDescriptor, num_lanes: int) -> list[int]:
    """Output channels of each group, but those that are only filling."""
    last = (d.write_last_beats - 1) * num_lanes + d.last_lanes
    others = (d.write_beats - 1) * num_lanes + d.group_lanes
    return [others] * (d.write_loops[-1].count - 1) + [last]


class Writes(NamedTuple):
    """Every output that a layer writes to memory, in the order in which it does, (outputs,) each.
    Those of a beat are written in the same cycle.

    Group by group, vector by vector, pixel by pixel of a vector, channel by channel; two pixels a
    vector, side by side, on a map of three columns (``-`` is dropped)::

        vector        0        1        2        3
        pixel         0  1     2  -     3  4     5  -       channels 0 to 7 of each
        and then, in the next group of channels, the same pixels again: vectors 4 to 7
    """

    address: NDArray[np.int64]
    """Byte of the activation memory, before it wraps."""
    vector: NDArray[np.int64]
    """Number of the vector of accumulators that the output comes from."""


def writes(d: LayerDescriptor, num_lanes: int) -> Writes:
    """What a layer writes; that of the last layer goes to the results, whatever is said here."""
    pixels, inside = write_pixels(d)
    vectors = np.arange(pixels.size) // pixels_per_vector(d)
    pixels, vectors, last = pixels[inside], vectors[inside], int(vectors[-1]) + 1
    found = []
    for group, channels in enumerate(output_channels(d, num_lanes)):
        start = TAPS * d.write_row + d.write_bank + group * d.write_loops[-1].stride
        channel = np.arange(channels) * (TAPS * d.lane_row + 1)
        found.append(
            (
                (start + pixels[:, None] + channel).ravel(),
                np.repeat(vectors + group * last, channels),
            )
        )
    return Writes(*(np.concatenate(part) for part in zip(*found, strict=True)))
