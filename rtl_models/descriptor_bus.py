"""What the program loader tells all who keep descriptors."""

from pymtl3 import InPort, Interface, mk_bits

from accel.hardware.config import BUS_NBITS


class DescriptorBusIfc(Interface):
    """A program runs, its last layer, and a word of a layer's descriptor that is to be kept.

    It is made from a width, not from a configuration, which PyMTL3's import from Verilator does not
    take in an interface: so the tests have units that have it as Verilog too.
    """

    def construct(s, layer_nbits):
        Layer = mk_bits(layer_nbits)
        s.running = InPort()
        s.last_layer = InPort(Layer)
        s.wen = InPort()
        s.wlayer = InPort(Layer)
        s.wword = InPort(8)
        s.wdata = InPort(BUS_NBITS)
