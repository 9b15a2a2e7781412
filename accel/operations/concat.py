"""Tensors behind one another, channel after channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.compiler.convolution import Convolution, Lookup, Within
from accel.network.tensor import MAX_NAME, MAX_SCALE, MIN_SCALE, Tensor
from accel.operations.operation import Integers, Kernel, Operation, Readers
from accel.runtimes.rounding import QNNPACK, Rounding

TRIED = 64
"""Multipliers that are tried, about the quotient of the scales."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Operation):
    """The channels of several maps of one size, or the elements of several vectors. Where the
    runtime allows that, they have other scales than the output, to which they are rounded.

    Raises :class:`AccelError` naming the layer and what is wrong.
    """

    KIND: ClassVar = "concat"
    INPUTS: ClassVar = ("parts",)
    MANY_INPUTS: ClassVar = True

    parts: tuple[Tensor, ...]
    rounding: Rounding = QNNPACK

    def _check(self) -> None:
        self._require(len(self.parts) >= 2, "it must join at least two tensors")
        first = self.parts[0]
        for part in self.parts:
            self._require(
                len(part.shape) == len(first.shape) and part.shape[1:] == first.shape[1:],
                f"it joins tensors of shapes {first.shape} and {part.shape}, which must differ in "
                f"their channels only",
            )
            self._require(
                part.signed == self.output.signed,
                f"tensor '{part.name}' must be signed as its output is",
            )
            self._require(
                self._is_at_scale(part) or self.rounding.concat_rescales,
                f"tensor '{part.name}' has scale {part.scale:.6g} and zero point "
                f"{part.zero_point}, but {self.rounding.name} joins only tensors of the output's, "
                f"which are {self.output.scale:.6g} and {self.output.zero_point}",
            )
            ratio = float(self._ratio(part))
            self._require(
                2 * MIN_SCALE <= ratio <= MAX_SCALE / 2,
                f"the scale of tensor '{part.name}' is {ratio:.6g} times that of the output",
            )

    def output_shape(self) -> tuple[int, ...]:
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    def _is_at_scale(self, part: Tensor) -> bool:
        after = self.output
        return (part.scale, part.zero_point) == (after.scale, after.zero_point)

    def _ratio(self, part: Tensor) -> np.float32:
        return np.float32(part.scale) / np.float32(self.output.scale)

    def rescaled(self, part: Tensor, x: Integers) -> NDArray[np.int64]:
        """Elements of a part as those of the output: dequantized, and quantized anew."""
        if self._is_at_scale(part):
            return np.asarray(x, np.int64)
        after = self.output
        real = (np.asarray(x) - part.zero_point).astype(np.float32) * np.float32(part.scale)
        return self.rounding.quantize(real, after.scale, after.zero_point, after.signed)

    def integers(self, *values: Integers) -> NDArray[np.int64]:
        parts = zip(self.parts, values, strict=True)
        return np.concatenate([self.rescaled(part, x) for part, x in parts], axis=1)

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        after, run = self.output, qnnpack.ops().cat
        # How real numbers become integers differs between versions of PyTorch: up to 2.13 it does
        # it as we do.
        rescales = not qnnpack.quantizes_as_we_do()

        def kernel(*values: Integers) -> Integers:
            parts = [
                qnnpack.quantized(self.rescaled(part, x), replace(after, shape=part.shape))
                if rescales
                else qnnpack.quantized(x, part)
                for x, part in zip(values, self.parts, strict=True)
            ]
            qy = run(parts, 1, after.scale, after.zero_point + qnnpack.shift(after))
            return qnnpack.integers(qy, after)

        return kernel

    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        """Layers write their outputs where they belong among the others. What cannot lie there is
        copied: the image, what belongs to two places, and what has another scale."""
        channel, placed = 0, set()
        for number, part in enumerate(self.parts):
            within = Within(whole=self.output, first_channel=channel)
            makers = [i for i, layer in enumerate(layers) if layer.ends_in(part)]
            if makers and self._is_at_scale(part) and part.name not in placed:
                for i in makers:
                    layers[i] = replace(layers[i], within=(*layers[i].within, within))
                placed.add(part.name)
            else:
                layers.append(self._copy(number, part, within))
            channel += part.shape[0]
        if not readers[self.output.name]:
            # The last layer's outputs are results, in the order in which it yields them.
            whole = self.output
            layers.append(Convolution.of_ones(self, whole, (1, 1), 1, whole.zero_point))

    def _copy(self, number: int, part: Tensor, within: Within) -> Convolution:
        """Requantized to the output's scale; where no multiplier does that, by a table."""
        suffix, multiplier = f".{number + 1}", self.multiplier(part)
        target = replace(
            self.output, name=self.output.name[: MAX_NAME - len(suffix)] + suffix, shape=part.shape
        )
        if multiplier is None:
            copy = Convolution.of_ones(self, part, (1, 1), 1, part.zero_point)
            least, largest = part.limits
            entries = self.rescaled(part, np.arange(least, largest + 1))
            lookup = Lookup(entries=entries, least=least, signed=self.output.signed)
            return replace(
                copy, name=self.name + suffix, target=target, within=(within,), lookup=lookup
            )
        copy = Convolution.of_ones(self, part, (1, 1), multiplier, part.zero_point)
        return replace(
            copy,
            name=self.name + suffix,
            target=target,
            within=(within,),
            zero_point=self.output.zero_point,
            output_range=self.output.limits,
        )

    def multiplier(self, part: Tensor) -> np.float32 | None:
        """With which :func:`accel.numerics.requantize` makes of every element what
        :meth:`rescaled` makes of it; None if none was found."""
        lo, hi = part.limits
        x = np.arange(lo, hi + 1)
        wanted = self.rescaled(part, x)
        for multiplier in self._candidates(part):
            found = numerics.requantize(
                x - part.zero_point,
                np.array([multiplier]),
                self.output.zero_point,
                *self.output.limits,
            )
            if np.array_equal(found, wanted):
                return multiplier
        return None

    def _candidates(self, part: Tensor) -> Iterator[np.float32]:
        """The quotient of the scales, and its neighbours, the nearest first."""
        middle = self._ratio(part).view(np.int32)
        for distance in range(TRIED // 2):
            for bits in {middle + distance, middle - distance}:
                yield np.int32(bits).view(np.float32)
