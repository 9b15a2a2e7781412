"""Other runtimes at length: a million outputs beside ties of each of their integer operators,
damaged files, and changed models. ``make runtimes`` runs all of it.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import accel
from accel import numerics
from accel.console import console
from accel.errors import AccelError
from accel.frontends import litert
from accel.network.graph import Network
from accel.operations.weighted import Weighted
from accel.runtimes.litert import run_network as run_litert
from accel.runtimes.rounding import ONNXRUNTIME
from tests import tflite_models
from tests.networks import joining_network, residual_network, table_network
from tests.onnx_models import (
    F32,
    KINDS,
    SINGLES,
    drawn_images,
    float_model,
    quantized,
    run_file,
    single,
)

NUM_OUTPUTS = 1_000_000
"""Of each operator, type and kind of scales."""
NUM_DAMAGED = 10_000
NUM_CHANGED = 10_000
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def load_or_refuse(path: Path) -> Network | None:
    """The network in a file; None if it is refused, which must be in one sentence."""
    try:
        return accel.load(path)
    except AccelError as e:
        text = str(e)
        assert text.isprintable() and len(text) < 1000, text
        assert ". " not in text and not text.endswith("."), text
        return None


# Outputs beside ties


@dataclass
class Found:
    """Outputs that were compared, and how many differ."""

    outputs: int = 0
    different: int = 0
    """Of the network's arithmetic, or of the model that is rebuilt from it."""
    by_reciprocal: int = 0
    """With the multiplier of a runtime that multiplies by a reciprocal."""
    bias_by_reciprocal: int = 0
    """With the integer bias of such a runtime."""
    rounded_once: int = 0
    """With no rounding of products to float32."""


def check_single(
    rng: np.random.Generator, op: str, dtype: Any, per_channel: bool, outputs: int, folder: Path
) -> Found:
    """Operators as :func:`tests.onnx_models.single` draws them, of files, by ONNX Runtime and by
    the networks that are read from these."""
    found, path = Found(), folder / "single.onnx"
    while found.outputs < outputs:
        made, image = single(rng, op, dtype, per_channel, 20_000)
        onnx.save(made, path)
        network = accel.load(path)
        (wanted,), ran = run_file(made, image, ["y"])
        assert any(name.startswith("Q") and name != "QuantizeLinear" for name in ran), ran
        (exact,), (rebuilt,) = network.integers(image), accel.run_network(network, image)
        found.outputs += exact.size
        found.different += _differ(exact, wanted) + _differ(exact, rebuilt)
        layer = network.operations[0]
        if isinstance(layer, Weighted):
            found.by_reciprocal += _by(layer, image, exact, multiplier=numerics.qnnpack_multiplier)
            found.bias_by_reciprocal += _by(layer, image, exact, bias=numerics.quantize_bias)
            along = (-1, *(1,) * (len(layer.output.shape) - 1))
            sums = layer.sums(image) + layer.folded_bias.reshape(along)
            once = np.rint(sums * layer.multiplier.astype(np.float64).reshape(along))
            clipped = np.clip(once + layer.output.zero_point, *layer.output_range)
            found.rounded_once += _differ(exact, clipped)
    return found


def _by(layer: Weighted, image: NDArray[Any], exact: NDArray[Any], **choice: Any) -> int:
    other = dataclasses.replace(layer, rounding=dataclasses.replace(ONNXRUNTIME, **choice))
    return _differ(exact, other.integers(image))


def _differ(exact: NDArray[Any], other: NDArray[Any]) -> int:
    return int(np.count_nonzero(exact.ravel() != np.asarray(other).ravel()))


# LiteRT


def check_litert(rng: np.random.Generator, kind: str, outputs: int) -> tuple[int, int]:
    """Outputs of random models of one operator, half of them where ties are if it has any: how many
    differ from LiteRT's, of how many."""
    different = count = 0
    while count < outputs:
        if kind in WEIGHTED and rng.random() < 0.5:
            content, images = tflite_models.ties(rng, kind, 1000)
        else:
            even = kind == "ADD" and rng.random() < 0.5
            content, r, x = tflite_models.even_sum(rng) if even else tflite_models.one(rng, kind)
            images = r.images(x, 10)
        network = litert.network(content, "model")
        pairs = zip(network.integers(images), run_litert(network, images), strict=True)
        ours, theirs = list(pairs)[-1]
        different, count = different + int((ours != theirs).sum()), count + theirs.size
    return different, count


# Damage


def damaged(rng: np.random.Generator, contents: Sequence[bytes], count: int, path: Path) -> int:
    """Reads ``count`` files with something cut out, overwritten or repeated, and returns how many
    hold a network all the same. Raises AssertionError for one that is not refused in a sentence."""
    loaded = 0
    for i in range(count):
        path.write_bytes(_damage(rng, contents[i % len(contents)]))
        loaded += load_or_refuse(path) is not None
    return loaded


