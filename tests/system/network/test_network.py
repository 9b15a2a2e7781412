"""A network checks itself, and its file gives back the same network or one clear sentence."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save as safetensors_bytes

from accel import numerics
from accel.compiler.compile import compile
from accel.errors import AccelError
from accel.hardware.config import base
from accel.network import file as network_file
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Linear as LinearOperation
from accel.operations import MaxPool2d
from accel.operations.weighted import Weighted
from accel.runtimes.qnnpack import run_network
from accel.runtimes.rounding import QNNPACK, XNNPACK
from accel.simulation.runner import simulate
from tests.networks import (
    Conv,
    Linear,
    compile_if_it_fits,
    layer_output_shape,
    random_images,
    random_network,
)

ARRAYS = ("weight", "weight_scale", "bias")


def small_network(*, per_channel=True, signed=False, seed=1) -> Network:
    specs = [
        Conv(3, (3, 3), padding=1, pool=True),
        Conv(2, (2, 1), stride=2, relu=False),
        Linear(5),
        Linear(3, relu=False),
    ]
    rng = np.random.default_rng(seed)
    return random_network(rng, (2, 6, 7), specs, per_channel=per_channel, signed=signed)


def assert_same(a: Network, b: Network) -> None:
    assert a.name == b.name and len(a.operations) == len(b.operations)
    for x, y in zip(a.operations, b.operations, strict=True):
        assert type(x) is type(y)
        for field in dataclasses.fields(x):
            left, right = getattr(x, field.name), getattr(y, field.name)
            np.testing.assert_array_equal(left, right)
            assert type(left) is type(right)
            if field.name in ARRAYS:
                assert left.dtype == right.dtype


def named(tensor: Tensor, name: str) -> Tensor:
    return dataclasses.replace(tensor, name=name)


def assert_one_sentence(error: AccelError) -> None:
    text = str(error)
    assert text.isprintable() and len(text) < 500
    assert ". " not in text and not text.endswith(".")


def refused(path) -> str:
    with pytest.raises(AccelError) as e:
        Network.load(path)
    assert_one_sentence(e.value)
    assert str(path) in str(e.value)
    return str(e.value)


# What a network says of itself


def test_derived_numbers_come_from_numerics():
    for per_channel in (False, True):
        for layer in small_network(per_channel=per_channel).layers:
            sx, sw, sy = layer.input.scale, layer.weight_scale, layer.output.scale
            bias_q = numerics.quantize_bias(layer.bias, sx, sw)
            np.testing.assert_array_equal(layer.bias_q, bias_q)
            folded = numerics.fold_bias(bias_q, layer.weight, layer.input.zero_point)
            np.testing.assert_array_equal(layer.folded_bias, folded)
            assert layer.multiplier.shape == layer.bias.shape
            assert layer.multiplier.dtype == np.float32
            assert np.all(layer.multiplier == numerics.qnnpack_multiplier(sx, sw, sy))
            assert layer.output_range[0] == (layer.output.zero_point if layer.relu else 0)


def test_counts():
    network = small_network()
    shapes = [layer.output.shape for layer in network.layers]
    assert shapes == [(3, 6, 7), (2, 1, 2), (5,), (3,)]
    assert [op.output.shape for op in network.operations][1] == (3, 3, 3)
    assert [layer.macs for layer in network.layers] == [54 * 6 * 7, 12 * 2, 20, 15]
    assert network.macs == sum(layer.macs for layer in network.layers)
    # The seventh column is left out by the pooling, so nobody needs it.
    assert [layer.macs for layer in compile(network, base).layers] == [54 * 6 * 6, 12 * 2, 20, 15]
    assert [layer.num_parameters for layer in network.layers] == [57, 14, 25, 18]
    assert (network.input, network.output) == (
        network.layers[0].input,
        network.layers[-1].output,
    )


@pytest.mark.parametrize("signed", [False, True])
def test_accumulator_bound_is_reached_and_not_passed(signed):
    network = small_network(signed=signed)
    layer = network.layers[2]
    lo, hi = layer.input.limits
    w = layer.weight.astype(np.int64)
    highest = (np.where(w > 0, hi, lo) * w).sum(axis=1) + layer.folded_bias
    lowest = (np.where(w > 0, lo, hi) * w).sum(axis=1) + layer.folded_bias
    assert np.all(np.maximum(highest, -lowest) <= layer.accumulator_bound)
    same_sign = dataclasses.replace(
        layer, weight=np.full_like(layer.weight, -3), bias=np.zeros_like(layer.bias)
    )
    extreme = lo if signed else hi
    sums = numerics.linear(np.full((1, 4), extreme), same_sign.weight)
    np.testing.assert_array_equal(
        np.abs(sums[0]) + np.abs(same_sign.folded_bias), same_sign.accumulator_bound
    )


def test_arrays_are_copied_and_read_only():
    layer = small_network().layers[0]
    weight = layer.weight.copy()
    copy = dataclasses.replace(layer, weight=weight)
    weight[:] = 0
    np.testing.assert_array_equal(copy.weight, layer.weight)
    for field in ARRAYS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(copy, field)[...] = 0


def test_output_shape_is_pytorchs():
    from torch import nn, zeros

    for size in range(5, 12):
        for kernel, stride, padding in ((3, 1, 1), (5, 2, 2), (2, 2, 0), (1, 3, 0)):
            for pool in (False, True):
                model = nn.Sequential(nn.Conv2d(2, 4, kernel, stride, padding))
                if pool and (size + 2 * padding - kernel) // stride + 1 >= 2:
                    model.append(nn.MaxPool2d(2))
                    shape = tuple(model(zeros(1, 2, size, size + 1)).shape[1:])
                    weight_shape = (4, 2, kernel, kernel)
                    map_shape = (2, size, size + 1)
                    ours = layer_output_shape(map_shape, weight_shape, stride, padding, pool)
                    assert ours == shape


# What is refused


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", "", "name must be 1 to 100 printable characters"),
        ("shape", (), "shape must be"),
        ("shape", (2, 2), "shape must be"),
        ("shape", (1, 0, 1), "shape must be"),
        ("shape", (-4,), "shape must be"),
        ("shape", (2.0,), "shape must be"),
        ("shape", (True,), "shape must be"),
        ("shape", (1 << 17,), "shape must be"),
        ("shape", (1 << 10, 1 << 10, 1 << 10), "shape must be"),
        ("scale", 0.0, "scale must be"),
        ("scale", -1.0, "scale must be"),
        ("scale", float("nan"), "scale must be"),
        ("scale", float("inf"), "scale must be"),
        ("scale", 1e-40, "scale must be"),
        ("scale", 0.1, "scale must be a positive normal float32, not 0.1"),
        ("scale", 1, "scale must be"),
        ("zero_point", 256, "zero point must be a whole number from 0 to 255, not 256"),
        ("zero_point", -1, "zero point"),
        ("zero_point", 1.0, "zero point"),
        ("signed", 1, "signed must be"),
    ],
)
def test_wrong_tensor(field, value, says):
    tensor = Tensor(name="x", shape=(2, 3, 4), scale=0.5, zero_point=7, signed=False)
    with pytest.raises(AccelError, match=says) as e:
        dataclasses.replace(tensor, **{field: value})
    assert_one_sentence(e.value)


def test_signed_zero_points():
    tensor = Tensor(name="x", shape=(2,), scale=0.5, zero_point=-128, signed=True)
    with pytest.raises(AccelError, match="from -128 to 127, not 128"):
        dataclasses.replace(tensor, zero_point=128)


F32 = np.float32


@pytest.mark.parametrize(
    ("which", "field", "change", "says"),
    [
        (0, "name", lambda v: "", "name must be 1 to 100 printable characters"),
        (0, "name", lambda v: "x\x1b[31m", "name must be 1 to 100 printable characters"),
        (0, "name", lambda v: "x" * 101, "name must be 1 to 100 printable characters"),
        (0, "weight", lambda v: v[0, 0], "weight must be an array of int8 with 4 dimensions"),
        (0, "weight", lambda v: v.astype(F32), "weight must be an array of int8"),
        (0, "weight", lambda v: v[:0], "weight must be an array of int8"),
        (0, "weight", lambda v: v.tolist(), "weight must be an array of int8"),
        (0, "weight", lambda v: v[:2], "must have 2 elements"),
        (0, "weight", lambda v: v[:, :1], "weight takes 1 channels"),
        (0, "weight", lambda v: v[:, :, :1], "its output has shape"),
        (0, "weight", lambda v: np.ones((3, 2, 9, 9), np.int8), "nothing is left"),
        (2, "weight", lambda v: v[:, :3], "weight takes 3 inputs, but the input .* has 4"),
        (0, "weight_scale", lambda v: v[:2], "must have 3 elements"),
        (0, "weight_scale", lambda v: v.astype(float), "weight_scale must be an array of float32"),
        (0, "weight_scale", lambda v: v * 0, "weight_scale must be a positive normal float32"),
        (0, "weight_scale", lambda v: -v, "weight_scale must be a positive normal float32"),
        (0, "weight_scale", lambda v: v * F32(np.nan), "weight_scale must be a positive normal"),
        (0, "weight_scale", lambda v: v * 0 + F32(2e-38), "the product of input scale and"),
        (0, "bias", lambda v: v[:2], "must have 3 elements"),
        (0, "bias", lambda v: v + F32(np.inf), "bias must be finite"),
        (0, "bias", lambda v: v + F32(1e9), "an accumulator can reach .* more than 32 bits hold"),
        (0, "bias", lambda v: v + F32(1e38), "an accumulator can reach .* more than 32 bits hold"),
        (0, "stride", lambda v: (0, 1), "stride must be 2 whole numbers from 1"),
        (0, "stride", lambda v: (1, 1.0), "stride must be"),
        (0, "stride", lambda v: 1, "stride must be"),
        (0, "stride", lambda v: (1 << 40, 1), "stride must be"),
        (0, "padding", lambda v: (-1, 0, 0, 0), "padding must be 4 whole numbers from 0"),
        (0, "padding", lambda v: (True, 0, 0, 0), "padding must be"),
        (0, "padding", lambda v: (0, 0), "padding must be"),
        (0, "padding", lambda v: (1 << 15,) * 4, "padded input has more than"),
        (0, "padding", lambda v: (2, 1, 1, 1), "its output has shape"),
        (0, "groups", lambda v: 0, "groups must be a whole number from 1"),
        (0, "groups", lambda v: 2, "weight takes 4 channels, but the input"),
        (0, "largest", lambda v: 256, "largest must be a whole number from .* to 255, not 256"),
        (0, "largest", lambda v: 0, "its smallest output must not be above its largest"),
        (0, "smallest", lambda v: -129, "smallest must be a whole number from -128 to 255, not"),
        (0, "relu", lambda v: 1, "relu must be true or false"),
        (0, "input", lambda v: None, "input must be a Tensor, not None"),
        (0, "output", lambda v: dataclasses.replace(v, scale=2.0**-100), "so small that"),
        (0, "output", lambda v: dataclasses.replace(v, scale=2.0**126), "multiplier that follows"),
        (0, "input", lambda v: dataclasses.replace(v, shape=(84,)), "weight takes 2 channels"),
    ],
)
def test_wrong_layer(which, field, change, says):
    layer = small_network().layers[which]
    with pytest.raises(AccelError, match=says) as e:
        dataclasses.replace(layer, **{field: change(getattr(layer, field))})
    assert_one_sentence(e.value)
    assert field == "name" or str(e.value).startswith(f"layer '{layer.name}': ")


def test_limits_of_int32_are_exact():
    """An accumulator of 2**31 - 1 is accepted, one more is not."""
    tensor = Tensor(name="x", shape=(1,), scale=1.0, zero_point=0, signed=False)
    options = {
        "name": "fc", "relu": False, "weight_scale": np.ones(1, F32),
        "input": tensor, "output": dataclasses.replace(tensor, name="y", scale=2.0**20),
    }  # fmt: skip
    bias = F32([2**31 - 255])
    assert bias == 2**31 - 256
    fits = LinearOperation(weight=np.ones((1, 1), np.int8), bias=bias, **options)
    assert fits.accumulator_bound.tolist() == [2**31 - 1]
    with pytest.raises(AccelError, match="can reach 2147483902, 255 more than 32 bits hold"):
        LinearOperation(weight=np.full((1, 1), 2, np.int8), bias=bias, **options)


def test_wrong_network():
    a, pool, b, c, d = small_network().operations
    wrong = {
        "has no layers": (),
        r"layer 'layer2' takes tensor 'layer1', which no layer before it yields": (a, pool, c),
        "must have different names": (a, pool, dataclasses.replace(b, name=a.name), c, d),
        "nothing takes tensor 'layer0.pool' of network 'n', and it is not the last one": (
            a, pool, dataclasses.replace(pool, name="p2", output=named(pool.output, "y")),
        ),
        "yields tensor 'layer0', which is there already": (
            a, dataclasses.replace(pool, output=named(pool.output, "layer0")),
        ),
        "layer 'layer1' rounds like xnnpack, but a network whose origin is pytorch rounds like": (
            a, pool, dataclasses.replace(b, rounding=XNNPACK), c, d,
        ),
    }  # fmt: skip
    for says, operations in wrong.items():
        with pytest.raises(AccelError, match=says) as e:
            Network(name="n", operations=operations)
        assert_one_sentence(e.value)
    with pytest.raises(AccelError, match="name must be 1 to 100 printable"):
        Network(name="two\nlines", operations=(a,))
    other_scale = dataclasses.replace(b.input, scale=b.input.scale * 2)
    with pytest.raises(AccelError, match=r"'layer0\.pool' before it yields"):
        Network(name="n", operations=(a, pool, dataclasses.replace(b, input=other_scale)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shape": (3, 1, 7)}, "nothing is left of an input of shape .* after windows of 2x2"),
        ({"shape": (84,)}, "its input must be a feature map"),
        ({"scale": 2.0}, "pooling keeps scale, zero point and sign"),
        ({"shape": (3, 8, 7)}, "its output has shape"),
    ],
)
def test_wrong_maximum(change, says):
    pool = small_network().operations[1]
    assert isinstance(pool, MaxPool2d)
    with pytest.raises(AccelError, match=says):
        dataclasses.replace(pool, input=dataclasses.replace(pool.input, **change))


def test_a_tensor_may_have_several_readers():
    """Nothing in the graph asks for a row: a tensor has readers, not a successor."""
    first, second = random_network(
        np.random.default_rng(0), (1, 4, 4), [Conv(2, (3, 3)), Linear(3)]
    ).operations
    other = dataclasses.replace(first, name="b", output=dataclasses.replace(first.output, name="b"))
    with pytest.raises(AccelError, match="nothing takes tensor 'b'"):
        Network(name="n", operations=(first, other, second))
    network = Network(name="n", operations=(first, second))
    assert network.readers == {"input": (first,), "layer0": (second,), "layer1": ()}


def test_other_roundings():
    """The multiplier of a runtime that divides is another float32 for some scales."""
    specs = [Conv(6, (3, 3)), Linear(5)]
    rng = np.random.default_rng
    ours = random_network(rng(0), (2, 6, 6), specs)
    theirs = random_network(rng(0), (2, 6, 6), specs, rounding=XNNPACK)
    pairs = [(a, b) for a, b in zip(ours.layers, theirs.layers, strict=True)]
    assert any((a.multiplier != b.multiplier).any() for a, b in pairs)
    for _, layer in pairs:
        scales = layer.input.scale, layer.weight_scale, layer.output.scale
        assert np.all(layer.multiplier == numerics.quotient_multiplier(*scales))
    images = random_images(rng(1), theirs, 20)
    run = simulate(compile(theirs, base), images, level="fl")
    np.testing.assert_array_equal(run.outputs, theirs.integers(images)[-1])
    with pytest.raises(AccelError, match="rounds like xnnpack, which PyTorch's kernels do not"):
        run_network(theirs, images)


# The file


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_file_gives_back_the_network(tmp_path, per_channel, signed):
    network = small_network(per_channel=per_channel, signed=signed)
    path = tmp_path / "a" / "network.safetensors"
    network.save(path)
    assert_same(Network.load(str(path)), network)
    assert os.listdir(path.parent) == [path.name]


def test_the_same_network_is_the_same_file(tmp_path):
    """Also in another process, where strings hash otherwise."""
    network = small_network()
    network.save(tmp_path / "one")
    program = "import sys, accel; accel.Network.load(sys.argv[1]).save(sys.argv[2])"
    paths = [str(tmp_path / "one"), str(tmp_path / "two")]
    subprocess.run([sys.executable, "-c", program, *paths], check=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_names_may_be_in_any_script(tmp_path):
    network = small_network()
    first = dataclasses.replace(network.operations[0], name='größe "1"\\')
    network = Network(name="网络", operations=(first, *network.operations[1:]))
    network.save(tmp_path / "n")
    assert_same(Network.load(tmp_path / "n"), network)


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("network") / "n"
    small_network().save(path)
    return path.read_bytes()


def test_a_file_cut_at_any_length(tmp_path, content):
    path = tmp_path / "cut"
    for length in [*range(0, len(content), 5), len(content) - 1]:
        path.write_bytes(content[:length])
        refused(path)
    path.write_bytes(content + b"\0")
    refused(path)


def test_a_file_with_any_byte_flipped(tmp_path, content):
    path = tmp_path / "flipped"
    for i in range(len(content)):
        changed = bytearray(content)
        changed[i] ^= 1 << i % 8
        path.write_bytes(changed)
        refused(path)


def test_a_change_of_the_description_that_means_the_same(tmp_path, content):
    path = tmp_path / "changed"
    start = content.index(b"0.", content.index(b"scale"))
    assert content[start + 2 : start + 3].isdigit()
    end = content.index(b",", start)
    changed = content[:start] + b" " + content[start : end - 1] + content[end:]
    assert len(changed) == len(content)
    path.write_bytes(changed)
    assert "damaged" in refused(path)


def rewritten(path, change_document=None, change_arrays=None, seal=True) -> None:
    """Write the small network's file with something else in it, and a checksum to match."""
    network = small_network()
    network.save(path)
    arrays, document = network_file._parse(path.read_bytes())
    if change_arrays:
        change_arrays(arrays)
    if change_document:
        change_document(document)
    if seal:
        document["sha256"] = network_file._checksum(document["network"], arrays)
    text = network_file._to_json(document)
    path.write_bytes(safetensors_bytes(arrays, {"accel": text}))


