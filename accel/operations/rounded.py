"""What kinds that round to a scale of their output have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from accel import numerics
from accel.network.tensor import is_int, short
from accel.operations.operation import Operation
from accel.runtimes.rounding import QNNPACK, Rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Rounded(Operation):
    """With the ReLU that follows.

    Raises :class:`AccelError` naming the layer and what is wrong.
    """

    OPTIONS: ClassVar[Mapping[str, type]] = {"relu": bool, "largest": int}

    relu: bool
    largest: int = 255
    """What is larger becomes this, as after ReLU6; if it is not the 8-bit type's end anyway."""
    rounding: Rounding = QNNPACK
    """How the integers that it computes with follow from the scales."""

    def _check_range(self) -> None:
        self._require_bool("relu")
        least, most = self.output.zero_point if self.relu else self.output.limits[0], 255
        self._require(
            is_int(self.largest) and least <= self.largest <= most,
            f"largest must be a whole number from {least} to {most}, not {short(self.largest)}",
        )

    @property
    def output_range(self) -> tuple[int, int]:
        """The smallest and the largest output: ReLU's smallest is the zero point."""
        lo, hi = numerics.output_range(self.output.signed, self.relu, self.output.zero_point)
        return lo, min(hi, self.largest)
