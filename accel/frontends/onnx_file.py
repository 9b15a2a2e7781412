"""An ONNX file: its graph, nodes and constants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.errors import AccelError
from accel.network.tensor import MAX_NAME, MAX_SIZE, is_name, short

MAX_FILE_BYTES = 1 << 28
MAX_NODES = 1 << 14
FIRST_OPSET, LAST_OPSET = 10, 28
"""Of ONNX's own operators: the first that has QuantizeLinear, and the last whose changes are known
here. What is new in it is an attribute, and no unknown attribute is taken."""


def read_file(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            # A pipe would be waited for.
            raise AccelError("it is not a file")
        with open(path, "rb") as f:
            data = f.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise AccelError(e.strerror or str(e)) from e
    if len(data) > MAX_FILE_BYTES:
        raise AccelError(f"it is larger than {MAX_FILE_BYTES} bytes")
    return data


def parse(data: bytes) -> Any:
    """The graph of a model (``onnx.GraphProto``), whose operators have the meaning known here."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as e:
        raise AccelError("ONNX files need the package onnx: pip install 'accel-cnn[onnx]'") from e
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as e:
        raise AccelError("it is no ONNX model, or not whole") from e
    if not model.HasField("graph"):
        raise AccelError("it is no ONNX model, or not whole")
    if model.functions:
        raise AccelError("it defines operators of its own, in functions, which are not read")
    versions = {opset.domain: opset.version for opset in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", 0))
    if not FIRST_OPSET <= version <= LAST_OPSET:
        raise AccelError(
            f"it has operators of opset {version}, but those of {FIRST_OPSET} to {LAST_OPSET} are "
            f"read"
        )
    if len(model.graph.node) > MAX_NODES:
        raise AccelError(f"it has more than {MAX_NODES} nodes")
    return model.graph


def array_of(proto: Any) -> NDArray[Any]:
    """What an ``onnx.TensorProto`` holds, of a type that quantized networks have."""
    from onnx import TensorProto, numpy_helper

    name = short(text_of(proto.name))
    if proto.data_location == TensorProto.EXTERNAL or proto.external_data:
        raise AccelError(
            f"tensor {name} lies in another file: save the model as one file, with "
            f"onnx.save(model, path)"
        )
    kinds = ("FLOAT", "INT8", "UINT8", "INT32", "INT64")
    if proto.data_type not in [TensorProto.DataType.Value(kind) for kind in kinds]:
        raise AccelError(f"tensor {name} is not of type {', '.join(kinds)}")
    if any(not 0 <= size <= MAX_FILE_BYTES for size in proto.dims):
        raise AccelError(f"tensor {name} has no possible shape")
    try:
        return np.array(numpy_helper.to_array(proto))
    except Exception as e:
        # Whatever a damaged tensor leads to.
        raise AccelError(f"tensor {name} is damaged") from e


class Node:
    """A node whose attributes are taken one by one; what is left over nobody knows."""

    def __init__(self, proto: Any) -> None:
        self.inputs = [text_of(name) for name in proto.input]
        self.outputs = [text_of(name) for name in proto.output]
        self.name = text_of(proto.name) or next(iter(self.outputs), "")
        self.kind, self.domain = text_of(proto.op_type), text_of(proto.domain)
        if self.domain == "ai.onnx":
            self.domain = ""
        self._attributes = {text_of(attribute.name): attribute for attribute in proto.attribute}

    def __str__(self) -> str:
        return f"node {short(self.name)} ({printable(self.kind)})"

    def take(self, name: str, default: Any = None, kind: type | None = None) -> Any:
        """An attribute of the kind of its default, or of that kind: a number, a text, or a list of
        whole numbers; a tensor without either."""
        from onnx import TensorProto, helper

        attribute = self._attributes.pop(name, None)
        if attribute is None:
            return default
        try:
            value = helper.get_attribute_value(attribute)
        except ValueError as e:
            raise AccelError(f"its attribute {short(name)} is damaged") from e
        value = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(value, Sequence) and not isinstance(value, str):
            value = list(value) if all(type(n) is int for n in value) else None
        kind = type(default) if kind is None and default is not None else kind or TensorProto
        if not isinstance(value, kind):
            raise AccelError(f"its attribute {short(name)} is of another type than it should be")
        return value

    def sizes(self, name: str, default: list[int], low: int) -> tuple[int, ...]:
        """An attribute that is a list of as many numbers as its default."""
        found = list(self.take(name, default))
        if len(found) != len(default) or any(not low <= n <= MAX_SIZE for n in found):
            raise AccelError(
                f"its attribute {name} must be {len(default)} numbers from {low} to {MAX_SIZE}, "
                f"not {short(found)}"
            )
        return tuple(found)

    def check_taken(self) -> None:
        if self._attributes:
            raise AccelError(f"its attribute {short(min(self._attributes))} is not known")


# Names


def text_of(value: str | bytes) -> str:
    """A name in a file; protobuf yields bytes where it is no text."""
    return value if isinstance(value, str) else value.decode(errors="replace")


def dims_of(value: Any) -> Any:
    return value.type.tensor_type.shape.dim


def printable(text: str) -> str:
    """A name of that text, as a network can have it."""
    shown = "".join(c if c.isprintable() else "?" for c in text)[:MAX_NAME]
    return shown if is_name(shown) else "network"


def new_name(text: str, taken: set[str]) -> str:
    """That name, or if it is none or taken one that is like it; it is taken then."""
    name, number = printable(text), 1
    while name in taken:
        number += 1
        ending = f"_{number}"
        name = printable(text)[: MAX_NAME - len(ending)] + ending
    taken.add(name)
    return name
