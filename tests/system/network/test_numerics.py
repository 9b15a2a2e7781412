"""``accel.numerics`` against PyTorch's quantized kernels, against float32, and on chosen cases."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from accel import numerics
from accel.runtimes import qnnpack

# PyTorch announces that quantized tensors will go; the versions pinned here have them.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:UserWarning")

F32 = np.float32
ops = torch.ops.quantized


class Case(NamedTuple):
    """A layer and a batch: conv2d if ``w`` has four dimensions, linear if it has two."""

    x: NDArray[np.int64]
    zx: int
    sx: F32
    w: NDArray[np.int64]
    sw: NDArray[F32]
    bias: NDArray[F32]
    sy: F32
    zy: int
    signed: bool
    relu: bool
    stride: int = 1
    padding: int = 0


def accumulators(case: Case) -> NDArray[np.int64]:
    """What goes into the requantizer, output channel last."""
    bias = numerics.quantize_bias(case.bias, case.sx, case.sw)
    bias = numerics.fold_bias(bias, case.w, case.zx)
    if case.w.ndim == 2:
        return numerics.linear(case.x, case.w) + bias
    stride, padding = (case.stride,) * 2, (case.padding,) * 4
    sums = numerics.conv2d(case.x, case.w, stride, padding, case.zx)
    return np.moveaxis(sums, 1, -1) + bias


def expected(case: Case, multiplier=numerics.qnnpack_multiplier) -> NDArray[np.int64]:
    lo, hi = numerics.output_range(case.signed, case.relu, case.zy)
    m = multiplier(case.sx, case.sw, case.sy)
    return numerics.requantize(accumulators(case), m, case.zy, lo, hi)


def activations(x, scale, zero_point) -> torch.Tensor:
    x = torch.from_numpy(np.ascontiguousarray(x, dtype=np.uint8))
    return torch._make_per_tensor_quantized_tensor(x, float(scale), int(zero_point))


def weights(w, sw) -> torch.Tensor:
    w = torch.from_numpy(w.astype(np.int8))
    if len(sw) == 1:
        return torch._make_per_tensor_quantized_tensor(w, float(sw[0]), 0)
    scales, zeros = torch.from_numpy(sw.astype(np.float64)), torch.zeros(len(sw), dtype=torch.int64)
    return torch._make_per_channel_quantized_tensor(w, scales, zeros, 0)


@pytest.fixture(autouse=True, scope="module")
def _restore_engine():
    engine = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = engine


def kernel(case: Case, engine: str = "qnnpack") -> NDArray[np.int64]:
    """The same by PyTorch, output channel last.

    PyTorch's kernels take unsigned activations: a signed tensor is one with 128 added.
    """
    torch.backends.quantized.engine = engine
    shift = 128 if case.signed else 0
    x = activations(case.x + shift, case.sx, case.zx + shift)
    w, bias = weights(case.w, case.sw), torch.from_numpy(case.bias)
    if case.w.ndim == 2:
        packed = ops.linear_prepack(w, bias)
        run = ops.linear_relu if case.relu else ops.linear
    else:
        packed = ops.conv2d_prepack(w, bias, [case.stride] * 2, [case.padding] * 2, [1, 1], 1)
        run = ops.conv2d_relu if case.relu else ops.conv2d
    y = run(x, packed, float(case.sy), case.zy + shift).int_repr().numpy().astype(np.int64) - shift
    return y if case.w.ndim == 2 else np.moveaxis(y, 1, -1)


def kernel_requantize(acc, multiplier, zero_point=0, *, signed=False, relu=False, channels=2**18):
    """QNNPACK's requantization of each ``acc`` (at most 2**31 - 1024) by its own multiplier.

    Every pair becomes an output channel of a linear layer: with ``sx == sy == 1`` its weight scale
    is the multiplier. The float bias carries the accumulator as closely as it can, and two weights
    the difference.
    """
    acc, multiplier = np.broadcast_arrays(np.asarray(acc, dtype=np.int64), F32(multiplier))
    x = np.array([[100, 1]])
    out = []
    for i in range(0, acc.size, channels):
        a, m = acc[i : i + channels], np.ascontiguousarray(multiplier[i : i + channels])
        bias = a.astype(F32) * m
        rest = a - numerics.quantize_bias(bias, 1, m)
        tens = np.rint(rest / 100).astype(np.int64)
        w = np.stack([tens, rest - 100 * tens], axis=1)
        assert np.abs(w).max() <= 127
        case = Case(x, 0, F32(1), w, m, bias, F32(1), zero_point, signed, relu)
        np.testing.assert_array_equal(accumulators(case)[0], a)
        out.append(kernel(case)[0])
    return np.concatenate(out)


def input_and_weights_of(sums: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """x (1, I) and w (O, I) whose sums are the integers given, of up to 23 bits and a sign; the
    activations have 7 bits, as FBGEMM needs it."""
    quotient, rest = np.divmod(sums[:, None], 127)
    share, more = np.divmod(quotient, 600)
    w = np.concatenate([rest, share + (np.arange(600) < more)], axis=1)
    return np.array([[1] + [127] * 600]), w


def random_case(
    rng: np.random.Generator, shape, w_shape, *, per_channel, signed, relu, stride=1, padding=0
) -> Case:
    """Scales such that the outputs spread over the range, and saturate at both ends."""
    zx, zy = (int(z) - 128 * signed for z in rng.integers(0, 256, 2))
    x = rng.integers(0, 256, shape) - 128 * signed
    w = rng.integers(-128, 128, w_shape)
    sx = F32(2 ** rng.uniform(-12, 2))
    sw = (2 ** rng.uniform(-14, -4, w_shape[0] if per_channel else 1)).astype(F32)
    spread = 1 + np.sqrt(np.mean((x - zx) ** 2.0) * np.mean(w**2.0) * np.prod(w_shape[1:]))
    bias = (rng.normal(size=w_shape[0]) * spread * sx * sw).astype(F32)
    sy = F32(sx * np.exp(np.log(sw).mean()) * spread / rng.uniform(30, 120))
    return Case(x, zx, sx, w, sw, bias, sy, zy, signed, relu, stride, padding)


# Against QNNPACK's kernels: millions of random outputs

variants = [
    pytest.param(*v, id="-".join(n for n, on in zip(names, v, strict=True) if on) or "plain")
    for names in [("channel", "signed", "relu")]
    for v in itertools.product((False, True), repeat=3)
]


@pytest.mark.parametrize(("per_channel", "signed", "relu"), variants)
def test_linear_equals_qnnpack(per_channel, signed, relu):
    rng = np.random.default_rng(1)
    for inputs in (1, 2, 7, 8, 9, 64, 84, 576):
        options = dict(per_channel=per_channel, signed=signed, relu=relu)
        case = random_case(rng, (1500, inputs), (67, inputs), **options)
        y = kernel(case)
        np.testing.assert_array_equal(expected(case), y)
        lo, hi = numerics.output_range(signed, relu, case.zy)
        assert (y.min(), y.max()) == (lo, hi)


@pytest.mark.parametrize(("per_channel", "signed", "relu"), variants)
def test_conv2d_equals_qnnpack(per_channel, signed, relu):
    rng = np.random.default_rng(2)
    for kh, kw in ((1, 1), (2, 2), (3, 3), (5, 5), (4, 4), (3, 5), (2, 1)):
        for stride, padding in ((1, 0), (1, 1), (2, 0), (2, 2)):
            channels = int(rng.integers(1, 12))
            case = random_case(
                rng, (16, channels, 13, 14), (11, channels, kh, kw), per_channel=per_channel,
                signed=signed, relu=relu, stride=stride, padding=min(padding, kh - 1, kw - 1),
            )  # fmt: skip
            np.testing.assert_array_equal(expected(case), kernel(case))


def test_requantize_equals_qnnpack_on_any_pair_of_accumulator_and_multiplier():
    rng = np.random.default_rng(3)
    for signed, relu in itertools.product((False, True), repeat=2):
        acc, multiplier = random_pairs(rng, 1_000_000)
        acc = np.clip(acc, 1024 - 2**31, 2**31 - 1024)
        # Beyond 2**31 the x86 kernel's conversion to an integer yields the smallest one.
        keep = (multiplier > 2.0**-100) & (np.abs(acc * multiplier.astype(np.float64)) < 2**31)
        acc, multiplier = acc[keep], multiplier[keep]
        zero_point = int(rng.integers(0, 256)) - 128 * signed
        lo, hi = numerics.output_range(signed, relu, zero_point)
        np.testing.assert_array_equal(
            numerics.requantize(acc, multiplier, zero_point, lo, hi),
            kernel_requantize(acc, multiplier, zero_point, signed=signed, relu=relu),
        )


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(40, 9, 28, 28), (7, 16, 13, 11), (3, 1, 2, 3)])
def test_max_pool2d_equals_qnnpack(shape, signed):
    shift = 128 if signed else 0
    x = np.random.default_rng(4).integers(0, 256, shape)
    torch.backends.quantized.engine = "qnnpack"
    y = ops.max_pool2d(activations(x, 0.1, 77), [2, 2], [2, 2], [0, 0], [1, 1], False)
    np.testing.assert_array_equal(numerics.max_pool2d(x - shift) + shift, y.int_repr().numpy())


# Drawn cases


def scales(low: float, high: float):
    return st.floats(low, high, width=32).map(F32)


@st.composite
def cases(draw, kind: str) -> Case:
    signed, relu = draw(st.booleans()), draw(st.booleans())
    offset = -128 if signed else 0
    zx, zy = (draw(st.integers(offset, offset + 255)) for _ in range(2))
    outputs = draw(st.integers(1, 9))
    stride = padding = 1
    if kind == "linear":
        inputs = draw(st.integers(1, 20))
        shape, w_shape, padding = (draw(st.integers(1, 3)), inputs), (outputs, inputs), 0
    else:
        kh, kw = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, 3))
        channels = draw(st.integers(1, 5))
        height = draw(st.integers(max(1, kh - 2 * padding), 8))
        width = draw(st.integers(max(1, kw - 2 * padding), 8))
        shape = (draw(st.integers(1, 2)), channels, height, width)
        w_shape = (outputs, channels, kh, kw)
    x = draw(arrays(np.int64, shape, elements=st.integers(offset, offset + 255)))
    w = draw(arrays(np.int64, w_shape, elements=st.integers(-128, 127)))
    sx, sy = draw(scales(2**-16, 4)), draw(scales(2**-16, 4))
    sw = draw(arrays(F32, draw(st.sampled_from([1, outputs])), elements=scales(2**-16, 4)))
    steps = draw(arrays(np.float64, outputs, elements=st.floats(-(2**20), 2**20)))
    assume(np.all(numerics.qnnpack_multiplier(sx, sw, sy) < 128))
    bias = (steps * sx * sw).astype(F32)
    return Case(x, zx, sx, w, sw, bias, sy, zy, signed, relu, stride, padding)


@given(cases("conv2d"))
def test_drawn_conv2d_equals_qnnpack(case):
    np.testing.assert_array_equal(expected(case), kernel(case))


@given(cases("linear"))
def test_drawn_linear_equals_qnnpack(case):
    np.testing.assert_array_equal(expected(case), kernel(case))


# Against FBGEMM, where it must agree: activations of 7 bits (its products saturate in 16 bits on
# machines without VNNI), and a bias that loses nothing as float32


def skip_without_fbgemm() -> None:
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this build of PyTorch has no FBGEMM")


@pytest.mark.parametrize("bias", ["zero", "exact"])
@pytest.mark.parametrize("kind", ["conv2d", "linear"])
@pytest.mark.parametrize(("per_channel", "signed", "relu"), variants)
def test_equals_fbgemm(per_channel, signed, relu, kind, bias):
    skip_without_fbgemm()
    rng = np.random.default_rng(5)
    shape, w_shape = ((64, 5, 12, 12), (8, 5, 3, 3)) if kind == "conv2d" else ((500, 90), (33, 90))
    for _ in range(3):
        padding = int(kind == "conv2d")
        case = random_case(rng, shape, w_shape, per_channel=per_channel, signed=signed, relu=relu,
                           padding=padding)  # fmt: skip
        low = -128 * signed
        case = case._replace(x=case.x % 128 + low, zx=case.zx % 128 + low)
        if bias == "zero":
            case = case._replace(bias=np.zeros_like(case.bias))
        else:
            sx, sw = (np.exp2(np.rint(np.log2(s))).astype(F32) for s in (case.sx, case.sw))
            steps = numerics.quantize_bias(case.bias, case.sx, case.sw)
            case = case._replace(sx=sx, sw=sw, bias=steps.astype(F32) * sx * sw)
        y = kernel(case, "fbgemm")
        np.testing.assert_array_equal(expected(case, numerics.quotient_multiplier), y)


# Requantize: against float32, and chosen cases


def random_pairs(rng: np.random.Generator, n: int):
    """Accumulators of 0 to 31 bits; for half of them multipliers such that the product is near the
    8-bit range or in it, for the other half any multiplier."""
    acc = rng.integers(0, 2**31, n) >> rng.integers(0, 32, n)
    acc = acc * rng.choice([-1, 1], n)
    near = (np.exp2(rng.uniform(-12, 10, n)) / np.maximum(np.abs(acc), 1)).astype(F32)
    smallest, infinite = (int(F32(v).view(np.int32)) for v in (2.0**-126, np.inf))
    any_normal = rng.integers(smallest, infinite, n).astype(np.int32).view(F32)
    return acc, np.where(rng.random(n) < 0.5, near, any_normal)


def float_requantize(acc, multiplier, zero_point, lo, hi):
    """The formula of the contract in NumPy's float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = np.asarray(acc).astype(F32) * multiplier
    return np.clip(np.rint(np.clip(product, -1e6, 1e6)).astype(np.int64) + zero_point, lo, hi)


