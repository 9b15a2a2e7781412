"""A multiplier with registers at its inputs."""

from pymtl3 import Component, InPort, OutPort, Wire, sext, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import ACT_NBITS

SUM_NBITS = 20
"""Holds the sum of nine products of 9-bit by 8-bit signed numbers: |sum| <= 9 * 2**15 < 2**19."""


class Multiplier(Component):
    """``product`` of what ``x`` and ``w`` were when ``en`` was last set, signed, a cycle later.

    A module of its own, so that the multiplier of a technology can take its place, registers and
    all: ``accel/verilog/csrc/ecp5_multiplier.v`` is an ECP5's. Operands are extended to the
    product's width first; synthesis drops the copies of the sign bit. Nothing is reset.
    """

    def construct(s):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, "Multiplier")

        # Interface
        s.en = InPort()
        s.x = InPort(ACT_NBITS)
        s.w = InPort(8)
        s.product = OutPort(SUM_NBITS)

        # Wires
        s.activation = Wire(ACT_NBITS)
        s.weight = Wire(8)

        # Combinational
        @update
        def up_product():
            s.product @= sext(s.activation, SUM_NBITS) * sext(s.weight, SUM_NBITS)

        # Sequential
        @update_ff
        def up_factors():
            if s.en:
                s.activation <<= s.x
                s.weight <<= s.w

    def line_trace(s):
        return f"{s.activation}*{s.weight}"
