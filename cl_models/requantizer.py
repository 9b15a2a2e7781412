"""The requantizer, cycle level."""

from collections import deque
from typing import Any

import numpy as np

from accel.hardware.config import AccelConfig
from accel.hardware.messages import Ints, Param, Pooled, mk_param, mk_pooled, mk_requantized
from accel.hardware.pipeline import REQUANTIZER_LATENCY
from cl_models.unit import UnitCL
from fl_models.requantizer import Requantized, requantize_beats


class RequantizerCoreCL:
    """A beat's output is offered 11 cycles after the beat was accepted.

    ``out`` is what the ``out`` stream offers in this cycle, or None. Outputs are computed only when
    the first one is due, and then for all beats in the pipeline together.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.cfg, self.num_lanes = cfg, cfg.num_lanes
        self.passes_vectors_on = cfg.passes_vectors_on
        self.no_columns = np.zeros(cfg.num_lanes, dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        """Nothing held, pipeline empty."""
        self.next: Ints | None = None
        # The columns that no beat took yet
        self.held: Ints | None = None
        # Whether there is a beat in each stage before the output register, the newest at the left
        self.stages = deque([False] * (REQUANTIZER_LATENCY - 1))
        # These beats, the oldest first: not yet computed, and computed
        self.pending: list[tuple[Ints, Param]] = []
        self.computed: deque[Requantized] = deque()
        self.out: Requantized | None = None

    @property
    def ready_pooled(self) -> bool:
        return self.next is None

    def ready_param(self, send_rdy: bool) -> bool:
        return self.held is not None and (self.out is None or send_rdy)

    def tick(self, pooled: Pooled | None, param: Param | None, send_rdy: bool) -> None:
        if param is not None:
            assert self.held is not None
            columns, self.held = self.held[: self.num_lanes], self.held[self.num_lanes :]
            # A beat past the last column sees zeros.
            self.pending.append((columns if len(columns) else self.no_columns, param))
        if self.out is None or send_rdy:
            self.stages.appendleft(param is not None)
            self.out = self._next_out() if self.stages.pop() else None
        if param is not None and param.last:
            self.held = None
        if self.held is None:
            self.held, self.next = self.next, None
        if pooled is None:
            return
        if self.held is None and self.passes_vectors_on:
            self.held = pooled.acc
        else:
            self.next = pooled.acc

    def _next_out(self) -> Requantized:
        if not self.computed:
            columns, params = zip(*self.pending, strict=True)
            self.computed.extend(requantize_beats(np.stack(columns), params, self.cfg))
            self.pending = []
        return self.computed.popleft()


class RequantizerCL(UnitCL):
    """:class:`RequantizerCoreCL` with val/rdy ports ``pooled``, ``param`` and ``out``."""

    def ready(s, core: RequantizerCoreCL, offered: list[Any], send_rdy: bool) -> tuple[bool, ...]:
        return core.ready_pooled, core.ready_param(send_rdy)

    def construct(s, cfg: AccelConfig) -> None:
        recv_types = {"pooled": mk_pooled(cfg), "param": mk_param(cfg)}
        s.add_core(cfg, RequantizerCoreCL(cfg), recv_types, "out", mk_requantized(cfg))
