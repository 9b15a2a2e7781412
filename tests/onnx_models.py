"""ONNX models, made by hand and by ONNX Runtime's own quantizer, and what ONNX Runtime makes of
them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from accel.network.graph import Network

F32 = np.float32
MICROSOFT = "com.microsoft"
OPSET, IR_VERSION = 17, 8
FORMS = {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}
TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}

Arrays = dict[str, NDArray[Any]]


def model(
    nodes: list[onnx.NodeProto],
    constants: Arrays,
    shape: tuple[int | str, ...],
    output: str = "y",
    dtype: Any = F32,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A model of one input, ``x`` of that shape, batch first."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [onnx.ValueInfoProto(name=output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def float_model(
    rng: np.random.Generator,
    kind: str = "plain",
    shape: tuple[int, int, int] = (3, 12, 12),
    classes: int = 10,
) -> onnx.ModelProto:
    """As PyTorch exports it: two convolutions, one of them depthwise, pooling, a 1x1 convolution
    and a fully connected layer.

    kind: ``plain``; with ReLU6 (``clip``); a global average (``average``); a product without bias
    (``matmul``), or with one that is added (``add``); a softmax at the end (``softmax``); as a
    vector from a reshape (``reshape``); with padding of its own (``pad``); with two convolutions
    side by side, joined (``join``).
    """
    constants: Arrays = {}
    nodes: list[onnx.NodeProto] = []

    def weight(name: str, *sizes: int) -> str:
        constants[name] = (rng.normal(size=sizes) / np.sqrt(np.prod(sizes[1:]))).astype(F32)
        return name

    def bias(name: str, size: int) -> str:
        constants[name] = (rng.normal(size=size) / 3).astype(F32)
        return name

    def constant(name: str, value: Any) -> str:
        constants[name] = np.asarray(value)
        return name

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(op, inputs, [output], name=f"/{output}/{op}", **attributes))

    channels, height, width = shape
    pads, source = [1, 1, 1, 1], "x"
    if kind == "pad":
        node("Pad", ["x", constant("pads", np.array([0, 0, 0, 1, 0, 0, 2, 1]))], "padded")
        pads, source = [0, 0, 0, 0], "padded"
    node("Conv", [source, weight("w1", 8, channels, 3, 3), bias("b1", 8)], "c1", pads=pads)
    if kind == "clip":
        node("Clip", ["c1", constant("lo", F32(0)), constant("hi", F32(6))], "r1")
    else:
        node("Relu", ["c1"], "r1")
    node("MaxPool", ["r1"], "p1", kernel_shape=[2, 2], strides=[2, 2])
    options: dict[str, Any] = {"group": 8, "strides": [2, 2], "pads": [0, 0, 1, 1]}
    node("Conv", ["p1", weight("w2", 8, 1, 3, 3), bias("b2", 8)], "c2", **options)
    node("Relu", ["c2"], "r2")
    if kind == "join":
        node("Conv", ["r2", weight("w5", 3, 8, 3, 3), bias("b5", 3)], "c5", pads=[1, 1, 1, 1])
        node("Conv", ["r2", weight("w6", 5, 8, 1, 1), bias("b6", 5)], "c6")
        node("Concat", ["c6", "c5"], "r2b", axis=1)
    node("Conv", ["r2b" if kind == "join" else "r2", weight("w3", 12, 8, 1, 1)], "c3")
    features, last = 12 * (height // 4) * (width // 4), "c3"
    if kind == "average":
        node("GlobalAveragePool", ["c3"], "g")
        features, last = 12, "g"
    if kind == "reshape":
        node("Reshape", [last, constant("shape", np.array([0, -1]))], "f")
    else:
        node("Flatten", [last], "f")
    if kind in ("matmul", "add"):
        weight("w4", classes, features)
        constants["w4"] = constants["w4"].T.copy()
        node("MatMul", ["f", "w4"], "y" if kind == "matmul" else "m")
        if kind == "add":
            node("Add", [bias("b4", classes), "m"], "y")
    else:
        inputs = ["f", weight("w4", classes, features), bias("b4", classes)]
        node("Gemm", inputs, "y", transB=1)
    if kind == "softmax":
        node("Softmax", ["y"], "s")
    return model(nodes, constants, ("N", *shape), "s" if kind == "softmax" else "y")


KINDS = ("plain", "clip", "average", "matmul", "softmax", "reshape", "pad", "join")
"""Of :func:`float_model`, those whose quantized models are read."""


class _Images(CalibrationDataReader):
    def __init__(self, images: NDArray[np.float32]) -> None:
        self._images: Iterator[dict[str, Any]] = iter([{"x": image[None]} for image in images])

    def get_next(self) -> Any:
        return next(self._images, None)


def quantized(
    floats: onnx.ModelProto,
    images: NDArray[np.float32],
    path: Path,
    *,
    form: str = "qdq",
    dtype: str = "uint8",
    per_channel: bool = True,
    **options: Any,
) -> Path:
    """What ``quantize_static`` makes of a float model, at ``path``."""
    source = path.with_suffix(".float.onnx")
    onnx.save(floats, source)
    logging.disable(logging.WARNING)
    try:
        quantize_static(
            source,
            path,
            _Images(images),
            quant_format=FORMS[form],
            per_channel=per_channel,
            activation_type=TYPES[dtype],
            weight_type=QuantType.QInt8,
            **options,
        )
    finally:
        logging.disable(logging.NOTSET)
    return path


def drawn_images(rng: np.random.Generator, count: int, *shape: int) -> NDArray[np.float32]:
    return rng.normal(size=(count, *shape)).astype(F32)


def integer_names(found: onnx.ModelProto, network: Network) -> list[str]:
    """The integer tensor in a model for each operation's output in the network that was read from
    it."""
    made = {name: node for node in found.graph.node for name in node.output}
    readers = {name: node for node in found.graph.node for name in node.input}
    names = []
    for operation in network.operations:
        name = operation.output.name
        reader = readers.get(name)
        if reader is not None and reader.op_type == "QuantizeLinear":
            # A maximum of real numbers has their name; what they are quantized to is the tensor.
            assert made[name].op_type == "MaxPool"
            name = reader.output[0]
        names.append(name)
    return names


def run_file(
    found: onnx.ModelProto, images: NDArray[Any], names: list[str]
) -> tuple[list[NDArray[Any]], list[str]]:
    """What ONNX Runtime makes of images in a model's own form, for these tensors; and the operators
    that it ran."""
    changed = onnx.ModelProto()
    changed.CopyFrom(found)
    del changed.graph.output[:]
    changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session, ran = _session(changed)
    return session.run(names, {"x": images}), ran


def _session(found: onnx.ModelProto) -> tuple[onnxruntime.InferenceSession, list[str]]:
    import tempfile

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(optimized)
        session = onnxruntime.InferenceSession(
            found.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        ran = [node.op_type for node in onnx.load(optimized).graph.node]
    return session, ran


# Single operators, with outputs beside ties


def single(
    rng: np.random.Generator, op: str, dtype: Any, per_channel: bool, outputs: int
) -> tuple[onnx.ModelProto, NDArray[Any]]:
    """A model of one integer operator, and an image for which most of its ``outputs`` outputs lie
    on or next to a tie, so that a neighbouring formula yields another integer for many.

    op: QLinearConv, QGemm, QLinearMatMul, QLinearGlobalAveragePool; or Conv or Gemm, between
    DequantizeLinear and QuantizeLinear, with a float bias.
    """
    lo, hi = np.iinfo(dtype).min, np.iinfo(dtype).max

    def scale() -> NDArray[Any]:
        return np.exp(rng.uniform(np.log(1e-4), 0)).astype(F32)

    def zero() -> NDArray[Any]:
        return np.asarray(rng.integers(lo, hi + 1), dtype)

    def near_ties(multiplier: NDArray[Any]) -> NDArray[np.int64]:
        return np.rint((rng.integers(-120, 120, outputs) + 0.5) / multiplier.astype(float))

    c: Arrays = {"sx": scale(), "zx": zero(), "sy": scale(), "zy": zero()}
    node = helper.make_node
    if op == "QLinearGlobalAveragePool":
        rows, columns = (int(n) for n in rng.integers(1, 9, 2))
        area = rows * columns
        # A multiplier of few bits, or next to one: many sums lie on ties or beside them.
        multiplier = (2 * rng.integers(8, 16) + 1) / 2.0 ** np.ceil(np.log2(area) + 5)
        near = F32(1 + int(rng.integers(-2, 3)) * 2.0**-23)
        c["sy"] = F32(F32(float(c["sx"]) / (multiplier * area)) * near)
        x = rng.integers(lo, hi + 1, (1, outputs, rows, columns)).astype(dtype)
        nodes = [node(op, ["x", "sx", "zx", "sy", "zy"], ["y"], domain=MICROSOFT)]
        return model(nodes, c, ("N", *x.shape[1:]), dtype=dtype), x
    is_conv = op in ("QLinearConv", "Conv")
    inputs = 1 if is_conv else int(rng.integers(1, 60))
    weight = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    x = rng.integers(lo, hi + 1, (1, inputs)).astype(dtype)
    products = ((x.astype(np.int64) - c["zx"]) @ weight.T.astype(np.int64))[0]
    c["sw"] = scale()
    if per_channel:
        c["sw"] = (c["sw"] * np.exp(rng.uniform(-2, 0, outputs))).astype(F32)
    if op == "QLinearMatMul":
        # It has no bias: scales are chosen instead, or the output's.
        ties = (rng.integers(0, 100, outputs) + 0.5) / np.maximum(np.abs(products), 1)
        c["sw"] = (ties * float(c["sy"]) / float(c["sx"])).astype(F32)
        if not per_channel:
            c["sw"] = c["sw"][0]
    sums = np.asarray(c["sx"] * c["sw"], F32)
    if op in ("Conv", "Gemm"):
        # The step of the bias is nearly that of the output, so that its rounding shows.
        c["sy"] = F32(sums.max() * rng.uniform(1, 1.3))
        wanted = rng.integers(-110, 110, outputs) + rng.choice([0.5, 0.4999999, 0.5000001], outputs)
        c["b"] = ((wanted - products) * sums.astype(float)).astype(F32)
    elif op != "QLinearMatMul":
        limit = 2**31 - 2**22
        ties = np.clip(near_ties(sums / c["sy"]), -limit, limit)
        c["b"] = (ties - products).astype(np.int32)
    c["zw"] = np.zeros(c["sw"].shape, np.int8)
    c["w"] = weight.reshape(outputs, inputs, 1, 1) if is_conv else weight.T.copy()
    x = x.reshape(1, inputs, 1, 1) if is_conv else x
    if op in ("Conv", "Gemm"):
        nodes = [
            node("DequantizeLinear", ["x", "sx", "zx"], ["xf"]),
            node("DequantizeLinear", ["w", "sw", "zw"], ["wf"], axis=0 if is_conv else 1),
            node(op, ["xf", "wf", "b"], ["yf"]),
            node("QuantizeLinear", ["yf", "sy", "zy"], ["y"]),
        ]
    elif op == "QGemm":
        inputs_of = ["x", "sx", "zx", "w", "sw", "zw", "b", "sy", "zy"]
        nodes = [node(op, inputs_of, ["y"], domain=MICROSOFT)]
    else:
        inputs_of = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy"]
        nodes = [node(op, inputs_of + (["b"] if is_conv else []), ["y"])]
    return model(nodes, c, ("N", *x.shape[1:]), dtype=dtype), x


SINGLES = (
    "QLinearConv", "QGemm", "QLinearMatMul", "QLinearGlobalAveragePool", "Conv", "Gemm",
)  # fmt: skip
