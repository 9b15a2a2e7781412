"""One column of the pooling unit: the largest accumulator so far."""

from pymtl3 import Component, InPort, OutPort, mk_bits, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import AccelConfig


class PoolingLane(Component):
    """``best`` becomes ``acc`` when that is larger or ``pool_first`` is set, one cycle later.

    Nothing is reset: a window begins with ``pool_first``.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"PoolingLane_{cfg}")
        # Bits compare as unsigned: with the sign bit inverted, that is the order of signed numbers.
        sign = mk_bits(cfg.acc_nbits)(1 << (cfg.acc_nbits - 1))

        # Interface
        s.en = InPort()
        s.pool_first = InPort()
        s.acc = InPort(cfg.acc_nbits)
        s.best = OutPort(cfg.acc_nbits)

        # Sequential
        @update_ff
        def up_best():
            if s.en:
                if s.pool_first | ((s.acc ^ sign) > (s.best ^ sign)):
                    s.best <<= s.acc

    def line_trace(s):
        return f"{s.best}"
