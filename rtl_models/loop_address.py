"""Memory address of a nest of loops."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from rtl_models.address_adder import AddressAdderRTL


class LoopAddressRTL(Component):
    """The address (row ``q``, bank ``r``) that a nest of loops visits.

    Each loop remembers the address at which it last advanced. When loop k advances, its stride is
    added to that one: the new address of loop k and of all loops inside it. So one adder serves
    the whole nest. ``start`` sets all to the start address.
    """

    def construct(s, num_loops, q_nbits):
        Q, R, Flags = mk_bits(q_nbits), mk_bits(4), mk_bits(num_loops)
        s.start = InPort()
        s.start_q = InPort(Q)
        s.start_r = InPort(R)
        s.advance = InPort()
        s.select = InPort(Flags)
        s.restart = InPort(Flags)
        s.strides_q = InPort(mk_bits(num_loops * q_nbits))
        s.strides_r = InPort(mk_bits(num_loops * 4))
        s.q = OutPort(Q)
        s.r = OutPort(R)

        s.stride_q = [Wire(Q) for _ in range(num_loops)]
        s.stride_r = [Wire(R) for _ in range(num_loops)]
        s.at_q = [Wire(Q) for _ in range(num_loops)]
        s.at_r = [Wire(R) for _ in range(num_loops)]
        s.from_q, s.add_q = Wire(Q), Wire(Q)
        s.from_r, s.add_r = Wire(R), Wire(R)
        s.next = AddressAdderRTL(q_nbits)
        s.next.a_q //= s.from_q
        s.next.a_r //= s.from_r
        s.next.b_q //= s.add_q
        s.next.b_r //= s.add_r
        for i in range(num_loops):
            s.stride_q[i] //= s.strides_q[i * q_nbits : (i + 1) * q_nbits]
            s.stride_r[i] //= s.strides_r[i * 4 : (i + 1) * 4]
        s.q //= s.at_q[0]
        s.r //= s.at_r[0]

        @update
        def up_select_loop():
            s.from_q @= 0
            s.from_r @= 0
            s.add_q @= 0
            s.add_r @= 0
            for i in range(num_loops):
                if s.select[i]:
                    s.from_q @= s.at_q[i]
                    s.from_r @= s.at_r[i]
                    s.add_q @= s.stride_q[i]
                    s.add_r @= s.stride_r[i]

        @update_ff
        def up_remember():
            for i in range(num_loops):
                if s.start:
                    s.at_q[i] <<= s.start_q
                    s.at_r[i] <<= s.start_r
                elif s.advance & s.restart[i]:
                    s.at_q[i] <<= s.next.q
                    s.at_r[i] <<= s.next.r

    def line_trace(s):
        return f"{s.q}:{s.r}"