def _of_ours(rng: np.random.Generator, folder: Path) -> Iterator[bytes]:
    """Network files as the generator writes them."""
    for network in (residual_network(rng), table_network(rng), joining_network(rng)):
        network.save(folder / "intact.safetensors")
        yield (folder / "intact.safetensors").read_bytes()


def _damage(rng: np.random.Generator, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 40))
        part = data[at : at + length]
        match rng.integers(7):
            case 0 | 1:
                data[at] ^= 1 << int(rng.integers(8))
            case 2:
                data[at : at + length] = rng.bytes(len(part))
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = part
            case 5:
                to = int(rng.integers(len(data)))
                data[to : to + length] = part
            case 6:
                del data[at:]
        if not data:
            break
    return bytes(data)


class Changes:
    """Quantized models in which something is another than it was, and may still mean something."""

    OPERATORS = (
        "Add", "AveragePool", "Clip", "Conv", "DequantizeLinear", "Flatten", "Gemm",
        "GlobalAveragePool", "Identity", "MatMul", "MaxPool", "Pad", "QLinearConv", "QLinearMatMul",
        "QuantizeLinear", "Relu", "Reshape", "Softmax", "Squeeze", "Transpose",
    )  # fmt: skip
    ATTRIBUTES = (
        "alpha", "auto_pad", "axis", "ceil_mode", "dilations", "foo", "group", "pads", "strides",
        "transA", "transB",
    )  # fmt: skip
    VALUES = (1, 0.5, [1, 1], [1, 1, 1, 1], "SAME_UPPER", "SAME_LOWER", "VALID")

    def __init__(self, rng: np.random.Generator, folder: Path) -> None:
        self.rng, self.path = rng, folder / "changed.onnx"
        self.refused = self.same = 0
        self.models = []
        images = drawn_images(rng, 8, 3, 12, 12)
        for kind in KINDS:
            for form, dtype in (("qdq", "uint8"), ("qdq", "int8"), ("qoperator", "uint8")):
                source = folder / f"{kind}-{form}-{dtype}.onnx"
                options: dict[str, Any] = {"per_channel": bool(rng.integers(2)), "dtype": dtype}
                quantized(float_model(rng, kind), images, source, form=form, **options)
                self.models.append(onnx.load(source))

    def try_one(self) -> None:
        """Changes a model. Raises AssertionError unless it is refused in a sentence, or is a
        network of which ONNX Runtime, if it takes the model, computes the same."""
        found = onnx.ModelProto()
        found.CopyFrom(self._pick(self.models))
        for _ in range(self.rng.integers(1, 3)):
            self._change(found)
        self.path.write_bytes(found.SerializeToString())
        network = load_or_refuse(self.path)
        if network is None:
            self.refused += 1
            return
        shape, dims = network.input.shape, found.graph.input[0].type.tensor_type.shape.dim
        reals = (self.rng.normal(size=(dims[0].dim_value or 4, *shape)) * 2).astype(F32)
        x = network.rounding.quantize(
            reals, network.input.scale, network.input.zero_point, network.input.signed
        )
        exact = network.integers(x)[-1]
        assert _differ(exact, accel.run_network(network, x)[-1]) == 0, self.path
        try:
            (wanted,), _ = run_file(found, reals, [self._last_integers(found)])
        except Exception as e:
            # It is no model to ONNX Runtime, which says so in one of many ways.
            if "[ONNXRuntimeError]" in str(e):
                return
            raise
        assert _differ(exact, wanted) == 0, self.path
        self.same += 1

    def _last_integers(self, found: onnx.ModelProto) -> str:
        """The integer tensor that the output is made of."""
        made = {name: node for node in found.graph.node for name in node.output}
        name = found.graph.output[0].name
        while not made[name].op_type.startswith("Q") or self._is_of_host(made[name], made):
            name = made[name].input[0]
        return name

    def _is_of_host(self, node: onnx.NodeProto, made: dict[str, onnx.NodeProto]) -> bool:
        """It is a softmax, or comes after one."""
        while node.op_type not in ("Softmax", "QLinearSoftmax"):
            if not node.input or node.input[0] not in made:
                return False
            node = made[node.input[0]]
        return True

    def _pick(self, things: Sequence[Any]) -> Any:
        return things[self.rng.integers(len(things))]

    def _change(self, found: onnx.ModelProto) -> None:
        graph, rng = found.graph, self.rng
        node, tensor = self._pick(graph.node), self._pick(graph.initializer)
        names = [t.name for t in graph.initializer] + [o for n in graph.node for o in n.output]
        match rng.integers(11):
            case 0 if node.input:
                node.input[rng.integers(len(node.input))] = self._pick(names)
            case 1:
                node.op_type = self._pick(self.OPERATORS)
            case 2 if node.attribute:
                attribute = self._pick(node.attribute)
                if attribute.ints:
                    attribute.ints[rng.integers(len(attribute.ints))] = int(rng.integers(-1, 5))
                else:
                    attribute.i = int(rng.integers(-2, 5))
            case 3:
                values = numpy_helper.to_array(tensor).copy()
                at = rng.integers(values.size)
                if values.dtype == F32:
                    values.flat[at] *= F32(rng.choice([2, 0.5, 1.000001, -1, 0, 100]))
                elif values.dtype.itemsize < 8:
                    limits = np.iinfo(values.dtype)
                    values.flat[at] = rng.integers(limits.min, limits.max + 1)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            case 4:
                values = numpy_helper.to_array(tensor)
                other = values.reshape(1, -1) if values.ndim == 1 else values.ravel()
                tensor.CopyFrom(numpy_helper.from_array(other, tensor.name))
            case 5 if len(node.input) > 1:
                del node.input[-1]
            case 6:
                graph.node.remove(node)
            case 7:
                self._insert(graph)
            case 8:
                value = self._pick(self.VALUES)
                node.attribute.append(helper.make_attribute(self._pick(self.ATTRIBUTES), value))
            case 9:
                del node.attribute[:]
            case 10:
                dims = graph.input[0].type.tensor_type.shape.dim
                dims[rng.integers(len(dims))].dim_value = int(rng.integers(1, 14))

    def _insert(self, graph: onnx.GraphProto) -> None:
        """A node between another one and those that read it."""
        at = int(self.rng.integers(len(graph.node)))
        source, name = graph.node[at].output[0], f"inserted{len(graph.node)}"
        pads = f"pads{len(graph.node)}"
        inserted = self._pick([
            helper.make_node("Relu", [source], [name]),
            helper.make_node("Identity", [source], [name]),
            helper.make_node("Dropout", [source], [name]),
            helper.make_node("Flatten", [source], [name]),
            helper.make_node("Softmax", [source], [name]),
            helper.make_node("Squeeze", [source], [name]),
            helper.make_node("Transpose", [source], [name], perm=[0, 1, 3, 2]),
            helper.make_node("Transpose", [source], [name], perm=[0, 2, 3, 1]),
            helper.make_node("MaxPool", [source], [name], kernel_shape=[2, 2], strides=[1, 1]),
            helper.make_node("Pad", [source, pads], [name]),
        ])  # fmt: skip
        sides = np.array([0, 0, 1, 0, 0, 0, 1, 2])
        graph.initializer.append(numpy_helper.from_array(sides, pads))
        for node in graph.node:
            for i, read in enumerate(node.input):
                if read == source:
                    node.input[i] = name
        graph.node.insert(at + 1, inserted)


