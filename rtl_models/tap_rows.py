"""Row addresses of consecutive taps."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update

from accel.config import TAPS


class TapRowsRTL(Component):
    """Where the taps of address (q, r) lie: tap t in row ``q + reach[t]``, one further when its
    bank ``r + t`` passes the ninth. Combinational."""

    def construct(s, num_taps, q_nbits):
        Q = mk_bits(q_nbits)
        s.q = InPort(Q)
        s.r = InPort(4)
        s.reach = InPort(mk_bits(num_taps * q_nbits))
        s.rows = OutPort(mk_bits(num_taps * q_nbits))

        s.tap_reach = [Wire(Q) for _ in range(num_taps)]
        s.row = [Wire(Q) for _ in range(num_taps)]
        for t in range(num_taps):
            s.tap_reach[t] //= s.reach[t * q_nbits : (t + 1) * q_nbits]
            s.rows[t * q_nbits : (t + 1) * q_nbits] //= s.row[t]

        @update
        def up_add():
            s.row[0] @= s.q + s.tap_reach[0]
            for t in range(1, num_taps):
                if s.r >= TAPS - t:
                    s.row[t] @= s.q + s.tap_reach[t] + 1
                else:
                    s.row[t] @= s.q + s.tap_reach[t]

    def line_trace(s):
        return f"{s.q}:{s.r}"
