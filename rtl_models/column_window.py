"""The window of one column, and the line buffer that feeds it."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import ACT_NBITS, TAPS, AccelConfig, clog2
from rtl_models.memory import MemoryRTL


class ColumnWindow(Component):
    """The nine activations of a column: its 3x3 window, or the nine that are ``shared``.

    ::

        pixel -------+-----------------------------> newest --> [ newer ] --> [ older ]
                     v                               column        |             |
        waddr -> [ line buffer ] <- raddr              |           |             |
                     |  the pixels one and two         v           v             v
                     +- rows above --------------> 3 taps       3 taps        3 taps
                                                       +-----------+-------------+-> pad --> [ x ]
                                                                                      ^ outside
        shared ----------------------------------------------------------------------------^

    With ``shift`` a pixel comes: it and the one above it go to ``waddr``, of which the line buffer
    has been read, and ``raddr``, the next pixel's, is read. With ``en`` the window that is complete
    with it, or what is ``shared``, goes to ``x``. Latency: 1 cycle. Nothing is reset.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"ColumnWindow_{cfg}")
        Addr, Act = mk_bits(clog2(cfg.line_width)), mk_bits(ACT_NBITS)
        Operands, Column = mk_bits(TAPS * ACT_NBITS), mk_bits(3 * ACT_NBITS)

        # Interface
        s.shift = InPort()
        s.en = InPort()
        s.windows = InPort()
        s.pixel = InPort(Act)
        s.shared = InPort(Operands)
        s.raddr = InPort(Addr)
        s.waddr = InPort(Addr)
        s.outside = InPort(TAPS)
        s.pad_value = InPort(Act)
        s.x = OutPort(Operands)

        # Wires
        s.above = Wire(2 * ACT_NBITS)
        s.rows_kept = Wire(2 * ACT_NBITS)
        s.newest, s.newer, s.older = Wire(Column), Wire(Column), Wire(Column)
        s.tap = [Wire(Act) for _ in range(TAPS)]
        s.shared_tap = [Wire(Act) for _ in range(TAPS)]
        s.x_tap = [Wire(Act) for _ in range(TAPS)]

        # Structure
        # The pixel one row above in the low bits, two rows above it in the others
        s.line = MemoryRTL(2 * ACT_NBITS, cfg.line_width)
        s.line.ren //= s.shift
        s.line.raddr //= s.raddr
        s.line.rdata //= s.above
        s.line.wen //= s.shift
        s.line.waddr //= s.waddr
        s.line.wdata //= s.rows_kept
        s.rows_kept[0:ACT_NBITS] //= s.pixel
        s.rows_kept[ACT_NBITS : 2 * ACT_NBITS] //= s.above[0:ACT_NBITS]
        # Rows from the top
        s.newest[0:ACT_NBITS] //= s.above[ACT_NBITS : 2 * ACT_NBITS]
        s.newest[ACT_NBITS : 2 * ACT_NBITS] //= s.above[0:ACT_NBITS]
        s.newest[2 * ACT_NBITS : 3 * ACT_NBITS] //= s.pixel
        for t in range(TAPS):
            row, column = divmod(t, 3)
            source = (s.older, s.newer, s.newest)[column]
            s.tap[t] //= source[row * ACT_NBITS : (row + 1) * ACT_NBITS]
            s.shared_tap[t] //= s.shared[t * ACT_NBITS : (t + 1) * ACT_NBITS]
            s.x[t * ACT_NBITS : (t + 1) * ACT_NBITS] //= s.x_tap[t]

        # Sequential
        @update_ff
        def up_window():
            if s.shift:
                s.newer <<= s.newest
                s.older <<= s.newer

        @update_ff
        def up_operands():
            if s.en:
                for t in range(TAPS):
                    if ~s.windows:
                        s.x_tap[t] <<= s.shared_tap[t]
                    elif s.outside[t]:
                        s.x_tap[t] <<= s.pad_value
                    else:
                        s.x_tap[t] <<= s.tap[t]

    def line_trace(s):
        return f"{s.older}{s.newer}"
