"""ONNX Runtime: what every output of a network that comes from an ONNX file is compared with.

A model of its integer operators is built from the network, not taken from the file, so that it and
the hardware start from the same integers and float32 numbers, and so that a network which was saved
and loaded again can be compared too.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accel.errors import AccelError
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import AvgPool2d, Concat, Conv2d, Linear, MaxPool2d, Operation, Table
from accel.runtimes.rounding import ONNXRUNTIME

BATCH_SIZE = 256
"""Images that are worked on at a time, so that many images need no more memory than few."""

OPSETS = {"": 13, "com.microsoft": 1}
IR_VERSION = 8
"""Of the model that is built: what the oldest ONNX Runtime that runs on these Pythons reads."""
OPSET_OF_FUNCTIONS, IR_OF_FUNCTIONS = 20, 9
"""Of one that has functions of one value."""
FUNCTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sigmoid": ("Sigmoid", ()),
    "tanh": ("Tanh", ()),
    "hardswish": ("HardSwish", ()),
    "hard_sigmoid": ("HardSigmoid", ("alpha", "beta")),
    "leaky_relu": ("LeakyRelu", ("alpha",)),
    "elu": ("Elu", ("alpha",)),
    "selu": ("Selu", ()),
    "mish": ("Mish", ()),
    "softplus": ("Softplus", ()),
    "gelu": ("Gelu", ()),
}
"""Those of :data:`accel.operations.table.FUNCTIONS` that are operators of real numbers, and what
these call their arguments."""


def run_network(network: Network, images: ArrayLike) -> list[NDArray[np.integer]]:
    """What ONNX Runtime's integer operators make of images, on a CPU.

    images: integers (N, *network.input.shape), in the range of the input tensor. Returns for each
    operation int8 (signed) or uint8 (N, *operation.output.shape); the last are the logits.

    Raises :class:`AccelError` for images of another shape or range, for a network that rounds like
    another runtime, for an operation that ONNX Runtime has in no integer form, and if it is not
    installed.
    """
    images = network.checked(images)
    if network.rounding.name != ONNXRUNTIME.name:
        raise AccelError(
            f"network '{network.name}' rounds like {network.rounding.name}, which ONNX Runtime "
            f"does not: compare with network.integers(images)"
        )
    session = _session(network)
    outputs: list[NDArray[np.integer]] = [
        np.empty((len(images), *op.output.shape), _dtype(op.output)) for op in network.operations
    ]
    for start in range(0, len(images), BATCH_SIZE):
        x = images[start : start + BATCH_SIZE].astype(_dtype(network.input))
        found = session.run([op.output.name for op in network.operations], {network.input.name: x})
        for output, part in zip(outputs, found, strict=True):
            output[start : start + BATCH_SIZE] = part
    return outputs


def _session(network: Network) -> Any:
    try:
        return _started(model(network))
    except ImportError as e:
        raise AccelError(
            "ONNX Runtime needs the packages onnxruntime and onnx: pip install 'accel-cnn[onnx]'"
        ) from e


def _started(built: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # What is built are the operators whose outputs are wanted: nothing is to be put in their place.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    content = built.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def function_entries(
    function: str, arguments: tuple[float, ...], before: Tensor, after: Tensor
) -> NDArray[np.integer]:
    """What ONNX Runtime makes of each value of ``before``, the least first, with a function of
    :data:`FUNCTIONS` between DequantizeLinear and QuantizeLinear: (256,), of the type of ``after``.
    """
    from onnx import helper

    source, target = (
        Tensor(name=name, shape=(1,), scale=t.scale, zero_point=t.zero_point, signed=t.signed)
        for name, t in (("x", before), ("y", after))
    )
    built = _Builder()
    built.function(function, arguments, source, target)
    graph = helper.make_graph(
        built.nodes, "function", [_value(source)], [_value(target)], built.constants
    )
    opset = helper.make_opsetid("", OPSET_OF_FUNCTIONS)
    session = _started(helper.make_model(graph, opset_imports=[opset], ir_version=IR_OF_FUNCTIONS))
    lo, hi = before.limits
    values = np.arange(lo, hi + 1).astype(_dtype(before))[:, None]
    found: NDArray[np.integer] = session.run(["y"], {"x": values})[0].ravel()
    return found


def model(network: Network) -> Any:
    """The network as an ONNX model (``onnx.ModelProto``) of integer operators, which yields every
    tensor.

    Raises :class:`AccelError` for an operation that ONNX Runtime has in no integer form.
    """
    from onnx import helper

    built = _Builder()
    for operation in network.operations:
        _add(operation, built)
    graph = helper.make_graph(
        built.nodes,
        "network",
        [_value(network.input)],
        [_value(operation.output) for operation in network.operations],
        built.constants,
    )
    opsets, ir_version = dict(OPSETS), IR_VERSION
    if any(isinstance(operation, Table) for operation in network.operations):
        opsets[""], ir_version = OPSET_OF_FUNCTIONS, IR_OF_FUNCTIONS
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


class _Builder:
    """Nodes and constants of a model."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: NDArray[Any]) -> str:
        """Its name. No tensor has one that is not printable."""
        from onnx import numpy_helper

        name = f"\t{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def quantization(self, tensor: Tensor) -> list[str]:
        """Scale and zero point of a tensor."""
        scale = self.constant(np.array(tensor.scale, np.float32))
        return [scale, self.constant(np.array(tensor.zero_point, _dtype(tensor)))]

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def function(
        self, function: str, arguments: tuple[float, ...], before: Tensor, after: Tensor
    ) -> None:
        """A function of real numbers, between dequantizing and quantizing."""
        operator, names = FUNCTIONS[function]
        real, made = f"{after.name}\treal", f"{after.name}\tmade"
        self.node("DequantizeLinear", [before.name, *self.quantization(before)], real)
        self.node(operator, [real], made, **dict(zip(names, arguments, strict=False)))
        self.node("QuantizeLinear", [made, *self.quantization(after)], after.name)

    def clipped(self, operation: Conv2d | Linear, unclipped: str) -> None:
        """``unclipped`` within the operation's range."""
        limits = [
            self.constant(np.array(limit, _dtype(operation.output)))
            for limit in operation.output_range
        ]
        self.node("Clip", [unclipped, *limits], operation.output.name)

    def weights(self, operation: Conv2d | Linear, weight: NDArray[np.int8]) -> list[str]:
        """Weight, scales and zero points: of one scale numbers, else arrays."""
        scale = operation.weight_scale
        scale = scale.reshape(()) if scale.size == 1 else scale
        zeros = np.zeros(scale.shape, np.int8)
        return [self.constant(weight), self.constant(scale), self.constant(zeros)]


