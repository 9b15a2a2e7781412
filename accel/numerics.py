"""The arithmetic of quantized networks, in integers: the only place where its rules are written.

An activation is an integer ``q`` in ``[0, 255]`` (unsigned) or ``[-128, 127]`` (signed) that stands
for ``(q - zero_point) * scale``. A weight is an int8 whose zero point is 0, with one scale for all
output channels or one for each. A layer computes, exactly,

    acc[o] = bias'[o] + sum(w[o] * x)        where  bias'[o] = bias[o] - zero_point * sum(w[o])

and turns ``acc`` into its output with :func:`requantize`, which rounds exactly as PyTorch's QNNPACK
kernels do. Scales and multipliers are float32, and so is all that is computed from them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

_FRACTION_NBITS = 23
_SIGNIFICAND_NBITS = 24
_EXPONENT_BIAS = 127


def wrap(value: ArrayLike, nbits: int) -> Ints:
    """``value`` as a two's complement register of ``nbits`` bits holds it: int64, same shape."""
    half = 1 << (nbits - 1)
    wrapped: Ints = (np.asarray(value, dtype=np.int64) + half & (2 * half - 1)) - half
    return wrapped


def output_range(signed: bool, relu: bool, zero_point: int) -> tuple[int, int]:
    """Smallest and largest output value: those of the 8-bit type, and ReLU cuts below zero."""
    lo, hi = (-128, 127) if signed else (0, 255)
    return (zero_point if relu else lo), hi


def _reciprocal(scale: ArrayLike) -> Floats:
    return np.asarray(np.float32(1) / np.asarray(scale, dtype=np.float32), dtype=np.float32)


def quantize(value: ArrayLike, scale: ArrayLike, zero_point: int, signed: bool) -> Ints:
    """Real numbers to activations, as ``torch.quantize_per_tensor`` does it on x86 in PyTorch 2.13;
    later ones have :func:`reciprocal_quantize`.

    ``clamp(rne(fma(value, fl(1 / scale), zero_point)))``: the zero point goes into one float32
    rounding together with the product, and then an integer is taken. value: float32, any shape,
    no NaN. scale: one, or what broadcasts to that shape. Returns int64 of that shape.
    """
    lo, hi = output_range(signed, False, zero_point)
    # A product of two float32 is exact in float64, so only the sum is rounded to float32.
    product = np.asarray(value, dtype=np.float32) * _reciprocal(scale).astype(np.float64)
    shifted = np.clip(product + zero_point, -(2.0**31), 2.0**31).astype(np.float32)
    return np.clip(np.rint(shifted), lo, hi).astype(np.int64)


def quotient_quantize(value: ArrayLike, scale: ArrayLike, zero_point: int, signed: bool) -> Ints:
    """Real numbers to activations, as ONNX Runtime's QuantizeLinear does it:
    ``clamp(rne(fl(value / scale)) + zero_point)``.

    All else is as :func:`quantize` has it.
    """
    lo, hi = output_range(signed, False, zero_point)
    with np.errstate(over="ignore"):
        divided = np.asarray(value, dtype=np.float32) / np.asarray(scale, dtype=np.float32)
    limited = np.clip(np.rint(divided), -(2.0**31), 2.0**31)
    return np.clip(limited.astype(np.int64) + zero_point, lo, hi)


def reciprocal_quantize(value: ArrayLike, scale: ArrayLike, zero_point: int, signed: bool) -> Ints:
    """Real numbers to activations, as LiteRT's QUANTIZE does it with XNNPACK:
    ``clamp(rne(fl(value * fl(1 / scale))) + zero_point)``.

    All else is as :func:`quantize` has it.
    """
    lo, hi = output_range(signed, False, zero_point)
    with np.errstate(over="ignore"):
        scaled = np.asarray(value, dtype=np.float32) * _reciprocal(scale)
    limited = np.clip(np.rint(scaled), -(2.0**31), 2.0**31)
    return np.clip(limited.astype(np.int64) + zero_point, lo, hi)


def shifted_quantize(value: ArrayLike, scale: ArrayLike, zero_point: int, signed: bool) -> Ints:
    """Real numbers to activations, as XNNPACK makes the table of a limit:
    ``rne(clamp(fl(fl(value * fl(1 / scale)) + zero_point)))``, so ties go to even sums.

    All else is as :func:`quantize` has it.
    """
    lo, hi = output_range(signed, False, zero_point)
    with np.errstate(over="ignore"):
        scaled = np.asarray(value, dtype=np.float32) * _reciprocal(scale)
    return np.rint(np.clip(scaled + np.float32(zero_point), lo, hi)).astype(np.int64)


