"""Faults of the compiler: in the words of a program, and in the source of the passes."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.hardware.config import TABLE_SIZE, AccelConfig, base, wide
from accel.hardware.descriptors import FIELDS, INPUT_FIELDS, LayerDescriptor
from accel.hardware.fields import Field
from accel.hardware.packets import BIAS, HEADER, Packet, packets
from accel.network.graph import Network
from accel.operations import AvgPool2d, MaxPool2d
from tests.networks import (
    Conv,
    Linear,
    joining_network,
    random_network,
    residual_network,
    table_network,
)
from tests.system.hardware.test_operations import conv2d, tensor

NETWORKS: dict[str, tuple[tuple[int, ...], list[Conv | Linear], bool]] = {
    "pooled": (
        (2, 9, 8),
        [
            Conv(11, (3, 3), padding=1, pool=True), Conv(9, (2, 4), stride=2, padding=1),
            Linear(13), Linear(5, relu=False),
        ],
        True,
    ),
    "deep": (
        (1, 11, 10),
        [
            Conv(4, (4, 3), padding=2, pool=True), Conv(3, (3, 3), padding=1),
            Conv(12, (3, 3), padding=1), Conv(2, (5, 5), stride=2, padding=2, pool=True),
            Linear(3),
        ],
        False,
    ),
    "many channels": ((20, 5, 5), [Conv(10, (2, 2)), Conv(19, (1, 1)), Linear(21)], False),
    "pixels": ((3, 6, 6), [Conv(8, (1, 1)), Conv(8, (1, 1)), Conv(2, (3, 3), padding=1)], True),
    "no linear layer": ((3, 7, 9), [Conv(5, (3, 3), padding=1), Conv(11, (2, 2))], False),
    "vector": ((30,), [Linear(20), Linear(17), Linear(4)], True),
}  # fmt: skip
"""By name: input shape, layers, and whether activations are signed."""

CONFIGS: dict[str, AccelConfig] = {
    "base": base,
    "wide": wide,
    "squares": AccelConfig(
        num_cols=16, pixel_groups=4, num_lanes=2, spad_depth=4, act_depth=512, weight_depth=1024
    ),
    "windows": dataclasses.replace(base, pixel_groups=2, num_lanes=4, line_width=10),
}


KINDS = "all kinds"
"""The name of a network of operations that :class:`Conv` and :class:`Linear` do not stand for."""
DEPTHWISE = "depthwise"
"""And of one of depthwise convolutions that column windows can compute, and of one that reads what
they have made last."""
JOINED = "joined"
"""And of one whose layers write side by side."""
TABLES = "tables"
"""And of one whose outputs are looked up in tables."""
SUMS = {"sums": (5, 7), "sums of rows": (4, 7), "sums of few": (2, 2)}
"""Of those that add tensors, and so need an adder: rows and columns."""


@cache
def network(name: str) -> Network:
    rng = np.random.default_rng(5)
    if name == KINDS:
        return all_kinds(rng)
    if name == DEPTHWISE:
        return depthwise(rng)
    if name == JOINED:
        return joining_network(rng, True)
    if name == TABLES:
        return table_network(rng, True)
    if name in SUMS:
        return residual_network(rng, True, SUMS[name])
    shape, layers, signed = NETWORKS[name]
    return random_network(rng, shape, layers, signed=signed)


def all_kinds(rng: np.random.Generator) -> Network:
    """Depthwise and grouped convolutions, strides and padding of their own in each direction,
    pools with and without overlap."""
    window: dict[str, Any] = {"stride": (1, 2), "padding": (2, 0, 0, 1)}
    x = tensor("input", (6, 13, 14), 0.5, True, rng)
    depthwise = conv2d("depthwise", x, 6, 6, (3, 3), window, True, True, rng)
    x = depthwise.output
    largest = MaxPool2d(
        name="overlapping", size=(3, 2), stride=(1, 2), padding=(1, 1, 0, 0), input=x,
        output=dataclasses.replace(x, name="overlapping", shape=(6, 12, 4)),
    )  # fmt: skip
    window = {"stride": (1, 1), "padding": (0, 1, 2, 1)}
    grouped = conv2d("grouped", largest.output, 9, 3, (2, 3), window, False, False, rng)
    x = grouped.output
    pooled = MaxPool2d(
        name="fused", size=(3, 2), stride=(3, 2), input=x,
        output=dataclasses.replace(x, name="fused", shape=(9, 4, 2)),
    )  # fmt: skip
    x = pooled.output
    average = AvgPool2d(
        name="average", size=(2, 2), stride=(2, 1), padding=(0, 0, 0, 1), input=x,
        output=dataclasses.replace(x, name="average", shape=(9, 2, 2)),
    )  # fmt: skip
    return Network(name=KINDS, operations=(depthwise, largest, grouped, pooled, average))


def depthwise(rng: np.random.Generator) -> Network:
    """Strides and padding of their own in each direction; 11 channels are no whole group."""
    x = tensor("input", (11, 9, 10), 0.5, True, rng)
    operations = []
    for i, (stride, padding) in enumerate(
        [((1, 1), (1, 1, 1, 1)), ((1, 2), (0, 0, 1, 1)), ((2, 1), (0, 1, 1, 1))]
    ):
        window: dict[str, Any] = {"stride": stride, "padding": padding}
        operations.append(conv2d(f"layer{i}", x, 11, 11, (3, 3), window, True, False, rng))
        x = operations[-1].output
    window = {"stride": (1, 1), "padding": (0, 0, 0, 0)}
    operations.append(conv2d("layer3", x, 5, 1, (1, 1), window, True, False, rng))
    return Network(name=DEPTHWISE, operations=tuple(operations))


# In words


def with_words(program: Program, words: list[int]) -> Program:
    return dataclasses.replace(program, words=tuple(words))


def place(program: Program, kind: Packet, address: int | None = None) -> int:
    """Where the payload begins of the first such packet, of that address if one is given."""
    at = 0
    for found, _, to, payload in packets(program.words, program.cfg):
        if found == kind and address in (None, to):
            return at + 1
        at += 1 + len(payload)
    raise AssertionError(f"no packet of kind {kind.name} at {address}")


def put(program: Program, at: int, field: Field, value: int) -> Program:
    """With another value in the word that is field's, counted from ``at``."""
    words = list(program.words)
    mask = (1 << field.nbits) - 1 << field.low
    words[at + field.word] = words[at + field.word] & ~mask | field.put(value)
    return with_words(program, words)


