"""Packets of the program stream, and the memories that they fill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from accel.hardware.config import TABLE_SIZE, TAPS, AccelConfig
from accel.hardware.descriptors import (
    BYTES_PER_WORD,
    INPUT_WORDS,
    WORDS_PER_LAYER,
    InputDescriptor,
    LayerDescriptor,
)
from accel.hardware.fields import Field
from accel.hardware.status import TRAFFIC, ProgramError

KIND = Field(name="kind", low=60, nbits=4, meaning="what follows")
COUNT = Field(name="count", low=32, nbits=28, meaning="words of the memory; else ignored")
ADDRESS = Field(name="address", low=0, nbits=32, meaning="where to; ignored by INPUT")
HEADER = (KIND, COUNT, ADDRESS)
"""The first word of a packet."""

MULTIPLIER = Field(name="multiplier", low=32, nbits=32, meaning="the bits of a float32")
BIAS = Field(name="bias", low=0, nbits=32, signed=True, meaning="an int32")
PARAM = (MULTIPLIER, BIAS)
"""A beat of the parameter memory: what one lane of the requantizer needs for one channel."""
ENTRY = Field(name="entry", low=0, nbits=8, meaning="what is found for a byte")
"""Of a table."""


class Packet(IntEnum):
    """Kinds of packets on the program stream."""

    LAYER = 1
    """The descriptor of layer ``address``."""
    WEIGHTS = 2
    """``count`` words of the weight memory from ``address`` on, each as 64-bit beats, lowest first;
    byte 9*column + tap."""
    PARAMS = 3
    """``count`` words of the parameter memory from ``address`` on, ``num_lanes`` beats each:
    multiplier and bias."""
    INPUT = 4
    """The descriptor of the image: how its words fall into memory."""
    RUN = 5
    """Nothing: run layers 0 to ``address`` - 1 for each image from now on."""
    TABLE = 6
    """``count`` entries of the tables from ``address`` on, a word each: entry 256*t + b is what
    table t has for the byte b. Of a configuration without tables no packet is of this kind."""


def header(kind: Packet, address: int = 0, count: int = 0) -> int:
    """The first word of a packet."""
    return KIND.put(kind) | COUNT.put(count) | ADDRESS.put(address)


def payload_words(kind: int, count: int, cfg: AccelConfig) -> int:
    """Words that follow such a header; none where the kind is unknown."""
    match kind:
        case Packet.LAYER:
            return WORDS_PER_LAYER
        case Packet.WEIGHTS:
            return count * cfg.weight_word_beats
        case Packet.PARAMS:
            return count * cfg.num_lanes
        case Packet.INPUT:
            return INPUT_WORDS
        case Packet.TABLE:
            return count if cfg.tables else 0
    return 0


class Opened(NamedTuple):
    """A packet, taken apart; ``num_words`` is its header's ``count``."""

    kind: int
    num_words: int
    address: int
    payload: list[int]


def packets(words: Sequence[int], cfg: AccelConfig) -> Iterator[Opened]:
    """The packets of a whole program for ``cfg``."""
    at = 0
    while at < len(words):
        kind, count, address = (f.get(words[at]) for f in HEADER)
        end = at + 1 + payload_words(kind, count, cfg)
        yield Opened(kind, count, address, list(words[at + 1 : end]))
        at = end


class ProgramMemory:
    """What the program stream fills, word by word; for models of the hardware.

    weights: int8 (weight_depth, num_cols, 9). multipliers: float32 patterns (param_depth,
    num_lanes). biases: int64 (param_depth, num_lanes). tables: int64 (tables, 256), from 0 to 255.
    traffic: the counters of :data:`TRAFFIC` of each layer, which start at zero when its descriptor
    is loaded.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.cfg = cfg
        self.layers: dict[int, LayerDescriptor] = {}
        self.traffic: dict[int, list[int]] = {}
        self.weights = np.zeros((cfg.weight_depth, cfg.num_cols, TAPS), np.int8)
        self.multipliers = np.zeros((cfg.param_depth, cfg.num_lanes), np.int64)
        self.biases = np.zeros((cfg.param_depth, cfg.num_lanes), np.int64)
        self.tables = np.zeros((cfg.tables, TABLE_SIZE), np.int64)
        self.input: InputDescriptor | None = None
        self.depths = {Packet.WEIGHTS: cfg.weight_depth, Packet.PARAMS: cfg.param_depth}
        """Words of the memories that packets of a count fill."""
        if cfg.tables:
            self.depths[Packet.TABLE] = self.tables.size
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
            self._take_header(*(f.get(word) for f in HEADER))
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
        self.missing = payload_words(kind, count, self.cfg)
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
            case Packet.WEIGHTS | Packet.PARAMS | Packet.TABLE if kind in self.depths:
                depth = self.depths[Packet(kind)]
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

    def _store(self, kind: int, address: int, words: list[int]) -> None:
        cfg = self.cfg
        if kind == Packet.LAYER:
            self.layers[address] = LayerDescriptor.decode(words).seen_by(cfg)
            self.traffic[address] = [0] * len(TRAFFIC)
        elif kind == Packet.INPUT:
            self.input = InputDescriptor.decode(words)
        elif kind == Packet.WEIGHTS:
            data = np.array(words, np.uint64).astype("<u8").view(np.int8)
            data = data.reshape(-1, cfg.weight_word_beats * BYTES_PER_WORD)
            weights = data[:, : cfg.num_multipliers].reshape(-1, cfg.num_cols, TAPS)
            self.weights[address : address + len(weights)] = weights
        elif kind == Packet.PARAMS:
            shape = (-1, cfg.num_lanes)
            for memory, field in ((self.multipliers, MULTIPLIER), (self.biases, BIAS)):
                values = np.array([field.get(word) for word in words], np.int64).reshape(shape)
                memory[address : address + len(values)] = values
        elif kind == Packet.TABLE:
            self.tables.flat[address : address + len(words)] = [ENTRY.get(word) for word in words]
