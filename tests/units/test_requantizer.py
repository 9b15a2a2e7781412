"""The requantizer, at all levels."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import AccelConfig, base
from accel.hardware.messages import Beat, Out, Param, Pooled, Value
from accel.hardware.pipeline import REQUANTIZER_LATENCY
from accel.numerics import requantize, wrap
from cl_models.requantizer import RequantizerCL
from fl_models.requantizer import RequantizerFL
from rtl_models.requantizer import RequantizerRTL
from tests.harness import HarnessError, Simulators, run
from tests.strategies import delayed, more_examples, requantizations, waits

LEVELS = {"fl": RequantizerFL, "cl": RequantizerCL, "rtl": RequantizerRTL}


def config(num_cols: int, num_lanes: int, acc_nbits: int, line_width: int = 0) -> AccelConfig:
    return dataclasses.replace(
        base, num_cols=num_cols, num_lanes=num_lanes, acc_nbits=acc_nbits, line_width=line_width
    )


# The first three are those that --test-verilog builds.
CONFIGS = [
    config(8, 2, 32),
    config(1, 1, 20),
    config(8, 4, 25),
    config(3, 1, 24),
    config(2, 2, 26),
    config(4, 1, 27),
    config(16, 4, 32),
    config(8, 4, 32, 8),
    dataclasses.replace(base, adder=True),
    dataclasses.replace(base, tables=4),
    dataclasses.replace(base, num_lanes=8, tables=2, adder=True),
]
SINGLE = config(1, 1, 32)


def oracle(
    cfg: AccelConfig, vectors: list[Pooled], params: list[Param]
) -> list[Out] | list[Beat] | list[Value]:
    found: list[Any] = []
    beat, vector = 0, 0
    for param in params:
        # Beats past the last column see zeros.
        columns = np.concatenate([vectors[vector].acc, np.zeros(cfg.num_lanes, dtype=np.int64)])
        start = min(beat, cfg.num_beats) * cfg.num_lanes
        acc = wrap(columns[start : start + cfg.num_lanes] + param.bias, cfg.acc_nbits)
        multiplier = param.multiplier.astype(np.uint32).view(np.float32)
        away = bool(param.ties_away)
        y = requantize(acc, multiplier, param.zero_point, param.lo, param.hi, away)
        ends = (param.last, param.ends_layer) if cfg.adder else ()
        if not cfg.adder:
            y = y & 0xFF
        if cfg.tables:
            signed = (param.table_signed,) if cfg.adder else ()
            found.append(Value(y, param.looks_up, param.table_index, *signed, *ends))
        else:
            found.append(Beat(y, *ends) if cfg.adder else Out(y))
        beat, vector = (0, vector + 1) if param.last else (beat + 1, vector)
    return found


def float_bits(value: float) -> int:
    """Bits of a number that is a float32."""
    assert float(np.float32(value)) == value
    return struct.unpack("<I", struct.pack("<f", value))[0]


def single(
    acc: int, multiplier: int, zero_point: int = 0, lo: int = -128, hi: int = 127, bias: int = 0
) -> tuple[Pooled, Param]:
    """One accumulator, for a requantizer of one column."""
    arrays = np.array([multiplier]), np.array([bias])
    return Pooled(np.array([acc])), Param(*arrays, zero_point, lo, hi, 1)


ONE, HALF = float_bits(1.0), float_bits(0.5)
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1

# (what requantizes, the value that PyTorch's kernels yield)
CASES = {
    "zero": (single(0, ONE), 0),
    "zero, largest multiplier": (single(0, 254 << 23 | 0x7FFFFF, zero_point=5), 5),
    "zero, smallest multiplier": (single(0, 1 << 23, zero_point=5), 5),
    "one": (single(1, ONE), 1),
    "minus one": (single(-1, ONE), -1),
    "tie to even, down": (single(5, HALF), 2),
    "tie to even, up": (single(7, HALF), 4),
    "tie to even, negative, down": (single(-5, HALF), -2),
    "tie to even, negative, up": (single(-7, HALF), -4),
    "half": (single(1, HALF), 0),
    "minus half": (single(-1, HALF), 0),
    "above half": (single(1, HALF + 1), 1),
    "below half": (single(1, HALF - 1), 0),
    "largest that rounds to zero": (single(1 << 30, float_bits(2.0**-31)), 0),
    "one and a half": (single(3, HALF), 2),
    # The exact product is 82.5000026, float32's is 82.5: the tie goes to 82, not to 83.
    "rounded twice": (single(969865, float_bits(float.fromhex("0x1.64c81ep-14"))), 82),
    "rounded twice, negative": (single(-969865, float_bits(float.fromhex("0x1.64c81ep-14"))), -82),
    "saturates high": (single(1000, ONE), 127),
    "saturates low": (single(-1000, ONE), -128),
    "saturates at 511": (single(511, ONE, zero_point=-128, lo=-128, hi=127), 127),
    "383 reaches the highest": (single(383, ONE, zero_point=-128, lo=-128, hi=255), 255),
    "382 does not": (single(382, ONE, zero_point=-128, lo=-128, hi=255), 254),
    "-383 reaches the lowest": (single(-383, ONE, zero_point=255, lo=-128, hi=255), -128),
    "-382 does not": (single(-382, ONE, zero_point=255, lo=-128, hi=255), -127),
    "-512 saturates": (single(-512, ONE, zero_point=255, lo=0, hi=255), 0),
    "511.5 saturates": (single(1023, HALF, zero_point=-128), 127),
    "overflows float32": (single(INT32_MAX, 254 << 23 | 0x7FFFFF), 127),
    "overflows float32, negative": (single(INT32_MIN, 254 << 23 | 0x7FFFFF, lo=-3), -3),
    "underflows float32": (single(1, 1 << 23, zero_point=3), 3),
    # float32(2**24 + 1) is 2**24, of which this multiplier makes the tie 2.5.
    "24 bits, tie down": (single((1 << 24) + 1, float_bits(2.5 * 2.0**-24)), 2),
    "24 bits, exact": (single((1 << 24) + 2, float_bits(2.5 * 2.0**-24)), 3),
    "25 bits, tie down": (single((1 << 25) + 2, float_bits(2.5 * 2.0**-25)), 2),
    "25 bits, tie down, negative": (single(-(1 << 25) - 2, float_bits(2.5 * 2.0**-25)), -2),
    "25 bits, above tie": (single((1 << 25) + 3, float_bits(2.5 * 2.0**-25)), 3),
    # And float32(2**25 + 6) is 2**25 + 8; here 2**25 + 4 still makes less than 2.5.
    "25 bits, below tie": (single((1 << 25) + 5, float_bits(2.5 * 2.0**-25) - 1), 2),
    "25 bits, tie up": (single((1 << 25) + 6, float_bits(2.5 * 2.0**-25) - 1), 3),
    "accumulator carries": (single((1 << 25) - 1, float_bits(2.0**-19)), 64),
    "accumulator carries to 2**31": (single(INT32_MAX, float_bits(2.0**-25)), 64),
    "lowest accumulator": (single(INT32_MIN, float_bits(2.0**-25)), -64),
    # Products of 47 and of 48 bits that lie near a tie: what decides is the last bit kept, the
    # bit that is dropped last, or one in between.
    "47 bits, last bit kept": (single(148480, 0x3A0FE3C0), 82),
    "47 bits, bit dropped last": (single(26974, 0x3A94349E), 31),
    "47 bits, low bits": (single(3214287, 0x380AF8A2), 107),
    "47 bits, high bits": (single(2206784, 0x37DE6000), 59),
    "48 bits, last bit kept": (single(786432, 0x38DEAAAA), 84),
    "48 bits, low bits": (single(14044181, 0x361B4C61), 33),
    "three quarters": (single(3, float_bits(0.25)), 1),
    # 25 * 0x1.47ae14p0 is 31.9999993, which needs 24 ones and more: float32 has 32.
    "product carries": (single(25, float_bits(float.fromhex("0x1.47ae14p0"))), 32),
    "product carries and saturates": (single(25, float_bits(float.fromhex("0x1.47ae14p6"))), 127),
    "bias wraps": (single(INT32_MAX, float_bits(2.0**-25), bias=1), -64),
    "bias wraps down": (single(INT32_MIN, float_bits(2.0**-25), bias=-1), 64),
    "bias alone": (single(0, ONE, bias=-77), -77),
    "bias cancels": (single(1234567, ONE, bias=-1234560), 7),
    "relu": (single(-50, ONE, zero_point=10, lo=10, hi=255), 10),
    "unsigned": (single(190, ONE, zero_point=10, lo=0, hi=255), 200),
    "unsigned, highest": (single(245, ONE, zero_point=10, lo=0, hi=255), 255),
    "unsigned, above": (single(246, ONE, zero_point=10, lo=0, hi=255), 255),
    "only one value allowed": (single(246, ONE, zero_point=10, lo=9, hi=9), 9),
}


# Of each bit j that a product drops: odd o, and two significands whose product is o, zeros, and
# then a one for half of the last bit kept and one at j. It makes o/2, were it not for j, which
# lifts it over the tie. Found by factoring such products.
LIFTED = {
    48: (
        (9, 12587009, 12578817), (25, 16451355, 13366822), (13, 16382356, 13960045),
        (25, 15737859, 13972824), (9, 16474471, 9610608), (5, 14544160, 12095705),
        (1, 16752320, 8401075), (1, 15129316, 9302304), (1, 12416986, 11334272),
        (1, 16494696, 8532288), (1, 15159680, 9283672), (5, 16242944, 10830664),
        (1, 16773122, 8390656), (5, 16628480, 10579552), (1, 15861392, 8872960),
        (1, 15080448, 9332448), (5, 14901248, 11805848), (1, 16515136, 8521728),
        (1, 16519106, 8519680), (1, 15142912, 9293952), (1, 15790322, 8912896),
        (1, 14994432, 9385984), (1, 13421774, 10485760),
    ),
    47: (
        (5, 9694871, 9072935), (13, 13250435, 8629846), (25, 11579331, 9495468),
        (9, 8924136, 8870869), (5, 9676564, 9090100), (13, 13028660, 8776744),
        (5, 10450718, 8416736), (57, 13476772, 9300768), (25, 12270985, 8960256),
        (13, 10936564, 10455680), (9, 9281408, 8529400), (5, 9903104, 8882158),
        (9, 9378796, 8440832), (13, 13306880, 8593240), (13, 11363504, 10062848),
        (9, 8945664, 8849521), (13, 12859184, 8892416), (5, 10075136, 8730496),
        (9, 9250304, 8558080), (9, 9400464, 8421376), (5, 10444960, 8421376),
        (5, 10108928, 8701312),
    ),
}  # fmt: skip
CASES |= {
    f"{nbits} bits, only bit {j} above a tie": (
        single(a, float_bits(b * 2.0 ** (o.bit_length() - nbits - 1))), (o + 1) // 2
    )
    for nbits, found in LIFTED.items()
    for j, (o, a, b) in enumerate(found)
}  # fmt: skip


def test_lifted() -> None:
    """Products of so many bits, which are what they are said to be."""
    for nbits, found in LIFTED.items():
        for j, (o, a, b) in enumerate(found):
            assert a * b == (o << nbits - o.bit_length()) + (1 << nbits - 25) + (1 << j)
            assert o % 4 == 1 and (a * b).bit_length() == nbits
        assert len(found) == nbits - 25


@pytest.mark.parametrize("stall", [0, 1, 3])
@pytest.mark.parametrize("level", LEVELS)
def test_chosen(simulators: Simulators, level: str, stall: int) -> None:
    """All cases in one stream: they meet in the pipeline, and one build serves them."""
    vectors = [(vector, 0) for (vector, _), _ in CASES.values()]
    params = [(param, stall % 2) for (_, param), _ in CASES.values()]
    outs = [Out(np.array([y & 0xFF])) for _, y in CASES.values()]
    assert oracle(SINGLE, [v for v, _ in vectors], [p for p, _ in params]) == outs
    sim = simulators(LEVELS[level], SINGLE)
    inputs = {"pooled": vectors, "param": params}
    run(sim, inputs, {"out": outs}, {"out": [stall] * len(outs)})


@pytest.mark.parametrize("level", LEVELS)
@more_examples(4)
@given(data=st.data())
def test_random(simulators: Simulators, level: str, data: st.DataObject) -> None:
    cfg = data.draw(st.sampled_from(CONFIGS[:3] if simulators.verilated else CONFIGS))
    vectors, params = data.draw(requantizations(cfg))
    outs = oracle(cfg, vectors, params)
    inputs = {"pooled": data.draw(delayed(vectors)), "param": data.draw(delayed(params))}
    run(simulators(LEVELS[level], cfg), inputs, {"out": outs}, {"out": data.draw(waits(len(outs)))})


@more_examples(4)
@given(data=st.data())
def test_timing(simulators: Simulators, data: st.DataObject) -> None:
    """CL and RTL agree on the cycle of every transfer."""
    cfg = data.draw(st.sampled_from(CONFIGS[:3] if simulators.verilated else CONFIGS))
    vectors, params = data.draw(requantizations(cfg, max_vectors=8))
    outs = oracle(cfg, vectors, params)
    inputs = {"pooled": data.draw(delayed(vectors)), "param": data.draw(delayed(params))}
    stalls = {"out": data.draw(waits(len(outs)))}
    cl, rtl = (
        run(simulators(LEVELS[level], cfg), inputs, {"out": outs}, stalls)
        for level in ("cl", "rtl")
    )
    assert cl.timing == rtl.timing


@pytest.mark.parametrize("level", ["cl", "rtl"])
@pytest.mark.parametrize("cfg", [CONFIGS[0], CONFIGS[1], CONFIGS[-4], CONFIGS[-1]], ids=str)
def test_latency_and_throughput(simulators: Simulators, level: str, cfg: AccelConfig) -> None:
    """A beat a cycle, without a gap between vectors."""
    beats = 5 * cfg.num_beats
    vectors = [Pooled(np.arange(cfg.num_cols) + i) for i in range(5)]
    _, param = single(0, ONE)
    lanes = np.ones(cfg.num_lanes, dtype=np.int64)
    params = [
        param._replace(
            multiplier=param.multiplier * lanes,
            bias=param.bias * lanes,
            last=int(i % cfg.num_beats == cfg.num_beats - 1),
        )
        for i in range(beats)
    ]
    inputs = {"pooled": [(v, 0) for v in vectors], "param": [(p, 0) for p in params]}
    outs = oracle(cfg, vectors, params)
    timing = run(simulators(LEVELS[level], cfg), inputs, {"out": outs}).timing
    # The second vector comes as soon as the first has moved up, and waits.
    latency = 1 if cfg.passes_vectors_on else 2
    assert timing["pooled"] == [0, *(latency + i * cfg.num_beats for i in range(4))]
    assert timing["param"] == [latency + i for i in range(beats)]
    assert timing["out"] == [latency + REQUANTIZER_LATENCY + i for i in range(beats)]


@pytest.mark.parametrize("level", LEVELS)
def test_reset_in_flight(simulators: Simulators, level: str) -> None:
    """Each run begins with a reset; it drops what an earlier run left in the pipeline."""
    vectors, params = zip(*(single(i, ONE) for i in range(30)), strict=True)
    inputs = {"pooled": [(v, 0) for v in vectors], "param": [(p, 0) for p in params]}
    sim = simulators(LEVELS[level], SINGLE)
    with pytest.raises(HarnessError, match="after its last message"):
        run(sim, inputs, {"out": []})
    run(sim, inputs, {"out": oracle(SINGLE, list(vectors), list(params))})
