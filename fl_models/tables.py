"""The tables, functional."""

import numpy as np

from accel.hardware.config import TABLE_SIZE, AccelConfig
from accel.hardware.messages import (
    Beat,
    Entry,
    Ints,
    Out,
    Value,
    mk_entry,
    mk_looked_up,
    mk_value,
)
from fl_models.unit import UnitFL


class TablesCoreFL:
    """Looks values up, or passes them on.

    ``tables``: int64 (tables, 256), what entries fill.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.cfg = cfg
        self.tables = np.zeros((cfg.tables, TABLE_SIZE), np.int64)

    def reset(self) -> None:
        """Tables stay."""

    def wants(self, port: str) -> bool:
        return True

    def take(self, port: str, message: Entry | Value) -> list[Out] | list[Beat]:
        if isinstance(message, Entry):
            self.tables.flat[message.address] = message.value
            return []
        return [passed_on(message, self.tables, self.cfg)]


def passed_on(value: Value, tables: Ints, cfg: AccelConfig) -> Out | Beat:
    """What becomes of a value; for an adder behind, with what it has to know of it."""
    y = value.y
    if value.looks_up:
        y = look_up(y, tables[value.table_index], bool(value.table_signed))
    if not cfg.adder:
        return Out(y & 0xFF)
    return Beat(y, value.last, value.ends_layer)


def look_up(y: Ints, table: Ints, signed: bool) -> Ints:
    """What a table has for the lower byte of each of ``y``: int64, same shape.

    table: int64 (256,), from 0 to 255; as int8 if ``signed``.
    """
    found = table[y & 0xFF]
    return np.where(found > 127, found - TABLE_SIZE, found) if signed else found


class TablesFL(UnitFL):
    """:class:`TablesCoreFL` with val/rdy ports ``entry``, ``value`` and ``out``."""

    def construct(s, cfg: AccelConfig) -> None:
        recv_types = {"entry": mk_entry(cfg), "value": mk_value(cfg)}
        s.add_core(cfg, TablesCoreFL(cfg), recv_types, "out", mk_looked_up(cfg))
