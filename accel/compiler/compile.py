"""From a quantized network to the program that the hardware runs, pass by pass.

::

    network -- fuse --> convolutions -- map_layer --> mappings -- place --> places in the memories
            -- describe, safe_steps --> descriptors -- words --> program -- check

Whatever does not fit is refused by name, all of it at once; and nothing overflows: that is proven
for each accumulator. In the end the program's words are checked against the network, by code that
shares nothing with the passes (:mod:`accel.checking.check`).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from accel.checking.check import check
from accel.compiler import encode
from accel.compiler.convolution import Convolution
from accel.compiler.fuse import fuse
from accel.compiler.mapping import Mapping, map_layer
from accel.compiler.overlap import first_safe_steps, safe_steps
from accel.compiler.placement import IMAGE, Place, Placement, excess, place, would_do
from accel.compiler.program import Program, ProgramLayer, StoredTensor
from accel.compiler.refusal import DoesNotFitError, Refusal
from accel.hardware.config import CLASS_NBITS, AccelConfig
from accel.hardware.descriptors import LayerDescriptor
from accel.network.graph import Network


def compile(network: Network, cfg: AccelConfig) -> Program:
    """Compile ``network`` for ``cfg``.

    Raises :class:`~accel.compiler.refusal.DoesNotFitError`, an :class:`AccelError` that names
    layers, limits and excess, when it does not fit; and
    :class:`~accel.checking.fault.MiscompiledError` when the program is wrong: a fault of this
    compiler.
    """
    layers = fuse(network)
    refusals = [
        *_too_many_layers(network.name, layers, cfg),
        *_too_many_tables(network.name, layers, cfg),
        *_too_many_outputs(layers[-1]),
        *(r for layer in layers for r in _overflow(layer, cfg)),
    ]
    mappings = []
    for layer in layers:
        try:
            mappings.append(map_layer(layer, cfg))
        except DoesNotFitError as e:
            refusals += e.refusals
    # Where a layer lies on no array, what the memories would have to hold is not known.
    if len(mappings) == len(layers):
        placement = place(mappings, cfg.act_depth)
        refusals += excess(mappings, placement, cfg)
    if refusals:
        raise DoesNotFitError(refusals)
    descriptors = _describe(mappings, placement, cfg)
    program = Program(
        cfg=cfg,
        words=tuple(encode.words(mappings, descriptors, placement, cfg)),
        layers=tuple(_report(m, network, cfg) for m in mappings),
        rounding=network.rounding,
        order=network.order,
        input=network.input,
        output=network.output,
        output_bytes=network.order.outward(
            encode.output_bytes(mappings[-1], cfg).reshape(1, *network.output.shape)
        ).ravel(),
        act_rows=placement.act_rows,
        weight_words=placement.weight_words,
        param_words=placement.param_words,
        tensors=tuple(
            StoredTensor(
                name=IMAGE if p.written_by is None else f"{layers[p.written_by].name} output",
                shape=p.tensor.shape,
                base=p.base,
                num_bytes=p.layout.num_bytes,
                written_by=p.written_by,
                kept=tuple(_kept(p, placement, len(layers))),
            )
            for p in placement.stored(layer.target for layer in layers[:-1])
        ),
        max_accumulator=max(int(layer.accumulator_bound.max()) for layer in layers),
    )
    check(network, program)
    return program


def _kept(place: Place, placement: Placement, num_layers: int) -> Iterator[tuple[int, int]]:
    """First layer and layer after the last of each time while which a tensor keeps its place. The
    next image comes while this one is computed."""
    if place.written_by is not None:
        yield place.written_by, place.last_read_by + 1
    elif placement.image_freed_by == place.last_read_by:
        yield 0, num_layers
    else:
        yield 0, place.last_read_by + 1
        if placement.image_freed_by + 1 < num_layers:
            yield placement.image_freed_by + 1, num_layers


def _describe(
    mappings: list[Mapping], placement: Placement, cfg: AccelConfig
) -> list[LayerDescriptor]:
    described = [encode.describe(mappings, placement, i, cfg) for i in range(len(mappings))]
    # The last layer, which is before the first, sends results and writes nothing to memory.
    safe = [first_safe_steps(described[0], cfg)]
    for i, (before, d) in enumerate(itertools.pairwise(described)):
        # Results that a layer sends may be kept waiting until the next one has waited for them.
        free_from = safe[i] if described[i - 1].to_result else 0
        safe.append(safe_steps(before, d, cfg, free_from))
    return [dataclasses.replace(d, safe_steps=n) for d, n in zip(described, safe, strict=True)]


def _report(m: Mapping, network: Network, cfg: AccelConfig) -> ProgramLayer:
    reload = m.steps_per_sum > cfg.spad_depth
    target, first = m.layer.target.name, 0
    if target not in network.readers:
        # A copy of what is joined
        target, first = m.layer.within[0].whole.name, m.layer.within[0].first_channel
    return ProgramLayer(
        name=m.layer.name,
        kind=m.layer.kind,
        target=target,
        channels=(first, first + m.target.channels),
        macs=m.layer.macs,
        steps=m.steps,
        array_steps=m.array_steps,
        weight_words=m.array_steps if reload else m.weight_words,
    )


def _too_many_layers(network: str, layers: list[Convolution], cfg: AccelConfig) -> list[Refusal]:
    count, room = len(layers), cfg.max_layers
    if count <= room:
        return []
    return [
        Refusal(
            layer=network,
            limit="max_layers",
            needed=count,
            room=room,
            sentence=f"network '{network}' has {count} layers, {count - room} more than "
            f"max_layers = {room} of configuration {cfg}",
            would_do=would_do("max_layers", count),
        )
    ]


def _too_many_tables(network: str, layers: list[Convolution], cfg: AccelConfig) -> list[Refusal]:
    count, room = len(encode.tables(layers)), cfg.tables
    if count <= room:
        return []
    has = f"tables = {room}" if room else "no tables"
    return [
        Refusal(
            layer=network,
            limit="tables",
            needed=count,
            room=room,
            sentence=f"network '{network}' looks values up in {_counted(count, 'table')}, and "
            f"configuration {cfg} has {has}",
            would_do=would_do("tables", count),
        )
    ]


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def _too_many_outputs(last: Convolution) -> list[Refusal]:
    """The winning class is a number of so many bits."""
    count, room = last.target.size, 1 << CLASS_NBITS
    if count <= room:
        return []
    return [
        Refusal(
            layer=last.name,
            limit="outputs of the last layer",
            needed=count,
            room=room,
            sentence=f"layer '{last.name}' has {count} outputs, {count - room} more than the "
            f"{room} among which the hardware finds the largest",
        )
    ]


def _overflow(layer: Convolution, cfg: AccelConfig) -> list[Refusal]:
    """Whether an accumulator can overflow, whatever the input."""
    channel = int(np.argmax(layer.accumulator_bound))
    bound, limit = int(layer.accumulator_bound[channel]), (1 << (cfg.acc_nbits - 1)) - 1
    if bound <= limit:
        return []
    return [
        Refusal(
            layer=layer.name,
            limit="acc_nbits",
            needed=bound,
            room=limit,
            sentence=f"layer '{layer.name}': an accumulator of output channel {channel} can reach "
            f"{bound}, {bound - limit} more than acc_nbits = {cfg.acc_nbits} holds",
            would_do=would_do("acc_nbits", bound.bit_length() + 1),
        )
    ]
