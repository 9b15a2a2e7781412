"""Networks of every kind of operation: all levels equal PyTorch's kernels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from accel.compiler.compile import compile
from accel.compiler.refusal import DoesNotFitError
from accel.hardware.config import base, tiny, wide
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Add, AvgPool2d, Conv2d, MaxPool2d, Operation
from accel.operations.table import FUNCTIONS
from accel.operations.window import window_count
from accel.runtimes.qnnpack import run_network
from accel.runtimes.registry import RUNTIMES
from accel.simulation.runner import simulate
from tests.networks import (
    added,
    joined,
    joining_network,
    looked_up,
    random_images,
    residual_network,
    table_network,
)
from tests.tools.random_networks import CONFIGS

KINDS = (
    *("conv", "depthwise", "grouped", "max", "average", "global average", "add", "block", "join"),
    "table",
)
TABLES = [
    name
    for name in FUNCTIONS
    # These have but one scale.
    if name not in ("quantized.sigmoid", "quantized.tanh", "quantized.hardsigmoid")
]
LARGE = {"weight_depth": 4096, "param_depth": 2048, "act_depth": 1024, "acc_nbits": 32}
ROOMY = [
    dataclasses.replace(cfg, adder=adder, tables=tables, **LARGE)
    for cfg in (base, wide, tiny, dataclasses.replace(base, num_lanes=8))
    for adder, tables in ((False, 4), (True, 8))
]


@st.composite
def chains(draw: st.DrawFn, most: int = 4) -> Network:
    """Operations of any kind in a row, over maps of up to 12 x 12 pixels: kernels of any size that
    fits, strides up to 3 in each direction apart, up to 2 rows or columns of padding on each
    side. Sums are of the last tensor and any of its shape before it, or itself; a block is a 1x1
    convolution whose input is added to it; the last tensor is joined with any of its size; and a
    table is any function of one value."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signed, side = draw(st.booleans()), st.integers(1, 12)
    shape = draw(st.integers(1, 12)), draw(side), draw(side)
    x = tensor("input", shape, 2.0 ** -draw(st.integers(0, 7)), signed, rng)
    operations: list[Operation] = []

    def drawn() -> tuple[bool, bool]:
        """Whether there is a ReLU, and whether outputs are cut off."""
        return draw(st.booleans()), draw(st.booleans())

    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=most)):
        size: Any = tuple(draw(st.integers(1, min(5, n))) for n in x.shape[1:])
        window = {
            "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
            # Padding that a pooling window has but for itself would be all that it sees.
            "padding": tuple(draw(st.integers(0, min(2, n - 1))) for n in (*size, *size)),
        }
        name = f"{kind} {len(operations)}"
        if kind == "block":
            single: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0, 0, 0)}
            size = 1, 1
            operations.append(conv2d(f"{name} conv", x, x.shape[0], 1, size, single, *drawn(), rng))
        if kind in ("add", "block"):
            tensors = (
                [*operations[0].inputs[:1], *(op.output for op in operations)]
                if operations
                else [x]
            )
            others = [t for t in tensors if t.shape == x.shape]
            other = x if kind == "block" else draw(st.sampled_from(others))
            own = operations[-1].output if operations else x
            pair = (own, other) if draw(st.booleans()) else (other, own)
            relu, is_cut = drawn()
            largest = int(rng.integers(200, 256)) - 128 * signed if is_cut else 255
            operations.append(added(rng, name, *pair, relu=relu, largest=largest))
        elif kind == "join":
            tensors = (
                [*operations[0].inputs[:1], *(op.output for op in operations)]
                if operations
                else [x]
            )
            sized = st.sampled_from([t for t in tensors if t.shape[1:] == x.shape[1:]])
            parts = [x, *draw(st.lists(sized, min_size=1, max_size=2))]
            rescales = draw(st.booleans())
            output = {"scale": float(np.float32(x.scale * 1.5))} if rescales else {}
            operations.append(joined(name, *draw(st.permutations(parts)), **output))
        elif kind == "table":
            function = draw(st.sampled_from(TABLES))
            operations.append(looked_up(rng, name, x, function))
        elif kind in ("max", "average", "global average"):
            if kind == "global average":
                size, window = x.shape[1:], {"stride": (1, 1), "padding": (0, 0, 0, 0)}
            count = window_count(x.shape, size, **window)
            output = dataclasses.replace(x, name=name, shape=(x.shape[0], *count))
            make: Any = MaxPool2d if kind == "max" else AvgPool2d
            operations.append(make(name=name, size=size, input=x, output=output, **window))
        else:
            groups = {"conv": 1, "depthwise": x.shape[0]}.get(kind)
            groups = groups or draw(st.sampled_from(divisors(x.shape[0])))
            multiple = 1 if kind == "depthwise" else draw(st.integers(1, 12 if groups == 1 else 2))
            operations.append(
                conv2d(name, x, groups * multiple, groups, size, window, *drawn(), rng)
            )
        x = operations[-1].output
    return Network(name="chain", operations=tuple(operations))


