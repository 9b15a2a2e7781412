"""The registers that a step and what becomes of it pass, from its issue to memory.

Latencies, the bounds of what can be in flight, the columns of a trace and the drawing in
``docs/architecture.md`` follow from :data:`STAGES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from accel.hardware.config import AccelConfig


class Holds(Enum):
    """What a register of the pipeline is full with."""

    STEP = "a step"
    VECTOR = "a vector: the accumulators of all columns"
    BEAT = "a beat: what the lanes requantize in a cycle"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A register that holds a step, a vector or a beat for at least one cycle."""

    unit: str
    register: str
    holds: Holds
    letter: str = ""
    """What a trace calls it."""
    places: int = 1
    does: str = ""
    """What happens to what it holds, before the next register."""
    stream: str = ""
    """The stream that offers what it holds."""
    only_last: str = ""
    """It is passed on only after the last of these."""


def _requantizer_stages() -> tuple[Stage, ...]:
    does = (
        "bias",
        "magnitude",
        "leading zeros",
        "shift",
        "round to float32",
        "multiply",
        "multiply",
        "round to float32",
        "round to an integer",
        "zero point and clamp",
    )
    return tuple(
        Stage(unit="requantizer", register=f"stage {i}", holds=Holds.BEAT, letter=str(i), does=d)
        for i, d in enumerate(does, 1)
    )


STAGES: tuple[Stage, ...] = (
    Stage(unit="operand fetch", register="step, address", holds=Holds.STEP, letter="a",
          does="rows of the nine taps"),
    Stage(unit="operand fetch", register="command", holds=Holds.STEP, letter="c",
          does="rotation to banks; the activation memory is read"),
    Stage(unit="operand fetch", register="read data", holds=Holds.STEP, letter="r",
          does="the weight memory is read"),
    Stage(unit="operand fetch", register="data", holds=Holds.STEP, letter="d",
          does="rotation to taps, padding, sign"),
    Stage(unit="operand fetch", register="operands, weights", holds=Holds.STEP,
          does="is an activation zero?", stream="step"),
    Stage(unit="PE array", register="operand", holds=Holds.STEP, letter="o",
          does="a PE multiplies; its weights come with the step or from its scratchpad"),
    Stage(unit="PE array", register="product", holds=Holds.STEP, letter="p",
          does="the three of a PE are added"),
    Stage(unit="PE array", register="row sum", holds=Holds.STEP, letter="r",
          does="PE by PE down a column"),
    Stage(unit="PE array", register="column sum", holds=Holds.STEP, letter="c",
          does="added to the accumulator"),
    Stage(unit="PE array", register="accumulator", holds=Holds.STEP, stream="acc",
          only_last="step of a sum"),
    Stage(unit="pooling unit", register="maximum", holds=Holds.VECTOR, stream="pooled",
          only_last="pixel of a window"),
    Stage(unit="requantizer", register="next vector", holds=Holds.VECTOR, letter="n"),
    Stage(unit="requantizer", register="held vector", holds=Holds.VECTOR, letter="h",
          does="one beat of its columns a cycle"),
    *_requantizer_stages(),
    Stage(unit="requantizer", register="output", holds=Holds.BEAT, stream="out"),
    Stage(unit="write sequencer", register="queue", holds=Holds.BEAT, places=2,
          does="address; rotation to banks; or the result packer takes it"),
    Stage(unit="write sequencer", register="write register", holds=Holds.BEAT,
          does="the activation memory is written"),
)  # fmt: skip
"""In the order in which they are passed. Unstalled, each takes a cycle."""


ADDER_STAGES: tuple[Stage, ...] = (
    Stage(unit="adder", register="queue", holds=Holds.BEAT, places=2,
          does="what is added comes from its queue"),
    Stage(unit="adder", register="operands", holds=Holds.BEAT, does="multiply"),
    Stage(unit="adder", register="parts of products", holds=Holds.BEAT,
          does="added; with one product the constant"),
    Stage(unit="adder", register="products", holds=Holds.BEAT, does="added"),
    Stage(unit="adder", register="sum", holds=Holds.BEAT, does="half is added"),
    Stage(unit="adder", register="sum and half", holds=Holds.BEAT, does="shift"),
    Stage(unit="adder", register="integer", holds=Holds.BEAT, does="zero point"),
    Stage(unit="adder", register="value", holds=Holds.BEAT, does="clamp"),
    Stage(unit="adder", register="output", holds=Holds.BEAT, stream="out"),
)  # fmt: skip
"""Of a layer that adds: between requantizer and write sequencer."""