def test_requantize_equals_float32_arithmetic():
    rng = np.random.default_rng(6)
    for _ in range(50):
        pairs = random_pairs(rng, 1_000_000)
        args = (*pairs, int(rng.integers(-128, 256)), -300, 500)
        np.testing.assert_array_equal(numerics.requantize(*args), float_requantize(*args))


def test_requantize_equals_float32_arithmetic_with_one_multiplier_per_channel():
    rng = np.random.default_rng(7)
    acc = np.rint(rng.normal(size=(50, 20_000, 10)) * 30_000).astype(np.int64)
    multiplier = np.exp2(rng.uniform(-12, -6, 10)).astype(F32)
    args = (acc, multiplier, -3, -128, 127)
    np.testing.assert_array_equal(numerics.requantize(*args), float_requantize(*args))


def test_requantize_rounds_twice():
    """Of the exact product 82.5000026, float32 keeps 82.5, a tie: rounding once would yield 83."""
    acc, multiplier = 969865, F32(float.fromhex("0x1.64c81ep-14"))
    assert acc * float(multiplier) > 82.5
    assert numerics.requantize(acc, multiplier, 0, 0, 255) == 82
    assert kernel_requantize([acc], multiplier) == [82]


def test_two_roundings_differ_from_one_often_enough_to_matter():
    rng = np.random.default_rng(8)
    acc = rng.integers(-(2**22), 2**22, 4_000_000)
    multiplier = np.exp2(rng.uniform(-16, -14, acc.size)).astype(F32)
    once = np.rint(acc * multiplier.astype(np.float64))
    differences = np.count_nonzero(numerics.requantize(acc, multiplier, 0, -999, 999) != once)
    assert 1 <= differences <= 100


