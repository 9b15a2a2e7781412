"""Programs that PT2E has quantized: networks with ExecuTorch's bytes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import accel
from accel.errors import AccelError
from accel.network.graph import Network
from accel.runtimes.executorch import APPROXIMATED
from tests.pt2e_models import KINDS, Single, exported, through
from tests.tools.executorch import IMAGES_RECORDED, NUM_RECORDED, RECORD

FORM = 0.05, 3


@cache
def recorded() -> Any:
    with np.load(RECORD) as file:
        return dict(file)


def loaded(model: Single) -> Network | str:
    """The network, or why there is none."""
    try:
        return accel.load(exported(model))
    except AccelError as e:
        return str(e)


def quantized(network: Network, images: Any) -> Any:
    source = network.input
    x = network.rounding.quantize(images, source.scale, source.zero_point, source.signed)
    # Sequences are maps of one row.
    return x.reshape(len(x), *source.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_executorchs(kind: str) -> None:
    """Those that it yielded when they were recorded; ``make executorch`` compares a million of each
    kind."""
    ties, refused, values = 0, 0, set()
    for seed in range(NUM_RECORDED):
        model = Single(kind, seed)
        images = model.images(IMAGES_RECORDED)
        if isinstance(network := loaded(model), str):
            assert kind in (*APPROXIMATED, "hardswish")
            assert "so near a tie that the byte depends" in network
            refused += 1
            continue
        assert network.origin == "executorch"
        found = network.integers(quantized(network, images))[-1]
        expected = recorded()[f"{kind}/{seed}"]
        np.testing.assert_array_equal(found.reshape(expected.shape), expected, f"seed {seed}")
        ties += model.dyadic
        values |= set(expected.ravel().tolist())
    assert 0 < ties < NUM_RECORDED and len(values) > 20 and refused <= 2


class Chain(nn.Module):
    """What ``forward`` does is given; weights are those of a model of one operation."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.does = Single("conv, relu", 3).weights, forward

    def forward(self, x: torch.Tensor) -> Any:
        return self.does(self, x)

    def convolved(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.conv.real(), self.conv.bias)


def program(forward: Callable[[Any, torch.Tensor], Any], batch: int = 1) -> Any:
    model = Chain(forward).eval()
    channels = model.conv.weight.shape[1]
    return torch.export.export(model, (torch.zeros(batch, channels, 6, 6),))


def chain(s: Any, x: torch.Tensor) -> torch.Tensor:
    x = through(x, FORM)
    y = through(F.relu(s.convolved(x)), FORM)
    y = through(F.max_pool2d(y, 2), FORM)
    y = through(F.adaptive_avg_pool2d(F.dropout(y, training=False), 1), FORM)
    return torch.softmax(torch.flatten(y, 1), 1)


def test_levels_equal_the_network() -> None:
    network = accel.load(program(chain))
    assert [op.kind for op in network.operations] == ["conv2d", "max_pool2d", "mean"]
    assert any("softmax" in note for note in network.notes)
    compiled = accel.compile(network, {"preset": "tiny", "adder": True})
    images = np.random.default_rng(2).normal(size=(3, *network.input.shape)).astype(np.float32)
    expected = network.integers(compiled.quantize(images))[-1]
    for level in ("fl", "cl", "verilator"):
        run = accel.simulate(compiled, images, level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs, expected, level)


def test_a_graph_module_is_the_same(tmp_path: Any) -> None:
    """As ``convert_pt2e`` returns it, before it is exported once more; and what a file keeps."""
    found = program(chain)
    of_program, of_module = accel.load(found), accel.load(found.module())
    x = quantized(of_program, np.random.default_rng(2).normal(size=(5, *of_program.input.shape)))
    of_program.save(tmp_path / "n.safetensors")
    kept = accel.load(tmp_path / "n.safetensors")
    for network in (of_module, kept):
        for a, b in zip(network.integers(x), of_program.integers(x), strict=True):
            np.testing.assert_array_equal(a, b)
        assert network.origin == "executorch"


def test_a_limit_of_its_own_joins_the_layer_before() -> None:
    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        y = through(s.convolved(through(x, FORM)), FORM)
        return through(F.hardtanh(y, 0.0, 6.0), FORM)

    network = accel.load(program(forward))
    (layer,) = network.operations
    assert layer.output_range == (3, 123)


def test_what_a_table_looks_up() -> None:
    """Functions, limits of what has none, and other scales; at all levels."""

    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        y = through(F.relu6(through(x, FORM)), OTHER)
        y = through(F.hardtanh(through(s.convolved(y), FORM), -1.0, 4.0), OTHER)
        y = through(F.hardswish(through(y, FORM)), OTHER)
        return through(F.leaky_relu(y, 0.2), FORM)

    network = accel.load(program(forward))
    assert [(op.kind, getattr(op, "function", None)) for op in network.operations] == [
        ("table", "hardtanh"),
        ("conv2d", None),
        ("table", "requantize"),
        ("table", "hardswish"),
        ("table", "leaky_relu"),
    ]
    assert network.operations[1].output.scale == np.float32(OTHER[0])
    compiled = accel.compile(network, {"preset": "tiny", "tables": 4})
    images = np.random.default_rng(2).normal(size=(3, *network.input.shape)).astype(np.float32)
    expected = network.integers(compiled.quantize(images))[-1]
    for level in ("fl", "cl", "verilator"):
        run = accel.simulate(compiled, images, level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs.reshape(expected.shape), expected, level)


