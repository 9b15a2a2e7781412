"""What a ``.tflite`` file says: operators over tensors.

The file is a FlatBuffer, a tree of offsets that nothing checks while it is read. Here everything is
read once, with limits, into plain values; what is not as it must be is said in one sentence. What
the operators mean is :mod:`accel.frontends.litert`'s matter.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.errors import AccelError
from accel.network.tensor import MAX_ELEMENTS, require, short

try:
    from ai_edge_litert import schema_py_generated as schema
except ImportError as e:
    raise AccelError(
        "a .tflite file is read with the package ai-edge-litert, which is not installed: "
        "pip install 'accel-cnn[litert]'"
    ) from e

MAX_FILE_BYTES = 1 << 28
MAX_COUNT = 1 << 14
"""Of tensors, buffers, operators, and of what an operator reads or yields."""
MAX_RANK = 8

_UNREADABLE = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError)
"""What reading raises where offsets lead nowhere."""


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


_OPERATORS = _names(schema.BuiltinOperator)
_TYPES = _names(schema.TensorType)
_ACTIVATIONS = _names(schema.ActivationFunctionType)
_PADDINGS = _names(schema.Padding)
_DTYPES: dict[str, Any] = {"INT8": np.int8, "UINT8": np.uint8, "INT32": "<i4", "INT64": "<i8"}


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorInfo:
    """A tensor of the file."""

    index: int
    name: str
    shape: tuple[int, ...]
    """Each from 1 on; a first one that may be any is 1."""
    type: str
    """As the schema calls it: INT8, FLOAT32 and so on."""
    scale: NDArray[np.float32]
    """One, several along ``axis``, or none at all."""
    zero_point: NDArray[np.int64]
    axis: int
    data: NDArray[Any] | None
    """Of a constant, in its shape; None also where its type is none of those that are needed."""
    is_constant: bool

    def __str__(self) -> str:
        return f"tensor {self.index} {short(self.name)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """An operator of the file."""

    index: int
    kind: str
    """As the schema calls it: CONV_2D and so on."""
    inputs: tuple[TensorInfo | None, ...]
    """None for an optional one that is not there."""
    outputs: tuple[TensorInfo, ...]
    options: Mapping[str, Any]
    """Those of :data:`_FIELDS`, by their names in the schema."""

    def __str__(self) -> str:
        yields = f", which yields {self.outputs[0]}" if self.outputs else ""
        return f"operator {self.index}, {self.kind}{yields}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """The file's one subgraph."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[Operator, ...]


def read(path: Path) -> bytes:
    """The file's content.

    Raises :class:`AccelError` if it cannot be read.
    """
    try:
        # A pipe would be waited for.
        require(path.is_file() or not path.exists(), "it is not a file")
        with open(path, "rb") as f:
            data = f.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise AccelError(e.strerror or str(e)) from e
    require(len(data) <= MAX_FILE_BYTES, f"it is larger than {MAX_FILE_BYTES} bytes")
    return data


def parse(data: bytes) -> Model:
    """What a file of that content says.

    Raises :class:`AccelError` for what is no such file, or damaged.
    """
    require(data[4:8] == b"TFL3", "it is no TensorFlow Lite model, which has TFL3 at byte 4")
    try:
        return _model(data)
    except _UNREADABLE as e:
        raise AccelError("it is damaged: its offsets and sizes do not fit together") from e


def _model(data: bytes) -> Model:
    model = schema.Model.GetRootAs(data)
    require(model.Version() == 3, f"it has schema version {model.Version()}, not 3")
    graphs = model.SubgraphsLength()
    require(graphs == 1, f"it has {graphs} subgraphs, but must have one: no branches, no loops")
    graph = model.Subgraphs(0)
    for what, count in (
        ("tensors", graph.TensorsLength()),
        ("operators", graph.OperatorsLength()),
        ("buffers", model.BuffersLength()),
        ("kinds of operators", model.OperatorCodesLength()),
    ):
        require(1 <= count <= MAX_COUNT, f"it has {count} {what}, not 1 to {MAX_COUNT}")
    tensors = [_tensor(model, graph, i) for i in range(graph.TensorsLength())]
    return Model(
        inputs=_several(tensors, graph.InputsAsNumpy()),
        outputs=_several(tensors, graph.OutputsAsNumpy()),
        operators=tuple(
            _operator(model, graph, i, tensors) for i in range(graph.OperatorsLength())
        ),
    )


