"""Networks from .tflite files: byte for byte what LiteRT yields, at every tensor."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import accel
from accel import cli, numerics
from accel.errors import AccelError
from accel.exploration.fit import smallest
from accel.frontends import litert
from accel.network.graph import Network
from accel.network.order import Order
from accel.network.tensor import Tensor
from accel.operations import Conv2d
from accel.operations.mean import Mean
from accel.runtimes.litert import run_network
from accel.simulation.difference import first_difference
from tests import ROOT
from tests.strategies import more_examples
from tests.tflite import SAME, VALID, Model
from tests.tflite_models import KINDS, PLAIN, F, Random, joined, one, ties, whole

CONFIG = accel.load_config({"preset": "base", "adder": True})
SEEDS = st.integers(0, 2**32 - 1)
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@pytest.fixture
def load(tmp_path: Path):
    """Content to the network of a file with it."""

    def found(content: bytes) -> Network:
        (tmp_path / "model.tflite").write_bytes(content)
        return accel.load(tmp_path / "model.tflite")

    return found


def network_of(content: bytes) -> Network:
    """As :func:`accel.load` reads it from a file."""
    return litert.network(content, "model")


def held_to_litert(network: Network, images: np.ndarray) -> int:
    """Each tensor of the integer model is LiteRT's. Returns how many bytes that are."""
    found, wanted = network.integers(images), run_network(network, images)
    for operation, ours, theirs in zip(network.operations, found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=operation.name)
    return sum(y.size for y in wanted)


def held_to_litert_by_the_accelerator(network: Network, images: np.ndarray, **options: Any) -> None:
    """Each tensor that the accelerator stores, and each output, is LiteRT's."""
    program = accel.compile(network, smallest([network], CONFIG))
    run = accel.simulate(program, images, level="fl", jobs=1)
    assert run.mismatches(run_network(network, images)[-1].astype(np.int64)) == 0
    assert first_difference(network, program, images, 0, "fl") is None


# All operators, with everything that they may have


@pytest.mark.parametrize("kind", KINDS)
@more_examples(2)
@given(seed=SEEDS)
def test_an_operator(kind: str, seed: int) -> None:
    content, r, x = one(np.random.default_rng(seed), kind)
    held_to_litert(network_of(content), r.images(x, 4))


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
def test_an_operator_on_the_accelerator(kind: str, seed: int) -> None:
    content, r, x = one(np.random.default_rng(seed), kind)
    held_to_litert_by_the_accelerator(network_of(content), r.images(x, 2))


@given(seed=SEEDS)
def test_joined_tensors(seed: int) -> None:
    content, r, x = joined(np.random.default_rng(seed))
    network, images = network_of(content), r.images(x, 3)
    held_to_litert(network, images)
    held_to_litert_by_the_accelerator(network, images)


@given(seed=SEEDS)
def test_a_model_of_many(seed: int) -> None:
    """Padding, branches, flattening, a softmax."""
    content, r, x = whole(np.random.default_rng(seed))
    network = network_of(content)
    held_to_litert(network, r.images(x, 3))
    (note,) = network.notes
    assert re.fullmatch(r"the network ends before operator 8, SOFTMAX, .* left to the host", note)


@pytest.mark.parametrize("kind", WEIGHTED)
@given(seed=SEEDS)
def test_ties(kind: str, seed: int) -> None:
    """Where another multiplier or another rounding would yield another byte."""
    # Each channel of a depthwise layer is a group for the array.
    content, image = ties(np.random.default_rng(seed), kind, 40 if kind[0] == "D" else 500)
    network = network_of(content)
    held_to_litert(network, image)
    held_to_litert_by_the_accelerator(network, image)


@pytest.mark.parametrize("kind", WEIGHTED)
def test_ties_tell_formulas_apart(kind: str) -> None:
    differ = Counter[str]()
    for seed in range(20):
        content, image = ties(np.random.default_rng(seed), kind, 500)
        network = network_of(content)
        (layer,) = network.layers
        wanted = run_network(network, image)[0].ravel()
        acc = layer.sums(network.order.inward(image)).ravel() + layer.folded_bias
        scales = np.broadcast_to(layer.weight_scale, layer.bias.shape)
        other = numerics.qnnpack_multiplier(layer.input.scale, scales, layer.output.scale)
        end = layer.output.zero_point, *layer.output_range
        differ["multiplier"] += int((numerics.requantize(acc, other, *end) != wanted).sum())
        product = acc * layer.multiplier.astype(np.float64)
        once = np.clip(np.rint(product) + end[0], *end[1:])
        differ["rounding"] += int((once != wanted).sum())
    assert differ["multiplier"] > 0 and differ["rounding"] > 0


@given(seed=SEEDS)
def test_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    r, groups = Random(rng), int(rng.integers(2, 5))
    x = r.given((1, 5, 6, groups * int(rng.integers(1, 4))))
    y = r.conv("CONV_2D", x, groups=groups)
    network, images = network_of(r.model.content([x.index], [y.index])), r.images(x, 3)
    assert isinstance(network.operations[0], Conv2d) and network.operations[0].groups == groups
    held_to_litert(network, images)
    held_to_litert_by_the_accelerator(network, images)


