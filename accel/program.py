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
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.config import BUS_NBITS, TAPS, AccelConfig
from accel.errors import AccelError
from accel.network import Tensor

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


class Packet(IntEnum):
    """Kinds of packets on the program stream: ``kind << 60 | count << 32 | address``.

    ``count`` has 28 bits and ``address`` 32; where a kind does not name them they are ignored."""

    LAYER = 1
    """One descriptor, 18 words, to program memory at layer ``address``."""
    WEIGHTS = 2
    """``count`` words of the weight memory from ``address`` on, each as its 64-bit beats."""
    PARAMS = 3
    """``count`` words of the parameter memory from ``address`` on, ``num_lanes`` beats each:
    the multiplier's float32 pattern in the upper half, the bias (int32) in the lower."""
    INPUT = 4
    """The input descriptor, 4 words."""
    RUN = 5
    """No payload: run layers 0 to ``address`` - 1 for each image from now on."""


def header(kind: Packet, address: int = 0, count: int = 0) -> int:
    return kind << 60 | count << 32 | address


class ProgramError(IntEnum):
    """What was wrong with a program: the accelerator's ``error`` port.

    The first error stays until reset. Until then words of the program and of images are taken and
    dropped, so that no transfer of the host's hangs, and nothing is computed. After reset the whole
    program has to be loaded: descriptors from before are not taken for this one's.
    """

    NONE = 0
    KIND = 1
    """No packet is of this kind."""
    COUNT = 2
    """A WEIGHTS or PARAMS packet of no words."""
    ADDRESS = 3
    """The packet goes beyond the memory that it names."""
    LAYERS = 4
    """RUN with no layer, or with more than there can be."""
    MISSING = 5
    """RUN with a layer whose descriptor has not come since reset, or before the INPUT packet."""
    STUCK = 6
    """Nothing has moved for ``WATCHDOG_CYCLES`` cycles though no one waits for the host: the
    descriptors contradict one another."""


WATCHDOG_CYCLES = 1024
"""A power of two, and many times what any two transfers within the accelerator are apart."""


class Activity(IntEnum):
    """What the accelerator's issue stage does in a cycle (its ``activity`` port): it issues a step,
    or something keeps it from doing so."""

    IDLE = 0
    """No program runs."""
    STEP = 1
    """A step was issued: every multiplier of the array has work."""
    HANDOVER = 2
    """The next layer's descriptor is taken up."""
    FILL = 3
    """The step would read what the layer before has not written yet, and that layer's last step has
    not reached the multipliers."""
    DRAIN = 4
    """The same, and that step is in the array's adders and accumulators."""
    REQUANTIZER = 5
    """The same, and it has left the array; or the requantizer takes no more vectors."""
    MEMORY = 6
    """Waits for an image whose next word waits for the activation memory: outputs are written in
    this cycle, or the last image is still being read."""
    INPUT = 7
    """Waits for an image whose next word has not come."""
    OUTPUT = 8
    """The pipeline is blocked: results are not taken, or a layer's last one was just put away."""


TRAFFIC = ("weight_words", "activation_bytes", "gated_taps", "result_bytes")
"""What the hardware counts for each layer, from the loading of its descriptor on: words read from
the weight memory; bytes read from the activation memories; taps that were gated, each of which kept
``group_cols`` multipliers from switching; bytes of output."""

TRAFFIC_NBITS = 48
"""Width of a counter."""

STREAMS = ("step", "acc", "pooled", "param", "out")
"""Streams between the units, as the port ``streams`` shows them: val in bit 2i, rdy in
bit 2i + 1."""


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


