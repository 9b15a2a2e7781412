"""What the steps of a layer with column windows complete."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, reduce_and, update, update_ff

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import COUNT, FIELDS
from accel.hardware.walk import OUT_X, SUM_END, VECTORS_END
from rtl_models.loop_counters import LoopCountersRTL
from rtl_models.tap_address import NUM_LOOPS

WINDOW_FIELDS = (
    "column_windows",
    "row_step",
    "column_step",
    "skip_top",
    "skip_bottom",
    "skip_left",
    "skip_right",
    "window_columns",
)
"""Of a layer's descriptor."""

NUM_OUT_LOOPS = NUM_LOOPS - OUT_X


class WindowStepsRTL(Component):
    """Follows the windows of a raster, a row and a pixel behind the steps that read it.

    ::

        step      0                  W+1                  G*H*W            G*H*W + W+1
        reads     pixel 0, 1, ...                         nothing
        windows   (warming)          centred on pixel 0, 1, ...            (ends)

    Counters over columns, rows and groups of channels begin when the second row has brought its
    first pixel. From them follow the window's edges, whether it is used, when a group's weights are
    loaded, and the end of the layer. In layers without column windows every step is used, and the
    rest follows from the loops that read. All but counters and flags is combinational; ``start``
    and ``issue`` are those of the step sequencer. Reset does nothing: a layer begins with
    ``start``.
    """

    def construct(s, cfg: AccelConfig):
        groups, columns = cfg.pixel_groups, cfg.group_cols
        vectors_nbits = VECTORS_END - SUM_END

        # Interface
        s.start = InPort()
        s.issue = InPort()
        for name in WINDOW_FIELDS:
            setattr(s, name, InPort(FIELDS[name].nbits))
        s.counts = InPort(mk_bits(COUNT.nbits * NUM_OUT_LOOPS))
        # Of the loops that read: a row's first and last pixel, the last group, the last step
        s.row_first = InPort()
        s.row_last = InPort()
        s.group_last = InPort()
        s.read_done = InPort()
        s.vectors_first = InPort(vectors_nbits)
        s.vectors_last = InPort(vectors_nbits)
        s.taps_used = InPort(TAPS)

        s.windows = OutPort()
        s.window_used = OutPort()
        s.row_end = OutPort()
        s.edges = OutPort(4)
        s.group_taps_used = OutPort(mk_bits(groups * TAPS))
        s.first_output = OutPort()
        s.ends_group = OutPort()
        s.ends = OutPort()

        # Wires
        s.begun, s.warming, s.flushing, s.unloaded = Wire(), Wire(), Wire(), Wire()
        s.row_odd, s.column_odd = Wire(), Wire()
        s.row_used, s.column_used = Wire(), Wire()
        s.behind, s.at_group_end = Wire(), Wire()

        # Structure
        s.out_loops = LoopCountersRTL(NUM_OUT_LOOPS)
        s.out_loops.start //= s.start
        s.out_loops.advance //= s.behind
        s.out_loops.counts //= s.counts
        s.windows //= s.column_windows
        s.edges[0] //= s.out_loops.first[1]
        s.edges[1] //= s.out_loops.last[1]
        s.edges[2] //= s.out_loops.first[0]
        s.edges[3] //= s.out_loops.last[0]

        # Combinational
        @update
        def up_use():
            s.row_used @= (
                (~s.row_step | (s.row_odd == s.skip_top))
                & ~(s.skip_top & s.out_loops.first[1])
                & ~(s.skip_bottom & s.out_loops.last[1])
            )
            s.column_used @= (
                (~s.column_step | (s.column_odd == s.skip_left))
                & ~(s.skip_left & s.out_loops.first[0])
                & ~(s.skip_right & s.out_loops.last[0])
            )
            s.window_used @= ~s.column_windows | (~s.warming & s.row_used & s.column_used)

        @update
        def up_end():
            s.behind @= s.issue & ~s.warming
            s.at_group_end @= s.out_loops.last[0] & s.out_loops.last[1] & ~s.warming
            s.first_output @= reduce_and(s.vectors_first)
            s.ends_group @= reduce_and(s.vectors_last)
            s.ends @= s.read_done
            if s.column_windows:
                s.first_output @= s.unloaded & s.window_used
                s.ends_group @= s.at_group_end
                s.ends @= s.out_loops.done & ~s.warming
            s.row_end @= s.row_last | s.ends

        @update
        def up_taps():
            for g in range(groups):
                for t in range(TAPS):
                    s.group_taps_used[g * TAPS + t] @= s.taps_used[t] & ~(
                        s.column_windows
                        & (s.flushing | (s.group_last & (s.window_columns < g * columns + t)))
                    )

        # Sequential
        @update_ff
        def up_follow():
            if s.start:
                s.begun <<= 0
                s.warming <<= 1
                s.flushing <<= 0
                s.unloaded <<= 1
                s.row_odd <<= 0
                s.column_odd <<= 0
            elif s.issue:
                s.begun <<= 1
                if s.begun & s.row_first:
                    s.warming <<= 0
                if s.read_done:
                    s.flushing <<= 1
                if s.at_group_end:
                    s.unloaded <<= 1
                elif s.window_used:
                    s.unloaded <<= 0
                if ~s.warming:
                    s.column_odd <<= ~s.column_odd & ~s.out_loops.last[0]
                    if s.out_loops.last[0]:
                        s.row_odd <<= ~s.row_odd & ~s.out_loops.last[1]

    def line_trace(s):
        return f"{s.out_loops.line_trace()}{'w' if s.window_used else '.'}"
