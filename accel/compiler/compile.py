"""From a quantized network to the program that the hardware runs.

``compile`` decides, layer by layer: reduction mode, order of steps, weights in the words of the
weight memory, place of every tensor in the activation memory, and how early a layer may start. It
proves that nothing overflows. What does not fit is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel.compiler.program import Program, ProgramLayer, StoredTensor, image_shape
from accel.errors import AccelError
from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import (
    BYTES_PER_WORD,
    MAX_COUNT,
    MAX_PADDING,
    MAX_SAFE_STEPS,
    MAX_SIZE,
    MAX_STEP,
    InputDescriptor,
    LayerDescriptor,
    Loop,
)
from accel.hardware.packets import Packet, header
from accel.hardware.pipeline import FETCH_LATENCY, PE_ARRAY_LATENCY, REQUANTIZER_LATENCY
from accel.hardware.walk import offsets
from accel.network.network import Layer, Network, Tensor

FRONT_STEPS = FETCH_LATENCY + PE_ARRAY_LATENCY
"""Most steps between issue and an output: the operand fetch's registers, and the array's."""
TILES = {1: [], 2: [(1, 2), (2, 1)], 4: [(2, 2)]}
"""Rows and columns of pixels that so many pixel groups compute at once."""

MIDDLE_VECTORS = 3
"""Most vectors between the array and the requantizer's lanes: the pooling unit's, and the two that
the requantizer holds."""
BACK_BEATS = REQUANTIZER_LATENCY + 3
"""Most beats between the requantizer's holding register and memory: its lanes', two in the write
sequencer's queue, one in the write register."""