def _tensor(model: Any, graph: Any, index: int) -> TensorInfo:
    t = graph.Tensors(index)
    name = (t.Name() or b"").decode(errors="replace")
    kind = _TYPES.get(t.Type(), f"type {t.Type()}")
    shape = tuple(_vector(t.ShapeAsNumpy(), np.int32).tolist())
    # The size of a batch may be open.
    shape = tuple(1 if axis == 0 and n == -1 else n for axis, n in enumerate(shape))
    here = f"tensor {index} {short(name)}"
    require(
        len(shape) <= MAX_RANK and all(n >= 1 for n in shape) and math.prod(shape) <= MAX_ELEMENTS,
        f"{here} has shape {short(shape)}, but must have at most {MAX_RANK} dimensions from 1 on, "
        f"and {MAX_ELEMENTS} elements",
    )
    require(not t.IsVariable(), f"{here} keeps its values from one image to the next")
    require(t.Sparsity() is None, f"{here} is sparse")
    q = t.Quantization()
    scale = _vector(q and q.ScaleAsNumpy(), np.float32)
    zero_point = _vector(q and q.ZeroPointAsNumpy(), np.int64)
    require(q is None or q.Details() is None, f"{here} is quantized in another way than by scales")
    # A missing zero point is zero.
    zero_point = zero_point if zero_point.size else np.zeros(scale.size, np.int64)
    require(
        zero_point.size == scale.size,
        f"{here} has {scale.size} scales, but {zero_point.size} zero points",
    )
    require(t.Buffer() < model.BuffersLength(), f"{here} has no buffer")
    buffer = model.Buffers(t.Buffer())
    # Buffer 0 is empty, for tensors without values.
    size = buffer.DataLength() if t.Buffer() else 0
    outside = bool(t.Buffer() and buffer.Size())
    require(not outside, f"{here} has its values behind the model, as only huge files have")
    return TensorInfo(
        index=index,
        name=name,
        shape=shape,
        type=kind,
        scale=scale,
        zero_point=zero_point,
        axis=q.QuantizedDimension() if q is not None else 0,
        data=_data(here, kind, shape, buffer.DataAsNumpy()) if size else None,
        is_constant=size > 0,
    )


def _data(here: str, kind: str, shape: tuple[int, ...], stored: Any) -> NDArray[Any] | None:
    dtype = _DTYPES.get(kind)
    if dtype is None:
        return None
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    require(
        stored.size == needed,
        f"{here} has {stored.size} bytes of values, not the {needed} it needs",
    )
    # No copy: many tensors may name one buffer.
    return stored.view(dtype).reshape(shape)


def _vector(found: Any, dtype: Any) -> NDArray[Any]:
    """Of a vector that may be missing, for which the library has 0 or None."""
    return found if isinstance(found, np.ndarray) else np.empty(0, dtype)


def _several(tensors: list[TensorInfo], indices: Any) -> tuple[TensorInfo, ...]:
    found = tuple(_vector(indices, np.int32).tolist())
    require(len(found) <= MAX_COUNT, f"it lists {len(found)} tensors, not up to {MAX_COUNT}")
    for index in found:
        require(0 <= index < len(tensors), f"it has no tensor {index}")
    return tuple(tensors[index] for index in found)


def _operator(model: Any, graph: Any, index: int, tensors: list[TensorInfo]) -> Operator:
    op = graph.Operators(index)
    require(op.OpcodeIndex() < model.OperatorCodesLength(), f"operator {index} is of no known kind")
    code = model.OperatorCodes(op.OpcodeIndex())
    # Files of before 2020 have a byte for it; where both are there, the larger one counts.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    kind = _OPERATORS.get(number, f"operator code {number}")
    if kind == "CUSTOM":
        kind = f"custom operator {short((code.CustomCode() or b'').decode(errors='replace'))}"
    inputs = _vector(op.InputsAsNumpy(), np.int32)
    require(inputs.size <= MAX_COUNT, f"operator {index} reads {inputs.size} tensors")
    return Operator(
        index=index,
        kind=kind,
        inputs=tuple(None if i == -1 else _several(tensors, np.array([i]))[0] for i in inputs),
        outputs=_several(tensors, op.OutputsAsNumpy()),
        options=_options(op, index, kind),
    )


_FUSED = {"FusedActivationFunction": _ACTIVATIONS}
_STRIDES: dict[str, Mapping[int, str] | None] = {
    "Padding": _PADDINGS,
    "StrideH": None,
    "StrideW": None,
}
_DILATION = {"DilationHFactor": None, "DilationWFactor": None}
_POOL = _FUSED | _STRIDES | {"FilterHeight": None, "FilterWidth": None}

_FIELDS: dict[str, tuple[str, Mapping[str, Mapping[int, str] | None]]] = {
    "ADD": ("AddOptions", _FUSED),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "CONCATENATION": ("ConcatenationOptions", _FUSED | {"Axis": None}),
    "CONV_2D": ("Conv2DOptions", _FUSED | _STRIDES | _DILATION),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions",
        _FUSED | _STRIDES | _DILATION | {"DepthMultiplier": None},
    ),
    "GELU": ("GeluOptions", {"Approximate": None}),
    "LEAKY_RELU": ("LeakyReluOptions", {"Alpha": None}),
    "FULLY_CONNECTED": ("FullyConnectedOptions", _FUSED | {"WeightsFormat": None}),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
}
"""Of each kind whose options matter: their table, and its fields with the names of their values."""


def _options(op: Any, index: int, kind: str) -> dict[str, Any]:
    if kind not in _FIELDS:
        return {}
    name, fields = _FIELDS[kind]
    union = op.BuiltinOptions()
    found = op.BuiltinOptionsType() == getattr(schema.BuiltinOptions, name) and union is not None
    require(found, f"operator {index}, {kind}, has no {name}")
    table = getattr(schema, name)()
    table.Init(union.Bytes, union.Pos)
    values: dict[str, Any] = {}
    for field, names in fields.items():
        get: Callable[[], Any] = getattr(table, field)
        value = get()
        values[field] = value if names is None else names.get(value, f"number {value}")
    return values