def test_images_of_any_number() -> None:
    model = Chain(chain).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    image = torch.zeros(2, model.conv.weight.shape[1], 6, 6)
    dynamic = torch.export.export(model, (image,), dynamic_shapes=({0: batch},))
    assert accel.load(dynamic).operations[0].kind == "conv2d"


def avg(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(F.avg_pool2d(through(x, FORM), 2), FORM)


def mean(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(through(x, FORM).mean([2, 3]), FORM)


def unquantized_end(s: Any, x: torch.Tensor) -> torch.Tensor:
    return s.convolved(through(x, FORM))


def float_between(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(F.max_pool2d(s.convolved(through(x, FORM)), 2), FORM)


def float_first(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(F.relu(x), FORM)


def two(s: Any, x: torch.Tensor) -> Any:
    x = through(x, FORM)
    return through(s.convolved(x), FORM), x


OTHER = (FORM[0] * 0.7, FORM[1] - 3)


def limited_maximum(s: Any, x: torch.Tensor) -> torch.Tensor:
    y = through(F.max_pool2d(through(x, FORM), 2), FORM)
    return through(F.relu6(y), OTHER)


def limited_twice(s: Any, x: torch.Tensor) -> torch.Tensor:
    y = through(F.relu(s.convolved(through(x, FORM))), FORM)
    return through(F.hardtanh(y, 1.0, 2.0), OTHER)


def limited_by_a_relu(s: Any, x: torch.Tensor) -> torch.Tensor:
    """Whose limit is the least integer there is, but not at the other scale."""
    y = through(F.relu(s.convolved(through(x, FORM))), (0.05, -128))
    return through(F.hardtanh(y, -1.0, 2.0), OTHER)


def limited_function(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(F.hardtanh(torch.sigmoid(through(x, FORM)), 0.25, 0.75), FORM)


def padded_function(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(torch.sigmoid(F.pad(through(x, FORM), (1, 1))), FORM)


def near_a_tie(s: Any, x: torch.Tensor) -> torch.Tensor:
    """Hardswish of -2.25 is -0.28125."""
    return through(F.hardswish(through(x, FORM)), (0.0375, 0))


def dilated(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(F.conv2d(through(x, FORM), s.conv.real(), s.conv.bias, dilation=2), FORM)


def real_weights(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(F.conv2d(through(x, FORM), s.conv.real() * 1.5, s.conv.bias), FORM)


def nothing(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(x, FORM)


def sine(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(torch.sin(through(x, FORM)), FORM)


def unquantized_limit(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(s.convolved(F.relu(through(x, FORM))), FORM)


def unquantized_summand(s: Any, x: torch.Tensor) -> torch.Tensor:
    y = through(x, FORM)
    return through(y + F.relu(y), FORM)


def padded_summand(s: Any, x: torch.Tensor) -> torch.Tensor:
    x = through(x, FORM)
    return through(F.pad(x[:, :, :, :], (1, 0)) + F.pad(x, (0, 1)), FORM)


def padded_second(s: Any, x: torch.Tensor) -> torch.Tensor:
    x = through(x, FORM)
    wide = through(F.max_pool2d(x, (1, 2), 1), FORM)
    return through(x + F.pad(wide, (1, 0)), FORM)


def unsigned(s: Any, x: torch.Tensor) -> torch.Tensor:
    operators = torch.ops.quantized_decomposed
    form = 0.05, 3, 0, 255, torch.uint8
    q = operators.quantize_per_tensor.default(x, *form)
    return through(s.convolved(operators.dequantize_per_tensor.default(q, *form)), FORM)


def fewer_values(s: Any, x: torch.Tensor) -> torch.Tensor:
    operators = torch.ops.quantized_decomposed
    form = 0.05, 3, -127, 127, torch.int8
    q = operators.quantize_per_tensor.default(x, *form)
    return through(s.convolved(operators.dequantize_per_tensor.default(q, *form)), FORM)


def same(s: Any, x: torch.Tensor) -> torch.Tensor:
    return through(F.conv2d(through(x, FORM), s.conv.real(), s.conv.bias, padding="same"), FORM)


def behind_a_softmax(s: Any, x: torch.Tensor) -> torch.Tensor:
    y = torch.softmax(through(s.convolved(through(x, FORM)), FORM), 1)
    return through(F.max_pool2d(y, 2), FORM)


def limited_for_all(s: Any, x: torch.Tensor) -> torch.Tensor:
    y = through(s.convolved(through(x, FORM)), FORM)
    return through(through(F.relu(y), FORM) + y, FORM)


def test_sequences_are_maps_of_one_row() -> None:
    model = Single("sequence", 4)
    weights = model.weights
    assert weights is not None

    class Sequences(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = weights

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = F.conv1d(F.pad(through(x, FORM), (2, 0)), weights.real(), weights.bias)
            y = through(F.relu(y), FORM)
            return through(F.max_pool1d(y, 3, 2, 1), FORM)

    image = torch.zeros(1, *model.shape)
    graph = torch.export.export(Sequences().eval(), (image,)).module()
    network = accel.load(graph, input_shape=model.shape)
    assert network.input.shape == (model.shape[0], 1, model.shape[1])
    conv, pool = network.operations
    assert (conv.padding, pool.size, pool.stride) == ((0, 2, 0, 0), (1, 3), (1, 2))


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (
            avg,
            r"^operation 'avg_pool2d' \(avg_pool2d\) is computed with real numbers by ExecuTorch",
        ),
        (mean, r"\(mean\) is computed with real numbers by .* mean\(\[2, 3\], keepdim=True\)"),
        (unquantized_end, "^the program's output is not quantized"),
        (float_between, r"'max_pool2d' \(max_pool2d\) computes with real numbers, not with"),
        (float_first, r"'relu' \(relu\) computes with the images before they are quantized"),
        (two, "^the program must yield one tensor"),
        (
            limited_maximum,
            r"\(quantize_per_tensor\) limits to another scale what a max_pool2d makes",
        ),
        (
            limited_twice,
            r"\(quantize_per_tensor\) limits to another scale what is limited before",
        ),
        (
            limited_by_a_relu,
            r"\(quantize_per_tensor\) limits to another scale what is limited before",
        ),
        (limited_function, r"'sigmoid' \(sigmoid\) is not supported: its output is cut off"),
        (padded_function, "follows a padding with zeros, but only a convolution may"),
        (near_a_tie, r"'hardswish' \(hardswish\) is not supported: hardswish of .* near a tie"),
        (dilated, r"\(conv2d\) has dilation \(2, 2\), but only 1 is supported"),
        (real_weights, "has weights that are not quantized to int8 beforehand"),
        (nothing, "yields something else than what its last layer makes"),
        (sine, r"'sin' \(sin\) is not supported"),
        (unquantized_limit, r"\(conv2d\) computes with real numbers, not with quantized ones"),
        (unquantized_summand, r"\(add\) computes with real numbers, not with quantized ones"),
        (padded_summand, "follows a padding with zeros, but only a convolution may"),
        (padded_second, "follows a padding with zeros, but only a convolution may"),
        (unsigned, "quantizes activations to uint8 from 0 to 255, but XNNPACK takes int8 from"),
        (fewer_values, "quantizes activations to int8 from -127 to 127, but XNNPACK takes int8"),
        (same, "has padding 'same', but only numbers of rows and columns"),
        (behind_a_softmax, "follows a softmax, which the host computes at the end"),
        (limited_for_all, "limits what others read without it"),
    ],
)
def test_refusals(forward: Any, says: str) -> None:
    with pytest.raises(AccelError, match=says) as e:
        accel.load(program(forward))
    assert re.fullmatch(r"[^\n]{,400}", str(e.value)) and not str(e.value).endswith(".")


def test_input_shapes() -> None:
    found = program(chain)
    with pytest.raises(AccelError, match="ExportedProgram does, so leave it out"):
        accel.load(found, input_shape=(4, 6, 6))
    for shape in (3, (3, "a")):
        with pytest.raises(AccelError, match="input_shape must be whole numbers such as"):
            accel.load(found.module(), input_shape=shape)


class Block(nn.Module):
    """A residual block, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.depthwise, self.point = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.point(F.relu(self.depthwise(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("trained", [False, True])
def test_what_torchao_makes(trained: bool, per_channel: bool) -> None:
    """Calibrated, or prepared for training: about what the program itself yields with real numbers,
    which no integers equal."""
    pt2e = pytest.importorskip("torchao.quantization.pt2e.quantize_pt2e")
    from torchao.testing.pt2e import _xnnpack_quantizer as xnnpack

    torch.manual_seed(0)
    images = torch.randn(24, 3, 16, 16)
    model = Block().train(trained)
    config = xnnpack.get_symmetric_quantization_config(is_per_channel=per_channel, is_qat=trained)
    quantizer = xnnpack.XNNPACKQuantizer().set_global(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch.export.export(model, (images,)).module()
        prepare = pt2e.prepare_qat_pt2e if trained else pt2e.prepare_pt2e
        prepared = prepare(graph, quantizer)
        prepared(images)
        converted = pt2e.convert_pt2e(prepared)
    network = accel.load(converted)
    kinds = [op.kind for op in network.operations]
    assert kinds == ["conv2d", "conv2d", "conv2d", "add", "mean", "linear"]
    output = network.output
    found = network.integers(quantized(network, images.numpy()))[-1]
    real = converted(images).detach().numpy().reshape(found.shape)
    steps = np.rint(real / np.float32(output.scale)) + output.zero_point
    assert np.abs(steps - found).max() <= 2 and (steps == found).mean() > 0.9
