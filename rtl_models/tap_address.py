"""Where the nine taps of one pixel group lie, step by step."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import DX, READ_LOOPS
from rtl_models.loop_address import LoopAddressRTL
from rtl_models.loop_offset import LoopOffsetRTL
from rtl_models.tap_rows import TapRowsRTL

NUM_LOOPS = len(READ_LOOPS)
OFFSET_NBITS = 11
"""Row and column numbers: from minus the padding to past the largest map, signed."""


class TapAddressRTL(Component):
    """Follows a nest of loops from the place given with ``start``: memory address, row and column,
    in two stages as :class:`LoopAddressRTL` says.

    ``rows``, ``reads`` and ``pads`` are in tap order; tap t is in bank ``(bank + t) mod 9``. Of the
    taps in ``used``, those inside the feature map read, and the others pad. Nothing is reset.
    """

    def construct(s, cfg: AccelConfig):
        row_nbits, step_nbits = cfg.act_addr_nbits, DX.nbits
        Row, Offset, Flags = mk_bits(row_nbits), mk_bits(OFFSET_NBITS), mk_bits(NUM_LOOPS)
        s.start = InPort()
        s.start_row, s.start_bank = InPort(Row), InPort(4)
        s.start_y, s.start_x = InPort(Offset), InPort(Offset)
        s.issue, s.leave = InPort(), InPort()
        s.select, s.restart = InPort(Flags), InPort(Flags)
        s.strides_row = InPort(mk_bits(NUM_LOOPS * row_nbits))
        s.strides_bank = InPort(mk_bits(NUM_LOOPS * 4))
        s.strides_y = InPort(mk_bits(NUM_LOOPS * step_nbits))
        s.strides_x = InPort(mk_bits(NUM_LOOPS * step_nbits))
        s.channel_mode = InPort()
        s.height, s.width = InPort(Offset), InPort(Offset)
        s.reach = InPort(mk_bits(TAPS * row_nbits))
        s.rows = OutPort(mk_bits(TAPS * row_nbits))
        s.bank = OutPort(4)
        s.used = InPort(TAPS)
        s.reads, s.pads = OutPort(TAPS), OutPort(TAPS)

        s.address = LoopAddressRTL(NUM_LOOPS, row_nbits)
        s.address.start_row //= s.start_row
        s.address.start_bank //= s.start_bank
        s.address.strides_row //= s.strides_row
        s.address.strides_bank //= s.strides_bank
        s.address.bank //= s.bank
        s.y = LoopOffsetRTL(NUM_LOOPS, OFFSET_NBITS, step_nbits)
        s.y.origin //= s.start_y
        s.y.strides //= s.strides_y
        s.x = LoopOffsetRTL(NUM_LOOPS, OFFSET_NBITS, step_nbits)
        s.x.origin //= s.start_x
        s.x.strides //= s.strides_x
        for walker in (s.address, s.y, s.x):
            walker.start //= s.start
            walker.issue //= s.issue
            walker.leave //= s.leave
            walker.select //= s.select
            walker.restart //= s.restart
        s.tap_rows = TapRowsRTL(TAPS, row_nbits)
        s.tap_rows.row //= s.address.row
        s.tap_rows.bank //= s.address.bank
        s.tap_rows.reach //= s.reach
        s.tap_rows.rows //= s.rows

        s.row_inside, s.column_inside = Wire(3), Wire(3)
        s.in_map = Wire(TAPS)

        @update
        def up_look():
            for d in range(3):
                s.row_inside[d] @= (s.y.offset + d) < s.height
                s.column_inside[d] @= (s.x.offset + d) < s.width
            for dy in range(3):
                for dx in range(3):
                    s.in_map[3 * dy + dx] @= s.row_inside[dy] & s.column_inside[dx]
            if s.channel_mode:
                for t in range(TAPS):
                    s.in_map[t] @= s.row_inside[0] & s.column_inside[0]
            s.reads @= s.used & s.in_map
            s.pads @= s.used & ~s.in_map

    def line_trace(s):
        return f"{s.address.line_trace()}@{s.y.offset},{s.x.offset}"
