"""The sum of two tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Addition, Convolution
from accel.network.tensor import Tensor
from accel.operations.operation import Integers, Kernel, Readers
from accel.operations.rounded import Rounded
from accel.runtimes.rounding import AddRounding

RATIO_END = 2.0**8
"""Of a summand's scale to the sum's: the kernels take less."""
LARGER_RATIO = 2.0**-10
"""The larger of the two must be at least this: with less, every sum rounds to zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Add(Rounded):
    """Two tensors of the same shape, element by element, with the ReLU that follows.

    Raises :class:`AccelError` naming the layer and what is wrong: shapes, or scales too far from
    that of the sum.
    """

    KIND: ClassVar = "add"
    INPUTS: ClassVar = ("input", "other")

    input: Tensor
    other: Tensor

    def _check(self) -> None:
        self._check_range()
        lo, hi = numerics.output_range(self.output.signed, self.relu, self.output.zero_point)
        self._require(lo < hi, f"with a ReLU from {lo} on every sum is {hi}, the largest there is")
        self._require(
            self.input.shape == self.other.shape,
            f"it adds tensors of one shape, not of {self.input.shape} and {self.other.shape}",
        )
        ratios = [np.float32(t.scale) / np.float32(self.output.scale) for t in self.inputs]
        rounding, least = self.rounding.name, self.how.least_ratio
        for tensor, ratio in zip(self.inputs, ratios, strict=True):
            self._require(
                bool(least <= ratio < RATIO_END),
                f"the scale of '{tensor.name}' is {ratio:.6g} times that of the sum, but "
                f"{rounding} adds from {least:.6g} to less than {RATIO_END:.0f} times",
            )
        self._require(
            bool(max(ratios) >= LARGER_RATIO),
            f"the scale of the sum is so large that every sum is zero: the larger scale of what it "
            f"adds must be at least {LARGER_RATIO:.6g} times it, not {max(ratios):.6g}",
        )

    @property
    def how(self) -> AddRounding:
        """What its rounding says of sums."""
        if self.rounding.add is None:
            self._fail(f"{self.rounding.name} adds in a way that this does not know")
        return self.rounding.add

    def output_shape(self) -> tuple[int, ...]:
        return self.input.shape

    @cached_property
    def _scaling(self) -> tuple[int, int, int]:
        a, b = self.inputs
        nbits = self.how.nbits
        return numerics.add_multipliers(a.scale, b.scale, self.output.scale, nbits)

    @property
    def multipliers(self) -> tuple[int, int]:
        """Of the two tensors."""
        return self._scaling[:2]

    @property
    def shift(self) -> int:
        """Bits that are rounded away of the sum of products."""
        return self._scaling[2]

    @property
    def constant(self) -> int:
        """What takes the zero points out of the sum of products."""
        a, b = self.inputs
        ma, mb = self.multipliers
        return -(a.zero_point * ma + b.zero_point * mb)

    def integers(self, *values: Integers) -> NDArray[np.int64]:
        a, b = values
        return numerics.add(
            a,
            b,
            self.multipliers,
            self.constant,
            self.shift,
            self.how.ties_away,
            self.output.zero_point,
            *self.output_range,
        )

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        ops, after = qnnpack.ops(), self.output
        run = ops.add_relu if self.relu else ops.add

        def kernel(x: Integers, y: Integers) -> Integers:
            qx, qy = (qnnpack.quantized(v, t) for v, t in zip((x, y), self.inputs, strict=True))
            qz = run(qx, qy, after.scale, after.zero_point + qnnpack.shift(after))
            return np.clip(qnnpack.integers(qz, after), *self.output_range)

        return kernel

    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        """What the layer before computes gets the other tensor added, if nothing else needs it;
        else a copy of one tensor does."""
        before = layers[-1] if layers else None
        if before is not None and self._ends(before, readers):
            layers[-1] = replace(before, target=self.output, addition=self._addition(before.target))
            return
        copy = Convolution.of_ones(self, self.input, (1, 1), 1, self.input.zero_point)
        layers.append(replace(copy, addition=self._addition(self.input)))

    def _ends(self, before: Convolution, readers: Readers) -> bool:
        """One of the two is what the layer before makes, of all input channels together: where a
        vector has few channels, reading what is added to each would take longer than a copy."""
        return (
            before.target in self.inputs
            and self.input != self.other
            and before.addition is None
            and before.groups == 1
            and readers[before.target.name] == (self,)
        )

    def _addition(self, own: Tensor) -> Addition:
        """own: of the two tensors the one that is requantized last."""
        is_first = own == self.input
        return Addition(
            operand=self.other if is_first else self.input,
            multipliers=self.multipliers if is_first else self.multipliers[::-1],
            constant=self.constant,
            shift=self.shift,
            ties_away=self.how.ties_away,
            zero_point=self.output.zero_point,
            output_range=self.output_range,
        )
