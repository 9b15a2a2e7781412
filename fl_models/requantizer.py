"""The requantizer, functional."""

from collections.abc import Sequence

import numpy as np

from accel.hardware.config import AccelConfig
from accel.hardware.messages import (
    Beat,
    Ints,
    Out,
    Param,
    Pooled,
    Value,
    mk_param,
    mk_pooled,
    mk_requantized,
)
from accel.numerics import requantize, wrap
from fl_models.unit import UnitFL

Requantized = Out | Beat | Value


class RequantizerCoreFL:
    """Requantizes a vector with the beats that follow it, all at once at the ``last`` one.

    Beats past the last column see zeros.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.cfg, self.num_lanes = cfg, cfg.num_lanes
        self.reset()

    def reset(self) -> None:
        self.held: Ints | None = None
        self.params: list[Param] = []

    def wants(self, port: str) -> bool:
        return (self.held is None) == (port == "pooled")

    def take(self, port: str, message: Pooled | Param) -> list[Requantized]:
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
        outs = requantize_beats(acc, self.params, self.cfg)
        self.reset()
        return outs


def requantize_beats(acc: Ints, params: Sequence[Param], cfg: AccelConfig) -> list[Requantized]:
    """What beats yield: for tables or an adder behind, with what these have to know of them. acc:
    int (beats, num_lanes), params: one for each beat."""
    bias, bits = (np.stack([getattr(p, name) for p in params]) for name in ("bias", "multiplier"))
    zero_point, lo, hi = np.array([(p.zero_point, p.lo, p.hi) for p in params]).T[..., None]
    multiplier = bits.astype(np.uint32).view(np.float32)
    acc = wrap(acc + bias, cfg.acc_nbits)
    y = requantize(acc, multiplier, zero_point, lo, hi)
    if cfg.adder:
        away = np.array([[p.ties_away] for p in params])
        if away.any():
            y = np.where(away, requantize(acc, multiplier, zero_point, lo, hi, True), y)
    else:
        y = y & 0xFF
    beats = zip(y, params, strict=True)
    if cfg.tables:
        # What no adder wants to know has no place in the message.
        return [
            Value(
                beat,
                p.looks_up,
                p.table_index,
                *((p.table_signed, p.last, p.ends_layer) * cfg.adder),
            )
            for beat, p in beats
        ]
    if cfg.adder:
        return [Beat(beat, p.last, p.ends_layer) for beat, p in beats]
    return [Out(beat) for beat, _ in beats]


class RequantizerFL(UnitFL):
    """:class:`RequantizerCoreFL` with val/rdy ports ``pooled``, ``param`` and ``out``."""

    def construct(s, cfg: AccelConfig) -> None:
        recv_types = {"pooled": mk_pooled(cfg), "param": mk_param(cfg)}
        s.add_core(cfg, RequantizerCoreFL(cfg), recv_types, "out", mk_requantized(cfg))
