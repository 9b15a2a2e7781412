"""Memory address of a nest of loops."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from rtl_models.address_adder import UP_TO_CARRY, AddressAdderRTL


class LoopAddressRTL(Component):
    """The address (row ``row``, bank ``bank``) that a nest of loops visits.

    Each loop remembers the address at which it last advanced. When loop k advances, its stride is
    added to that one: the new address of loop k and of all loops inside it. So one adder serves
    the whole nest. ``start`` sets all to the start address.

    In two stages: with ``issue`` comes a position's ``select``, the loop that will advance after
    it, and adder's inputs are chosen; from the next cycle on ``row`` and ``bank`` are its address.
    With ``leave`` the position goes, and ``restart`` says which loops take the sum. A position may
    be issued as the one before it leaves; what the adder is about to give to a loop then is
    forwarded to its own input::

        cycle         0         1                              2
        position A    issue     leave: its sum goes to loops
        position B              issue: adds to that sum, if    leave
                                its loop is one of them
    """

    def construct(s, num_loops, row_nbits):
        Row, Bank, Flags = mk_bits(row_nbits), mk_bits(4), mk_bits(num_loops)
        s.start = InPort()
        s.start_row = InPort(Row)
        s.start_bank = InPort(Bank)
        s.issue = InPort()
        s.select = InPort(Flags)
        s.leave = InPort()
        s.restart = InPort(Flags)
        s.strides_row = InPort(mk_bits(num_loops * row_nbits))
        s.strides_bank = InPort(mk_bits(num_loops * 4))
        s.row = OutPort(Row)
        s.bank = OutPort(Bank)

        s.stride_row = [Wire(Row) for _ in range(num_loops)]
        s.stride_bank = [Wire(Bank) for _ in range(num_loops)]
        s.at_row = [Wire(Row) for _ in range(num_loops)]
        s.at_bank = [Wire(Bank) for _ in range(num_loops)]
        s.renewed = Wire()
        s.from_row, s.add_row = Wire(Row), Wire(Row)
        s.from_bank, s.add_bank = Wire(Bank), Wire(Bank)
        s.sum = AddressAdderRTL(row_nbits)
        for i in range(num_loops):
            s.stride_row[i] //= s.strides_row[i * row_nbits : (i + 1) * row_nbits]
            s.stride_bank[i] //= s.strides_bank[i * 4 : (i + 1) * 4]
        s.row //= s.at_row[0]
        s.bank //= s.at_bank[0]

        @update
        def up_choose():
            s.from_row @= 0
            s.from_bank @= 0
            s.add_row @= 0
            s.add_bank @= 0
            for i in range(num_loops):
                if s.select[i]:
                    s.from_row @= s.at_row[i]
                    s.from_bank @= s.at_bank[i]
                    s.add_row @= s.stride_row[i]
                    s.add_bank @= s.stride_bank[i]
            # What the position before this one is about to store comes straight from the adder.
            s.renewed @= s.leave & ((s.select & s.restart) != 0)

        @update_ff
        def up_operands():
            if s.issue:
                s.sum.b_row <<= s.add_row
                s.sum.b_bank_up <<= s.add_bank + UP_TO_CARRY
                if s.renewed:
                    s.sum.a_row <<= s.sum.row
                    s.sum.a_bank <<= s.sum.bank
                else:
                    s.sum.a_row <<= s.from_row
                    s.sum.a_bank <<= s.from_bank

        @update_ff
        def up_remember():
            for i in range(num_loops):
                if s.start:
                    s.at_row[i] <<= s.start_row
                    s.at_bank[i] <<= s.start_bank
                elif s.leave & s.restart[i]:
                    s.at_row[i] <<= s.sum.row
                    s.at_bank[i] <<= s.sum.bank

    def line_trace(s):
        return f"{s.row}:{s.bank}"
