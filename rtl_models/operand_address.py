"""Where each pixel group finds what is added to a vector."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import OPERAND_STRIDES
from rtl_models.address_adder import UP_TO_CARRY, AddressAdderRTL
from rtl_models.loop_address import LoopAddressRTL
from rtl_models.tap_rows import TapRowsRTL

NUM_LOOPS = 3
"""Over the columns and rows of vectors, and groups of output channels: those of the step sequencer
that are outside of a vector."""


class OperandAddressRTL(Component):
    """Follows the outer loops of a layer from its first output on, a vector at a time: with
    ``issue`` comes which of the loops are in their ``last`` iteration.

    ``rows`` and ``bank`` are those of nine taps, one channel apart, of which the first
    ``group_cols`` are of use; in two stages as :class:`LoopAddressRTL` says. Nothing is reset.
    """

    def construct(s, cfg: AccelConfig):
        row_nbits, groups, num_strides = cfg.act_addr_nbits, cfg.pixel_groups, len(OPERAND_STRIDES)
        Row, Flags = mk_bits(row_nbits), mk_bits(NUM_LOOPS)
        s.start = InPort()
        s.start_row, s.start_bank = InPort(Row), InPort(4)
        s.lane_row = InPort(Row)
        s.issue, s.leave = InPort(), InPort()
        s.last = InPort(Flags)
        s.strides_row = InPort(mk_bits(num_strides * row_nbits))
        s.strides_bank = InPort(mk_bits(num_strides * 4))
        s.rows = OutPort(mk_bits(groups * TAPS * row_nbits))
        s.bank = OutPort(mk_bits(groups * 4))

        s.passes = Wire(Flags)
        s.select, s.restart = Wire(Flags), Wire(Flags)
        s.reach = [Wire(Row) for _ in range(TAPS)]
        s.double, s.triple = Wire(Row), Wire(Row)

        s.addresses = [LoopAddressRTL(NUM_LOOPS, row_nbits) for _ in range(groups)]
        s.tap_rows = [TapRowsRTL(TAPS, row_nbits) for _ in range(groups)]
        for g, (address, tap_rows) in enumerate(zip(s.addresses, s.tap_rows, strict=True)):
            address.start //= s.start
            address.issue //= s.issue
            address.select //= s.select
            address.leave //= s.leave
            address.restart //= s.restart
            address.strides_row //= s.strides_row[0 : NUM_LOOPS * row_nbits]
            address.strides_bank //= s.strides_bank[0 : NUM_LOOPS * 4]
            tap_rows.row //= address.row
            tap_rows.bank //= address.bank
            for t in range(TAPS):
                tap_rows.reach[t * row_nbits : (t + 1) * row_nbits] //= s.reach[t]
            low, high = g * TAPS * row_nbits, (g + 1) * TAPS * row_nbits
            s.rows[low:high] //= tap_rows.rows
            s.bank[g * 4 : (g + 1) * 4] //= address.bank

        # A group starts further than the one whose number lacks its highest bit.
        starts = [(s.start_row, s.start_bank)]
        num_bits = (groups - 1).bit_length()
        s.offset_bank_up = [Wire(4) for _ in range(num_bits)]
        s.offset_bank = [Wire(4) for _ in range(num_bits)]
        for bit in range(num_bits):
            i = NUM_LOOPS + bit
            s.offset_bank[bit] //= s.strides_bank[i * 4 : (i + 1) * 4]
        for g in range(1, groups):
            bit = g.bit_length() - 1
            i = NUM_LOOPS + bit
            further = AddressAdderRTL(row_nbits)
            setattr(s, f"further{g}", further)
            before_row, before_bank = starts[g - (1 << bit)]
            further.a_row //= before_row
            further.a_bank //= before_bank
            further.b_row //= s.strides_row[i * row_nbits : (i + 1) * row_nbits]
            further.b_bank_up //= s.offset_bank_up[bit]
            starts.append((further.row, further.bank))
        for address, (row, bank) in zip(s.addresses, starts, strict=True):
            address.start_row //= row
            address.start_bank //= bank

        if num_bits:

            @update
            def up_offset():
                for i in range(num_bits):
                    s.offset_bank_up[i] @= s.offset_bank[i] + UP_TO_CARRY

        @update
        def up_loops():
            # All loops inside a vector are over when the next one begins.
            s.passes[0] @= 1
            s.passes[1] @= s.last[0]
            s.passes[2] @= s.last[0] & s.last[1]
            s.select @= s.passes & ~s.last

        @update
        def up_multiples():
            s.double @= s.lane_row << 1
            s.triple @= s.double + s.lane_row

        @update_ff
        def up_restart():
            if s.issue:
                s.restart <<= s.passes

        @update_ff
        def up_reach():
            s.reach[0] <<= 0
            if s.start:
                s.reach[1] <<= s.lane_row
                s.reach[2] <<= s.double
                s.reach[3] <<= s.triple
                s.reach[4] <<= s.double << 1
                s.reach[5] <<= s.double + s.triple
                s.reach[6] <<= s.triple << 1
                s.reach[7] <<= (s.lane_row << 3) - s.lane_row
                s.reach[8] <<= s.lane_row << 3

    def line_trace(s):
        return s.addresses[0].line_trace()
