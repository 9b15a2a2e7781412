"""A memory of wide words that is filled through a narrow port."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from accel.hardware.config import BUS_NBITS, clog2
from rtl_models.memory import MemoryRTL


class WideMemoryRTL(Component):
    """Words of ``nbits``, one read each cycle, written as 64-bit beats, lowest bits first.

    Each beat is a memory of its own, all with the same read address. A beat is in memory two cycles
    after it came: it first goes to a register, since those memories may lie far apart.
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

        s.wen_beat = [Wire() for _ in range(num_beats)]
        s.to_beat = [Wire() for _ in range(num_beats)]
        s.to_addr, s.data = Wire(Addr), Wire(BUS_NBITS)
        for i in range(num_beats):
            low, high = i * BUS_NBITS, min(nbits, (i + 1) * BUS_NBITS)
            # Attributes, not a list: PyMTL3 translates only lists of equal components.
            beat = MemoryRTL(high - low, depth)
            setattr(s, f"beat{i}", beat)
            beat.ren //= s.ren
            beat.raddr //= s.raddr
            beat.rdata //= s.rdata[low:high]
            beat.wen //= s.to_beat[i]
            beat.waddr //= s.to_addr
            beat.wdata //= s.data[0 : high - low]

        @update
        def up_select():
            for i in range(num_beats):
                s.wen_beat[i] @= s.wen & (s.wbeat == i)

        @update_ff
        def up_write():
            for i in range(num_beats):
                if s.reset:
                    s.to_beat[i] <<= 0
                else:
                    s.to_beat[i] <<= s.wen_beat[i]
            s.to_addr <<= s.waddr
            s.data <<= s.wdata

    def line_trace(s):
        return f"{s.raddr if s.ren else '-' * len(str(s.raddr))}"
