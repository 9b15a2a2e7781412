"""Two neighbouring columns of the PE array with shared multipliers."""

from pymtl3 import Component, InPort, OutPort, concat, mk_bits, sext, update, zext
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import ACT_NBITS, TAPS, AccelConfig
from rtl_models.multiplier import SUM_NBITS
from rtl_models.packed_multiplier import LOW_NBITS
from rtl_models.pe_pair import PEPair


class ColumnPair(Component):
    """Three :class:`~rtl_models.pe_pair.PEPair` below each other, and at the top the two columns'
    sums: ``psum_a = uppers - carries`` and ``psum_b = carries * 2**9 + lows``. Cycles are those of
    a column of PEs."""

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"ColumnPair_{cfg}")

        # Interface
        s.x = InPort(TAPS * ACT_NBITS)
        s.wa = InPort(TAPS * 8)
        s.wb = InPort(TAPS * 8)
        s.idx = InPort(cfg.spad_idx_nbits)
        s.load = InPort()
        s.keep = InPort()
        s.zero = InPort(TAPS)
        s.product_zero = InPort(TAPS)
        s.operand_en = InPort()
        s.product_en = InPort()
        s.row_en = InPort()
        s.psum_a = OutPort(SUM_NBITS)
        s.psum_b = OutPort(SUM_NBITS)

        # Structure
        s.row0, s.row1, s.row2 = PEPair(cfg), PEPair(cfg), PEPair(cfg)
        for r, pair in enumerate((s.row0, s.row1, s.row2)):
            for i in range(3):
                low = (3 * r + i) * ACT_NBITS
                x = getattr(pair, f"x{i}")
                x //= s.x[low : low + ACT_NBITS]
            pair.wa //= s.wa[24 * r : 24 * r + 24]
            pair.wb //= s.wb[24 * r : 24 * r + 24]
            pair.idx //= s.idx
            pair.load //= s.load
            pair.keep //= s.keep
            pair.zero //= s.zero[3 * r : 3 * r + 3]
            pair.product_zero //= s.product_zero[3 * r : 3 * r + 3]
            pair.operand_en //= s.operand_en
            pair.product_en //= s.product_en
            pair.row_en //= s.row_en
        for part in ("uppers", "carries", "lows"):
            for below, above in ((s.row2, s.row1), (s.row1, s.row0)):
                into = getattr(above, f"{part}_in")
                into //= getattr(below, f"{part}_out")
            lowest = getattr(s.row2, f"{part}_in")
            lowest //= 0

        zeros = mk_bits(LOW_NBITS)(0)

        # Combinational
        @update
        def up_psum():
            s.psum_a @= s.row0.uppers_out - sext(s.row0.carries_out, SUM_NBITS)
            s.psum_b @= concat(s.row0.carries_out, zeros) + zext(s.row0.lows_out, SUM_NBITS)

    def line_trace(s):
        return f"{s.psum_a} {s.psum_b}"
