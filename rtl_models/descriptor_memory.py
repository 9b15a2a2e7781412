"""The words of the layer descriptors that one sequencer needs."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from accel.hardware.config import AccelConfig
from accel.hardware.descriptors import FIELDS
from rtl_models.descriptor_bus import DescriptorBusIfc
from rtl_models.memory import MemoryRTL, RegisterRTL


class DescriptorMemoryRTL(Component):
    """Some ``words`` of every layer's descriptor, and which layer it is.

    ``advance`` takes up the next layer: from the next cycle on ``layer`` is its number and the
    ports ``word<i>`` are its words, as wide as their highest field. All come from registers; the
    layer after is read from memory meanwhile, which takes a cycle. Without ``running`` the first
    layer is next.
    """

    def construct(s, cfg: AccelConfig, words: range):
        Layer = mk_bits(cfg.layer_nbits)
        s.bus = DescriptorBusIfc(cfg.layer_nbits)
        s.advance = InPort()
        s.layer = OutPort(Layer)

        first, count = words.start, len(words)
        s.next_layer = Wire(Layer)
        s.wen_word = [Wire() for _ in range(count)]
        for i in range(count):
            nbits = word_nbits(first + i, cfg)
            # Attributes, not a list: PyMTL3 translates only lists of equal components.
            memory, register = MemoryRTL(nbits, cfg.max_layers), RegisterRTL(nbits)
            word = OutPort(nbits)
            setattr(s, f"memory{first + i}", memory)
            setattr(s, f"register{first + i}", register)
            setattr(s, f"word{first + i}", word)
            memory.ren //= 1
            memory.raddr //= s.next_layer
            memory.wen //= s.wen_word[i]
            memory.waddr //= s.bus.wlayer
            memory.wdata //= s.bus.wdata[0:nbits]
            register.en //= s.advance
            register.in_ //= memory.rdata
            register.out //= word

        @update
        def up_select():
            for i in range(count):
                s.wen_word[i] @= s.bus.wen & (s.bus.wword == first + i)

        @update_ff
        def up_next():
            if ~s.bus.running:
                s.next_layer <<= 0
                s.layer <<= 0
            elif s.advance:
                s.layer <<= s.next_layer
                if s.next_layer == s.bus.last_layer:
                    s.next_layer <<= 0
                else:
                    s.next_layer <<= s.next_layer + 1

    def field(s, name: str, nbits: int | None = None):
        """The bits of a field, or its lowest ``nbits``: its value less ``least``."""
        f = FIELDS[name]
        return getattr(s, f"word{f.word}")[f.low : f.low + (nbits or f.nbits)]

    def line_trace(s):
        return f"{s.layer}"


def word_nbits(word: int, cfg: AccelConfig) -> int:
    """Bits of a descriptor's word that this configuration looks at."""
    fields = (f for f in FIELDS.values() if not f.only or getattr(cfg, f.only))
    return max(f.end for f in fields if f.word == word)
