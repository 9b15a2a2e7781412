"""The machine cycle by cycle: what each unit holds in a layer's cycles, and who stalls whom."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel.compiler.program import Program
from accel.errors import AccelError
from accel.hardware.messages import unpack_ints
from accel.hardware.status import STREAMS, Activity
from accel.simulation.runner import CLStepper, RTLStepper, Stepper, Words, default_limit
from accel.simulation.waveform import Waveform

LEVELS = ("cl", "rtl")
"""The levels whose units can be looked into."""

CycleProgress = Callable[[int, int], None]
"""Called with the cycles done so far and those there are."""


class State(NamedTuple):
    """One clock cycle, as it is before its edge; the same at both levels."""

    activity: Activity
    layer: int
    """The issue stage's."""
    streams: tuple[tuple[bool, bool], ...]
    """val and rdy, in the order of :data:`accel.hardware.status.STREAMS`."""
    fetch: tuple[bool, ...]
    """Whether a step is in the registers for address, command, read data and data."""
    array: tuple[bool, ...]
    """And in those for operands, products, row sums and column sums."""
    acc: tuple[int, ...] | None
    """The vector that the PE array offers: a number a column."""
    pooled: tuple[int, ...] | None
    """And the one that the pooling unit offers."""
    next_vector: bool
    held_vector: bool
    requantizer: tuple[bool, ...]
    """Whether there is a beat in each stage but the last, whose output leaves."""
    tables: tuple[bool, ...]
    """Whether there is a beat in each of their registers, where there are any."""
    operands: int
    """Vectors that wait to be added; 0 where there is no adder, as of what it holds."""
    to_add: int
    """Beats in the adder's queue."""
    adder: tuple[bool, ...]
    """Whether there is a beat in each of its stages but the last, whose output leaves."""
    out: tuple[int, ...] | None
    """The bytes, one a lane, that the requantizer offers, or what is behind it."""
    queued: int
    """Beats in the write sequencer's queue."""
    written_layer: int
    """The layer whose outputs the write sequencer puts away."""
    image_full: bool
    """An image lies in memory, and is not read to its end."""
    taken: str
    """``prog``, ``image`` or both, if a word was taken from that stream; else empty."""
    result: int | None
    """The word that the result stream offers."""


@dataclass(frozen=True)
class Place:
    """Where a layer of an image lies in a simulation, in cycles from its start."""

    layer: int
    start: int
    """The cycle in which the issue stage takes it up."""
    cycles: int
    """As many as the issue stage spends on it."""
    end: int
    """The cycle after the image's last result."""


@dataclass(frozen=True)
class Traced:
    """Some cycles of a layer."""

    program: Program
    level: str
    place: Place
    first: int
    """The number of the first of them, counted from the one in which the layer is taken up."""
    states: list[State]
    column: int = 0
    """The column of the array that is shown."""
    expected: list[State] | None = None
    """The same cycles at level cl, where those of another level are held to it."""


def check(level: str, *, waveform: bool) -> None:
    """Raises :class:`AccelError` if ``level`` cannot be traced, or not with a waveform."""
    if level not in LEVELS:
        raise AccelError(
            f"level '{level}' has no units to look into: expected one of {', '.join(LEVELS)}"
        )
    if waveform and level != "rtl":
        raise AccelError(f"level '{level}' has no signals for a waveform: take level rtl")


def find_layer(program: Program, layer: str) -> int:
    """The layer called ``layer``, else that of this number, counted from 0.

    Raises :class:`AccelError` if there is none.
    """
    names = [found.name for found in program.layers]
    if layer in names:
        return names.index(layer)
    if layer.isdecimal() and int(layer) < len(names):
        return int(layer)
    known = ", ".join(f"{name} (number {i})" for i, name in enumerate(names))
    raise AccelError(f"there is no layer '{layer}': expected one of {known}")


