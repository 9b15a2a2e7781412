"""Tensors that are joined: their arithmetic against PyTorch's and ONNX Runtime's kernels, what is
refused, and where layers write them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import numerics
from accel.compiler.compile import compile
from accel.compiler.fuse import fuse
from accel.errors import AccelError
from accel.hardware.config import base, tinyml
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Concat
from accel.runtimes import onnxruntime, qnnpack
from accel.runtimes.rounding import LITERT, ONNXRUNTIME, QNNPACK
from accel.simulation.runner import simulate
from tests.networks import joined, joining_network, random_images
from tests.strategies import more_examples

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:UserWarning")

BYTES = np.arange(256)
SCALES = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed))


def tensor(name: str, scale: float, zero_point: int = 0, *shape: int, **fields: bool) -> Tensor:
    return Tensor(
        name=name,
        shape=shape or (256,),
        scale=float(np.float32(scale)),
        zero_point=zero_point,
        signed=fields.get("signed", False),
    )


@st.composite
def scaled(draw: st.DrawFn) -> tuple[tuple[float, int], tuple[float, int]]:
    """Scale and zero point of a part and of the whole, often with a ratio that has ties."""
    rng = draw(SCALES)
    scale = 2 ** rng.uniform(-8, 0)
    ratio = draw(st.sampled_from([0.5, 0.25, 1.5, 2.0, 1.0])) if draw(st.booleans()) else None
    ratio = 2 ** rng.uniform(-4, 3) if ratio is None else ratio
    zeros = st.sampled_from([0, 255, int(rng.integers(256))])
    return (scale, draw(zeros)), (scale * ratio, draw(zeros))


@more_examples(5)
@given(scales=scaled())
def test_bytes_of_all_values(scales: tuple[tuple[float, int], tuple[float, int]]) -> None:
    """The kernel and the integers make the same of each byte; and so does what the array is to do,
    but where real numbers beside ties round to both sides, for which there are tables."""
    (scale, zero), (after, after_zero) = scales
    part, output = tensor("x", scale, zero), tensor("y", after, after_zero, 512)
    operation = Concat(name="join", parts=(part, part), output=output)
    with qnnpack.engine(), qnnpack.quiet():
        theirs = operation.kernel()(BYTES[None], BYTES[None])
    ours = operation.integers(BYTES[None], BYTES[None])
    np.testing.assert_array_equal(ours, theirs)
    scaled_bytes = BYTES[1:] * (part.scale / output.scale)
    beside_ties = np.abs(scaled_bytes % 1 - 0.5).min() < 1e-4
    multiplier = operation.multiplier(part)
    if multiplier is None:
        assert beside_ties
        return
    array = numerics.requantize(BYTES - zero, np.array([multiplier]), after_zero, 0, 255)
    np.testing.assert_array_equal(array, ours[0, :256])


@given(scales=scaled())
def test_bytes_of_onnx_runtime(scales: tuple[tuple[float, int], tuple[float, int]]) -> None:
    (scale, zero), (after, after_zero) = scales
    part, output = tensor("x", scale, zero), tensor("y", after, after_zero, 512)
    operation = Concat(name="join", parts=(part, part), output=output, rounding=ONNXRUNTIME)
    network = Network(name="n", operations=(operation,), origin="onnx")
    (theirs,) = onnxruntime.run_network(network, BYTES[None])
    np.testing.assert_array_equal(operation.integers(BYTES[None], BYTES[None]), theirs)


def test_neighbouring_multipliers_are_told_apart() -> None:
    """The quotient itself does not always do: the next numbers have to be tried."""
    tried = 0
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        part = tensor("x", 2 ** rng.uniform(-8, 0), int(rng.integers(256)))
        output = tensor("y", part.scale * rng.integers(1, 60) / rng.integers(1, 60), 3, 512)
        operation = Concat(name="join", parts=(part, part), output=output)
        multiplier = operation.multiplier(part)
        tried += multiplier not in (None, np.float32(part.scale / output.scale))
    assert tried > 0


def test_where_no_multiplier_rounds_alike_a_table_does() -> None:
    """At a scale half of the part's, or near it, ties go to both sides."""
    found = None
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        part = tensor("x", 2 ** rng.uniform(-8, 0), int(rng.integers(256)))
        output = tensor("y", part.scale * 2, 3, 512)
        operation = Concat(name="join", parts=(part, part), output=output)
        if operation.multiplier(part) is None:
            found = operation
            break
    assert found is not None
    network = Network(name="n", operations=(found,))
    images = np.stack([np.arange(256), np.arange(255, -1, -1)])
    with pytest.raises(AccelError, match=r"looks values up in 1 table, and \w+ \w+ has no"):
        compile(network, dataclasses.replace(base, param_depth=1024))
    program = compile(network, dataclasses.replace(base, tables=1, param_depth=1024))
    expected = found.integers(images, images)
    for level in ("fl", "cl"):
        run = simulate(program, images, level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs, expected, level)


