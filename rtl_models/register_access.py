"""Accesses of registers, one after another, on an AXI4-Lite port."""

from pymtl3 import Component, InPort, OutPort, Wire, concat, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.hardware.registers import ADDRESS_NBITS, DATA_NBITS, OKAY, WORD_BYTES
from accel.hardware.serial import ACCESS_NBITS, REPLY_NBITS


class RegisterAccessRTL(Component):
    """The manager of :class:`~rtl_models.axi_registers.AxiRegistersRTL`'s port.

    ``access`` says whether it writes, the address and the data; ``reply`` whether it was refused,
    and what was read, 0 of a write. The next access is taken when the reply is. Reset: none open.
    """

    def construct(s):
        Address, Data = mk_bits(ADDRESS_NBITS), mk_bits(DATA_NBITS)
        data_nbits, okay = DATA_NBITS, OKAY
        address_end = DATA_NBITS + ADDRESS_NBITS
        IDLE, ASK, WAIT, REPLY = range(4)

        # Interface
        s.access = RecvIfcRTL(mk_bits(ACCESS_NBITS))
        s.reply = SendIfcRTL(mk_bits(REPLY_NBITS))
        s.awaddr, s.awvalid, s.awready = OutPort(Address), OutPort(), InPort()
        s.wdata, s.wstrb, s.wvalid = OutPort(Data), OutPort(WORD_BYTES), OutPort()
        s.wready = InPort()
        s.bresp, s.bvalid, s.bready = InPort(2), InPort(), OutPort()
        s.araddr, s.arvalid, s.arready = OutPort(Address), OutPort(), InPort()
        s.rdata, s.rresp, s.rvalid = InPort(Data), InPort(2), InPort()
        s.rready = OutPort()

        # Wires
        s.state, s.writes = Wire(2), Wire()
        s.address, s.data, s.refused = Wire(Address), Wire(Data), Wire()
        # Of a write, what has not been taken yet
        s.address_left, s.data_left = Wire(), Wire()

        # Structure
        s.awaddr //= s.address
        s.araddr //= s.address
        s.wdata //= s.data
        s.wstrb //= (1 << WORD_BYTES) - 1
        s.reply.msg //= lambda: concat(s.refused, s.data)

        # Combinational
        @update
        def up_ports():
            s.access.rdy @= s.state == IDLE
            s.awvalid @= (s.state == ASK) & s.writes & s.address_left
            s.wvalid @= (s.state == ASK) & s.writes & s.data_left
            s.arvalid @= (s.state == ASK) & ~s.writes
            s.bready @= (s.state == WAIT) & s.writes
            s.rready @= (s.state == WAIT) & ~s.writes
            s.reply.val @= s.state == REPLY

        # Sequential
        @update_ff
        def up_state():
            if s.reset:
                s.state <<= IDLE
            elif s.state == IDLE:
                if s.access.val:
                    s.state <<= ASK
            elif s.state == ASK:
                if s.writes:
                    if (~s.address_left | s.awready) & (~s.data_left | s.wready):
                        s.state <<= WAIT
                elif s.arready:
                    s.state <<= WAIT
            elif s.state == WAIT:
                if (s.bvalid & s.bready) | (s.rvalid & s.rready):
                    s.state <<= REPLY
            elif s.reply.rdy:
                s.state <<= IDLE

        @update_ff
        def up_access():
            if s.state == IDLE:
                s.writes <<= s.access.msg[address_end]
                s.address <<= s.access.msg[data_nbits:address_end]
                s.data <<= s.access.msg[0:data_nbits]
                s.address_left <<= 1
                s.data_left <<= 1
            elif s.state == ASK:
                s.address_left <<= s.address_left & ~s.awready
                s.data_left <<= s.data_left & ~s.wready
            elif s.state == WAIT:
                if s.writes:
                    s.refused <<= s.bresp != okay
                    s.data <<= 0
                else:
                    s.refused <<= s.rresp != okay
                    s.data <<= s.rdata

    def line_trace(s):
        return f"{s.access} {int(s.state)} {s.reply}"