def test_ties_go_to_even():
    acc = np.arange(-1001, 1002)
    for shift in (1, 2, 3):
        multiplier = F32(2.0**-shift)
        y = numerics.requantize(acc, multiplier, 0, -999, 999)
        np.testing.assert_array_equal(y, [round(a / 2**shift) for a in acc.tolist()])
        y = kernel_requantize(acc, multiplier, 100)
        np.testing.assert_array_equal(numerics.requantize(acc, multiplier, 100, 0, 255), y)


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_multipliers_at_and_next_to_powers_of_two(offset):
    powers = np.exp2(np.arange(-40, 7)).astype(F32)
    multiplier = (powers.view(np.int32) + np.int32(offset)).view(F32)
    half_steps = np.arange(-520, 521) / 2
    acc = np.rint(half_steps / powers[:, None].astype(np.float64))
    acc = (acc[..., None] + np.arange(-3, 4)).reshape(len(powers), -1)
    pairs = np.stack(np.broadcast_arrays(acc, multiplier[:, None]), -1).reshape(-1, 2)
    pairs = pairs[np.abs(pairs[:, 0]) < 2**31 - 1024]
    acc, multiplier = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(F32)
    y = numerics.requantize(acc, multiplier, 128, 0, 255)
    np.testing.assert_array_equal(y, float_requantize(acc, multiplier, 128, 0, 255))
    np.testing.assert_array_equal(y, kernel_requantize(acc, multiplier, 128))


