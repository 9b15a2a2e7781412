"""What all kinds of operations have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from accel.compiler.convolution import Convolution
from accel.errors import AccelError
from accel.network.tensor import MAX_SIZE, NAME, Tensor, is_int, is_name, require, short

Integers = NDArray[np.integer]
Kernel = Callable[..., Integers]
"""Of each input integers (N, *shape), to integers (N, *output.shape)."""
Readers = Mapping[str, tuple["Operation", ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation(ABC):
    """Makes one tensor of another. Immutable; checked when made.

    Raises :class:`AccelError` naming the layer and what is wrong.
    """

    KIND: ClassVar[str]
    """What a network's file and reports call it."""
    INPUTS: ClassVar[tuple[str, ...]] = ("input",)
    """Its fields that are the tensors it reads, in the order in which a file names them."""
    MANY_INPUTS: ClassVar[bool] = False
    """That one field is a tuple of any number of tensors."""
    OPTIONS: ClassVar[Mapping[str, type]] = {}
    """Its fields that are no tensors and no arrays, and their types in a file."""
    ARRAYS: ClassVar[Mapping[str, Any]] = {}
    """Its fields that are arrays, and their dtypes: one, or a tuple of those that will do."""

    name: str
    output: Tensor

    def __post_init__(self) -> None:
        require(is_name(self.name), f"a layer's name must be {NAME}, not {short(self.name)}")
        if self.MANY_INPUTS:
            (field,) = self.INPUTS
            self._require(
                isinstance(getattr(self, field), tuple), f"{field} must be a tuple of Tensors"
            )
        for field, tensor in (*self._named_inputs(), ("output", self.output)):
            self._require(
                isinstance(tensor, Tensor), f"{field} must be a Tensor, not {short(tensor)}"
            )
        self._check()
        shape = self.output_shape()
        self._require(
            self.output.shape == shape,
            f"its output has shape {shape}, but is said to have {self.output.shape}",
        )

    @property
    def kind(self) -> str:
        return self.KIND

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that it reads."""
        return tuple(tensor for _, tensor in self._named_inputs())

    def _named_inputs(self) -> list[tuple[str, Tensor]]:
        if self.MANY_INPUTS:
            (field,) = self.INPUTS
            return [(f"{field}[{i}]", tensor) for i, tensor in enumerate(getattr(self, field))]
        return [(field, getattr(self, field)) for field in self.INPUTS]

    @abstractmethod
    def _check(self) -> None:
        """What must hold of its fields and its input."""

    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """What follows from its fields and its input."""

    @abstractmethod
    def integers(self, *values: Integers) -> NDArray[np.int64]:
        """Its arithmetic: of each input integers (N, *shape), to integers (N, *output.shape)."""

    @abstractmethod
    def kernel(self) -> Kernel:
        """The same by PyTorch's quantized kernel; made and called within
        :func:`accel.runtimes.qnnpack.engine`."""

    @abstractmethod
    def lower(self, layers: list[Convolution], readers: Readers) -> None:
        """Adds to ``layers``, which compute what comes before, what the array is to compute for it;
        or has the last of them do it too. readers: the operations that read a tensor, by its name.

        Raises :class:`AccelError` if the array cannot do it.
        """

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the outputs need, padded taps included."""
        return 0

    @property
    def num_parameters(self) -> int:
        return 0

    # For checks

    def _fail(self, message: str) -> NoReturn:
        raise AccelError(f"layer '{self.name}': {message}")

    def _require(self, condition: bool, message: str) -> None:
        if not condition:
            self._fail(message)

    def _require_bool(self, field: str) -> None:
        value = getattr(self, field)
        self._require(isinstance(value, bool), f"{field} must be true or false, not {short(value)}")

    def _require_int(self, field: str, low: int) -> None:
        value = getattr(self, field)
        self._require(
            is_int(value) and low <= value <= MAX_SIZE,
            f"{field} must be a whole number from {low} to {MAX_SIZE}, not {short(value)}",
        )

    def _require_array(self, field: str, ndim: int) -> None:
        """The field is an array of a dtype of its own; it is copied, and read-only."""
        array, allowed = getattr(self, field), self.ARRAYS[field]
        dtypes = [np.dtype(d) for d in (allowed if isinstance(allowed, tuple) else (allowed,))]
        self._require(
            isinstance(array, np.ndarray) and array.dtype in dtypes and array.ndim == ndim
            and array.size > 0,
            f"{field} must be an array of {' or '.join(d.name for d in dtypes)} with {ndim} "
            f"dimensions",
        )  # fmt: skip
        array = np.array(array, order="C")
        array.setflags(write=False)
        object.__setattr__(self, field, array)
