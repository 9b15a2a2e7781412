"""Rotation between the order of taps and the order of banks."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update

from accel.hardware.config import TAPS


class RotatorRTL(Component):
    """Rotates nine elements by ``amount`` (0 to 8) places; combinational, four stages.

    With ``to_banks`` element t of ``in_`` goes to place ``(t + amount) mod 9``, where the tap's
    bank is; without, the element at that place comes back to t.
    """

    def construct(s, nbits, to_banks):
        Vector = mk_bits(TAPS * nbits)
        s.in_ = InPort(Vector)
        s.amount = InPort(4)
        s.out = OutPort(Vector)

        total = TAPS * nbits
        s.by1, s.by2, s.by4 = Wire(Vector), Wire(Vector), Wire(Vector)
        left = [
            (1 if to_banks else 8) * nbits,
            (2 if to_banks else 7) * nbits,
            (4 if to_banks else 5) * nbits,
            (8 if to_banks else 1) * nbits,
        ]
        left1, left2, left4, left8 = left
        right1, right2, right4, right8 = (total - n for n in left)

        @update
        def up_rotate():
            s.by1 @= s.in_
            if s.amount[0]:
                s.by1 @= (s.in_ << left1) | (s.in_ >> right1)
            s.by2 @= s.by1
            if s.amount[1]:
                s.by2 @= (s.by1 << left2) | (s.by1 >> right2)
            s.by4 @= s.by2
            if s.amount[2]:
                s.by4 @= (s.by2 << left4) | (s.by2 >> right4)
            s.out @= s.by4
            if s.amount[3]:
                s.out @= (s.by4 << left8) | (s.by4 >> right8)

    def line_trace(s):
        return f"{s.amount}"