def test_accumulators_above_24_bits_round_to_even_first():
    """2**24 + 1 is a tie between two float32: with a multiplier of 1 it becomes 2**24."""
    acc = np.array([2**24 - 1, 2**24, 2**24 + 1, 2**24 + 2, 2**24 + 3, 2**25 + 2, 2**25 + 6])
    rounded = np.array([2**24 - 1, 2**24, 2**24, 2**24 + 2, 2**24 + 4, 2**25, 2**25 + 8])
    for sign in (1, -1):
        y = numerics.requantize(sign * acc, F32(1), 0, -(2**40), 2**40)
        np.testing.assert_array_equal(y, sign * rounded)


def test_largest_accumulators():
    rng = np.random.default_rng(9)
    acc = 2**31 - 1024 - rng.integers(0, 2**20, 200_000)
    acc *= rng.choice([-1, 1], acc.size)
    # Half steps of the output, so that a rounding of the accumulator decides.
    multiplier = (rng.integers(1, 512, acc.size) / 2 / np.abs(acc)).astype(F32)
    y = numerics.requantize(acc, multiplier, 128, 0, 255)
    np.testing.assert_array_equal(y, float_requantize(acc, multiplier, 128, 0, 255))
    np.testing.assert_array_equal(y, kernel_requantize(acc, multiplier, 128))
    once = np.clip(np.rint(acc * multiplier.astype(np.float64)) + 128, 0, 255)
    assert np.any(y != once)
    extremes = np.array([-(2**31), 1 - 2**31, 2**31 - 1])
    for m in (F32(2.0**-24), F32(2.0**-23), np.nextafter(F32(2.0**-24), F32(1))):
        y = numerics.requantize(extremes, m, 0, -999, 999)
        np.testing.assert_array_equal(y, float_requantize(extremes, m, 0, -999, 999))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("position", [0, 1, 100, 128, 254, 255])
