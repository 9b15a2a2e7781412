"""A queue of what a serial line's receiver makes."""

from pymtl3 import Component, Wire, mk_bits, update, update_ff, zext
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.hardware.config import clog2
from accel.hardware.serial import QUEUED_SYMBOLS, SYMBOL_NBITS
from rtl_models.memory import RegisterFileRTL


class SymbolQueueRTL(Component):
    """Up to ``QUEUED_SYMBOLS`` symbols, from ``recv`` to ``send`` in their order: the request that
    a host sends before it has the answer to the one before.

    Latency: 1 cycle. Throughput: a symbol a cycle. Ready while it is not full. Reset: empty.
    """

    def construct(s):
        Symbol, index_nbits = mk_bits(SYMBOL_NBITS), clog2(QUEUED_SYMBOLS)
        most, count_nbits = QUEUED_SYMBOLS, clog2(QUEUED_SYMBOLS) + 1

        # Interface
        s.recv = RecvIfcRTL(Symbol)
        s.send = SendIfcRTL(Symbol)

        # Wires
        s.head, s.tail, s.count = Wire(index_nbits), Wire(index_nbits), Wire(count_nbits)
        s.pushes, s.pops = Wire(), Wire()

        # Structure
        s.symbols = RegisterFileRTL(SYMBOL_NBITS, QUEUED_SYMBOLS)
        s.symbols.raddr //= s.head
        s.symbols.rdata //= s.send.msg
        s.symbols.waddr //= s.tail
        s.symbols.wdata //= s.recv.msg
        s.symbols.wen //= s.pushes

        # Combinational
        @update
        def up_moves():
            s.recv.rdy @= s.count != most
            s.send.val @= s.count != 0
            s.pushes @= s.recv.val & (s.count != most)
            s.pops @= (s.count != 0) & s.send.rdy

        # Sequential
        @update_ff
        def up_state():
            if s.reset:
                s.head <<= 0
                s.tail <<= 0
                s.count <<= 0
            else:
                if s.pushes:
                    s.tail <<= s.tail + 1
                if s.pops:
                    s.head <<= s.head + 1
                s.count <<= s.count + zext(s.pushes, count_nbits) - zext(s.pops, count_nbits)

    def line_trace(s):
        return f"{int(s.count):2}"