class ProgramMemory:
    """What the program stream fills, word by word; for models of the hardware.

    weights: int8 (weight_depth, num_cols, 9). multipliers: float32 patterns (param_depth,
    num_lanes). biases: int64 (param_depth, num_lanes). traffic: the counters of :data:`TRAFFIC` of
    each layer, which start at zero when its descriptor is loaded.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.cfg = cfg
        self.layers: dict[int, LayerDescriptor] = {}
        self.traffic: dict[int, list[int]] = {}
        self.weights = np.zeros((cfg.weight_depth, cfg.num_cols, TAPS), np.int8)
        self.multipliers = np.zeros((cfg.param_depth, cfg.num_lanes), np.int64)
        self.biases = np.zeros((cfg.param_depth, cfg.num_lanes), np.int64)
        self.input: InputDescriptor | None = None
        self.reset()

    def reset(self) -> None:
        """No program runs, no packet is open, and no descriptor counts as loaded; contents stay."""
        self.running = False
        self.error = ProgramError.NONE
        self.last_layer = 0
        self._loaded: set[int] = set()
        self._has_input = False
        self.missing = 0
        """Words that the open packet still lacks."""
        self._words: list[int] = []
        self._kind = self._address = 0

    def take(self, word: int) -> None:
        """The next word of the program stream: a header, or a word of the open packet. After an
        error it is dropped."""
        if self.error:
            return
        if not self.missing:
            self._take_header(word >> 60, word >> 32 & 0xFFFFFFF, word & 0xFFFFFFFF)
            return
        self._words.append(word)
        self.missing -= 1
        if not self.missing:
            self._store(self._kind, self._address, self._words)
            self._words = []

    def layer_after(self, layer: int) -> int:
        """The layer that runs after ``layer``: after the last one, the next image's first."""
        return 0 if layer == self.last_layer else layer + 1

    def _take_header(self, kind: int, count: int, address: int) -> None:
        self.error = self._check(kind, count, address)
        self.running = kind == Packet.RUN and not self.error
        if self.error:
            return
        self._kind, self._address = kind, address
        self.missing = self._payload(kind, count)
        if kind == Packet.RUN:
            self.last_layer = address - 1
        elif kind == Packet.LAYER:
            self._loaded.add(address)
        elif kind == Packet.INPUT:
            self._has_input = True

    def _check(self, kind: int, count: int, address: int) -> ProgramError:
        """What is wrong with a header."""
        cfg = self.cfg
        match kind:
            case Packet.LAYER:
                wrong = address >= cfg.max_layers
                return ProgramError.ADDRESS if wrong else ProgramError.NONE
            case Packet.WEIGHTS | Packet.PARAMS:
                depth = cfg.weight_depth if kind == Packet.WEIGHTS else cfg.param_depth
                if not count:
                    return ProgramError.COUNT
                return ProgramError.ADDRESS if address + count > depth else ProgramError.NONE
            case Packet.INPUT:
                return ProgramError.NONE
            case Packet.RUN:
                if not 1 <= address <= cfg.max_layers:
                    return ProgramError.LAYERS
                complete = self._has_input and self._loaded.issuperset(range(address))
                return ProgramError.NONE if complete else ProgramError.MISSING
        return ProgramError.KIND

    def _payload(self, kind: int, count: int) -> int:
        match kind:
            case Packet.LAYER:
                return WORDS_PER_LAYER
            case Packet.WEIGHTS:
                return count * self.cfg.weight_word_beats
            case Packet.PARAMS:
                return count * self.cfg.num_lanes
            case Packet.INPUT:
                return INPUT_WORDS
        return 0

    def _store(self, kind: int, address: int, words: list[int]) -> None:
        cfg = self.cfg
        if kind == Packet.LAYER:
            self.layers[address] = LayerDescriptor.decode(words)
            self.traffic[address] = [0] * len(TRAFFIC)
        elif kind == Packet.INPUT:
            self.input = InputDescriptor.decode(words)
        elif kind == Packet.WEIGHTS:
            data = np.array(words, np.uint64).astype("<u8").view(np.int8)
            data = data.reshape(-1, cfg.weight_word_beats * BYTES_PER_WORD)
            weights = data[:, : cfg.num_multipliers].reshape(-1, cfg.num_cols, TAPS)
            self.weights[address : address + len(weights)] = weights
        elif kind == Packet.PARAMS:
            pairs = np.array(words, np.uint64).reshape(-1, cfg.num_lanes)
            biases = (pairs & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)
            self.multipliers[address : address + len(pairs)] = pairs >> np.uint64(32)
            self.biases[address : address + len(pairs)] = biases


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


