"""Sum of two addresses of the activation memory."""

from pymtl3 import Bits1, Component, InPort, OutPort, Wire, concat, mk_bits, update, zext

from accel.config import TAPS


class AddressAdderRTL(Component):
    """Adds (row ``q``, bank ``r``) pairs: a carry at nine banks. Combinational."""

    def construct(s, q_nbits):
        Q, sum_nbits = mk_bits(q_nbits), q_nbits + 1
        s.a_q, s.a_r = InPort(Q), InPort(4)
        s.b_q, s.b_r = InPort(Q), InPort(4)
        s.q, s.r = OutPort(Q), OutPort(4)

        s.sum_r = Wire(5)
        s.wraps = Wire()
        s.sum_q = Wire(sum_nbits)

        @update
        def up_add():
            s.sum_r @= zext(s.a_r, 5) + zext(s.b_r, 5)
            s.wraps @= s.sum_r >= TAPS
            if s.wraps:
                s.r @= s.sum_r[0:4] - TAPS
            else:
                s.r @= s.sum_r[0:4]
            # A lowest bit of its own carries in: one adder, not two and a choice.
            s.sum_q @= concat(s.a_q, Bits1(1)) + concat(s.b_q, s.wraps)
            s.q @= s.sum_q[1:sum_nbits]

    def line_trace(s):
        return f"{s.q}:{s.r}"