@pytest.mark.parametrize("keep", [False, True])
@more_examples(2)
@given(seed=SEEDS)
def test_means(keep: bool, seed: int) -> None:
    """Over rows and columns, to another scale; the array's integers for it are found by trying."""
    rng = np.random.default_rng(seed)
    r = Random(rng)
    x = r.given(r.map_shape())
    channels = x.shape[3]
    scale = F(x.scale * np.exp2(rng.choice([0, rng.uniform(-2, 1)])))
    y = r.made((1, 1, 1, channels) if keep else (1, channels), scale)
    axes = r.model.constant(np.array([[1, 2], [2, 1], [-2, -3]][seed % 3], np.int32))
    r.model.operator("MEAN", [x.index, axes], y.index, keepDims=keep)
    network, images = network_of(r.model.content([x.index], [y.index])), r.images(x, 6)
    held_to_litert(network, images)
    (mean,) = network.operations
    assert isinstance(mean, Mean)
    try:
        bias, multiplier, added = mean.scaling
    except AccelError:
        return
    sums = np.arange(-128 * mean.area, 127 * mean.area + 1)
    np.testing.assert_array_equal(
        numerics.requantize(sums + bias, multiplier, added, -128, 127), mean._of(sums)
    )
    held_to_litert_by_the_accelerator(network, images)


def test_most_means_have_integers_and_others_are_refused_by_name() -> None:
    rng = np.random.default_rng(3)
    refused = []
    for _ in range(100):
        x = Tensor(
            name="x",
            shape=(1, *(int(n) for n in rng.integers(1, 12, 2))),
            scale=float(F(np.exp2(rng.uniform(-8, 0)))),
            zero_point=int(rng.integers(-128, 128)),
            signed=True,
        )
        y = dataclasses.replace(x, name="y", shape=(1, 1, 1), zero_point=int(rng.integers(-9, 9)))
        if rng.random() < 0.7:
            y = dataclasses.replace(y, scale=float(F(x.scale * np.exp2(rng.uniform(-2, 1)))))
        network = Network(
            name="n", origin="litert", operations=(Mean(name="m", input=x, output=y),)
        )
        try:
            accel.compile(network, "base")
        except AccelError as e:
            refused.append(str(e))
    assert 1 <= len(refused) <= 10
    assert set(refused) == {
        "layer 'm': no integers were found with which the array makes the means that litert does"
    }


def test_verilated() -> None:
    """The hardware itself."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        r = Random(rng)
        x = r.given((1, 9, 8, 3))
        y = r.conv("CONV_2D", x)
        y = r.conv("DEPTHWISE_CONV_2D", y)
        y = r.pool("MAX_POOL_2D" if seed % 2 else "AVERAGE_POOL_2D", y)
        y = r.linear(y) if seed % 3 else y
        network, images = network_of(r.model.content([x.index], [y.index])), r.images(x, 3)
        run = accel.simulate(accel.compile(network, "base"), images, level="verilator", jobs=1)
        wanted = run_network(network, images)[-1]
        assert run.outputs.shape == wanted.shape
        assert run.mismatches(wanted.astype(np.int64)) == 0


# Averages, of the bytes as they are


@pytest.mark.parametrize("window", [(1, 2), (2, 2), (2, 3), (3, 3), (4, 4), (8, 8), (5, 8)])
def test_averages_at_ties(window: tuple[int, int]) -> None:
    """Sums of each kind that there is about each tie, for all zero points."""
    rows, columns = window
    area = rows * columns
    sums = np.clip(np.arange(-128, 128)[:, None] * area + area // 2 + [-1, 0, 1], -128 * area, None)
    sums = np.minimum(sums.ravel(), 127 * area)
    pixels = np.stack([(sums + i) // area for i in range(area)])
    assert (pixels.sum(0) == sums).all()
    # 24 images of two channels, 16 windows beside one another
    images = pixels.reshape(rows, columns, 24, 16, 2).transpose(2, 0, 3, 1, 4)
    images = images.reshape(24, rows, 16 * columns, 2)
    for zero_point in (-128, -3, 0, 127):
        m = Model()
        x = m.tensor((1, *images.shape[1:]), 0.5, zero_point)
        y = m.tensor((1, 1, 16, 2), 0.5, zero_point)
        m.operator(
            "AVERAGE_POOL_2D", [x], y, padding=VALID, strideH=rows, strideW=columns,
            filterHeight=rows, filterWidth=columns,
        )  # fmt: skip
        network = network_of(m.content([x], [y]))
        held_to_litert(network, images)
        held_to_litert_by_the_accelerator(network, images)


def test_averages_over_an_edge_are_refused() -> None:
    m = Model()
    x, y = m.tensor((1, 4, 4, 1), 0.5), m.tensor((1, 2, 2, 1), 0.5)
    m.operator("AVERAGE_POOL_2D", [x], y, padding=SAME, strideH=2, strideW=2, filterHeight=3,
               filterWidth=3)  # fmt: skip
    with pytest.raises(AccelError, match="its windows lie over the edge, where LiteRT averages"):
        network_of(m.content([x], [y]))


# What a file has at its ends


def small(m: Model, x: int, shape: tuple[int, ...] = (1, 4, 5, 2)) -> int:
    """A convolution of three outputs."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (3, 2, 2, shape[3])).astype(np.int8)
    y = m.tensor((1, shape[1] - 1, shape[2] - 1, 3), 0.25, 7)
    w, b = m.constant(weight, 2.0**-8), m.constant(np.array([100, -200, 0], np.int32), 2.0**-9)
    return m.operator("CONV_2D", [x, w, b], y, **PLAIN)