@singledispatch
def _add(operation: Operation, built: _Builder) -> None:
    """The nodes of an operation, with which ONNX Runtime computes it in integers."""
    raise AccelError(
        f"layer '{operation.name}': ONNX Runtime has no integer operator for a layer of kind "
        f"{operation.kind}"
    )


@_add.register
def _(operation: Conv2d, built: _Builder) -> None:
    inputs = [
        operation.input.name,
        *built.quantization(operation.input),
        *built.weights(operation, operation.weight),
        *built.quantization(operation.output),
        built.constant(operation.bias_q),
    ]
    unclipped = f"{operation.output.name}\t"
    window = {"strides": list(operation.stride), "pads": list(operation.padding)}
    built.node("QLinearConv", inputs, unclipped, group=operation.groups, **window)
    built.clipped(operation, unclipped)


@_add.register
def _(operation: Linear, built: _Builder) -> None:
    flat, unclipped = f"{operation.input.name}\tflat", f"{operation.output.name}\t"
    if all(flat not in node.output for node in built.nodes):
        built.node("Flatten", [operation.input.name], flat)
    inputs = [
        flat,
        *built.quantization(operation.input),
        *built.weights(operation, operation.weight.T),
        built.constant(operation.bias_q),
        *built.quantization(operation.output),
    ]
    built.node("QGemm", inputs, unclipped, domain="com.microsoft")
    built.clipped(operation, unclipped)


@_add.register
def _(operation: MaxPool2d, built: _Builder) -> None:
    source, tensor = operation.input.name, operation.input
    if any(operation.padding):
        # By itself, since the operator takes no padding that is as large as its windows.
        above, left, below, right = operation.padding
        sides = built.constant(np.array([0, 0, above, left, 0, 0, below, right], np.int64))
        least = built.constant(np.array(tensor.limits[0], _dtype(tensor)))
        padded = f"{operation.output.name}\tpadded"
        built.node("Pad", [source, sides, least], padded)
        source = padded
    window = {"kernel_shape": list(operation.size), "strides": list(operation.stride)}
    built.node("MaxPool", [source], operation.output.name, **window)


@_add.register
def _(operation: AvgPool2d, built: _Builder) -> None:
    if operation.size != operation.input.shape[1:] or any(operation.padding):
        raise AccelError(
            f"layer '{operation.name}': ONNX Runtime averages windows that are not the whole map "
            f"in float32"
        )
    inputs = [
        operation.input.name,
        *built.quantization(operation.input),
        *built.quantization(operation.output),
    ]
    built.node("QLinearGlobalAveragePool", inputs, operation.output.name, domain="com.microsoft")


@_add.register
def _(operation: Concat, built: _Builder) -> None:
    inputs = built.quantization(operation.output)
    for part in operation.parts:
        inputs += [part.name, *built.quantization(part)]
    output = operation.output.name
    built.node("QLinearConcat", inputs, output, domain="com.microsoft", axis=1)


@_add.register
def _(operation: Table, built: _Builder) -> None:
    built.function(operation.function, operation.arguments, operation.input, operation.output)


def _dtype(tensor: Tensor) -> type[np.int8] | type[np.uint8]:
    return np.int8 if tensor.signed else np.uint8


def _value(tensor: Tensor) -> Any:
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(_dtype(tensor)))
    return helper.make_tensor_value_info(tensor.name, kind, ["N", *tensor.shape])
