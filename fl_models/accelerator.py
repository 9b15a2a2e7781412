"""Functional model of the accelerator: what comes out, from the very words that the RTL is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.config import TAPS, AccelConfig
from accel.numerics import requantize, wrap
from accel.program import (
    BYTES_PER_WORD,
    INPUT_WORDS,
    WORDS_PER_LAYER,
    InputDescriptor,
    LayerDescriptor,
    Packet,
    offsets,
)


class AcceleratorCore:
    """Program words in, image words in, result words out; many images at once."""

    def __init__(self, cfg: AccelConfig) -> None:
        self.cfg = cfg
        self.layers: dict[int, LayerDescriptor] = {}
        self.weights = np.zeros((cfg.weight_depth, cfg.num_cols, TAPS), np.int8)
        self.multiplier = np.zeros((cfg.param_depth, cfg.num_lanes), np.float32)
        self.bias = np.zeros((cfg.param_depth, cfg.num_lanes), np.int64)
        self.input: InputDescriptor | None = None
        self.num_layers = 0

    def load(self, words: Sequence[int]) -> None:
        """Take packets of the program stream, whole ones."""
        cfg = self.cfg
        at = 0
        while at < len(words):
            head = words[at]
            kind, count, address = Packet(head >> 60), head >> 32 & 0xFFFFFF, head & 0xFFFFFF
            at += 1
            match kind:
                case Packet.LAYER:
                    size = WORDS_PER_LAYER
                    self.layers[address] = LayerDescriptor.decode(list(words[at : at + size]))
                case Packet.WEIGHTS:
                    size = count * cfg.weight_word_beats
                    beats = np.array(words[at : at + size], np.uint64).astype("<u8")
                    data = beats.view(np.int8).reshape(count, -1)[:, : cfg.num_multipliers]
                    shape = (count, cfg.num_cols, TAPS)
                    self.weights[address : address + count] = data.reshape(shape)
                case Packet.PARAMS:
                    size = count * cfg.num_lanes
                    pairs = np.array(words[at : at + size], np.uint64).reshape(count, -1)
                    high = (pairs >> np.uint64(32)).astype(np.uint32)
                    self.multiplier[address : address + count] = high.view(np.float32)
                    self.bias[address : address + count] = wrap(pairs.astype(np.int64), 32)
                case Packet.INPUT:
                    size = INPUT_WORDS
                    self.input = InputDescriptor.decode(list(words[at : at + size]))
                case Packet.RUN:
                    size = 0
                    self.num_layers = address
            at += size

    def run(self, image_words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Result words (N, result_words) of images (N, image_words)."""
        memory = np.zeros((image_words.shape[0], TAPS * self.cfg.act_depth), np.uint8)
        self._load_images(memory, image_words)
        for i in range(self.num_layers - 1):
            self._run_layer(memory, i)
        return self._run_layer(memory, self.num_layers - 1)

    def run_layers(self, image_words: NDArray[np.uint64]) -> list[NDArray[np.uint8]]:
        """The activation memory after each layer but the last: (N, 9 * act_depth) each."""
        memory = np.zeros((image_words.shape[0], TAPS * self.cfg.act_depth), np.uint8)
        self._load_images(memory, image_words)
        after = []
        for i in range(self.num_layers - 1):
            self._run_layer(memory, i)
            after.append(memory.copy())
        return after

    def _load_images(self, memory: NDArray[np.uint8], words: NDArray[np.uint64]) -> None:
        assert self.input is not None
        start = self.input.base + offsets(self.input.loops)
        data = np.ascontiguousarray(words.astype("<u8")).view(np.uint8)
        data = data.reshape(words.shape[0], start.size, BYTES_PER_WORD)
        used = np.full(start.size, BYTES_PER_WORD)
        used[self.input.loops[0].count - 1 :: self.input.loops[0].count] = self.input.last_bytes
        for byte in range(BYTES_PER_WORD):
            rows = used > byte
            memory[:, start[rows] + byte] = data[:, rows, byte]

    def _run_layer(self, memory: NDArray[np.uint8], i: int) -> Any:
        d = self.layers[i]
        pooled = self._pool(d, self._accumulate(d, self._operands(d, memory)))
        groups, outputs = d.read_loops[-1].count, pooled.shape[1]
        valid = self._valid_columns(d)
        results = []
        channel = TAPS * d.lane_q + 1
        pixel = offsets(d.write_loops[:-1])
        for g in range(groups):
            beats = (d.param_last_beats if g == groups - 1 else d.param_beats) + 1
            cols = beats * self.cfg.num_lanes
            at = d.param_base + g * (d.param_beats + 1)
            bias = self.bias[at : at + beats].ravel()
            multiplier = self.multiplier[at : at + beats].ravel()
            acc = wrap(pooled[:, :, g, :cols] + bias, self.cfg.acc_nbits)
            y = requantize(acc, multiplier, d.zero_point, d.lo, d.hi)
            if d.to_result:
                y[:, :, valid[g] :] = 0
                results.append(y.reshape(y.shape[0], outputs * cols))
                continue
            start = TAPS * d.write_q + d.write_r + g * d.write_loops[-1].stride
            address = start + pixel[:, None] + np.arange(valid[g]) * channel
            memory[:, address] = y[:, :, : valid[g]] & 0xFF
        return self._result_words(d, np.concatenate(results, 1), valid) if d.to_result else None

    def _valid_columns(self, d: LayerDescriptor) -> list[int]:
        full = (d.write_beats + 1) * self.cfg.num_lanes
        last = d.write_last_beats * self.cfg.num_lanes + d.last_lanes
        return [full] * (d.write_loops[-1].count - 1) + [last]

    def _operands(self, d: LayerDescriptor, memory: NDArray[np.uint8]) -> NDArray[np.float64]:
        """What the taps read: (N, outputs before pooling * steps of an output, 9)."""
        loops = d.read_loops[:-1]
        y, x = offsets(loops, "dy") - d.padding, offsets(loops, "dx") - d.padding
        tap = np.arange(TAPS)
        if d.channel_mode:
            dy = dx = np.zeros(TAPS, np.int64)
            reach = tap * (TAPS * d.tap_q + 1)
        else:
            dy, dx = tap // 3, tap % 3
            reach = dy * (TAPS * d.tap_q + 3) + dx
        y, x = y[:, None] + dy, x[:, None] + dx
        inside = (y >= 0) & (y < d.height) & (x >= 0) & (x < d.width)
        address = TAPS * d.read_q + d.read_r + offsets(loops)[:, None] + reach
        values = memory[:, np.where(inside, address, 0) % memory.shape[1]]
        operands = (values.view(np.int8) if d.signed else values).astype(np.float64)
        operands[:, ~inside] = d.pad_value
        return operands

    def _accumulate(self, d: LayerDescriptor, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Sums (N, outputs before pooling, groups, num_cols); float64 holds them exactly."""
        steps = int(np.prod([loop.count for loop in d.read_loops[:3]]))
        groups = d.read_loops[-1].count
        n, cols = x.shape[0], self.cfg.num_cols
        words = self.weights[d.weight_base : d.weight_base + groups * steps]
        w = words.reshape(groups, steps, cols, TAPS).transpose(1, 3, 0, 2)
        acc = x.reshape(-1, steps * TAPS) @ w.reshape(steps * TAPS, groups * cols).astype(float)
        return wrap(acc.astype(np.int64), self.cfg.acc_nbits).reshape(n, -1, groups, cols)

    def _pool(self, d: LayerDescriptor, acc: NDArray[np.int64]) -> NDArray[np.int64]:
        n, _, groups, cols = acc.shape
        size = d.read_loops[3].count * d.read_loops[4].count
        return acc.reshape(n, -1, size, groups, cols).max(axis=2)

    def _result_words(
        self, d: LayerDescriptor, y: NDArray[np.int64], valid: list[int]
    ) -> NDArray[np.uint64]:
        """Bytes packed into words, then the winning class among the valid ones."""
        n, size = y.shape
        real = self._real_bytes(d, valid)
        data = np.zeros((n, -(-size // BYTES_PER_WORD) * BYTES_PER_WORD), np.uint8)
        data[:, :size] = y & 0xFF
        winner = np.argmax(y[:, real], axis=1).astype(np.uint64)
        return np.concatenate([data.view("<u8").astype(np.uint64), winner[:, None]], axis=1)

    def _real_bytes(self, d: LayerDescriptor, valid: list[int]) -> NDArray[np.int64]:
        """Positions of bytes that are outputs, not filling, in the order of their beats."""
        pixels = d.write_loops[0].count * d.write_loops[1].count
        at, real = 0, []
        for v in valid:
            size = -(-v // self.cfg.num_lanes) * self.cfg.num_lanes
            for _ in range(pixels):
                real.append(at + np.arange(v))
                at += size
        return np.concatenate(real)
