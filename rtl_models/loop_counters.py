"""Counters of a nest of loops."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from accel.hardware.descriptors import COUNT


class LoopCountersRTL(Component):
    """Counts through a nest of loops, loop 0 innermost; ``start`` sets all counters to 0.

    ``counts`` packs each loop's iterations minus one. When the innermost loop that is not at its
    end advances (``select``, one-hot), all loops inside it start again; ``restart`` marks it and
    them. Both follow from the ends of the loops alone. ``first``, ``last`` and ``done`` come from
    registers: counters count down, so that little is left to do after them.
    """

    def construct(s, num_loops):
        Count, Flags = mk_bits(COUNT.nbits), mk_bits(num_loops)
        s.start = InPort()
        s.advance = InPort()
        s.counts = InPort(mk_bits(COUNT.nbits * num_loops))
        s.first = OutPort(Flags)
        s.last = OutPort(Flags)
        s.select = OutPort(Flags)
        s.restart = OutPort(Flags)
        s.done = OutPort()

        s.limit = [Wire(Count) for _ in range(num_loops)]
        s.counter = [Wire(Count) for _ in range(num_loops)]
        s.at_start = [Wire() for _ in range(num_loops)]
        s.at_end = [Wire() for _ in range(num_loops)]
        s.next_end = Wire(Flags)
        s.inner_end = Wire()
        for i in range(num_loops):
            s.limit[i] //= s.counts[i * COUNT.nbits : (i + 1) * COUNT.nbits]
            s.first[i] //= s.at_start[i]
            s.last[i] //= s.at_end[i]

        @update
        def up_select_loop():
            s.inner_end @= 1
            for i in range(num_loops):
                s.restart[i] @= s.inner_end
                s.inner_end @= s.inner_end & s.last[i]
            s.select @= s.restart & ~s.last
            for i in range(num_loops):
                if s.start | (s.restart[i] & s.last[i]):
                    s.next_end[i] @= s.limit[i] == 0
                elif s.restart[i]:
                    s.next_end[i] @= s.counter[i] == 1
                else:
                    s.next_end[i] @= s.last[i]

        @update_ff
        def up_count():
            if s.start | s.advance:
                s.done <<= s.next_end == ~Flags(0)
            for i in range(num_loops):
                if s.start | s.advance:
                    s.at_end[i] <<= s.next_end[i]
                if s.start | (s.advance & s.restart[i] & s.last[i]):
                    s.counter[i] <<= s.limit[i]
                    s.at_start[i] <<= 1
                elif s.advance & s.restart[i]:
                    s.counter[i] <<= s.counter[i] - 1
                    s.at_start[i] <<= 0

    def line_trace(s):
        return "/".join(str(n - c) for n, c in zip(s.limit[::-1], s.counter[::-1], strict=True))
