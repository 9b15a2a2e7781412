"""What the names in an ONNX graph stand for, found from its inputs to its output."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accel.errors import AccelError
from accel.frontends.onnx_file import Node, array_of, dims_of, new_name, text_of
from accel.network.graph import Network
from accel.network.tensor import MAX_SIZE, Tensor, short
from accel.operations import Operation
from accel.operations.window import Sides

MANY = 3
"""Nodes that one message names."""

ADVICE = (
    "onnxruntime.quantization.quantize_static, after quant_pre_process, makes a quantized model of "
    "a float one"
)

NO_PADDING: Sides = (0, 0, 0, 0)


@dataclass(frozen=True)
class Constant:
    """Real numbers that integers of the file stand for; or integers that are no activation."""

    values: NDArray[Any]
    scale: NDArray[np.float32]
    """(1,), or one for each place along ``axis``."""
    zero_point: NDArray[Any]
    axis: int


@dataclass(frozen=True)
class Activation:
    """A tensor of the network, or its input, as the graph has it at some point."""

    tensor: Tensor | None
    """None for the input, while nothing says its scale."""
    shape: tuple[int, ...]
    """As the next node takes it, without the batch, and without ``padding``."""
    signed: bool | None
    """None for real numbers that have not been quantized yet."""
    is_real: bool
    """Dequantized."""
    padding: Sides = NO_PADDING
    """What is yet to be put around it, of zeros."""
    pad_value: int | None = None
    """What the graph says that this is, where it holds integers."""

    @property
    def is_whole(self) -> bool:
        """It is the tensor, and nothing else."""
        return self.tensor is not None and self.shape == self.tensor.shape and not any(self.padding)


@dataclass(frozen=True)
class Sums:
    """A float operator between DequantizeLinear and QuantizeLinear."""

    node: Node
    make: Callable[..., Operation]
    """Takes name and output, and of a sum of products its range."""
    shape: tuple[int, ...]
    signed: bool
    is_weighted: bool
    least: float = -math.inf
    most: float = math.inf
    seen: tuple[int, ...] = ()
    """The shape in which the graph has the output, if it is another."""
    only_if_allowed: bool = False
    """Whether ONNX Runtime has an integer operator for it only if told to, since it is int8."""
    of_any_type: bool = False
    """Its output may be signed where its input is not, or the other way round."""


@dataclass(frozen=True)
class OfHost:
    """What the host is to make of the network's output."""

    activation: Activation


Value: TypeAlias = NDArray[Any] | Constant | Activation | Sums | OfHost
Params: TypeAlias = tuple[np.float32, int, bool]
"""A scale, a zero point, and whether integers are signed."""
Reads: TypeAlias = "Mapping[tuple[str, str], Callable[[Reader, Node], Value]]"
"""By domain and operator, what makes the output of a node."""


