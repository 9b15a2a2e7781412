"""What the program loader tells all who keep descriptors."""

from pymtl3 import InPort, Interface, mk_bits

from accel.hardware.config import BUS_NBITS, AccelConfig


class DescriptorBusIfc(Interface):
    """A program runs, its last layer, and a word of a layer's descriptor that is to be kept."""

    def construct(s, cfg: AccelConfig):
        Layer = mk_bits(cfg.layer_nbits)
        s.running = InPort()
        s.last_layer = InPort(Layer)
        s.wen = InPort()
        s.wlayer = InPort(Layer)
        s.wword = InPort(8)
        s.wdata = InPort(BUS_NBITS)
