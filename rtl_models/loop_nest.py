"""A nest of loops with its address, one position at a time."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from accel.hardware.descriptors import COUNT
from rtl_models.loop_address import LoopAddressRTL
from rtl_models.loop_counters import LoopCountersRTL


class LoopNestRTL(Component):
    """Holds the nest's next position in registers: ``row`` and ``bank`` of its address, and the
    loops that are in their ``last`` iteration (``done``: all of them).

    ``start`` begins anew; the first position is there two cycles later (``val``). ``take`` takes
    it, one a cycle. Reset: no position.
    """

    def construct(s, num_loops, row_nbits):
        Flags = mk_bits(num_loops)
        s.start = InPort()
        s.start_row = InPort(row_nbits)
        s.start_bank = InPort(4)
        s.counts = InPort(mk_bits(COUNT.nbits * num_loops))
        s.strides_row = InPort(mk_bits(num_loops * row_nbits))
        s.strides_bank = InPort(mk_bits(num_loops * 4))
        s.take = InPort()
        s.val = OutPort()
        s.row = OutPort(row_nbits)
        s.bank = OutPort(4)
        s.last = OutPort(Flags)
        s.done = OutPort()

        s.more, s.issue = Wire(), Wire()
        s.restart = Wire(Flags)
        s.counters = LoopCountersRTL(num_loops)
        s.counters.start //= s.start
        s.counters.advance //= s.issue
        s.counters.counts //= s.counts
        s.address = LoopAddressRTL(num_loops, row_nbits)
        s.address.start //= s.start
        s.address.start_row //= s.start_row
        s.address.start_bank //= s.start_bank
        s.address.issue //= s.issue
        s.address.select //= s.counters.select
        s.address.leave //= s.take
        s.address.restart //= s.restart
        s.address.strides_row //= s.strides_row
        s.address.strides_bank //= s.strides_bank
        s.address.row //= s.row
        s.address.bank //= s.bank

        @update
        def up_issue():
            s.issue @= s.more & (~s.val | s.take)

        @update_ff
        def up_follow():
            if s.reset:
                s.more <<= 0
                s.val <<= 0
            elif s.start:
                s.more <<= 1
                s.val <<= 0
            else:
                s.more <<= s.more & ~(s.issue & s.counters.done)
                s.val <<= s.issue | (s.val & ~s.take)
            if s.issue:
                s.restart <<= s.counters.restart
                s.last <<= s.counters.last
                s.done <<= s.counters.done

    def line_trace(s):
        return s.counters.line_trace()
