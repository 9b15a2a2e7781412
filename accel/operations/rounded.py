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

    OPTIONS: ClassVar[Mapping[str, type]] = {"relu": bool, "smallest": int, "largest": int}

    relu: bool
    smallest: int = -128
    """What is smaller becomes this; if it is not the 8-bit type's end, or ReLU's, anyway."""
    largest: int = 255
    """What is larger becomes this, as after ReLU6; if it is not the 8-bit type's end anyway."""
    rounding: Rounding = QNNPACK
    """How the integers that it computes with follow from the scales."""

    def _check_range(self) -> None:
        self._require_bool("relu")
        least, most = -128, 255
        for field in ("smallest", "largest"):
            value = getattr(self, field)
            self._require(
                is_int(value) and least <= value <= most,
                f"{field} must be a whole number from {least} to {most}, not {short(value)}",
            )
        lo, hi = self.output_range
        self._require(
            lo <= hi, f"its smallest output must not be above its largest: {lo} is above {hi}"
        )

    @property
    def output_range(self) -> tuple[int, int]:
        """The smallest and the largest output: ReLU's smallest is the zero point."""
        lo, hi = numerics.output_range(self.output.signed, self.relu, self.output.zero_point)
        return max(lo, self.smallest), min(hi, self.largest)
