"""Whether the sums of a layer are those that the network defines: exactly, and once more with
random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel.checking import residues
from accel.checking.definition import Definition
from accel.checking.fault import MiscompiledError, require
from accel.checking.replay import Bools, Ints

COORDINATE_NBITS = 20
"""Rows and columns within the code of an element. It is linear: the difference of two codes tells
how many channels, rows and columns the elements are apart."""

PADDED = -(1 << 62)
"""Instead of a code: the tap is the pad value."""

_HALF = 1 << (COORDINATE_NBITS - 1)


def code(channel: Ints | int, row: Ints | int, column: Ints | int) -> Ints:
    """One number for channel, row and column."""
    shifted = np.asarray(channel) << COORDINATE_NBITS
    return (shifted + row << COORDINATE_NBITS) + column


def decode(codes: Ints) -> tuple[Ints, Ints, Ints]:
    """The inverse of :func:`code`, also of a difference of codes."""
    codes = codes + code(0, _HALF, _HALF)
    mask = (1 << COORDINATE_NBITS) - 1
    row, column = codes >> COORDINATE_NBITS & mask, codes & mask
    return codes >> 2 * COORDINATE_NBITS, row - _HALF, column - _HALF


def input_channels(want: Definition, channels: Ints) -> slice:
    """The input channels that these output channels are made of."""
    outputs, inputs = len(want.weight) // want.groups, want.weight.shape[1]
    first = int(channels[0]) // outputs * inputs
    return slice(first, first + inputs)


@dataclass(frozen=True, eq=False)
class Part:
    """Columns of the array that read the same, as far as they belong to one pixel of a vector."""

    channels: Ints
    """Output channels that they compute, all of them of the same input channels."""
    first: NDArray[np.int8]
    """Their weights, (channels, taps), in the first sum of a group of output channels."""
    later: NDArray[np.int8]
    """And in the others; the same array where those are the same."""
    y: Ints
    """(sums of a group,): the row, before pooling, that each sum is to be of; -1 where it is
    dropped."""
    x: Ints
    """And the column."""


class Exactly:
    """Sums are told apart by what they read relative to their window, and by the taps that lie
    outside of the feature map. Of those that are alike one is compared, product by product."""

    def __init__(self, where: str, want: Definition) -> None:
        self.where, self.want, self.kernel = where, want, want.kernel
        self.weight = want.weight.reshape(len(want.weight), -1)

    def compare(self, part: Part, sums: Ints, codes: Ints, pad_value: int) -> None:
        """sums: their numbers within a group. codes: (sums, taps), of the elements that are read,
        or :data:`PADDED`.

        Raises :class:`MiscompiledError` for a sum that is not what the network defines.
        """
        inside = part.y[sums] >= 0
        for weight, is_meant in (
            ((part.first, inside),)
            if part.first is part.later
            else ((part.first, inside & (sums == 0)), (part.later, inside & (sums > 0)))
        ):
            chosen = np.flatnonzero(is_meant)
            if chosen.size:
                self._compare(part, weight, sums[chosen], codes[chosen], pad_value)

    def _compare(
        self, part: Part, weight: NDArray[np.int8], sums: Ints, codes: Ints, pad_value: int
    ) -> None:
        want = self.want
        top = part.y[sums] * want.stride[0] - want.padding[0]
        left = part.x[sums] * want.stride[1] - want.padding[1]
        first_channel = input_channels(want, part.channels).start
        relative = codes - code(first_channel, top, left)[:, None]
        relative[codes == PADDED] = PADDED
        # How many of the kernel's first and last rows and columns are padding
        (rows, columns), (_, height, width) = self.kernel, want.source_shape
        border = np.stack(
            [
                np.clip(-top, 0, rows),
                np.clip(top + rows - height, 0, rows),
                np.clip(-left, 0, columns),
                np.clip(left + columns - width, 0, columns),
            ]
        )
        left_over = np.arange(len(sums))
        while left_over.size:
            one = left_over[0]
            alike = (relative[left_over] == relative[one]).all(axis=1)
            alike &= (border[:, left_over] == border[:, one, None]).all(axis=0)
            output = int(part.y[sums[one]]), int(part.x[sums[one]])
            self._products(part, weight, relative[one], border[:, one].tolist(), pad_value, output)
            left_over = left_over[~alike]

    def _products(
        self,
        part: Part,
        weight: NDArray[np.int8],
        relative: Ints,
        border: list[int],
        pad_value: int,
        output: tuple[int, int],
    ) -> None:
        """The products of one sum."""
        rows, columns = self.kernel
        wanted = self.weight[part.channels]
        # The tap of the kernel whose element each tap of the array reads
        pads = relative == PADDED
        channel, y, x = decode(relative)
        known = ~pads & (channel >= 0) & (channel < self.want.weight.shape[1])
        known &= (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
        foreign = ~pads & ~known
        if weight[:, foreign].any():
            c, j = _first(weight[:, foreign] != 0)
            where = [int(v[foreign][j]) for v in (channel, y, x)]
            self._fail(
                part,
                output,
                c,
                f"its sum has a product with the element that is {where[0]} channels, {where[1]} "
                f"rows and {where[2]} columns from its window's first, outside of the kernel",
            )
        tap = ((channel * rows + y) * columns + x)[known]
        loaded = np.zeros_like(wanted)
        values = weight[:, known]
        loaded[:, tap] = values
        # Of taps that read the same element, one at most may have a weight.
        order = np.argsort(tap, kind="stable")
        again = order[1:][tap[order][1:] == tap[order][:-1]]
        if again.size:
            loaded = np.zeros_like(wanted)
            for i in range(tap.size):
                twice = (loaded[:, tap[i]] != 0) & (values[:, i] != 0)
                if twice.any():
                    self._differs(
                        part, output, int(np.argmax(twice)), int(tap[i]), "an element twice"
                    )
                loaded[:, tap[i]] += values[:, i]
        ky, kx = np.divmod(np.arange(wanted.shape[1]) % (rows * columns), columns)
        above, below, before, after = border
        padded = (ky < above) | (ky >= rows - below) | (kx < before) | (kx >= columns - after)
        wrong = (loaded != wanted) & ~padded
        if wrong.any():
            c, j = _first(wrong)
            self._differs(
                part, output, c, j, f"weight {int(loaded[c, j])} instead of {int(wanted[c, j])}"
            )
        if pads.any() or padded.any():
            self._padding(part, output, weight[:, pads], wanted[:, padded], pad_value)

    def _padding(
        self,
        part: Part,
        output: tuple[int, int],
        loaded: NDArray[np.int8],
        wanted: NDArray[np.int8],
        pad_value: int,
    ) -> None:
        """The products with padding: the same weights in any order."""
        longest = max(loaded.shape[1], wanted.shape[1])
        # Zeros are added, not counted.
        both = [np.pad(w, ((0, 0), (0, longest - w.shape[1]))) for w in (loaded, wanted)]
        wrong = np.sort(both[0], axis=1) != np.sort(both[1], axis=1)
        if wrong.any():
            c = _first(wrong)[0]
            self._fail(
                part, output, c, "its products with padded taps have other weights than the network"
            )
        require(
            pad_value == self.want.pad_value or not wanted.any(),
            self.where,
            f"padded taps are {pad_value}, not {self.want.pad_value}",
        )

    def _differs(self, part: Part, output: tuple[int, int], c: int, tap: int, what: str) -> None:
        rows, columns = self.kernel
        channel, (y, x) = tap // (rows * columns), divmod(tap % (rows * columns), columns)
        self._fail(
            part,
            output,
            c,
            f"its sum has {what} at kernel row {y}, column {x} of its input channel {channel}",
        )

    def _fail(self, part: Part, output: tuple[int, int], c: int, what: str) -> None:
        channel = int(part.channels[c])
        raise MiscompiledError(
            self.where, f"output channel {channel}, row {output[0]}, column {output[1]}: {what}"
        )


def _first(wrong: Bools) -> tuple[int, int]:
    """Where an array (channels, taps) is first true."""
    c, j = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    return int(c), int(j)


class WithResidues:
    """Elements and padding are random residues, and so is a weight, for each output channel and
    value; zero stays zero. What is compared is the sum of a pixel's accumulators over the
    channels: as each channel has residues of its own, it is right only if all are, as polynomials
    of degree 2."""

    def __init__(self, where: str, want: Definition, rng: np.random.Generator) -> None:
        self.where, self.want = where, want
        self.weights = residues.draw(rng, (len(want.weight), 256))
        self.weights[:, 0] = 0
        self.pad = residues.draw(rng, 1)
        self.wanted: tuple[Ints, residues.Residues] | None = None
        self.of_part: dict[tuple[Part, bool], residues.Residues] = {}
        self.count = 0

    def compare(
        self,
        part: Part,
        sums: Ints,
        limbs: NDArray[np.float64],
        elements: residues.Residues,
    ) -> None:
        """sums: their numbers within a group. limbs: (3, sums, taps), of what is read. elements:
        the residues of the layer's input.

        Raises :class:`MiscompiledError` for a pixel of which some sum is not what the network
        defines.
        """
        wanted = self._network(part.channels, elements)
        for later in (False, True) if part.first is not part.later else (False,):
            chosen = part.y[sums] >= 0
            if part.first is not part.later:
                chosen &= (sums > 0) == later
            if not chosen.any():
                continue
            weights = self._array(part, later)
            reached = residues.weigh(limbs[:, chosen], weights)
            y, x = part.y[sums[chosen]], part.x[sums[chosen]]
            wrong = reached != wanted[y, x]
            self.count += wrong.size
            if wrong.any():
                i = int(np.argmax(wrong))
                raise MiscompiledError(
                    self.where,
                    f"of row {y[i]}, column {x[i]} an output channel's sum is wrong: with random "
                    f"residues the sums differ",
                )

    def _combined(self, channels: Ints, weight: NDArray[np.int8]) -> residues.Residues:
        """The residues of weights (channels, taps), added up over the channels."""
        total = np.zeros(weight.shape[1], np.uint64)
        at_once = max(1, (1 << 20) // max(1, weight.shape[1]))
        for start in range(0, len(channels), at_once):
            end = start + at_once
            drawn = self.weights[channels[start:end, None], weight[start:end].view(np.uint8)]
            total = residues.add(total, residues.total(drawn))
        return total

    def _array(self, part: Part, later: bool) -> residues.Residues:
        key = part, later
        if key not in self.of_part:
            weight = part.later if later else part.first
            self.of_part[key] = self._combined(part.channels, weight)
        return self.of_part[key]

    def _network(self, channels: Ints, elements: residues.Residues) -> residues.Residues:
        """The sums (rows, columns) by the network's own arithmetic."""
        if self.wanted is None or not np.array_equal(self.wanted[0], channels):
            want = self.want
            weight = self._combined(
                channels, want.weight.reshape(len(want.weight), -1)[channels]
            ).reshape(want.weight.shape[1:])
            parts = residues.limbs(weight).astype(np.int64)
            x = elements.reshape(want.source_shape)[input_channels(want, channels)]
            x_parts = residues.limbs(x).astype(np.int64)
            pad = residues.limbs(self.pad)[:, 0].tolist()
            total: residues.Residues | None = None
            for i in range(residues.NUM_LIMBS):
                products = want.sums(x_parts[i], parts, pad[i]).astype(np.uint64)
                for j, product in enumerate(products):
                    term = residues.scale(residues.reduce(product), residues.LIMB_NBITS * (i + j))
                    total = term if total is None else residues.add(total, term)
            assert total is not None
            self.wanted = channels, total
        return self.wanted[1]
