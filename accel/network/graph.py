"""A quantized network: a graph of operations over named tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accel.errors import AccelError
from accel.network.order import Order
from accel.network.tensor import NAME, Tensor, is_name, require, short
from accel.operations import Operation
from accel.operations.weighted import Weighted
from accel.runtimes.registry import RUNTIMES
from accel.runtimes.rounding import Rounding

Value = TypeVar("Value")

MAX_NOTES, MAX_NOTE = 1000, 2000
"""Notes of a network, and characters of one."""


def is_note(value: object) -> bool:
    """Whether it is a line that can be printed."""
    return isinstance(value, str) and value.isprintable() and 1 <= len(value) <= MAX_NOTE


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Operations in an order in which each finds the tensors that it reads.

    The first one reads the network's input; what the last one writes is the output. A tensor may
    have several readers.

    Raises :class:`AccelError` when they do not fit together.
    """

    name: str
    operations: tuple[Operation, ...]
    origin: str = "pytorch"
    """Where it comes from: a key of :data:`accel.runtimes.registry.RUNTIMES`."""
    order: Order = Order.CHANNELS_FIRST
    """In which its images come and its outputs go; operations have channels first."""
    notes: tuple[str, ...] = ()
    """What a user should know of how it was read, a sentence each."""
    source: bytes | None = field(default=None, repr=False)
    """The file that it was read from, where its runtime can run nothing else; it is not saved."""

    def __post_init__(self) -> None:
        require(is_name(self.name), f"a network's name must be {NAME}, not {short(self.name)}")
        require(len(self.operations) > 0, f"network '{self.name}' has no layers")
        names = [operation.name for operation in self.operations]
        require(
            len(set(names)) == len(names),
            f"the layers of network '{self.name}' must have different names",
        )
        self._check_tensors()
        require(
            self.origin in RUNTIMES,
            f"the origin of network '{self.name}' must be one of {', '.join(RUNTIMES)}, not "
            f"{short(self.origin)}",
        )
        for operation in self.operations:
            rounding = getattr(operation, "rounding", self.rounding)
            require(
                rounding.name == self.rounding.name,
                f"layer '{operation.name}' rounds like {rounding.name}, but a network whose origin "
                f"is {self.origin} rounds like {self.rounding.name}",
            )
        require(
            len(self.notes) <= MAX_NOTES and all(is_note(note) for note in self.notes),
            f"the notes of network '{self.name}' must be at most {MAX_NOTES} lines of printable "
            f"characters",
        )

    def _check_tensors(self) -> None:
        known, unread = {self.input.name: self.input}, set()
        for before, operation in zip((None, *self.operations), self.operations, strict=False):
            for tensor in operation.inputs:
                found = known.get(tensor.name)
                if found is None:
                    raise AccelError(
                        f"layer '{operation.name}' takes tensor '{tensor.name}', which no layer "
                        f"before it yields"
                    )
                if found != tensor:
                    maker = f"layer '{before.name}' before it" if before else "the input"
                    raise AccelError(
                        f"layer '{operation.name}' takes {tensor}, but {maker} yields {found}"
                    )
                unread.discard(tensor.name)
            output = operation.output
            require(
                output.name not in known,
                f"layer '{operation.name}' yields tensor '{output.name}', which is there already",
            )
            known[output.name] = output
            unread.add(output.name)
        unread.discard(self.output.name)
        require(
            not unread,
            f"nothing takes tensor '{min(unread, default='')}' of network '{self.name}', and it is "
            f"not the last one",
        )

    @property
    def layers(self) -> tuple[Weighted, ...]:
        """The operations that have weights."""
        return tuple(op for op in self.operations if isinstance(op, Weighted))

    @property
    def input(self) -> Tensor:
        return self.operations[0].inputs[0]

    @property
    def output(self) -> Tensor:
        """The last operation's: the logits."""
        return self.operations[-1].output

    @property
    def rounding(self) -> Rounding:
        """Whose roundings it carries: those of its origin's runtime."""
        return RUNTIMES[self.origin].rounding

    @cached_property
    def readers(self) -> dict[str, tuple[Operation, ...]]:
        """The operations that read a tensor, by its name; of the output there are none."""
        return {
            tensor.name: tuple(op for op in self.operations if tensor in op.inputs)
            for tensor in (self.input, *(op.output for op in self.operations))
        }

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        return sum(operation.macs for operation in self.operations)

    def integers(self, images: ArrayLike) -> list[NDArray[np.int64]]:
        """What the network's arithmetic makes of images, in plain integers.

        images: integers (N, *input.shape), in the range of the input tensor. Returns for each
        operation int64 (N, *output.shape); the last are the logits. These shapes are in the
        network's order.

        Raises :class:`AccelError` for images of another shape or range.
        """
        x: NDArray[np.int64] = self.order.inward(self.checked(images)).astype(np.int64)
        found = self.evaluate([operation.integers for operation in self.operations], x)
        return [self.order.outward(y) for y in found]

    def checked(self, images: ArrayLike) -> NDArray[np.integer]:
        """The images as an array.

        Raises :class:`AccelError` unless they are integers of the input's shape, in the network's
        order, and range.
        """
        images, shape = np.asarray(images), self.order.shape(self.input.shape)
        if images.shape[1:] != shape or images.dtype.kind not in "iu":
            raise AccelError(
                f"images must be whole numbers of shape (N, {', '.join(map(str, shape))}), "
                f"not {images.dtype} {images.shape}"
            )
        lo, hi = self.input.limits
        if images.size and not lo <= images.min() <= images.max() <= hi:
            raise AccelError(
                f"images must hold values from {lo} to {hi}, not {images.min()} to {images.max()}"
            )
        return images

    def evaluate(self, steps: Sequence[Callable[..., Value]], image: Value) -> list[Value]:
        """What each operation yields if ``steps`` do what the operations stand for."""
        values = {self.input.name: image}
        for operation, step in zip(self.operations, steps, strict=True):
            values[operation.output.name] = step(*(values[t.name] for t in operation.inputs))
        return [values[operation.output.name] for operation in self.operations]

    def save(self, path: str | Path) -> None:
        """Write the network's file, whole or not at all.

        Raises :class:`AccelError` when that is not possible; what was there is there still.
        """
        from accel.network import file

        file.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Network:
        """The network that :meth:`save` wrote.

        Raises :class:`AccelError` for a file that cannot be read, is cut or changed, or holds
        anything that is not a correct network of a version that this program reads.
        """
        from accel.network import file

        return file.load(Path(path))