def set_in(*keys, value):
    def change(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


deep = json.loads("[" * 200 + "]" * 200)


@pytest.mark.parametrize(
    ("keys", "value", "says"),
    [
        (("version",), 4, "format version 4, but this program reads versions 1, 2, 3"),
        (("version",), True, "format version True"),
        (("version",), "1", "format version '1'"),
        (("version",), deep, "format version"),
        (("format",), "accel float network", "no description of a quantized network"),
        (("more",), 1, "file must have the fields"),
        (("network", "more"), 1, "network must have the fields"),
        (("network", "name"), 1, "network must have the fields"),
        (("network", "name"), "\x1b[31m", "name must be 1 to 100 printable"),
        (("network", "rounding"), "x" * 10_000, "which is none of qnnpack, xnnpack"),
        (("network", "rounding"), "xnnpack", "layer 'layer0' rounds like xnnpack, but a network"),
        (
            ("network", "origin"),
            "x" * 10_000,
            "the origin of network 'random' must be one of pytorch",
        ),
        (("network", "origin"), "onnx", "layer 'layer0' rounds like qnnpack, but a network whose"),
        (("network", "notes"), [1], "notes of network 'random' must be at most"),
        (("network", "notes"), ["a\nb"], "notes of network 'random' must be at most"),
        (("network", "notes"), ["a"] * 2000, "notes of network 'random' must be at most"),
        (("network", "input"), "layer0", "its tensors are not those of its layers"),
        (("network", "input"), None, "network must have the fields"),
        (("network", "operations"), [], "has no layers"),
        (("network", "operations"), {}, "network must have the fields"),
        (("network", "operations"), [1], "kind must be one of"),
        (("network", "operations", 0), {}, "kind must be one of"),
        (("network", "operations", 0), {"kind": "conv2d"}, "conv2d must have the fields"),
        (("network", "operations", 0, "name"), "other", "weight of layer 'other' is missing"),
        (("network", "operations", 2, "name"), "layer0", "weight of layer 'layer0' is missing"),
        (
            ("network", "operations", 0, "kind"),
            "x" * 10_000,
            "kind must be one of add, avg_pool2d, concat, conv2d, linear",
        ),
        (("network", "operations", 0, "kind"), ["x"], "kind must be one of"),
        (("network", "operations", 0, "stride"), [0, 1], "layer 'layer0': stride must be"),
        (("network", "operations", 0, "stride"), [deep], "layer 'layer0': stride must be"),
        (("network", "operations", 0, "stride"), [1, 10**4000], "layer 'layer0': stride must be"),
        (("network", "operations", 0, "stride"), 1.0, "conv2d must have the fields"),
        (("network", "operations", 0, "relu"), 1, "conv2d must have the fields"),
        (("network", "operations", 0, "inputs"), [], "reads must be 1, not"),
        (("network", "operations", 0, "inputs"), ["input", "input"], "reads must be 1, not"),
        (("network", "operations", 0, "inputs"), [deep], "it has no tensor"),
        (("network", "operations", 0, "inputs"), ["y"], "it has no tensor 'y'"),
        (("network", "operations", 0, "output"), "y", "it has no tensor 'y'"),
        (("network", "tensors", "layer0", "scale"), float("nan"), "scale must be"),
        (("network", "tensors", "layer0", "scale"), float("inf"), "scale must be"),
        (("network", "tensors", "layer0", "scale"), 0.1, "scale must be"),
        (("network", "tensors", "layer0", "scale"), deep, "tensor must have the fields"),
        (("network", "tensors", "layer0", "zero_point"), 300, "zero point must be"),
        (("network", "tensors", "layer0", "shape"), [3, 3], "shape must be"),
        (("network", "tensors", "layer0", "shape"), [3, 3, 4], "its output has shape"),
        (("network", "tensors", "layer0", "shape"), [3, 3, [4]], "shape must be"),
        (("network", "tensors", "input", "shape"), [2, 1, 1], "its output has shape"),
        (("network", "tensors", "input", "shape"), [2, 65536, 65536], "shape must be"),
        (
            ("network", "tensors", "more"),
            {"shape": [1], "scale": 1.0, "zero_point": 0, "signed": False},
            "its tensors are not those",
        ),
    ],
)
def test_a_sealed_file_with_a_wrong_description(tmp_path, keys, value, says):
    rewritten(tmp_path / "n", change_document=set_in(*keys, value=value))
    assert says in refused(tmp_path / "n")


# Version 2, which had no origin


@pytest.mark.parametrize(("rounding", "origin"), [(QNNPACK, "pytorch"), (XNNPACK, "executorch")])
def test_version_2_is_read_still(tmp_path, rounding, origin):
    rng = np.random.default_rng(0)
    network = random_network(rng, (2, 6, 6), [Conv(6, (3, 3)), Linear(5)], rounding=rounding)
    write_version_2(tmp_path / "n", network)
    loaded = Network.load(tmp_path / "n")
    assert_same(loaded, network)
    assert loaded.origin == origin


def test_a_wrong_file_of_version_2(tmp_path):
    write_version_2(tmp_path / "n", small_network(), rounding="onnxruntime")
    assert "rounds like 'onnxruntime', which is none of qnnpack, xnnpack" in refused(tmp_path / "n")


def write_version_2(path, network: Network, **changes) -> None:
    network.save(path)
    arrays, document = network_file._parse(path.read_bytes())
    for field in ("origin", "order", "notes"):
        del document["network"][field]
    for operation in document["network"]["operations"]:
        operation.pop("smallest", None)
    document |= {"version": 2, "network": document["network"] | changes}
    document["sha256"] = network_file._checksum(document["network"], arrays)
    path.write_bytes(safetensors_bytes(arrays, {"accel": network_file._to_json(document)}))


# Version 1, which knew layers in a row


def version_1(network: Network) -> tuple[dict, dict]:
    """Arrays and document as version 1 had them."""
    arrays, layers = {}, []

    def tensor(t: Tensor) -> dict:
        return {"shape": list(t.shape), "scale": t.scale, "zero_point": t.zero_point,
                "signed": t.signed}  # fmt: skip

    for op in network.operations:
        if isinstance(op, MaxPool2d):
            layers[-1] |= {"pool": True, "output": tensor(op.output)}
            continue
        assert isinstance(op, Weighted)
        arrays |= {f"{op.name}.{field}": getattr(op, field) for field in ARRAYS}
        layers.append({
            "name": op.name, "kind": op.kind, "stride": getattr(op, "stride", (1,))[0],
            "padding": getattr(op, "padding", (0,))[0], "relu": op.relu, "pool": False,
            "output": tensor(op.output),
        })  # fmt: skip
    description = {"name": network.name, "input": tensor(network.input), "layers": layers}
    return arrays, {"format": network_file.FORMAT, "version": 1, "network": description}


def write_version_1(path, change=None) -> None:
    arrays, document = version_1(small_network())
    if change:
        change(document)
    document["sha256"] = network_file._checksum(document["network"], arrays)
    path.write_bytes(safetensors_bytes(arrays, {"accel": network_file._to_json(document)}))


def test_version_1_is_read_still(tmp_path):
    write_version_1(tmp_path / "n")
    assert_same(Network.load(tmp_path / "n"), small_network())


@pytest.mark.parametrize(
    ("keys", "value", "says"),
    [
        (("network", "layers"), [], "has no layers"),
        (("network", "layers"), [1], "layer must have the fields"),
        (("network", "layers", 0), {}, "layer must have the fields"),
        (("network", "layers", 0, "name"), "other", "weight of layer 'other' is missing"),
        (("network", "layers", 0, "kind"), "x" * 10_000, 'kind must be "conv2d" or "linear"'),
        (("network", "layers", 0, "stride"), 0, "layer 'layer0': stride must be"),
        (("network", "layers", 0, "stride"), 10**4000, "layer 'layer0': stride must be"),
        (("network", "layers", 0, "padding"), 10**4000, "shape must be"),
        (("network", "layers", 2, "stride"), 2, "a linear layer has no stride"),
        (("network", "layers", 2, "pool"), True, "a linear layer has no stride"),
        (("network", "layers", 0, "pool"), False, "its output has shape"),
        (("network", "layers", 0, "output", "shape"), [3, 3, 4], "its output has shape"),
        (("network", "input", "shape"), [2, 1, 1], "nothing is left"),
    ],
)
def test_a_wrong_file_of_version_1(tmp_path, keys, value, says):
    write_version_1(tmp_path / "n", change=set_in(*keys, value=value))
    assert says in refused(tmp_path / "n")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("layer0.weight", np.zeros((3, 2, 3), np.int8), "weight must be an array"),
        ("layer0.weight", np.zeros((3, 2, 3, 3, 1), np.int8), "type or shape that no network"),
        ("layer0.weight", np.zeros((3, 0, 3, 3), np.int8), "type or shape that no network"),
        ("layer0.weight", np.zeros((3, 2, 3, 3), np.uint8), "type or shape that no network"),
        ("layer0.bias", np.zeros(3, np.float64), "type or shape that no network"),
        ("layer0.bias", np.zeros(3, np.int8), "bias must be an array of float32 or int32"),
        (
            "layer0.bias",
            np.zeros(3, np.int32),
            "bias must be an array of float32, of which",
        ),
        ("layer0.bias", np.full(3, np.nan, np.float32), "bias must be finite"),
        ("layer0.weight_scale", np.zeros(3, np.float32), "weight_scale must be a positive"),
        ("stowaway", np.zeros(3, np.int8), "arrays that belong to no layer"),
    ],
)
def test_a_sealed_file_with_a_wrong_array(tmp_path, name, value, says):
    rewritten(tmp_path / "n", change_arrays=lambda arrays: arrays.update({name: value}))
    assert says in refused(tmp_path / "n")


