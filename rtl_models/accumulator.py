"""The top of one column of the PE array: a register for its sum, and the accumulator."""

from pymtl3 import Component, InPort, OutPort, Wire, sext, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import AccelConfig
from rtl_models.multiplier import SUM_NBITS


class Accumulator(Component):
    """Adds up column sums, ``acc_nbits`` wide, wrapping; a ``first`` sum replaces what was there.

    ::

        psum --> [ column ] --sext--> + --> [ acc ] --> acc
                                      ^        |
                             first ? 0 : ------+

    Latency: 2 cycles from ``psum`` to ``acc``. Throughput: 1 sum a cycle. ``first`` comes with
    ``acc_en``. Nothing is reset: an accumulation begins with a ``first`` sum.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"Accumulator_{cfg}")
        acc_nbits = cfg.acc_nbits

        # Interface
        s.psum = InPort(SUM_NBITS)
        s.column_en = InPort()
        s.acc_en = InPort()
        s.first = InPort()
        s.acc = OutPort(acc_nbits)

        # Wires
        s.column = Wire(SUM_NBITS)

        # Sequential
        @update_ff
        def up_acc():
            if s.column_en:
                s.column <<= s.psum
            if s.acc_en:
                if s.first:
                    s.acc <<= sext(s.column, acc_nbits)
                else:
                    s.acc <<= s.acc + sext(s.column, acc_nbits)

    def line_trace(s):
        return f"{s.acc}"
