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
    """Real numbers to activations, as ``torch.quantize_per_tensor`` does it on x86.

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


def quantize_bias(bias: ArrayLike, sx: ArrayLike, sw: ArrayLike) -> NDArray[np.int32]:
    """``rne(fl(bias * fl(1 / fl(sx*sw))))``: as PyTorch packs the bias of a QNNPACK layer.

    bias: float32 (O,). sx: the input's scale. sw: float32 (1,) or (O,). Saturates at int32.
    """
    scale = np.asarray(sx, dtype=np.float32) * np.asarray(sw, dtype=np.float32)
    with np.errstate(over="ignore"):
        return _int32(np.asarray(bias, dtype=np.float32) * _reciprocal(scale))


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


def _bit_length(value: Ints) -> Ints:
    """Bits of ``value``, 0 for 0; value >= 0."""
    for shift in (1, 2, 4, 8, 16, 32):
        value = value | value >> shift
    count: Ints = np.bitwise_count(value).astype(np.int64)
    return count


def requantize(
    acc: ArrayLike, multiplier: Floats, zero_point: ArrayLike, lo: ArrayLike, hi: ArrayLike
) -> Ints:
    """``clamp(rne(f32(f32(acc) * multiplier)) + zero_point, lo, hi)``, computed in integers.

    acc: integers of magnitude up to 2**31. multiplier: float32, each positive and normal. All
    arguments broadcast; the result is int64. Three roundings, each to nearest with ties to even:
    the accumulator to 24 significant bits (only above 2**24), the product to 24 significant bits,
    the result to an integer. A product beyond float32's range saturates.

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
            rounded = _shift_right_rne(product, np.clip(p, 0, 57))
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
