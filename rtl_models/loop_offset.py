"""Row or column number of a nest of loops."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff, zext


class LoopOffsetRTL(Component):
    """The row or column that a nest of loops visits, signed; like the address, without banks.

    ``start`` sets it to ``origin``.
    """

    def construct(s, num_loops, nbits, stride_nbits):
        Offset, Flags = mk_bits(nbits), mk_bits(num_loops)
        s.start = InPort()
        s.origin = InPort(Offset)
        s.issue = InPort()
        s.select = InPort(Flags)
        s.leave = InPort()
        s.restart = InPort(Flags)
        s.strides = InPort(mk_bits(num_loops * stride_nbits))
        s.offset = OutPort(Offset)

        s.stride = [Wire(stride_nbits) for _ in range(num_loops)]
        s.at = [Wire(Offset) for _ in range(num_loops)]
        s.renewed = Wire()
        s.from_, s.base, s.sum = Wire(Offset), Wire(Offset), Wire(Offset)
        s.add, s.step = Wire(stride_nbits), Wire(stride_nbits)
        for i in range(num_loops):
            s.stride[i] //= s.strides[i * stride_nbits : (i + 1) * stride_nbits]
        s.offset //= s.at[0]

        @update
        def up_choose():
            s.from_ @= 0
            s.add @= 0
            for i in range(num_loops):
                if s.select[i]:
                    s.from_ @= s.at[i]
                    s.add @= s.stride[i]
            s.renewed @= s.leave & ((s.select & s.restart) != 0)

        @update
        def up_add():
            s.sum @= s.base + zext(s.step, nbits)

        @update_ff
        def up_operands():
            if s.issue:
                s.step <<= s.add
                if s.renewed:
                    s.base <<= s.sum
                else:
                    s.base <<= s.from_

        @update_ff
        def up_remember():
            for i in range(num_loops):
                if s.start:
                    s.at[i] <<= s.origin
                elif s.leave & s.restart[i]:
                    s.at[i] <<= s.sum

    def line_trace(s):
        return f"{s.offset}"