def test_a_sealed_file_without_an_array(tmp_path):
    rewritten(tmp_path / "n", change_arrays=lambda arrays: arrays.pop("layer1.bias"))
    assert "bias of layer 'layer1' is missing" in refused(tmp_path / "n")


def test_a_wrong_checksum(tmp_path):
    rewritten(tmp_path / "n", change_document=set_in("sha256", value="0" * 64), seal=False)
    assert "checksum" in refused(tmp_path / "n")


def file_with_header(header: bytes, length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(pickle.dumps({"weight": np.zeros(3)}), id="pickle"),
        pytest.param(b"PK\x03\x04" + bytes(100), id="torch.save"),
        pytest.param(b"\x7fELF" + bytes(10_000), id="program"),
        pytest.param(file_with_header(b"{}", 2**63 + 5), id="header of 2**63 bytes"),
        pytest.param(file_with_header(b"{}", 10**9), id="header longer than the file"),
        pytest.param(file_with_header(b"{}"), id="nothing in it"),
        pytest.param(file_with_header(b"[]"), id="header is a list"),
        pytest.param(file_with_header(b"[" * 100_000), id="header is deep"),
        pytest.param(
            file_with_header(b'{"a":{"dtype":"I8","shape":[0,4611686018427387904],'
                             b'"data_offsets":[0,0]}}'),
            id="huge shape, no data",
        ),
        pytest.param(
            file_with_header(b'{"a":{"dtype":"F32","shape":[4611686018427387904],'
                             b'"data_offsets":[0,1]}}') + b"\0",
            id="shape beyond the data",
        ),
        pytest.param(safetensors_bytes({"a": np.zeros(2)}), id="no metadata"),
        pytest.param(safetensors_bytes({"a": np.zeros(2)}, {"accel": ""}), id="empty metadata"),
        pytest.param(safetensors_bytes({}, {"accel": "[" * 100_000}), id="deep metadata"),
        pytest.param(safetensors_bytes({}, {"accel": "9" * 100_000}), id="long number"),
        pytest.param(safetensors_bytes({}, {"accel": '{"a":"\\ud800"}'}), id="surrogate"),
        pytest.param(safetensors_bytes({}, {"accel": "null"}), id="null"),
        pytest.param(safetensors_bytes({}, {"format": "pt"}), id="others' metadata"),
    ],
)  # fmt: skip
def test_what_is_no_network_file(tmp_path, data):
    path = tmp_path / "n"
    path.write_bytes(data)
    refused(path)