class Reader:
    """Goes through a graph once, and has each node make what its output stands for."""

    def __init__(self, graph: Any, reads: Reads) -> None:
        self.graph, self.reads = graph, reads
        self.values: dict[str, Value] = {}
        self.operations: list[Operation] = []
        self.notes: list[str] = []
        self.only_if_allowed: list[Node] = []
        """Nodes of which ONNX Runtime makes integer operators only if told to."""
        self.refusals: list[str] = []
        self.refused: set[str] = set()
        """Tensors of which nothing is known, since their node was refused."""
        self.layer_names: set[str] = set()
        self.tensor_names: set[str] = set()
        self.input_name = ""
        self.input_tensor: Tensor | None = None
        self.batch = 0

    def network(self, name: str) -> Network:
        if self.graph.sparse_initializer:
            raise AccelError("it has sparse tensors, which are not read")
        for proto in self.graph.initializer:
            self._define(text_of(proto.name), array_of(proto))
        self._take_input()
        if len(self.graph.output) != 1:
            raise AccelError(f"a network has one output, but it has {len(self.graph.output)}")
        output = text_of(self.graph.output[0].name)
        for node in self._needed(output):
            self._read(node)
        if self.refusals:
            more = len(self.refusals) - MANY
            said = "; ".join(self.refusals[:MANY])
            raise AccelError(f"{said}; and {more} more" if more > 0 else said)
        self._check_output(output)
        if self.only_if_allowed:
            more = len(self.only_if_allowed) - MANY
            self.notes.append(
                f"{', '.join(map(str, self.only_if_allowed[:MANY]))}"
                f"{f' and {more} more' if more > 0 else ''}: on x86 ONNX Runtime computes int8 "
                f"nodes of this kind in float32 unless session.qdqisint8allowed is 1; here they "
                f"are its integer operators, so that an output may differ by one"
            )
        return Network(
            name=name,
            operations=tuple(self.operations),
            origin="onnx",
            notes=tuple(self.notes),
        )

    def _take_input(self) -> None:
        """The graph's input, of images in a batch."""
        from onnx import TensorProto

        inputs = [value for value in self.graph.input if text_of(value.name) not in self.values]
        if len(inputs) != 1:
            raise AccelError(f"a network has one input, but it has {len(inputs)}")
        (value,) = inputs
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in dims_of(value)]
        kinds = {TensorProto.FLOAT: None, TensorProto.UINT8: False, TensorProto.INT8: True}
        kind = value.type.tensor_type.elem_type
        if kind not in kinds:
            raise AccelError("its input must be of type FLOAT, UINT8 or INT8")
        if len(dims) not in (2, 4) or any(not 1 <= size <= MAX_SIZE for size in dims[1:]):
            raise AccelError(
                f"its input must be of shape (batch, channels, height, width) or (batch, features) "
                f"with numbers for all but the batch, not {short(tuple(dims))}"
            )
        # A batch of any size is one that no other size in a shape is likely to be.
        self.batch = dims[0] if dims[0] > 0 else 7919
        self.input_name = text_of(value.name)
        shape, signed = tuple(dims[1:]), kinds[kind]
        self._define(self.input_name, Activation(None, shape, signed, is_real=signed is None))
        self.input_shape = shape

    def _define(self, name: str, value: Value) -> None:
        if name in self.values or not name:
            raise AccelError(f"it is damaged: tensor {short(name)} is there twice, or has no name")
        self.values[name] = value

    def _needed(self, output: str) -> list[Node]:
        """The nodes that the output depends on, in the graph's order."""
        nodes = [Node(proto) for proto in self.graph.node]
        needed, found = {output}, []
        for node in reversed(nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                found.append(node)
        return found[::-1]

    def _read(self, node: Node) -> None:
        outputs = [name for name in node.outputs if name]
        if self.refused.intersection(node.inputs):
            self.refused.update(outputs)
            return
        try:
            value = self._value(node)
            if len(outputs) != 1:
                raise AccelError(f"it has {len(outputs)} outputs, but only one has a meaning here")
            self._define(outputs[0], value)
        except AccelError as e:
            text = str(e)
            self.refusals.append(text if text.startswith("layer ") else f"{node}: {text}")
            self.refused.update(outputs)

    def _value(self, node: Node) -> Value:
        read = self.reads.get((node.domain, node.kind))
        if read is None:
            raise AccelError("it is none of the operators of quantized networks that are read")
        value = read(self, node)
        node.check_taken()
        return value

    def _check_output(self, name: str) -> None:
        value = self.values.get(name)
        if isinstance(value, OfHost):
            value = value.activation
        if isinstance(value, Sums):
            raise AccelError(f"the output of {value.node} is not quantized: {ADVICE}")
        if not isinstance(value, Activation) or not self.operations:
            raise AccelError(f"its output {short(name)} is none of a quantized network: {ADVICE}")
        last = self.operations[-1].output
        if value.tensor != last or any(value.padding):
            raise AccelError(
                f"its output {short(name)} must be that of its last layer, but is another tensor"
            )

    # What nodes take

    def value(self, node: Node, i: int) -> Value:
        name = node.inputs[i] if i < len(node.inputs) else ""
        if name not in self.values:
            raise AccelError(
                f"it lacks its input {i}"
                if not name
                else f"nothing before it yields its input {short(name)}"
            )
        return self.values[name]

    def has(self, node: Node, i: int) -> bool:
        return i < len(node.inputs) and node.inputs[i] != ""

    def at_most(self, node: Node, count: int) -> None:
        if len(node.inputs) > count:
            raise AccelError(f"it has {len(node.inputs)} inputs, more than the {count} of its kind")

    def constant(self, node: Node, i: int) -> NDArray[Any]:
        """An input that is numbers of the file."""
        value = self.values.get(node.inputs[i]) if self.has(node, i) else None
        if not isinstance(value, np.ndarray):
            raise AccelError(f"its input {i} must be a constant of the model")
        return value

    def params(self, node: Node, i: int, signed: bool | None = None) -> Params:
        """Scale and zero point of an activation, which are inputs i and i + 1. signed: of integers
        whose zero point may be left out."""
        scale = self.constant(node, i)
        if scale.dtype != np.float32 or scale.size != 1:
            raise AccelError(f"its input {i} must be one float32 scale")
        if not self.has(node, i + 1):
            return np.float32(scale.item()), 0, bool(signed)
        zero = self.constant(node, i + 1)
        if zero.dtype not in (np.int8, np.uint8) or zero.size != 1:
            raise AccelError(f"its input {i + 1} must be one zero point, of type INT8 or UINT8")
        return np.float32(scale.item()), int(zero.item()), zero.dtype == np.int8

    def activation(self, node: Node, i: int) -> Activation:
        value = self.value(node, i)
        if isinstance(value, Sums):
            raise AccelError(
                f"it reads what {value.node} yields, which no QuantizeLinear has quantized"
            )
        if not isinstance(value, Activation):
            raise AccelError(f"its input {i} is no activation")
        return value

    def integers(self, node: Node, i: int, at: int) -> Activation:
        """An activation of integers, whose scale and zero point are the inputs from ``at`` on."""
        value = self.activation(node, i)
        if value.is_real:
            raise AccelError(f"its input {i} must be of integers")
        return self.scaled(value, self.params(node, at, value.signed))

    def reals(self, node: Node, i: int) -> Activation:
        """A dequantized activation."""
        value = self.activation(node, i)
        if not value.is_real or value.tensor is None:
            raise AccelError(f"its input {i} is not quantized: {ADVICE}")
        return value

    def scaled(self, value: Activation, params: Params) -> Activation:
        """An activation of which somebody says scale and zero point."""
        scale, zero_point, signed = params
        if value.signed is not None and value.signed != signed:
            raise AccelError("its zero point is of another type than the integers")
        tensor = value.tensor
        if tensor is None:
            # The graph's input may be quantized in several places, all of them alike.
            tensor = self.input_tensor or self.tensor(self.input_name, self.input_shape, params)
            self.input_tensor = tensor
        found = tensor.scale, tensor.zero_point, tensor.signed
        if found != (float(scale), zero_point, signed):
            raise AccelError(
                f"it takes '{tensor.name}' for integers of scale {float(scale):.9g} and zero point "
                f"{zero_point}, but that has {tensor.scale:.9g} and {tensor.zero_point}, and the "
                f"hardware cannot change the one into the other"
            )
        if value.pad_value not in (None, tensor.zero_point):
            raise AccelError(
                f"it reads '{tensor.name}' padded with {value.pad_value}, but its zero is "
                f"{tensor.zero_point}"
            )
        return replace(value, tensor=tensor, signed=signed, pad_value=None)

    # What nodes make

    def tensor(self, name: str, shape: tuple[int, ...], params: Params) -> Tensor:
        scale, zero_point, signed = params
        return Tensor(
            name=new_name(name, self.tensor_names),
            shape=shape,
            scale=float(scale),
            zero_point=zero_point,
            signed=signed,
        )

    def add(
        self, node: Node, make: Callable[..., Operation], shape: tuple[int, ...], params: Params,
        output: str, **options: Any,
    ) -> Activation:  # fmt: skip
        """An operation, and its output of that shape, which is integers."""
        name = new_name(node.name, self.layer_names)
        tensor = self.tensor(output, shape, params)
        self.operations.append(make(name=name, output=tensor, **options))
        return Activation(tensor, shape, tensor.signed, is_real=False)

    def note(self, node: Node, text: str) -> None:
        self.notes.append(f"{node}: {text}")
