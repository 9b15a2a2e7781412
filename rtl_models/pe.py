"""One processing element: a filter row of three taps, and its weight scratchpad."""

from pymtl3 import Component, InPort, OutPort, Wire, sext, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.config import AccelConfig

SUM_NBITS = 20
"""Holds the sum of nine products of 9-bit by 8-bit signed numbers: |sum| <= 9 * 2**15 < 2**19.

Operands are extended to this width once, and everything up to the column sum keeps it; synthesis
drops the copies of the sign bit and finds 9-bit by 8-bit signed multipliers.
"""


class PE(Component):
    """Three multiplications a cycle, added up, plus what comes from the PE below.

    ::

        w, load --+--> scratchpad[idx]                       psum_out
                  |        |                                     ^
                  +---> [ operand ] --x-- [ product ] -- + -- [ row ] -- + <-- psum_in
             x0 x1 x2 -------------------/
             (registered by the array)

    Latency: 3 cycles from ``w`` (2 from ``x``, which comes registered) to ``psum_out``; ``psum_in``
    to ``psum_out`` is combinational. Throughput: 1 step a cycle. Each register has its own enable.
    Nothing is reset: what a register holds before its first enable is never used.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"PE_{cfg}")

        # Interface
        s.x0 = InPort(SUM_NBITS)
        s.x1 = InPort(SUM_NBITS)
        s.x2 = InPort(SUM_NBITS)
        s.w = InPort(24)
        s.idx = InPort(cfg.spad_idx_nbits)
        s.load = InPort()
        s.operand_en = InPort()
        s.product_en = InPort()
        s.row_en = InPort()
        s.psum_in = InPort(SUM_NBITS)
        s.psum_out = OutPort(SUM_NBITS)

        # Wires
        s.mem = [Wire(24) for _ in range(cfg.spad_depth)]  # the scratchpad
        s.operand = Wire(24)
        s.product0 = Wire(SUM_NBITS)
        s.product1 = Wire(SUM_NBITS)
        s.product2 = Wire(SUM_NBITS)
        s.row = Wire(SUM_NBITS)

        # Combinational
        @update
        def up_psum():
            s.psum_out @= s.psum_in + s.row

        # Sequential
        @update_ff
        def up_operand():
            if s.operand_en:
                if s.load:
                    s.operand <<= s.w
                    s.mem[s.idx] <<= s.w
                else:
                    s.operand <<= s.mem[s.idx]

        @update_ff
        def up_sum():
            if s.product_en:
                s.product0 <<= s.x0 * sext(s.operand[0:8], SUM_NBITS)
                s.product1 <<= s.x1 * sext(s.operand[8:16], SUM_NBITS)
                s.product2 <<= s.x2 * sext(s.operand[16:24], SUM_NBITS)
            if s.row_en:
                s.row <<= s.product0 + s.product1 + s.product2

    def line_trace(s):
        return f"{s.operand}:{s.row}"