def xnnpack_limit(real: float, scale: float, zero_point: int) -> int:
    """The int8 that XNNPACK cuts off at for an activation's end:
    ``rne(clamp(fl(fl(real / scale) + zero_point)))``."""
    steps = np.float32(real) / np.float32(scale) + np.float32(zero_point)
    return int(np.rint(np.clip(steps, -128, 127)))


def litert_limit(real: float, scale: float, zero_point: int) -> int:
    """The int8 that LiteRT's own kernels cut off at for an activation's end:
    ``clamp(zero_point + round(fl(real / scale)))``, ties away from zero."""
    steps = float(np.float32(real) / np.float32(scale))
    rounded = np.copysign(np.floor(abs(steps) + 0.5), steps)
    return int(np.clip(zero_point + rounded, -128, 127))


def quantize_bias(bias: ArrayLike, sx: ArrayLike, sw: ArrayLike) -> NDArray[np.int32]:
    """``rne(fl(bias * fl(1 / fl(sx*sw))))``: as PyTorch packs the bias of a QNNPACK layer.

    bias: float32 (O,). sx: the input's scale. sw: float32 (1,) or (O,). Saturates at int32.
    """
    scale = np.asarray(sx, dtype=np.float32) * np.asarray(sw, dtype=np.float32)
    with np.errstate(over="ignore"):
        return _int32(np.asarray(bias, dtype=np.float32) * _reciprocal(scale))


def double_bias(bias: ArrayLike, sx: float, sw: float) -> NDArray[np.int32]:
    """``rne(fl(bias * fl(1 / (sx*sw))))``, with float64 scales up to there: as ExecuTorch makes an
    integer of a float32 bias where all of a layer's weights have one scale.

    All else is as :func:`quantize_bias` has it.
    """
    reciprocal = np.float32(1 / (float(sx) * float(sw)))
    with np.errstate(over="ignore"):
        return _int32(np.asarray(bias, dtype=np.float32) * reciprocal)


def quotient_bias(bias: ArrayLike, sx: ArrayLike, sw: ArrayLike) -> NDArray[np.int32]:
    """``rne(fl(bias / fl(sx*sw)))``: as ONNX Runtime makes an integer of a float32 bias.

    All else is as :func:`quantize_bias` has it.
    """
    scale = np.asarray(sx, dtype=np.float32) * np.asarray(sw, dtype=np.float32)
    with np.errstate(over="ignore"):
        return _int32(np.asarray(bias, dtype=np.float32) / scale)


def _int32(value: Floats) -> NDArray[np.int32]:
    """To the nearest, ties to even; saturates."""
    # In float64, because int32's upper limit is no float32.
    rounded: NDArray[np.float64] = np.rint(value).astype(np.float64)
    return np.clip(rounded, INT32_MIN, INT32_MAX).astype(np.int32)


def qnnpack_multiplier(sx: ArrayLike, sw: ArrayLike, sy: ArrayLike) -> Floats:
    """``fl(fl(sx*sw) * fl(1/sy))``, float32, broadcast: what QNNPACK scales accumulators by."""
    sx, sw, sy = (np.asarray(s, dtype=np.float32) for s in (sx, sw, sy))
    return np.asarray((sx * sw) * _reciprocal(sy), dtype=np.float32)


def quotient_multiplier(sx: ArrayLike, sw: ArrayLike, sy: ArrayLike) -> Floats:
    """``fl(fl(sx*sw) / sy)``, float32, broadcast: what XNNPACK, ONNX Runtime and FBGEMM
    scale accumulators by."""
    sx, sw, sy = (np.asarray(s, dtype=np.float32) for s in (sx, sw, sy))
    return np.asarray((sx * sw) / sy, dtype=np.float32)


def fold_bias(bias: ArrayLike, weight: ArrayLike, zx: int) -> Ints:
    """``bias - zx * sum(w)`` per output channel: int64 (O,). weight: int8 (O, ...)."""
    weight = np.asarray(weight, dtype=np.int64)
    sums: Ints = weight.sum(axis=tuple(range(1, weight.ndim)))
    return np.asarray(bias, dtype=np.int64) - zx * sums


def _shift_right_rne(value: Ints, shift: Ints) -> Ints:
    """``value / 2**shift`` to the nearest integer, ties to even; value >= 0, 0 <= shift <= 61."""
    # Adding half less one carries into the result above a tie; an odd floor carries at a tie too.
    half = (np.int64(1) << shift) >> 1
    odd = value >> shift & 1
    rounded: Ints = (value + half - np.where(shift > 0, 1 - odd, 0)) >> shift
    return rounded


def _shift_right_away(value: Ints, shift: Ints | int) -> Ints:
    """``value / 2**shift`` to the nearest integer, ties away from zero; 0 <= shift <= 61, and not 0
    where value is negative."""
    # One less turns a tie of a negative value, which half would round up, to the other side.
    rounded: Ints = (value + ((np.int64(1) << shift) >> 1) - (value < 0)) >> shift
    return rounded


