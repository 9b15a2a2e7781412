"""Sum of two addresses of the activation memory."""

from pymtl3 import Component, InPort, OutPort, Wire, concat, mk_bits, update, zext

from accel.hardware.config import TAPS

UP_TO_CARRY = 16 - TAPS
"""What a bank number lacks for its carry to come at nine, as banks want it, not at sixteen."""


class AddressAdderRTL(Component):
    """Adds (row ``row``, bank ``bank``) pairs: a carry at nine banks. Combinational.

    The second bank comes with ``UP_TO_CARRY`` added, so that one carry chain runs through bank and
    row: the carry out of four bits then is the carry at nine.
    """

    def construct(s, row_nbits):
        Row, sum_nbits = mk_bits(row_nbits), row_nbits + 4
        s.a_row, s.a_bank = InPort(Row), InPort(4)
        s.b_row, s.b_bank_up = InPort(Row), InPort(4)
        s.row, s.bank = OutPort(Row), OutPort(4)

        s.sum_bank = Wire(5)
        s.sum_row = Wire(sum_nbits)

        @update
        def up_add():
            s.sum_row @= concat(s.a_row, s.a_bank) + concat(s.b_row, s.b_bank_up)
            s.row @= s.sum_row[4:sum_nbits]
            s.sum_bank @= zext(s.a_bank, 5) + zext(s.b_bank_up, 5)
            if s.sum_bank[4]:
                s.bank @= s.sum_bank[0:4]
            else:
                s.bank @= s.sum_bank[0:4] - UP_TO_CARRY

    def line_trace(s):
        return f"{s.row}:{s.bank}"