def test_no_file_to_read(tmp_path):
    assert "No such file" in refused(tmp_path / "missing")
    assert "it is not a file" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "it is not a file" in refused(tmp_path / "pipe")
    huge = tmp_path / "huge"
    with open(huge, "wb") as f:
        f.truncate(network_file.MAX_FILE_BYTES + 1)
    assert "larger than" in refused(huge)


def test_an_unwritable_place_leaves_the_old_file(tmp_path, monkeypatch):
    network = small_network()
    path = tmp_path / "n"
    network.save(path)
    old = path.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(os, "fsync", full)
        with pytest.raises(AccelError, match="cannot write") as e:
            small_network(seed=2).save(path)
    assert_one_sentence(e.value)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["n"]
    for place in (path / "below_a_file", tmp_path):
        with pytest.raises(AccelError, match="cannot write") as e:
            network.save(place)
        assert_one_sentence(e.value)


# Damage of any kind

NUM_MUTATIONS = 10_000


def mutated_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """The file with one to three places overwritten, cut out, put in, repeated or exchanged."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        # Half of all places lie in the header, most of which is the description.
        end = len(data) if rng.integers(2) else min(len(data), 1500)
        at, length = int(rng.integers(end)), int(rng.integers(1, 40))
        part = data[at : at + length]
        match rng.integers(6):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + length] = rng.bytes(len(part))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = rng.bytes(length)
            case 4:
                data[at:at] = part
            case 5:
                to = int(rng.integers(len(data)))
                data[to : to + length] = part
        if not data:
            break
    return bytes(data)


def test_ten_thousand_damaged_files(tmp_path, content):
    """Each is refused in one sentence, or is the file that it was."""
    rng = np.random.default_rng(11)
    path = tmp_path / "damaged"
    same = 0
    for _ in range(NUM_MUTATIONS):
        data = mutated_bytes(rng, content)
        path.write_bytes(data)
        if data == content:
            same += 1
        else:
            refused(path)
    assert same < NUM_MUTATIONS // 100


def places(value: object, at: tuple = ()) -> list[tuple]:
    """Where in a description something stands that can be replaced."""
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        return [at]
    found = [place for key, item in inner for place in places(item, (*at, key))]
    return [at, *found] if at else found


ODD_VALUES = (
    0, 1, 2, 3, -1, 127, 255, 256, 65536, 2**31, 10**30, 0.0, 0.5, 1e-40, 1e38, -1.0,
    float("nan"), True, False, None, "", "conv2d", "linear", "layer0", [], [1], [2, 6, 7], {},
)  # fmt: skip


def test_a_thousand_sealed_files_with_odd_values(tmp_path):
    """Each has a correct checksum. It is refused in one sentence, or holds another network, of
    which the accelerator computes what PyTorch's kernels do."""
    rng = np.random.default_rng(12)
    loaded = 0
    for _ in range(1000):

        def change(document):
            where = places(document["network"])
            place = ("network", *where[rng.integers(len(where))])
            set_in(*place, value=ODD_VALUES[rng.integers(len(ODD_VALUES))])(document)

        rewritten(tmp_path / "n", change_document=change)
        try:
            network = Network.load(tmp_path / "n")
        except AccelError as e:
            assert_one_sentence(e)
            continue
        loaded += 1
        images = random_images(rng, network, 2)
        program = compile_if_it_fits(network, base)
        if program is None:
            continue
        outputs = simulate(program, images, level="fl").outputs
        np.testing.assert_array_equal(outputs, run_network(network, images)[-1])
    assert loaded > 20
