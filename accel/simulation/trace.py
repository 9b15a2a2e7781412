"""The machine cycle by cycle: what each unit holds in a layer's cycles, and who stalls whom."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from accel.compiler.program import Program
from accel.errors import AccelError
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
    acc: int | None
    """Column 0 of the vector that the PE array offers."""
    pooled: int | None
    """And of the one that the pooling unit offers."""
    next_vector: bool
    held_vector: bool
    requantizer: tuple[bool, ...]
    """Whether there is a beat in each stage but the last, which is ``out``."""
    out: tuple[int, ...] | None
    """The bytes, one a lane, that the requantizer offers."""
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
    return State(
        activity=Activity(core.activity),
        layer=core.layer,
        streams=_pairs(core.streams),
        fetch=tuple(x is not None for x in (core.at, core.command, core.at_read, core.at_data)),
        array=tuple(stage is not None for stage in array.stages),
        acc=int(array.out.acc[0]) if array.out is not None else None,
        pooled=int(pooling.out.acc[0]) if pooling.out is not None else None,
        next_vector=requantizer.next is not None,
        held_vector=requantizer.held is not None,
        requantizer=tuple(requantizer.stages),
        out=None if requantizer.out is None else tuple(int(y) for y in requantizer.out.y),
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
    queue, out = top.write_sequencer.queue, requantizer.out
    acc_nbits = array.acc.msg.acc.nbits // len(array.accumulators)
    fetching = addresses.at_val, addresses.command_val, fetch.read_val, fetch.data_val
    return State(
        activity=Activity(int(top.activity)),
        layer=int(top.layer),
        streams=_pairs(int(top.streams)),
        fetch=tuple(bool(val) for val in fetching),
        array=tuple(bool(bit) for bit in _bits(array.valid)),
        acc=array.acc.msg.acc[0:acc_nbits].int() if array.acc.val else None,
        pooled=pooling.pooled.msg.acc[0:acc_nbits].int() if pooling.pooled.val else None,
        next_vector=bool(requantizer.next_val),
        held_vector=bool(requantizer.held_val),
        requantizer=_bits(requantizer.valid)[:-1],
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


class Column(NamedTuple):
    """Of the printed trace: two lines of heading, and its width in characters."""

    heading: tuple[str, str]
    width: int


def columns(program: Program) -> list[Column]:
    """The columns of a trace, but for the last, which has no width."""
    name = max(8, *(len(layer.name) for layer in program.layers))
    # A beat's bytes, two digits each
    out = 2 * program.cfg.num_lanes
    return [
        Column(("", "cycle"), 7),
        Column(("issue", "layer"), name),
        Column(("", "does"), 16),
        Column(("fetch", "acrd s"), 6),
        Column(("PE array", "oprc acc"), 4 + 1 + 1 + 9),
        Column(("pooling", " pooled"), 1 + 1 + 9),
        Column(("requantizer", "nh p 12345678910 out"), 2 + 1 + 1 + 1 + 10 + 1 + 1 + max(out, 5)),
        Column(("write", "q layer"), 2 + name),
        Column(("in", "pi"), 3),
        Column(("result", ""), 16),
    ]


def heading(program: Program) -> list[Text]:
    """The two lines above a trace."""
    return [
        Text("  ".join([f"{c.heading[i]:{c.width}}" for c in columns(program)]).rstrip(), "bold")
        for i in (0, 1)
    ]


LEGEND = (
    "# a register holds something   > a transfer   ! stalled: offered, not taken   . nothing",
    "fetch: address, command, read, data, step stream; PE array: operands, products, row sums,",
    "column sums, acc stream and its column 0; requantizer: next and held vector, parameters,",
    "stages, out stream and its bytes; write: beats queued, and of which layer; in: program, image",
)


def lines(program: Program, states: list[State], first: int) -> Iterator[Text]:
    """A line for each state, in colour; ``first``: the number of the first one's cycle.

    All are equally wide up to the last column, which says who stalls whom.
    """
    widths = [column.width for column in columns(program)]
    for cycle, state in enumerate(states, first):
        line = Text()
        for cell, width in zip(_cells(program, state, cycle), widths, strict=True):
            line.append_text(cell)
            line.append(" " * (width - len(cell) + 2))
        line.append(who_stalls(program, state), "red")
        line.rstrip()
        yield line


def record(program: Program, states: list[State], first: int) -> list[dict[str, Any]]:
    """For ``--json``: the fields of each state, and in words what the issue stage does and who
    stalls whom; ``first``: the number of the first one's cycle."""
    records = []
    for cycle, state in enumerate(states, first):
        streams = {
            name: {"val": val, "rdy": rdy}
            for name, (val, rdy) in zip(STREAMS, state.streams, strict=True)
        }
        fields = state._asdict() | waveform_names(program, state) | {"streams": streams}
        idle = fields.pop("activity") == Activity.IDLE
        fields["written_layer"] = "-" if idle else program.layers[state.written_layer].name
        # Too large for the numbers of many readers of JSON.
        fields["result"] = None if state.result is None else f"{state.result:016x}"
        records.append({"cycle": cycle} | fields)
    return records


def _cells(program: Program, state: State, cycle: int) -> list[Text]:
    stream = {name: _stream(*pair) for name, pair in zip(STREAMS, state.streams, strict=True)}
    idle = state.activity == Activity.IDLE
    works = {Activity.STEP: "green", Activity.HANDOVER: "cyan", Activity.IDLE: "dim"}
    out = "" if state.out is None else bytes(state.out).hex()
    return [
        Text(f"{cycle:7d}"),
        Text("-" if idle else program.layers[state.layer].name),
        Text(issue_text(state), works.get(state.activity, "yellow")),
        _join(_marks(state.fetch), " ", stream["step"]),
        _join(_marks(state.array), stream["acc"], _number(state.acc)),
        _join(stream["pooled"], _number(state.pooled)),
        _join(
            _marks((state.next_vector, state.held_vector)),
            *(" ", stream["param"], " "),
            _marks(state.requantizer),
            stream["out"],
            f" {out}",
        ),
        _join(f"{state.queued} ", "-" if idle else program.layers[state.written_layer].name),
        _join(
            *(_stream("prog" in state.taken, True), _stream("image" in state.taken, True)),
            "F" if state.image_full else ".",
        ),
        Text("." if state.result is None else f"{state.result:016x}"),
    ]


def _join(*parts: str | Text) -> Text:
    return Text.assemble(*parts)


def _marks(held: tuple[bool, ...]) -> Text:
    return Text.assemble(*(("#", "cyan") if here else (".", "dim") for here in held))


def _stream(val: bool, rdy: bool) -> Text:
    if not val:
        return Text(".", "dim")
    return Text(">", "green") if rdy else Text("!", "bold red")


def _number(value: int | None) -> Text:
    return Text(f"{'' if value is None else value:>10}")


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
