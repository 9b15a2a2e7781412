"""Memory address of a nest of loops."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from rtl_models.address_adder import UP_TO_CARRY, AddressAdderRTL


class LoopAddressRTL(Component):
    """The address (row ``q``, bank ``r``) that a nest of loops visits.

    Each loop remembers the address at which it last advanced. When loop k advances, its stride is
    added to that one: the new address of loop k and of all loops inside it. So one adder serves
    the whole nest. ``start`` sets all to the start address.

    In two stages: with ``issue`` comes a position's ``select``, the loop that will advance after
    it, and adder's inputs are chosen; from the next cycle on ``q`` and ``r`` are its address. With
    ``leave`` the position goes, and ``restart`` says which loops take the sum.
    """

    def construct(s, num_loops, q_nbits):
        Q, R, Flags = mk_bits(q_nbits), mk_bits(4), mk_bits(num_loops)
        s.start = InPort()
        s.start_q = InPort(Q)
        s.start_r = InPort(R)
        s.issue = InPort()
        s.select = InPort(Flags)
        s.leave = InPort()
        s.restart = InPort(Flags)
        s.strides_q = InPort(mk_bits(num_loops * q_nbits))
        s.strides_r = InPort(mk_bits(num_loops * 4))
        s.q = OutPort(Q)
        s.r = OutPort(R)

        s.stride_q = [Wire(Q) for _ in range(num_loops)]
        s.stride_r = [Wire(R) for _ in range(num_loops)]
        s.at_q = [Wire(Q) for _ in range(num_loops)]
        s.at_r = [Wire(R) for _ in range(num_loops)]
        s.renewed = Wire()
        s.from_q, s.add_q = Wire(Q), Wire(Q)
        s.from_r, s.add_r = Wire(R), Wire(R)
        s.sum = AddressAdderRTL(q_nbits)
        for i in range(num_loops):
            s.stride_q[i] //= s.strides_q[i * q_nbits : (i + 1) * q_nbits]
            s.stride_r[i] //= s.strides_r[i * 4 : (i + 1) * 4]
        s.q //= s.at_q[0]
        s.r //= s.at_r[0]

        @update
        def up_choose():
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
            # What the position before this one is about to store comes straight from the adder.
            s.renewed @= s.leave & ((s.select & s.restart) != 0)

        @update_ff
        def up_operands():
            if s.issue:
                s.sum.b_q <<= s.add_q
                s.sum.b_r_up <<= s.add_r + UP_TO_CARRY
                if s.renewed:
                    s.sum.a_q <<= s.sum.q
                    s.sum.a_r <<= s.sum.r
                else:
                    s.sum.a_q <<= s.from_q
                    s.sum.a_r <<= s.from_r

        @update_ff
        def up_remember():
            for i in range(num_loops):
                if s.start:
                    s.at_q[i] <<= s.start_q
                    s.at_r[i] <<= s.start_r
                elif s.leave & s.restart[i]:
                    s.at_q[i] <<= s.sum.q
                    s.at_r[i] <<= s.sum.r

    def line_trace(s):
        return f"{s.q}:{s.r}"