def parse_cycles(text: str) -> tuple[int, int]:
    """``A:B`` as two numbers, the first cycle and the one after the last.

    Raises :class:`AccelError` unless 0 <= A < B.
    """
    first, colon, last = text.partition(":")
    if not colon or not first.isdecimal() or not last.isdecimal():
        raise AccelError(
            f"'{text}' is no range of cycles: expected two whole numbers, such as 0:40"
        )
    if int(first) >= int(last):
        raise AccelError(
            f"the range of cycles {text} is empty: the second number is that of the cycle after "
            f"the last, and must be larger than the first"
        )
    return int(first), int(last)


def locate(program: Program, images: NDArray[Any], layer: int, image: int = -1) -> Place:
    """Where ``layer`` of ``images[image]`` lies when these images are run one after another.

    images: (N, *input shape), as :func:`accel.simulation.runner.simulate` takes them. Found with
    the cycle-level model, whose cycles are those of the RTL.
    """
    words = program.pack_images(program.quantize(images))
    image %= len(words)
    at, results, cycles, start = -1, 0, 0, None
    with closing(settled(CLStepper(program.cfg), program, words)) as steps:
        for cycle, (stepper, _, result) in enumerate(steps):
            at += stepper.activity == Activity.HANDOVER and stepper.layer == 0
            if at == image and stepper.layer == layer:
                start = cycle if start is None else start
                cycles += 1
            results += result is not None
            if results == (image + 1) * program.result_words:
                assert start is not None
                return Place(layer, start, cycles, cycle + 1)
    raise AssertionError("the simulation ends with the last result")


def check_window(program: Program, place: Place, first: int, last: int) -> tuple[int, int]:
    """Cycles ``first`` to ``last`` of a layer, the last not included, as cycles of the simulation.

    Raises :class:`AccelError` if the window goes beyond the image's last result.
    """
    name, there_are = program.layers[place.layer].name, place.end - place.start
    if last > there_are:
        raise AccelError(
            f"cycles {first}:{last} go beyond the end: layer '{name}' takes {place.cycles:,} "
            f"cycles, and the image's last result comes in cycle {there_are - 1:,} of it; ask for "
            f"cycles within 0:{there_are}"
        )
    return place.start + first, place.start + last


def trace(
    program: Program,
    images: NDArray[Any],
    start: int,
    stop: int,
    *,
    level: str = "cl",
    waveform: Waveform | None = None,
    progress: CycleProgress | None = None,
) -> list[State]:
    """The states of cycles ``start`` to ``stop``, the last not included, counted from reset.

    images: (N, *input shape), float32 or integers; they are run one after another, on one
    accelerator. level: ``cl`` or ``rtl``. waveform: receives every signal in these cycles, at
    level ``rtl``. Cycles after the last result are not simulated, so there may be fewer.

    Raises :class:`AccelError` for another level, and for a waveform at level ``cl``.
    """
    check(level, waveform=waveform is not None)
    words = program.pack_images(program.quantize(images))
    stepper: CLStepper | RTLStepper
    if level == "cl":
        stepper = CLStepper(program.cfg)
    else:
        stepper = RTLStepper(program.cfg, None if waveform is None else waveform.declare)
    states: list[State] = []
    with closing(settled(stepper, program, words)) as steps:
        for cycle, (_, taken, result) in enumerate(steps):
            if cycle >= stop:
                break
            if progress is not None and (cycle % 100 == 0 or cycle == stop - 1):
                progress(cycle + 1, stop)
            if cycle < start:
                continue
            if isinstance(stepper, CLStepper):
                state = _state_cl(stepper, taken, result)
            else:
                state = _state_rtl(stepper, taken, result)
            if waveform is not None:
                names = waveform_names(program, state)
                waveform.sample(cycle, names)
            states.append(state)
    if waveform is not None:
        waveform.end()
    return states


