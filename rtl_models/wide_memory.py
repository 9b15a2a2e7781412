"""A memory of wide words that is filled through a narrow port."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update

from accel.config import BUS_NBITS, clog2
from rtl_models.memory import MemoryRTL


class WideMemoryRTL(Component):
    """Words of ``nbits``, one read each cycle, written as 64-bit beats, lowest bits first.

    Each beat is a memory of its own, all with the same read address.
    """

    def construct(s, nbits, depth):
        num_beats = -(-nbits // BUS_NBITS)
        Addr = mk_bits(clog2(depth))
        s.ren = InPort()
        s.raddr = InPort(Addr)
        s.rdata = OutPort(mk_bits(nbits))
        s.wen = InPort()
        s.waddr = InPort(Addr)
        s.wbeat = InPort(8)
        s.wdata = InPort(BUS_NBITS)

        s.beat = [
            MemoryRTL(min(BUS_NBITS, nbits - i * BUS_NBITS), depth) for i in range(num_beats)
        ]
        s.wen_beat = [Wire() for _ in range(num_beats)]
        for i in range(num_beats):
            low, high = i * BUS_NBITS, min(nbits, (i + 1) * BUS_NBITS)
            s.beat[i].ren //= s.ren
            s.beat[i].raddr //= s.raddr
            s.beat[i].rdata //= s.rdata[low:high]
            s.beat[i].wen //= s.wen_beat[i]
            s.beat[i].waddr //= s.waddr
            s.beat[i].wdata //= s.wdata[0 : high - low]

        @update
        def select():
            for i in range(num_beats):
                s.wen_beat[i] @= s.wen & (s.wbeat == i)

    def line_trace(s):
        return f"{s.raddr if s.ren else '-' * len(str(s.raddr))}"
