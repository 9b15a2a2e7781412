"""The column windows: nine activations of its own for each column of the PE array."""

from pymtl3 import Component, Wire, mk_bits, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL, valrdy_to_str

from accel.hardware.config import ACT_NBITS, TAPS, AccelConfig, clog2
from accel.hardware.messages import Step, mk_pixel, mk_step
from rtl_models.column_window import ColumnWindow


class ColumnWindowsRTL(Component):
    """The operand register of the PE array, where columns may have windows of their own.

    ::

        pixel --+--> column window 0   (channel 0 of the column's pixel group, line buffer, window)
                :          :                                                            --> step
                +--> column window C-1

    In a layer without ``windows`` all columns of a pixel group get what the group has read. With
    them a column's element is the next pixel of a raster, row by row, that the line buffers delay
    by one and two rows; the window ends with it. Only a step that is ``used`` goes on. Latency: 1
    cycle. Throughput: 1 pixel a cycle. Reset: ``step.val`` low, and the next pixel is a row's
    first. Rows and windows are not reset: what they hold before a map lies outside of it.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"ColumnWindows_{cfg}")
        Addr = mk_bits(clog2(cfg.line_width))

        # Interface
        s.pixel = RecvIfcRTL(mk_pixel(cfg))
        s.step = SendIfcRTL(mk_step(cfg))

        # Wires
        s.advance, s.shift, s.goes_on = Wire(), Wire(), Wire()
        s.at, s.next_at = Wire(Addr), Wire(Addr)
        s.outside = Wire(TAPS)
        s.step_val = Wire()
        s.w = Wire(cfg.weight_word_nbits)

        # Structure
        s.columns = [ColumnWindow(cfg) for _ in range(cfg.num_cols)]
        nbits = TAPS * ACT_NBITS
        for c, column in enumerate(s.columns):
            group, channel = divmod(c, cfg.group_cols)
            low = (group * TAPS + channel) * ACT_NBITS
            column.shift //= s.shift
            column.en //= s.goes_on
            column.windows //= s.pixel.msg.windows
            column.pixel //= s.pixel.msg.x[low : low + ACT_NBITS]
            column.shared //= s.pixel.msg.x[group * nbits : (group + 1) * nbits]
            column.raddr //= s.next_at
            column.waddr //= s.at
            column.outside //= s.outside
            column.pad_value //= s.pixel.msg.pad_value
            s.step.msg.x[c * nbits : (c + 1) * nbits] //= column.x
        s.step.msg.w //= s.w
        s.step.val //= s.step_val
        for name in Step._fields[2:]:
            flag = Wire(cfg.spad_idx_nbits if name == "idx" else 1)
            setattr(s, name, flag)
            port = getattr(s.step.msg, name)
            port //= flag

        # Combinational
        @update
        def up_take():
            s.advance @= ~s.step_val | s.step.rdy
            s.pixel.rdy @= s.advance
            s.shift @= s.pixel.val & s.advance & s.pixel.msg.windows
            s.goes_on @= s.pixel.val & s.advance & s.pixel.msg.used

        @update
        def up_next():
            s.next_at @= s.at + 1
            if s.pixel.msg.row_end:
                s.next_at @= 0

        @update
        def up_outside():
            for dy in range(3):
                for dx in range(3):
                    s.outside[3 * dy + dx] @= 0
            for i in range(3):
                if s.pixel.msg.edges[0]:
                    s.outside[i] @= 1
                if s.pixel.msg.edges[1]:
                    s.outside[6 + i] @= 1
                if s.pixel.msg.edges[2]:
                    s.outside[3 * i] @= 1
                if s.pixel.msg.edges[3]:
                    s.outside[3 * i + 2] @= 1

        # Sequential
        @update_ff
        def up_control():
            if s.reset:
                s.step_val <<= 0
                s.at <<= 0
            else:
                if s.advance:
                    s.step_val <<= s.goes_on
                if s.shift:
                    s.at <<= s.next_at

        @update_ff
        def up_step():
            if s.goes_on:
                s.w <<= s.pixel.msg.w
                s.idx <<= s.pixel.msg.idx
                s.load <<= s.pixel.msg.load
                s.keep <<= s.pixel.msg.keep
                s.first <<= s.pixel.msg.first
                s.last <<= s.pixel.msg.last
                s.pool_first <<= s.pixel.msg.pool_first
                s.pool_last <<= s.pixel.msg.pool_last

    def line_trace(s):
        pixel = valrdy_to_str(s.pixel.msg.x, s.pixel.val, s.pixel.rdy, 21)
        step = valrdy_to_str(s.step.msg.x, s.step.val, s.step.rdy, 21)
        return f"{pixel} ({s.at}) {step}"