def descriptor(program: Program, layer: int) -> LayerDescriptor:
    at = place(program, Packet.LAYER, layer)
    return LayerDescriptor.decode(list(program.words[at:]))


def get(program: Program, layer: int, name: str) -> int:
    at = place(program, Packet.LAYER, layer)
    return FIELDS[name].get(program.words[at + FIELDS[name].word])


def changed(program: Program, layer: int, **values: int) -> Program:
    """With other values in fields of a layer's descriptor; a dot of a name is written ``__``."""
    at = place(program, Packet.LAYER, layer)
    for name, value in values.items():
        program = put(program, at, FIELDS[name.replace("__", ".")], value)
    return program


def moved(program: Program, layer: int, **by: int) -> Program:
    """With fields of a layer's descriptor so much larger."""
    names = {name: name.replace("__", ".") for name in by}
    values = {name: get(program, layer, names[name]) + by[name] for name in by}
    return changed(program, layer, **values)


def image_changed(program: Program, **by: int) -> Program:
    """With fields of the image's descriptor so much larger."""
    at = place(program, Packet.INPUT)
    for name, more in by.items():
        field = INPUT_FIELDS[name.replace("__", ".")]
        program = put(program, at, field, field.get(program.words[at + field.word]) + more)
    return program


def swapped(program: Program, a: int, b: int) -> Program:
    words = list(program.words)
    assert words[a] != words[b]
    words[a], words[b] = words[b], words[a]
    return with_words(program, words)


def word_changed(program: Program, at: int, change: Callable[[int], int]) -> Program:
    words = list(program.words)
    words[at] = change(words[at])
    return with_words(program, words)


def without(program: Program, kind: Packet) -> Program:
    """Without the first packet of that kind."""
    words, dropped = [], False
    for found, count, address, payload in packets(program.words, program.cfg):
        if found == kind and not dropped:
            dropped = True
            continue
        values = zip(HEADER, (found, count, address), strict=True)
        words += [sum(f.put(v) for f, v in values), *payload]
    return with_words(program, words)


def placed_over(program: Program, layer: int, other: int) -> Program:
    """What ``layer`` writes, and the next one reads, lies where ``other`` writes."""
    by = get(program, other, "write_row") - get(program, layer, "write_row")
    return moved(moved(program, layer, write_row=by), layer + 1, read_row=by)


def entry_of(program: Program, layer: int, value: int) -> int:
    """The place of what that layer's table has for a value."""
    table = get(program, layer, "table_index")
    return place(program, Packet.TABLE, TABLE_SIZE * table) + (value & 0xFF)


def bias_of(program: Program, layer: int) -> int:
    """The place of a layer's first parameter."""
    return place(program, Packet.PARAMS, descriptor(program, layer).param_base)


def with_bias(program: Program, layer: int) -> Program:
    at = bias_of(program, layer)
    return put(program, at, BIAS, BIAS.get(program.words[at]) + 1)


def weights_of(program: Program, layer: int) -> int:
    return place(program, Packet.WEIGHTS, descriptor(program, layer).weight_base)


# In the source of the passes

PASSES = ("layout", "convolution", "mapping", "placement", "overlap", "encode", "compile")
"""Those that are read anew, each before those that import it."""


@contextmanager
def source(name: str, old: str, new: str) -> Iterator[Callable[[Network, AccelConfig], Program]]:
    """The compiler with other text in a pass: it has to be there once."""
    modules = [importlib.import_module(f"accel.compiler.{part}") for part in PASSES]
    before = [dict(vars(module)) for module in modules]
    try:
        for part, module in zip(PASSES, modules, strict=True):
            _read(module, *((old, new) if part == name else ("", "")))
        yield vars(modules[-1])["compile"]
    finally:
        for module, names in zip(modules, before, strict=True):
            vars(module).clear()
            vars(module).update(names)


def _read(module: ModuleType, old: str, new: str) -> None:
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    if old:
        assert text.count(old) == 1, f"{module.__name__} holds {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    exec(__builtins__["compile"](text, str(module.__file__), "exec"), vars(module))


def programs() -> Iterator[tuple[str, Network, AccelConfig]]:
    """All networks on all configurations."""
    for name in (*NETWORKS, KINDS, DEPTHWISE, JOINED, TABLES, *SUMS):
        for config in CONFIGS:
            yield f"{name} on {config}", network(name), config_for(name, config)


def config_for(name: str, config: str) -> AccelConfig:
    """With an adder and tables for the networks that need them."""
    has_tables = name == TABLES
    adder = name in SUMS or has_tables
    return dataclasses.replace(CONFIGS[config], adder=adder, tables=8 * has_tables)


@cache
def compiled(name: str, config: str = "base") -> Program:
    return compile(network(name), config_for(name, config))
