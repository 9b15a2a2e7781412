"""What ExecuTorch makes of functions of one value, which XNNPACK computes with real numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from accel import numerics
from accel.errors import AccelError
from accel.network.tensor import Tensor
from accel.runtimes.qnnpack import FLOAT

Interval = tuple[float, float]

APPROXIMATED: Mapping[str, Interval] = {
    "sigmoid": (-np.inf, np.inf),
    "tanh": (-np.inf, np.inf),
    "silu": (-np.inf, np.inf),
    "gelu": (-np.inf, np.inf),
    "elu": (-np.inf, 0.0),
    "hardsigmoid": (-3.0, 3.0),
}
"""Functions whose last bits in float32 depend on how they are computed, and between which values;
elsewhere, and of those that are not here, all 32 bits are known."""
_LIMITS = ("relu", "relu6", "hardtanh")
_ERROR = 4 * 2.0**-24
"""Bound of that, a relative error: of the larger of value and argument."""


def function_entries(
    function: str, arguments: tuple[float, ...], before: Tensor, after: Tensor
) -> NDArray[np.int8]:
    """What ExecuTorch makes of each int8 of ``before``, the least first: int8 (256,).

    function: one of :data:`accel.operations.table.FUNCTIONS` that is PyTorch's.

    A function's float32 becomes int8 by :func:`accel.numerics.reciprocal_quantize`; a limit alone,
    which XNNPACK looks up as this hardware does, by :func:`accel.numerics.shifted_quantize`.

    Raises :class:`AccelError` if a value lies so near a tie that it depends on how XNNPACK
    approximates the function.
    """
    lo, hi = before.limits
    scale = torch.tensor(before.scale, dtype=torch.float32)
    x = (torch.arange(lo, hi + 1) - before.zero_point).float() * scale
    if function == "hardswish":
        return _hardswish(x.numpy(), after)
    y = FLOAT[function](x, *arguments).numpy()
    if function in APPROXIMATED:
        _require_no_tie(function, arguments, x, after)
    return _rounded(y, after, function in _LIMITS)


def _rounded(y: NDArray[np.float32], after: Tensor, limit: bool = False) -> NDArray[np.int8]:
    quantize = numerics.shifted_quantize if limit else numerics.reciprocal_quantize
    return quantize(y, after.scale, after.zero_point, after.signed).astype(np.int8)


def _hardswish(x: NDArray[np.float32], after: Tensor) -> NDArray[np.int8]:
    """``fl(x * clamp(fl(x * fl(1/6) + 1/2), 0, 1))``, whether a processor rounds the product in
    there too or not."""
    sixth = np.float32(1 / 6)
    inner = (x * sixth + np.float32(0.5), (x * np.float64(sixth) + 0.5).astype(np.float32))
    found, fused = (_rounded(x * part.clip(0, 1), after) for part in inner)
    if (found != fused).any():
        i = int(np.argmax(found != fused))
        raise AccelError(
            f"hardswish of {x[i]:.6g} is so near a tie that the byte depends on the processor that "
            f"ExecuTorch runs on; another scale would do"
        )
    return found


def _require_no_tie(
    function: str, arguments: tuple[float, ...], x: torch.Tensor, after: Tensor
) -> None:
    scale = np.float32(after.scale)
    values = x.double().numpy()
    steps = FLOAT[function](x.double(), *arguments).numpy() / scale
    error = _ERROR * np.maximum(np.maximum(np.abs(values), 1.0) / scale, np.abs(steps))
    (low, high), (least, most) = APPROXIMATED[function], after.limits
    matters = (values > low) & (values < high)
    matters &= (steps + after.zero_point > least - 1) & (steps + after.zero_point < most + 1)
    near = matters & (np.abs(steps - np.floor(steps) - 0.5) < error)
    if near.any():
        i = int(np.argmax(near))
        raise AccelError(
            f"{function} of {values[i]:.6g} is {steps[i]:.6f} steps of its output, so near a tie "
            f"that the byte depends on how XNNPACK approximates it; another scale would do"
        )
