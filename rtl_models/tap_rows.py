"""Row addresses of consecutive taps."""

from pymtl3 import Bits1, Component, InPort, OutPort, Wire, concat, mk_bits, update

from accel.hardware.config import TAPS


class TapRowsRTL(Component):
    """Where the taps of address (q, r) lie: tap t in row ``q + reach[t]``, one further when its
    bank ``r + t`` passes the ninth. Combinational."""

    def construct(s, num_taps, row_nbits):
        Row, sum_nbits = mk_bits(row_nbits), row_nbits + 1
        s.row = InPort(Row)
        s.bank = InPort(4)
        s.reach = InPort(mk_bits(num_taps * row_nbits))
        s.rows = OutPort(mk_bits(num_taps * row_nbits))

        s.tap_reach = [Wire(Row) for _ in range(num_taps)]
        s.wraps = [Wire() for _ in range(num_taps)]
        s.sum_ = [Wire(sum_nbits) for _ in range(num_taps)]
        for t in range(num_taps):
            s.tap_reach[t] //= s.reach[t * row_nbits : (t + 1) * row_nbits]
            s.rows[t * row_nbits : (t + 1) * row_nbits] //= s.sum_[t][1:sum_nbits]

        @update
        def up_add():
            for t in range(num_taps):
                s.wraps[t] @= s.bank > TAPS - 1 - t
                # A lowest bit of its own carries in.
                s.sum_[t] @= concat(s.row, Bits1(1)) + concat(s.tap_reach[t], s.wraps[t])

    def line_trace(s):
        return f"{s.row}:{s.bank}"
