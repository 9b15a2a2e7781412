"""LiteRT with its XNNPACK delegate, which it uses unless it is told not to: what the outputs of
networks from ``.tflite`` files are compared with."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accel.errors import AccelError
from accel.frontends import tflite
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.process_wide import PYTORCH

STDERR = 2


def run_network(network: Network, images: ArrayLike) -> list[NDArray[np.integer[Any]]]:
    """What LiteRT makes of images, with the file that the network was read from.

    images: integers (N, *shape of the input as the file has it), in the range of the input tensor.
    Returns for each operation int8 (N, *shape as the file has it); the last are the logits.

    Raises :class:`AccelError` for images of another shape or range, for a network that was not read
    from a ``.tflite`` file, and if LiteRT does not run that file.
    """
    images = network.checked(images)
    if network.source is None:
        raise AccelError(
            f"LiteRT runs files, and network '{network.name}' was not read from one: load it with "
            f"accel.load"
        )
    (given,) = tflite.parse(network.source).inputs
    fed = _fed(network, given, images)
    indices = [tensor_index(op.output.name) for op in network.operations]
    shapes = [network.order.shape(op.output.shape) for op in network.operations]
    outputs: list[list[NDArray[Any]]] = [[] for _ in indices]
    try:
        interpreter = _interpreter(network.source)
        for x in fed:
            interpreter.set_tensor(given.index, x)
            interpreter.invoke()
            for found, index, shape in zip(outputs, indices, shapes, strict=True):
                found.append(interpreter.get_tensor(index).reshape(shape))
    except (RuntimeError, ValueError) as e:
        reason = " ".join(str(e).split())
        raise AccelError(f"LiteRT does not run network '{network.name}': {reason}") from e
    return [
        np.stack(found) if found else np.empty((0, *shape), np.int8)
        for found, shape in zip(outputs, shapes, strict=True)
    ]


VERSIONS = {"HARD_SWISH": 1, "ELU": 1}
"""Of the operators of one value whose version for int8 is not 2."""


def function_entries(
    kind: str, options: tuple[str, Mapping[str, Any]] | None, before: Tensor, after: Tensor
) -> NDArray[np.int8]:
    """What LiteRT makes of each int8 of ``before``, the least first, with an operator of one value:
    int8 (256,).

    kind: as the schema calls it. options: their table and its fields, if it has one.

    Raises :class:`AccelError` if LiteRT does not run it.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph, model, code, op = (
        getattr(schema, name)() for name in ("SubGraphT", "ModelT", "OperatorCodeT", "OperatorT")
    )
    graph.tensors, graph.operators, graph.name = [], [op], "main"
    for tensor in (before, after):
        t, q = schema.TensorT(), schema.QuantizationParametersT()
        t.name, t.shape, t.type, t.buffer = "", [1, 256], schema.TensorType.INT8, 0
        q.scale, q.zeroPoint, q.quantizedDimension = [tensor.scale], [tensor.zero_point], 0
        t.quantization = q
        graph.tensors.append(t)
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    # A byte, which stands for itself up to here.
    code.deprecatedBuiltinCode = min(
        code.builtinCode, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
    )
    code.version = VERSIONS.get(kind, 2)
    op.opcodeIndex, op.inputs, op.outputs = 0, [0], [1]
    if options is not None:
        name, fields = options
        op.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        op.builtinOptions = getattr(schema, f"{name}T")()
        for field, value in fields.items():
            setattr(op.builtinOptions, field[0].lower() + field[1:], value)
    graph.inputs, graph.outputs = [0], [1]
    model.version, model.description = 3, ""
    model.buffers, model.subgraphs, model.operatorCodes = [schema.BufferT()], [graph], [code]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    try:
        interpreter = _interpreter(bytes(builder.Output()))
        interpreter.set_tensor(0, np.arange(-128, 128, dtype=np.int8)[None])
        interpreter.invoke()
        found: NDArray[np.int8] = interpreter.get_tensor(1).ravel()
    except (RuntimeError, ValueError) as e:
        raise AccelError(f"LiteRT does not run {kind}: {' '.join(str(e).split())}") from e
    return found


def tensor_name(index: int) -> str:
    """What a network calls that tensor of its file."""
    return f"tensor {index}"


def tensor_index(name: str) -> int:
    """The inverse of :func:`tensor_name`."""
    return int(name.removeprefix("tensor "))


def _fed(network: Network, given: tflite.TensorInfo, images: NDArray[Any]) -> NDArray[Any]:
    """Images as the file's input takes them: (N, *its shape)."""
    shape = (len(images), *given.shape)
    if given.type != "FLOAT32":
        return images.astype(np.int8 if given.type == "INT8" else np.uint8).reshape(shape)
    # A QUANTIZE, with which the network begins, makes the same integers of these.
    tensor = network.input
    steps = images.astype(np.float32) - np.float32(tensor.zero_point)
    return (steps * np.float32(tensor.scale)).reshape(shape)


def _interpreter(source: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    with PYTORCH, warnings.catch_warnings(), _no_standard_error():
        # It keeps all tensors, which takes memory, as it says.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        interpreter = Interpreter(
            model_content=source, num_threads=1, experimental_preserve_all_tensors=True
        )
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _no_standard_error() -> Iterator[None]:
    """LiteRT writes there, past Python, that it starts; what goes wrong its exceptions say too."""
    try:
        kept = os.dup(STDERR)
    except OSError:  # There is none.
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), STDERR)
            yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
