"""How a runtime gets from real numbers and scales to the integers that it computes with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel import numerics


@dataclass(frozen=True, kw_only=True)
class AddRounding:
    """How two tensors are added: each is multiplied by an integer, and their exact sum rounded
    once (:func:`accel.numerics.add`)."""

    nbits: int
    """Of the larger multiplier (:func:`accel.numerics.add_multipliers`)."""
    ties_away: bool
    """Ties go away from zero; else up."""
    least_ratio: float
    """The least scale of a summand, in scales of the sum, that the runtime takes."""


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """The choices in which runtimes differ whose outputs are otherwise
    ``clamp(rne(f32(f32(acc) * multiplier)) + zero_point)``. A network carries one."""

    name: str
    multiplier: Callable[[Any, Any, Any], NDArray[np.float32]]
    """From the scales of input, weights and output: what accumulators are scaled by."""
    bias: Callable[[Any, Any, Any], NDArray[np.int32]] | None
    """From a float32 bias and the scales of input and weights: the integer bias. None if it takes
    integer biases only."""
    takes_integer_bias: bool
    """Whether a layer may come with an int32 bias, at the product of these two scales."""
    pools_rescale: bool
    """Whether the output of an average pool may have another scale and zero point than its
    input."""
    concat_rescales: bool
    """Whether tensors that are joined may have other scales and zero points than the output. Their
    elements are real numbers in between."""
    quantize: Callable[[Any, Any, int, bool], NDArray[np.int64]]
    """From real numbers, a scale, a zero point and whether integers are signed: integers."""
    add: AddRounding | None
    """None if it adds in another way."""
    exact_averages: bool = False
    """An average is that of the bytes as they are, whatever their zero point, and ties go away from
    zero; else sums less the zero point are scaled by :func:`accel.numerics.pool_multiplier`."""


QNNPACK = Rounding(
    name="qnnpack",
    multiplier=numerics.qnnpack_multiplier,
    bias=numerics.quantize_bias,
    add=AddRounding(nbits=22, ties_away=True, least_ratio=2.0**-14),
    takes_integer_bias=False,
    pools_rescale=False,
    concat_rescales=True,
    quantize=numerics.quantize,
)
"""PyTorch's kernels on the engine QNNPACK."""

XNNPACK = Rounding(
    name="xnnpack",
    multiplier=numerics.quotient_multiplier,
    bias=numerics.quantize_bias,
    add=AddRounding(nbits=21, ties_away=False, least_ratio=2.0**-10),
    takes_integer_bias=True,
    pools_rescale=False,
    concat_rescales=False,
    quantize=numerics.reciprocal_quantize,
)
"""XNNPACK, as ExecuTorch calls it with one weight scale for each output channel."""

ONNXRUNTIME = Rounding(
    name="onnxruntime",
    multiplier=numerics.quotient_multiplier,
    bias=numerics.quotient_bias,
    takes_integer_bias=True,
    pools_rescale=True,
    concat_rescales=True,
    quantize=numerics.quotient_quantize,
    add=None,
)
"""ONNX Runtime's kernels on a CPU: QLinearConv, QGemm, QLinearMatMul, QLinearGlobalAveragePool."""

LITERT = Rounding(
    name="litert",
    multiplier=numerics.quotient_multiplier,
    bias=None,
    takes_integer_bias=True,
    pools_rescale=False,
    concat_rescales=False,
    quantize=numerics.reciprocal_quantize,
    add=XNNPACK.add,
    exact_averages=True,
)
"""LiteRT's kernels with its XNNPACK delegate."""

ROUNDINGS = {r.name: r for r in (QNNPACK, XNNPACK, ONNXRUNTIME, LITERT)}
