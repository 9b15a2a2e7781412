"""A trace for a terminal, a line a cycle, and for ``--json``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

from rich.text import Text

from accel.compiler.program import Program
from accel.hardware.pipeline import ADDER_LATENCY, Holds, stages
from accel.hardware.status import STREAMS, Activity
from accel.simulation.trace import State, Traced, issue_text, waveform_names, who_stalls


def text(traced: Traced) -> list[Text]:
    """What a terminal shows: what the marks mean, a heading, and a line for each cycle."""
    return [*(Text(line, "dim") for line in legend(traced)), *heading(traced), *lines(traced)]


def differing(traced: Traced) -> list[int]:
    """The cycles of the layer in which anything differs from level cl."""
    if traced.expected is None:
        return []
    # One level may end before the other.
    both = zip_longest(traced.states, traced.expected)
    return [cycle for cycle, (a, b) in enumerate(both, traced.first) if a != b]


def _letters(unit: str, holds: Holds) -> str:
    """A letter for each register of a unit but the one that offers what it holds on a stream."""
    return "".join(stage.letter for stage in stages(unit, holds))


FETCH, ARRAY = _letters("operand fetch", Holds.STEP), _letters("PE array", Holds.STEP)
HELD, LANES = _letters("requantizer", Holds.VECTOR), _letters("requantizer", Holds.BEAT)
ADDER = "".join(str(i) for i in range(1, ADDER_LATENCY - 1))
"""A digit for each of its stages but the last; before them is a queue."""
NUM_LANE_STAGES = sum(bool(stage.letter) for stage in stages("requantizer", Holds.BEAT))


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
        Column(("from", "reset"), 7),
        Column(("issue", "layer"), name),
        Column(("", "does"), 16),
        Column(("fetch", f"{FETCH} s"), len(FETCH) + 2),
        Column(("PE array", f"{ARRAY} acc"), len(ARRAY) + 1 + 1 + 9),
        Column(("pooling", " pooled"), 1 + 1 + 9),
        Column(
            ("requantizer", f"{HELD} p {LANES} out"),
            len(HELD) + 3 + NUM_LANE_STAGES + 1 + 1 + max(out, 5),
        ),
        *([Column(("tables", "vo"), 6)] if program.cfg.tables else []),
        *([Column(("adder", f" v q {ADDER}"), 5 + len(ADDER))] if program.cfg.adder else []),
        Column(("write", "q layer"), 2 + name),
        Column(("in", "pi"), 3),
        Column(("result", ""), 16),
    ]


def heading(traced: Traced) -> list[Text]:
    """The two lines above a trace."""
    shown = columns(traced.program)
    return [
        Text("  ".join([f"{c.heading[i]:{c.width}}" for c in shown]).rstrip(), "bold")
        for i in (0, 1)
    ]


def legend(traced: Traced) -> list[str]:
    """What the marks and the headings mean."""
    said = [
        "# a register holds something   > a transfer   ! stalled: offered, not taken   . nothing",
        "fetch: address, command, read, data, step stream; PE array: operands, products, row sums,",
        f"column sums, acc stream and its column {traced.column}; requantizer: next and held "
        f"vector, parameters,",
        "stages, out stream and its bytes; write: beats queued, and of which layer; in: program, "
        "image",
    ]
    if traced.program.cfg.tables:
        said.append("tables: value and entry, output; the out stream is theirs, or the adder's")
    if traced.program.cfg.adder:
        said.append(
            "adder: vectors that wait to be added, beats queued, stages; the out stream is its"
        )
    if traced.expected is not None:
        said.append("* before what differs from level cl, in this column or another")
    return said


def lines(traced: Traced) -> Iterator[Text]:
    """A line for each state, in colour. What is not as at level cl has a star before it.

    All are equally wide up to the last column, which says who stalls whom.
    """
    program, start = traced.program, traced.place.start
    widths = [column.width for column in columns(program)]
    expected = traced.expected or traced.states
    both = zip(traced.states, expected, strict=False)
    for cycle, (state, wanted) in enumerate(both, traced.first):
        line = Text()
        cells = _cells(program, state, cycle, start, traced.column)
        right = _cells(program, wanted, cycle, start, traced.column)
        for cell, other, width in zip(cells, right, widths, strict=True):
            if cell.value != other.value:
                # In the space before it
                line.right_crop(1)
                line.append("*", "bold red")
            line.append_text(cell.text)
            line.append(" " * (width - len(cell.text) + 2))
        line.append(who_stalls(program, state), "red")
        line.rstrip()
        yield line


def record(traced: Traced) -> dict[str, Any]:
    """For ``--json``: where the layer lies, and what each of the cycles shows."""
    return {
        "layer": traced.program.layers[traced.place.layer].name,
        "level": traced.level,
        "layer_cycles": traced.place.cycles,
        "layer_start": traced.place.start,
        "column": traced.column,
        "differing": differing(traced),
        "cycles": _cycles(traced),
    }


def _cycles(traced: Traced) -> list[dict[str, Any]]:
    """The fields of each state, and in words what the issue stage does and who stalls whom."""
    program, start = traced.program, traced.place.start
    records = []
    for cycle, state in enumerate(traced.states, traced.first):
        streams = {
            name: {"val": val, "rdy": rdy}
            for name, (val, rdy) in zip(STREAMS, state.streams, strict=True)
        }
        fields = state._asdict() | waveform_names(program, state) | {"streams": streams}
        idle = fields.pop("activity") == Activity.IDLE
        fields["written_layer"] = "-" if idle else program.layers[state.written_layer].name
        # Too large for the numbers of many readers of JSON.
        fields["result"] = None if state.result is None else f"{state.result:016x}"
        records.append({"cycle": cycle, "from_reset": start + cycle} | fields)
    return records


class Cell(NamedTuple):
    """Of a line: what is printed, and all that it stands for."""

    text: Text
    value: Any = None


def _cells(program: Program, state: State, cycle: int, start: int, column: int) -> list[Cell]:
    stream = {name: _stream(*pair) for name, pair in zip(STREAMS, state.streams, strict=True)}
    idle = state.activity == Activity.IDLE
    works = {Activity.STEP: "green", Activity.HANDOVER: "cyan", Activity.IDLE: "dim"}
    out = "" if state.out is None else bytes(state.out).hex()
    texts = [
        Text(f"{cycle:7d}"),
        Text(f"{start + cycle:7d}"),
        Text("-" if idle else program.layers[state.layer].name),
        Text(issue_text(state), works.get(state.activity, "yellow")),
        _join(_marks(state.fetch), " ", stream["step"]),
        _join(_marks(state.array), stream["acc"], _number(state.acc, column)),
        _join(stream["pooled"], _number(state.pooled, column)),
        _join(
            _marks((state.next_vector, state.held_vector)),
            *(" ", stream["param"], " "),
            _marks(state.requantizer),
            stream["out"],
            f" {out}",
        ),
        *([_join(_marks(state.tables), 4 * " ")] if program.cfg.tables else []),
        *([_adder(state)] if program.cfg.adder else []),
        _join(f"{state.queued} ", "-" if idle else program.layers[state.written_layer].name),
        _join(
            *(_stream("prog" in state.taken, True), _stream("image" in state.taken, True)),
            "F" if state.image_full else ".",
        ),
        Text("." if state.result is None else f"{state.result:016x}"),
    ]
    # Of these columns one number is shown of all that the cell stands for.
    vectors = {"PE array": state.acc, "pooling": state.pooled}
    return [
        Cell(text, (text.plain, vectors.get(shown.heading[0])))
        for text, shown in zip(texts, columns(program), strict=True)
    ]


def _join(*parts: str | Text) -> Text:
    return Text.assemble(*parts)


def _adder(state: State) -> Text:
    return _join(f"{state.operands:2d} {state.to_add} ", _marks(state.adder))


def _marks(held: tuple[bool, ...]) -> Text:
    return Text.assemble(*(("#", "cyan") if here else (".", "dim") for here in held))


def _stream(val: bool, rdy: bool) -> Text:
    if not val:
        return Text(".", "dim")
    return Text(">", "green") if rdy else Text("!", "bold red")


def _number(vector: tuple[int, ...] | None, column: int) -> Text:
    return Text(f"{'' if vector is None else vector[column]:>10}")
