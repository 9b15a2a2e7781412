"""The file that holds a quantized network.

The file is safetensors: arrays and text, nothing that runs. Its metadata has one entry, ``accel``,
a JSON object with the format's name and version, the network's description, and a SHA-256 over
description and arrays. Whatever is loaded has passed every check that a network built in Python
passes. Version 1 knew only layers in a row, each with the maximum that may follow it; version 2
named no origin. They are read still.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as safetensors_bytes

from accel import files
from accel.errors import AccelError
from accel.network.graph import Network
from accel.network.order import Order
from accel.network.tensor import Tensor, require, short
from accel.operations import KINDS, Conv2d, Linear, MaxPool2d, Operation
from accel.operations.conv2d import conv2d_shape
from accel.operations.weighted import Weighted
from accel.runtimes.rounding import ROUNDINGS

FORMAT, VERSION = "accel quantized network", 3
"""What the metadata of a network's file says that it is."""

MAX_FILE_BYTES = 1 << 28

_METADATA_KEY = "accel"
_NUMPY_DTYPES: dict[str, Any] = {
    "I8": np.dtype(np.int8),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
}
_TENSOR_FIELDS = {"shape": list, "scale": float, "zero_point": int, "signed": bool}
_VERSION_2 = {"name": str, "rounding": str, "input": str, "tensors": dict, "operations": list}
_NETWORK_FIELDS = _VERSION_2 | {"origin": str, "order": str, "notes": list}
_OPERATION_FIELDS = {"kind": str, "name": str, "inputs": list, "output": str}

Arrays = dict[str, NDArray[Any]]


def save(network: Network, path: Path) -> None:
    """Write the network's file, whole or not at all.

    Raises :class:`AccelError` when that is not possible; what was there is there still.
    """
    arrays = {
        f"{op.name}.{field}": getattr(op, field) for op in network.operations for field in op.ARRAYS
    }
    tensors = (network.input, *(op.output for op in network.operations))
    description = {
        "name": network.name,
        "origin": network.origin,
        "order": network.order.value,
        "rounding": network.rounding.name,
        "notes": list(network.notes),
        "input": network.input.name,
        "tensors": {tensor.name: _describe_tensor(tensor) for tensor in tensors},
        "operations": [
            {field: getattr(op, field) for field in op.OPTIONS}
            | {
                "kind": op.kind,
                "name": op.name,
                "inputs": [tensor.name for tensor in op.inputs],
                "output": op.output.name,
            }
            for op in network.operations
        ],
    }
    document = {
        "format": FORMAT,
        "version": VERSION,
        "network": description,
        "sha256": _checksum(description, arrays),
    }
    # One entry, because safetensors writes several in an order that changes from run to run.
    content = safetensors_bytes(arrays, {_METADATA_KEY: _to_json(document)})
    files.write(path, content)


def load(path: Path) -> Network:
    """The network that :func:`save` wrote.

    Raises :class:`AccelError` for a file that cannot be read, is cut or changed, or holds anything
    that is not a correct network of a version that this program reads.
    """
    try:
        arrays, document = _parse(_read(path))
        network = _NETWORKS[document["version"]](arrays, document["network"])
        require(not arrays, "it holds arrays that belong to no layer")
    except AccelError as e:
        raise AccelError(
            f"cannot load the network {path}: {e}; expected a file written by accel quantize"
        ) from e
    return network


def _read(path: Path) -> bytes:
    try:
        # A pipe would be waited for.
        require(path.is_file() or not path.exists(), "it is not a file")
        with open(path, "rb") as f:
            data = f.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise AccelError(e.strerror or str(e)) from e
    require(len(data) <= MAX_FILE_BYTES, f"it is larger than {MAX_FILE_BYTES} bytes")
    return data


