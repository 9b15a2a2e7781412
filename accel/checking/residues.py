"""Arithmetic modulo the prime 2^61 - 1, on arrays.

A product of two residues has 122 bits. They are taken apart into limbs of 21 bits: sums of at most
:data:`EXACT` products of two limbs are integers that a float64 holds, so that the processor's
matrix product serves. Multiplying by a power of two is a rotation of 61 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NBITS = 61
PRIME = (1 << NBITS) - 1
LIMB_NBITS = 21
NUM_LIMBS = 3
EXACT = 1 << (53 - 2 * LIMB_NBITS)

Residues = NDArray[np.uint64]

_P, _LIMB = np.uint64(PRIME), np.uint64((1 << LIMB_NBITS) - 1)
_HALF = np.uint64(32)


def draw(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Residues:
    """Random residues, all equally likely."""
    return rng.integers(0, PRIME, shape, dtype=np.uint64)


def limbs(x: Residues) -> Residues:
    """The limbs of residues, lowest first: (3, *x.shape)."""
    return np.stack([x >> np.uint64(LIMB_NBITS * i) & _LIMB for i in range(NUM_LIMBS)])


def reduce(x: Residues) -> Residues:
    """What any 64-bit numbers are modulo the prime."""
    x = (x & _P) + (x >> np.uint64(NBITS))
    return np.where(x >= _P, x - _P, x)


def add(a: Residues, b: Residues) -> Residues:
    """The sum of residues."""
    return reduce(a + b)


def scale(x: Residues, exponent: int) -> Residues:
    """``x * 2**exponent``."""
    exponent %= NBITS
    rotated = x << np.uint64(exponent) & _P | x >> np.uint64(NBITS - exponent)
    return reduce(rotated)


def total(x: Residues) -> Residues:
    """The sum over the first axis."""
    low, high = x & np.uint64(0xFFFFFFFF), x >> _HALF
    return add(reduce(low.sum(axis=0)), scale(reduce(high.sum(axis=0)), 32))


def weigh(limbs_of_x: NDArray[np.float64], weight: Residues) -> Residues:
    """Sums of products (rows,) of the limbs (3, rows, columns) of residues, and weights
    (columns,)."""
    _, rows, columns = limbs_of_x.shape
    found = np.zeros(rows, np.uint64)
    parts = limbs(weight).astype(np.float64).T
    for start in range(0, columns, EXACT):
        end = start + EXACT
        for i, x in enumerate(limbs_of_x[:, :, start:end]):
            products = (x @ parts[start:end]).astype(np.uint64)
            for j in range(NUM_LIMBS):
                found = add(found, scale(reduce(products[:, j]), LIMB_NBITS * (i + j)))
    return found
