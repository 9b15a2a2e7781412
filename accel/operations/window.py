"""What kinds that look at windows of a feature map have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from accel.network.tensor import MAX_ELEMENTS, MAX_SIZE, Tensor, is_int, short
from accel.operations.operation import Operation

Pair = tuple[int, int]
"""Of rows and of columns."""
Sides = tuple[int, int, int, int]
"""Rows above, columns at the left, rows below, columns at the right."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Windowed(Operation):
    """Makes a pixel of its output of each window of its input.

    Raises :class:`AccelError` naming the layer and what is wrong.
    """

    WINDOW_OPTIONS: ClassVar = {"stride": list, "padding": list}

    input: Tensor
    stride: Pair = (1, 1)
    """From one window to the next."""
    padding: Sides = (0, 0, 0, 0)

    @property
    @abstractmethod
    def window(self) -> Pair:
        """Rows and columns of a window."""

    def _check_windows(self) -> None:
        for field, low, count in (("stride", 1, 2), ("padding", 0, 4)):
            values = getattr(self, field)
            self._require(
                isinstance(values, (tuple, list))
                and len(values) == count
                and all(is_int(v) and low <= v <= MAX_SIZE for v in values),
                f"{field} must be {count} whole numbers from {low} to {MAX_SIZE}, "
                f"not {short(values)}",
            )
            # What a file holds is a list.
            object.__setattr__(self, field, tuple(values))
        self._require(
            len(self.input.shape) == 3,
            f"its input must be a feature map, but has shape {self.input.shape}",
        )
        channels, height, width = self.input.shape
        above, left, below, right = self.padding
        padded = height + above + below, width + left + right
        self._require(
            channels * math.prod(padded) <= MAX_ELEMENTS,
            f"the padded input has more than {MAX_ELEMENTS} elements",
        )
        rows, columns = self.window
        self._require(
            padded[0] >= rows and padded[1] >= columns,
            f"nothing is left of an input of shape {self.input.shape} after windows of "
            f"{rows}x{columns}, padding {self.padding}",
        )

    def map_shape(self) -> Pair:
        """Rows and columns of the output."""
        return window_count(self.input.shape, self.window, self.stride, self.padding)


def window_count(shape: tuple[int, ...], window: Pair, stride: Pair, padding: Sides) -> Pair:
    """How many windows lie below and beside one another in a map of that shape."""
    above, left, below, right = padding
    rows = (shape[1] + above + below - window[0]) // stride[0] + 1
    return rows, (shape[2] + left + right - window[1]) // stride[1] + 1
