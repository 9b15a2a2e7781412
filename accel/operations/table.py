"""A function of one value, as a table of what it is for each byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accel.compiler.convolution import Convolution, Lookup
from accel.hardware.config import TABLE_SIZE
from accel.network.tensor import Tensor, short
from accel.operations.operation import Integers, Kernel, Operation, Readers

FUNCTIONS: Mapping[str, int] = {
    "requantize": 0,
    "relu": 0,
    "relu6": 0,
    "sigmoid": 0,
    "tanh": 0,
    "hardsigmoid": 0,
    "hardswish": 0,
    "silu": 0,
    "mish": 0,
    "gelu": 0,
    "gelu_tanh": 0,
    "selu": 0,
    "elu": 1,
    "leaky_relu": 1,
    "hard_sigmoid": 2,
    "hardtanh": 2,
    "softplus": 2,
    "quantized.sigmoid": 0,
    "quantized.tanh": 0,
    "quantized.hardsigmoid": 0,
    "quantized.hardswish": 0,
    "quantized.elu": 1,
    "quantized.leaky_relu": 1,
}
"""Names of functions, and how many numbers each takes besides the value. Those of PyTorch's
``torch.nn.functional`` are of real numbers, which are dequantized before and quantized after, as
``requantize`` alone does; ``quantized.`` are its kernels for quantized tensors. A runtime that
computes one of them otherwise says so by the entries."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Operation):
    """Replaces each value by what the table has for it.

    Raises :class:`AccelError` naming the layer and what is wrong.
    """

    KIND: ClassVar = "table"
    OPTIONS: ClassVar = {"function": str, "arguments": list}
    ARRAYS: ClassVar = {"entries": (np.uint8, np.int8)}

    input: Tensor
    function: str
    """One of :data:`FUNCTIONS`."""
    arguments: tuple[float, ...] = ()
    """What it takes besides."""
    entries: NDArray[np.integer]
    """(256,), of the output's type: for the input's values, the least first."""

    def _check(self) -> None:
        self._require(
            self.function in FUNCTIONS,
            f"function must be one of {', '.join(FUNCTIONS)}, not {short(self.function)}",
        )
        count = FUNCTIONS[self.function]
        self._require(
            isinstance(self.arguments, (tuple, list))
            and len(self.arguments) == count
            and all(
                isinstance(n, (int, float)) and not isinstance(n, bool) and np.isfinite(n)
                for n in self.arguments
            ),
            f"{self.function} takes {count} finite numbers as arguments, not "
            f"{short(self.arguments)}",
        )
        object.__setattr__(self, "arguments", tuple(float(n) for n in self.arguments))
        self._require_array("entries", 1)
        wanted = np.dtype(np.int8 if self.output.signed else np.uint8)
        self._require(
            self.entries.shape == (TABLE_SIZE,) and self.entries.dtype == wanted,
            f"entries must be {TABLE_SIZE} of {wanted.name}, the output's type, not "
            f"{self.entries.dtype.name} {self.entries.shape}",
        )

    def output_shape(self) -> tuple[int, ...]:
        return self.input.shape

    def integers(self, *values: Integers) -> NDArray[np.int64]:
        (x,) = values
        return self.entries[np.asarray(x) - self.input.limits[0]].astype(np.int64)

    def kernel(self) -> Kernel:
        from accel.runtimes import qnnpack

        return qnnpack.function_kernel(self.function, self.arguments, self.input, self.output)

    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        """What the layer before has requantized is looked up, if nothing else needs it; else a
        copy is."""
        before = layers[-1] if layers else None
        if (
            before is None
            or before.target != self.input
            or before.lookup is not None
            or before.addition is not None
            or readers[self.input.name] != (self,)
        ):
            before = Convolution.of_ones(self, self.input, (1, 1), 1, self.input.zero_point)
            layers.append(before)
        lookup = Lookup(entries=self.entries, least=self.input.limits[0], signed=self.output.signed)
        layers[-1] = replace(before, target=self.output, lookup=lookup)
