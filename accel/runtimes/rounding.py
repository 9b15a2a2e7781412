"""How a runtime gets from real numbers and scales to the integers that it computes with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel import numerics


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
    quantize: Callable[[Any, Any, int, bool], NDArray[np.int64]]
    """From real numbers, a scale, a zero point and whether integers are signed: integers."""


QNNPACK = Rounding(
    name="qnnpack",
    multiplier=numerics.qnnpack_multiplier,
    bias=numerics.quantize_bias,
    takes_integer_bias=False,
    pools_rescale=False,
    quantize=numerics.quantize,
)
"""PyTorch's kernels on the engine QNNPACK."""

XNNPACK = Rounding(
    name="xnnpack",
    multiplier=numerics.quotient_multiplier,
    bias=numerics.quantize_bias,
    takes_integer_bias=True,
    pools_rescale=False,
    quantize=numerics.quantize,
)
"""XNNPACK, as ExecuTorch calls it with one weight scale for each output channel."""

ONNXRUNTIME = Rounding(
    name="onnxruntime",
    multiplier=numerics.quotient_multiplier,
    bias=numerics.quotient_bias,
    takes_integer_bias=True,
    pools_rescale=True,
    quantize=numerics.quotient_quantize,
)
"""ONNX Runtime's kernels on a CPU: QLinearConv, QGemm, QLinearMatMul, QLinearGlobalAveragePool."""

ROUNDINGS = {rounding.name: rounding for rounding in (QNNPACK, XNNPACK, ONNXRUNTIME)}
