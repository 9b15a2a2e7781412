"""The sending half of a serial line: bytes to bits."""

from pymtl3 import Component, OutPort, Wire, concat, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL

from accel.hardware.config import clog2


class UartTransmitterRTL(Component):
    """A start bit, the byte's eight bits from the lowest on, a stop bit; ``divisor`` cycles each.

    Latency: the start bit is on ``tx``, a register, the cycle after the byte was taken. Throughput:
    a byte in ten bits' time. Reset: the line is high, and a byte can be taken.
    """

    def construct(s, divisor):
        Time, Bit = mk_bits(clog2(divisor)), mk_bits(1)
        last = divisor - 1

        # Interface
        s.octet = RecvIfcRTL(mk_bits(8))
        s.tx = OutPort()

        # Wires: the bit on the line is the lowest of ``bits``; those above it are still to come.
        s.bits, s.num_left, s.elapsed = Wire(9), Wire(4), Wire(Time)

        # Structure
        s.tx //= s.bits[0]

        # Combinational
        @update
        def up_ready():
            s.octet.rdy @= s.num_left == 0

        # Sequential
        @update_ff
        def up_bits():
            if s.reset:
                s.bits <<= 0x1FF
                s.num_left <<= 0
            elif s.num_left == 0:
                s.elapsed <<= 0
                if s.octet.val:
                    s.bits <<= concat(s.octet.msg, Bit(0))
                    s.num_left <<= 10
            elif s.elapsed == last:
                s.elapsed <<= 0
                s.bits <<= concat(Bit(1), s.bits[1:9])
                s.num_left <<= s.num_left - 1
            else:
                s.elapsed <<= s.elapsed + 1

    def line_trace(s):
        return f"{s.tx}{int(s.num_left):2}"
