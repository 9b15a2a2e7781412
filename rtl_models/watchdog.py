"""Finds out that nothing will ever move again."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update_ff

from accel.hardware.config import clog2
from accel.hardware.status import WATCHDOG_CYCLES


class WatchdogRTL(Component):
    """``stuck`` when ``waits`` was high and ``moves`` low for ``WATCHDOG_CYCLES`` cycles on end.

    ::

        waits, moves -> [quiet] -> [count] -> stuck, two cycles after the last of them

    ``stuck`` is the counter's highest bit, and stays while all is quiet. Reset state: not stuck.
    """

    def construct(s):
        nbits = clog2(WATCHDOG_CYCLES) + 1
        top = nbits - 1
        s.waits = InPort()
        s.moves = InPort()
        s.stuck = OutPort()

        s.quiet = Wire()
        s.count = Wire(mk_bits(nbits))
        s.stuck //= s.count[top]

        @update_ff
        def up_count():
            if s.reset:
                s.quiet <<= 0
                s.count <<= 0
            else:
                s.quiet <<= s.waits & ~s.moves
                if ~s.quiet:
                    s.count <<= 0
                elif ~s.stuck:
                    s.count <<= s.count + 1

    def line_trace(s):
        return f"{s.count}"
