"""One lane of the adder: the exact sum of two products, and one rounding, as a pipeline."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, sext, update, update_ff, zext
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import ACT_NBITS, AccelConfig
from accel.hardware.descriptors import FIELDS, LEAST_SHIFT
from accel.hardware.legality import MAX_SHIFT

MULTIPLIER_NBITS = FIELDS["own_multiplier"].nbits
LOW_NBITS = 17
"""Bits of a multiplier that are multiplied, as many as with a sign fit an 18x18 multiplier; the
others come as a sum."""
HIGH_NBITS = MULTIPLIER_NBITS - LOW_NBITS
SUM_NBITS = 34
"""Holds two products of 9 bits signed and 23 unsigned, an int32, and what rounding adds."""
INTEGER_NBITS = SUM_NBITS - LEAST_SHIFT
HALF_NBITS = MAX_SHIFT


class AdderLane(Component):
    """``clamp(round((a*own + b*operand + constant) / 2**shift) + zero_point, lo, hi)``.

    ==========  ==================================================================
    stage       register holds
    ==========  ==================================================================
    1           a and b, 9 bits with sign
    2 parts     of each product that with the multiplier's low 17 bits, and with the others
    3 products  exact; the second one with the constant
    4 sum       exact
    5 rounded   plus half of what the shift drops; less one where a tie of a negative
                sum goes away from zero; without the bits that every shift drops
    6 integer   shifted
    7 value     plus zero point
    8 y         clamped: the low 8 bits
    ==========  ==================================================================

    ``shift`` is less the least that there is, ``below_half`` half of what it drops, less one. All
    that is no ``a`` and ``b`` is a layer's, and stays while one of its beats is under way.

    Latency: 8 cycles. Throughput: 1 a cycle. ``en`` moves all stages. Nothing is reset.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"AdderLane_{cfg}")
        low_nbits, high_nbits = ACT_NBITS + LOW_NBITS, ACT_NBITS + HIGH_NBITS
        value_nbits = INTEGER_NBITS + 1
        sign, sign_at = mk_bits(value_nbits)(1 << (value_nbits - 1)), SUM_NBITS - 1
        # With copies of the sign to shift in
        wide_nbits = INTEGER_NBITS + MAX_SHIFT - LEAST_SHIFT

        # Interface
        s.en = InPort()
        s.a, s.b = InPort(ACT_NBITS), InPort(ACT_NBITS)
        s.own, s.operand = InPort(MULTIPLIER_NBITS), InPort(MULTIPLIER_NBITS)
        s.constant = InPort(32)
        s.shift = InPort(FIELDS["sum_shift"].nbits)
        s.below_half = InPort(HALF_NBITS)
        s.ties_away = InPort()
        s.zero_point, s.lo, s.hi = InPort(ACT_NBITS), InPort(ACT_NBITS), InPort(ACT_NBITS)
        s.y = OutPort(8)

        # Registers, by stage
        s.a1, s.b1 = Wire(ACT_NBITS), Wire(ACT_NBITS)
        s.a_low2, s.b_low2 = Wire(low_nbits), Wire(low_nbits)
        s.a_high2, s.b_high2 = Wire(high_nbits), Wire(high_nbits)
        s.a3, s.b3 = Wire(SUM_NBITS), Wire(SUM_NBITS)
        s.sum4 = Wire(SUM_NBITS)
        s.rounded5 = Wire(INTEGER_NBITS)
        s.integer6 = Wire(INTEGER_NBITS)
        s.value7 = Wire(value_nbits)

        # Wires
        assert HIGH_NBITS == 6, "up_high2 adds up six parts"
        part = mk_bits(high_nbits)
        s.a_part, s.b_part = ([Wire(part) for _ in range(HIGH_NBITS)] for _ in range(2))
        s.a_high, s.b_high = Wire(part), Wire(part)
        s.up, s.with_half, s.kept = Wire(), Wire(SUM_NBITS), Wire(INTEGER_NBITS)
        s.kept //= s.with_half[LEAST_SHIFT:SUM_NBITS]
        s.shifted = Wire(wide_nbits)
        s.ordered, s.ordered_lo, s.ordered_hi = (Wire(value_nbits) for _ in range(3))

        # Combinational
        @update
        def up_high2():
            # As sums, or synthesis would spend multipliers on them.
            for i in range(HIGH_NBITS):
                s.a_part[i] @= sext(s.a1, high_nbits) << i if s.own[LOW_NBITS + i] else part(0)
                s.b_part[i] @= sext(s.b1, high_nbits) << i if s.operand[LOW_NBITS + i] else part(0)
            s.a_high @= (s.a_part[0] + s.a_part[1] + s.a_part[2]) + (
                s.a_part[3] + s.a_part[4] + s.a_part[5]
            )
            s.b_high @= (s.b_part[0] + s.b_part[1] + s.b_part[2]) + (
                s.b_part[3] + s.b_part[4] + s.b_part[5]
            )

        @update
        def up_round5():
            s.up @= ~(s.ties_away & s.sum4[sign_at])
            s.with_half @= s.sum4 + zext(s.below_half, SUM_NBITS) + zext(s.up, SUM_NBITS)

        @update
        def up_shift6():
            s.shifted @= sext(s.rounded5, wide_nbits) >> zext(s.shift, wide_nbits)

        @update
        def up_clamp8():
            # Bits compare as unsigned: inverting the sign bit makes that the order of signed ones.
            s.ordered @= s.value7 ^ sign
            s.ordered_lo @= sext(s.lo, value_nbits) ^ sign
            s.ordered_hi @= sext(s.hi, value_nbits) ^ sign

        # Sequential
        @update_ff
        def up_products():
            if s.en:
                s.a1 <<= s.a
                s.b1 <<= s.b

                s.a_low2 <<= sext(s.a1, low_nbits) * zext(s.own[0:LOW_NBITS], low_nbits)
                s.a_high2 <<= s.a_high
                s.b_low2 <<= sext(s.b1, low_nbits) * zext(s.operand[0:LOW_NBITS], low_nbits)
                s.b_high2 <<= s.b_high

                s.a3 <<= (sext(s.a_high2, SUM_NBITS) << LOW_NBITS) + sext(s.a_low2, SUM_NBITS)
                s.b3 <<= (
                    (sext(s.b_high2, SUM_NBITS) << LOW_NBITS)
                    + sext(s.b_low2, SUM_NBITS)
                    + sext(s.constant, SUM_NBITS)
                )

        @update_ff
        def up_sum():
            if s.en:
                s.sum4 <<= s.a3 + s.b3
                s.rounded5 <<= s.kept
                s.integer6 <<= s.shifted[0:INTEGER_NBITS]
                s.value7 <<= sext(s.integer6, value_nbits) + sext(s.zero_point, value_nbits)

                if s.ordered > s.ordered_hi:
                    s.y <<= s.hi[0:8]
                elif s.ordered < s.ordered_lo:
                    s.y <<= s.lo[0:8]
                else:
                    s.y <<= s.value7[0:8]

    def line_trace(s):
        return f"{s.a1}+{s.b1} {s.sum4} {s.value7} {s.y}"
