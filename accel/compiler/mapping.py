"""The second pass: each layer is laid onto the array, for the fewest cycles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from accel.compiler.convolution import Convolution
from accel.compiler.layout import Layout
from accel.compiler.program import image_shape
from accel.compiler.refusal import DoesNotFitError, Refusal
from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import ADDER, BYTES_PER_WORD, COUNT, DX, FIELDS

WINDOW = 3
"""Rows and columns of the window whose taps are read in one step."""

TILES: dict[int, list[tuple[int, int]]] = {1: [], 2: [(1, 2), (2, 1)], 4: [(2, 2)]}
"""Rows and columns of pixels that so many pixel groups compute at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mapping:
    """One layer on the array. ``weights[g, t]`` is what step t of group g multiplies with."""

    layer: Convolution
    source: Layout
    target: Layout
    channel_mode: bool
    tile: tuple[int, int]
    """Rows and columns of neighbouring outputs that the array computes at once. Their product is
    ``pixel_groups``, or 1, and then all columns are output channels of that one."""
    weights: NDArray[np.int8]
    """(groups, steps of a sum, num_cols, 9), zero where a tap or column has no weight."""
    read_counts: tuple[int, int, int]
    """Iterations of kernel_x, kernel_y, channel."""
    channels_per_group: int
    """Output channels of a group, but for the last one, which may have fewer."""
    beats: int
    """Beats of a pixel."""
    column_windows: bool = False
    """Each column has a channel and a window of its own."""

    @property
    def steps_per_sum(self) -> int:
        return self.weights.shape[1]

    @property
    def num_groups(self) -> int:
        return self.weights.shape[0]

    @property
    def pixels(self) -> int:
        """Pixels of a vector."""
        return prod(self.tile)

    @property
    def vectors(self) -> tuple[int, int]:
        """Vectors that leave the pooling unit for a group of output channels, in rows and columns;
        the last ones may have pixels beyond the feature map."""
        return -(-self.target.height // self.tile[0]), -(-self.target.width // self.tile[1])

    @property
    def vectors_per_group(self) -> int:
        return prod(self.vectors)

    @property
    def array_steps(self) -> int:
        """Steps in which the array multiplies."""
        return self.num_groups * self.vectors_per_group * prod(self.layer.pool) * self.steps_per_sum

    @property
    def steps(self) -> int:
        """All of them: one more for each vector that is added to; with column windows one for each
        pixel that is read, and some behind."""
        if not self.column_windows:
            added_to = self.num_groups * self.vectors_per_group * (self.layer.addition is not None)
            return self.array_steps + added_to
        return self.num_groups * self.source.height * self.source.width + self.source.width + 1

    @property
    def weight_words(self) -> int:
        """Words of the weight memory."""
        return self.num_groups * self.steps_per_sum

    @property
    def param_words(self) -> int:
        """Words of the parameter memory."""
        return self.num_groups * self.pixels * self.beats

    @property
    def group_stride(self) -> int:
        """Bytes from what one group of output channels reads to what the next one does."""
        if self.column_windows:
            return self.channels_per_group * self.source.channel_stride
        if self.layer.groups == 1:
            return 0
        return self.layer.weight.shape[1] * self.source.channel_stride


def map_layer(layer: Convolution, cfg: AccelConfig) -> Mapping:
    """Choose column windows, or reduction mode and tile, and put weights into words.

    Raises :class:`DoesNotFitError` naming what the hardware does not count that far.
    """
    broadcast = _broadcast(_in_blocks(layer, cfg), cfg)
    if not _has_windows(layer, cfg):
        return broadcast
    windows = _windows(_broadcast(layer, cfg), cfg)
    beats = windows.array_steps * windows.beats
    # The array or the requantizer takes longer; of the other mapping's vectors each is one beat.
    return windows if max(windows.steps, beats) < broadcast.steps else broadcast


def _has_windows(layer: Convolution, cfg: AccelConfig) -> bool:
    """Whether the columns' own windows can compute a layer."""
    channels, _, width = layer.source_shape
    return (
        layer.weight.shape == (channels, 1, WINDOW, WINDOW)
        and layer.groups == channels
        and max(layer.stride) <= 2
        and max(layer.padding) <= 1
        and layer.pool == (1, 1)
        and layer.addition is None
        and 2 <= width <= cfg.line_width
    )


def _windows(broadcast: Mapping, cfg: AccelConfig) -> Mapping:
    """With a channel a column, where all columns had the same."""
    layer = broadcast.layer
    num_outputs = len(layer.weight)
    channels = min(num_outputs, cfg.num_cols)
    num_groups = -(-num_outputs // channels)
    return replace(
        broadcast,
        channel_mode=True,
        weights=_arrange(layer.weight, False, (1, 1, 1), num_groups, channels, cfg.num_cols),
        read_counts=(1, 1, 1),
        channels_per_group=channels,
        beats=-(-channels // cfg.num_lanes),
        column_windows=True,
    )


def _broadcast(layer: Convolution, cfg: AccelConfig) -> Mapping:
    """With the same activations for all columns of a pixel."""
    source, target = Layout(*layer.source_shape), Layout(*layer.target.shape)
    _check_adder(layer, cfg)
    _check_sizes(layer, source)
    channel_mode, counts = _mode(layer)
    if layer.groups == 1:
        tile = _tile(layer, target, cfg, prod(counts))
        channels = cfg.num_cols // prod(tile)
        num_groups = -(-len(layer.weight) // channels)
    else:
        # Each of the layer's groups has inputs of its own, and so is one of the hardware's.
        tile, num_groups = (1, 1), layer.groups
        channels = len(layer.weight) // num_groups
        _check_columns(layer, channels, cfg)
    pixels = prod(tile)
    columns = cfg.num_cols // pixels
    _check_counts(layer, counts, num_groups)
    words = _arrange(layer.weight, channel_mode, counts, num_groups, channels, columns)
    return Mapping(
        layer=layer,
        source=source,
        target=target,
        channel_mode=channel_mode,
        tile=tile,
        # All pixels are multiplied with the same weights: each group of columns has a copy.
        weights=np.tile(words, (1, 1, pixels, 1)),
        read_counts=(counts[2], counts[1], counts[0]),
        channels_per_group=channels,
        beats=-(-channels // cfg.num_lanes),
    )


def _in_blocks(layer: Convolution, cfg: AccelConfig) -> Convolution:
    """A depthwise convolution of several channels at once, with a diagonal of weights. A step reads
    nine of them, or a window of one, whichever takes fewer steps, and never more than a channel
    after another does; but there are fewer vectors for the requantizer, and fewer parameters."""
    channels, inputs, *kernel = layer.weight.shape
    if not layer.groups == channels == layer.source_shape[0] or inputs != 1:
        return layer
    most = min(TAPS, cfg.num_cols)
    block = max(n for n in range(1, most + 1) if channels % n == 0)
    weight = np.zeros((channels, block, *kernel), np.int8)
    channel = np.arange(channels)
    weight[channel, channel % block] = layer.weight[:, 0]
    return replace(layer, weight=weight, groups=channels // block)


def _check_adder(layer: Convolution, cfg: AccelConfig) -> None:
    needed = {
        "adds a tensor": layer.addition is not None,
        "rounds ties away from zero": layer.ties_away,
    }
    refusals = [
        Refusal(
            layer=layer.name,
            limit=ADDER,
            needed=1,
            room=0,
            sentence=f"layer '{layer.name}' {what}, and configuration {cfg} has no adder",
            would_do=True,
        )
        for what, is_needed in needed.items()
        if is_needed and not cfg.adder
    ]
    if refusals:
        raise DoesNotFitError(refusals)


def _mode(layer: Convolution) -> tuple[bool, tuple[int, int, int]]:
    """The reduction mode with the fewer steps: whether a step takes nine channels of one pixel and
    not a window of one channel; and iterations over channels (or blocks of nine), kernel rows and
    kernel columns (or windows)."""
    _, num_in, kernel_h, kernel_w = layer.weight.shape
    window = (num_in, -(-kernel_h // WINDOW), -(-kernel_w // WINDOW))
    channel = (-(-num_in // TAPS), kernel_h, kernel_w)
    channel_mode = prod(channel) < prod(window)
    return channel_mode, channel if channel_mode else window


def _tile(layer: Convolution, target: Layout, cfg: AccelConfig, steps: int) -> tuple[int, int]:
    """The pixels at once with which a layer of so many steps a sum takes the fewest cycles."""

    def cycles(tile: tuple[int, int]) -> int:
        """Of a layer, whether the array or the requantizer takes longer."""
        groups = -(-len(layer.weight) // (cfg.num_cols // prod(tile)))
        vectors = -(-target.height // tile[0]) * -(-target.width // tile[1])
        of_vector = steps * prod(layer.pool) + (layer.addition is not None)
        return groups * vectors * max(of_vector, cfg.num_beats)

    tiles = [(1, 1)]
    if 2 * max(_steps_apart(layer)) <= DX.maximum:
        tiles += TILES[cfg.pixel_groups]
    # The first of those that are as fast: pixels side by side cost reads of activations.
    return min(tiles, key=cycles)


def _arrange(
    weight: NDArray[np.int8],
    channel_mode: bool,
    counts: tuple[int, int, int],
    num_groups: int,
    group_channels: int,
    columns: int,
) -> NDArray[np.int8]:
    """Weights (outputs, channels, rows, columns of the kernel) by group, step, column and tap.

    Of ``columns`` the first ``group_channels`` have an output channel in each group.

    A 3x4 kernel over 2 channels, for one output, is two windows for each channel::

        a b c d          step 0: a b c  step 1: d 0 0   steps 2 and 3: the second channel
        e f g h    ->            e f g          h 0 0
        i j k l                  i j k          l 0 0
    """
    num_out, num_in, kernel_h, kernel_w = weight.shape
    channels, rows, cols = counts
    outputs = num_groups * columns
    output = np.arange(num_out)
    # Where each output channel is among all columns of all groups
    place = output // group_channels * columns + output % group_channels
    if channel_mode:
        padded = np.zeros((outputs, channels * TAPS, kernel_h, kernel_w), np.int8)
        padded[place, :num_in] = weight
        # (out, channel block, tap, ky, kx) -> (out, channel block, ky, kx, tap)
        taps = padded.reshape(outputs, channels, TAPS, rows, cols).transpose(0, 1, 3, 4, 2)
    else:
        padded = np.zeros((outputs, num_in, WINDOW * rows, WINDOW * cols), np.int8)
        padded[place, :, :kernel_h, :kernel_w] = weight
        # (out, channel, window y, dy, window x, dx) -> (out, channel, window y, window x, dy, dx)
        windows = padded.reshape(outputs, channels, rows, WINDOW, cols, WINDOW)
        taps = windows.transpose(0, 1, 2, 4, 3, 5)
    # (group, column, step, tap) -> (group, step, column, tap)
    return taps.reshape(num_groups, columns, -1, TAPS).transpose(0, 2, 1, 3)


def _check_sizes(layer: Convolution, source: Layout) -> None:
    size, step = FIELDS["height"].maximum, DX.maximum
    pooled = "stride, times that of pooling," if layer.pool_stride != (1, 1) else "stride"
    refusals = [
        Refusal(
            layer=layer.name,
            limit=what,
            needed=value,
            room=room,
            sentence=f"layer '{layer.name}': {what} is {value}, {value - room} more than the "
            f"{room} that the hardware counts",
        )
        for what, value, room in (
            ("input height", source.height, size),
            ("input width", source.width, size),
            ("padding", max(layer.padding[:2]), FIELDS["padding_rows"].maximum),
            (pooled, max(_steps_apart(layer)), step),
        )
        if value > room
    ]
    if refusals:
        raise DoesNotFitError(refusals)


def _steps_apart(layer: Convolution) -> tuple[int, int]:
    """Rows and columns of the input from one output after pooling to the next."""
    (rows, columns), (pool_rows, pool_columns) = layer.stride, layer.pool_stride
    return rows * pool_rows, columns * pool_columns


def _check_columns(layer: Convolution, channels: int, cfg: AccelConfig) -> None:
    room = cfg.num_cols
    if channels > room:
        raise DoesNotFitError(
            [
                Refusal(
                    layer=layer.name,
                    limit="num_cols",
                    needed=channels,
                    room=room,
                    sentence=f"layer '{layer.name}': each of its {layer.groups} groups has "
                    f"{channels} output channels, {channels - room} more than num_cols = {room}",
                )
            ]
        )


def _check_counts(layer: Convolution, counts: tuple[int, int, int], num_groups: int) -> None:
    row_words = -(-image_shape(layer.source.shape)[2] // BYTES_PER_WORD)
    room = COUNT.maximum
    refusals = [
        Refusal(
            layer=layer.name,
            limit=what,
            needed=count,
            room=room,
            sentence=f"layer '{layer.name}' needs {count} iterations over {what}, {count - room} "
            f"more than the {room} that the hardware counts",
        )
        for what, count in (
            ("channels", counts[0]),
            ("kernel rows", counts[1]),
            ("kernel columns", counts[2]),
            ("rows of a pooling window", layer.pool[0]),
            ("columns of a pooling window", layer.pool[1]),
            ("groups of output channels", num_groups),
            ("words of a row of input", row_words),
        )
        if count > room
    ]
    if refusals:
        raise DoesNotFitError(refusals)
