"""The PE array, cycle level."""

from collections import deque

import numpy as np

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.messages import Acc, Step, mk_acc, mk_step
from accel.hardware.pipeline import PE_ARRAY_LATENCY
from accel.numerics import wrap
from cl_models.unit import UnitCL


class PEArrayCoreCL:
    """Sums are computed when a step is accepted, and reach the accumulators 5 cycles later.

    ``out`` is what the ``acc`` stream offers in this cycle, or None.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.acc_nbits = cfg.acc_nbits
        groups = cfg.operand_sets, cfg.operand_cols, TAPS
        self.scratchpad = np.zeros((cfg.spad_depth, *groups), dtype=np.int64)
        self.acc = np.zeros(cfg.num_cols, dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        """Empties the pipeline; scratchpad and accumulators keep what they hold."""
        # One entry per register stage before the accumulators, the newest at the left.
        self.stages: deque[tuple[Step, np.ndarray] | None] = deque([None] * (PE_ARRAY_LATENCY - 1))
        self.out: Acc | None = None

    def ready(self, send_rdy: bool) -> bool:
        return self.out is None or send_rdy

    def tick(self, step: Step | None, send_rdy: bool) -> None:
        if self.out is not None and not send_rdy:
            return
        self.out = None
        entry = self.stages.pop()
        if step is None:
            self.stages.appendleft(None)
        else:
            w = self.scratchpad[step.idx]
            if step.load:
                w = step.w.astype(np.int64).reshape(w.shape)
            if step.keep:
                self.scratchpad[step.idx] = w
            sums = w @ step.x[:, :, None]
            self.stages.appendleft((step, sums.ravel()))
        if entry is not None:
            done, sums = entry
            # Wrapping can wait for the end: int64 adds far more steps than a layer has.
            self.acc = sums if done.first else self.acc + sums
            if done.last:
                acc = wrap(self.acc, self.acc_nbits)
                self.out = Acc(acc, done.pool_first, done.pool_last)


class PEArrayCL(UnitCL):
    """:class:`PEArrayCoreCL` with val/rdy ports ``step`` and ``acc``."""

    def construct(s, cfg: AccelConfig) -> None:
        s.add_core(cfg, PEArrayCoreCL(cfg), {"step": mk_step(cfg)}, "acc", mk_acc(cfg))