def _bit_length(value: Ints) -> Ints:
    """Bits of ``value``, 0 for 0; value >= 0."""
    for shift in (1, 2, 4, 8, 16, 32):
        value = value | value >> shift
    count: Ints = np.bitwise_count(value).astype(np.int64)
    return count


def requantize(
    acc: ArrayLike,
    multiplier: Floats,
    zero_point: ArrayLike,
    lo: ArrayLike,
    hi: ArrayLike,
    ties_away: bool = False,
) -> Ints:
    """``clamp(rne(f32(f32(acc) * multiplier)) + zero_point, lo, hi)``, computed in integers.

    acc: integers of magnitude up to 2**31. multiplier: float32, each positive and normal. All
    arrays broadcast; the result is int64. Three roundings, each to nearest with ties to even:
    the accumulator to 24 significant bits (only above 2**24), the product to 24 significant bits,
    the result to an integer; with ``ties_away`` ties of this last one go away from zero. A product
    beyond float32's range saturates.

    Raises TypeError if the multiplier is not float32 (its bits matter), ValueError if one is
    zero, negative, subnormal, infinite or NaN.
    """
    if np.asarray(multiplier).dtype != np.float32:
        raise TypeError("the multiplier must be float32")
    bits = np.asarray(multiplier).view(np.int32).astype(np.int64)
    exponent = bits >> _FRACTION_NBITS
    if np.any((exponent < 1) | (exponent > 254)):
        raise ValueError("every multiplier must be a positive normal float32")
    # multiplier == significand * 2**-point
    significand = bits & ((1 << _FRACTION_NBITS) - 1) | 1 << _FRACTION_NBITS
    point = _EXPONENT_BIAS + _FRACTION_NBITS - exponent

    round_last = _shift_right_away if ties_away else _shift_right_rne
    acc, zero_point = np.asarray(acc, dtype=np.int64), np.asarray(zero_point, dtype=np.int64)
    shape = np.broadcast_shapes(acc.shape, point.shape, zero_point.shape)
    shifted = np.empty(shape, dtype=np.int64)
    # The iterator broadcasts, and keeps every intermediate array small enough for the cache.
    with np.nditer(
        (acc, significand, point, zero_point, shifted),
        ["external_loop", "buffered", "zerosize_ok"],
        [["readonly"]] * 4 + [["writeonly"]],  # type: ignore[arg-type]  # the stub knows no lists
        buffersize=16384,
    ) as chunks:
        for a, s, p, z, out in chunks:
            # At most 2**31 * 2**24, so it fits; so does what rounding adds.
            product = _round_to_significand(_round_to_significand(np.abs(a)) * s)
            # Rounding away 57 bits or more leaves nothing of 2**55. Without a fraction (p <= 0)
            # the multiplier is 2**23 or more: every product but 0 lies far outside of the clamp.
            rounded = round_last(product, np.clip(p, 0, 57))
            out[...] = np.where(a < 0, -rounded, rounded) + z
    return np.clip(shifted, lo, hi)


def _round_to_significand(value: Ints) -> Ints:
    """``value`` to 24 significant bits, ties to even; 0 <= value <= 2**55."""
    if not np.any(value >> _SIGNIFICAND_NBITS):
        return value
    dropped = np.maximum(_bit_length(value) - _SIGNIFICAND_NBITS, 0)
    return _shift_right_rne(value, dropped) << dropped


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    zx: int,
    groups: int = 1,
) -> Ints:
    """Sums of a convolution (PyTorch's: a cross-correlation), without bias.

    x: integers (N, C, H, W), padded with ``zx``. w: integers (O, C / groups, kh, kw). stride: of
    rows and columns. padding: rows above, columns at the left, rows below, columns at the right.
    groups: the first C / groups channels make the first O / groups outputs, and so on. Returns
    int64 (N, O, (H + above + below - kh) // stride + 1, ... likewise for the width).
    """
    w = np.asarray(w, dtype=np.int64)
    x = pad2d(x, padding, zx)
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]
    sums = [
        np.tensordot(part, kernels, axes=((1, 4, 5), (1, 2, 3)))
        for part, kernels in zip(np.split(windows, groups, 1), np.split(w, groups), strict=True)
    ]
    return np.moveaxis(np.concatenate(sums, axis=3), 3, 1)


def pad2d(x: ArrayLike, padding: tuple[int, int, int, int], value: int) -> Ints:
    """x (N, C, H, W) with rows above, columns left, rows below and columns right of ``value``:
    int64."""
    above, left, below, right = padding
    sides = ((0, 0), (0, 0), (above, below), (left, right))
    return np.pad(np.asarray(x, dtype=np.int64), sides, constant_values=value)


