"""Reads biases and multipliers ahead of the requantizer."""

from pymtl3 import Component, InPort, Wire, mk_bits, update, update_ff, zext
from pymtl3.stdlib.stream.ifcs import SendIfcRTL

from accel.hardware.config import ACT_NBITS, BUS_NBITS, AccelConfig
from accel.hardware.descriptors import FIELDS, PARAM_WORDS
from accel.hardware.messages import field_nbits, mk_param
from rtl_models.descriptor_bus import DescriptorBusIfc
from rtl_models.descriptor_memory import DescriptorMemoryRTL
from rtl_models.wide_memory import WideMemoryRTL

IDLE, SETUP, RUN = 0, 1, 2

NESTED = ("beats", "vectors", "groups")
"""What it counts, innermost first."""


class ParamSequencerRTL(Component):
    """One beat of the requantizer's parameters a cycle, two registers from counters to message.

    Walks layers, groups of output channels, vectors of a group, and beats of a vector, in the
    order in which accumulators come; runs ahead as far as the stream lets it. SETUP takes one
    cycle a layer. Reset state: IDLE.
    """

    def construct(s, cfg: AccelConfig):
        lanes, p_nbits = cfg.num_lanes, cfg.param_addr_nbits
        Layer, Addr = mk_bits(cfg.layer_nbits), mk_bits(p_nbits)
        s.bus = DescriptorBusIfc(cfg.layer_nbits)
        s.param_wen = InPort()
        s.param_waddr = InPort(Addr)
        s.param_wbeat = InPort(8)
        s.param = SendIfcRTL(mk_param(cfg))

        s.layer, s.take_up = Wire(Layer), Wire()
        s.descriptor = DescriptorMemoryRTL(cfg, PARAM_WORDS)
        s.descriptor.bus //= s.bus
        s.descriptor.advance //= s.take_up
        s.descriptor.layer //= s.layer
        field = s.descriptor.field

        # The numbers of the last beat, vector and group
        Beat, Vector, Group = (mk_bits(FIELDS[f"param_{n}"].nbits) for n in NESTED)
        s.end_beat, s.end_beat_of_last_group = Wire(Beat), Wire(Beat)
        s.end_vector, s.end_group = Wire(Vector), Wire(Group)
        s.base = Wire(16)
        s.zero_point, s.lo, s.hi = Wire(ACT_NBITS), Wire(ACT_NBITS), Wire(ACT_NBITS)
        s.end_beat //= field("param_beats")
        s.end_beat_of_last_group //= field("param_last_beats")
        s.end_vector //= field("param_vectors")
        s.end_group //= field("param_groups")
        s.base //= field("param_base")
        s.zero_point //= field("zero_point")
        s.lo //= field("lo")
        s.hi //= field("hi")

        s.state = Wire(2)
        s.group_base, s.at = Wire(16), Wire(16)
        s.beat, s.end_of_vector = Wire(Beat), Wire(Beat)
        s.vector, s.group = Wire(Vector), Wire(Group)
        s.go, s.offer, s.read = Wire(), Wire(), Wire()
        s.read_val, s.val = Wire(), Wire()
        s.at_last_beat, s.at_last_vector, s.at_last_group = Wire(), Wire(), Wire()

        s.memory = WideMemoryRTL(BUS_NBITS * lanes, cfg.param_depth)
        s.memory.ren //= s.read
        s.memory.wen //= s.param_wen
        s.memory.waddr //= s.param_waddr
        s.memory.wdata //= s.bus.wdata
        s.memory.wbeat //= s.param_wbeat
        # What a message has besides: of this beat, of what has been read, and of what is offered
        s.ends_layer = Wire()
        parts = {"last": s.at_last_beat, "hi": s.hi, "lo": s.lo, "zero_point": s.zero_point}
        if cfg.adder:
            parts |= {"ties_away": field("ties_away"), "ends_layer": s.ends_layer}
        if cfg.tables:
            parts |= {
                "looks_up": field("looks_up"),
                "table_index": field("table_index", cfg.table_nbits),
            }
        if cfg.tables and cfg.adder:
            parts["table_signed"] = field("table_signed")
        nbits = {name: field_nbits(mk_param(cfg), name) for name in parts}
        settings_nbits = sum(nbits.values())
        s.beat_settings = Wire(settings_nbits)
        s.read_settings, s.settings = Wire(settings_nbits), Wire(settings_nbits)
        low = 0
        for name, part in parts.items():
            message, end = getattr(s.param.msg, name), low + nbits[name]
            s.beat_settings[low:end] //= part
            message //= s.settings[low:end]
            low = end
        s.words = Wire(BUS_NBITS * lanes)
        for i in range(lanes):
            low = i * BUS_NBITS
            s.param.msg.bias[i * 32 : (i + 1) * 32] //= s.words[low : low + 32]
            s.param.msg.multiplier[i * 32 : (i + 1) * 32] //= s.words[low + 32 : low + 64]
        s.param.val //= s.val

        @update
        def up_decide():
            s.offer @= ~s.val | s.param.rdy
            s.go @= ~s.read_val | s.offer
            s.read @= (s.state == RUN) & s.go
            s.end_of_vector @= s.end_beat
            if s.at_last_group:
                s.end_of_vector @= s.end_beat_of_last_group
            s.at_last_beat @= s.beat == s.end_of_vector
            s.at @= s.group_base + zext(s.beat, 16)
            s.memory.raddr @= s.at[0:p_nbits]
            s.ends_layer @= s.at_last_beat & s.at_last_vector & s.at_last_group
            s.take_up @= ((s.state == IDLE) & s.bus.running) | (s.read & s.ends_layer)

        @update_ff
        def up_follow():
            if s.reset | ~s.bus.running:
                s.state <<= IDLE
                s.read_val <<= 0
                s.val <<= 0
            else:
                if s.go:
                    s.read_val <<= s.state == RUN
                if s.offer:
                    s.val <<= s.read_val
                if s.state == IDLE:
                    s.state <<= SETUP
                elif s.state == SETUP:
                    s.state <<= RUN
                    s.group_base <<= s.base
                    s.beat <<= 0
                    s.vector <<= 0
                    s.group <<= 0
                    s.at_last_vector <<= s.end_vector == 0
                    s.at_last_group <<= s.end_group == 0
                elif s.go:
                    if ~s.at_last_beat:
                        s.beat <<= s.beat + 1
                    else:
                        s.beat <<= 0
                        if ~s.at_last_vector:
                            s.vector <<= s.vector + 1
                            s.at_last_vector <<= (s.vector + 1) == s.end_vector
                        else:
                            s.vector <<= 0
                            s.at_last_vector <<= s.end_vector == 0
                            s.group <<= s.group + 1
                            s.at_last_group <<= (s.group + 1) == s.end_group
                            s.group_base <<= s.at + 1
                            if s.at_last_group:
                                s.state <<= SETUP

        @update_ff
        def up_message():
            if s.read:
                s.read_settings <<= s.beat_settings
            if s.offer & s.read_val:
                s.settings <<= s.read_settings
                s.words <<= s.memory.rdata

    def line_trace(s):
        return f"L{s.layer} {s.group}/{s.vector}/{s.beat}"