def test_saturates_at_both_ends(signed, relu, position):
    zero_point = position - 128 * signed
    lo, hi = numerics.output_range(signed, relu, zero_point)
    assert (lo, hi) == (zero_point if relu else -128 * signed, 255 - 128 * signed)
    acc = np.concatenate([np.arange(-300, 301), [-(2**30), -40_000, 40_000, 2**30]])
    y = numerics.requantize(acc, F32(1), zero_point, lo, hi)
    np.testing.assert_array_equal(y, np.clip(acc + zero_point, lo, hi))
    np.testing.assert_array_equal(
        y, kernel_requantize(acc, F32(1), zero_point, signed=signed, relu=relu)
    )


def test_huge_multipliers_saturate_and_tiny_ones_give_the_zero_point():
    acc = np.array([-(2**31), -5, -1, 0, 1, 5, 2**31 - 1])
    for huge in (2.0**23, 2.0**24 + 2, 2.0**63, float(np.finfo(F32).max)):
        y = numerics.requantize(acc, F32(huge), 7, 0, 255)
        np.testing.assert_array_equal(y, [0, 0, 0, 7, 255, 255, 255])
    for tiny in (2.0**-126, 2.0**-62, 2.0**-33):
        np.testing.assert_array_equal(numerics.requantize(acc, F32(tiny), 7, 0, 255), 7)


