"""The pooling unit, cycle level."""

import numpy as np

from accel.hardware.config import AccelConfig
from accel.hardware.messages import Acc, Pooled, mk_acc, mk_pooled
from cl_models.unit import UnitCL


class PoolingUnitCoreCL:
    """The maximum is offered in the cycle after the ``pool_last`` message was accepted.

    ``out`` is what the ``pooled`` stream offers in this cycle, or None.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.best = np.zeros(cfg.num_cols, dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        """Nothing is offered; the maxima stay, and end with the next ``pool_first`` message."""
        self.out: Pooled | None = None

    def ready(self, send_rdy: bool) -> bool:
        return self.out is None or send_rdy

    def tick(self, acc: Acc | None, send_rdy: bool) -> None:
        if send_rdy:
            self.out = None
        if acc is not None:
            self.best = acc.acc if acc.pool_first else np.maximum(self.best, acc.acc)
            if acc.pool_last:
                self.out = Pooled(self.best)


class PoolingUnitCL(UnitCL):
    """:class:`PoolingUnitCoreCL` with val/rdy ports ``acc`` and ``pooled``."""

    def construct(s, cfg: AccelConfig) -> None:
        s.add_core(cfg, PoolingUnitCoreCL(cfg), {"acc": mk_acc(cfg)}, "pooled", mk_pooled(cfg))
