"""The registers behind the AXI4-Lite port: control, status, counters, interrupt."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff, zext

from accel.hardware.config import AccelConfig, clog2
from accel.hardware.registers import (
    ADDRESS_NBITS,
    BY_NAME,
    COUNTERS,
    COUNTERS_OFFSET,
    DATA_NBITS,
    NUM_OWN_COUNTERS,
    OKAY,
    REGISTERS,
    SLVERR,
    WORD_BYTES,
    constants,
)
from accel.hardware.status import TRAFFIC, TRAFFIC_NBITS, Activity
from rtl_models.performance_counter import PerformanceCounterRTL

RESET_CYCLES = 4
"""So long a reset also reaches what is reset by way of another register."""


class AxiRegistersRTL(Component):
    """What :data:`accel.hardware.registers.REGISTERS` says, one access of each direction at a time.

    ::

        aw --> [address] --+
                           +--> decode --> [control, layer, pending] [b]     2 cycles
        w  --> [data] -----+
        ar --> [address] --> decode, one word of all --> [r]                 2 cycles
                                  +--> number of the counter --> [its upper half, kept]

    ``core_reset`` is high for ``RESET_CYCLES`` + 1 cycles from a write to ``soft_reset`` on, and
    as long after reset. ``done`` and ``error`` set a bit in ``interrupt``, also in the cycle in
    which it is cleared. ``irq`` is a register. Reset state: interrupts disabled, nothing pending,
    layer 0, counters 0, no access open.
    """

    def construct(s, cfg: AccelConfig):
        Layer, Address, Data = mk_bits(cfg.layer_nbits), mk_bits(ADDRESS_NBITS), mk_bits(DATA_NBITS)
        num_counters, num_words = len(COUNTERS), max(r.offset for r in REGISTERS) // WORD_BYTES + 1

        # Interface
        s.awaddr, s.awvalid, s.awready = InPort(Address), InPort(), OutPort()
        s.wdata, s.wstrb, s.wvalid = InPort(Data), InPort(WORD_BYTES), InPort()
        s.wready = OutPort()
        s.bresp, s.bvalid, s.bready = OutPort(2), OutPort(), InPort()
        s.araddr, s.arvalid, s.arready = InPort(Address), InPort(), OutPort()
        s.rdata, s.rresp, s.rvalid = OutPort(Data), OutPort(2), OutPort()
        s.rready = InPort()
        s.irq = OutPort()

        s.core_reset = OutPort()
        s.done = InPort()
        s.running = InPort()
        s.busy = InPort()
        s.error = InPort(4)
        s.activity = InPort(4)
        s.layer = InPort(Layer)
        s.traffic_layer = OutPort(Layer)
        for name in TRAFFIC:
            setattr(s, name, InPort(TRAFFIC_NBITS))

        # Wires: an access of each direction
        s.waddr, s.waddr_val = Wire(Address), Wire()
        s.word, s.strobes, s.word_val = Wire(Data), Wire(WORD_BYTES), Wire()
        s.write, s.write_okay, s.value_okay = Wire(), Wire(), Wire()
        s.write_control, s.write_interrupt, s.write_layer = Wire(), Wire(), Wire()
        s.raddr, s.raddr_val = Wire(Address), Wire()
        s.found, s.found_word = Wire(), Wire(Data)

        # Control and what has happened
        s.enable, s.pending, s.happened, s.cleared = Wire(2), Wire(2), Wire(2), Wire(2)
        s.clear_counters = Wire()
        s.reset_left = Wire(clog2(RESET_CYCLES + 1))
        s.failed = Wire()

        # Counters: what they count is known a cycle late.
        s.counters = [PerformanceCounterRTL() for _ in range(NUM_OWN_COUNTERS)]
        s.counts = [Wire() for _ in range(NUM_OWN_COUNTERS)]
        s.activity_now, s.done_now = Wire(4), Wire()
        for i, counter in enumerate(s.counters):
            counter.clear //= s.clear_counters
            counter.en //= s.counts[i]
        s.high = [Wire(Data) for _ in COUNTERS]
        s.kept, s.kept_next = Wire(Data), Wire(Data)
        s.keep = Wire(num_counters)
        s.keeps = Wire(num_counters)

        # Structure: what each word of the map reads; not all of them exist.
        s.value = [Wire(Data) for _ in range(num_words)]
        s.exists = Wire(num_words)
        offsets = {register.offset // WORD_BYTES for register in REGISTERS}
        for i in range(num_words):
            s.exists[i] //= int(i in offsets)
            if i not in offsets:
                s.value[i] //= 0
        for name, constant in constants(cfg).items():
            s.value[BY_NAME[name].offset // WORD_BYTES] //= constant
        control, status, interrupt, layer = (
            BY_NAME[name].offset // WORD_BYTES
            for name in ("control", "status", "interrupt", "layer")
        )
        s.control_word, s.status_word = Wire(Data), Wire(Data)
        s.interrupt_word, s.layer_word = Wire(Data), Wire(Data)
        s.value[control] //= s.control_word
        s.value[status] //= s.status_word
        s.value[interrupt] //= s.interrupt_word
        s.value[layer] //= s.layer_word
        first_counter = COUNTERS_OFFSET // WORD_BYTES
        for i, (name, _) in enumerate(COUNTERS):
            low = s.value[first_counter + 2 * i]
            if i < NUM_OWN_COUNTERS:
                low //= s.counters[i].low
                s.high[i] //= s.counters[i].high
            else:
                port, rest = getattr(s, name), TRAFFIC_NBITS - DATA_NBITS
                low //= port[0:DATA_NBITS]
                s.high[i][0:rest] //= port[DATA_NBITS:TRAFFIC_NBITS]
                s.high[i][rest:DATA_NBITS] //= 0
            s.value[first_counter + 2 * i + 1] //= s.kept

        fields = {r.name: {f.name: f.low for f in r.fields} for r in REGISTERS}
        SOFT_RESET = fields["control"]["soft_reset"]
        CLEAR = fields["control"]["clear_counters"]
        ENABLE = fields["control"]["enable_done"]
        RUNNING, BUSY = fields["status"]["running"], fields["status"]["busy"]
        ACTIVITY, ERROR = fields["status"]["activity"], fields["status"]["error"]
        LAYER, IMAGES = fields["status"]["layer"], 1 + len(Activity)
        max_layers, layer_nbits, num_activities = cfg.max_layers, cfg.layer_nbits, len(Activity)
        reset_cycles, all_bytes = RESET_CYCLES, (1 << WORD_BYTES) - 1

        # Combinational
        @update
        def up_values():
            s.control_word @= 0
            s.control_word[ENABLE : ENABLE + 2] @= s.enable
            s.status_word @= 0
            s.status_word[RUNNING] @= s.running
            s.status_word[BUSY] @= s.busy
            s.status_word[ACTIVITY : ACTIVITY + 4] @= s.activity_now
            s.status_word[ERROR : ERROR + 4] @= s.error
            s.status_word[LAYER : LAYER + layer_nbits] @= s.layer
            s.interrupt_word @= zext(s.pending, DATA_NBITS)
            s.layer_word @= zext(s.traffic_layer, DATA_NBITS)

        @update
        def up_ready():
            s.awready @= ~s.waddr_val
            s.wready @= ~s.word_val
            s.arready @= ~s.raddr_val & ~s.rvalid
            s.write @= s.waddr_val & s.word_val & ~s.bvalid

        @update
        def up_write():
            s.write_control @= s.waddr == (control * WORD_BYTES)
            s.write_interrupt @= s.waddr == (interrupt * WORD_BYTES)
            s.write_layer @= s.waddr == (layer * WORD_BYTES)
            s.value_okay @= ~s.write_layer | (s.word < max_layers)
            s.write_okay @= (
                (s.strobes == all_bytes)
                & (s.write_control | s.write_interrupt | s.write_layer)
                & s.value_okay
            )

        @update
        def up_read():
            s.found @= 0
            s.found_word @= 0
            for i in range(num_words):
                if s.raddr == (i * WORD_BYTES):
                    s.found @= s.exists[i]
                    s.found_word @= s.value[i]
            for i in range(num_counters):
                s.keeps[i] @= s.raddr_val & (s.raddr == ((first_counter + 2 * i) * WORD_BYTES))

        @update
        def up_keep():
            s.kept_next @= s.kept
            for i in range(num_counters):
                if s.keep[i]:
                    s.kept_next @= s.high[i]

        @update
        def up_happen():
            s.happened[0] @= s.done_now
            s.happened[1] @= (s.error != 0) & ~s.failed
            s.cleared @= 0
            if s.write & s.write_okay & s.write_interrupt:
                s.cleared @= s.word[0:2]

        @update
        def up_counts():
            s.counts[0] @= 1
            for i in range(num_activities):
                s.counts[i + 1] @= s.activity_now == i
            s.counts[IMAGES] @= s.done_now

        # Sequential
        @update_ff
        def up_write_access():
            if s.reset:
                s.waddr_val <<= 0
                s.word_val <<= 0
                s.bvalid <<= 0
                s.bresp <<= OKAY
            else:
                if s.awvalid & s.awready:
                    s.waddr_val <<= 1
                if s.wvalid & s.wready:
                    s.word_val <<= 1
                if s.write:
                    s.waddr_val <<= 0
                    s.word_val <<= 0
                    s.bvalid <<= 1
                    if s.write_okay:
                        s.bresp <<= OKAY
                    else:
                        s.bresp <<= SLVERR
                elif s.bready:
                    s.bvalid <<= 0
            if s.awready:
                s.waddr <<= s.awaddr
            if s.wready:
                s.word <<= s.wdata
                s.strobes <<= s.wstrb

        @update_ff
        def up_read_access():
            if s.reset:
                s.raddr_val <<= 0
                s.rvalid <<= 0
                s.rresp <<= OKAY
                s.rdata <<= 0
                s.keep <<= 0
                s.kept <<= 0
            else:
                s.raddr_val <<= s.arvalid & s.arready
                s.keep <<= s.keeps
                s.kept <<= s.kept_next
                if s.raddr_val:
                    s.rvalid <<= 1
                    s.rdata <<= s.found_word
                    if s.found:
                        s.rresp <<= OKAY
                    else:
                        s.rresp <<= SLVERR
                elif s.rready:
                    s.rvalid <<= 0
            if s.arready:
                s.raddr <<= s.araddr

        @update_ff
        def up_control():
            if s.reset:
                s.enable <<= 0
                s.traffic_layer <<= 0
                s.clear_counters <<= 0
                s.reset_left <<= reset_cycles
                s.core_reset <<= 1
            else:
                s.clear_counters <<= 0
                s.core_reset <<= s.reset_left != 0
                if s.reset_left != 0:
                    s.reset_left <<= s.reset_left - 1
                if s.write & s.write_okay:
                    if s.write_control:
                        s.enable <<= s.word[ENABLE : ENABLE + 2]
                        s.clear_counters <<= s.word[CLEAR]
                        if s.word[SOFT_RESET]:
                            s.reset_left <<= reset_cycles
                            s.core_reset <<= 1
                    if s.write_layer:
                        s.traffic_layer <<= s.word[0:layer_nbits]

        @update_ff
        def up_interrupt():
            if s.reset | s.core_reset:
                s.pending <<= 0
                s.failed <<= 0
                s.irq <<= 0
                s.done_now <<= 0
                s.activity_now <<= 0
            else:
                s.pending <<= (s.pending & ~s.cleared) | s.happened
                s.failed <<= s.error != 0
                s.irq <<= (s.pending & s.enable) != 0
                s.done_now <<= s.done
                s.activity_now <<= s.activity

    def line_trace(s):
        return f"{s.pending}{'R' if s.core_reset else '.'}"
