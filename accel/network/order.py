"""The order in which feature maps come and go. Within, in operations and hardware, channels come
first."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Order(Enum):
    """Of the elements of a feature map; a vector has but one."""

    CHANNELS_FIRST = "channels first"
    """Channels, rows, columns: PyTorch's."""
    CHANNELS_LAST = "channels last"
    """Rows, columns, channels: TensorFlow's."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """How a tensor of that shape, channels first, looks from outside."""
        if self is Order.CHANNELS_FIRST or len(shape) != 3:
            return shape
        channels, *rest = shape
        return (*rest, channels)

    def outward(self, x: NDArray[Any]) -> NDArray[Any]:
        """Tensors (N, *shape) as they look from outside."""
        return np.moveaxis(x, 1, 3) if self._moves(x) else x

    def inward(self, x: NDArray[Any]) -> NDArray[Any]:
        """Tensors from outside, channels first."""
        return np.moveaxis(x, 3, 1) if self._moves(x) else x

    def _moves(self, x: NDArray[Any]) -> bool:
        return self is Order.CHANNELS_LAST and x.ndim == 4