def test_real_numbers_in_and_out() -> None:
    """A QUANTIZE before and a DEQUANTIZE behind: accel makes the same integers of real numbers."""
    rng = np.random.default_rng(1)
    m = Model()
    given, x = m.tensor((1, 4, 5, 2), dtype=np.float32), m.tensor((1, 4, 5, 2), 0.5, -3)
    m.operator("QUANTIZE", [given], x)
    y = small(m, x)
    end = m.operator("DEQUANTIZE", [y], m.tensor((1, 3, 4, 3), dtype=np.float32))
    content = m.content([given], [end])
    network = network_of(content)
    assert network.input == Tensor(
        name=f"tensor {x}", shape=(2, 4, 5), scale=0.5, zero_point=-3, signed=True
    )
    assert [re.split(" operator", note)[0] for note in network.notes] == [
        "the network begins behind",
        "the network ends before",
    ]
    held_to_litert(network, rng.integers(-128, 128, (5, 4, 5, 2)))
    # At ties, at the ends, and anywhere
    images = (rng.integers(-150, 150, (400, 4, 5, 2)) + rng.choice([0, 0.5], (400, 4, 5, 2))) / 2
    images = images.astype(np.float32)
    program = accel.compile(network, "base")
    quantized = program.quantize(images)
    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=False)
    interpreter.allocate_tensors()
    run = accel.simulate(program, images, level="fl", jobs=1)
    for image, integers, logits in zip(images, quantized, run.logits, strict=True):
        interpreter.set_tensor(given, image[None])
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_tensor(end)[0], logits.astype(np.float32))
        assert integers.shape == image.shape


def test_scales_that_are_no_powers_of_two_make_the_same_integers() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        scale, zero_point = F(np.exp2(rng.uniform(-9, 1))), int(rng.integers(-128, 128))
        m = Model()
        given, x = m.tensor((1, 500), dtype=np.float32), m.tensor((1, 500), scale, zero_point)
        m.operator("QUANTIZE", [given], x)
        values = ((rng.integers(-300, 300, 500) + rng.choice([0.5, 0.3], 500)) * scale).astype(F)
        interpreter = Interpreter(model_content=m.content([given], [x]))
        interpreter.allocate_tensors()
        interpreter.set_tensor(given, values[None])
        interpreter.invoke()
        np.testing.assert_array_equal(
            interpreter.get_tensor(x)[0],
            numerics.reciprocal_quantize(values, scale, zero_point, True),
        )


def test_bytes_from_zero_on_in_and_out() -> None:
    m = Model()
    given, x = m.tensor((1, 4, 5, 2), 0.5, 125, dtype=np.uint8), m.tensor((1, 4, 5, 2), 0.5, -3)
    m.operator("QUANTIZE", [given], x)
    y = small(m, x)
    end = m.operator("QUANTIZE", [y], m.tensor((1, 3, 4, 3), 0.25, 135, dtype=np.uint8))
    network = network_of(m.content([given], [end]))
    assert network.input.limits == (0, 255) and network.output.limits == (-128, 127)
    images = np.random.default_rng(3).integers(0, 256, (5, 4, 5, 2))
    held_to_litert(network, images)
    held_to_litert_by_the_accelerator(network, images)
    (note,) = network.notes
    assert re.fullmatch(
        "the network ends before operator 2, QUANTIZE, .*: its bytes are 128 less", note
    )


def test_a_vector_that_becomes_a_map_is_taken_as_a_map() -> None:
    m = Model()
    given, x = m.tensor((1, 40), 0.5, -3), m.tensor((1, 4, 5, 2), 0.5, -3)
    m.operator("RESHAPE", [given, m.constant(np.array([1, 4, 5, 2], np.int32))], x)
    y = small(m, x)
    flat = m.tensor((1, 36), 0.25, 7)
    m.operator("RESHAPE", [y, m.constant(np.array([1, -1], np.int32))], flat)
    network = network_of(m.content([given], [flat]))
    assert network.input.shape == (2, 4, 5) and network.output.shape == (3, 3, 4)
    (note,) = network.notes
    assert note.endswith(": it takes images of shape (1, 4, 5, 2)")
    held_to_litert(network, np.random.default_rng(4).integers(-128, 128, (5, 4, 5, 2)))


