"""Lets PyMTL3 simulate signals of more than 1,023 bits.

A weight word of a 16-column array has 1,152 bits, but PyMTL3's ``Bits`` stops short of 1,024. It
keeps two tables of the largest and smallest value per width, and one constant in its constructor;
nothing else depends on the limit.
"""

from __future__ import annotations

from pymtl3.datatypes import PythonBits

MAX_NBITS = 5120
"""Above a ``step`` message of 64 columns, the widest signal there is (4,702 bits)."""

_PYMTL_LIMIT = 1024


def allow_wide_bits() -> None:
    """Raise the limit to ``MAX_NBITS``. Doing it twice does nothing."""
    constructor = PythonBits.Bits.__init__
    constants = constructor.__code__.co_consts
    if _PYMTL_LIMIT not in constants:
        return
    for nbits in range(len(PythonBits._upper), MAX_NBITS + 1):
        PythonBits._upper.append((1 << nbits) - 1)
        PythonBits._lower.append(-(1 << (nbits - 1)))
    constructor.__code__ = constructor.__code__.replace(
        co_consts=tuple(MAX_NBITS + 1 if c == _PYMTL_LIMIT else c for c in constants)
    )
