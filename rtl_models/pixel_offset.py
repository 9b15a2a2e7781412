"""Where a pixel group starts to read, from where another one does."""

from pymtl3 import Component, InPort, OutPort, mk_bits, update, zext

from accel.hardware.descriptors import DX
from rtl_models.address_adder import UP_TO_CARRY, AddressAdderRTL


class PixelOffsetRTL(Component):
    """Adds a stride, rows and columns to an address, a row and a column number. Combinational."""

    def construct(s, row_nbits, offset_nbits):
        Row, Offset, Step = mk_bits(row_nbits), mk_bits(offset_nbits), mk_bits(DX.nbits)
        s.in_row, s.in_bank = InPort(Row), InPort(4)
        s.in_y, s.in_x = InPort(Offset), InPort(Offset)
        s.stride_row, s.stride_bank = InPort(Row), InPort(4)
        s.dy, s.dx = InPort(Step), InPort(Step)
        s.row, s.bank = OutPort(Row), OutPort(4)
        s.y, s.x = OutPort(Offset), OutPort(Offset)

        s.adder = AddressAdderRTL(row_nbits)
        s.adder.a_row //= s.in_row
        s.adder.a_bank //= s.in_bank
        s.adder.b_row //= s.stride_row
        s.adder.row //= s.row
        s.adder.bank //= s.bank

        @update
        def up_add():
            s.adder.b_bank_up @= s.stride_bank + UP_TO_CARRY
            s.y @= s.in_y + zext(s.dy, offset_nbits)
            s.x @= s.in_x + zext(s.dx, offset_nbits)

    def line_trace(s):
        return f"{s.row}:{s.bank}@{s.y},{s.x}"
