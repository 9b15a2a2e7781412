"""What convolutions and linear layers share: weights, biases, and sums that are requantized."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution
from accel.network.tensor import MAX_SCALE, MIN_SCALE, Tensor
from accel.operations.operation import Integers, Readers
from accel.operations.rounded import Rounded


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighted(Rounded):
    """Sums of products of activations and weights, with the ReLU that follows.

    Raises :class:`AccelError` naming the layer and what is wrong: a type, a shape, a scale, or
    arithmetic that would not be exact.
    """

    ARRAYS: ClassVar[Mapping[str, Any]] = {
        "weight": np.int8,
        "weight_scale": np.float32,
        "bias": (np.float32, np.int32),
    }
    WEIGHT_DIMENSIONS: ClassVar[int] = 2

    input: Tensor
    weight: NDArray[np.int8]
    """(outputs, inputs, ...): the output channels first."""
    weight_scale: NDArray[np.float32]
    """(1,), or one for each output channel."""
    bias: NDArray[np.float32] | NDArray[np.int32]
    """(outputs,). float32: as the float model has it; the integer bias follows from the scales.
    int32: the integer bias itself, where that is what there is."""

    @abstractmethod
    def sums(self, x: Integers) -> NDArray[np.int64]:
        """Sums of products (N, *output.shape), without bias, of integers (N, *input.shape)."""

    @abstractmethod
    def convolution(self) -> Convolution:
        """What the array computes."""

    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        layers.append(self.convolution())

    def integers(self, *values: Integers) -> NDArray[np.int64]:
        (x,) = values
        channel: Any = (slice(None), *(None,) * (len(self.output.shape) - 1))
        acc = self.sums(x) + self.folded_bias[channel]
        multiplier, zero_point = self.multiplier[channel], self.output.zero_point
        return numerics.requantize(acc, multiplier, zero_point, *self.output_range)

    def _check(self) -> None:
        for field, ndim in (("weight", self.WEIGHT_DIMENSIONS), ("weight_scale", 1), ("bias", 1)):
            self._require_array(field, ndim)
        outputs = self.weight.shape[0]
        self._require(
            self.weight_scale.shape in ((1,), (outputs,)) and self.bias.shape == (outputs,),
            f"bias and weight_scale must have {outputs} elements, one for each output channel of "
            f"weight (weight_scale may have 1), not {self.bias.size} and {self.weight_scale.size}",
        )
        self._check_range()
        self._check_input()
        self._check_arithmetic()

    @abstractmethod
    def _check_input(self) -> None:
        """What must hold of the input for these weights."""

    def _check_arithmetic(self) -> None:
        """Everything on the way is what a float32 or an int32 holds, so that kernels and
        hardware agree."""
        is_integer, rounding = self.bias.dtype == np.int32, self.rounding
        self._require(
            rounding.takes_integer_bias if is_integer else rounding.bias is not None,
            f"bias must be an array of {'float32' if is_integer else 'int32'}, of which "
            f"{rounding.name} makes its integers",
        )
        self._require(bool(np.all(np.isfinite(self.bias))), "bias must be finite")
        with np.errstate(all="ignore"):
            bias_scale = np.float32(self.input.scale) * self.weight_scale
            multiplier = self.multiplier
        for name, values in (
            ("weight_scale", self.weight_scale),
            ("the product of input scale and weight_scale", bias_scale),
            ("the multiplier that follows from the scales", multiplier),
        ):
            self._require(
                bool(np.all((values >= MIN_SCALE) & (values <= MAX_SCALE))),
                f"{name} must be a positive normal float32",
            )
        limit = numerics.INT32_MAX
        largest = int(self.accumulator_bound.max())
        self._require(
            largest <= limit,
            f"an accumulator can reach {largest}, {largest - limit} more than 32 bits hold",
        )
        # x86 kernels turn what is beyond 32 bits into the smallest integer, not the largest.
        scaled = float(np.max(self.accumulator_bound * self.multiplier.astype(np.float64)))
        self._require(
            scaled < limit,
            f"the output scale {self.output.scale:.6g} is so small that an output can reach "
            f"{scaled:.3g} steps before it saturates, more than 32 bits hold",
        )

    @cached_property
    def bias_q(self) -> NDArray[np.int32]:
        """The integer bias at scale input.scale * weight_scale: int32 (outputs,)."""
        if self.bias.dtype == np.int32:
            return self.bias.astype(np.int32)
        assert self.rounding.bias is not None
        return self.rounding.bias(self.bias, self.input.scale, self.weight_scale)

    @cached_property
    def folded_bias(self) -> NDArray[np.int64]:
        """``bias_q`` less what the input's zero point adds to the sums: int64 (outputs,)."""
        return numerics.fold_bias(self.bias_q, self.weight, self.input.zero_point)

    @cached_property
    def multiplier(self) -> NDArray[np.float32]:
        """From accumulators to steps of the output: float32 (outputs,)."""
        scales = np.broadcast_to(self.weight_scale, self.bias.shape)
        return self.rounding.multiplier(self.input.scale, scales, self.output.scale)

    @cached_property
    def accumulator_bound(self) -> NDArray[np.int64]:
        """The largest magnitude of an accumulator, whatever the input, at any point of the
        summation: sum(|w|) * max|x| + |folded_bias|, int64 (outputs,)."""
        largest = max(abs(limit) for limit in self.input.limits)
        magnitudes = np.abs(self.weight.astype(np.int64)).reshape(len(self.bias), -1).sum(axis=1)
        bound: NDArray[np.int64] = magnitudes * largest + np.abs(self.folded_bias)
        return bound

    @property
    def num_parameters(self) -> int:
        return self.weight.size + self.bias.size