def trace_layer(
    program: Program,
    images: NDArray[Any],
    layer: str,
    cycles: tuple[int, int],
    *,
    column: int = 0,
    level: str = "cl",
    waveform: Waveform | None = None,
    progress: CycleProgress | None = None,
) -> Traced:
    """Cycles of a layer of the last image, counted from the one in which the layer is taken up.

    layer: its name or number. cycles: the first one, and the one after the last. column: of the
    array, the one to show. All else is as in :func:`trace`; level rtl is held to level cl.

    Raises :class:`AccelError` as :func:`find_layer`, :func:`check_window` and :func:`trace` do, and
    for a column that there is not.
    """
    if column >= program.cfg.num_cols:
        raise AccelError(
            f"there is no column {column}: configuration {program.cfg} has {program.cfg.num_cols}, "
            f"the first of them 0"
        )
    place = locate(program, images, find_layer(program, layer))
    start, stop = check_window(program, place, *cycles)
    states = trace(program, images, start, stop, level=level, waveform=waveform, progress=progress)
    expected = trace(program, images, start, stop) if level != "cl" else None
    return Traced(program, level, place, cycles[0], states, column, expected)


def settled(
    stepper: Stepper, program: Program, images: Words
) -> Generator[tuple[Stepper, str, int | None], None, None]:
    """Every cycle before its edge, to the last result: what was taken, and the result."""
    pixels, limit = images.ravel().tolist(), default_limit(program, len(images))
    cycle = next_word = next_pixel = num_results = 0
    while num_results < len(images) * program.result_words:
        if cycle == limit:
            raise AccelError(
                f"the program does not end within {limit:,} cycles: 'accel run' with the same "
                f"options says where it stands"
            )
        prog = program.words[next_word] if next_word < len(program.words) else None
        image = pixels[next_pixel] if prog is None and next_pixel < len(pixels) else None
        took_prog, took_image, result = stepper.settle(prog, image)
        yield stepper, "prog" * took_prog + "image" * took_image, result
        stepper.edge()
        next_word += took_prog
        next_pixel += took_image
        num_results += result is not None
        cycle += 1


def _pairs(streams: int) -> tuple[tuple[bool, bool], ...]:
    return tuple(
        (bool(streams >> 2 * i & 1), bool(streams >> 2 * i + 1 & 1)) for i in range(len(STREAMS))
    )


def _state_cl(stepper: CLStepper, taken: str, result: int | None) -> State:
    core = stepper.core
    array, pooling, requantizer = core.array, core.pooling, core.requantizer
    adder, tables = core.adder, core.tables
    return State(
        activity=Activity(core.activity),
        layer=core.layer,
        streams=_pairs(core.streams),
        fetch=tuple(x is not None for x in (core.at, core.command, core.at_read, core.at_data)),
        array=tuple(stage is not None for stage in array.stages),
        acc=tuple(array.out.acc.tolist()) if array.out is not None else None,
        pooled=tuple(pooling.out.acc.tolist()) if pooling.out is not None else None,
        next_vector=requantizer.next is not None,
        held_vector=requantizer.held is not None,
        requantizer=tuple(requantizer.stages),
        tables=() if tables is None else (tables.found is not None, tables.out is not None),
        operands=0 if adder is None else len(adder.operands),
        to_add=0 if adder is None else len(adder.queue),
        adder=() if adder is None else tuple(adder.stages),
        out=None if core.out is None else tuple(int(y) for y in core.out.y),
        queued=len(core.writes.queue),
        written_layer=core.writes.layer,
        image_full=core.images.full,
        taken=taken,
        result=result,
    )


