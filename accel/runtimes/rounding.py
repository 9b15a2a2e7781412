"""How a runtime gets from scales to the integers that it computes with."""

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
    bias: Callable[[Any, Any, Any], NDArray[np.int32]]
    """From a float32 bias and the scales of input and weights: the integer bias."""
    add: AddRounding
    exact_averages: bool = False
    """An average is that of the bytes as they are, whatever their zero point, and ties go away from
    zero; else sums less the zero point are scaled by :func:`accel.numerics.pool_multiplier`."""


QNNPACK = Rounding(
    name="qnnpack",
    multiplier=numerics.qnnpack_multiplier,
    bias=numerics.quantize_bias,
    add=AddRounding(nbits=22, ties_away=True, least_ratio=2.0**-14),
)
"""PyTorch's kernels on the engine QNNPACK."""

XNNPACK = Rounding(
    name="xnnpack",
    multiplier=numerics.quotient_multiplier,
    bias=numerics.quantize_bias,
    add=AddRounding(nbits=21, ties_away=False, least_ratio=2.0**-10),
)
"""XNNPACK, as ExecuTorch calls it with one weight scale for each output channel."""

ROUNDINGS = {rounding.name: rounding for rounding in (QNNPACK, XNNPACK)}
