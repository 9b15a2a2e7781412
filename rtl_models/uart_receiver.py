"""The receiving half of a serial line: bits to symbols."""

from pymtl3 import Component, InPort, Wire, concat, mk_bits, update, update_ff, zext
from pymtl3.stdlib.stream.ifcs import SendIfcRTL

from accel.hardware.config import clog2
from accel.hardware.serial import SILENCE, SYMBOL_NBITS


class UartReceiverRTL(Component):
    """Bytes of a line, eight bits each, without parity, and whether the line has become silent.

    ::

        rx -> [ ] -> [ ] -> start bit, in its middle? -> eight bits, each in its middle -> stop bit?
                  |                                                                          |
                  +-- high for silence_bits? --> SILENCE ------------+--> [ symbol ] --> out +

    ``divisor`` cycles a bit, at least 4. What is low for less than half a bit starts nothing. A
    byte whose stop bit is missing is dropped, and so is what comes before the line is high again,
    and a byte for which there is no room: its frame is broken then. ``SILENCE`` comes once after
    bytes, when no start bit has come for ``silence_bits`` bits.

    Latency: a symbol is offered the cycle after the middle of its stop bit. Reset: no byte under
    way, nothing offered, no byte before.
    """

    def construct(s, divisor, silence_bits):
        silence_cycles = divisor * silence_bits
        Time, Quiet = mk_bits(clog2(divisor)), mk_bits(clog2(silence_cycles))
        bit_last, half_last, quiet_last = divisor - 1, divisor // 2 - 1, silence_cycles - 1
        silence = SILENCE
        IDLE, START, DATA, STOP, BROKEN = range(5)

        # Interface
        s.rx = InPort()
        s.out = SendIfcRTL(mk_bits(SYMBOL_NBITS))

        # Wires
        s.synchronized, s.line = Wire(), Wire()
        s.state = Wire(3)
        s.elapsed, s.quiet = Wire(Time), Wire(Quiet)
        s.num_bits, s.octet = Wire(3), Wire(8)
        s.symbol, s.symbol_val = Wire(mk_bits(SYMBOL_NBITS)), Wire()
        s.bit_ends, s.has_room, s.received = Wire(), Wire(), Wire()
        s.heard, s.falls_silent = Wire(), Wire()

        # Structure
        s.out.msg //= s.symbol
        s.out.val //= s.symbol_val

        # Combinational
        @update
        def up_find():
            s.has_room @= ~s.symbol_val | s.out.rdy
            s.bit_ends @= s.elapsed == bit_last
            s.received @= (s.state == STOP) & s.bit_ends & s.line
            s.falls_silent @= s.heard & (s.quiet == quiet_last) & s.has_room & ~s.received

        # Sequential
        @update_ff
        def up_line():
            if s.reset:
                s.synchronized <<= 1
                s.line <<= 1
            else:
                s.synchronized <<= s.rx
                s.line <<= s.synchronized

        @update_ff
        def up_bits():
            if s.reset:
                s.state <<= IDLE
            elif s.state == IDLE:
                s.elapsed <<= 0
                if ~s.line:
                    s.state <<= START
            elif s.state == START:
                s.elapsed <<= s.elapsed + 1
                s.num_bits <<= 0
                if s.line:
                    s.state <<= IDLE
                elif s.elapsed == half_last:
                    s.state <<= DATA
                    s.elapsed <<= 0
            elif s.state == BROKEN:
                if s.line:
                    s.state <<= IDLE
            elif s.bit_ends:
                s.elapsed <<= 0
                if s.state == DATA:
                    s.octet <<= concat(s.line, s.octet[1:8])
                    s.num_bits <<= s.num_bits + 1
                    if s.num_bits == 7:
                        s.state <<= STOP
                else:
                    s.state <<= IDLE
                    if ~s.line:
                        s.state <<= BROKEN
            else:
                s.elapsed <<= s.elapsed + 1

        @update_ff
        def up_quiet():
            if s.reset:
                s.heard <<= 0
                s.quiet <<= 0
            else:
                if s.state == STOP:
                    s.heard <<= 1
                elif s.falls_silent:
                    s.heard <<= 0
                if s.state != IDLE:
                    s.quiet <<= 0
                elif s.quiet != quiet_last:
                    s.quiet <<= s.quiet + 1

        @update_ff
        def up_symbol():
            if s.reset:
                s.symbol_val <<= 0
            elif s.has_room:
                s.symbol_val <<= s.received | s.falls_silent
                s.symbol <<= zext(s.octet, 9)
                if s.falls_silent:
                    s.symbol <<= silence

    def line_trace(s):
        return f"{s.line}{int(s.state)} {s.out}"
