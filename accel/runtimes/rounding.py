"""How a runtime gets from scales to the integers that it computes with."""

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
    bias: Callable[[Any, Any, Any], NDArray[np.int32]]
    """From a float32 bias and the scales of input and weights: the integer bias."""


QNNPACK = Rounding(
    name="qnnpack", multiplier=numerics.qnnpack_multiplier, bias=numerics.quantize_bias
)
"""PyTorch's kernels on the engine QNNPACK."""

XNNPACK = Rounding(
    name="xnnpack", multiplier=numerics.quotient_multiplier, bias=numerics.quantize_bias
)
"""XNNPACK, as ExecuTorch calls it with one weight scale for each output channel."""

ROUNDINGS = {rounding.name: rounding for rounding in (QNNPACK, XNNPACK)}