def _parse(data: bytes) -> tuple[Arrays, dict[str, Any]]:
    """Arrays by name, and the document in the metadata: whole, and of a known version."""
    try:
        entries: Any = deserialize(data)
    except SafetensorError as e:
        raise AccelError("it is not a whole safetensors file") from e
    # Now the header is known to be JSON of the stated length.
    header_end = 8 + int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8:header_end]).get("__metadata__") or {}
    text = metadata.get(_METADATA_KEY, "")
    try:
        document = json.loads(text)
        is_canonical = _to_json(document) == text
    except (ValueError, RecursionError) as e:
        raise AccelError("it holds no description of a quantized network") from e
    is_ours = isinstance(document, dict) and document.get("format") == FORMAT
    require(is_ours, "it holds no description of a quantized network")
    version = document.get("version")
    require(
        type(version) is int and version in _NETWORKS,
        f"it has format version {short(version)}, but this program reads versions "
        f"{', '.join(map(str, _NETWORKS))}",
    )
    # What is written in another way than here was changed, even where it means the same.
    require(is_canonical, "its description is damaged")
    _fields(document, "file", {"format": str, "version": int, "network": dict, "sha256": str})
    arrays: Arrays = {}
    for name, entry in entries:
        shape, dtype = entry["shape"], _NUMPY_DTYPES.get(entry["dtype"])
        require(
            dtype is not None and 1 <= len(shape) <= 4 and all(1 <= n <= 1 << 32 for n in shape),
            "it holds an array of a type or shape that no network has",
        )
        arrays[name] = np.frombuffer(entry["data"], dtype).reshape(shape)
    require(
        _checksum(document["network"], arrays) == document["sha256"],
        "its checksum is not that of its content, so it is damaged",
    )
    return arrays, document


def _network(arrays: Arrays, description: dict[str, Any]) -> Network:
    _fields(description, "network", _NETWORK_FIELDS)
    rounding = ROUNDINGS.get(description["rounding"])
    require(
        rounding is not None,
        f"it rounds like {short(description['rounding'])}, which is none of {', '.join(ROUNDINGS)}",
    )
    orders = {order.value: order for order in Order}
    require(
        description["order"] in orders,
        f"its order is {short(description['order'])}, which is none of {', '.join(orders)}",
    )
    tensors = {name: _tensor(name, entry) for name, entry in description["tensors"].items()}

    def tensor(name: Any) -> Tensor:
        require(isinstance(name, str) and name in tensors, f"it has no tensor {short(name)}")
        return tensors[name]

    operations: list[Operation] = []
    for entry in description["operations"]:
        kind = KINDS.get(str(entry.get("kind"))) if isinstance(entry, dict) else None
        if kind is None:
            raise AccelError(f"a layer's kind must be one of {', '.join(KINDS)}, not another")
        _fields(entry, kind.KIND, _OPERATION_FIELDS | dict(kind.OPTIONS))
        inputs, count = [tensor(name) for name in entry["inputs"]], len(kind.INPUTS)
        require(
            kind.MANY_INPUTS or len(inputs) == count,
            f"the number of tensors that layer {short(entry['name'])} reads must be {count}, "
            f"not {len(inputs)}",
        )
        fields = (
            {kind.INPUTS[0]: tuple(inputs)}
            if kind.MANY_INPUTS
            else (dict(zip(kind.INPUTS, inputs, strict=True)))
        )
        options = {field: entry[field] for field in kind.OPTIONS}
        if any(field.name == "rounding" for field in dataclasses.fields(kind)):
            options["rounding"] = rounding
        operations.append(
            kind(
                name=entry["name"],
                output=tensor(entry["output"]),
                **fields,
                **options,
                **_arrays_of(kind, entry["name"], arrays),
            )
        )
    network = Network(
        name=description["name"],
        operations=tuple(operations),
        origin=description["origin"],
        order=orders[description["order"]],
        notes=tuple(description["notes"]),
    )
    # Where no operation rounds, its rounding is nowhere but here.
    require(
        network.rounding.name == description["rounding"],
        f"it rounds like {description['rounding']}, which networks whose origin is "
        f"{network.origin} do not",
    )
    require(
        network.input.name == description["input"]
        and tensors.keys() == {network.input.name, *(op.output.name for op in operations)},
        "its tensors are not those of its layers",
    )
    return network


_VERSION_2_ORIGINS = {"qnnpack": "pytorch", "xnnpack": "executorch"}


