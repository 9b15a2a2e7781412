"""One lane of the requantizer: PyTorch's float32 arithmetic, in integers, as a pipeline."""

from pymtl3 import (
    Bits9,
    Bits10,
    Bits12,
    Component,
    InPort,
    OutPort,
    Wire,
    concat,
    mk_bits,
    sext,
    update,
    update_ff,
    zext,
)
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import ACT_NBITS, AccelConfig
from accel.hardware.messages import y_nbits


class RequantizerLane(Component):
    """``clamp(rne(f32(f32(acc + bias) * multiplier)) + zero_point, lo, hi)``.

    ========  ========================================================================
    stage     register holds
    ========  ========================================================================
    1 sum     acc + bias, wrapped to acc_nbits
    2 abs     sign and magnitude
    3, 4      magnitude shifted left until its top bit is set: by 16 and 8; by 4, 2 and 1
    5 round   the top 24 bits, to nearest even: float32(acc + bias). (It rounds only if
              acc_nbits > 25; otherwise this is constant zeros and a plain register.)
    6, 7      24 x 24 bit product with the multiplier's significand, each of which is 6 bits
              and 18: four products, of which 18 x 18, 6 x 18 and 18 x 6 bits take a
              multiplier each, and 6 x 6 bits a few additions; their sum
    8 round   the product's top 24 bits, to nearest even: what float32 keeps of it
    9 shift   integer part, and what is needed to round the fraction
    10 value  rounded to an integer, to nearest even, negated if so, plus zero point
    11 y      clamped: the low 8 bits
    ========  ========================================================================

    For an adder ``y`` has 9 bits, the sign included, and with ``ties_away`` stage 10 rounds ties
    away from zero.

    Next to the significand travels ``shift``. With W the width that stage 4 normalises to, z the
    leading zeros found, c and k the carries out of stage 5's rounding and stage 8's normalisation,
    and E the multiplier's biased exponent, stage 8's number times 2**-(15 + shift) is the product:
    ``shift = 136 - W + z - c - k - E``. Below 0 the product is 2**9 or more, and 511 or more is
    out of range for every zero point; from 10 on it is half or less and rounds to 0.

    Latency: 11 cycles from ``acc`` to ``y``; ``zero_point`` is due 9 cycles and ``lo``, ``hi`` are
    due 10 cycles after ``acc``. Throughput: 1 a cycle. ``en`` moves all stages. Nothing is reset.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"RequantizerLane_{cfg}")
        acc_nbits, sign_at = cfg.acc_nbits, cfg.acc_nbits - 1
        # At least 26, so that there always is a bit below the guard bit; see stage 5.
        norm_nbits = max(acc_nbits, 26)
        out_nbits = y_nbits(cfg)
        value_nbits = 11  # 513 plus or minus a zero point, signed
        shift_nbits = 9  # -152 to 141
        shift_base = mk_bits(shift_nbits)(136 - norm_nbits)
        sign = mk_bits(value_nbits)(1 << (value_nbits - 1))
        top16, top8, top4, top2, top1 = (norm_nbits - n for n in (16, 8, 4, 2, 1))
        lsb, guard = norm_nbits - 24, norm_nbits - 25

        # Interface
        s.en = InPort()
        s.acc = InPort(acc_nbits)
        s.bias = InPort(32)
        s.multiplier = InPort(32)
        s.zero_point = InPort(ACT_NBITS)
        s.lo = InPort(ACT_NBITS)
        s.hi = InPort(ACT_NBITS)
        s.y = OutPort(out_nbits)
        if cfg.adder:
            s.ties_away = InPort()

        # Registers, by stage
        s.sum1 = Wire(acc_nbits)
        s.exponent1 = Wire(8)
        s.magnitude2 = Wire(norm_nbits)
        s.zeros3 = Wire(2)
        s.normal3 = Wire(norm_nbits)
        s.zeros4 = Wire(5)
        s.normal4 = Wire(norm_nbits)
        s.significand5 = Wire(24)
        s.carry5 = Wire()
        s.hh6 = Wire(12)
        s.hl6 = Wire(24)
        s.lh6 = Wire(24)
        s.ll6 = Wire(36)
        s.product7 = Wire(30)
        s.sticky7 = Wire()
        s.rounded8 = Wire(25)
        s.integer9 = Wire(10)
        s.guard9 = Wire()
        s.sticky9 = Wire()
        s.value10 = Wire(value_nbits)

        s.fraction1 = Wire(23)
        s.fraction2 = Wire(23)
        s.fraction3 = Wire(23)
        s.fraction4 = Wire(23)
        s.fraction5 = Wire(23)
        s.shift2 = Wire(shift_nbits)
        s.shift3 = Wire(shift_nbits)
        s.shift4 = Wire(shift_nbits)
        s.shift5 = Wire(shift_nbits)
        s.shift6 = Wire(shift_nbits)
        s.shift7 = Wire(shift_nbits)
        s.shift8 = Wire(shift_nbits)
        s.negative = Wire(8)  # bit i belongs to stage i+2

        # Wires
        s.by16 = Wire(norm_nbits)
        s.by8 = Wire(norm_nbits)
        s.by4 = Wire(norm_nbits)
        s.by2 = Wire(norm_nbits)
        s.by1 = Wire(norm_nbits)
        s.zeros_16 = Wire()
        s.zeros_8 = Wire()
        s.zeros_4 = Wire()
        s.zeros_2 = Wire()
        s.zeros_1 = Wire()
        s.up5 = Wire()
        s.rounded5 = Wire(25)
        s.high_a = Wire(6)
        s.low_a = Wire(18)
        s.high_b = Wire(6)
        s.low_b = Wire(18)
        s.part = [Wire(12) for _ in range(6)]
        s.hh = Wire(12)
        s.middle7 = Wire(25)
        s.top8 = Wire(24)
        s.up8 = Wire()
        s.shifted9 = Wire(35)
        s.magnitude10 = Wire(value_nbits)
        s.carry10 = Wire()
        s.ordered = Wire(value_nbits)
        s.ordered_lo = Wire(value_nbits)
        s.ordered_hi = Wire(value_nbits)

        s.high_a //= s.significand5[18:24]
        s.low_a //= s.significand5[0:18]
        s.high_b[0:5] //= s.fraction5[18:23]
        s.high_b[5] //= 1
        s.low_b //= s.fraction5[0:18]

        # Combinational
        @update
        def up_normal3():
            s.zeros_16 @= s.magnitude2[top16:norm_nbits] == 0
            s.by16 @= (s.magnitude2 << 16) if s.zeros_16 else s.magnitude2
            s.zeros_8 @= s.by16[top8:norm_nbits] == 0
            s.by8 @= (s.by16 << 8) if s.zeros_8 else s.by16

        @update
        def up_normal4():
            s.zeros_4 @= s.normal3[top4:norm_nbits] == 0
            s.by4 @= (s.normal3 << 4) if s.zeros_4 else s.normal3
            s.zeros_2 @= s.by4[top2:norm_nbits] == 0
            s.by2 @= (s.by4 << 2) if s.zeros_2 else s.by4
            s.zeros_1 @= ~s.by2[top1]
            s.by1 @= (s.by2 << 1) if s.zeros_1 else s.by2

        @update
        def up_round5():
            s.up5 @= s.normal4[guard] & (s.normal4[lsb] | (s.normal4[0:guard] != 0))
            s.rounded5 @= zext(s.normal4[lsb:norm_nbits], 25) + zext(s.up5, 25)

        @update
        def up_hh():
            # As a sum, or synthesis would spend a multiplier on it.
            for i in range(6):
                s.part[i] @= zext(s.high_a, 12) << i if s.high_b[i] else Bits12(0)
            s.hh @= (s.part[0] + s.part[1] + s.part[2]) + (s.part[3] + s.part[4] + s.part[5])

        @update
        def up_product7():
            s.middle7 @= zext(s.hl6, 25) + zext(s.lh6, 25)

        @update
        def up_round8():
            if s.product7[29]:
                s.top8 @= s.product7[6:30]
                s.up8 @= s.product7[5] & (s.product7[6] | s.sticky7 | (s.product7[0:5] != 0))
            else:
                s.top8 @= s.product7[5:29]
                s.up8 @= s.product7[4] & (s.product7[5] | s.sticky7 | (s.product7[0:4] != 0))

        @update
        def up_shift9():
            s.shifted9 @= concat(s.rounded8, Bits10(0)) >> zext(s.shift8[0:4], 35)

        if cfg.adder:

            @update
            def up_value10_with_ties():
                s.magnitude10 @= zext(s.integer9, value_nbits)
                s.carry10 @= s.negative[7] ^ (s.guard9 & (s.sticky9 | s.integer9[0] | s.ties_away))

        else:

            @update
            def up_value10():
                s.magnitude10 @= zext(s.integer9, value_nbits)
                s.carry10 @= s.negative[7] ^ (s.guard9 & (s.sticky9 | s.integer9[0]))

        @update
        def up_clamp11():
            # Bits compare as unsigned: inverting the sign bit makes that the order of signed ones.
            s.ordered @= s.value10 ^ sign
            s.ordered_lo @= sext(s.lo, value_nbits) ^ sign
            s.ordered_hi @= sext(s.hi, value_nbits) ^ sign

        # Sequential
        @update_ff
        def up_float32():
            if s.en:
                s.sum1 <<= s.acc + s.bias[0:acc_nbits]
                s.exponent1 <<= s.multiplier[23:31]
                s.fraction1 <<= s.multiplier[0:23]

                s.magnitude2 <<= zext(~s.sum1 + 1 if s.sum1[sign_at] else s.sum1, norm_nbits)
                s.negative <<= concat(s.negative[0:7], s.sum1[sign_at])
                s.shift2 <<= shift_base - zext(s.exponent1, shift_nbits)
                s.fraction2 <<= s.fraction1

                s.normal3 <<= s.by8
                s.zeros3 <<= concat(s.zeros_16, s.zeros_8)
                s.shift3 <<= s.shift2
                s.fraction3 <<= s.fraction2

                s.normal4 <<= s.by1
                s.zeros4 <<= concat(s.zeros3, s.zeros_4, s.zeros_2, s.zeros_1)
                s.shift4 <<= s.shift3
                s.fraction4 <<= s.fraction3

                # A carry leaves 24 zeros below it: the significand is 2**23 again.
                s.significand5 <<= concat(s.rounded5[24] | s.rounded5[23], s.rounded5[0:23])
                s.shift5 <<= s.shift4 + zext(s.zeros4, shift_nbits)
                s.carry5 <<= s.rounded5[24]
                s.fraction5 <<= s.fraction4

        @update_ff
        def up_product():
            if s.en:
                s.hh6 <<= s.hh
                s.hl6 <<= zext(s.high_a, 24) * zext(s.low_b, 24)
                s.lh6 <<= zext(s.low_a, 24) * zext(s.high_b, 24)
                s.ll6 <<= zext(s.low_a, 36) * zext(s.low_b, 36)
                s.shift6 <<= s.shift5 - zext(s.carry5, shift_nbits)

                # The lowest 18 bits are those of ll6, and only tell an exact product from others.
                s.product7 <<= concat(s.hh6, s.ll6[18:36]) + zext(s.middle7, 30)
                s.sticky7 <<= s.ll6[0:18] != 0
                s.shift7 <<= s.shift6

                s.rounded8 <<= zext(s.top8, 25) + zext(s.up8, 25)
                s.shift8 <<= s.shift7 - zext(s.product7[29], shift_nbits)

        @update_ff
        def up_integer():
            if s.en:
                if s.shift8[8]:
                    # Too large, unless it is zero: 512 saturates with every zero point.
                    s.integer9 <<= concat(s.rounded8[24] | s.rounded8[23], Bits9(0))
                    s.guard9 <<= 0
                elif s.shift8[4:8] != 0:
                    s.integer9 <<= 0
                    s.guard9 <<= 0
                else:
                    s.integer9 <<= s.shifted9[25:35]
                    s.guard9 <<= s.shifted9[24]
                s.sticky9 <<= s.shifted9[0:24] != 0  # matters only with guard9

                # -(n + up) is ~n + (1 - up), so that one adder does all.
                s.value10 <<= (
                    sext(s.zero_point, value_nbits)
                    + (~s.magnitude10 if s.negative[7] else s.magnitude10)
                    + zext(s.carry10, value_nbits)
                )

                if s.ordered > s.ordered_hi:
                    s.y <<= s.hi[0:out_nbits]
                elif s.ordered < s.ordered_lo:
                    s.y <<= s.lo[0:out_nbits]
                else:
                    s.y <<= s.value10[0:out_nbits]

    def line_trace(s):
        return f"{s.sum1} {s.significand5} {s.rounded8}>>{s.shift8} {s.value10} {s.y}"
