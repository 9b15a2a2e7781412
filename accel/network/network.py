"""A quantized network, and the file that holds one.

The file is safetensors: arrays and text, nothing that runs. Its metadata has one entry, ``accel``,
a JSON object with the format's name and version, the network's description, and a SHA-256 over
description and arrays. Whatever is loaded has passed every check that a network built in Python
passes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as safetensors_bytes

from accel import files, numerics
from accel.errors import AccelError

FORMAT, VERSION = "accel quantized network", 1
"""What the metadata of a network's file says that it is."""

MAX_FILE_BYTES = 1 << 28
MAX_SIZE = 1 << 16
"""Of each dimension of a tensor, and of stride and padding."""
MAX_ELEMENTS = 1 << 24
"""Of a tensor, padding included."""

_METADATA_KEY = "accel"
# Between these, a float32 and its reciprocal are both normal.
_MIN_SCALE, _MAX_SCALE = 2.0**-126, 2.0**126


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AccelError(message)


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """What is known of an activation tensor: the integer q stands for (q - zero_point) * scale.

    Raises :class:`AccelError` naming what is wrong.
    """

    shape: tuple[int, ...]
    """(channels, height, width) or (features,)."""
    scale: float
    """A float32 value."""
    zero_point: int
    signed: bool
    """Integers are in [-128, 127]; else in [0, 255]."""

    def __post_init__(self) -> None:
        sizes_fit = all(_is_int(size) and 1 <= size <= MAX_SIZE for size in self.shape)
        _require(
            len(self.shape) in (1, 3) and sizes_fit and math.prod(self.shape) <= MAX_ELEMENTS,
            f"a tensor's shape must be (channels, height, width) or (features,), each from 1 to "
            f"{MAX_SIZE} and {MAX_ELEMENTS} in all, not {_short(self.shape)}",
        )
        _require(
            isinstance(self.scale, float)
            and _MIN_SCALE <= self.scale <= _MAX_SCALE
            and float(np.float32(self.scale)) == self.scale,
            f"a tensor's scale must be a positive normal float32, not {_short(self.scale)}",
        )
        _require(
            isinstance(self.signed, bool), f"signed must be true or false, not {self.signed!r}"
        )
        lo, hi = self.limits
        _require(
            _is_int(self.zero_point) and lo <= self.zero_point <= hi,
            f"a tensor's zero point must be a whole number from {lo} to {hi}, "
            f"not {_short(self.zero_point)}",
        )

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer that an element can be."""
        return numerics.output_range(self.signed, False, 0)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A convolution or a fully connected layer, with the ReLU and the pooling that follow it.

    The arrays are copied, and read-only. Raises :class:`AccelError` naming the layer and what is
    wrong: a type, a shape, a scale, or arithmetic that would not be exact.
    """

    name: str
    kind: str
    """ "conv2d" or "linear"; the latter takes a feature map in the order channel, row, column."""
    weight: NDArray[np.int8]
    """(outputs, inputs, height, width) or (outputs, inputs)."""
    weight_scale: NDArray[np.float32]
    """(1,), or one for each output channel."""
    bias: NDArray[np.float32]
    """(outputs,), as the float model has it: the integer bias follows from the scales."""
    stride: int = 1
    padding: int = 0
    relu: bool
    pool: bool = False
    """2x2 max pooling with stride 2 follows."""
    input: Tensor
    output: Tensor
    """Its shape is the one after pooling."""

    def __post_init__(self) -> None:
        _require(
            isinstance(self.name, str) and self.name.isprintable() and 1 <= len(self.name) <= 100,
            f"a layer's name must be 1 to 100 printable characters, not {_short(self.name)}",
        )
        self._require(
            self.kind in ("conv2d", "linear"),
            f'kind must be "conv2d" or "linear", not {_short(self.kind)}',
        )
        dimensions = 4 if self.kind == "conv2d" else 2
        for field, dtype, ndim in (
            ("weight", np.int8, dimensions),
            ("weight_scale", np.float32, 1),
            ("bias", np.float32, 1),
        ):
            array = getattr(self, field)
            self._require(
                isinstance(array, np.ndarray) and array.dtype == dtype and array.ndim == ndim
                and array.size > 0,
                f"{field} must be an array of {np.dtype(dtype).name} with {ndim} dimensions",
            )  # fmt: skip
            array = np.array(array, order="C")
            array.setflags(write=False)
            object.__setattr__(self, field, array)
        outputs = self.weight.shape[0]
        self._require(
            self.weight_scale.shape in ((1,), (outputs,)) and self.bias.shape == (outputs,),
            f"bias and weight_scale must have {outputs} elements, one for each output channel of "
            f"weight (weight_scale may have 1), not {self.bias.size} and {self.weight_scale.size}",
        )
        for field in ("relu", "pool"):
            value = getattr(self, field)
            self._require(
                isinstance(value, bool), f"{field} must be true or false, not {_short(value)}"
            )
        for field, low in (("stride", 1), ("padding", 0)):
            value = getattr(self, field)
            self._require(
                _is_int(value) and low <= value <= MAX_SIZE,
                f"{field} must be a whole number from {low} to {MAX_SIZE}, not {_short(value)}",
            )
        self._check_shapes()
        self._check_arithmetic()

    def _fail(self, message: str) -> NoReturn:
        raise AccelError(f"layer '{self.name}': {message}")

    def _require(self, condition: bool, message: str) -> None:
        if not condition:
            self._fail(message)

    def _check_shapes(self) -> None:
        if self.kind == "linear":
            self._require(
                (self.stride, self.padding, self.pool) == (1, 0, False),
                "a linear layer has no stride, no padding and no pooling",
            )
            self._require(
                self.input.size == self.weight.shape[1],
                f"weight takes {self.weight.shape[1]} inputs, but the input of shape "
                f"{self.input.shape} has {self.input.size}",
            )
        else:
            self._require(
                len(self.input.shape) == 3 and self.input.shape[0] == self.weight.shape[1],
                f"weight takes {self.weight.shape[1]} channels, but the input has shape "
                f"{self.input.shape}",
            )
            channels, height, width = self.input.shape
            padded = (height + 2 * self.padding, width + 2 * self.padding)
            self._require(
                channels * math.prod(padded) <= MAX_ELEMENTS,
                f"the padded input has more than {MAX_ELEMENTS} elements",
            )
            kernel = self.weight.shape[2:]
            pool = 2 if self.pool else 1
            self._require(
                all(
                    (size - k) // self.stride + 1 >= pool if size >= k else False
                    for size, k in zip(padded, kernel, strict=True)
                ),
                f"nothing is left of an input of shape {self.input.shape} after a kernel of "
                f"{kernel[0]}x{kernel[1]}, stride {self.stride}, padding {self.padding}"
                f"{' and pooling' if self.pool else ''}",
            )
        shape = layer_output_shape(
            self.input.shape, self.weight.shape, self.stride, self.padding, self.pool
        )
        self._require(
            self.output.shape == shape,
            f"its output has shape {shape}, but is said to have {self.output.shape}",
        )

    def _check_arithmetic(self) -> None:
        """Everything on the way is what a float32 or an int32 holds, so that kernels and
        hardware agree."""
        self._require(bool(np.all(np.isfinite(self.bias))), "bias must be finite")
        with np.errstate(all="ignore"):
            bias_scale = np.float32(self.input.scale) * self.weight_scale
            multiplier = self.multiplier
        for name, values in (
            ("weight_scale", self.weight_scale),
            ("the product of input scale and weight_scale", bias_scale),
            ("the multiplier that follows from the scales", multiplier),
        ):
            self._require(
                bool(np.all((values >= _MIN_SCALE) & (values <= _MAX_SCALE))),
                f"{name} must be a positive normal float32",
            )
        limit = numerics.INT32_MAX
        largest = int(self.accumulator_bound.max())
        self._require(
            largest <= limit,
            f"an accumulator can reach {largest}, {largest - limit} more than 32 bits hold",
        )
        # x86 kernels turn what is beyond 32 bits into the smallest integer, not the largest.
        scaled = float(np.max(self.accumulator_bound * self.multiplier.astype(np.float64)))
        self._require(
            scaled < limit,
            f"the output scale {self.output.scale:.6g} is so small that an output can reach "
            f"{scaled:.3g} steps before it saturates, more than 32 bits hold",
        )

    @cached_property
    def bias_q(self) -> NDArray[np.int32]:
        """The integer bias at scale input.scale * weight_scale: int32 (outputs,)."""
        return numerics.quantize_bias(self.bias, self.input.scale, self.weight_scale)

    @cached_property
    def folded_bias(self) -> NDArray[np.int64]:
        """``bias_q`` less what the input's zero point adds to the sums: int64 (outputs,)."""
        return numerics.fold_bias(self.bias_q, self.weight, self.input.zero_point)

    @cached_property
    def multiplier(self) -> NDArray[np.float32]:
        """From accumulators to steps of the output: float32 (outputs,)."""
        scales = np.broadcast_to(self.weight_scale, self.bias.shape)
        return numerics.qnnpack_multiplier(self.input.scale, scales, self.output.scale)

    @cached_property
    def accumulator_bound(self) -> NDArray[np.int64]:
        """The largest magnitude of an accumulator, whatever the input, at any point of the
        summation: sum(|w|) * max|x| + |folded_bias|, int64 (outputs,)."""
        largest = max(abs(limit) for limit in self.input.limits)
        magnitudes = np.abs(self.weight.astype(np.int64)).reshape(len(self.bias), -1).sum(axis=1)
        bound: NDArray[np.int64] = magnitudes * largest + np.abs(self.folded_bias)
        return bound

    @property
    def output_range(self) -> tuple[int, int]:
        """The smallest and the largest output: ReLU's smallest is the zero point."""
        return numerics.output_range(self.output.signed, self.relu, self.output.zero_point)

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the outputs need, padded taps included."""
        pool_area = 4 if self.pool else 1
        positions = math.prod(self.output.shape[1:]) * pool_area
        return self.weight.size * positions

    @property
    def num_parameters(self) -> int:
        return self.weight.size + self.bias.size


def layer_output_shape(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
    pool: bool = False,
) -> tuple[int, ...]:
    """The shape of a layer's output, after pooling."""
    outputs, _, *kernel = weight_shape
    sizes = [
        ((size + 2 * padding - k) // stride + 1) // (2 if pool else 1)
        for size, k in zip(input_shape[1:], kernel, strict=False)
    ]
    return (outputs, *sizes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Layers in a row: each takes what the one before yields.

    Raises :class:`AccelError` when they do not chain up.
    """

    name: str
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _require(
            isinstance(self.name, str) and self.name.isprintable() and 1 <= len(self.name) <= 100,
            f"a network's name must be 1 to 100 printable characters, not {_short(self.name)}",
        )
        _require(len(self.layers) > 0, f"network '{self.name}' has no layers")
        names = [layer.name for layer in self.layers]
        _require(
            len(set(names)) == len(names),
            f"the layers of network '{self.name}' must have different names",
        )
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            _require(
                before.output == after.input,
                f"layer '{after.name}' takes {after.input}, but layer '{before.name}' before it "
                f"yields {before.output}",
            )

    @property
    def input(self) -> Tensor:
        return self.layers[0].input

    @property
    def output(self) -> Tensor:
        """The last layer's output: the logits."""
        return self.layers[-1].output

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    def save(self, path: str | Path) -> None:
        """Write the network's file, whole or not at all.

        Raises :class:`AccelError` when that is not possible; what was there is there still.
        """
        arrays = {
            f"{layer.name}.{field}": getattr(layer, field)
            for layer in self.layers
            for field in _ARRAY_DTYPES
        }
        description = {
            "name": self.name,
            "input": _describe_tensor(self.input),
            "layers": [
                {field: getattr(layer, field) for field in _LAYER_FIELDS}
                | {"output": _describe_tensor(layer.output)}
                for layer in self.layers
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
        files.write(Path(path), content)

    @classmethod
    def load(cls, path: str | Path) -> Network:
        """The network that :meth:`save` wrote.

        Raises :class:`AccelError` for a file that cannot be read, is cut or changed, or holds
        anything that is not a correct network of this format's version.
        """
        try:
            arrays, document = _parse(_read(Path(path)))
            return _network(arrays, document)
        except AccelError as e:
            raise AccelError(
                f"cannot load the network {path}: {e}; expected a file written by accel quantize"
            ) from e


# The file

_ARRAY_DTYPES = {"weight": "I8", "weight_scale": "F32", "bias": "F32"}
_NUMPY_DTYPES: dict[str, Any] = {"I8": np.dtype(np.int8), "F32": np.dtype("<f4")}
_LAYER_FIELDS = {
    "name": str,
    "kind": str,
    "stride": int,
    "padding": int,
    "relu": bool,
    "pool": bool,
}
_TENSOR_FIELDS = {"shape": list, "scale": float, "zero_point": int, "signed": bool}

Arrays = dict[str, NDArray[Any]]


def _read(path: Path) -> bytes:
    try:
        # A pipe would be waited for.
        _require(path.is_file() or not path.exists(), "it is not a file")
        with open(path, "rb") as f:
            data = f.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise AccelError(e.strerror or str(e)) from e
    _require(len(data) <= MAX_FILE_BYTES, f"it is larger than {MAX_FILE_BYTES} bytes")
    return data


def _parse(data: bytes) -> tuple[Arrays, dict[str, Any]]:
    """Arrays by name, and the document in the metadata: whole, and of this version."""
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
    _require(is_ours, "it holds no description of a quantized network")
    version = document.get("version")
    _require(
        version == VERSION,
        f"it has format version {_short(version)}, but this program reads version {VERSION}",
    )
    # What is written in another way than here was changed, even where it means the same.
    _require(is_canonical, "its description is damaged")
    _fields(document, "file", {"format": str, "version": int, "network": dict, "sha256": str})
    arrays: Arrays = {}
    for name, entry in entries:
        shape, dtype = entry["shape"], _NUMPY_DTYPES.get(entry["dtype"])
        _require(
            dtype is not None and 1 <= len(shape) <= 4 and all(1 <= n <= 1 << 32 for n in shape),
            "it holds an array of a type or shape that no network has",
        )
        arrays[name] = np.frombuffer(entry["data"], dtype).reshape(shape)
    _require(
        _checksum(document["network"], arrays) == document["sha256"],
        "its checksum is not that of its content, so it is damaged",
    )
    return arrays, document


def _network(arrays: Arrays, document: dict[str, Any]) -> Network:
    description = document["network"]
    _fields(description, "network", {"name": str, "input": dict, "layers": list})
    tensor = _tensor(description["input"])
    layers = []
    for entry in description["layers"]:
        _fields(entry, "layer", _LAYER_FIELDS | {"output": dict})
        output = _tensor(entry["output"])
        taken = {}
        for field in _ARRAY_DTYPES:
            array = arrays.pop(f"{entry['name']}.{field}", None)
            _require(array is not None, f"{field} of layer {_short(entry['name'])} is missing")
            taken[field] = array
        layers.append(Layer(**entry | taken | {"input": tensor, "output": output}))
        tensor = output
    _require(not arrays, "it holds arrays that belong to no layer")
    return Network(name=description["name"], layers=tuple(layers))


def _tensor(entry: dict[str, Any]) -> Tensor:
    _fields(entry, "tensor", _TENSOR_FIELDS)
    return Tensor(**entry | {"shape": tuple(entry["shape"])})


def _fields(entry: Any, what: str, types: Mapping[str, type]) -> None:
    """``entry`` is a JSON object with exactly these fields, of these types."""
    _require(
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


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    """For a message: what a file holds may be long, or control a terminal."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
