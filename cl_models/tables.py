"""The tables, cycle level."""

from typing import Any

import numpy as np

from accel.hardware.config import TABLE_SIZE, AccelConfig
from accel.hardware.messages import Beat, Entry, Out, Value, mk_entry, mk_looked_up, mk_value
from cl_models.unit import UnitCL
from fl_models.tables import passed_on


class TablesCoreCL:
    """What becomes of a value is offered two cycles after the value was taken.

    ``out`` is what the ``out`` stream offers in this cycle, or None. ``tables``: int64
    (tables, 256).
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.cfg = cfg
        self.tables = np.zeros((cfg.tables, TABLE_SIZE), np.int64)
        self.reset()

    def reset(self) -> None:
        """Nothing on its way; tables stay."""
        self.found: Out | Beat | None = None
        self.out: Out | Beat | None = None

    def ready(self, send_rdy: bool) -> bool:
        return self.out is None or send_rdy

    def tick(self, entry: Entry | None, value: Value | None, send_rdy: bool) -> None:
        if self.ready(send_rdy):
            self.out = self.found
            self.found = None
            if value is not None:
                self.found = passed_on(value, self.tables, self.cfg)
        if entry is not None:
            self.tables.flat[entry.address] = entry.value


class TablesCL(UnitCL):
    """:class:`TablesCoreCL` with val/rdy ports ``entry``, ``value`` and ``out``."""

    def ready(s, core: TablesCoreCL, offered: list[Any], send_rdy: bool) -> tuple[bool, ...]:
        return True, core.ready(send_rdy)

    def construct(s, cfg: AccelConfig) -> None:
        recv_types = {"entry": mk_entry(cfg), "value": mk_value(cfg)}
        s.add_core(cfg, TablesCoreCL(cfg), recv_types, "out", mk_looked_up(cfg))