def main() -> None:
    rng = np.random.default_rng()
    console.print(f"ONNX Runtime {onnxruntime.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        for op in SINGLES:
            for dtype in (np.uint8, np.int8):
                for per_channel in (False, True):
                    if per_channel and op == "QLinearGlobalAveragePool":
                        continue
                    found = check_single(rng, op, dtype, per_channel, NUM_OUTPUTS, Path(folder))
                    scales = "a scale for each channel" if per_channel else "one scale"
                    console.print(
                        f"{op}, {np.dtype(dtype).name}, {scales}: {found.different} of "
                        f"{found.outputs:,} outputs differ; by a reciprocal "
                        f"{found.by_reciprocal:,} would, with a bias by a reciprocal "
                        f"{found.bias_by_reciprocal:,}, with a single rounding "
                        f"{found.rounded_once:,}",
                        soft_wrap=True,
                        highlight=False,
                    )
                    assert found.different == 0, (op, dtype, per_channel)
        console.print(f"LiteRT {metadata.version('ai-edge-litert')}")
        for kind in tflite_models.KINDS:
            different, count = check_litert(rng, kind, NUM_OUTPUTS)
            console.print(f"{kind}: {different} of {count:,} outputs differ", highlight=False)
            assert different == 0, kind
        changes = Changes(rng, Path(folder))
        contents = [found.SerializeToString() for found in changes.models]
        files = {
            "onnx": contents,
            "tflite": [tflite_models.whole(rng)[0] for _ in range(20)],
            "safetensors": list(_of_ours(rng, Path(folder))),
        }
        for suffix, intact in files.items():
            loaded = damaged(rng, intact, NUM_DAMAGED, Path(folder) / f"damaged.{suffix}")
            console.print(
                f"{NUM_DAMAGED:,} damaged .{suffix} files: {loaded:,} hold a network all the same, "
                f"the others are refused in one sentence",
                highlight=False,
            )
        for _ in range(NUM_CHANGED):
            changes.try_one()
        console.print(
            f"{NUM_CHANGED:,} changed models: {changes.refused:,} are refused in one sentence, of "
            f"{changes.same:,} ONNX Runtime computes the same",
            highlight=False,
        )


if __name__ == "__main__":
    try:
        main()
    except (AccelError, AssertionError) as e:
        sys.exit(f"error: {e}")
