"""Memories: every storage array of the accelerator is one of these two, so that a technology's
macro can take their place. And a register.

In the Verilog each size of one is a module of its own, ``MemoryRTL__nbits_<n>__depth_<d>`` or
``RegisterFileRTL__nbits_<n>__depth_<d>``, and nothing else knows how it stores. To use a macro,
leave that module out and give one of the same name and ports in its place. The macro may be deeper;
what the docstrings say of time holds for it too. ``reset`` does nothing to either.
"""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from accel.hardware.config import clog2


class MemoryRTL(Component):
    """One write port and one synchronous read port (block RAM).

    ``rdata`` is what ``raddr`` held when ``ren`` was last set, one cycle later; it keeps its value
    otherwise. What is read of an entry in the cycle in which it is written is undefined: here it is
    the old value, but no one may rely on it. Contents are undefined until written.
    """

    def construct(s, nbits, depth):
        Data, Addr = mk_bits(nbits), mk_bits(clog2(depth))
        s.ren = InPort()
        s.raddr = InPort(Addr)
        s.rdata = OutPort(Data)
        s.wen = InPort()
        s.waddr = InPort(Addr)
        s.wdata = InPort(Data)

        s.mem = [Wire(Data) for _ in range(depth)]

        @update_ff
        def up_access():
            if s.ren:
                s.rdata <<= s.mem[s.raddr]
            if s.wen:
                s.mem[s.waddr] <<= s.wdata

    def line_trace(s):
        return f"{s.raddr if s.ren else '-' * len(str(s.raddr))}:{s.rdata}"


class RegisterFileRTL(Component):
    """One write port and one asynchronous read port (LUT RAM): ``rdata`` follows ``raddr``."""

    def construct(s, nbits, depth):
        Data, Addr = mk_bits(nbits), mk_bits(clog2(depth))
        s.raddr = InPort(Addr)
        s.rdata = OutPort(Data)
        s.wen = InPort()
        s.waddr = InPort(Addr)
        s.wdata = InPort(Data)

        s.mem = [Wire(Data) for _ in range(depth)]

        @update
        def up_read():
            s.rdata @= s.mem[s.raddr]

        @update_ff
        def up_write():
            if s.wen:
                s.mem[s.waddr] <<= s.wdata

    def line_trace(s):
        return f"{s.raddr}:{s.rdata}"


class RegisterRTL(Component):
    """``out`` is what ``in_`` was when ``en`` was last set. Not reset."""

    def construct(s, nbits):
        s.en = InPort()
        s.in_ = InPort(nbits)
        s.out = OutPort(nbits)

        @update_ff
        def up_keep():
            if s.en:
                s.out <<= s.in_

    def line_trace(s):
        return f"{s.out}"