def test_shapes_that_are_computed_are_not() -> None:
    """As converters write a flattening of any number of images."""
    m = Model()
    x = m.tensor((1, 4, 5, 2), 0.5, -3)
    y = small(m, x)
    ints = [m.tensor(shape, dtype=np.int32) for shape in ((4,), (), (2,))]
    zero, one_, size = (m.constant(np.array(v, np.int32)) for v in ([0], [1], 36))
    m.operator("SHAPE", [y], ints[0], outType=schema.TensorType.INT32)
    m.operator("STRIDED_SLICE", [ints[0], zero, one_, one_], ints[1], shrinkAxisMask=1)
    m.operator("PACK", [ints[1], size], ints[2], valuesCount=2)
    flat = m.operator("RESHAPE", [y, ints[2]], m.tensor((1, 36), 0.25, 7))
    weight = np.random.default_rng(5).integers(-128, 128, (4, 36)).astype(np.int8)
    end = m.tensor((1, 4), 4.0, 3)
    m.operator("FULLY_CONNECTED", [flat, m.constant(weight, 2.0**-6), -1], end)
    network = network_of(m.content([x], [end]))
    images = np.random.default_rng(6).integers(-128, 128, (5, 4, 5, 2))
    held_to_litert(network, images)
    held_to_litert_by_the_accelerator(network, images)


# Rows, columns, channels


def test_images_and_maps_are_in_the_files_order(load) -> None:
    m = Model()
    x = m.tensor((1, 4, 5, 2), 0.5, -3)
    network = load(m.content([x], [small(m, x)]))
    assert network.order is Order.CHANNELS_LAST and network.input.shape == (2, 4, 5)
    images = np.random.default_rng(7).integers(-128, 128, (6, 4, 5, 2))
    wanted = run_network(network, images)[-1]
    assert wanted.shape == (6, 3, 4, 3)
    program = accel.compile(network, "base")
    for level in ("fl", "cl"):
        run = accel.simulate(program, images, level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs, wanted)
        assert run.mismatches(wanted.astype(np.int64)) == 0
        # A channel, not a place, wins or loses.
        np.testing.assert_array_equal(
            run.outputs.reshape(6, -1)[np.arange(6), run.winners], wanted.reshape(6, -1).max(axis=1)
        )
    with pytest.raises(
        AccelError, match=r"numbers of shape \(N, 4, 5, 2\), not int64 \(6, 2, 4, 5"
    ):
        accel.simulate(program, np.moveaxis(images, 3, 1), level="fl")
    with pytest.raises(AccelError, match=r"whole numbers of shape \(N, 4, 5, 2\), not"):
        network.integers(np.moveaxis(images, 3, 1))


