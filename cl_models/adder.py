"""The adder, cycle level."""

from collections import deque
from typing import Any

import numpy as np

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
from accel.hardware.pipeline import ADDER_LATENCY, OPERANDS
from cl_models.unit import UnitCL
from fl_models.adder import add_terms


class AdderCoreCL:
    """A beat's output is offered 9 cycles after the beat was accepted; in a layer that adds
    nothing, in the same cycle.

    :meth:`offer` is what the ``out`` stream offers in this cycle, or None; :meth:`settle` comes
    before what is asked about the others. Outputs are computed only when the first one is due, and
    then for all beats in the pipeline together: they are of one layer.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.num_lanes = cfg.num_lanes
        self.reset()

    def reset(self) -> None:
        """Nothing held, pipeline empty."""
        self.queue: deque[Beat] = deque()
        self.operands: deque[Ints] = deque()
        self.beat = 0
        # The terms are those of the layer whose beat comes next: its last one is not in the queue.
        self.known = True
        # A layer's last beat is under way.
        self.ending = False
        # Whether there is a beat in each stage before the output register, the newest at the left
        self.stages = deque([False] * (ADDER_LATENCY - 2))
        self.pending: list[tuple[Ints, Ints]] = []
        self.computed: deque[Out] = deque()
        self.out: Out | None = None

    @property
    def ready_operand(self) -> bool:
        return len(self.operands) < OPERANDS

    def _passes(self, terms: Terms | None) -> bool:
        """What comes goes on as it is."""
        return terms is not None and not terms.pops

    def offer(self, terms: Terms | None, operand: Operand | None, beat: Beat | None) -> Out | None:
        """Given what comes."""
        if not self._passes(terms):
            return self.out
        return None if beat is None else Out(beat.y & 0xFF)

    def settle(self, terms: Terms | None, beat: Beat | None, send_rdy: bool) -> None:
        """``terms``, ``beat``: what is offered."""
        self.terms = terms
        if self._passes(terms):
            self.advance, self.takes, self.ready_beat = True, False, send_rdy
            self.ready_terms = beat is not None and bool(beat.ends_layer) and send_rdy
            return
        self.ready_beat = terms is not None and self.known and len(self.queue) < 2
        self.advance = self.out is None or send_rdy
        self.takes = bool(self.queue and self.operands) and self.advance
        is_alone = self.out is not None and not any(self.stages)
        self.ready_terms = self.ending and is_alone and send_rdy

    def tick(
        self, terms: Terms | None, operand: Operand | None, beat: Beat | None, send_rdy: bool
    ) -> None:
        """``terms``, ``operand``, ``beat``: taken in this cycle."""
        passes = self._passes(self.terms)
        if self.takes:
            self._take()
        if self.advance:
            self.stages.appendleft(self.takes)
            self.out = self._next_out() if self.stages.pop() else None
        if terms is not None:
            self.ending, self.known = False, True
        if operand is not None:
            self.operands.append(operand.x)
        if beat is not None and not passes:
            self.queue.append(beat)
            self.known = not beat.ends_layer

    def _take(self) -> None:
        assert self.terms is not None
        taken, start = self.queue.popleft(), self.beat * self.num_lanes
        self.pending.append((taken.y, self.operands[0][start : start + self.num_lanes]))
        self.beat = 0 if taken.last else self.beat + 1
        if taken.last:
            self.operands.popleft()
        self.ending = bool(taken.ends_layer)

    def _next_out(self) -> Out:
        if not self.computed:
            assert self.terms is not None
            y, added = (np.stack(part) for part in zip(*self.pending, strict=True))
            self.computed.extend(Out(beat) for beat in add_terms(y, added, self.terms) & 0xFF)
            self.pending = []
        return self.computed.popleft()


class AdderCL(UnitCL):
    """:class:`AdderCoreCL` with val/rdy ports ``terms``, ``operand``, ``beat`` and ``out``."""

    flows_through = True

    def ready(s, core: AdderCoreCL, offered: list[Any], send_rdy: bool) -> tuple[bool, ...]:
        core.settle(offered[0], offered[2], send_rdy)
        return core.ready_terms, core.ready_operand, core.ready_beat

    def construct(s, cfg: AccelConfig) -> None:
        recv_types = {"terms": mk_terms(cfg), "operand": mk_operand(cfg), "beat": mk_beat(cfg)}
        s.add_core(cfg, AdderCoreCL(cfg), recv_types, "out", mk_out(cfg))
