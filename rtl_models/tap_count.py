"""How many of nine taps are set."""

from pymtl3 import Component, InPort, OutPort, Wire, update, zext

from accel.hardware.config import TAPS


class TapCountRTL(Component):
    """The number of ones among nine bits; combinational, a tree of additions."""

    def construct(s):
        s.in_ = InPort(TAPS)
        s.out = OutPort(4)

        s.row0, s.row1, s.row2 = Wire(4), Wire(4), Wire(4)

        @update
        def up_rows():
            s.row0 @= zext(s.in_[0:1], 4) + zext(s.in_[1:2], 4) + zext(s.in_[2:3], 4)
            s.row1 @= zext(s.in_[3:4], 4) + zext(s.in_[4:5], 4) + zext(s.in_[5:6], 4)
            s.row2 @= zext(s.in_[6:7], 4) + zext(s.in_[7:8], 4) + zext(s.in_[8:9], 4)

        @update
        def up_add():
            s.out @= s.row0 + s.row1 + s.row2

    def line_trace(s):
        return f"{s.out}"
