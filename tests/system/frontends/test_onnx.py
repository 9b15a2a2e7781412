"""Networks from ONNX files: every tensor of theirs is ONNX Runtime's, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime import InferenceSession
from typer.testing import CliRunner

import accel
from accel.cli import app
from accel.errors import AccelError
from accel.frontends import onnx_file
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import AvgPool2d, Conv2d
from accel.runtimes import onnxruntime, reference
from accel.runtimes.rounding import ONNXRUNTIME, QNNPACK
from accel.simulation.runner import simulate
from tests.networks import Conv, Linear, random_images, random_network
from tests.onnx_models import (
    KINDS,
    MICROSOFT,
    SINGLES,
    drawn_images,
    float_model,
    integer_names,
    model,
    quantized,
    run_file,
)
from tests.system.network.test_network import assert_one_sentence
from tests.tools.runtimes import Changes, check_single, damaged

F32 = np.float32


def refused(path: Path) -> str:
    with pytest.raises(AccelError) as e:
        accel.load(path)
    assert_one_sentence(e.value)
    assert str(path) in str(e.value)
    return str(e.value)


def quantized_images(network: Network, images: Any) -> Any:
    """What the network takes; integers are that already."""
    if images.dtype != F32:
        return images
    tensor = network.input
    return network.rounding.quantize(images, tensor.scale, tensor.zero_point, tensor.signed)


def assert_equals_onnx_runtime(path: Path, images: Any) -> tuple[Network, list[str]]:
    """The network in a file, of which arithmetic, rebuilt model and file yield the same tensors;
    and the operators that ONNX Runtime ran for the file."""
    network, found = accel.load(path), onnx.load(path)
    x = quantized_images(network, images)
    files, ran = run_file(found, images, integer_names(found, network))
    rebuilt = accel.run_network(network, x)
    for exact, one, other in zip(network.integers(x), files, rebuilt, strict=True):
        np.testing.assert_array_equal(np.reshape(one, exact.shape), exact)
        np.testing.assert_array_equal(other, exact)
        assert one.dtype == other.dtype and len(np.unique(exact)) > 20
    return network, ran


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("kind", KINDS)
def test_quantized_models(
    tmp_path: Path, kind: str, form: str, dtype: str, per_channel: bool
) -> None:
    rng = np.random.default_rng(0)
    images = drawn_images(rng, 30, 3, 12, 12)
    path = quantized(
        *(float_model(rng, kind), images, tmp_path / "m.onnx"),
        form=form,
        dtype=dtype,
        per_channel=per_channel,
    )
    network, ran = assert_equals_onnx_runtime(path, images)
    assert (network.origin, network.name) == ("onnx", "m")
    assert not set(ran) & {"Conv", "FusedConv", "Gemm", "MatMul", "GlobalAveragePool"}
    assert network.input.signed == (dtype == "int8")
    assert any("Softmax" in note and "left to the host" in note for note in network.notes) == (
        kind == "softmax"
    )
    assert any("session.qdqisint8allowed" in note for note in network.notes) == (
        (form, dtype) == ("qdq", "int8")
    )
    program = accel.compile(network, "base")
    run = simulate(program, images, level="fl")
    np.testing.assert_array_equal(run.outputs, network.integers(program.quantize(images))[-1])


@pytest.mark.parametrize(("form", "dtype"), [("qdq", "uint8"), ("qoperator", "int8")])
def test_on_hardware(tmp_path: Path, form: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    images = drawn_images(rng, 8, 3, 12, 12)
    floats = float_model(rng, "average")
    path = quantized(floats, images, tmp_path / "m.onnx", form=form, dtype=dtype)
    network = accel.load(path)
    (logits,), _ = run_file(onnx.load(path), images, integer_names(onnx.load(path), network)[-1:])
    program = accel.compile(network, "tiny" if form == "qdq" else "base")
    for level in ("cl", "verilator"):
        run = simulate(program, images, level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs, logits)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("op", SINGLES)
def test_outputs_beside_ties(tmp_path: Path, op: str, dtype: Any, per_channel: bool) -> None:
    """Most outputs lie on or next to a tie; make runtimes tries a million of each."""
    rng = np.random.default_rng(2)
    found = check_single(rng, op, dtype, per_channel, outputs=40_000, folder=tmp_path)
    assert found.outputs >= 40_000 and found.different == 0


def test_neighbouring_formulas_would_be_seen(tmp_path: Path) -> None:
    """Another multiplier, a bias by a reciprocal, or a single rounding yields other integers."""
    rng = np.random.default_rng(3)
    conv = check_single(rng, "QLinearConv", np.uint8, True, outputs=100_000, folder=tmp_path)
    assert conv.by_reciprocal > 100 and conv.rounded_once > 100
    bias = check_single(rng, "Conv", np.uint8, True, outputs=100_000, folder=tmp_path)
    assert bias.bias_by_reciprocal > 100


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_the_host_quantizes_as_onnx_runtime_does(dtype: Any) -> None:
    rng = np.random.default_rng(4)
    for scale in np.exp(rng.uniform(-7, 0, 20)).astype(F32):
        zero = np.asarray(rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1), dtype)
        beside = np.arange(-300, 300) + F32(0.5) + rng.choice(F32([0, 1e-5, -1e-5]), 600)
        x = np.concatenate([beside * scale, rng.normal(size=600) * scale * 100, [1e38, -1e38]])
        x = x.astype(F32)[None]
        nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])]
        (wanted,), _ = run_file(model(nodes, {"s": scale, "z": zero}, x.shape), x, ["y"])
        signed = dtype == np.int8
        got = ONNXRUNTIME.quantize(x, float(scale), int(zero), signed)
        np.testing.assert_array_equal(got, wanted)


def qdq(
    op: str, rng: np.random.Generator, zero: int, dtype: Any = np.uint8, **changes: Any
) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """A convolution or product between DequantizeLinear and QuantizeLinear, of ``x``, 2x6x6 or of
    72 features, whose real output is ``r``; what is quantized to ``y`` in the end is ``a``."""
    is_conv = op == "Conv"
    shape = (5, 2, 3, 3) if is_conv else (5, 72)
    sw = rng.uniform(0.004, 0.012, 5).astype(F32)
    sx = F32(0.02)
    sums = np.asarray(sx * sw, F32)
    constants: dict[str, Any] = {
        "sx": sx, "zx": dtype(11), "w": rng.integers(-127, 128, shape).astype(np.int8), "sw": sw,
        "zw": np.zeros(5, np.int8), "b": rng.integers(-9000, 9000, 5).astype(np.int32),
        "sb": sums, "zb": np.zeros(5, np.int32), "sy": F32(0.05),
        "zy": dtype(zero),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "sx", "zx"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["bf"], axis=0),
        helper.make_node(op, ["xf", "wf", "bf"], ["r"], **({} if is_conv else {"transB": 1})),
        helper.make_node("QuantizeLinear", ["a", "sy", "zy"], ["y"]),
    ]
    return nodes, constants | changes


@pytest.mark.parametrize("op", ["Conv", "Gemm"])
@pytest.mark.parametrize(
    ("clip", "zero", "limits"),
    [
        # ONNX Runtime leaves these to float operators: here outputs are cut off as integers.
        (("Relu",), 30, (30, 255)),
        (("Clip", 0, 3), 30, (30, 90)),
        (("Clip", None, 3), 30, (0, 90)),
        (("Clip", 0, 3), 0, (0, 60)),
        (("Relu", "Clip", 0, 3), 30, (30, 90)),
    ],
)
def test_outputs_cut_off_within_their_range(
    tmp_path: Path, op: str, clip: tuple[Any, ...], zero: int, limits: tuple[int, int]
) -> None:
    rng = np.random.default_rng(5)
    nodes, constants = qdq(op, rng, zero)
    last = "r"
    for i, name in enumerate(n for n in clip if isinstance(n, str)):
        inputs = [last]
        if name == "Clip":
            for j, limit in enumerate(clip[-2:]):
                inputs.append("" if limit is None else f"limit{j}")
                constants |= {} if limit is None else {f"limit{j}": F32(limit)}
        last = f"a{i}"
        nodes.insert(-1, helper.make_node(name, inputs, [last], name=f"cut{i}"))
    nodes[-1].input[0] = last
    shape = (40, 2, 6, 6) if op == "Conv" else (300, 72)
    images = rng.integers(0, 256, shape).astype(np.uint8)
    found = model(nodes, constants, ("N", *shape[1:]), dtype=np.uint8)
    onnx.save(found, tmp_path / "m.onnx")
    network = accel.load(tmp_path / "m.onnx")
    assert (
        len(network.notes) == 1 and "in float32, since its outputs are cut off" in network.notes[0]
    )
    (layer,) = network.layers
    assert layer.output_range == limits
    (exact,) = network.integers(images)
    assert {exact.min(), exact.max()} == set(limits)
    np.testing.assert_array_equal(accel.run_network(network, images)[0], exact)
    # Float sums may round to the neighbour, but seldom do.
    (floats,), _ = run_file(found, images, ["y"])
    off = np.abs(floats.astype(int) - exact)
    assert off.max() <= 1 and np.count_nonzero(off) < 5


@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul", "MatMul+Add"])
@pytest.mark.parametrize("bias", ["integers", "floats"])
def test_cuts_that_the_range_implies_cost_nothing(tmp_path: Path, op: str, bias: str) -> None:
    rng = np.random.default_rng(6)
    nodes, constants = qdq("Conv" if op == "Conv" else "Gemm", rng, 0)
    if bias == "floats":
        constants["bf"] = (constants.pop("b") * constants.pop("sb")).astype(F32)
        del constants["zb"], nodes[2]
    if op.startswith("MatMul"):
        at = next(i for i, node in enumerate(nodes) if node.op_type == "Gemm")
        constants["w"] = constants["w"].T.copy()
        nodes[1].attribute[0].i = 1
        product = helper.make_node("MatMul", ["xf", "wf"], ["r" if op == "MatMul" else "p"])
        nodes[at : at + 1] = [product]
        if op == "MatMul":
            constants["sw"], constants["zw"] = constants["sw"][0], np.int8(0)
        else:
            nodes.insert(at + 1, helper.make_node("Add", ["p", "bf"], ["r"]))
    nodes.insert(-1, helper.make_node("Relu", ["r"], ["a"]))
    shape = (40, 2, 6, 6) if op == "Conv" else (300, 72)
    images = rng.integers(0, 256, shape).astype(np.uint8)
    onnx.save(model(nodes, constants, ("N", *shape[1:]), dtype=np.uint8), tmp_path / "m.onnx")
    network, ran = assert_equals_onnx_runtime(tmp_path / "m.onnx", images)
    assert not network.notes
    assert {"QLinearConv", "QGemm", "QLinearMatMul"} & set(ran)


def qlinear_conv(
    rng: np.random.Generator, shape: tuple[int, ...] = (6, 4, 3, 3), **attributes: Any
) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """A QLinearConv of ``x`` in uint8, which yields ``y``."""
    constants: dict[str, Any] = {
        "sx": F32(0.02), "zx": np.uint8(120), "w": rng.integers(-127, 128, shape).astype(np.int8),
        "sw": rng.uniform(0.001, 0.004, shape[0]).astype(F32), "zw": np.zeros(shape[0], np.int8),
        "sy": F32(0.03), "zy": np.uint8(99),
        "b": rng.integers(-900, 900, shape[0]).astype(np.int32),
    }  # fmt: skip
    inputs = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b"]
    return [helper.make_node("QLinearConv", inputs, ["y"], name="conv", **attributes)], constants


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((6, 4, 3, 3), {"pads": [2, 0, 1, 3], "strides": [2, 1]}),
        ((6, 4, 2, 5), {"auto_pad": "SAME_UPPER", "strides": [1, 2]}),
        ((6, 4, 2, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ((6, 4, 3, 1), {"auto_pad": "VALID", "kernel_shape": [3, 1]}),
        ((8, 2, 3, 3), {"group": 2, "dilations": [1, 1]}),
        ((4, 1, 3, 3), {"group": 4}),
    ],
)
def test_windows(tmp_path: Path, shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    rng = np.random.default_rng(7)
    found = model(*qlinear_conv(rng, shape, **attributes), ("N", 4, 9, 10), dtype=np.uint8)
    onnx.save(found, tmp_path / "m.onnx")
    images = rng.integers(0, 256, (20, 4, 9, 10)).astype(np.uint8)
    assert_equals_onnx_runtime(tmp_path / "m.onnx", images)


@pytest.mark.parametrize(
    ("attributes", "zero"),
    [
        ({"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}, 99),
        ({"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, 99),
        ({"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}, 0),
    ],
)
def test_maxima(tmp_path: Path, attributes: dict[str, Any], zero: int) -> None:
    rng = np.random.default_rng(8)
    nodes, constants = qlinear_conv(rng)
    constants["zy"] = np.uint8(zero)
    nodes.append(helper.make_node("MaxPool", ["y"], ["m"], **attributes))
    onnx.save(model(nodes, constants, ("N", 4, 8, 10), "m", np.uint8), tmp_path / "m.onnx")
    images = rng.integers(0, 256, (20, 4, 8, 10)).astype(np.uint8)
    assert_equals_onnx_runtime(tmp_path / "m.onnx", images)


@pytest.mark.parametrize("zero", [128, 127])
def test_unsigned_weights(tmp_path: Path, zero: int) -> None:
    """With a zero point of 128 they are int8 weights; no other one is read."""
    rng = np.random.default_rng(9)
    nodes, constants = qlinear_conv(rng)
    constants["w"] = (constants["w"].astype(int) + 128).astype(np.uint8)
    constants["sw"], constants["zw"] = F32(0.003), np.uint8(zero)
    onnx.save(model(nodes, constants, ("N", 4, 8, 8), dtype=np.uint8), tmp_path / "m.onnx")
    if zero == 128:
        images = rng.integers(0, 256, (20, 4, 8, 8)).astype(np.uint8)
        assert_equals_onnx_runtime(tmp_path / "m.onnx", images)
        return
    says = "node 'conv' (QLinearConv): the zero point of uint8 weights must be 128, not 127"
    assert says in refused(tmp_path / "m.onnx")


def test_weights_that_are_quantized_in_the_model(tmp_path: Path) -> None:
    """A float constant between QuantizeLinear and DequantizeLinear."""
    rng = np.random.default_rng(10)
    nodes, constants = qdq("Conv", rng, 0)
    wanted = constants["w"].astype(F32) * constants["sw"][:, None, None, None]
    constants["w_float"] = (wanted * rng.uniform(0.9, 1.1, wanted.shape)).astype(F32)
    del constants["w"]
    nodes.insert(0, helper.make_node("QuantizeLinear", ["w_float", "sw", "zw"], ["w"], axis=0))
    nodes[-1].input[0] = "r"
    onnx.save(model(nodes, constants, ("N", 2, 6, 6), dtype=np.uint8), tmp_path / "m.onnx")
    images = rng.integers(0, 256, (20, 2, 6, 6)).astype(np.uint8)
    assert_equals_onnx_runtime(tmp_path / "m.onnx", images)


@pytest.mark.parametrize("real", [False, True])
def test_padding_by_a_node_of_its_own(tmp_path: Path, real: bool) -> None:
    rng = np.random.default_rng(11)
    nodes, constants = qlinear_conv(rng, pads=[1, 0, 0, 0])
    constants |= {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "axes": np.array([3, 2])}
    constants |= {"more": np.array([1, 0, 0, 2]), "z": np.uint8(120)}
    nodes[0].input[0] = "padded"
    if real:
        quantization = ["sx", "zx"]
        nodes[:0] = [
            helper.make_node("Pad", ["x", "pads"], ["p"]),
            helper.make_node("QuantizeLinear", ["p", *quantization], ["padded"]),
        ]
    else:
        nodes[:0] = [
            helper.make_node("Pad", ["x", "pads", "z"], ["p"]),
            helper.make_node("Pad", ["p", "more", "z", "axes"], ["padded"]),
        ]
    found = model(nodes, constants, ("N", 4, 6, 6), dtype=F32 if real else np.uint8, opset=18)
    onnx.save(found, tmp_path / "m.onnx")
    images = rng.integers(0, 256, (20, 4, 6, 6)).astype(np.uint8)
    images = ((images - 120.0) * 0.02).astype(F32) if real else images
    network, _ = assert_equals_onnx_runtime(tmp_path / "m.onnx", images)
    (conv,) = network.operations
    assert isinstance(conv, Conv2d)
    assert conv.padding == ((2, 2, 3, 0) if real else (2, 3, 5, 0))


def test_what_moves_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    nodes, constants = qlinear_conv(rng, (6, 4, 8, 8))
    nodes[0].output[0] = "c"
    constants |= {"axes": np.array([2, 3]), "shape": np.array([-1, 6]), "s2": F32(0.1)}
    constants |= {"v": rng.integers(-127, 128, (7, 6)).astype(np.int8), "z2": np.int8(0)}
    moves: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Identity", ["c"], {}),
        ("Transpose", ["t0"], {"perm": [0, 2, 3, 1]}),
        ("Squeeze", ["t1"], {}),
        ("Unsqueeze", ["t2", "axes"], {}),
        ("Reshape", ["t3", "shape"], {}),
        ("Flatten", ["t4"], {"axis": -1}),
    ]
    for i, (op, inputs, attributes) in enumerate(moves):
        nodes.append(helper.make_node(op, inputs, [f"t{i}"], **attributes))
    nodes.append(helper.make_node("Transpose", ["v"], ["vt"], perm=[1, 0]))
    inputs = ["t5", "sy", "zy", "vt", "s2", "z2", "", "s2", "zy"]
    nodes.append(helper.make_node("QGemm", inputs, ["g"], domain=MICROSOFT))
    onnx.save(model(nodes, constants, (3, 4, 8, 8), "g", np.uint8), tmp_path / "m.onnx")
    network = accel.load(tmp_path / "m.onnx")
    assert [op.output.shape for op in network.operations] == [(6, 1, 1), (7,)]
    images = rng.integers(0, 256, (3, 4, 8, 8)).astype(np.uint8)
    names = [op.output.name for op in network.operations]
    files, _ = run_file(onnx.load(tmp_path / "m.onnx"), images, names)
    for exact, one in zip(network.integers(images), files, strict=True):
        np.testing.assert_array_equal(exact, one)


def test_a_saved_network_is_compared_with_onnx_runtime(tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    images = drawn_images(rng, 10, 3, 12, 12)
    path = quantized(float_model(rng, "average"), images, tmp_path / "m.onnx", dtype="int8")
    network = accel.load(path)
    network.save(tmp_path / "n.safetensors")
    again = accel.load(tmp_path / "n.safetensors")
    assert (again.origin, again.notes) == ("onnx", network.notes) and len(again.notes) == 1
    assert [layer.bias.dtype for layer in again.layers] == [np.dtype(np.int32)] * 4
    x = quantized_images(network, images)
    for one, other in zip(accel.run_network(network, x), accel.run_network(again, x), strict=True):
        np.testing.assert_array_equal(one, other)
    assert reference.reference(again).name == "ONNX Runtime"


def test_without_onnx_runtime_the_integer_model_is_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(14)
    network = random_network(rng, (2, 6, 6), [Conv(6, (3, 3)), Linear(5)], rounding=ONNXRUNTIME)
    images = random_images(rng, network, 3)
    expected = accel.run_network(network, images)

    def missing(package: str) -> str:
        raise reference.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(reference.metadata, "version", missing)
    with pytest.raises(AccelError, match="cannot be run by ONNX Runtime: onnxruntime is not inst"):
        accel.run_network(network, images)
    found = reference.reference(network)
    assert found.name == (
        "the integer model, which is tested against ONNX Runtime (onnxruntime is not installed)"
    )
    for one, other in zip(found.run(network, images), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_drawn_networks_equal_onnx_runtime() -> None:
    """Of the rebuilt model: with any zero points, ReLUs within the range, and averages."""
    rng = np.random.default_rng(15)
    for signed in (False, True):
        for per_channel in (False, True):
            for weights in ("any", "ends", "zero", "lowest"):
                specs = [Conv(9, (3, 3), padding=1, pool=True), Conv(6, (2, 3), relu=False)]
                network = random_network(
                    *(rng, (3, 10, 11), [*specs, Linear(7)]),
                    per_channel=per_channel,
                    signed=signed,
                    weights=weights,
                    rounding=ONNXRUNTIME,
                )
                images = random_images(rng, network, 20)
                kernels = accel.run_network(network, images)
                for exact, made in zip(network.integers(images), kernels, strict=True):
                    np.testing.assert_array_equal(exact, made)


def test_networks_that_onnx_runtime_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(16)
    theirs = random_network(rng, (2, 6, 6), [Conv(6, (3, 3))])
    images = random_images(rng, theirs, 1)
    with pytest.raises(AccelError, match="rounds like qnnpack, which ONNX Runtime does not"):
        onnxruntime.run_network(theirs, images)
    x = dataclasses.replace(theirs.output, name="x")
    y = dataclasses.replace(x, name="y", shape=(6, 2, 2))
    pool = AvgPool2d(name="p", input=x, output=y, rounding=ONNXRUNTIME)
    network = Network(name="n", operations=(pool,), origin="onnx")
    with pytest.raises(AccelError, match="layer 'p': ONNX Runtime averages windows that are not"):
        accel.run_network(network, random_images(rng, network, 1))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(AccelError, match="needs the packages onnxruntime and onnx: pip install"):
        accel.run_network(network, random_images(rng, network, 1))


def test_an_average_with_a_scale_of_its_own() -> None:
    rng = np.random.default_rng(17)
    network = _average(2.0**-13, 3)
    images = random_images(rng, network, 200)
    (exact,) = network.integers(images)
    assert len(np.unique(exact)) > 50
    np.testing.assert_array_equal(accel.run_network(network, images)[0], exact)
    for level in ("fl", "cl"):
        run = simulate(accel.compile(network, "tiny"), images[:20], level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs, exact[:20])
    for scale, says in ((2.0**-120, "so small"), (2.0**120, "multiplier that follows")):
        with pytest.raises(AccelError, match=f"layer 'p': .*{says}"):
            _average(scale, 3)
    with pytest.raises(AccelError, match="pooling keeps scale"):
        dataclasses.replace(network.operations[0], rounding=QNNPACK)


def _average(scale: float, zero_point: int) -> Network:
    x = Tensor(name="x", shape=(2, 3, 3), scale=2.0**-12, zero_point=100, signed=False)
    y = dataclasses.replace(x, name="y", shape=(2, 1, 1), scale=scale, zero_point=zero_point)
    pool = AvgPool2d(name="p", input=x, output=y, size=(3, 3), stride=(1, 1), rounding=ONNXRUNTIME)
    return Network(name="n", operations=(pool,), origin="onnx")


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("form", ["QLinearConcat", "Concat"])
def test_joined_tensors(tmp_path: Path, form: str, flat: bool) -> None:
    """Of other scales, the model's input among them; and as vectors."""
    rng = np.random.default_rng(8)
    nodes, constants = qlinear_conv(rng, (6, 4, 1, 1))
    parts = [("x", "sx", "zx"), ("y", "sy", "zy"), ("x", "sx", "zx")]
    if flat:
        nodes += [helper.make_node("Flatten", [name], [name + "f"]) for name in "xy"]
        parts = [(name + "f", *rest) for name, *rest in parts]
    if form == "Concat":
        for i, part in enumerate(parts):
            nodes.append(helper.make_node("DequantizeLinear", part, [f"r{i}"]))
        nodes.append(helper.make_node("Concat", ["r0", "r1", "r2"], ["r"], axis=1))
        nodes.append(helper.make_node("QuantizeLinear", ["r", "s2", "z2"], ["z"]))
    else:
        inputs = ["s2", "z2", *(name for part in parts for name in part)]
        nodes.append(helper.make_node(form, inputs, ["z"], axis=1, domain=MICROSOFT))
    constants |= {"s2": F32(0.0317), "z2": np.uint8(90)}
    onnx.save(model(nodes, constants, ("N", 4, 5, 6), "z", np.uint8), tmp_path / "m.onnx")
    images = rng.integers(0, 256, (20, 4, 5, 6)).astype(np.uint8)
    network, ran = assert_equals_onnx_runtime(tmp_path / "m.onnx", images)
    assert "QLinearConcat" in ran and network.output.shape == (14, 5, 6)
    program = accel.compile(network, "base")
    run = simulate(program, images[:3], level="fl")
    np.testing.assert_array_equal(run.outputs, network.integers(images[:3])[-1])


