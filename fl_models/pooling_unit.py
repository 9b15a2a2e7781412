"""The pooling unit, functional."""

import numpy as np

from accel.hardware.config import AccelConfig
from accel.hardware.messages import Acc, Pooled, mk_acc, mk_pooled
from fl_models.unit import UnitFL


class PoolingUnitCoreFL:
    """The maximum of each pooling window, in every column."""

    def __init__(self, cfg: AccelConfig) -> None:
        self.window: list[np.ndarray] = []

    def reset(self) -> None:
        self.window = []

    def wants(self, port: str) -> bool:
        return True

    def take(self, port: str, acc: Acc) -> list[Pooled]:
        if acc.pool_first:
            self.window = []
        self.window.append(acc.acc)
        return [Pooled(np.max(self.window, axis=0))] if acc.pool_last else []


class PoolingUnitFL(UnitFL):
    """:class:`PoolingUnitCoreFL` with val/rdy ports ``acc`` and ``pooled``."""

    def construct(s, cfg: AccelConfig) -> None:
        s.add_core(cfg, PoolingUnitCoreFL(cfg), {"acc": mk_acc(cfg)}, "pooled", mk_pooled(cfg))
