"""What the activation memory holds, byte by byte, while a program is replayed."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel.checking import residues
from accel.checking.definition import map_shape
from accel.checking.fault import MiscompiledError, require
from accel.checking.replay import Bools, Ints
from accel.hardware.config import TAPS
from accel.network.tensor import Tensor

NOTHING = -1
"""Of a byte that holds no element."""


class Contents:
    """Of each byte the element of a tensor that it holds, by their numbers, with the element's
    residue in limbs; and the first step of a layer that may read it without a wait."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.rng = size, rng
        self.tensors: list[str] = []
        self.holder = np.full(size, NOTHING)
        self.element = np.full(size, NOTHING)
        self.limbs = np.zeros((residues.NUM_LIMBS, size))
        self.parts: dict[str, tuple[Tensor, ...]] = {}
        """Of a tensor that was joined."""
        self._residues: dict[str, residues.Residues] = {}
        self.readable = np.zeros(size, np.int64)
        self.end = 0
        """The byte after the last one that ever held an element."""

    def put(self, where: str, tensor: Tensor, at: Ints, element: Ints) -> None:
        """Bytes hold elements of a tensor from now on, or ``NOTHING``: what belongs to none.

        Raises :class:`MiscompiledError` unless each element has a byte of its own.
        """
        require(
            bool(((at >= 0) & (at < self.size)).all()),
            where,
            f"it writes bytes {at.min()} to {at.max()} of an activation memory of {self.size}",
        )
        times = np.bincount(at, minlength=self.size)
        if times.max() > 1:
            raise MiscompiledError(where, f"{byte(int(np.argmax(times > 1)))} is written twice")
        is_there = np.zeros(tensor.size, bool)
        is_there[element[element != NOTHING]] = True
        if not is_there.all():
            raise MiscompiledError(
                where, f"element {place(~is_there.reshape(map_shape(tensor)))} is not written"
            )
        number = len(self.tensors)
        self.tensors.append(tensor.name)
        self.holder[at] = np.where(element == NOTHING, NOTHING, number)
        self.element[at] = element
        drawn = self._residues[tensor.name] = residues.draw(self.rng, tensor.size)
        self.limbs[:, at] = residues.limbs(np.where(element == NOTHING, 0, drawn[element]))
        self.end = max(self.end, int(at.max()) + 1)

    def forget(self, at: Bools) -> None:
        """No one knows what these bytes hold from now on."""
        self.holder[at] = NOTHING

    def join(self, whole: Tensor, parts: tuple[Tensor, ...]) -> None:
        """What holds an element of a part holds one of the whole from now on, too."""
        self.parts[whole.name] = parts

    def elements(self, tensor: Tensor) -> Ints:
        """Of each byte, the number of the element of ``tensor`` that it holds, or ``NOTHING``."""
        found, before = np.full(self.size, NOTHING), 0
        if tensor.name in self.tensors:
            mine = self.holder == self.tensors.index(tensor.name)
            return np.where(mine, self.element, NOTHING)
        for part in self.parts.get(tensor.name, ()):
            of_part = self.elements(part)
            found = np.where(of_part == NOTHING, found, of_part + before)
            before += part.size
        return found

    def holds(self, tensor: Tensor) -> Bools:
        """Of each byte, whether it holds an element of ``tensor``."""
        mine: Bools = self.elements(tensor) != NOTHING
        return mine

    def residues_of(self, tensor: Tensor) -> residues.Residues:
        """Of its elements, in their order."""
        if tensor.name in self.parts:
            parts = [self.residues_of(part) for part in self.parts[tensor.name]]
            return np.concatenate(parts)
        return self._residues[tensor.name]


def byte(at: int | np.integer[Any]) -> str:
    """For a message."""
    row, bank = divmod(int(at), TAPS)
    return f"byte {at} of the activation memory (row {row}, bank {bank})"


def place(wrong: Bools) -> str:
    """Where an array is first true, for a message."""
    return ", ".join(str(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
