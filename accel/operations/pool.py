"""What maxima and averages share: they make a number of each window of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from accel.network.tensor import is_int, short
from accel.operations.window import Pair, Windowed


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool(Windowed):
    """Scale, zero point and sign stay, unless the kind says otherwise."""

    OPTIONS: ClassVar = {"size": list} | Windowed.WINDOW_OPTIONS

    size: Pair = (2, 2)
    """Rows and columns of a window."""
    stride: Pair = (2, 2)

    @property
    def window(self) -> Pair:
        return self.size

    def _check(self) -> None:
        self._require(
            isinstance(self.size, (tuple, list))
            and len(self.size) == 2
            and all(is_int(n) and n >= 1 for n in self.size),
            f"size must be 2 whole numbers from 1 on, not {short(self.size)}",
        )
        object.__setattr__(self, "size", tuple(self.size))
        self._check_windows()
        before, after = ((t.scale, t.zero_point, t.signed) for t in (self.input, self.output))
        self._require(
            before == after or self._may_rescale,
            "pooling keeps scale, zero point and sign, but its output is said to have others",
        )

    @property
    def _may_rescale(self) -> bool:
        return False

    def output_shape(self) -> tuple[int, ...]:
        return (self.input.shape[0], *self.map_shape())
