"""A counter of two words without a long carry."""

from pymtl3 import Component, InPort, OutPort, Wire, update, update_ff, zext


class PerformanceCounterRTL(Component):
    """Counts the cycles in which ``en`` is high.

    ::

        en -> [low] --carry--> [carry] -> [high]

    ``high`` in one cycle belongs to ``low`` in the cycle before. ``clear`` goes before ``en``.
    Reset state: 0.
    """

    def construct(s, half_nbits=32):
        s.en = InPort()
        s.clear = InPort()
        s.low = OutPort(half_nbits)
        s.high = OutPort(half_nbits)

        nbits = half_nbits + 1
        s.sum = Wire(nbits)
        s.carry = Wire()

        @update
        def up_add():
            s.sum @= zext(s.low, nbits) + zext(s.en, nbits)

        @update_ff
        def up_count():
            if s.reset | s.clear:
                s.low <<= 0
                s.high <<= 0
                s.carry <<= 0
            else:
                s.low <<= s.sum[0:half_nbits]
                s.carry <<= s.sum[half_nbits]
                s.high <<= s.high + zext(s.carry, half_nbits)

    def line_trace(s):
        return f"{s.high}{s.low}"
