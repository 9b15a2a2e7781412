"""Two products of one activation in one multiplier."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, sext, update, update_ff, zext
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import ACT_NBITS

LOW_NBITS = 9
"""Bits of the lower product that come out as they are."""
CARRY_NBITS = 8
"""Holds what the lower product has above those: |b * x| <= 2**15, of which 2**9 are one."""
HIGH_NBITS = 9
"""Of the upper weight, less one where the lower one is negative."""
PACKED_NBITS = LOW_NBITS + HIGH_NBITS
"""Of ``a * 2**9 + b``: what an 18x18 multiplier takes."""


class PackedProduct(Component):
    """``a * 2**9 + b`` times ``x``, signed, for :class:`PackedMultiplierRTL`: with registers at
    both inputs, which ``en`` enables, and at the output, which ``product_en`` enables and
    ``clear``, only ever set with it, makes zero.

    A module of its own, so that the multiplier of a technology can take its place, registers and
    all: ``accel/verilog/csrc/ecp5_multiplier.v`` has an ECP5's. Nothing is reset.
    """

    def construct(s):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, "PackedProduct")
        nbits = PACKED_NBITS + ACT_NBITS

        # Interface
        s.en = InPort()
        s.x = InPort(ACT_NBITS)
        s.w = InPort(PACKED_NBITS)
        s.product_en = InPort()
        s.clear = InPort()
        s.product = OutPort(nbits)

        # Wires
        s.activation = Wire(ACT_NBITS)
        s.weights = Wire(PACKED_NBITS)

        # Sequential
        @update_ff
        def up_factors():
            if s.en:
                s.activation <<= s.x
                s.weights <<= s.w

        @update_ff
        def up_product():
            if s.product_en:
                if s.clear:
                    s.product <<= 0
                else:
                    s.product <<= sext(s.activation, nbits) * sext(s.weights, nbits)

    def line_trace(s):
        return f"{s.activation}*{s.weights}"


class PackedMultiplierRTL(Component):
    """``a * x`` and ``b * x`` of 8-bit weights and a 9-bit activation, signed, as parts of which
    they are sums: ``a * x = upper - carry`` and ``b * x = carry * 2**9 + low``.

    ::

        P = (a * 2**9 + b) * x            for example  a = -3, b = 100, x = 200:
        upper = P >> 9, low = P mod 2**9      P = -287,200, upper = -561, low = 32
        carry = (upper - a * x) mod 2**8      carry = (-561 + 600) mod 256 = 39
                                              a * x = -600, b * x = 39 * 512 + 32 = 20,000

    ``upper`` is ``a * x`` and what ``b * x`` carries over, which is from -64 to 64: so the lowest
    eight bits of ``a * x``, from a small multiplier beside the large one, tell the two apart. Exact
    for all 2**25 triples.

    Latency: 2 cycles, with the enables of :class:`PackedProduct`; ``clear`` makes all parts zero.
    """

    def construct(s):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, "PackedMultiplier")

        # Interface
        s.en = InPort()
        s.x = InPort(ACT_NBITS)
        s.a = InPort(8)
        s.b = InPort(8)
        s.product_en = InPort()
        s.clear = InPort()
        s.upper = OutPort(ACT_NBITS + HIGH_NBITS)
        s.carry = OutPort(CARRY_NBITS)
        s.low = OutPort(LOW_NBITS)

        # Wires
        s.high_weight = Wire(HIGH_NBITS)
        s.activation = Wire(CARRY_NBITS)
        s.weight = Wire(CARRY_NBITS)
        s.part = [Wire(CARRY_NBITS) for _ in range(CARRY_NBITS)]
        s.modulo = Wire(CARRY_NBITS)

        # Structure
        s.both = PackedProduct()
        s.both.en //= s.en
        s.both.x //= s.x
        s.both.product_en //= s.product_en
        s.both.clear //= s.clear
        s.both.w[LOW_NBITS:PACKED_NBITS] //= s.high_weight
        s.both.w[0:8] //= s.b
        s.both.w[8] //= s.b[7]
        s.upper //= s.both.product[LOW_NBITS : ACT_NBITS + PACKED_NBITS]
        s.low //= s.both.product[0:LOW_NBITS]

        none = mk_bits(CARRY_NBITS)(0)

        # Combinational
        @update
        def up_weights():
            # A negative lower half borrows.
            s.high_weight @= sext(s.a, HIGH_NBITS) - zext(s.b[7], HIGH_NBITS)

        @update
        def up_parts():
            # As a sum, or synthesis would spend a multiplier on it.
            for i in range(CARRY_NBITS):
                s.part[i] @= s.activation << i if s.weight[i] else none

        @update
        def up_carry():
            s.carry @= s.upper[0:CARRY_NBITS] - s.modulo

        # Sequential
        @update_ff
        def up_factors():
            if s.en:
                s.activation <<= s.x[0:CARRY_NBITS]
                s.weight <<= s.a

        @update_ff
        def up_modulo():
            if s.product_en:
                if s.clear:
                    s.modulo <<= 0
                else:
                    s.modulo <<= ((s.part[0] + s.part[1]) + (s.part[2] + s.part[3])) + (
                        (s.part[4] + s.part[5]) + (s.part[6] + s.part[7])
                    )

    def line_trace(s):
        return f"{s.upper}|{s.carry}|{s.low}"