@dataclass(frozen=True)
class Shape:
    """A tensor as the hardware sees it, and its strides: see :mod:`accel.hardware.descriptors`."""

    channels: int
    height: int
    width: int

    @property
    def row_stride(self) -> int:
        """The smallest that holds a row and is 3 mod 9."""
        return self.width + (3 - self.width) % TAPS

    @property
    def channel_stride(self) -> int:
        """The smallest that holds a channel and is 1 mod 9."""
        size = (self.height - 1) * self.row_stride + self.width
        return size + (1 - size) % TAPS

    @property
    def num_bytes(self) -> int:
        last_channel = (self.height - 1) * self.row_stride + self.width
        return (self.channels - 1) * self.channel_stride + last_channel

    @property
    def num_rows(self) -> int:
        """Rows of the activation memory, when it starts at the start of one."""
        return -(-self.num_bytes // TAPS)


@dataclass(frozen=True)
class Mapping:
    """One layer on the array. ``weights[g, t]`` is what step t of group g multiplies with."""

    layer: Layer
    source: Shape
    target: Shape
    channel_mode: bool
    tile: tuple[int, int]
    """Rows and columns of neighbouring outputs that the array computes at once. Their product is
    ``pixel_groups``, or 1, and then all columns are output channels of that one."""
    weights: NDArray[np.int8]
    """(groups, steps of an output, num_cols, 9), zero where a tap or column has no weight."""
    read_counts: tuple[int, int, int]
    """Iterations of kernel_x, kernel_y, channel."""
    kernel: tuple[int, int]

    @property
    def steps_per_output(self) -> int:
        return self.weights.shape[1]

    @property
    def num_groups(self) -> int:
        return self.weights.shape[0]

    @property
    def pool(self) -> int:
        return 2 if self.layer.pool else 1

    @property
    def pixels(self) -> int:
        """Pixels of a vector."""
        return self.tile[0] * self.tile[1]

    @property
    def channels_per_group(self) -> int:
        return self.weights.shape[2] // self.pixels

    @property
    def vectors(self) -> tuple[int, int]:
        """Vectors that leave the pooling unit for a group of output channels, in rows and columns;
        the last ones may have pixels beyond the feature map."""
        return -(-self.target.height // self.tile[0]), -(-self.target.width // self.tile[1])

    @property
    def vectors_per_group(self) -> int:
        return self.vectors[0] * self.vectors[1]

    @property
    def steps(self) -> int:
        vectors = self.num_groups * self.vectors_per_group * self.pool**2
        return vectors * self.steps_per_output


def compile(network: Network, cfg: AccelConfig) -> Program:
    """Compile ``network`` for ``cfg``.

    Raises :class:`AccelError` that names layer, limit and excess when it does not fit.
    """
    if len(network.layers) > cfg.max_layers:
        raise AccelError(
            f"network '{network.name}' has {len(network.layers)} layers, "
            f"{len(network.layers) - cfg.max_layers} more than max_layers = {cfg.max_layers} "
            f"of configuration {cfg}"
        )
    mappings = [_map_layer(layer, cfg) for layer in network.layers]
    bound = max(_prove_accumulators(m, cfg) for m in mappings)
    bases, act_rows = _allocate(mappings, cfg)

    words: list[int] = []
    layers = []
    weight_base = param_base = 0
    for i, m in enumerate(mappings):
        safe = MAX_SAFE_STEPS
        if i:
            safe = _safe_steps(mappings[i - 1], m, bases[i], cfg)
        descriptor = _describe(
            m,
            cfg,
            source_base=bases[i],
            target_base=bases[i + 1],
            weight_base=weight_base,
            param_base=param_base,
            safe_steps=min(safe, m.steps - 1, MAX_SAFE_STEPS),
            first=i == 0,
            last=i == len(mappings) - 1,
        )
        words += [header(Packet.LAYER, i), *descriptor.encode()]
        weight_words = m.num_groups * m.steps_per_output
        param_words = m.num_groups * cfg.num_beats
        _check_room(m, "weight_depth", weight_base + weight_words, cfg.weight_depth)
        _check_room(m, "param_depth", param_base + param_words, cfg.param_depth)
        words += [header(Packet.WEIGHTS, weight_base, weight_words), *_weight_beats(m, cfg)]
        words += [header(Packet.PARAMS, param_base, param_words), *_param_beats(m, cfg)]
        weight_base += weight_words
        param_base += param_words
        reload = m.steps_per_output > cfg.spad_depth
        reads = m.steps if reload else weight_words
        layers.append(
            ProgramLayer(
                name=m.layer.name,
                kind=m.layer.kind,
                macs=m.layer.macs,
                steps=m.steps,
                weight_words=reads,
            )
        )
    source = mappings[0].source
    words += [header(Packet.INPUT), *_describe_input(network.input, source, bases[0])]
    words.append(header(Packet.RUN, len(mappings)))
    return Program(
        cfg=cfg,
        words=tuple(words),
        layers=tuple(layers),
        input=network.input,
        output=network.output,
        output_bytes=_output_bytes(mappings[-1], cfg),
        act_rows=act_rows,
        weight_words=weight_base,
        param_words=param_base,
        tensors=tuple(
            StoredTensor(
                name=f"{mappings[i - 1].layer.name} output" if i else "image",
                shape=m.layer.input.shape,
                first_row=base // TAPS,
                num_rows=m.source.num_rows,
            )
            for i, (m, base) in enumerate(zip(mappings, bases[:-1], strict=True))
        ),
        max_accumulator=bound,
    )


def _shape(tensor: Tensor) -> Shape:
    if len(tensor.shape) == 1:
        return Shape(tensor.shape[0], 1, 1)
    return Shape(*tensor.shape)


def _map_layer(layer: Layer, cfg: AccelConfig) -> Mapping:
    """Choose the reduction mode with the fewer steps, and put weights into words."""
    source, target = _shape(layer.input), _shape(layer.output)
    for what, size in (("height", source.height), ("width", source.width)):
        if size > MAX_SIZE:
            raise AccelError(
                f"layer '{layer.name}': input {what} is {size}, {size - MAX_SIZE} more than the "
                f"{MAX_SIZE} that the hardware counts"
            )
    pool = 2 if layer.pool else 1
    for what, size, limit in (
        ("padding", layer.padding, MAX_PADDING),
        ("stride, doubled by pooling," if layer.pool else "stride", layer.stride * pool, MAX_STEP),
    ):
        if size > limit:
            raise AccelError(
                f"layer '{layer.name}': {what} is {size}, {size - limit} more than the {limit} "
                f"that the hardware counts"
            )
    weight = np.asarray(layer.weight)
    if layer.kind == "linear":
        # A linear layer over a feature map is a convolution whose kernel is the whole map.
        weight = weight.reshape(weight.shape[0], source.channels, source.height, source.width)
    num_out, num_in, kernel_h, kernel_w = weight.shape

    window = (num_in, -(-kernel_h // 3), -(-kernel_w // 3))
    channel = (-(-num_in // TAPS), kernel_h, kernel_w)
    channel_mode = int(np.prod(channel)) < int(np.prod(window))
    counts = channel if channel_mode else window

    def cycles(tile: tuple[int, int]) -> int:
        """Of a layer, whether the array or the requantizer takes longer."""
        groups = -(-num_out // (cfg.num_cols // (tile[0] * tile[1])))
        vectors = -(-target.height // tile[0]) * -(-target.width // tile[1])
        return groups * vectors * max(int(np.prod(counts)) * pool**2, cfg.num_beats)

    tiles = [(1, 1)]
    if 2 * pool * layer.stride <= MAX_STEP:
        tiles += TILES[cfg.pixel_groups]
    # The first of those that are as fast: pixels side by side cost reads of activations.
    tile = min(tiles, key=cycles)
    pixels = tile[0] * tile[1]
    columns = cfg.num_cols // pixels
    num_groups = -(-num_out // columns)
    row_words = -(-image_shape(layer.input.shape)[2] // BYTES_PER_WORD)
    for what, count in (
        ("channels", counts[0]),
        ("kernel rows", counts[1]),
        ("kernel columns", counts[2]),
        ("groups of output channels", num_groups),
        ("words of a row of input", row_words),
    ):
        if count > MAX_COUNT:
            raise AccelError(
                f"layer '{layer.name}' needs {count} iterations over {what}, {count - MAX_COUNT} "
                f"more than the {MAX_COUNT} that the hardware counts"
            )

    shape = [num_groups * columns, *counts]
    if channel_mode:
        padded = np.zeros((shape[0], shape[1] * TAPS, kernel_h, kernel_w), np.int8)
        padded[:num_out, :num_in] = weight
        # (out, channel block, tap, ky, kx) -> (out, channel block, ky, kx, tap)
        taps = padded.reshape(shape[0], shape[1], TAPS, kernel_h, kernel_w).transpose(0, 1, 3, 4, 2)
    else:
        padded = np.zeros((shape[0], num_in, 3 * shape[2], 3 * shape[3]), np.int8)
        padded[:num_out, :, :kernel_h, :kernel_w] = weight
        # (out, channel, window y, dy, window x, dx) -> (out, channel, window y, window x, dy, dx)
        taps = padded.reshape(shape[0], num_in, shape[2], 3, shape[3], 3).transpose(
            0, 1, 2, 4, 3, 5
        )
    words = taps.reshape(num_groups, columns, -1, TAPS).transpose(0, 2, 1, 3)
    return Mapping(
        layer=layer,
        source=source,
        target=target,
        channel_mode=channel_mode,
        tile=tile,
        # All pixels are multiplied with the same weights: each group of columns has a copy.
        weights=np.tile(words, (1, 1, pixels, 1)),
        read_counts=(counts[2], counts[1], counts[0]),
        kernel=(kernel_h, kernel_w),
    )


def _prove_accumulators(m: Mapping, cfg: AccelConfig) -> int:
    """Bound every accumulator, whatever the input: sum(|w|) * max|x| + |bias'|, per channel."""
    layer, bounds = m.layer, m.layer.accumulator_bound
    channel = int(np.argmax(bounds))
    bound, limit = int(bounds[channel]), (1 << (cfg.acc_nbits - 1)) - 1
    if bound > limit:
        raise AccelError(
            f"layer '{layer.name}': an accumulator of output channel {channel} can reach {bound}, "
            f"{bound - limit} more than acc_nbits = {cfg.acc_nbits} holds; "
            f"{bound.bit_length() + 1} bits would do"
        )
    return bound


def _check_room(m: Mapping, name: str, needed: int, room: int) -> None:
    if needed > room:
        raise AccelError(
            f"layer '{m.layer.name}' does not fit: with it the network needs {needed} words, "
            f"{needed - room} more than {name} = {room}"
        )


def _allocate(mappings: list[Mapping], cfg: AccelConfig) -> tuple[list[int], int]:
    """Row-aligned byte address of every layer's input, and of the last output (not stored: 0).

    The image keeps its place to itself, so that the next one loads while this one is computed;
    the other tensors go to the lowest free place while they live, which is from the layer that
    writes them to the layer that reads them. Returns the addresses and the rows in use.
    """
    image_rows = mappings[0].source.num_rows
    bases, used = [0], image_rows
    alive: tuple[int, int] = (image_rows, image_rows)
    for m in mappings[:-1]:
        rows = m.target.num_rows
        start = image_rows if alive[0] - image_rows >= rows else alive[1]
        alive = (start, start + rows)
        if alive[1] > cfg.act_depth:
            raise AccelError(
                f"layer '{m.layer.name}' does not fit: with its output of {rows} rows the "
                f"activation memory needs {alive[1]} rows, {alive[1] - cfg.act_depth} more than "
                f"act_depth = {cfg.act_depth}"
            )
        bases.append(start * TAPS)
        used = max(used, alive[1])
    if used > cfg.act_depth:
        raise AccelError(
            f"the image does not fit: it needs {used} rows of activation memory, "
            f"{used - cfg.act_depth} more than act_depth = {cfg.act_depth}"
        )
    return [*bases, 0], used


def _read_loops(m: Mapping) -> tuple[Loop, ...]:
    row, channel = m.source.row_stride, m.source.channel_stride
    stride, pool = m.layer.stride, m.pool
    rows, columns = (pool * stride * n for n in m.tile)
    size = 1 if m.channel_mode else 3
    channels = TAPS if m.channel_mode else 1
    kernel_x, kernel_y, num_channels = m.read_counts
    return (
        Loop(kernel_x, size, 0, size),
        Loop(kernel_y, size * row, size, 0),
        Loop(num_channels, channels * channel),
        Loop(pool, stride, 0, stride),
        Loop(pool, stride * row, stride, 0),
        Loop(m.vectors[1], columns, 0, columns),
        Loop(m.vectors[0], rows * row, rows, 0),
        Loop(m.num_groups),
    )


def _pixel_offsets(m: Mapping) -> tuple[Loop, Loop]:
    """What bits 0 and 1 of a pixel group's number add to its addresses."""
    step, none = m.pool * m.layer.stride, Loop()
    next_row, next_column = Loop(1, step * m.source.row_stride, step, 0), Loop(1, step, 0, step)
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


def _describe(
    m: Mapping,
    cfg: AccelConfig,
    *,
    source_base: int,
    target_base: int,
    weight_base: int,
    param_base: int,
    safe_steps: int,
    first: bool,
    last: bool,
) -> LayerDescriptor:
    layer = m.layer
    padding = layer.padding
    lo, hi = layer.output_range
    origin = source_base - padding * (m.source.row_stride + 1)
    read_q, read_r = divmod(origin, TAPS)
    write_q, write_r = divmod(target_base, TAPS)
    channels_left = m.target.channels - (m.num_groups - 1) * m.channels_per_group
    beats = m.channels_per_group // cfg.num_lanes
    last_beats = -(-channels_left // cfg.num_lanes)
    one_pixel = m.pixels == 1
    return LayerDescriptor(
        read_loops=_read_loops(m),
        pixel_offsets=_pixel_offsets(m),
        write_loops=_write_loops(m),
        read_q=read_q,
        read_r=read_r,
        padding=padding,
        height=m.source.height,
        width=m.source.width,
        pad_value=layer.input.zero_point,
        signed=int(layer.input.signed),
        channel_mode=int(m.channel_mode),
        reload=int(m.steps_per_output > cfg.spad_depth),
        frees_input=int(first),
        tap_q=(m.source.channel_stride if m.channel_mode else m.source.row_stride) // TAPS,
        weight_base=weight_base,
        safe_steps=safe_steps,
        last_rows=(m.kernel[0] - 1) % 3 + 1,
        last_columns=(m.kernel[1] - 1) % 3 + 1,
        last_channels=(m.source.channels - 1) % TAPS + 1,
        param_beats=cfg.num_beats - 1,
        param_last_beats=(last_beats if one_pixel else cfg.num_beats) - 1,
        param_vectors=m.vectors_per_group - 1,
        param_groups=m.num_groups - 1,
        param_base=param_base,
        zero_point=layer.output.zero_point,
        lo=lo,
        hi=hi,
        write_q=write_q,
        write_r=write_r,
        lane_q=m.target.channel_stride // TAPS,
        write_beats=beats - 1,
        write_last_beats=last_beats - 1,
        last_lanes=channels_left - (last_beats - 1) * cfg.num_lanes,
        to_result=int(last),
        out_signed=int(layer.output.signed),
        pixel_row_q=m.target.row_stride // TAPS,
        pixel_x=m.tile[1] - 1,
        pixel_y=m.tile[0] - 1,
        drop_x=m.target.width % m.tile[1],
        drop_y=m.target.height % m.tile[0],
        drop_beats=0 if one_pixel else beats - last_beats,
    )


def _describe_input(tensor: Tensor, source: Shape, base: int) -> list[int]:
    channels, height, width = image_shape(tensor.shape)
    words = -(-width // BYTES_PER_WORD)
    return InputDescriptor(
        base=base,
        loops=(
            Loop(words, BYTES_PER_WORD),
            Loop(height, source.row_stride),
            Loop(channels, source.channel_stride),
        ),
        last_bytes=width - (words - 1) * BYTES_PER_WORD,
    ).encode()


def _safe_steps(producer: Mapping, consumer: Mapping, base: int, cfg: AccelConfig) -> int:
    """Steps of ``consumer`` before the first that reads what may still be in flight.

    When its first step is issued, all steps of ``producer`` have been; the outputs that have not
    reached memory are its last ones, and no more of them than the pipeline has places for.
    """
    spacing = producer.steps_per_output * producer.pool**2
    beats = cfg.num_beats
    if producer.pixels == 1:
        left = producer.target.channels % cfg.num_cols or cfg.num_cols
        beats = -(-left // cfg.num_lanes)
    in_flight = -(-FRONT_STEPS // spacing) + MIDDLE_VECTORS + -(-BACK_BEATS // beats)

    # When each byte is written, counted in vectors of the producer.
    shape = producer.target
    order = np.full((consumer.source.num_rows + 1) * TAPS, -1, np.int64)
    y, x = np.divmod(np.arange(shape.height * shape.width), shape.width)
    at = y * shape.row_stride + x
    vector = y // producer.tile[0] * producer.vectors[1] + x // producer.tile[1]
    for c in range(shape.channels):
        group = c // producer.channels_per_group
        order[c * shape.channel_stride + at] = group * producer.vectors_per_group + vector
    in_flight_from = producer.num_groups * producer.vectors_per_group - in_flight

    # What each step of the consumer's first group reads; the others read the same again.
    loops = _read_loops(consumer)[:-1]
    source, padding = consumer.source, consumer.layer.padding
    step = consumer.pool * consumer.layer.stride
    y, x = offsets(loops, "dy") - padding, offsets(loops, "dx") - padding
    channel = offsets(
        tuple(
            Loop(loop.count, (TAPS if consumer.channel_mode else 1) if i == 2 else 0)
            for i, loop in enumerate(loops)
        )
    )
    unsafe = np.zeros(y.size, bool)
    for pixel_y, pixel_x in np.ndindex(consumer.tile):
        for t in range(TAPS):
            dy, dx, dc = (0, 0, t) if consumer.channel_mode else (t // 3, t % 3, 0)
            tap_y, tap_x = y + step * pixel_y + dy, x + step * pixel_x + dx
            tap_channel = channel + dc
            inside = (
                (tap_y >= 0)
                & (tap_y < source.height)
                & (tap_x >= 0)
                & (tap_x < source.width)
                & (tap_channel < source.channels)
            )
            byte = tap_channel * source.channel_stride + tap_y * source.row_stride + tap_x
            unsafe |= inside & (order[np.where(inside, byte, 0)] >= in_flight_from)
    return int(np.argmax(unsafe)) if unsafe.any() else MAX_SAFE_STEPS


def _weight_beats(m: Mapping, cfg: AccelConfig) -> list[int]:
    """Weight words as 64-bit beats, byte 9*column + tap of a word in byte order."""
    words = m.weights.reshape(-1, cfg.num_multipliers).view(np.uint8)
    padded = np.zeros((words.shape[0], cfg.weight_word_beats * BYTES_PER_WORD), np.uint8)
    padded[:, : words.shape[1]] = words
    return padded.view("<u8").ravel().tolist()


def _param_beats(m: Mapping, cfg: AccelConfig) -> list[int]:
    """Multiplier and bias of each output channel; ones and zeros fill up the last group."""
    channels, columns = m.target.channels, m.channels_per_group
    num = m.num_groups * columns
    multiplier, bias = np.full(num, 0x3F800000, np.uint64), np.zeros(num, np.uint64)
    multiplier[:channels] = m.layer.multiplier.astype(np.float32).view(np.uint32)
    bias[:channels] = (m.layer.folded_bias & 0xFFFFFFFF).astype(np.uint64)
    beats = (multiplier << np.uint64(32) | bias).reshape(m.num_groups, columns)
    return np.tile(beats, (1, m.pixels)).ravel().tolist()


def _output_bytes(m: Mapping, cfg: AccelConfig) -> NDArray[np.int64]:
    """Byte of each output element in the results: beats of num_lanes bytes, in order."""
    columns = m.channels_per_group
    pixels, full = m.target.height * m.target.width, columns // cfg.num_lanes
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