# What is refused


def conv_and(*more: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    """A QLinearConv, and what reads its output ``y``; the last node's output is the model's."""
    nodes, known = qlinear_conv(np.random.default_rng(0))
    nodes += more
    return model(nodes, known | constants, ("N", 4, 8, 8), nodes[-1].output[0], np.uint8)


def changed_conv(attributes: dict[str, Any] | None = None, **constants: Any) -> onnx.ModelProto:
    nodes, known = qlinear_conv(np.random.default_rng(0), **(attributes or {}))
    return model(nodes, known | constants, ("N", 4, 8, 8), dtype=np.uint8)


def changed_qdq(change: Any = None, **constants: Any) -> onnx.ModelProto:
    nodes, known = qdq("Conv", np.random.default_rng(0), 0)
    nodes[-1].input[0] = "r"
    nodes[3].name = "conv"
    if change:
        change(nodes)
    return model(nodes, known | constants, ("N", 2, 6, 6), dtype=np.uint8)


def edited(edit: Any) -> onnx.ModelProto:
    found = changed_conv()
    edit(found)
    return found


def node(op: str, inputs: list[str], output: str = "z", **attributes: Any) -> onnx.NodeProto:
    domain = MICROSOFT if op.startswith("Q") and op not in ("QLinearConv", "QuantizeLinear") else ""
    return helper.make_node(op, inputs, [output], name="it", domain=domain, **attributes)


def set_external(found: onnx.ModelProto) -> None:
    weight = found.graph.initializer[2]
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")


Q = ["y", "sy", "zy"]

REFUSED: dict[str, tuple[onnx.ModelProto, str]] = {
    "add": (
        conv_and(node("QLinearAdd", [*Q, *Q, "sy", "zy"])),
        "node 'it' (QLinearAdd): ONNX Runtime adds in float32 on x86",
    ),
    "average": (
        conv_and(node("QLinearAveragePool", [*Q, "sy", "zy"], kernel_shape=[2, 2])),
        "node 'it' (QLinearAveragePool): ONNX Runtime averages in float32",
    ),
    "joined rows": (
        conv_and(node("QLinearConcat", ["sy", "zy", *Q, *Q], axis=2)),
        "node 'it' (QLinearConcat): the hardware joins tensors along the channels, axis 1, only",
    ),
    "joined without a scale": (
        conv_and(node("QLinearConcat", ["sy", "zy", *Q, "y"], axis=1)),
        "node 'it' (QLinearConcat): each of its inputs must have a scale and a zero point",
    ),
    "joined types": (
        conv_and(node("QLinearConcat", ["sy", "z2", *Q, *Q], axis=1), z2=np.int8(3)),
        "node 'it' (QLinearConcat): input and output of an integer operator must be of the same",
    ),
    "joined integers of two scales": (
        conv_and(node("Concat", ["x", "y"], axis=1)),
        "node 'it' (Concat): ",
    ),
    "mul": (
        conv_and(node("QLinearMul", [*Q, *Q, "sy", "zy"])),
        "node 'it' (QLinearMul): the hardware multiplies by weights only",
    ),
    "reduce": (
        conv_and(node("QLinearReduceMean", [*Q, "sy", "zy"])),
        "node 'it' (QLinearReduceMean): it is none of the operators",
    ),
    "several": (
        conv_and(*(node(op, ["y"], op) for op in ("Sin", "Cos", "Tan", "Sinh")),
                 node("Sum", ["Sin", "Cos", "Tan", "Sinh"])),
        "node 'it' (Sin): it is none of the operators of quantized networks that are read; "
        "node 'it' (Cos): it is none of the operators of quantized networks that are read; "
        "node 'it' (Tan): it is none of the operators of quantized networks that are read; and 1 "
        "more",
    ),
    "float model": (
        float_model(np.random.default_rng(0)),
        "its input 0 is not quantized: onnxruntime.quantization.quantize_static, after",
    ),
    "weights in float": (
        changed_qdq(lambda nodes: nodes.pop(1), wf=np.ones((5, 2, 3, 3), F32)),
        "node 'conv' (Conv): its weights are not quantized",
    ),
    "no quantized output": (
        changed_qdq(lambda nodes: nodes.pop() and nodes[3].output.__setitem__(0, "y")),
        "the output of node 'conv' (Conv) is not quantized",
    ),
    "a scale of its own": (
        conv_and(node("DequantizeLinear", ["y", "sx", "zy"])),
        "node 'it' (DequantizeLinear): it takes 'y' for integers of scale 0.0199999996",
    ),
    "weights with a zero point": (
        changed_conv(zw=np.array([0, 0, 3, 0, 0, 0], np.int8)),
        "node 'conv' (QLinearConv): the zero point of int8 weights must be 0, not 3",
    ),
    "dilation": (
        changed_conv({"dilations": [1, 2]}),
        "node 'conv' (QLinearConv): the hardware has no dilated windows",
    ),
    "kernel_shape": (changed_conv({"kernel_shape": [2, 3]}), "is not that of its weights"),
    "auto_pad": (changed_conv({"auto_pad": "SAME"}), "auto_pad is 'SAME', which is none"),
    "strides": (changed_conv({"strides": [0, 1]}), "strides must be 2 numbers from 1 to 65536"),
    "pads": (changed_conv({"pads": [1, 1]}), "pads must be 4 numbers from 0 to 65536, not [1, 1]"),
    "attribute of another type": (changed_conv({"group": 1.0}), "'group' is of another type"),
    "unknown attribute": (changed_conv({"bits": 4}), "its attribute 'bits' is not known"),
    "groups": (changed_conv({"group": 3}), "layer 'conv': weight takes 12 channels, but the input"),
    "bias in float": (changed_conv(b=np.zeros(6, F32)), "its bias must be of type INT32"),
    "bias of another size": (changed_conv(b=np.zeros(5, np.int32)), "a number for each output"),
    "scale that is none": (changed_conv(sy=F32(0)), "a tensor's scale must be a positive normal"),
    "scale of another type": (changed_conv(sy=np.int32(1)), "input 6 must be one float32 scale"),
    "scales": (changed_conv(sy=np.ones(6, F32)), "its input 6 must be one float32 scale"),
    "weight scales": (changed_conv(sw=np.ones(5, F32)), "must be one number, or one for each"),
    "zero point of another type": (
        changed_conv(zx=np.int32(1)), "its input 2 must be one zero point, of type INT8 or UINT8",
    ),
    "types that differ": (
        changed_conv(zy=np.int8(1)), "input and output of an integer operator must be of the same",
    ),
    "input that differs": (changed_conv(zx=np.int8(1)), "of another type than the integers"),
    "bias of another size at scales of its own": (
        changed_qdq(b=np.zeros(3, np.int32), sb=np.full(3, 2e-5, F32), zb=np.zeros(3, np.int32)),
        "node 'conv' (Conv): the scale of its bias must be that of its input times that of its",
    ),
    "bias at another scale": (
        changed_qdq(sb=np.full(5, 2e-5, F32)),
        "node 'conv' (Conv): the scale of its bias must be that of its input times that of its",
    ),
    "bias with a zero point": (changed_qdq(zb=np.ones(5, np.int32)), "point of its bias must be 0"),
    "blocks": (
        changed_qdq(
            lambda nodes: nodes[1].attribute.append(helper.make_attribute("block_size", 2))
        ),
        "it dequantizes blocks",
    ),
    "a maximum with indices": (
        conv_and(helper.make_node("MaxPool", ["y"], ["m", "i"], kernel_shape=[2, 2]),
                 node("Identity", ["m"])),
        "(MaxPool): it has 2 outputs, but only one has a meaning here",
    ),
    "windows that are not whole": (
        conv_and(node("MaxPool", ["y"], kernel_shape=[4, 4], strides=[3, 3], ceil_mode=1)),
        "node 'it' (MaxPool): the hardware has no windows that are not whole",
    ),
    "transpose": (
        conv_and(node("Transpose", ["y"], perm=[0, 2, 3, 1])),
        "node 'it' (Transpose): it moves elements, which the hardware cannot",
    ),
    "reshape": (
        conv_and(node("Reshape", ["y", "shape"]), shape=np.array([1, -1])),
        "it makes of images of shape (6, 6, 6) something else than as many images",
    ),
    "relu of integers": (
        conv_and(node("Relu", ["y"])), "node 'it' (Relu): its input 0 is not quantized",
    ),
    "relu of a tensor": (
        conv_and(node("DequantizeLinear", Q, "f"), node("Relu", ["f"])),
        "the hardware cuts off only what a convolution or a matrix product yields, but 'y' reaches "
        "from -2.97 to 4.68",
    ),
    "cut off at another place": (
        changed_qdq(
            lambda nodes: (
                nodes.insert(4, node("Clip", ["r", "one"], "a")),
                nodes[5].input.__setitem__(0, "a"),
            ),
            one=F32(1),
        ),
        "the hardware cuts off outputs below zero, or nowhere, not below 1",
    ),
    "pad with another value": (
        conv_and(node("Pad", ["y", "pads"]), pads=np.array([0, 0, 1, 1, 0, 0, 1, 1])),
        "node 'it' (Pad): it reads 'y' padded with 0, but its zero is 99",
    ),
    "pad channels": (
        conv_and(node("Pad", ["y", "pads", "zy"]), pads=np.array([0, 1, 1, 1, 0, 0, 1, 1])),
        "node 'it' (Pad): it must add rows and columns, and nothing else",
    ),
    "a padded output": (
        conv_and(node("Pad", ["y", "pads", "zy"]), pads=np.array([0, 0, 1, 1, 0, 0, 1, 1])),
        "its output 'z' must be that of its last layer, but is another tensor",
    ),
    "linear over a batch": (
        conv_and(node("QGemm", ["y", "sy", "zy", "w2", "sy", "zw2", "", "sy", "zy"]),
                 w2=np.ones((6, 3), np.int8), zw2=np.int8(0)),
        "the hardware multiplies vectors by a matrix, not an input of shape (6, 6, 6)",
    ),
    "external data": (edited(set_external), "tensor 'w' lies in another file: save the model as"),
    "opset": (
        edited(lambda m: m.opset_import[0].__setattr__("version", 9)), "has operators of opset 9",
    ),
    "functions": (edited(lambda m: m.functions.add(name="QLinearConv")), "operators of its own"),
    "sparse": (edited(lambda m: m.graph.sparse_initializer.add()), "it has sparse tensors"),
    "two outputs": (
        edited(lambda m: m.graph.output.add(name="x")), "a network has one output, but it has 2",
    ),
    "two inputs": (
        edited(lambda m: m.graph.input.add(name="x2")), "a network has one input, but it has 2",
    ),
    "an input of doubles": (
        edited(lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 11)),
        "its input must be of type FLOAT, UINT8 or INT8",
    ),
    "height of any size": (
        edited(
            lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].__setattr__("dim_param", "h")
        ),
        "with numbers for all but the batch, not (0, 4, 0, 8)",
    ),
    "an unknown type": (
        edited(lambda m: m.graph.initializer[2].__setattr__("data_type", 11)),
        "tensor 'w' is not of type FLOAT, INT8, UINT8, INT32, INT64",
    ),
    "a tensor cut short": (
        edited(lambda m: m.graph.initializer[2].__setattr__("raw_data", b"abc")),
        "tensor 'w' is damaged",
    ),
    "a tensor twice": (
        edited(lambda m: m.graph.initializer[2].__setattr__("name", "b")),
        "tensor 'b' is there twice",
    ),
    "a name that is none": (
        edited(lambda m: m.graph.node[0].__setattr__("op_type", "\x1b[31m")),
        "node 'conv' (?[31m): it is none of the operators",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path: Path, name: str) -> None:
    found, says = REFUSED[name]
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    assert says in refused(tmp_path / "m.onnx")


