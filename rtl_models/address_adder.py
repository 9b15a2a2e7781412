"""Sum of two addresses of the activation memory."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, zext

from accel.config import TAPS


class AddressAdderRTL(Component):
    """Adds (row ``q``, bank ``r``) pairs: a carry at nine banks. Combinational."""

    def construct(s, q_nbits):
        Q = mk_bits(q_nbits)
        s.a_q, s.a_r = InPort(Q), InPort(4)
        s.b_q, s.b_r = InPort(Q), InPort(4)
        s.q, s.r = OutPort(Q), OutPort(4)

        s.sum_r = Wire(5)

        @update
        def up_add():
            s.sum_r @= zext(s.a_r, 5) + zext(s.b_r, 5)
            if s.sum_r >= TAPS:
                s.q @= s.a_q + s.b_q + 1
                s.r @= s.sum_r[0:4] - TAPS
            else:
                s.q @= s.a_q + s.b_q
                s.r @= s.sum_r[0:4]

    def line_trace(s):
        return f"{s.q}:{s.r}"
