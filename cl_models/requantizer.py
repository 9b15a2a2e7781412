"""The requantizer, cycle level."""

from collections import deque
from typing import Any

import numpy as np

from accel.config import AccelConfig
from accel.messages import Out, Param, Pooled, mk_out, mk_param, mk_pooled
from accel.numerics import requantize, wrap
from cl_models.unit import UnitCL

LATENCY = 11
"""Cycles from the acceptance of a beat to the offer of its output."""


class RequantizerCore:
    """Outputs are computed when a beat is accepted, and offered 11 cycles later.

    ``out`` is what the ``out`` stream offers in this cycle, or None.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.num_lanes, self.acc_nbits = cfg.num_lanes, cfg.acc_nbits
        self.reset()

    def reset(self) -> None:
        """Nothing held, pipeline empty."""
        # The columns that no beat took yet
        self.held: np.ndarray | None = None
        # One entry per register stage before the output register, the newest at the left.
        self.stages: deque[Out | None] = deque([None] * (LATENCY - 1))
        self.out: Out | None = None

    def ready_pooled(self, param: Param | None, send_rdy: bool) -> bool:
        """``param`` is what that stream offers in this cycle: a ``last`` beat makes room."""
        if self.held is None:
            return True
        return param is not None and bool(param.last) and self.ready_param(send_rdy)

    def ready_param(self, send_rdy: bool) -> bool:
        return self.held is not None and (self.out is None or send_rdy)

    def tick(self, pooled: Pooled | None, param: Param | None, send_rdy: bool) -> None:
        if self.out is None or send_rdy:
            self.stages.appendleft(None if param is None else self._requantize(param))
            self.out = self.stages.pop()
        if param is not None and param.last:
            self.held = None
        if pooled is not None:
            self.held = pooled.acc

    def _requantize(self, param: Param) -> Out:
        assert self.held is not None
        acc, self.held = np.split(self.held, [self.num_lanes])
        if not len(acc):  # a beat past the last column sees zeros
            acc = np.zeros(self.num_lanes, dtype=np.int64)
        biased = wrap(acc + param.bias, self.acc_nbits)
        multiplier = param.multiplier.astype(np.uint32).view(np.float32)
        y = requantize(biased, multiplier, param.zero_point, param.lo, param.hi)
        return Out(y & 0xFF)


class RequantizerCL(UnitCL):
    """:class:`RequantizerCore` with val/rdy ports ``pooled``, ``param`` and ``out``."""

    def ready(s, core: RequantizerCore, offered: list[Any], send_rdy: bool) -> tuple[bool, ...]:
        return core.ready_pooled(offered[1], send_rdy), core.ready_param(send_rdy)

    def construct(s, cfg: AccelConfig) -> None:
        recv_types = {"pooled": mk_pooled(cfg), "param": mk_param(cfg)}
        s.add_core(cfg, RequantizerCore(cfg), recv_types, "out", mk_out(cfg))
