"""What is known of an activation tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel import numerics
from accel.errors import AccelError

MAX_SIZE = 1 << 16
"""Of each dimension of a tensor, and of stride and padding."""
MAX_ELEMENTS = 1 << 24
"""Of a tensor, padding included."""
MAX_NAME = 100
"""Characters of a name."""

# Between these, a float32 and its reciprocal are both normal.
MIN_SCALE, MAX_SCALE = 2.0**-126, 2.0**126


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An activation tensor: its integer q stands for (q - zero_point) * scale.

    Raises :class:`AccelError` naming what is wrong.
    """

    name: str
    shape: tuple[int, ...]
    """(channels, height, width) or (features,)."""
    scale: float
    """A float32 value."""
    zero_point: int
    signed: bool
    """Integers are in [-128, 127]; else in [0, 255]."""

    def __post_init__(self) -> None:
        require(is_name(self.name), f"a tensor's name must be {NAME}, not {short(self.name)}")
        sizes_fit = all(is_int(size) and 1 <= size <= MAX_SIZE for size in self.shape)
        require(
            len(self.shape) in (1, 3) and sizes_fit and math.prod(self.shape) <= MAX_ELEMENTS,
            f"a tensor's shape must be (channels, height, width) or (features,), each from 1 to "
            f"{MAX_SIZE} and {MAX_ELEMENTS} in all, not {short(self.shape)}",
        )
        require(
            isinstance(self.scale, float)
            and MIN_SCALE <= self.scale <= MAX_SCALE
            and float(np.float32(self.scale)) == self.scale,
            f"a tensor's scale must be a positive normal float32, not {short(self.scale)}",
        )
        require(isinstance(self.signed, bool), f"signed must be true or false, not {self.signed!r}")
        lo, hi = self.limits
        require(
            is_int(self.zero_point) and lo <= self.zero_point <= hi,
            f"a tensor's zero point must be a whole number from {lo} to {hi}, "
            f"not {short(self.zero_point)}",
        )

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer that an element can be."""
        return numerics.output_range(self.signed, False, 0)

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


NAME = f"1 to {MAX_NAME} printable characters"


def require(condition: bool, message: str) -> None:
    """Raises :class:`AccelError` unless ``condition``."""
    if not condition:
        raise AccelError(message)


def is_int(value: Any) -> bool:
    """A whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and 1 <= len(value) <= MAX_NAME


def short(value: Any) -> str:
    """For a message: what a file holds may be long, or control a terminal."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