def test_what_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    assert "No such file" in refused(path)
    for content in (b"", b"no model", b"\xff" * 100, b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        assert "it is no ONNX model, or not whole" in refused(path)
    path.unlink()
    path.mkdir()
    assert "it is not a file" in refused(path)
    big = tmp_path / "big.onnx"
    with open(big, "wb") as f:
        f.truncate(onnx_file.MAX_FILE_BYTES + 1)
    assert "larger than" in refused(big)
    monkeypatch.setitem(sys.modules, "onnx", None)
    big.write_bytes(b"")
    assert "need the package onnx: pip install 'accel-cnn[onnx]'" in refused(big)


def test_no_other_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one beside it, which ONNX calls external data."""
    nodes, constants = qlinear_conv(np.random.default_rng(0))
    found = model(nodes, constants, ("N", 4, 8, 8), dtype=np.uint8)
    onnx.save(found, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    opened = []
    real_open = open
    monkeypatch.setattr(
        "builtins.open", lambda file, *a, **k: opened.append(Path(file)) or real_open(file, *a, **k)
    )
    assert "lies in another file" in refused(tmp_path / "m.onnx")
    assert opened == [tmp_path / "m.onnx"]


# Damage


def test_two_thousand_damaged_files(tmp_path: Path) -> None:
    """Each is refused in one sentence, or holds another network."""
    rng = np.random.default_rng(20)
    images = drawn_images(rng, 4, 3, 12, 12)
    files = [
        quantized(float_model(rng, "average"), images, tmp_path / f"{form}.onnx", form=form)
        for form in ("qdq", "qoperator")
    ]
    contents = [file.read_bytes() for file in files]
    loaded = damaged(rng, contents, 2000, tmp_path / "damaged.onnx")
    assert 0 < loaded < 400


def test_three_hundred_changed_models(tmp_path: Path) -> None:
    """Each is a model: it is refused in one sentence, or ONNX Runtime computes the same of it."""
    changes = Changes(np.random.default_rng(21), tmp_path)
    for _ in range(300):
        changes.try_one()
    assert changes.same > 40 and changes.refused > 100


# The commands


def test_commands_take_an_onnx_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(30)
    floats = float_model(rng, "average")
    images = drawn_images(rng, 20, 3, 12, 12)
    path = quantized(floats, images, tmp_path / "m.onnx", dtype="int8")
    out = tmp_path / "run.json"

    def command(*arguments: Any) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    done = command("run", "--network", path, "--level", "fl", "--images", "random:6", "--json", out)
    assert done.exit_code == 0, done.output
    assert "0 of 66 outputs differ from those of ONNX Runtime" in done.stdout
    assert "note: node '/c1/Conv' (Conv), node '/c2/Conv' (Conv)" in done.stderr
    record = json.loads(out.read_text())
    assert record["reference"] == "ONNX Runtime" and record["network"] == "m"
    assert record["notes"] == list(accel.load(path).notes)
    assert record["versions"]["ONNX Runtime"] == metadata.version("onnxruntime")
    done = command("check", "--network", path)
    assert done.exit_code == 0, done.output
    done = command(
        "translate", "--network", path, "--config", "tiny", "--out", tmp_path / "handoff"
    )
    assert done.exit_code == 0, done.output
    done = command("fit", "--network", path, "--out", tmp_path / "mine.toml")
    assert done.exit_code == 0, done.output
    (tmp_path / "damaged.onnx").write_bytes(path.read_bytes()[:-7])
    done = command("run", "--network", tmp_path / "damaged.onnx")
    assert done.exit_code == 2 and len(done.stderr.strip().splitlines()) == 1


def test_a_wrong_output_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side of the comparison is ONNX Runtime's."""
    rng = np.random.default_rng(31)
    images = rng.uniform(0, 1, (4, 1, 28, 28)).astype(F32)
    path = quantized(float_model(rng, "average", (1, 28, 28)), images, tmp_path / "m.onnx")
    theirs = onnxruntime.run_network
    monkeypatch.setattr(onnxruntime, "run_network", lambda n, x: [theirs(n, x)[-1] ^ 1])
    options = ["run", "--network", str(path), "--level", "fl", "--images", "2"]
    assert CliRunner().invoke(app, options).exit_code == 1


FUNCTIONS = {
    "Sigmoid": {}, "Tanh": {}, "HardSwish": {}, "HardSigmoid": {"alpha": 0.3}, "Selu": {},
    "LeakyRelu": {"alpha": 0.13}, "Elu": {"alpha": 0.7}, "Mish": {}, "Gelu": {}, "Softplus": {},
}  # fmt: skip


def function_model(kind: str, dtype: Any, rng: np.random.Generator) -> onnx.ModelProto:
    """A function of one value, between two convolutions' places: quantized before and after."""
    middle = 128 if dtype == np.uint8 else 0
    scale = F32(2.0 ** rng.uniform(-6, -4))
    after = F32(1 / 256) if kind.endswith("oid") else F32(scale * rng.uniform(0.5, 1.2))
    constants = {"sx": scale, "zx": dtype(middle + rng.integers(-30, 30)), "sy": after,
                 "zy": dtype(middle + rng.integers(-128, -60))}  # fmt: skip
    if kind.startswith("QLinear"):
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
            helper.make_node(kind, ["q", "sx", "zx", "sy", "zy"], ["f"], domain=MICROSOFT),
        ]
    else:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "sx", "zx"], ["r"]),
            helper.make_node(kind, ["r"], ["made"], **FUNCTIONS[kind]),
            helper.make_node("QuantizeLinear", ["made", "sy", "zy"], ["f"]),
        ]
    nodes.append(helper.make_node("DequantizeLinear", ["f", "sy", "zy"], ["y"]))
    built = model(nodes, constants, ("N", 3, 5, 5), opset=20)
    built.ir_version = 9
    return built


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("kind", [*FUNCTIONS, "QLinearSigmoid", "QLinearLeakyRelu"])
def test_functions_of_one_value(kind: str, dtype: Any, tmp_path: Path) -> None:
    """All 256 values, in any place of a tensor: as ONNX Runtime has them in the file, with whatever
    it puts in the operators' place, and in the network."""
    file = tmp_path / "n.onnx"
    rng = np.random.default_rng(len(kind))
    onnx.save(function_model(kind, dtype, rng), file)
    network = accel.load(file)
    (table,) = network.operations
    lo, hi = network.input.limits
    x = rng.permutation(np.resize(np.arange(lo, hi + 1), 7500)).reshape(100, 3, 5, 5)
    found = network.integers(x)[-1]
    real = ((x - network.input.zero_point) * np.float64(network.input.scale)).astype(F32)
    session = InferenceSession(file, providers=["CPUExecutionProvider"])
    steps = session.run(None, {"x": real})[0] / np.float64(table.output.scale)
    np.testing.assert_array_equal(np.rint(steps) + table.output.zero_point, found)
    np.testing.assert_array_equal(accel.run_network(network, x)[-1], found)
    assert len(np.unique(found)) > 30
    program = accel.compile(network, {"preset": "tiny", "tables": 1})
    run = accel.simulate(program, x[:2], level="cl", jobs=1)
    np.testing.assert_array_equal(run.outputs, found[:2])