@dataclass(frozen=True, kw_only=True)
class ProgramLayer:
    """What a report says of a layer, and what it needs at least."""

    name: str
    kind: str
    macs: int
    steps: int
    weight_words: int
    """Words read from the weight memory for one image."""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Where a layer's input lies in the activation memory. The image, the first layer's, is there
    all the time; any other from its writer, the layer before, until its reader has ended."""

    name: str
    shape: tuple[int, ...]
    first_row: int
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class Program:
    """A network compiled for a configuration."""

    cfg: AccelConfig
    words: tuple[int, ...]
    """The program stream: packets of 64-bit words."""
    layers: tuple[ProgramLayer, ...]
    input: Tensor
    output: Tensor
    output_bytes: NDArray[np.int64]
    """For each output element in C order, its byte among those of the result words."""
    act_rows: int
    """Rows of the activation memory in use."""
    weight_words: int
    """Words of the weight memory in use."""
    param_words: int
    """Words of the parameter memory in use."""
    tensors: tuple[StoredTensor, ...]
    """The input of each layer."""
    max_accumulator: int
    """Proven bound of any accumulator's magnitude."""

    @property
    def steps(self) -> int:
        return sum(layer.steps for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def image_words(self) -> int:
        channels, height, width = image_shape(self.input.shape)
        return channels * height * -(-width // BYTES_PER_WORD)

    @property
    def result_words(self) -> int:
        """Words of one image's result: packed outputs, and the winning class."""
        return -(-(int(self.output_bytes.max()) + 1) // BYTES_PER_WORD) + 1

    def quantize(self, images: NDArray[Any]) -> NDArray[np.int64]:
        """What the network takes: integers (N, *input.shape) as they are, float32 quantized.

        Raises :class:`AccelError` for images of another shape, type or range.
        """
        images = np.asarray(images)
        shape = self.input.shape
        if images.shape[1:] != shape or images.dtype.kind not in "iuf":
            raise AccelError(
                f"images must be numbers of shape (N, {', '.join(map(str, shape))}), "
                f"not {images.dtype} {images.shape}"
            )
        if images.dtype.kind == "f":
            if not np.isfinite(images).all():
                raise AccelError("images must be finite, but some value is infinite or no number")
            t = self.input
            return numerics.quantize(images, t.scale, t.zero_point, t.signed)
        lo, hi = self.input.limits
        if images.size and not lo <= images.min() <= images.max() <= hi:
            raise AccelError(
                f"quantized images must hold values from {lo} to {hi}, "
                f"not {images.min()} to {images.max()}"
            )
        return images.astype(np.int64)

    def pack_images(self, images: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Image words: each row of each channel starts a word, pixel x in byte x mod 8.

        images: (N, *input.shape) of quantized values. Returns (N, image_words).
        """
        channels, height, width = image_shape(self.input.shape)
        padded = -(-width // BYTES_PER_WORD) * BYTES_PER_WORD
        rows = np.zeros((len(images), channels, height, padded), np.uint8)
        rows[..., :width] = (images & 0xFF).reshape(-1, channels, height, width)
        return rows.reshape(len(images), -1).view("<u8").astype(np.uint64)

    def unpack_results(
        self, words: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Outputs (N, *output.shape), and the index of the winning one (N,), from result words
        (N, result_words)."""
        n = len(words)
        data = np.ascontiguousarray(words.astype("<u8")).view(np.uint8).reshape(n, -1)
        values = data[:, self.output_bytes]
        outputs = (values.view(np.int8) if self.output.signed else values).astype(np.int64)
        # The hardware counts outputs in the order in which they come.
        winners = np.argsort(self.output_bytes)[words[:, -1].astype(np.int64)]
        return outputs.reshape(n, *self.output.shape), winners


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """How a tensor of that shape crosses the image stream: (channels, rows, columns). A vector is
    one row."""
    if len(shape) == 1 or shape[1:] == (1, 1):
        return 1, 1, shape[0]
    channels, height, width = shape
    return channels, height, width