def test_a_wrong_byte_is_found_at_its_place(load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places have channels first, as the hardware does, whatever the file's order."""
    m = Model()
    x = m.tensor((1, 4, 5, 2), 0.5, -3)
    network = load(m.content([x], [small(m, x)]))
    images = np.random.default_rng(8).integers(-128, 128, (1, 4, 5, 2))

    def wrong(network: Network, images: np.ndarray) -> list[np.ndarray]:
        (y,) = run_network(network, images)
        y[0, 2, 1, 0] ^= 1
        return [y]

    monkeypatch.setattr("accel.runtimes.litert.run_network", wrong)
    program = accel.compile(network, "base")
    for level in ("fl", "cl"):
        found = first_difference(network, program, images, 0, level)
        assert found is not None and found.place == (0, 2, 1)


def test_the_networks_file_has_all_but_litert(load, tmp_path: Path) -> None:
    content, r, x = whole(np.random.default_rng(9))
    network = load(content)
    network.save(tmp_path / "n.safetensors")
    again = Network.load(tmp_path / "n.safetensors")
    assert (again.order, again.origin, again.notes) == (
        Order.CHANNELS_LAST,
        "litert",
        network.notes,
    )
    images = r.images(x, 3)
    for a, b in zip(network.integers(images), again.integers(images), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(AccelError, match="it runs the original file, which this network was not"):
        accel.run_network(again, images)


# What is refused, by operator and tensor


def refusal(change: Any) -> str:
    """What a small model is refused for after ``change`` of it and its tensors."""
    m = Model()
    x = m.tensor((1, 4, 5, 2), 0.5, -3, name="image")
    y = small(m, x)
    end = change(m, x, y)
    with pytest.raises(AccelError) as e:
        network_of(m.content([x], [y if end is None else end]))
    return str(e.value)


def tensor(m: Model, index: int) -> Any:
    return m.graph.tensors[index]


def option(field: str, value: int) -> Any:
    return lambda m, x, y: setattr(m.graph.operators[0].builtinOptions, field, value)


def more(kind: str, **options: Any) -> Any:
    """Another operator at the end."""
    return lambda m, x, y: m.operator(kind, [y], m.tensor((1, 3, 4, 3), 0.25, 7), **options)


def float_weights(m: Model, x: int, y: int) -> None:
    tensor(m, x + 2).type = schema.TensorType.FLOAT32


def uint8(m: Model, x: int, y: int) -> None:
    for index in (x, y):
        tensor(m, index).type = schema.TensorType.UINT8


def joined_rows(m: Model, x: int, y: int) -> int:
    return m.operator("CONCATENATION", [y, y], m.tensor((1, 6, 4, 3), 0.25, 7), axis=1)


def joined_scale(m: Model, x: int, y: int) -> int:
    return m.operator("CONCATENATION", [y, y], m.tensor((1, 3, 4, 6), 0.5, 7), axis=3)


def joined_relu(m: Model, x: int, y: int) -> int:
    end = m.tensor((1, 3, 4, 6), 0.25, 7)
    relu = schema.ActivationFunctionType.RELU
    return m.operator("CONCATENATION", [y, y], end, axis=3, fusedActivationFunction=relu)


def other_mean(m: Model, x: int, y: int) -> int:
    axis = m.constant(np.array([3], np.int32))
    return m.operator("MEAN", [y, axis], m.tensor((1, 3, 4), 0.25, 7), keepDims=False)


def padded_channels(m: Model, x: int, y: int) -> int:
    sides = m.constant(np.array([[0, 0], [0, 0], [0, 0], [0, 1]], np.int32))
    return m.operator("PAD", [y, sides], m.tensor((1, 3, 4, 4), 0.25, 7))


def padded_end(m: Model, x: int, y: int) -> int:
    sides = m.constant(np.array([[0, 0], [0, 0], [0, 1], [0, 0]], np.int32))
    return m.operator("PAD", [y, sides], m.tensor((1, 3, 5, 3), 0.25, 7))


def padded_average(m: Model, x: int, y: int) -> int:
    return m.operator(
        "AVERAGE_POOL_2D", [padded_end(m, x, y)], m.tensor((1, 3, 5, 3), 0.25, 7), padding=VALID,
        strideH=1, strideW=1, filterHeight=1, filterWidth=1,
    )  # fmt: skip


def padded_maximum(m: Model, x: int, y: int) -> int:
    return m.operator(
        "MAX_POOL_2D", [padded_end(m, x, y)], m.tensor((1, 3, 5, 3), 0.25, 7), padding=VALID,
        strideH=1, strideW=1, filterHeight=1, filterWidth=1,
    )  # fmt: skip


def clamped_maximum(m: Model, x: int, y: int) -> int:
    return m.operator(
        "MAX_POOL_2D", [y], m.tensor((1, 3, 4, 3), 0.25, 7), padding=VALID, strideH=1, strideW=1,
        filterHeight=1, filterWidth=1, fusedActivationFunction=1,
    )  # fmt: skip


def two_outputs(m: Model, x: int, y: int) -> None:
    content = m.content

    def with_both(inputs: list[int], outputs: list[int]) -> bytes:
        return content(inputs, [*outputs, x])

    m.content = with_both  # type: ignore[method-assign]


def two_inputs(m: Model, x: int, y: int) -> int:
    other = m.tensor((1, 3, 4, 3), 0.25, 7)
    end = m.operator("ADD", [y, other], m.tensor((1, 3, 4, 3), 0.5, 7))
    content = m.content
    m.content = lambda inputs, outputs: content([x, other], outputs)  # type: ignore[method-assign]
    return end


def constant_summand(m: Model, x: int, y: int) -> int:
    other = m.constant(np.zeros((1, 3, 4, 3), np.int8), 0.25)
    return m.operator("ADD", [y, other], m.tensor((1, 3, 4, 3), 0.5, 7))


def broadcast(m: Model, x: int, y: int) -> int:
    axes = m.constant(np.array([1, 2], np.int32))
    mean = m.operator("MEAN", [y, axes], m.tensor((1, 1, 1, 3), 0.25, 7), keepDims=True)
    return m.operator("ADD", [y, mean], m.tensor((1, 3, 4, 3), 0.5, 7))


def after_softmax(m: Model, x: int, y: int) -> int:
    end = m.operator("SOFTMAX", [y], m.tensor((1, 3, 4, 3), 1 / 256, -128), beta=1.0)
    return m.operator("MAX_POOL_2D", [end], m.tensor((1, 3, 4, 3), 1 / 256, -128), padding=VALID,
                      strideH=1, strideW=1, filterHeight=1, filterWidth=1)  # fmt: skip


def retyped(m: Model, x: int, y: int) -> int:
    return m.operator("QUANTIZE", [y], m.tensor((1, 3, 4, 3), 0.5, 7, dtype=np.uint8))


def two_readers_of_the_float_input(m: Model, x: int, y: int) -> None:
    tensor(m, x).type, tensor(m, x).quantization = schema.TensorType.FLOAT32, None


def no_channels(m: Model, x: int, y: int) -> int:
    end = m.tensor((1, 36), 0.25, 7)
    return m.operator("RESHAPE", [y, m.constant(np.array([1, 36], np.int32))], end)


def after_flattening(m: Model, x: int, y: int) -> int:
    flat, end = no_channels(m, x, y), m.tensor((1, 4, 3, 3), 0.25, 7)
    again = m.operator("RESHAPE", [flat, m.constant(np.array([1, 4, 3, 3], np.int32))], end)
    return m.operator("MAX_POOL_2D", [again], m.tensor((1, 4, 3, 3), 0.25, 7), padding=VALID,
                      strideH=1, strideW=1, filterHeight=1, filterWidth=1)  # fmt: skip


def other_dimension(m: Model, x: int, y: int) -> None:
    q = tensor(m, 2).quantization
    q.scale, q.zeroPoint, q.quantizedDimension = np.full(3, 0.5, F), np.zeros(3, np.int64), 3


def custom(m: Model, x: int, y: int) -> None:
    code = m.model.operatorCodes[0]
    code.builtinCode, code.customCode = schema.BuiltinOperator.CUSTOM, "Mine\n"


def no_operator(m: Model, x: int, y: int) -> int:
    m.graph.operators.clear()
    shape = m.constant(np.array([1, 40], np.int32))
    return m.operator("RESHAPE", [x, shape], m.tensor((1, 40), 0.5, -3))


CONV = r"operator 0, CONV_2D, which yields tensor 1 't1': "
NEXT = r"operator 1, {}, which yields tensor \d+ 't\d+': "
REFUSED: dict[str, tuple[Any, str]] = {
    "float input": (
        two_readers_of_the_float_input,
        CONV + "tensor 0 'image' is FLOAT32, but must be INT8: quantize the model to full int8",
    ),
    "weights of real numbers": (
        float_weights,
        CONV + "its input 1 must be a constant of INT8, but is tensor 2 't2', of FLOAT32",
    ),
    "uint8": (uint8, CONV + "tensor 0 'image' is UINT8, but must be INT8"),
    "int16": (
        lambda m, x, y: setattr(tensor(m, y), "type", schema.TensorType.INT16),
        CONV + "tensor 1 't1' is INT16, but must be INT8",
    ),
    "weights with a zero point": (
        lambda m, x, y: setattr(tensor(m, 2).quantization, "zeroPoint", np.array([3])),
        CONV + "its weights, tensor 2 't2', have a zero point, but must be symmetric",
    ),
    "scales along another dimension": (
        other_dimension,
        CONV + "its weights, tensor 2 't2', have 3 scales along dimension 3, but must have one, or "
        "3 along dimension 0",
    ),
    "no scale": (
        lambda m, x, y: setattr(tensor(m, y), "quantization", None),
        CONV + "tensor 1 't1' has 0 scales, but must have one",
    ),
    "images at once": (
        lambda m, x, y: setattr(tensor(m, x), "shape", np.array([2, 4, 5, 2], np.int32)),
        CONV + r"tensor 0 'image' has shape \(2, 4, 5, 2\), but must be \(1, rows, columns",
    ),
    "no bias": (
        lambda m, x, y: setattr(m.graph.operators[0], "inputs", m.graph.operators[0].inputs[:2]),
        CONV + "it has no bias, without which LiteRT runs no int8 convolution",
    ),
    "dilation": (
        option("dilationWFactor", 2), CONV + "its windows have gaps: dilation must be 1, not 2",
    ),
    "activation": (
        option("fusedActivationFunction", 4),
        CONV + "its activation is TANH, but must be one of NONE, RELU, RELU6, RELU_N1_TO_1",
    ),
    "stride": (option("strideH", 0), CONV + "its stride is 0x1"),
    "padding": (option("padding", 7), CONV + "its padding is number 7, but must be SAME or VALID"),
    "large multiplier": (
        lambda m, x, y: setattr(tensor(m, y).quantization, "scale", np.full(1, 2.0**-18, F)),
        CONV + "its scales multiply sums by 512, but LiteRT runs no layer with 256 or more",
    ),
    "joined rows": (
        joined_rows, NEXT.format("CONCATENATION") + "it joins tensors along dimension 1, but only",
    ),
    "joined, with another scale": (
        joined_scale, NEXT.format("CONCATENATION") + ".*litert joins only tensors of the output's",
    ),
    "joined, with an activation": (
        joined_relu, NEXT.format("CONCATENATION") + "its activation is RELU, not NONE",
    ),
    "another activation": (more("SIN"), NEXT.format("SIN") + "an operator that this cannot take"),
    "mean over channels": (
        other_mean, NEXT.format("MEAN") + r"it must be over rows and columns, not dimensions \[3\]",
    ),
    "padded channels": (padded_channels, NEXT.format("PAD") + "it pads channels or images"),
    "padding at the end": (padded_end, "its output, tensor 5 't5', is not what its last operator"),
    "padding of an average": (
        padded_average, "operator 2, AVERAGE_POOL_2D, .*: what a PAD yields may only be the input",
    ),
    "padding of a maximum": (
        padded_maximum, "operator 2, MAX_POOL_2D, .*: its input is padded with zeros, not with the",
    ),
    "activation of a maximum": (
        clamped_maximum, NEXT.format("MAX_POOL_2D") + "its RELU changes values; only after a layer "
        "with weights it may",
    ),
    "two outputs": (two_outputs, "it has 2 outputs, but a network here has one"),
    "two inputs": (two_inputs, "it has 2 inputs, but a network here has one"),
    "constant summand": (
        constant_summand, NEXT.format("ADD") + "its input, tensor 4 't4', is a constant",
    ),
    "broadcast": (
        broadcast, r"operator 2, ADD, .*: it adds tensors of shapes \(1, 3, 4, 3\) and \(1, 1, 1",
    ),
    "behind a softmax": (
        after_softmax, "operator 2, MAX_POOL_2D, .*: it follows operator 1, SOFTMAX, .*, which "
        "only the host computes",
    ),
    "retyping": (retyped, NEXT.format("QUANTIZE") + "it changes the type in another way"),
    "vector to map": (
        after_flattening, r"operator 3, MAX_POOL_2D, .*: its input, .*, is a map of shape "
        r"\(3, 3, 4\) in another shape",
    ),
    "several graphs": (
        lambda m, x, y: m.model.subgraphs.append(m.graph),
        "it has 2 subgraphs, but must have one",
    ),
    "another schema": (
        lambda m, x, y: setattr(m.model, "version", 2), "it has schema version 2, not 3",
    ),
    "a variable": (
        lambda m, x, y: setattr(tensor(m, y), "isVariable", True),
        "tensor 1 't1' keeps its values from one image to the next",
    ),
    "a huge shape": (
        lambda m, x, y: setattr(tensor(m, x), "shape", np.array([1, 2**30, 2**30, 2], np.int32)),
        r"tensor 0 'image' has shape \(1, 1073741824, 1073741824, 2\), but must have at most 8",
    ),
    "a negative shape": (
        lambda m, x, y: setattr(tensor(m, x), "shape", np.array([1, -4, 5, 2], np.int32)),
        r"tensor 0 'image' has shape \(1, -4, 5, 2\), but",
    ),
    "values missing": (
        lambda m, x, y: setattr(m.model.buffers[1], "data", m.model.buffers[1].data[1:]),
        "tensor 2 't2' has 23 bytes of values, not the 24 it needs",
    ),
    "an unknown operator": (
        lambda m, x, y: setattr(m.model.operatorCodes[0], "builtinCode", 9999),
        "operator 0, operator code 9999, which yields tensor 1 't1': an operator that this cannot",
    ),
    "a custom operator": (
        custom,
        r"operator 0, custom operator 'Mine\\n', which yields tensor 1 't1': an operator that",
    ),
    "no operator": (
        no_operator, "nothing is computed: expected CONV_2D",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    change, says = REFUSED[name]
    sentence = refusal(change)
    assert re.match(says, sentence), sentence
    assert sentence.isprintable()


def test_what_is_no_file_of_a_model(tmp_path: Path) -> None:
    for name, content, says in (
        ("empty", b"", "it is no TensorFlow Lite model, which has TFL3 at byte 4"),
        ("text", b"a model, they said", "it is no TensorFlow Lite model"),
        ("short", b"\xff\0\0\0TFL3", "it is damaged"),
        ("folder", None, "it is not a file"),
    ):
        path = tmp_path / f"{name}.tflite"
        path.mkdir() if content is None else path.write_bytes(content)
        with pytest.raises(AccelError, match=f"cannot load the network .*{name}.tflite: {says}"):
            accel.load(path)
    with pytest.raises(AccelError, match=r"cannot load the network .*: No such file or directory"):
        accel.load(tmp_path / "none.tflite")


@more_examples(1)
@given(seed=SEEDS)
def test_damaged_files(seed: int) -> None:
    """A hundred: cut somewhere, bytes or bits changed. A sentence, or a network that is right."""
    rng = np.random.default_rng(seed)
    content, _, _ = whole(rng)
    sentences = set()
    for number in range(100):
        damaged = bytearray(content)
        if number % 3 == 0:
            del damaged[int(rng.integers(len(content))) :]
        for at in rng.integers(0, max(len(damaged), 1), rng.integers(1, 9)):
            if number % 3 == 1:
                damaged[at] = rng.integers(256)
            if number % 3 == 2:
                damaged[at] ^= 1 << int(rng.integers(8))
        try:
            network = network_of(bytes(damaged))
            assert network.operations
        except AccelError as e:
            sentences.add(str(e))
    assert all(sentence.isprintable() and len(sentence) < 600 for sentence in sentences)


# In the command line


def fashion() -> bytes:
    """A network of random weights that takes Fashion-MNIST's images."""
    r = Random(np.random.default_rng(11))
    m = r.model
    x = r.given((1, 28, 28, 1))
    tensor(m, x.index).quantization.scale = np.array([1 / 255], F)
    tensor(m, x.index).quantization.zeroPoint = np.array([-128])
    x = dataclasses.replace(x, scale=F(1 / 255), zero_point=-128)
    y = r.weighted("CONV_2D", x, (4, 3, 3, 1), 0, (1, 9, 9, 4), padding=VALID, strideH=3, strideW=3,
                   dilationHFactor=1, dilationWFactor=1)  # fmt: skip
    end = r.weighted("FULLY_CONNECTED", y, (10, 324), 0, (1, 10))
    return m.content([x.index], [end.index])


def test_accel_run_compares_with_litert(tmp_path: Path) -> None:
    (tmp_path / "fashion.tflite").write_bytes(fashion())
    made = tmp_path / "run.json"
    arguments = ["run", "--level", "fl", "--images", "30", "--network", tmp_path / "fashion.tflite"]
    result = CliRunner().invoke(cli.app, [*map(str, arguments), "--json", str(made)])
    assert result.exit_code == 0, result.output
    record = json.loads(made.read_text())
    assert record["reference"] == "LiteRT" and record["mismatched_outputs"] == 0
    assert "LiteRT" in record["versions"]
    accel.load(tmp_path / "fashion.tflite").save(tmp_path / "saved.safetensors")
    arguments[-1] = tmp_path / "saved.safetensors"
    result = CliRunner().invoke(cli.app, [*map(str, arguments), "--json", str(made), "--force"])
    record = json.loads(made.read_text())
    assert result.exit_code == 0 and record["mismatched_outputs"] == 0
    assert record["reference"].startswith("the integer model, which is tested against LiteRT")


def test_litert_says_nothing_past_python(tmp_path: Path) -> None:
    (tmp_path / "fashion.tflite").write_bytes(fashion())
    command = ["run", "--quiet", "--level", "fl", "--images", "3", "--network", "fashion.tflite"]
    done = subprocess.run(
        [sys.executable, "-c", "from accel.cli import main; main()", *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_its_package_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "fashion.tflite").write_bytes(fashion())
    code = "import sys; sys.modules['ai_edge_litert'] = None; import accel; accel.load(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "fashion.tflite")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert re.search(
        r"AccelError: .*ai-edge-litert, which is not installed: pip install 'accel-cnn\[litert\]'$",
        done.stderr,
    )


def test_the_how_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(
        r"(?ms)^```python\n(.*?)^```$", (ROOT / "docs/howto/from-litert.md").read_text()
    )
    content, r, x = whole(np.random.default_rng(12))
    (tmp_path / "model.tflite").write_bytes(content)
    np.save(tmp_path / "images.npy", r.images(x, 5))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "from-litert.md", "exec"), {})
    note, outputs, *tensors = capsys.readouterr().out.splitlines()
    assert "SOFTMAX" in note
    assert re.fullmatch(r"0 of \d+ outputs differ", outputs)
    assert len(tensors) == 6
    assert all(re.fullmatch(r"\w+ 0 of \d+", line) for line in tensors)


FUNCTIONS: dict[str, tuple[tuple[float, int] | None, dict[str, Any]]] = {
    "LOGISTIC": ((1 / 256, -128), {}), "TANH": ((1 / 128, 0), {}), "HARD_SWISH": (None, {}),
    "LEAKY_RELU": (None, {"alpha": 0.2}), "ELU": (None, {}), "GELU": (None, {}),
    "RELU": (None, {}), "RELU6": (None, {}), "QUANTIZE": (None, {}),
}  # fmt: skip
"""Operators of one value: the scale and zero point that they must have, and options."""


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions_of_one_value(kind: str, tmp_path: Path) -> None:
    """All 256 values, in any place of a tensor."""
    rng = np.random.default_rng(len(kind))
    form, options = FUNCTIONS[kind]
    scale = float(np.float32(2.0 ** rng.uniform(-6, -4)))
    after = form or (float(np.float32(scale * rng.uniform(0.6, 1.5))), int(rng.integers(-99, -60)))
    model = Model()
    x = model.tensor((1, 5, 6, 3), scale, int(rng.integers(-30, 30)))
    y = model.operator(kind, [x], model.tensor((1, 5, 6, 3), *after), **options)
    file = tmp_path / "n.tflite"
    file.write_bytes(model.content([x], [y]))
    network = accel.load(file)
    assert [op.kind for op in network.operations] == ["table"]
    images = rng.permutation(np.resize(np.arange(-128, 128), 90 * 64)).reshape(64, 5, 6, 3)
    found = network.integers(images)[-1]
    np.testing.assert_array_equal(accel.run_network(network, images)[-1], found)
    assert len(np.unique(found)) > 30
    program = accel.compile(network, {"preset": "tiny", "tables": 1})
    run = accel.simulate(program, images[:2], level="cl", jobs=1)
    np.testing.assert_array_equal(run.outputs, found[:2])
