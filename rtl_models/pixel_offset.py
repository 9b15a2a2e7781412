"""Where a pixel group starts to read, from where another one does."""

from pymtl3 import Component, InPort, OutPort, mk_bits, update, zext

from accel.hardware.descriptors import LOOP_DX
from rtl_models.address_adder import UP_TO_CARRY, AddressAdderRTL


class PixelOffsetRTL(Component):
    """Adds a stride, rows and columns to an address, a row and a column number. Combinational."""

    def construct(s, q_nbits, offset_nbits):
        Q, Offset, Step = mk_bits(q_nbits), mk_bits(offset_nbits), mk_bits(LOOP_DX[1])
        s.in_q, s.in_r = InPort(Q), InPort(4)
        s.in_y, s.in_x = InPort(Offset), InPort(Offset)
        s.stride_q, s.stride_r = InPort(Q), InPort(4)
        s.dy, s.dx = InPort(Step), InPort(Step)
        s.q, s.r = OutPort(Q), OutPort(4)
        s.y, s.x = OutPort(Offset), OutPort(Offset)

        s.adder = AddressAdderRTL(q_nbits)
        s.adder.a_q //= s.in_q
        s.adder.a_r //= s.in_r
        s.adder.b_q //= s.stride_q
        s.adder.q //= s.q
        s.adder.r //= s.r

        @update
        def up_add():
            s.adder.b_r_up @= s.stride_r + UP_TO_CARRY
            s.y @= s.in_y + zext(s.dy, offset_nbits)
            s.x @= s.in_x + zext(s.dx, offset_nbits)

    def line_trace(s):
        return f"{s.q}:{s.r}@{s.y},{s.x}"