TABLE_STAGES: tuple[Stage, ...] = (
    Stage(unit="tables", register="value, entry", holds=Holds.BEAT,
          does="the entry, where the layer looks up"),
    Stage(unit="tables", register="output", holds=Holds.BEAT, stream="out"),
)  # fmt: skip
"""Of all layers where there are tables: behind the requantizer."""


def stages_of(cfg: AccelConfig, *, adds: bool = False) -> tuple[Stage, ...]:
    """:data:`STAGES`, and what else the outputs of a layer pass, of one that adds or of another."""
    end = next(i for i, stage in enumerate(STAGES) if stage.unit == "write sequencer")
    tables, adder = TABLE_STAGES if cfg.tables else (), ADDER_STAGES if adds else ()
    return STAGES[:end] + tables + adder + STAGES[end:]


def stages(unit: str, holds: Holds | None = None) -> tuple[Stage, ...]:
    """The stages of a unit, or those that hold such a thing."""
    return tuple(s for s in STAGES if s.unit == unit and holds in (None, s.holds))


def places(holds: Holds, cfg: AccelConfig, *, adds: bool = False) -> int:
    """How many of these can be under way at once, of a layer that adds, or of another."""
    return sum(stage.places for stage in stages_of(cfg, adds=adds) if stage.holds is holds)


def memory_latency(cfg: AccelConfig, *, adds: bool = False) -> int:
    """Cycles from the issue of a vector's last step to the first in which a step may read the
    outputs of its first beat, if nothing stalls; those of each further beat follow a cycle later.
    """
    return len(stages_of(cfg, adds=adds)) - cfg.passes_vectors_on + 1


def vector_cycles(cfg: AccelConfig) -> int:
    """Least cycles from one vector to the next in the requantizer, however few beats each has."""
    return 1 if cfg.passes_vectors_on else 2


def backlog(cfg: AccelConfig) -> int:
    """Most cycles that what a vector becomes can be late, once no result is waited for any more:
    the vectors before it are still to be requantized, a queue's second place is to be emptied, what
    the layer before adds goes first, and the units behind take up a new layer."""
    vectors = places(Holds.VECTOR, cfg) * max(cfg.num_beats, vector_cycles(cfg))
    queued = sum(stage.places - 1 for stage in stages_of(cfg, adds=cfg.adder))
    return vectors + queued + TO_NEXT_LAYER + (ADDER_LATENCY if cfg.adder else 0)


FETCH_LATENCY = len(stages("operand fetch"))
"""Cycles from the issue of a step to its offer to the PE array."""

PE_ARRAY_LATENCY = len(stages("PE array"))
"""Cycles from the acceptance of a ``last`` step to the offer of its sums."""

REQUANTIZER_LATENCY = len(stages("requantizer", Holds.BEAT))
"""Cycles from the acceptance of a beat to the offer of its output."""

TABLE_LATENCY = len(TABLE_STAGES)
"""The same of the tables."""

ADDER_LATENCY = len(ADDER_STAGES)
"""And of the adder."""

TO_NEXT_LAYER = 6
"""Cycles that parameter sequencer, adder and write sequencer do nothing in, two each, where another
layer's beat comes to them."""

OPERANDS = 16
"""Vectors that wait to be added. As many are between the step that reads one and the beats that it
is added to where a vector has the fewest steps, two, and nothing stalls; if it is full, steps
wait."""


def diagram(stages: tuple[Stage, ...] = STAGES) -> str:
    """The pipeline, or a part of it, as a table in Markdown."""
    lines = ["| cycle | unit | register | holds | then |", "|---|---|---|---|---|"]
    for cycle, stage in enumerate(stages, 1):
        then = [stage.does] if stage.does else []
        if stage.stream:
            after = f", after the last {stage.only_last}" if stage.only_last else ""
            then.append(f"offered on the `{stage.stream}` stream{after}")
        what = stage.holds.name.lower() if stage.places == 1 else f"{stage.places} beats"
        lines.append(f"| {cycle} | {stage.unit} | {stage.register} | {what} | {'; '.join(then)} |")
    return "\n".join(lines) + "\n"