def _state_rtl(stepper: RTLStepper, taken: str, result: int | None) -> State:
    top = stepper.top
    addresses, fetch = top.step_sequencer.addresses, top.operand_fetch
    array, pooling, requantizer = top.pe_array, top.pooling_unit, top.requantizer
    queue, out = top.write_sequencer.queue, top.write_sequencer.out
    adder, tables = getattr(top, "adder", None), getattr(top, "tables", None)
    num_cols = len(array.accumulators)
    acc_nbits = array.acc.msg.acc.nbits // num_cols

    def vector(stream: Any) -> tuple[int, ...] | None:
        if not stream.val:
            return None
        return tuple(unpack_ints(int(stream.msg.acc), acc_nbits, num_cols, signed=True).tolist())

    fetching = addresses.at_val, addresses.command_val, fetch.read_val, fetch.data_val
    return State(
        activity=Activity(int(top.activity)),
        layer=int(top.layer),
        streams=_pairs(int(top.streams)),
        fetch=tuple(bool(val) for val in fetching),
        array=tuple(bool(bit) for bit in _bits(array.valid)),
        acc=vector(array.acc),
        pooled=vector(pooling.pooled),
        next_vector=bool(requantizer.next_val),
        held_vector=bool(requantizer.held_val),
        requantizer=_bits(requantizer.valid)[:-1],
        tables=() if tables is None else (bool(tables.val), bool(tables.out_val)),
        operands=0 if adder is None else int(adder.count),
        to_add=0 if adder is None else int(adder.queue.head_val) + int(adder.queue.tail_val),
        adder=() if adder is None else _bits(adder.valid)[:-1],
        out=tuple(int(out.msg.y).to_bytes(len(requantizer.lanes), "little")) if out.val else None,
        queued=int(queue.head_val) + int(queue.tail_val),
        written_layer=int(top.write_sequencer.layer),
        image_full=bool(top.image_loader.full),
        taken=taken,
        result=result,
    )


def _bits(value: Any) -> tuple[bool, ...]:
    """The lowest first."""
    return tuple(bool(int(value) >> i & 1) for i in range(value.nbits))


_CHAIN = (
    ("out", "write sequencer", "requantizer"),
    ("pooled", "requantizer", "pooling unit"),
    ("acc", "pooling unit", "PE array"),
    ("step", "PE array", "operand fetch"),
)
"""Streams from the end on, who takes and who sends. Parameters are read ahead and so always wait
for a vector: that stalls no one."""


def who_stalls(program: Program, state: State) -> str:
    """Who stalls whom and what the issue stage waits for, in words; empty if nothing is stalled."""
    chains: list[list[str]] = []
    for stream, taker, sender in _CHAIN:
        val, rdy = state.streams[STREAMS.index(stream)]
        if val and not rdy:
            if chains and chains[-1][-1] == taker:
                chains[-1].append(sender)
            else:
                chains.append([taker, sender])
    go = state.streams[STREAMS.index("step")][1]
    if not go:
        # The array says so to the step sequencer too, whether or not a step is offered.
        if not chains or chains[-1][-1] not in ("PE array", "operand fetch"):
            chains.append(["PE array"])
        chains[-1].append("step sequencer")
    said = [f"{chain[0]} stalls {', '.join(chain[1:])}" for chain in chains]
    if state.activity in (Activity.FILL, Activity.DRAIN) or (
        state.activity == Activity.REQUANTIZER and go
    ):
        name = program.layers[state.written_layer].name
        said.append(f"step sequencer waits until {name} is written")
    elif state.activity == Activity.MEMORY:
        said.append("image loader waits for the memory's write port or its last reader")
    elif state.activity == Activity.INPUT:
        said.append("step sequencer waits for an image")
    return "; ".join(said)


def issue_text(state: State) -> str:
    """What the issue stage does, in a word."""
    return {Activity.HANDOVER: "hand-over"}.get(state.activity, state.activity.name.lower())


def waveform_names(program: Program, state: State) -> dict[str, str]:
    """What a waveform shows in words."""
    idle = state.activity == Activity.IDLE
    return {
        "issue": issue_text(state),
        "layer": "-" if idle else program.layers[state.layer].name,
        "stalls": who_stalls(program, state) or "-",
    }


def images_before(images: NDArray[Any], image: int, before: int) -> NDArray[Any]:
    """``images[image]`` and as many as ``before`` before it, for a trace in which it is the last.

    Raises :class:`AccelError` when there are not so many.
    """
    if not 0 <= image < len(images):
        raise AccelError(
            f"there is no image {image}: there are {len(images):,}, the first of them 0"
        )
    if not 0 <= before <= image:
        raise AccelError(
            f"before image {image} there are {image} images, not {before}: ask for at most those"
        )
    return np.asarray(images[image - before : image + 1])
