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
        s.advance = InPort()
        s.select = InPort(Flags)
        s.restart = InPort(Flags)
        s.strides = InPort(mk_bits(num_loops * stride_nbits))
        s.offset = OutPort(Offset)

        s.stride = [Wire(stride_nbits) for _ in range(num_loops)]
        s.at = [Wire(Offset) for _ in range(num_loops)]
        s.from_, s.next_ = Wire(Offset), Wire(Offset)
        s.add = Wire(stride_nbits)
        for i in range(num_loops):
            s.stride[i] //= s.strides[i * stride_nbits : (i + 1) * stride_nbits]
        s.offset //= s.at[0]

        @update
        def up_select_loop():
            s.from_ @= 0
            s.add @= 0
            for i in range(num_loops):
                if s.select[i]:
                    s.from_ @= s.at[i]
                    s.add @= s.stride[i]
            s.next_ @= s.from_ + zext(s.add, nbits)

        @update_ff
        def up_remember():
            for i in range(num_loops):
                if s.start:
                    s.at[i] <<= s.origin
                elif s.advance & s.restart[i]:
                    s.at[i] <<= s.next_

    def line_trace(s):
        return f"{s.offset}"