@pytest.mark.parametrize("bad", [0.0, -0.5, 1e-40, np.inf, np.nan])
def test_requantize_refuses_multipliers_that_are_not_positive_and_normal(bad):
    with pytest.raises(ValueError, match="positive normal float32"):
        numerics.requantize(1, np.array([0.5, bad], dtype=F32), 0, 0, 255)


def test_requantize_refuses_multipliers_that_are_not_float32():
    """Bit patterns, or float64, would silently mean another number."""
    for bad in (0.5, np.array([0x3F000000])):
        with pytest.raises(TypeError, match="float32"):
            numerics.requantize(1, bad, 0, 0, 255)


def test_requantize_broadcasts():
    acc = np.arange(24).reshape(2, 3, 4)
    multiplier = np.array([1, 0.5, 2], dtype=F32)[:, None]
    y = numerics.requantize(acc, multiplier, 1, 0, np.full((5, 1, 1, 1), 255))
    assert y.shape == (5, 2, 3, 4) and y.dtype == np.int64
    np.testing.assert_array_equal(y[4], np.rint(acc * multiplier) + 1)
    assert numerics.requantize(np.zeros((0, 3)), F32(1), 0, 0, 255).shape == (0, 3)


def test_pooling_before_requantizing_is_the_same():
    rng = np.random.default_rng(10)
    acc = rng.integers(-(2**16), 2**16, (200, 8, 12, 12))
    multiplier = np.exp2(rng.uniform(-12, -7, (8, 1, 1))).astype(F32)
    settings = (multiplier, 9, 0, 255)
    np.testing.assert_array_equal(
        numerics.requantize(numerics.max_pool2d(acc), *settings),
        numerics.max_pool2d(numerics.requantize(acc, *settings)),
    )


# What PyTorch makes of scales and biases when it packs a layer, seen through the kernels' outputs


@pytest.mark.parametrize("per_channel", [False, True])
def test_bias_is_quantized_as_qnnpack_does(per_channel):
    """Weights cancel the bias but for a few units, and the multiplier is at least 1, so that
    the output shows the integer bias exactly. Float biases lie at and next to ties, where another
    order of the roundings, or a division, would show."""
    rng = np.random.default_rng(11)
    outputs, divided_differs = 4096, 0
    for _ in range(20):
        sx = F32(2 ** rng.uniform(-10, 2))
        sw = np.exp2(rng.uniform(-1, 0, outputs if per_channel else 1) - rng.uniform(2, 14))
        sw = sw.astype(F32)
        steps = np.rint(np.exp2(rng.uniform(0, 23, outputs)) * rng.choice([-1, 1], outputs)) + 0.5
        bias = (steps * sx * sw).astype(F32)
        bias = (bias.view(np.int32) + rng.integers(-1, 2, outputs, dtype=np.int32)).view(F32)
        x, w = input_and_weights_of(-np.trunc(steps).astype(np.int64))
        case = Case(x, 0, sx, w, sw, bias, F32(0.999 * sx * sw.min()), 128, False, False)
        assert np.abs(accumulators(case)).max() < 10
        assert numerics.qnnpack_multiplier(sx, sw, case.sy).min() >= 1
        np.testing.assert_array_equal(expected(case), kernel(case))
        divided = np.rint(bias / (sx * sw))
        divided_differs += np.any(divided != numerics.quantize_bias(bias, sx, sw))
    assert divided_differs > 0


