"""Sum of two addresses of the activation memory."""

from pymtl3 import Component, InPort, OutPort, Wire, concat, mk_bits, update, zext

from accel.hardware.config import TAPS

UP_TO_CARRY = 16 - TAPS
"""What a bank number lacks for its carry to come at nine, as banks want it, not at sixteen."""


class AddressAdderRTL(Component):
    """Adds (row ``q``, bank ``r``) pairs: a carry at nine banks. Combinational.

    The second bank comes with ``UP_TO_CARRY`` added, so that one carry chain runs through bank and
    row: the carry out of four bits then is the carry at nine.
    """

    def construct(s, q_nbits):
        Q, sum_nbits = mk_bits(q_nbits), q_nbits + 4
        s.a_q, s.a_r = InPort(Q), InPort(4)
        s.b_q, s.b_r_up = InPort(Q), InPort(4)
        s.q, s.r = OutPort(Q), OutPort(4)

        s.sum_r = Wire(5)
        s.sum_q = Wire(sum_nbits)

        @update
        def up_add():
            s.sum_q @= concat(s.a_q, s.a_r) + concat(s.b_q, s.b_r_up)
            s.q @= s.sum_q[4:sum_nbits]
            s.sum_r @= zext(s.a_r, 5) + zext(s.b_r_up, 5)
            if s.sum_r[4]:
                s.r @= s.sum_r[0:4]
            else:
                s.r @= s.sum_r[0:4] - UP_TO_CARRY

    def line_trace(s):
        return f"{s.q}:{s.r}"
