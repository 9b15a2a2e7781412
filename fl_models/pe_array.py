"""The PE array, functional."""

import numpy as np

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.messages import Acc, Step, mk_acc, mk_step
from accel.numerics import wrap
from fl_models.unit import UnitFL


class PEArrayCoreFL:
    """Multiply-accumulates steps; a ``last`` step yields the accumulators."""

    def __init__(self, cfg: AccelConfig) -> None:
        self.acc_nbits = cfg.acc_nbits
        groups = cfg.operand_sets, cfg.operand_cols, TAPS
        self.scratchpad = np.zeros((cfg.spad_depth, *groups), dtype=np.int64)
        self.acc = np.zeros(cfg.num_cols, dtype=np.int64)

    def reset(self) -> None:
        """Scratchpad and accumulators keep what they hold."""

    def wants(self, port: str) -> bool:
        return True

    def take(self, port: str, step: Step) -> list[Acc]:
        w = self.scratchpad[step.idx]
        if step.load:
            w = step.w.reshape(w.shape)
        if step.keep:
            self.scratchpad[step.idx] = w
        sums = (w @ step.x[:, :, None]).ravel()
        self.acc = wrap(sums if step.first else self.acc + sums, self.acc_nbits)
        return [Acc(self.acc, step.pool_first, step.pool_last)] if step.last else []


class PEArrayFL(UnitFL):
    """:class:`PEArrayCoreFL` with val/rdy ports ``step`` and ``acc``."""

    def construct(s, cfg: AccelConfig) -> None:
        s.add_core(cfg, PEArrayCoreFL(cfg), {"step": mk_step(cfg)}, "acc", mk_acc(cfg))
