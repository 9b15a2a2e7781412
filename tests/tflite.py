"""Writes LiteRT's files without TensorFlow: a few operators, from numbers that a test chooses."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike, NDArray

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
}

OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "ELU": None,
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GELU": "GeluOptions",
    "HARD_SWISH": "HardSwishOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "LOGISTIC": None,
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "QUANTIZE": "QuantizeOptions",
    "RELU": None,
    "RELU6": None,
    "SIN": None,
    "TANH": None,
    "PACK": "PackOptions",
    "RESHAPE": "ReshapeOptions",
    "SHAPE": "ShapeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SOFTMAX": "SoftmaxOptions",
}
"""The table of options that an operator has."""

VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "ELU": 1,
    "HARD_SWISH": 1,
    "FULLY_CONNECTED": 4,
    "PACK": 1,
    "RESHAPE": 1,
    "SHAPE": 1,
    "STRIDED_SLICE": 1,
}
"""Of the operators whose version for int8 is not 2."""

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
ACTIVATIONS = {
    name: getattr(schema.ActivationFunctionType, name)
    for name in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
}


class Model:
    """A model with one subgraph, tensor by tensor and operator by operator.

    What it holds can be changed before :meth:`content` is called.
    """

    def __init__(self) -> None:
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.name = [], [], "main"
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, "made by a test"
        self.model.buffers, self.model.subgraphs = [schema.BufferT()], [self.graph]
        self.model.operatorCodes = []

    def tensor(
        self,
        shape: tuple[int, ...],
        scale: ArrayLike | None = None,
        zero_point: int = 0,
        *,
        dtype: Any = np.int8,
        data: NDArray[Any] | None = None,
        axis: int = 0,
        name: str | None = None,
    ) -> int:
        """Its number. With data it is a constant; scale may be several, one for each index of the
        axis."""
        t = schema.TensorT()
        t.name = f"t{len(self.graph.tensors)}" if name is None else name
        t.shape, t.type, t.buffer = np.array(shape, np.int32), TYPES[np.dtype(dtype)], 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.asarray(scale, np.float32))
            q.zeroPoint = np.full(q.scale.shape, zero_point, np.int64)
            q.quantizedDimension = axis
            t.quantization = q
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def constant(self, data: NDArray[Any], scale: ArrayLike | None = None, axis: int = 0) -> int:
        return self.tensor(data.shape, scale, dtype=data.dtype, data=data, axis=axis)

    def operator(self, name: str, inputs: list[int], output: int, **options: Any) -> int:
        """Adds an operator; returns its output."""
        code, op = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = VERSIONS.get(name, 2)
        self.model.operatorCodes.append(code)
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if OPTIONS[name] is not None:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, OPTIONS[name])
            op.builtinOptions = getattr(schema, f"{OPTIONS[name]}T")()
            for field, value in options.items():
                assert hasattr(op.builtinOptions, field)
                setattr(op.builtinOptions, field, value)
        self.graph.operators.append(op)
        return output

    def content(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file's bytes."""
        self.graph.inputs = np.array(inputs, np.int32)
        self.graph.outputs = np.array(outputs, np.int32)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
