"""The requantizer, functional."""

from collections.abc import Sequence

import numpy as np

from accel.hardware.config import AccelConfig
from accel.hardware.messages import Ints, Out, Param, Pooled, mk_out, mk_param, mk_pooled
from accel.numerics import requantize, wrap
from fl_models.unit import UnitFL


class RequantizerCoreFL:
    """Requantizes a vector with the beats that follow it, all at once at the ``last`` one.

    Beats past the last column see zeros.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.num_lanes, self.acc_nbits = cfg.num_lanes, cfg.acc_nbits
        self.reset()

    def reset(self) -> None:
        self.held: Ints | None = None
        self.params: list[Param] = []

    def wants(self, port: str) -> bool:
        return (self.held is None) == (port == "pooled")

    def take(self, port: str, message: Pooled | Param) -> list[Out]:
        if isinstance(message, Pooled):
            self.held = message.acc
            return []
        self.params.append(message)
        if not message.last:
            return []
        assert self.held is not None
        acc = np.zeros((len(self.params), self.num_lanes), dtype=np.int64)
        count = min(acc.size, len(self.held))
        acc.flat[:count] = self.held[:count]
        outs = requantize_beats(acc, self.params, self.acc_nbits)
        self.reset()
        return outs


def requantize_beats(acc: Ints, params: Sequence[Param], acc_nbits: int) -> list[Out]:
    """What beats yield. acc: int (beats, num_lanes), params: one for each beat."""
    bias, bits = (np.stack([getattr(p, name) for p in params]) for name in ("bias", "multiplier"))
    zero_point, lo, hi = np.array([(p.zero_point, p.lo, p.hi) for p in params]).T[..., None]
    multiplier = bits.astype(np.uint32).view(np.float32)
    y = requantize(wrap(acc + bias, acc_nbits), multiplier, zero_point, lo, hi)
    return [Out(beat) for beat in y & 0xFF]


class RequantizerFL(UnitFL):
    """:class:`RequantizerCoreFL` with val/rdy ports ``pooled``, ``param`` and ``out``."""

    def construct(s, cfg: AccelConfig) -> None:
        recv_types = {"pooled": mk_pooled(cfg), "param": mk_param(cfg)}
        s.add_core(cfg, RequantizerCoreFL(cfg), recv_types, "out", mk_out(cfg))