def linear(x: ArrayLike, w: ArrayLike) -> Ints:
    """Sums of a fully connected layer, without bias: x (N, I), w (O, I) -> int64 (N, O)."""
    sums: Ints = np.asarray(x, dtype=np.int64) @ np.asarray(w, dtype=np.int64).T
    return sums


def max_pool2d(
    x: ArrayLike, window: tuple[int, int] = (2, 2), stride: tuple[int, int] = (2, 2)
) -> Ints:
    """Maximum of each window of rows and columns: (..., H, W) -> int64 (..., (H - rows) // stride +
    1, ... likewise for the width)."""
    windows = np.lib.stride_tricks.sliding_window_view(
        np.asarray(x, dtype=np.int64), window, axis=(-2, -1)
    )
    largest: Ints = windows[..., :: stride[0], :: stride[1], :, :].max(axis=(-2, -1))
    return largest


def pool_multiplier(sx: ArrayLike, sy: ArrayLike, area: int) -> Floats:
    """``fl(sx / fl(sy*area))``, float32: what QNNPACK, and ONNX Runtime's
    QLinearGlobalAveragePool, scale the sums of an average pool by."""
    scaled = np.asarray(sy, dtype=np.float32) * np.float32(area)
    return np.asarray(np.asarray(sx, dtype=np.float32) / scaled, dtype=np.float32)


def mean(
    sums: ArrayLike, area: int, sx: float, zx: int, sy: float, zy: int, signed: bool = True
) -> Ints:
    """The means of ``area`` bytes each, as XNNPACK makes them of their sums: with
    ``m = fl(fl(sx/sy) * fl(1/area))``, ``clamp(rne(fl(fl(sum * m) + fl(zy - fl(zx*area * m)))))``.

    sums: integers of magnitude up to 2**24. sx, zx, sy, zy: scales and zero points of the bytes and
    of the means. Returns int64.
    """
    m = np.float32(sx) / np.float32(sy) * (np.float32(1) / np.float32(area))
    shift = np.float32(zy) - np.float32(zx * area) * m
    means = np.rint(np.asarray(sums, dtype=np.int64).astype(np.float32) * m + shift)
    return np.clip(means, *output_range(signed, False, zy)).astype(np.int64)


def mean_multiplier(area: int) -> Floats:
    """The float32 two steps above ``fl(1 / area)``: with it :func:`requantize` makes the exact mean
    of each sum of ``area`` bytes, ties away from zero, up to an area of 4096.

    The product of a sum that lies at a tie rounds to what is beyond it, not to the tie itself; that
    of any other sum is moved by less than the ``1 / (2*area)`` that it is away from ties.
    """
    multiplier = np.float32(1) / np.float32(area)
    for _ in range(2):
        multiplier = np.nextafter(multiplier, np.float32(2))
    return np.asarray(multiplier, np.float32)


def add_multipliers(sa: float, sb: float, sy: float, nbits: int) -> tuple[int, int, int]:
    """Integer multipliers of two summands, and the shift that takes the sum of products to steps of
    the output: ``(ma, mb, shift)``.

    sa, sb, sy: float32 scales of the summands and the sum. ma is ``rne(fl(sa/sy) * 2**shift)``, mb
    likewise; shift is such that the larger one has ``nbits`` bits before it is rounded, which may
    carry: it is from ``2**(nbits-1)`` to ``2**nbits``.
    """
    ratios = [float(np.float32(s) / np.float32(sy)) for s in (sa, sb)]
    # A ratio in [2**e, 2**(e+1)): frexp's fraction is from one half on.
    shift = nbits - int(np.frexp(max(ratios))[1])
    ma, mb = (int(np.rint(np.ldexp(ratio, shift))) for ratio in ratios)
    return ma, mb, shift


def add(
    a: ArrayLike,
    b: ArrayLike,
    multipliers: tuple[int, int],
    constant: int,
    shift: int,
    ties_away: bool,
    zero_point: int,
    lo: int,
    hi: int,
) -> Ints:
    """``clamp(round((a*ma + b*mb + constant) / 2**shift) + zero_point, lo, hi)``, rounded once to
    nearest, ties away from zero or up.

    a, b: integers in [-128, 255], which broadcast. multipliers: below 2**23. constant: an int32,
    ``-(za*ma + zb*mb)`` for the summands' zero points. shift: 1 to 31. Returns int64.
    """
    ma, mb = multipliers
    total = np.asarray(a, np.int64) * ma + np.asarray(b, np.int64) * mb + constant
    half = np.int64(1) << (shift - 1)
    rounded = _shift_right_away(total, shift) if ties_away else (total + half) >> shift
    summed: Ints = np.clip(rounded + zero_point, lo, hi)
    return summed