def tensor(
    name: str, shape: tuple[int, ...], scale: float, signed: bool, rng: np.random.Generator
) -> Tensor:
    zero_point = int(rng.integers(40, 200)) - 128 * signed
    scale = float(np.float32(scale))
    return Tensor(name=name, shape=shape, scale=scale, zero_point=zero_point, signed=signed)


def divisors(n: int) -> list[int]:
    return [k for k in range(1, n + 1) if n % k == 0]


def conv2d(
    name: str,
    x: Tensor,
    outputs: int,
    groups: int,
    size: tuple[int, int],
    window: dict[str, Any],
    relu: bool,
    is_cut: bool,
    rng: np.random.Generator,
) -> Conv2d:
    """With random weights, biases and scales, whose outputs spread over their range."""
    weight = rng.integers(-128, 128, (outputs, x.shape[0] // groups, *size)).astype(np.int8)
    scale = (2 ** rng.uniform(-9, -7, outputs)).astype(np.float32)
    spread = 70 * 74 * np.sqrt(np.prod(weight.shape[1:]))
    shape = (outputs, *window_count(x.shape, size, **window))
    output = tensor(name, shape, x.scale * scale.mean() * spread / 70, x.signed, rng)
    largest = int(rng.integers(output.zero_point, output.limits[1] + 1)) if is_cut else 255
    return Conv2d(
        name=name, weight=weight, weight_scale=scale, relu=relu, largest=largest, input=x,
        bias=(rng.normal(size=outputs) * spread * x.scale * scale / 3).astype(np.float32),
        output=output, groups=groups, **window,
    )  # fmt: skip


def assert_levels_equal_the_kernels(network: Network, cfg: Any, levels: tuple[str, ...]) -> bool:
    """False if the network does not fit."""
    images = random_images(np.random.default_rng(1), network, 2)
    kernels, integers = run_network(network, images), network.integers(images)
    for operation, ours, theirs in zip(network.operations, integers, kernels, strict=True):
        np.testing.assert_array_equal(ours, theirs, operation.name)
    try:
        program = compile(network, cfg)
    except DoesNotFitError as e:
        note(str(e))
        return False
    runs = {level: simulate(program, images, level=level, jobs=1) for level in levels}
    for level, run in runs.items():
        assert run.mismatches(integers[-1]) == 0, level
        np.testing.assert_array_equal(run.traffic, runs[levels[0]].traffic, level)
    if "verilator" in levels:
        ((cl,), (verilator,)) = runs["cl"].chunks, runs["verilator"].chunks
        for name, mine, theirs in zip(cl._fields, cl, verilator, strict=True):
            np.testing.assert_array_equal(mine, theirs, f"{name} of cl and verilator")
    return True


@given(network=chains(), cfg=st.sampled_from(ROOMY))
def test_functional_and_cycle_level(network: Network, cfg: Any) -> None:
    assert_levels_equal_the_kernels(network, cfg, ("fl", "cl"))


@given(network=chains(most=3))
def test_verilated(network: Network) -> None:
    cfg = CONFIGS["adder" if any(isinstance(op, Add) for op in network.operations) else "groups"]
    assert_levels_equal_the_kernels(network, cfg, ("fl", "cl", "verilator"))


@pytest.mark.parametrize("kind", ["3x3 depthwise, stride 2", "11x11", "1x9, stride 1x4"])
def test_sizes_that_people_use(kind: str) -> None:
    rng = np.random.default_rng(4)
    x = tensor("input", (6, 20, 23), 0.5, False, rng)
    size, stride, padding, groups = {
        # As TensorFlow pads for stride 2: nothing above and left
        "3x3 depthwise, stride 2": ((3, 3), (2, 2), (0, 0, 1, 1), 6),
        "11x11": ((11, 11), (4, 3), (5, 5, 5, 5), 1),
        "1x9, stride 1x4": ((1, 9), (1, 4), (0, 4, 0, 4), 1),
    }[kind]
    window = {"stride": stride, "padding": padding}
    operation = conv2d("conv", x, 6, groups, size, window, True, True, rng)
    network = Network(name="n", operations=(operation,))
    assert assert_levels_equal_the_kernels(network, ROOMY[0], ("fl", "cl"))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("cfg", [cfg for cfg in ROOMY if cfg.adder], ids=str)
def test_residual_blocks(cfg: Any, signed: bool) -> None:
    network = residual_network(np.random.default_rng(6), signed)
    assert assert_levels_equal_the_kernels(network, cfg, ("fl", "cl"))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("cfg", [cfg for cfg in ROOMY if cfg.adder], ids=str)
def test_tables(cfg: Any, signed: bool) -> None:
    network = table_network(np.random.default_rng(6), signed)
    assert assert_levels_equal_the_kernels(network, cfg, ("fl", "cl"))
    names = [layer.name for layer in compile(network, cfg).layers]
    assert names == ["layer0", "layer1", "curve", "layer2", "again", "total", "other", "largest"]


def test_tables_verilated() -> None:
    cfg = dataclasses.replace(CONFIGS["adder"], **LARGE, tables=8, max_layers=8)
    network = table_network(np.random.default_rng(6))
    assert assert_levels_equal_the_kernels(network, cfg, ("fl", "cl", "verilator"))


@pytest.mark.parametrize("ends_joined", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("cfg", ROOMY[::2], ids=str)
def test_joined_tensors(cfg: Any, signed: bool, ends_joined: bool) -> None:
    network = joining_network(np.random.default_rng(6), signed, ends_joined)
    cfg = dataclasses.replace(cfg, max_layers=10)
    assert assert_levels_equal_the_kernels(network, cfg, ("fl", "cl"))


def test_joined_tensors_verilated() -> None:
    network = joining_network(np.random.default_rng(6))
    cfg = dataclasses.replace(CONFIGS["groups"], **LARGE, max_layers=10)
    assert assert_levels_equal_the_kernels(network, cfg, ("fl", "cl", "verilator"))


@pytest.mark.parametrize("origin", ["executorch", "litert"])
def test_other_roundings(origin: str) -> None:
    """Sums whose ties go up, and averages whose ties go away from zero: PyTorch has neither, so
    what is right is what the network's own arithmetic says."""
    rounding = RUNTIMES[origin].rounding
    rng = np.random.default_rng(7)
    x = tensor("input", (10, 6, 6), 0.5, True, rng)
    half = dataclasses.replace(x, scale=x.scale * 2)
    total = dataclasses.replace(half, name="sum")
    mean = dataclasses.replace(half, name="mean", shape=(10, 3, 2))
    network = Network(
        name="n",
        origin=origin,
        operations=(
            Add(name="sum", input=x, other=x, output=total, relu=False, rounding=rounding),
            AvgPool2d(
                name="mean", size=(2, 3), stride=(2, 3), input=total, output=mean, rounding=rounding
            ),
        ),
    )
    images = random_images(rng, network, 3)
    program = compile(network, CONFIGS["adder"])
    for level in ("fl", "cl", "verilator"):
        run = simulate(program, images, level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs, network.integers(images)[-1], level)


def test_steps_of_sums() -> None:
    """A convolution that is added to takes a step more for each vector; a sum by itself takes two,
    of eight channels each."""
    rng = np.random.default_rng(8)
    x = tensor("input", (16, 8, 8), 0.5, False, rng)
    single: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0, 0, 0)}
    first, second = (
        conv2d(name, x, 16, 1, (1, 1), single, True, False, rng) for name in ("first", "second")
    )
    second = dataclasses.replace(second, input=first.output)
    block = added(rng, "block", second.output, first.output)
    alone = added(rng, "alone", block.output, first.output)
    network = Network(name="n", operations=(first, second, block, alone))
    program = compile(network, dataclasses.replace(base, adder=True))
    vectors = 64 * 16 // 8
    # The last sum is fused with nothing: what is before it adds already.
    assert [layer.steps for layer in program.layers] == [2 * vectors, 3 * vectors, 2 * vectors]
    with pytest.raises(DoesNotFitError, match=r"'second' adds a tensor.*; adder = true would do"):
        compile(network, base)
