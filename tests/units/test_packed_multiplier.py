"""Two products of one multiplier: see also ``make exhaustive``, which tries all triples."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtl_models.packed_multiplier import PackedMultiplierRTL
from tests.harness import Simulators

weights = st.integers(-128, 127) | st.sampled_from([-128, -1, 0, 1, 127])
activations = st.integers(-256, 255) | st.sampled_from([-256, -128, -1, 0, 1, 127, 255])
EXTREMES = list(product((-128, -1, 0, 127), (-128, -1, 0, 127), (-256, -128, -1, 0, 1, 255)))


def parts(top: Any) -> tuple[int, int]:
    """The two products."""
    carry = top.carry.int()
    return top.upper.int() - carry, carry * 512 + int(top.low)


@given(triples=st.lists(st.tuples(weights, weights, activations), min_size=1, max_size=30))
@example(triples=EXTREMES)
def test_both_products(simulators: Simulators, triples: list[tuple[int, int, int]]) -> None:
    """Two cycles after their factors, one pair a cycle."""
    top = simulators(PackedMultiplierRTL).top
    top.sim_reset()
    top.en @= 1
    top.product_en @= 1
    top.clear @= 0
    found = []
    for a, b, x in [*triples, (0, 0, 0), (0, 0, 0)]:
        top.a @= a & 0xFF
        top.b @= b & 0xFF
        top.x @= x & 0x1FF
        top.sim_eval_combinational()
        found.append(parts(top))
        top.sim_edge()
    assert found[2:] == [(a * x, b * x) for a, b, x in triples]


@given(enables=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=30))
def test_enables(simulators: Simulators, enables: list[tuple[bool, bool, bool]]) -> None:
    """Factors are taken with ``en``, products with ``product_en``: zeros if ``clear`` is set."""
    top = simulators(PackedMultiplierRTL).top
    top.sim_reset()
    factors, products = (None, None, None), None
    for i, (en, product_en, clear) in enumerate(enables):
        a, b, x = 7 * i - 100, 50 - 3 * i, 8 * i - 120
        top.a @= a & 0xFF
        top.b @= b & 0xFF
        top.x @= x & 0x1FF
        top.en @= int(en)
        top.product_en @= int(product_en)
        top.clear @= int(product_en and clear)
        top.sim_eval_combinational()
        if products is not None:
            assert parts(top) == products
        top.sim_edge()
        if product_en:
            fa, fb, fx = factors
            products = (0, 0) if clear else None if fx is None else (fa * fx, fb * fx)
        if en:
            factors = a, b, x


def told_apart(a: Any, b: Any, x: Any, nbits: int = 8) -> tuple[Any, Any]:
    """Both products from the packed one, with so many bits of the small multiplier."""
    packed = (a * 512 + b) * x
    upper = packed >> 9
    half = 1 << nbits - 1
    carry = (upper - a * x + half) % (2 * half) - half
    return upper - carry, carry * 512 + packed % 512


@pytest.mark.parametrize(
    ("nbits", "exact"), [(8, np.all), (7, lambda equal: not np.all(equal))], ids=["8", "7 are few"]
)
def test_arithmetic_of_all_triples(nbits: int, exact: Callable[[Any], bool]) -> None:
    """In plain integers."""
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    equal = []
    for x in range(-256, 256):
        ax, bx = told_apart(a, b, x, nbits)
        equal.append(bool(np.all((ax == a * x) & (bx == b * x))))
    assert exact(equal)
