"""The weights of one processing element: those that come, or those that it keeps."""

from pymtl3 import Component, InPort, OutPort, Wire, update
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import AccelConfig
from rtl_models.memory import RegisterFileRTL


class Scratchpad(Component):
    """``used`` is ``w`` with ``load``, else what entry ``idx`` keeps. ``keep`` with ``en`` writes
    ``w`` there. Combinational but for that."""

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"Scratchpad_{cfg}")

        # Interface
        s.w = InPort(24)
        s.idx = InPort(cfg.spad_idx_nbits)
        s.load = InPort()
        s.keep = InPort()
        s.en = InPort()
        s.used = OutPort(24)

        # Wires
        s.kept = Wire(24)

        # Structure
        # Two words at least, so that each value of the index names one.
        s.entries = RegisterFileRTL(24, max(2, cfg.spad_depth))
        s.entries.raddr //= s.idx
        s.entries.rdata //= s.kept
        s.entries.waddr //= s.idx
        s.entries.wdata //= s.w

        # Combinational
        @update
        def up_keep():
            s.entries.wen @= s.en & s.keep

        @update
        def up_used():
            if s.load:
                s.used @= s.w
            else:
                s.used @= s.kept

    def line_trace(s):
        return f"{s.used}"
