"""The sum of two tensors: its arithmetic against PyTorch's kernels and against fractions, what it
refuses, and its place in a network."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch

from accel import numerics
from accel.errors import AccelError
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Add, AvgPool2d
from accel.runtimes import qnnpack
from accel.runtimes.qnnpack import run_network
from accel.runtimes.rounding import QNNPACK, XNNPACK, AddRounding
from tests.networks import added, random_images, residual_network

# PyTorch announces that quantized tensors will go; the versions pinned here have them.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:UserWarning")

BYTES = np.arange(256)
ALL_PAIRS = np.repeat(BYTES, 256), np.tile(BYTES, 256)
JUST_BELOW = float(np.nextafter(np.float32(1), np.float32(0)))
"""Its multiplier rounds up to one bit more."""


def tensor(name: str, scale: float, zero_point: int, shape: tuple[int, ...] = (65536,)) -> Tensor:
    return Tensor(
        name=name,
        shape=shape,
        scale=float(np.float32(scale)),
        zero_point=zero_point,
        signed=False,
    )


def sum_of(scales: tuple[float, float, float], zero_points=(0, 0, 0), **options) -> Add:
    """Of two tensors with the scales and zero points of both and the sum."""
    a, b, y = (
        tensor(name, scale, zero)
        for name, scale, zero in zip("aby", scales, zero_points, strict=True)
    )
    return Add(name="add", input=a, other=b, output=y, **{"relu": False} | options)


def assert_equals_the_kernel(operation: Add) -> None:
    """For all pairs of bytes."""
    with qnnpack.engine(), qnnpack.quiet():
        theirs = operation.kernel()(*ALL_PAIRS)
    np.testing.assert_array_equal(operation.integers(*ALL_PAIRS), theirs, repr(operation))


# The arithmetic


def test_equals_qnnpack_for_all_pairs_of_bytes():
    rng = np.random.default_rng(0)
    for _ in range(150):
        scale = 2 ** rng.uniform(-30, 30)
        ratios = 2 ** rng.uniform(-6, 2, 2)
        zeros = tuple(int(z) for z in rng.integers(0, 255, 3))
        relu = bool(rng.integers(2))
        assert_equals_the_kernel(
            sum_of((scale * ratios[0], scale * ratios[1], scale), zeros, relu=relu)
        )


@pytest.mark.parametrize(
    "ratios",
    [
        *itertools.product((1, 0.5, 0.25, JUST_BELOW, 1.5, 2.5), repeat=2),
        *itertools.permutations((1, 2**-14), 2),
        (2**8 * JUST_BELOW, 2**-14),
        (2**8 * JUST_BELOW, 2**8 * JUST_BELOW),
        (2**-10, 2**-10),
        (2**-10, 2**-12),
    ],
)
def test_equals_qnnpack_at_ties_and_ends(ratios):
    """Sums of ratios that are few halves lie at ties most of the time."""
    for zeros in ((0, 0, 0), (255, 255, 255), (0, 255, 7), (100, 200, 128)):
        assert_equals_the_kernel(sum_of((*ratios, 1.0), zeros))


def test_ties_decide():
    """With another rule for ties, or one bit less, other bytes come out."""
    operation = sum_of((0.5, 0.5, 1.0), (200, 100, 90))
    ours = operation.integers(*ALL_PAIRS)
    up = dataclasses.replace(operation, rounding=with_add(ties_away=False))
    assert (up.integers(*ALL_PAIRS) != ours).mean() > 0.1
    below_half = 0.5 - 2.0**-23
    operation = sum_of((below_half, below_half, 1.0), (200, 100, 90))
    assert_equals_the_kernel(operation)
    narrower = dataclasses.replace(operation, rounding=with_add(nbits=21))
    assert (narrower.integers(*ALL_PAIRS) != operation.integers(*ALL_PAIRS)).mean() > 0.1


def with_add(**change):
    return dataclasses.replace(QNNPACK, add=dataclasses.replace(QNNPACK.add, **change))


@pytest.mark.parametrize("rounding", [QNNPACK, XNNPACK])
def test_is_the_exact_sum_rounded_once(rounding):
    """By the definition, in fractions."""
    rng = np.random.default_rng(1)
    how: AddRounding = rounding.add
    for _ in range(20):
        ratios = np.float32(2 ** rng.uniform(-9, 7.9, 2) if rng.integers(2) else [0.5, 0.25])
        operation = sum_of((float(ratios[0]), float(ratios[1]), 1.0), (30, 200, 128))
        operation = dataclasses.replace(operation, rounding=rounding)
        ma, mb = operation.multipliers
        assert 2 ** (how.nbits - 1) <= max(ma, mb) <= 2**how.nbits
        for m, ratio in zip((ma, mb), ratios, strict=True):
            assert m == round(Fraction(float(ratio)) * 2**operation.shift)
        a, b = rng.integers(0, 256, (2, 300))
        exact = [
            Fraction((int(i) - 30) * ma + (int(j) - 200) * mb, 2**operation.shift)
            for i, j in zip(a, b, strict=True)
        ]
        half = Fraction(1, 2)
        rounded = [-floor(half - v) if how.ties_away and v < 0 else floor(v + half) for v in exact]
        expected = np.clip(np.array(rounded) + 128, 0, 255)
        np.testing.assert_array_equal(operation.integers(a, b), expected)


def test_signed_tensors_are_unsigned_ones_shifted():
    plain = sum_of((0.3, 0.2, 0.4), (130, 90, 60))
    shifted = {
        field: dataclasses.replace(
            getattr(plain, field), zero_point=getattr(plain, field).zero_point - 128, signed=True
        )
        for field in ("input", "other", "output")
    }
    signed = dataclasses.replace(plain, **shifted)
    np.testing.assert_array_equal(
        signed.integers(*(x - 128 for x in ALL_PAIRS)), plain.integers(*ALL_PAIRS) - 128
    )
    with qnnpack.engine(), qnnpack.quiet():
        theirs = signed.kernel()(*(x - 128 for x in ALL_PAIRS))
    np.testing.assert_array_equal(signed.integers(*(x - 128 for x in ALL_PAIRS)), theirs)


def test_cut_off():
    operation = sum_of((0.3, 0.2, 0.4), (130, 90, 60), relu=True, largest=99)
    y = operation.integers(*ALL_PAIRS)
    assert (y.min(), y.max()) == (60, 99)
    assert_equals_the_kernel(operation)


# What is refused


@pytest.mark.parametrize("ratio", [2.0**-14 * JUST_BELOW, 2.0**8])
def test_ratios_that_qnnpack_does_not_add(ratio):
    with pytest.raises(AccelError, match=r"the scale of 'b' is .* qnnpack adds from 6.1\d*e-05"):
        sum_of((1.0, ratio, 1.0))
    x = torch.zeros(4, dtype=torch.uint8)
    with qnnpack.engine(), qnnpack.quiet():
        qx, qy = (torch._make_per_tensor_quantized_tensor(x, s, 0) for s in (1.0, ratio))
        with pytest.raises(RuntimeError, match="QNNPACK Add"):
            qnnpack.ops().add(qx, qy, 1.0, 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"other": tensor("b", 1.0, 0, (65535,))}, "it adds tensors of one shape"),
        ({"output": tensor("y", 1.0, 0, (65535,))}, "its output has shape"),
        ({"output": tensor("y", 1025.0, 0)}, "so large that every sum is zero"),
        ({"rounding": XNNPACK, "other": tensor("b", 2.0**-11, 0)}, "xnnpack adds from 0.000976"),
        (
            {"relu": True, "output": tensor("y", 1.0, 255)},
            "with a ReLU from 255 on every sum is 255",
        ),
        ({"relu": 1}, "relu must be true or false"),
        ({"largest": 256}, "largest must be a whole number"),
        ({"other": None}, "other must be a Tensor"),
    ],
)
def test_wrong_sum(change, says):
    with pytest.raises(AccelError, match=f"layer 'add': .*{says}"):
        dataclasses.replace(sum_of((1.0, 1.0, 1.0)), **change)


# In a network


@pytest.mark.parametrize("signed", [False, True])
def test_blocks_equal_the_kernels(signed):
    rng = np.random.default_rng(2)
    network = residual_network(rng, signed)
    images = random_images(rng, network, 20)
    for ours, theirs in zip(network.integers(images), run_network(network, images), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert len(np.unique(ours)) > 20


def test_readers():
    network = residual_network(np.random.default_rng(3))
    first, second, block, third, twice, last = network.operations
    assert network.readers[first.output.name] == (second, block, last)
    assert network.readers[third.output.name] == (twice,)
    assert twice.inputs == (third.output, third.output)


def test_a_sum_may_be_all_there_is():
    rng = np.random.default_rng(4)
    x = tensor("input", 0.5, 100, (3, 4, 5))
    network = Network(name="n", operations=(added(rng, "sum", x, x),))
    images = random_images(rng, network, 9)
    (ours,), (theirs,) = network.integers(images), run_network(network, images)
    np.testing.assert_array_equal(ours, theirs)
    assert network.macs == 0


def test_file_gives_back_the_network(tmp_path):
    network = residual_network(np.random.default_rng(5))
    network.save(tmp_path / "n")
    again = Network.load(tmp_path / "n")
    for ours, theirs in zip(network.operations, again.operations, strict=True):
        assert type(ours) is type(theirs) and ours.inputs == theirs.inputs
        assert all(getattr(ours, field) == getattr(theirs, field) for field in ours.OPTIONS)


def test_a_network_rounds_in_one_way(tmp_path):
    rng = np.random.default_rng(6)
    x = tensor("input", 0.5, 100, (3, 4, 4))
    first = added(rng, "first", x, x, rounding=XNNPACK)
    network = Network(name="n", operations=(first,), origin="executorch")
    assert network.rounding is XNNPACK
    network.save(tmp_path / "n")
    assert Network.load(tmp_path / "n").rounding is XNNPACK
    second = added(rng, "second", first.output, x)
    with pytest.raises(AccelError, match="layer 'second' rounds like qnnpack, but a network whose"):
        Network(name="n", operations=(first, second), origin="executorch")
    pooled = dataclasses.replace(first.output, name="pool", shape=(3, 2, 2))
    with pytest.raises(AccelError, match="layer 'pool' rounds like qnnpack, but a network whose"):
        Network(
            name="n",
            origin="executorch",
            operations=(first, AvgPool2d(name="pool", input=first.output, output=pooled)),
        )


# Means that are exact, with ties away from zero

EXACT = dataclasses.replace(QNNPACK, name="exact", exact_averages=True)


@pytest.mark.parametrize("area", [*range(1, 65), 97, 128, 255, 1000, 4095, 4096])
def test_exact_means(area):
    """All sums of so many bytes, or 100,000 of them."""
    sums = np.arange(-128 * area, 255 * area + 1)
    if len(sums) > 100_000:
        chosen = np.random.default_rng(area).integers(0, len(sums), 50_000)
        ties = np.abs(2 * sums % (2 * area) - area) <= 2
        sums = np.concatenate([sums[chosen], sums[ties][:50_000]])
    mean = np.sign(sums) * ((2 * np.abs(sums) + area) // (2 * area))
    multiplier = numerics.mean_multiplier(area)
    ours = numerics.requantize(sums, multiplier, 0, -999, 999)
    np.testing.assert_array_equal(ours, mean)


def test_ties_away_is_float32_arithmetic():
    rng = np.random.default_rng(7)
    acc = rng.integers(-(2**20), 2**20, 200_000)
    half_steps = np.float32(0.5) ** rng.integers(1, 16, acc.size).astype(np.float32)
    any_scale = (2 ** rng.uniform(-20, -8, acc.size)).astype(np.float32)
    for multiplier in (half_steps, any_scale):
        product = (acc.astype(np.float32) * multiplier).astype(np.float64)
        expected = np.trunc(product + np.copysign(0.5, product)) + 3
        ours = numerics.requantize(acc, multiplier, 3, -(2**24), 2**24, ties_away=True)
        np.testing.assert_array_equal(ours, expected)


def test_exact_averages():
    rng = np.random.default_rng(8)
    x = tensor("input", 0.5, 100, (3, 4, 6))
    pool = AvgPool2d(
        name="pool", input=x, output=dataclasses.replace(x, name="pool", shape=(3, 2, 3))
    )
    exact = dataclasses.replace(pool, rounding=EXACT)
    values = rng.integers(0, 256, (50, 3, 4, 6))
    sums = values.reshape(50, 3, 2, 2, 3, 2).sum(axis=(3, 5))
    np.testing.assert_array_equal(exact.integers(values), (sums + 2) // 4)
    assert (pool.integers(values) != exact.integers(values)).any()
    padded = dataclasses.replace(x, name="pool", shape=(3, 3, 3))
    with pytest.raises(AccelError, match="exact averages windows of at most 4096 pixels without"):
        dataclasses.replace(exact, padding=(1, 0, 1, 0), output=padded)
