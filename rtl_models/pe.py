"""One processing element: a filter row of three taps, and its weight scratchpad."""

from pymtl3 import Component, InPort, OutPort, Wire, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import ACT_NBITS, AccelConfig
from rtl_models.multiplier import SUM_NBITS, Multiplier
from rtl_models.scratchpad import Scratchpad


class PE(Component):
    """Three multiplications a cycle, added up, plus what comes from the PE below.

    ::

        w --load--+--> scratchpad[idx]                       psum_out
                  |        |                                     ^
                  +--> [ multiplier ] --> [ product ] -- + -- [ row ] -- + <-- psum_in
         x0 x1 x2 ---> [            ]

    With ``load`` the weights are those of ``w``, else the scratchpad's; ``keep`` writes
    them there.
    A tap whose activation is ``zero`` switches no multiplier: the registers at its inputs hold what
    they had, and the product becomes zero. All PEs of a row have the same activations, each in
    registers of its own, so that a multiplier's inputs come from beside it.

    Latency: 3 cycles from ``x`` and ``w`` to ``psum_out``; ``psum_in`` to ``psum_out`` is
    combinational. Throughput: 1 step a cycle. Each register has its own enable.
    Nothing is reset: what a register holds before its first enable is never used.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"PE_{cfg}")

        # Interface
        s.x0 = InPort(ACT_NBITS)
        s.x1 = InPort(ACT_NBITS)
        s.x2 = InPort(ACT_NBITS)
        s.w = InPort(24)
        s.idx = InPort(cfg.spad_idx_nbits)
        s.load = InPort()
        s.keep = InPort()
        # Of the step in the operand registers' inputs, and of the one in these registers.
        s.zero = InPort(3)
        s.product_zero = InPort(3)
        s.operand_en = InPort()
        s.product_en = InPort()
        s.row_en = InPort()
        s.psum_in = InPort(SUM_NBITS)
        s.psum_out = OutPort(SUM_NBITS)

        # Wires
        s.product0 = Wire(SUM_NBITS)
        s.product1 = Wire(SUM_NBITS)
        s.product2 = Wire(SUM_NBITS)
        s.row = Wire(SUM_NBITS)

        # Structure
        s.scratchpad = Scratchpad(cfg)
        s.scratchpad.w //= s.w
        s.scratchpad.idx //= s.idx
        s.scratchpad.load //= s.load
        s.scratchpad.keep //= s.keep
        s.scratchpad.en //= s.operand_en
        s.multiplier0 = Multiplier()
        s.multiplier1 = Multiplier()
        s.multiplier2 = Multiplier()
        s.multiplier0.x //= s.x0
        s.multiplier1.x //= s.x1
        s.multiplier2.x //= s.x2
        s.multiplier0.w //= s.scratchpad.used[0:8]
        s.multiplier1.w //= s.scratchpad.used[8:16]
        s.multiplier2.w //= s.scratchpad.used[16:24]

        # Combinational
        @update
        def up_enable():
            s.multiplier0.en @= s.operand_en & ~s.zero[0]
            s.multiplier1.en @= s.operand_en & ~s.zero[1]
            s.multiplier2.en @= s.operand_en & ~s.zero[2]

        @update
        def up_psum():
            s.psum_out @= s.psum_in + s.row

        # Sequential
        @update_ff
        def up_sum():
            if s.product_en:
                if s.product_zero[0]:
                    s.product0 <<= 0
                else:
                    s.product0 <<= s.multiplier0.product
                if s.product_zero[1]:
                    s.product1 <<= 0
                else:
                    s.product1 <<= s.multiplier1.product
                if s.product_zero[2]:
                    s.product2 <<= 0
                else:
                    s.product2 <<= s.multiplier2.product
            if s.row_en:
                s.row <<= s.product0 + s.product1 + s.product2

    def line_trace(s):
        return f"{s.multiplier2.weight}{s.multiplier1.weight}{s.multiplier0.weight}:{s.row}"
