"""Where a run first differs from its reference: image, layer, channel, pixel, and cycle."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.compiler.layout import Layout
from accel.compiler.program import Program
from accel.hardware.config import TAPS
from accel.hardware.descriptors import BYTES_PER_WORD
from accel.hardware.packets import ProgramMemory
from accel.hardware.status import Activity
from accel.network.graph import Network
from accel.runtimes.reference import reference
from accel.simulation.runner import CLStepper, RTLStepper
from accel.simulation.trace import settled, trace
from accel.simulation.waveform import Waveform

BEFORE, AFTER = 60, 20
"""Cycles of a waveform before and after the one in which the wrong byte was written."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first output of the first layer that is wrong, of an image that ran alone."""

    image: int
    level: str
    """At which it was looked for: ``rtl`` where the run was of level ``verilator``."""
    layer: str
    place: tuple[int, ...]
    """(channel,) or (channel, row, column)."""
    expected: int
    got: int | None
    """None if it was never written."""
    column: int
    """Of the array, which computed it."""
    cycle: int | None
    """Counted from reset, in which it was in the write register on its way to memory, or came as a
    result; None at level ``fl``, or if it was never written."""
    layer_cycle: int | None
    """The same cycle, counted from the one in which the layer is taken up, as a trace counts."""

    def __str__(self) -> str:
        where = f"channel {self.place[0]}"
        if len(self.place) > 1:
            where += f", row {self.place[1]}, column {self.place[2]}"
        got = "was never written" if self.got is None else f"is {self.got}"
        when = ""
        if self.cycle is not None:
            when = (
                f", written in cycle {self.layer_cycle:,} of the layer, cycle {self.cycle:,} from "
                f"reset, of that image alone, and computed in column {self.column} of the array"
            )
        return (
            f"first difference: image {self.image}, layer '{self.layer}', {where}: it {got}, but "
            f"should be {self.expected}, at level {self.level}{when}"
        )


def first_difference(
    network: Network, program: Program, images: NDArray[Any], image: int, level: str
) -> Difference | None:
    """Runs ``images[image]`` alone at ``level``, and compares every layer with the reference
    (:func:`accel.runtimes.reference.reference`).

    images: (N, *input shape), float32 or integers. Levels ``verilator`` and ``board`` show no
    inner values, so ``rtl`` is run in their place. None if the image alone does not differ at that
    level.
    """
    alone = program.quantize(images[image : image + 1])
    outputs = zip(network.operations, reference(network).run(network, alone), strict=True)
    expected = {
        op.output.name: (op.output, network.order.inward(y)[0].astype(np.int64))
        for op, y in outputs
    }
    words = program.pack_images(alone)
    level = "rtl" if level in ("verilator", "board") else level
    found = _functional(program, words) if level == "fl" else _by_cycle(program, words, level)
    for number, (layer, (values, cycles, start)) in enumerate(
        zip(program.layers, found, strict=True)
    ):
        tensor, whole = expected[layer.target]
        wanted = whole[slice(*layer.channels)]
        known = values >= 0
        got = values.astype(np.uint8).astype(np.int8 if tensor.signed else np.uint8)
        wrong = np.flatnonzero(~known | (got != wanted.ravel()))
        if wrong.size:
            # The earliest; at level fl, and of those never written, the one with the lowest place.
            at = wrong[np.argmin(np.where(known[wrong], cycles[wrong], np.iinfo(np.int64).max))]
            place = tuple(int(n) for n in np.unravel_index(at, wanted.shape))
            written = bool(known[at]) and level != "fl"
            return Difference(
                image=image,
                level=level,
                layer=layer.name,
                place=place,
                expected=int(wanted.ravel()[at]),
                got=int(got[at]) if known[at] else None,
                column=_column(program, number, place),
                cycle=int(cycles[at]) if written else None,
                layer_cycle=int(cycles[at]) - start if written else None,
            )
    return None


def write_waveform(
    program: Program, images: NDArray[Any], found: Difference, path: Path
) -> tuple[int, int]:
    """Writes the waveform of the RTL around the wrong byte to ``path``, and a GTKWave set-up beside
    it. Returns its first cycle and the one after its last.

    images: those of :func:`first_difference`. ``found.cycle`` must not be None.
    """
    assert found.cycle is not None
    start, stop = max(0, found.cycle - BEFORE), found.cycle + AFTER
    waveform = Waveform(found.column)
    alone = images[found.image : found.image + 1]
    states = trace(program, alone, start, stop, level="rtl", waveform=waveform)
    waveform.save(path)
    return start, start + len(states)


Found = list[tuple[NDArray[np.int64], NDArray[np.int64], int]]
"""Of each layer, in the order of its elements: the bytes, -1 where none was written; the cycles;
and the cycle in which it was taken up."""


