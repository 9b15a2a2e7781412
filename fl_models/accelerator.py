"""The accelerator, functional: what comes out, from the very words that the RTL is given."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymtl3 import Component, OutPort, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.hardware.config import BUS_NBITS, TAPS, AccelConfig
from accel.hardware.descriptors import BYTES_PER_WORD, LayerDescriptor
from accel.hardware.messages import Terms
from accel.hardware.packets import ProgramMemory
from accel.hardware.status import TRAFFIC
from accel.hardware.walk import (
    Reads,
    groups_read_alike,
    num_groups,
    offsets,
    operand_reads,
    output_channels,
    pixels_per_vector,
    reads,
    steps_per_sum,
    steps_per_window,
    used_windows,
    vectors_per_group,
    write_pixels,
)
from accel.numerics import requantize, wrap
from fl_models.adder import add_terms
from fl_models.tables import look_up


class AcceleratorCoreFL:
    """Program words in, image words in, result words out; many images at once."""

    def __init__(self, cfg: AccelConfig) -> None:
        self.cfg = cfg
        self.program = ProgramMemory(cfg)

    def load(self, words: Sequence[int]) -> None:
        """Take words of the program stream."""
        for word in words:
            self.program.take(word)

    @property
    def image_words(self) -> int:
        """Words of one image, as the input descriptor says."""
        assert self.program.input is not None
        return offsets(self.program.input.loops).size

    def run(self, image_words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Result words (N, result_words) of images (N, image_words)."""
        memory = np.zeros((image_words.shape[0], TAPS * self.cfg.act_depth), np.uint8)
        self._load_images(memory, image_words)
        last = self.program.last_layer
        for i in range(last):
            self._run_layer(memory, i)
        return self._run_layer(memory, last)

    def run_layers(self, image_words: NDArray[np.uint64]) -> list[NDArray[np.uint8]]:
        """The activation memory after each layer but the last: (N, 9 * act_depth) each."""
        memory = np.zeros((image_words.shape[0], TAPS * self.cfg.act_depth), np.uint8)
        self._load_images(memory, image_words)
        after = []
        for i in range(self.program.last_layer):
            self._run_layer(memory, i)
            after.append(memory.copy())
        return after

    def _load_images(self, memory: NDArray[np.uint8], words: NDArray[np.uint64]) -> None:
        source = self.program.input
        assert source is not None
        start = source.base + offsets(source.loops)
        data = np.ascontiguousarray(words.astype("<u8")).view(np.uint8)
        data = data.reshape(words.shape[0], start.size, BYTES_PER_WORD)
        used = np.full(start.size, BYTES_PER_WORD)
        used[source.loops[0].count - 1 :: source.loops[0].count] = source.last_bytes
        for byte in range(BYTES_PER_WORD):
            rows = used > byte
            memory[:, start[rows] + byte] = data[:, rows, byte]

    def _run_layer(self, memory: NDArray[np.uint8], i: int) -> Any:
        d = self.program.layers[i]
        pooled = self._pool(d, self._sums(memory, i))
        channels = output_channels(d, self.cfg.num_lanes)
        added = [self._added(d, memory, g) for g in range(len(channels))] if d.adds else []
        results = []
        channel_stride = TAPS * d.lane_row + 1
        offset, inside = write_pixels(d)
        pixel = offset[inside]
        for g, valid in enumerate(channels):
            beats = d.param_last_beats if g == len(channels) - 1 else d.param_beats
            cols = beats * self.cfg.num_lanes
            at = d.param_base + g * d.param_beats
            bias = self.program.biases[at : at + beats].ravel()
            bits = self.program.multipliers[at : at + beats].ravel()
            multiplier = bits.astype(np.uint32).view(np.float32)
            acc = wrap(pooled[:, :, g, :cols] + bias, self.cfg.acc_nbits)
            away = bool(d.ties_away)
            y = requantize(acc, multiplier, d.zero_point, d.lo, d.hi, away)
            if d.looks_up:
                y = look_up(y, self.program.tables[d.table_index], bool(d.table_signed))
            if d.adds:
                y = add_terms(y, added[g][..., :cols], Terms.of(d))
            y = self._pixels(d, y)
            if d.to_result:
                y[:, :, valid:] = 0
                filled = -(-valid // self.cfg.num_lanes) * self.cfg.num_lanes
                results.append(y[:, :, :filled].reshape(y.shape[0], -1))
                continue
            start = TAPS * d.write_row + d.write_bank + g * d.write_loops[-1].stride
            address = start + pixel[:, None] + np.arange(valid) * channel_stride
            memory[:, address % memory.shape[1]] = y[:, :, :valid] & 0xFF
        return self._result_words(d, np.concatenate(results, 1), channels) if d.to_result else None

    def _added(
        self, d: LayerDescriptor, memory: NDArray[np.uint8], group: int
    ) -> NDArray[np.int64]:
        """What is added to the vectors of a group of output channels, (N, vectors, num_cols)."""
        at = operand_reads(d, self.cfg, group).address % memory.shape[1]
        values = memory[:, at]
        return (values.view(np.int8) if d.operand_signed else values).astype(np.int64)

    def _pixels(self, d: LayerDescriptor, y: NDArray[np.int64]) -> NDArray[np.int64]:
        """Vectors (N, vectors, columns) as pixels (N, outputs, channels) in the order in which they
        are put away, without those that lie beyond the feature map."""
        channels = y.shape[2] // pixels_per_vector(d)
        return y.reshape(y.shape[0], -1, channels)[:, write_pixels(d)[1]]

    def _sums(self, memory: NDArray[np.uint8], i: int) -> NDArray[np.int64]:
        """Sums (N, outputs before pooling, groups, num_cols) of layer ``i``."""
        d = self.program.layers[i]
        groups = np.arange(num_groups(d))
        # What all groups of output channels read is read once.
        together = [groups] if groups_read_alike(d) else np.split(groups, len(groups))
        sums = []
        for part in together:
            taps = reads(d, self.cfg.pixel_groups, int(part[0]))
            operands = self._operands(d, memory, taps)
            if d.column_windows:
                operands = column_windows(d, operands)
            self._count(i, operands, taps, len(part))
            sums.append(self._accumulate(d, operands, part))
        pixels, channels = write_pixels(d)[1].sum(), sum(output_channels(d, self.cfg.num_lanes))
        added = d.adds * num_groups(d) * vectors_per_group(d) * self.cfg.num_cols
        self._add(
            i,
            result_bytes=len(memory) * int(pixels) * channels,
            activation_bytes=len(memory) * added,
        )
        return np.concatenate(sums, axis=2)

    def _operands(
        self, d: LayerDescriptor, memory: NDArray[np.uint8], taps: Reads
    ) -> NDArray[np.float64]:
        """Activations (N, steps, pixel_groups, 9)."""
        # As the hardware's addresses do, wrong ones wrap.
        values = memory[:, np.where(taps.inside, taps.address % memory.shape[1], 0)]
        operands = (values.view(np.int8) if d.signed else values).astype(np.float64)
        operands[:, ~taps.inside] = 0
        operands[:, taps.padding] = d.pad_value
        return operands

    def _count(self, i: int, operands: NDArray[np.float64], taps: Reads, groups: int) -> None:
        """Traffic of layer ``i`` for ``groups`` groups of output channels that read the same."""
        d, n = self.program.layers[i], len(operands)
        loads = operands.shape[1] if d.reload else steps_per_sum(d)
        gated = operands.size - int(np.count_nonzero(operands)) if self.cfg.zero_gating else 0
        if self.cfg.line_width and not d.column_windows:
            # Each column has these operands for its own.
            gated *= self.cfg.group_cols
        self._add(
            i,
            weight_words=n * groups * loads,
            activation_bytes=n * groups * int(taps.inside.sum()),
            gated_taps=groups * gated,
        )

    def _add(self, i: int, **counted: int) -> None:
        """To the counters of layer ``i``."""
        for name, count in counted.items():
            self.program.traffic[i][TRAFFIC.index(name)] += count

    def _accumulate(
        self, d: LayerDescriptor, x: NDArray[np.float64], groups: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Sums (N, outputs before pooling, groups, num_cols) of operands (N, outputs before pooling
        * steps of a sum, sets of operands, 9); float64 holds them exactly."""
        steps, (n, _, sets, _) = steps_per_sum(d), x.shape
        first = d.weight_base + int(groups[0]) * steps
        words = self.program.weights[first : first + len(groups) * steps]
        cols = self.cfg.num_cols // sets
        sums = []
        for p in range(sets):
            w = words[:, p * cols : (p + 1) * cols].reshape(len(groups), steps, cols, TAPS)
            # One column of the product for each group and column, one row for each step and tap
            w = w.transpose(1, 3, 0, 2).reshape(steps * TAPS, -1).astype(float)
            acc = x[:, :, p].reshape(-1, steps * TAPS) @ w
            sums.append(acc.astype(np.int64).reshape(n, -1, len(groups), cols))
        return wrap(np.concatenate(sums, axis=3), self.cfg.acc_nbits)

    def _pool(self, d: LayerDescriptor, acc: NDArray[np.int64]) -> NDArray[np.int64]:
        n, _, groups, cols = acc.shape
        window = steps_per_window(d) // steps_per_sum(d)
        return acc.reshape(n, -1, window, groups, cols).max(axis=2)

    def _result_words(
        self, d: LayerDescriptor, y: NDArray[np.int64], channels: list[int]
    ) -> NDArray[np.uint64]:
        """Bytes packed into words, then the winning class among the valid ones."""
        n, size = y.shape
        real = self._real_bytes(d, channels)
        data = np.zeros((n, -(-size // BYTES_PER_WORD) * BYTES_PER_WORD), np.uint8)
        data[:, :size] = y & 0xFF
        winner = np.argmax(y[:, real], axis=1).astype(np.uint64)
        return np.concatenate([data.view("<u8").astype(np.uint64), winner[:, None]], axis=1)

    def _real_bytes(self, d: LayerDescriptor, channels: list[int]) -> NDArray[np.int64]:
        """Positions of bytes that are outputs, not filling, in the order of their beats."""
        pixels = int(write_pixels(d)[1].sum())
        at, real = 0, []
        for valid in channels:
            size = -(-valid // self.cfg.num_lanes) * self.cfg.num_lanes
            for _ in range(pixels):
                real.append(at + np.arange(valid))
                at += size
        return np.concatenate(real)


def column_windows(d: LayerDescriptor, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The windows (N, windows that are used, num_cols, 9) of a raster of pixels (N, height * width,
    pixel_groups, 9), of each of which a column takes a channel."""
    used = used_windows(d)
    channels = pixels[..., : d.last_channels].reshape(len(pixels), *used.shape, -1)
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    padded = np.pad(channels, around, constant_values=d.pad_value)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, used]
    return windows.reshape(*windows.shape[:3], TAPS)


class AcceleratorFL(Component):
    """:class:`AcceleratorCoreFL` with the accelerator's streams: an image's results are offered
    once all its words have come. After an error words are taken and dropped."""

    def construct(s, cfg: AccelConfig) -> None:
        Word = mk_bits(BUS_NBITS)
        s.prog = RecvIfcRTL(Word)
        s.image = RecvIfcRTL(Word)
        s.result = SendIfcRTL(Word)
        s.error = OutPort(4)
        core = AcceleratorCoreFL(cfg)
        image: list[int] = []
        results: deque[int] = deque()

        @update
        def up_ports():
            rest, failed = not image and not results, bool(core.program.error)
            s.prog.rdy @= not core.program.running or rest
            s.image.rdy @= (core.program.running and not results) or failed
            s.error @= int(core.program.error)
            s.result.val @= len(results) > 0
            if results:
                s.result.msg @= results[0]

        @update_ff
        def up_take():
            if s.reset:
                core.program.reset()
                image.clear()
                results.clear()
            else:
                if s.result.val & s.result.rdy:
                    results.popleft()
                if s.prog.val & s.prog.rdy:
                    core.load([int(s.prog.msg)])
                if s.image.val & s.image.rdy and core.program.running:
                    image.append(int(s.image.msg))
                    if len(image) == core.image_words:
                        results.extend(core.run(np.array([image], np.uint64))[0].tolist())
                        image.clear()

    def line_trace(s) -> str:
        return f"{s.prog}|{s.image}>{s.result}"
