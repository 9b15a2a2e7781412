"""Two processing elements of neighbouring columns, whose multipliers are shared."""

from pymtl3 import Component, InPort, OutPort, Wire, sext, update, update_ff, zext
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import ACT_NBITS, AccelConfig
from rtl_models.multiplier import SUM_NBITS
from rtl_models.packed_multiplier import PackedMultiplierRTL
from rtl_models.scratchpad import Scratchpad

CARRIES_NBITS = 11
"""Holds the sum of nine carries, from -64 to 64 each."""
LOWS_NBITS = 13
"""Holds the sum of nine times 2**9 - 1, unsigned."""


class PEPair(Component):
    """The :class:`~rtl_models.pe.PE` of two columns, with the same activations.

    ::

        wa --> scratchpad --a--+                            uppers, carries, lows out
        wb --> scratchpad --b--+                                      ^
                               v                                      |
        x0 x1 x2 ---> [ multiplier ] --> [ product ] -- + -- [ row ] -- + <-- in, from below

    The parts of the products (:class:`~rtl_models.packed_multiplier.PackedMultiplierRTL`) are added
    up each for itself, over the taps here and from the PEs below: what tells the two columns apart
    is done once, at the top (:class:`~rtl_models.column_pair.ColumnPair`). Ports, registers and
    cycles are a PE's.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"PEPair_{cfg}")

        # Interface
        s.x0 = InPort(ACT_NBITS)
        s.x1 = InPort(ACT_NBITS)
        s.x2 = InPort(ACT_NBITS)
        s.wa = InPort(24)
        s.wb = InPort(24)
        s.idx = InPort(cfg.spad_idx_nbits)
        s.load = InPort()
        s.keep = InPort()
        s.zero = InPort(3)
        s.product_zero = InPort(3)
        s.operand_en = InPort()
        s.product_en = InPort()
        s.row_en = InPort()
        s.uppers_in = InPort(SUM_NBITS)
        s.carries_in = InPort(CARRIES_NBITS)
        s.lows_in = InPort(LOWS_NBITS)
        s.uppers_out = OutPort(SUM_NBITS)
        s.carries_out = OutPort(CARRIES_NBITS)
        s.lows_out = OutPort(LOWS_NBITS)

        # Wires
        s.uppers = Wire(SUM_NBITS)
        s.carries = Wire(CARRIES_NBITS)
        s.lows = Wire(LOWS_NBITS)

        # Structure
        s.scratchpad_a, s.scratchpad_b = Scratchpad(cfg), Scratchpad(cfg)
        s.scratchpad_a.w //= s.wa
        s.scratchpad_b.w //= s.wb
        for scratchpad in (s.scratchpad_a, s.scratchpad_b):
            scratchpad.idx //= s.idx
            scratchpad.load //= s.load
            scratchpad.keep //= s.keep
            scratchpad.en //= s.operand_en
        s.multiplier0 = PackedMultiplierRTL()
        s.multiplier1 = PackedMultiplierRTL()
        s.multiplier2 = PackedMultiplierRTL()
        for i, (multiplier, x) in enumerate(
            ((s.multiplier0, s.x0), (s.multiplier1, s.x1), (s.multiplier2, s.x2))
        ):
            multiplier.x //= x
            multiplier.a //= s.scratchpad_a.used[8 * i : 8 * i + 8]
            multiplier.b //= s.scratchpad_b.used[8 * i : 8 * i + 8]
            multiplier.product_en //= s.product_en

        # Combinational
        @update
        def up_enable():
            s.multiplier0.en @= s.operand_en & ~s.zero[0]
            s.multiplier1.en @= s.operand_en & ~s.zero[1]
            s.multiplier2.en @= s.operand_en & ~s.zero[2]
            s.multiplier0.clear @= s.product_en & s.product_zero[0]
            s.multiplier1.clear @= s.product_en & s.product_zero[1]
            s.multiplier2.clear @= s.product_en & s.product_zero[2]

        @update
        def up_out():
            s.uppers_out @= s.uppers_in + s.uppers
            s.carries_out @= s.carries_in + s.carries
            s.lows_out @= s.lows_in + s.lows

        # Sequential
        @update_ff
        def up_row():
            if s.row_en:
                s.uppers <<= (
                    sext(s.multiplier0.upper, SUM_NBITS)
                    + sext(s.multiplier1.upper, SUM_NBITS)
                    + sext(s.multiplier2.upper, SUM_NBITS)
                )
                s.carries <<= (
                    sext(s.multiplier0.carry, CARRIES_NBITS)
                    + sext(s.multiplier1.carry, CARRIES_NBITS)
                    + sext(s.multiplier2.carry, CARRIES_NBITS)
                )
                s.lows <<= (
                    zext(s.multiplier0.low, LOWS_NBITS)
                    + zext(s.multiplier1.low, LOWS_NBITS)
                    + zext(s.multiplier2.low, LOWS_NBITS)
                )

    def line_trace(s):
        return f"{s.uppers}|{s.carries}|{s.lows}"