def _version_2(arrays: Arrays, description: dict[str, Any]) -> Network:
    """Without origin, order, notes and smallest outputs: the origin follows from the rounding."""
    _fields(description, "network", _VERSION_2)
    rounding = description["rounding"]
    require(
        rounding in _VERSION_2_ORIGINS,
        f"it rounds like {short(rounding)}, which is none of {', '.join(_VERSION_2_ORIGINS)}",
    )
    added = {
        "origin": _VERSION_2_ORIGINS[rounding],
        "order": Order.CHANNELS_FIRST.value,
        "notes": [],
        "operations": [
            entry | {"smallest": -128} if isinstance(entry, dict) and "relu" in entry else entry
            for entry in description["operations"]
        ],
    }
    return _network(arrays, description | added)


_VERSION_1_LAYER = {
    "name": str,
    "kind": str,
    "stride": int,
    "padding": int,
    "relu": bool,
    "pool": bool,
    "output": dict,
}


def _version_1(arrays: Arrays, description: dict[str, Any]) -> Network:
    """Layers in a row; a layer with ``pool`` is two operations."""
    _fields(description, "network", {"name": str, "input": dict, "layers": list})
    tensor = _tensor("input", description["input"])
    operations: list[Operation] = []
    for entry in description["layers"]:
        _fields(entry, "layer", _VERSION_1_LAYER)
        kinds: dict[str, type[Weighted]] = {kind.KIND: kind for kind in (Conv2d, Linear)}
        name, kind = entry["name"], kinds.get(entry["kind"])
        if kind is None:
            raise AccelError(f'kind must be "conv2d" or "linear", not {short(entry["kind"])}')
        after = _tensor(name, entry["output"])
        options: dict[str, Any] = {"relu": entry["relu"]}
        if kind is Conv2d:
            options |= {"stride": (entry["stride"],) * 2, "padding": (entry["padding"],) * 4}
        if kind is Linear:
            plain = (entry["stride"], entry["padding"], entry["pool"]) == (1, 0, False)
            require(plain, "a linear layer has no stride, no padding and no pooling")
        taken = _arrays_of(kind, name, arrays)
        output = after
        if entry["pool"] and taken["weight"].ndim == 4:
            # What does not make sense is said when the layer is made.
            step, side = max(entry["stride"], 1), entry["padding"]
            stride, padding = (step, step), (side, side, side, side)
            shape = conv2d_shape((*tensor.shape, 1, 1)[:3], taken["weight"].shape, stride, padding)
            output = dataclasses.replace(after, shape=tuple(max(1, size) for size in shape))
        options |= taken
        operations.append(kind(name=name, input=tensor, output=output, **options))
        tensor = output
        if entry["pool"]:
            pooled = dataclasses.replace(after, name=f"{name}.pool")
            operations.append(MaxPool2d(name=pooled.name, input=output, output=pooled))
            tensor = pooled
    return Network(name=description["name"], operations=tuple(operations))


_NETWORKS = {1: _version_1, 2: _version_2, 3: _network}


def _arrays_of(kind: type[Operation], name: str, arrays: Arrays) -> Arrays:
    """Takes the arrays of an operation out of ``arrays``."""
    taken = {}
    for field in kind.ARRAYS:
        array = arrays.pop(f"{name}.{field}", None)
        if array is None:
            raise AccelError(f"{field} of layer {short(name)} is missing")
        taken[field] = array
    return taken


def _tensor(name: str, entry: Any) -> Tensor:
    _fields(entry, "tensor", _TENSOR_FIELDS)
    return Tensor(name=name, **entry | {"shape": tuple(entry["shape"])})


def _fields(entry: Any, what: str, types: Mapping[str, type]) -> None:
    """``entry`` is a JSON object with exactly these fields, of these types."""
    require(
        isinstance(entry, dict)
        and entry.keys() == types.keys()
        and all(type(entry[name]) is t for name, t in types.items()),
        f"its description of a {what} must have the fields {', '.join(types)}, each of its type",
    )


def _describe_tensor(tensor: Tensor) -> dict[str, Any]:
    return {field: getattr(tensor, field) for field in _TENSOR_FIELDS} | {
        "shape": list(tensor.shape)
    }


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _checksum(description: Any, arrays: Arrays) -> str:
    digest = hashlib.sha256(_to_json(description).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
