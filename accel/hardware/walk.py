"""The order in which a layer's descriptor makes the sequencers read and write, in plain NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel.hardware.config import TAPS
from accel.hardware.descriptors import LayerDescriptor, Loop


def offsets(loops: tuple[Loop, ...], attribute: str = "stride") -> NDArray[np.int64]:
    """The nest's ``stride``, ``dy`` or ``dx`` offsets in visiting order: int64 (iterations,)."""
    out = np.zeros(1, np.int64)
    for loop in loops:
        steps = np.arange(loop.count, dtype=np.int64) * getattr(loop, attribute)
        out = (steps[:, None] + out).ravel()
    return out


class Reads(NamedTuple):
    """What the taps of a layer's first group of output channels read, (steps, pixel_groups, 9)
    each; every group reads the same."""

    address: NDArray[np.int64]
    """Byte of the activation memory."""
    inside: NDArray[np.bool_]
    """The byte is read."""
    padding: NDArray[np.bool_]
    """The tap lies outside the feature map: it is the pad value. A tap that is neither lies outside
    the kernel, or beyond the last channel: it is zero."""


def reads(d: LayerDescriptor, pixel_groups: int) -> Reads:
    """What a layer reads, in the order of its steps."""
    loops = d.read_loops[:-1]
    tap = np.arange(TAPS)
    kernel_x, kernel_y, channel = last_iterations(loops)[:3]
    if d.channel_mode:
        dy = dx = np.zeros(TAPS, np.int64)
        reach = tap * (TAPS * d.tap_q + 1)
        used = ~channel[:, None] | (tap < d.last_channels)
    else:
        dy, dx = tap // 3, tap % 3
        reach = dy * (TAPS * d.tap_q + 3) + dx
        used = ~kernel_y[:, None] | (dy < d.last_rows)
        used &= ~kernel_x[:, None] | (dx < d.last_columns)

    def of_taps(attribute: str, offset: NDArray[np.int64]) -> NDArray[np.int64]:
        pixels = tuple(Loop(2, o.stride, o.dy, o.dx) for o in d.pixel_offsets)
        groups = offsets(pixels, attribute)[:pixel_groups, None]
        return offsets(loops, attribute)[:, None, None] + groups + offset

    y, x = of_taps("dy", dy - d.padding), of_taps("dx", dx - d.padding)
    inside = (y >= 0) & (y < d.height) & (x >= 0) & (x < d.width)
    return Reads(
        address=TAPS * d.read_q + d.read_r + of_taps("stride", reach),
        inside=inside & used[:, None],
        padding=~inside & used[:, None],
    )


def write_pixels(d: LayerDescriptor) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The pixels of a group's vectors, in the order in which they come.

    Returns int64 (pixels,): bytes from the group's first output to each; and bool (pixels,):
    whether it lies inside the feature map.
    """
    row = TAPS * d.pixel_row_q + 3
    tile = Loop(d.pixel_x + 1, 1), Loop(d.pixel_y + 1, row)
    columns, rows, _ = d.write_loops
    inside = np.ones((rows.count, columns.count, d.pixel_y + 1, d.pixel_x + 1), bool)
    inside[:, -1, :, 1:] = not d.drop_x
    inside[-1, :, 1:] &= not d.drop_y
    return offsets((*tile, columns, rows)), inside.ravel()


def last_iterations(loops: tuple[Loop, ...]) -> list[NDArray[np.bool_]]:
    """For each loop of a nest, whether it is in its last iteration: bool (iterations,)."""
    at = np.arange(int(np.prod([loop.count for loop in loops])))
    found, inner = [], 1
    for loop in loops:
        found.append(at // inner % loop.count == loop.count - 1)
        inner *= loop.count
    return found


def nest_flags(d: LayerDescriptor) -> list[tuple[int, int, int, int]]:
    """``first, last, pool_first, pool_last`` of the steps of a layer's first group."""
    at = np.arange(int(np.prod([loop.count for loop in d.read_loops[:-1]])))
    steps = int(np.prod([loop.count for loop in d.read_loops[:3]]))
    window = d.read_loops[3].count * d.read_loops[4].count
    step, pixel = at % steps, at // steps % window
    flags = (step == 0, step == steps - 1, pixel == 0, pixel == window - 1)
    return [tuple(row) for row in np.stack(flags, 1).astype(int).tolist()]
