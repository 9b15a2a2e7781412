"""The adder, functional."""

from collections import deque

from accel.hardware.config import AccelConfig
from accel.hardware.messages import (
    Beat,
    Ints,
    Operand,
    Out,
    Terms,
    mk_beat,
    mk_operand,
    mk_out,
    mk_terms,
)
from accel.numerics import add
from fl_models.unit import UnitFL


class AdderCoreFL:
    """Adds to the beats of a vector what is the next one on ``operand``, in layers that ``pop``;
    those of others pass.

    Beat i of a vector takes columns i*num_lanes and following. Terms are a layer's, and go with its
    last beat.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.num_lanes = cfg.num_lanes
        self.reset()

    def reset(self) -> None:
        self.terms: Terms | None = None
        self.operands: deque[Ints] = deque()
        self.beat = 0

    def wants(self, port: str) -> bool:
        if port == "operand":
            return True
        if port == "terms":
            return self.terms is None
        return self.terms is not None and (bool(self.operands) or not self.terms.pops)

    def take(self, port: str, message: Terms | Operand | Beat) -> list[Out]:
        match message:
            case Terms():
                self.terms = message
                return []
            case Operand():
                self.operands.append(message.x)
                return []
        assert self.terms is not None
        y = self._add(message, self.terms) if self.terms.pops else message.y
        if message.ends_layer:
            self.terms = None
        return [Out(y & 0xFF)]

    def _add(self, beat: Beat, terms: Terms) -> Ints:
        start = self.beat * self.num_lanes
        added = self.operands[0][start : start + self.num_lanes]
        self.beat += 1
        if beat.last:
            self.beat = 0
            self.operands.popleft()
        return add_terms(beat.y, added, terms)


def add_terms(y: Ints, operand: Ints, terms: Terms) -> Ints:
    """The sum of requantized activations and what is added to them."""
    return add(
        y,
        operand,
        (terms.own, terms.operand),
        terms.constant,
        terms.shift,
        bool(terms.ties_away),
        terms.zero_point,
        terms.lo,
        terms.hi,
    )


class AdderFL(UnitFL):
    """:class:`AdderCoreFL` with val/rdy ports ``terms``, ``operand``, ``beat`` and ``out``."""

    def construct(s, cfg: AccelConfig) -> None:
        recv_types = {"terms": mk_terms(cfg), "operand": mk_operand(cfg), "beat": mk_beat(cfg)}
        s.add_core(cfg, AdderCoreFL(cfg), recv_types, "out", mk_out(cfg))
