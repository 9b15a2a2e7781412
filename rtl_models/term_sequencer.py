"""Tells the adder what each layer adds, and how."""

from pymtl3 import Component, Wire, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import SendIfcRTL

from accel.hardware.config import AccelConfig
from accel.hardware.descriptors import TERM_WORDS
from accel.hardware.messages import TERM_FIELDS, Terms, mk_terms
from rtl_models.descriptor_bus import DescriptorBusIfc
from rtl_models.descriptor_memory import DescriptorMemoryRTL


class TermSequencerRTL(Component):
    """Offers the terms of layer after layer, each until it is taken. The next one's come in the
    cycle after. None may be taken in the first cycle in which it is offered, since the layer after
    is still being read: a layer's last step waits until the layer before is in memory. Reset, and
    without a program: none."""

    def construct(s, cfg: AccelConfig):
        s.bus = DescriptorBusIfc(cfg.layer_nbits)
        s.terms = SendIfcRTL(mk_terms(cfg))

        s.val, s.take_up = Wire(), Wire()
        s.layer = Wire(mk_bits(cfg.layer_nbits))
        s.descriptor = DescriptorMemoryRTL(cfg, TERM_WORDS)
        s.descriptor.bus //= s.bus
        s.descriptor.advance //= s.take_up
        s.descriptor.layer //= s.layer
        for name, field in zip(Terms._fields, TERM_FIELDS, strict=True):
            part = getattr(s.terms.msg, name)
            part //= s.descriptor.field(field)
        s.terms.val //= s.val

        @update
        def up_take_up():
            s.take_up @= s.bus.running & (~s.val | s.terms.rdy)

        @update_ff
        def up_follow():
            s.val <<= ~s.reset & s.bus.running

    def line_trace(s):
        return f"L{s.layer}"
