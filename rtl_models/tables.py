"""The tables: requantized activations, or what a table has for each, ``num_lanes`` a cycle."""

from pymtl3 import Component, Wire, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL, valrdy_to_str

from accel.hardware.config import TABLE_SIZE, AccelConfig
from accel.hardware.messages import mk_entry, mk_looked_up, mk_value, y_nbits
from rtl_models.memory import MemoryRTL


class TablesRTL(Component):
    """Looks each lane's byte up, or passes it on.

    ::

                       +--> [ memory of lane i ] ---- entry --+
        value -- y_i --+                                      +--> [ output ] --> out
                       +--> [ value ] ---------------- y_i ---+
        entry --> all memories

    Each lane has a copy of all tables, so that all look up at once. Latency: 2 cycles from
    ``value`` to ``out``, looked up or not. Throughput: 1 beat a cycle. While ``out`` is not taken,
    both registers hold and no value is taken. ``entry.rdy`` is always high; what is read of an
    entry in the cycle in which it comes is undefined. Reset: empty; tables, and data registers,
    are not reset.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"Tables_{cfg}")
        lanes, nbits = cfg.num_lanes, y_nbits(cfg)
        depth = cfg.tables * TABLE_SIZE

        # Interface
        s.entry = RecvIfcRTL(mk_entry(cfg))
        s.value = RecvIfcRTL(mk_value(cfg))
        s.out = SendIfcRTL(mk_looked_up(cfg))

        # Wires
        s.advance, s.take, s.moves = Wire(), Wire(), Wire()
        s.val, s.out_val = Wire(), Wire()
        s.looks_up, s.y = Wire(), Wire(nbits * lanes)
        s.found, s.out_y = Wire(nbits * lanes), Wire(nbits * lanes)

        # Structure
        s.memories = [MemoryRTL(8, depth) for _ in range(lanes)]
        for i, memory in enumerate(s.memories):
            memory.ren //= s.take
            memory.raddr[0:8] //= s.value.msg.y[i * nbits : i * nbits + 8]
            if cfg.tables > 1:
                memory.raddr[8 : 8 + cfg.table_nbits] //= s.value.msg.table_index
            memory.wen //= s.entry.val
            memory.waddr //= s.entry.msg.address
            memory.wdata //= s.entry.msg.value
            s.found[i * nbits : i * nbits + 8] //= memory.rdata
        s.entry.rdy //= 1
        s.value.rdy //= s.advance
        s.out.val //= s.out_val
        s.out.msg.y //= s.out_y

        # Combinational
        @update
        def up_ready():
            s.advance @= ~s.out_val | s.out.rdy
            s.take @= s.value.val & s.advance
            s.moves @= s.val & s.advance

        # Sequential
        @update_ff
        def up_control():
            if s.reset:
                s.val <<= 0
                s.out_val <<= 0
            elif s.advance:
                s.val <<= s.value.val
                s.out_val <<= s.val

        @update_ff
        def up_values():
            if s.take:
                s.looks_up <<= s.value.msg.looks_up
                s.y <<= s.value.msg.y
            if s.moves:
                s.out_y <<= s.found if s.looks_up else s.y

        if cfg.adder:
            s.is_signed, s.last, s.ends_layer = Wire(), Wire(), Wire()
            s.out_last, s.out_ends_layer = Wire(), Wire()
            s.out.msg.last //= s.out_last
            s.out.msg.ends_layer //= s.out_ends_layer
            s.signs = [Wire() for _ in range(lanes)]
            for i in range(lanes):
                s.found[i * nbits + 8] //= s.signs[i]

            @update
            def up_signs():
                for i in range(lanes):
                    s.signs[i] @= s.is_signed & s.memories[i].rdata[7]

            @update_ff
            def up_ends():
                if s.take:
                    s.is_signed <<= s.value.msg.table_signed
                    s.last <<= s.value.msg.last
                    s.ends_layer <<= s.value.msg.ends_layer
                if s.moves:
                    s.out_last <<= s.last
                    s.out_ends_layer <<= s.ends_layer

    def line_trace(s):
        value = valrdy_to_str(s.value.msg, s.value.val, s.value.rdy, len(str(s.value.msg)))
        out = valrdy_to_str(s.out.msg, s.out.val, s.out.rdy, len(str(s.out.msg)))
        return f"{value} ({s.val}{s.out_val}) {out}"