@pytest.mark.parametrize("engine", ["qnnpack", "fbgemm"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_multiplier_is_computed_as_the_engine_does(per_channel, engine):
    """Accumulators next to every half step of the output, so many that the next float32 above or
    below, or the other engine's multiplier, would give other outputs: they tell its last bit."""
    multiplier, other = numerics.qnnpack_multiplier, numerics.quotient_multiplier
    if engine == "fbgemm":
        skip_without_fbgemm()
        multiplier, other = other, multiplier
    rng = np.random.default_rng(12)
    half_steps = np.repeat(np.arange(0, 255) + 0.5, 3)
    around = np.tile(np.arange(-1, 2), 255)
    other_differs = 0
    for _ in range(40):
        sx = F32(2 ** rng.uniform(-8, 0))
        sw = np.exp2(rng.uniform(-8, -7, half_steps.size if per_channel else 1)).astype(F32)
        sy = F32(sx * sw.max() * 2 ** rng.uniform(13, 14))
        m = multiplier(sx, sw, sy)
        acc = np.rint(half_steps / m.astype(np.float64)).astype(np.int64) + around
        x, w = input_and_weights_of(acc)
        case = Case(x, 0, sx, w, sw, np.zeros(acc.size, F32), sy, 0, False, False)
        np.testing.assert_array_equal(accumulators(case)[0], acc)
        y = kernel(case, engine)[0]
        np.testing.assert_array_equal(expected(case, multiplier)[0], y)
        for neighbour in (np.nextafter(m, F32(0)), np.nextafter(m, F32(1))):
            assert np.any(numerics.requantize(acc, neighbour, 0, 0, 255) != y)
        other_differs += np.any(expected(case, other) != y)
    assert other_differs > 0


@pytest.mark.parametrize("signed", [False, True])
def test_quantize_equals_torch(signed):
    """Half of the values are multiples of half a scale, where the order of roundings shows. That is
    PyTorch's up to 2.13; from 2.14 on it rounds as LiteRT does, and what is beyond 31 bits
    overflows there."""
    by_version = numerics.quantize if qnnpack.quantizes_as_we_do() else numerics.reciprocal_quantize
    rng = np.random.default_rng(13)
    dtype = torch.qint8 if signed else torch.quint8
    order_shows = 0
    for _ in range(500):
        scale = F32(2 ** rng.uniform(-20, 10))
        zero_point = int(rng.integers(0, 256)) - 128 * signed
        ties = (np.arange(-600, 600) / 2).astype(F32) * scale
        value = np.concatenate([ties, rng.normal(size=1000) * scale * 10 ** rng.uniform(-2, 12)])
        value = value.astype(F32)
        if by_version is numerics.reciprocal_quantize:
            value = value[np.abs(value / scale) < 2**31]
        y = torch.quantize_per_tensor(torch.from_numpy(value), float(scale), zero_point, dtype)
        y = y.int_repr().numpy()
        np.testing.assert_array_equal(by_version(value, scale, zero_point, signed), y)
        ours = numerics.quantize(value, scale, zero_point, signed)
        rounded_first = np.rint(value * (F32(1) / scale)) + zero_point
        rounded_first = np.clip(rounded_first, *numerics.output_range(signed, False, 0))
        order_shows += np.any(rounded_first != ours)
    assert order_shows > 0
    assert numerics.quantize(F32([np.inf, -np.inf]), F32(1), 0, signed).tolist() == [
        127 + 128 * (not signed),
        -128 * signed,
    ]


# The plain functions


@given(st.integers(-(2**62), 2**62), st.integers(2, 33))
def test_wrap_is_twos_complement(value, nbits):
    wrapped = int(numerics.wrap(value, nbits))
    assert -(2 ** (nbits - 1)) <= wrapped < 2 ** (nbits - 1)
    assert (wrapped - value) % 2**nbits == 0


def test_fold_bias_takes_the_zero_point_out_of_every_product():
    rng = np.random.default_rng(14)
    x, w = rng.integers(0, 256, (5, 40)), rng.integers(-128, 128, (6, 40))
    bias = rng.integers(-(2**31), 2**31, 6)
    folded = numerics.fold_bias(bias, w.astype(np.int8), 200)
    np.testing.assert_array_equal(
        numerics.linear(x, w) + folded, numerics.linear(x - 200, w) + bias
    )


def test_sums_do_not_overflow():
    x, w = np.full((1, 300_000), 255), np.full((1, 300_000), -128)
    assert numerics.linear(x.astype(np.uint8), w.astype(np.int8)) == -300_000 * 255 * 128
    image, taps = x.reshape(1, 3, 500, 200).astype(np.uint8), w.reshape(1, 3, 500, 200)
    sums = numerics.conv2d(image, taps.astype(np.int8), (1, 1), (0, 0, 0, 0), zx=0)
    np.testing.assert_array_equal(sums, [[[[-300_000 * 255 * 128]]]])