@pytest.mark.parametrize("flat_first", [False, True])
def test_a_function_of_a_flattened_map(flat_first: bool, tmp_path: Path) -> None:
    """It is one of the map, whatever shape the graph has it in."""
    rng = np.random.default_rng(9)
    constants = {
        "sx": F32(0.05), "zx": np.uint8(120), "sf": F32(1 / 256), "zf": np.uint8(0),
        "w": rng.integers(-127, 128, (5, 18)).astype(np.int8), "sw": F32(0.01), "zw": np.int8(0),
        "sy": F32(0.05), "zy": np.uint8(128),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "sx", "zx"], ["r"]),
        helper.make_node("Flatten" if flat_first else "Sigmoid", ["r"], ["a"]),
        helper.make_node("Sigmoid" if flat_first else "Flatten", ["a"], ["b"]),
        helper.make_node("QuantizeLinear", ["b", "sf", "zf"], ["f"]),
        helper.make_node("DequantizeLinear", ["f", "sf", "zf"], ["g"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["v"]),
        helper.make_node("Gemm", ["g", "v"], ["p"], transB=1),
        helper.make_node("QuantizeLinear", ["p", "sy", "zy"], ["o"]),
        helper.make_node("DequantizeLinear", ["o", "sy", "zy"], ["y"]),
    ]
    file = tmp_path / "n.onnx"
    onnx.save(model(nodes, constants, ("N", 2, 3, 3)), file)
    if not flat_first:
        # What is flattened has not been quantized before.
        with pytest.raises(AccelError, match="Flatten"):
            accel.load(file)
        return
    network = accel.load(file)
    assert [op.kind for op in network.operations] == ["table", "linear"]
    x = rng.integers(0, 256, (40, 2, 3, 3))
    found = network.integers(x)
    for ours, theirs in zip(found, accel.run_network(network, x), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    session = InferenceSession(file, providers=["CPUExecutionProvider"])
    real = ((x - 120) * np.float64(F32(0.05))).astype(F32)
    steps = session.run(None, {"x": real})[0] / np.float64(F32(0.05))
    np.testing.assert_array_equal(np.rint(steps) + 128, found[-1])