REFUSED = {
    "one": ((tensor("a", 1),), {}, "must join at least two"),
    "sizes": (
        (tensor("a", 1, 0, 2, 3, 4), tensor("b", 1, 0, 2, 3, 5)), {},
        r"shapes \(2, 3, 4\) and \(2, 3, 5\), which must differ in their channels only",
    ),
    "a vector": ((tensor("a", 1, 0, 2, 3, 4), tensor("b", 1)), {}, "must differ in their channels"),
    "types": (
        (tensor("a", 1), tensor("b", 1, signed=True)), {}, "'b' must be signed as its output is",
    ),
    "scales": (
        (tensor("a", 1), tensor("b", 2, 7)), {"rounding": LITERT},
        "'b' has scale 2 and zero point 7, but litert joins only tensors of the output's, which "
        "are 1 and 0",
    ),
    "far scales": (
        (tensor("a", 1), tensor("b", 1)), {"output": tensor("y", 8e37, 0, 512)},
        "the scale of tensor 'a' is 1.25e-38 times",
    ),
    "no tuple": ([tensor("a", 1)] * 2, {}, r"parts must be a tuple of Tensors"),
    "no tensor": ((tensor("a", 1), 7), {}, r"parts\[1\] must be a Tensor, not 7"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    parts, fields, what = REFUSED[name]
    output = tensor("y", parts[0].scale, 0, *(512, *parts[0].shape[1:]))
    with pytest.raises(AccelError, match=f"layer 'join': .*{what}"):
        Concat(**{"name": "join", "parts": parts, "output": output} | fields)


def test_layers_write_side_by_side() -> None:
    """Only what cannot lie in its place is copied."""
    network = joining_network(np.random.default_rng(0))
    assert [layer.name for layer in fuse(network)] == [
        "layer0", "layer1", "layer2", "outer.3", "outer.4", "layer3", "layer4", "last.1", "last.2",
        "linear",
    ]  # fmt: skip
    program = compile(network, tinyml)
    places = {t.name: t for t in program.tensors}
    inner = places["layer2 output"], places["layer1 output"]
    whole = places["layer0 output"]
    # All of it has the strides of maps of 5 x 6: 3 mod 9 from row to row.
    channel = 55
    assert inner[1].base - inner[0].base == 5 * channel
    assert whole.base - inner[0].base == 10 * channel
    assert places["outer.3 output"].base - whole.base == 7 * channel
    assert places["outer.4 output"].base - whole.base == 14 * channel


def test_the_last_one_is_copied_to_the_results() -> None:
    network = joining_network(np.random.default_rng(0), ends_joined=True)
    assert fuse(network)[-1].name == "last" and compile(network, tinyml).output.name == "last"


def test_a_file_gives_it_back(tmp_path) -> None:
    network = joining_network(np.random.default_rng(1), signed=True)
    network.save(tmp_path / "n.safetensors")
    loaded = Network.load(tmp_path / "n.safetensors")
    images = random_images(np.random.default_rng(2), network, 3)
    for ours, theirs in zip(network.integers(images), loaded.integers(images), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    joins = [op for op in loaded.operations if isinstance(op, Concat)]
    assert [[part.name for part in op.parts] for op in joins] == [
        ["layer2", "layer1"], ["inner", "layer0", "layer0", "input"], ["layer3", "layer4"],
    ]  # fmt: skip


def test_the_network_says_which_tensors_it_lacks() -> None:
    network = joining_network(np.random.default_rng(1))
    with pytest.raises(AccelError, match="takes tensor 'layer2', which no layer before it yields"):
        dataclasses.replace(network, operations=network.operations[:2] + network.operations[3:])


def test_rounding_of_the_others() -> None:
    assert QNNPACK.concat_rescales and ONNXRUNTIME.concat_rescales and not LITERT.concat_rescales
    same = joined("y", tensor("a", 1, 7), tensor("b", 1, 7))
    assert same.integers(BYTES[None], BYTES[None]).tolist() == [[*BYTES, *BYTES]]