def _column(program: Program, layer: int, place: tuple[int, ...]) -> int:
    """Of the array, which computes that output of a layer."""
    memory = ProgramMemory(program.cfg)
    for word in program.words:
        memory.take(word)
    d, lanes = memory.layers[layer], program.cfg.num_lanes
    channel, y, x = (*place, 0, 0)[:3]
    group, channel = divmod(channel, d.write_beats * lanes)
    beats = d.write_beats
    if group == d.write_loops[-1].count - 1:
        beats = d.write_last_beats + d.drop_beats
    # A vector holds the outputs of one pixel, or of some neighbours, one after another.
    pixel = x % (d.pixel_x + 1) + (d.pixel_x + 1) * (y % (d.pixel_y + 1))
    return pixel * beats * lanes + channel


def _addresses(program: Program, layer: int) -> NDArray[np.int64]:
    """Bytes of memory of a layer's outputs, in the order of its elements."""
    (stored,) = (t for t in program.tensors if t.written_by == layer)
    shape = (*stored.shape, 1, 1)[:3]
    layout = Layout(*shape)
    c, y, x = np.indices(shape).reshape(3, -1)
    address: NDArray[np.int64] = stored.base + c * layout.channel_stride + y * layout.row_stride + x
    return address


def _functional(program: Program, words: NDArray[np.uint64]) -> Found:
    from fl_models.accelerator import AcceleratorCoreFL

    core = AcceleratorCoreFL(program.cfg)
    core.load(program.words)
    layers = [memory[0] for memory in core.run_layers(words)]
    values = [memory[_addresses(program, i)].astype(np.int64) for i, memory in enumerate(layers)]
    values.append(_result_bytes(program, core.run(words)[0]))
    return [(v, np.zeros(v.size, np.int64), 0) for v in values]


def _result_bytes(program: Program, words: NDArray[np.uint64]) -> NDArray[np.int64]:
    data = np.ascontiguousarray(words.astype("<u8")).view(np.uint8)
    return data[_result_places(program)].astype(np.int64)


def _result_places(program: Program) -> NDArray[np.int64]:
    """Of each output element, with channels first, its byte among those of the result words."""
    shape = program.order.shape(program.output.shape)
    return program.order.inward(program.output_bytes.reshape(1, *shape)).ravel()


def _by_cycle(program: Program, words: NDArray[np.uint64], level: str) -> Found:
    cfg, num = program.cfg, len(program.layers)
    stepper: Any = CLStepper(cfg) if level == "cl" else RTLStepper(cfg)
    memory = np.full((num, TAPS * cfg.act_depth), -1, np.int64)
    cycles = np.zeros_like(memory)
    image_end = program.tensors[0].num_rows * TAPS
    results: list[int] = []
    result_cycles: list[int] = []
    layer = 0
    starts: dict[int, int] = {}
    with closing(settled(stepper, program, words)) as steps:
        for cycle, (_, _, result) in enumerate(steps):
            for address, value in _writes(stepper):
                # The image's own place is written by the image loader only.
                if address >= image_end:
                    memory[layer, address], cycles[layer, address] = value, cycle
            # What is in the write register came from the sequencer a cycle before.
            cl = isinstance(stepper, CLStepper)
            layer = int(stepper.core.writes.layer if cl else stepper.top.write_sequencer.layer)
            if stepper.activity == Activity.HANDOVER:
                starts.setdefault(stepper.layer, cycle)
            if result is not None:
                results.append(result)
                result_cycles.append(cycle)
    found = []
    for i in range(num - 1):
        at = _addresses(program, i)
        found.append((memory[i, at], cycles[i, at], starts[i]))
    last = np.array(result_cycles)[_result_places(program) // BYTES_PER_WORD]
    found.append((_result_bytes(program, np.array(results, np.uint64)), last, starts[num - 1]))
    return found


def _writes(stepper: CLStepper | RTLStepper) -> list[tuple[int, int]]:
    """Addresses and bytes in the write register."""
    if isinstance(stepper, CLStepper):
        if stepper.core.writes.port.pending is None:
            return []
        at, data, _ = stepper.core.writes.port.pending
        if isinstance(at, slice):
            at = range(at.start, at.stop)
        return [
            (int(a), int(d)) for a, d in zip(np.atleast_1d(at), np.atleast_1d(data), strict=True)
        ]
    top = stepper.top
    mask, rows, bank = int(top.write_mask), int(top.write_rows), int(top.write_bank)
    data, row_nbits = int(top.write_data), top.write_rows.nbits // TAPS
    return [
        (
            (rows >> row_nbits * j & (1 << row_nbits) - 1) * TAPS + (bank + j) % TAPS,
            data >> 8 * j & 255,
        )
        for j in range(TAPS)
        if mask >> j & 1
    ]
