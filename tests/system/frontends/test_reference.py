"""Quantization of float models, and PyTorch's kernels on networks, against ``accel.numerics``."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import operator
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from accel import numerics
from accel.compiler.compile import compile
from accel.errors import AccelError
from accel.frontends import pytorch as reference
from accel.frontends.pytorch import quantize
from accel.hardware.config import base
from accel.network.graph import Network
from accel.operations import Add, Concat, MaxPool2d
from accel.runtimes import qnnpack
from accel.runtimes.qnnpack import run_network
from accel.simulation.runner import simulate
from tests.networks import Conv, Linear, random_images, random_network


def assert_kernels_equal_integers(network: Network, images) -> None:
    kernels, integers = run_network(network, images), network.integers(images)
    assert len(kernels) == len(network.operations)
    for operation, ours, theirs in zip(network.operations, integers, kernels, strict=True):
        assert theirs.dtype == (np.int8 if operation.output.signed else np.uint8)
        assert theirs.shape == (len(images), *operation.output.shape)
        np.testing.assert_array_equal(ours, theirs, err_msg=operation.name)


# run_network


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    ("shape", "specs"),
    [
        pytest.param(
            (1, 28, 28),
            [
                Conv(6, (3, 3), padding=1, pool=True), Conv(16, (3, 3), pool=True),
                Linear(120), Linear(84), Linear(10, relu=False),
            ],
            id="the network of the design",
        ),
        pytest.param(
            (3, 17, 14),
            [
                Conv(7, (5, 5), stride=2, padding=2, relu=False), Conv(9, (1, 1)),
                Conv(4, (2, 3), padding=1, pool=True), Linear(5, relu=False),
            ],
            id="other kernels",
        ),
        pytest.param((40,), [Linear(33), Linear(1, relu=False)], id="only linear"),
        pytest.param((5, 9, 8), [Conv(2, (4, 4), pool=True, relu=False)], id="one convolution"),
    ],
)  # fmt: skip
def test_kernels_equal_integers(shape, specs, per_channel, signed):
    rng = np.random.default_rng(1)
    for _ in range(3):
        network = random_network(rng, shape, specs, per_channel=per_channel, signed=signed)
        assert_kernels_equal_integers(network, random_images(rng, network, 100))


@st.composite
def networks(draw) -> tuple[Network, np.ndarray]:
    shape = tuple(draw(st.integers(1, high)) for high in (4, 9, 9))
    specs, (_, height, width) = [], shape
    for _ in range(draw(st.integers(0, 3))):
        padding, stride = draw(st.integers(0, 2)), draw(st.sampled_from([1, 2]))
        limits = [min(5, size + 2 * padding) for size in (height, width)]
        kernel = (draw(st.integers(1, limits[0])), draw(st.integers(1, limits[1])))
        height, width = (
            (size + 2 * padding - k) // stride + 1
            for size, k in zip((height, width), kernel, strict=True)
        )
        pool = min(height, width) >= 2 and draw(st.booleans())
        if pool:
            height, width = height // 2, width // 2
        specs.append(
            Conv(draw(st.integers(1, 9)), kernel, stride, padding, draw(st.booleans()), pool)
        )
    for _ in range(draw(st.integers(0 if specs else 1, 2))):
        specs.append(Linear(draw(st.integers(1, 20)), draw(st.booleans())))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    options = {"per_channel": draw(st.booleans()), "signed": draw(st.booleans())}
    network = random_network(rng, shape, specs, **options)
    return network, random_images(rng, network, draw(st.integers(0, 3)))


@given(networks())
def test_kernels_equal_integers_on_drawn_networks(case):
    assert_kernels_equal_integers(*case)


def test_signed_and_unsigned_tensors_may_meet_in_a_layer():
    rng = np.random.default_rng(2)
    network = random_network(rng, (2, 6, 6), [Conv(4, (3, 3)), Linear(3)])
    first, second = network.layers
    between = dataclasses.replace(
        first.output, signed=True, zero_point=first.output.zero_point - 128
    )
    mixed = Network(
        name="mixed",
        operations=(
            dataclasses.replace(first, output=between),
            dataclasses.replace(second, input=between),
        ),
    )
    images = random_images(rng, network, 20)
    assert_kernels_equal_integers(mixed, images)
    # The same numbers in another representation
    plain, shifted = run_network(network, images), run_network(mixed, images)
    np.testing.assert_array_equal(plain[0], shifted[0].astype(int) + 128)
    np.testing.assert_array_equal(plain[1], shifted[1])


def test_images_are_run_in_batches(monkeypatch):
    rng = np.random.default_rng(3)
    network = random_network(rng, (1, 4, 4), [Conv(2, (3, 3)), Linear(3)])
    monkeypatch.setattr(qnnpack, "BATCH_SIZE", 7)
    batches = []
    original = qnnpack.quantized

    def spy(x, tensor):
        batches.append(len(x))
        return original(x, tensor)

    monkeypatch.setattr(qnnpack, "quantized", spy)
    assert_kernels_equal_integers(network, random_images(rng, network, 24))
    assert batches == [7, 7, 7, 7, 7, 7, 3, 3]


def test_the_engine_is_restored(monkeypatch):
    rng = np.random.default_rng(4)
    network = random_network(rng, (4,), [Linear(3)])
    images = random_images(rng, network, 1)
    before = torch.backends.quantized.engine
    try:
        for engine in torch.backends.quantized.supported_engines:
            torch.backends.quantized.engine = engine
            run_network(network, images)
            assert torch.backends.quantized.engine == engine
        monkeypatch.setattr(qnnpack, "weighted_kernel", None)
        with pytest.raises(TypeError, match="not callable"):
            run_network(network, images)
        assert torch.backends.quantized.engine == engine
    finally:
        torch.backends.quantized.engine = before


def test_a_build_without_qnnpack(monkeypatch):
    monkeypatch.setattr(qnnpack, "ENGINE", "another")
    network = random_network(np.random.default_rng(5), (4,), [Linear(3)])
    with pytest.raises(AccelError, match="this build of PyTorch has no another, only"):
        run_network(network, np.zeros((1, 4), int))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((1, 2, 5, 5), int), r"shape \(N, 2, 5, 6\), not int64 \(1, 2, 5, 5\)"),
        (np.zeros((2, 5, 6), int), "must be whole numbers of shape"),
        (np.zeros((1, 2, 5, 6)), "must be whole numbers of shape .* not float64"),
        (np.full((1, 2, 5, 6), 256), "values from 0 to 255, not 256 to 256"),
        (np.full((1, 2, 5, 6), -1), "values from 0 to 255"),
    ],
)
def test_wrong_images(images, says):
    network = random_network(np.random.default_rng(6), (2, 5, 6), [Linear(3)])
    with pytest.raises(AccelError, match=says):
        run_network(network, images)


# quantize


class Block(nn.Module):
    """A user's own module, within another."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2)

    def forward(self, x):
        return F.relu(self.conv(x))


class Custom(nn.Module):
    """A forward of functions and methods."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(Block(2, 6, 5), nn.Sequential(nn.Dropout(0.5), nn.Identity()))
        self.conv = nn.Conv2d(6, 9, (3, 2), bias=False)
        self.fc = nn.Linear(54, 7)
        self.out = nn.Linear(7, 4)

    def forward(self, x):
        x = self.features(x)
        x = F.max_pool2d(torch.relu(self.conv(x)), 2)
        x = x.view(x.size(0), -1)
        x = F.dropout(self.fc(x).relu(), training=self.training)
        return self.out(x)


def nested() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(5, 8, 3), nn.MaxPool2d(2, stride=2), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(32, 3))),
    )


def normalised() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(),
        nn.Conv2d(5, 4, 3), nn.Dropout2d(), nn.BatchNorm2d(4), nn.Flatten(),
        nn.Linear(320, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip
    for norm in model:
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return model


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * 12 * 14, 20), nn.ReLU(), nn.Linear(20, 5))


MODELS = {"custom": Custom, "nested": nested, "normalised": normalised, "perceptron": perceptron}


def make(name: str, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(seed)
    return MODELS[name](), torch.randn(300, 2, 12, 14)


def quantized_images(network: Network, images) -> np.ndarray:
    tensor = network.input
    return numerics.quantize(images, tensor.scale, tensor.zero_point, tensor.signed)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_quantized_models(name, per_channel, signed):
    model, images = make(name)
    network = quantize(model, images, per_channel=per_channel, signed=signed)
    assert network.name == type(model).__name__
    for layer in network.layers:
        assert layer.output.signed == layer.input.signed == signed
        assert layer.weight_scale.shape == ((len(layer.bias),) if per_channel else (1,))
    quantized = quantized_images(network, images.numpy())
    assert_kernels_equal_integers(network, quantized)
    with torch.no_grad():
        expected = model.eval()(images).numpy()
    logits = run_network(network, quantized)[-1].astype(np.float64)
    real = (logits - network.output.zero_point) * network.output.scale
    assert np.sqrt(np.mean((real - expected) ** 2)) < 0.04 * expected.std()


def test_what_becomes_of_a_model():
    network = quantize(*make("custom"), name="mine")
    assert network.name == "mine"
    found = [
        (op.name, op.kind, {name: getattr(op, name) for name in op.OPTIONS}, op.output.shape)
        for op in network.operations
    ]
    limits = {"smallest": -128, "largest": 255}
    conv = {"relu": True, "groups": 1} | limits
    pool = {"size": (2, 2), "stride": (2, 2), "padding": (0,) * 4}
    assert found == [
        ("features.0.conv", "conv2d", conv | {"stride": (2, 2), "padding": (2,) * 4}, (6, 6, 7)),
        ("conv", "conv2d", conv | {"stride": (1, 1), "padding": (0,) * 4}, (9, 4, 6)),
        ("conv.pool", "max_pool2d", pool, (9, 2, 3)),
        ("fc", "linear", {"relu": True} | limits, (7,)),
        ("out", "linear", {"relu": False} | limits, (4,)),
    ]
    assert [layer.name for layer in network.layers] == ["features.0.conv", "conv", "fc", "out"]
    assert not any(isinstance(layer, MaxPool2d) for layer in network.layers)


def test_flat_images_and_a_bare_layer():
    torch.manual_seed(1)
    model, images = nn.Linear(12, 3), torch.randn(50, 12)
    network = quantize(model, images)
    assert [layer.input.shape for layer in network.layers] == [(12,)]
    assert_kernels_equal_integers(network, quantized_images(network, images.numpy()))


def test_numpy_images_are_as_good():
    model, images = make("nested")
    a, b = quantize(model, images), quantize(model, images.numpy())
    assert a.input == b.input and a.output == b.output


def test_the_model_is_left_as_it_is():
    model, images = make("normalised")
    model.train()
    before = copy.deepcopy(model.state_dict())
    filters, threads = list(warnings.filters), torch.get_num_threads()
    quantize(model, images)
    assert all(module.training for module in model.modules())
    assert warnings.filters == filters and torch.get_num_threads() == threads
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


class Functional(nn.Module):
    """PyTorch's own flow takes it as we do: it would look at pooled tensors also before they are
    pooled, and quantize the input of ``nn.Flatten`` a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 6, 3, 2, padding=1), nn.Conv2d(6, 8, 3)
        self.fc1, self.fc2 = nn.Linear(160, 20), nn.Linear(20, 5)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = torch.flatten(self.conv2(x), 1)
        return self.fc2(F.relu(self.fc1(x)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
def test_equals_pytorchs_own_flow(per_channel):
    """Scales, zero points and every logit, of a model that FX quantization prepares and converts
    with the QNNPACK configuration."""
    from torch.ao.quantization import QConfig, QConfigMapping, get_default_qconfig, quantize_fx
    from torch.ao.quantization.observer import default_per_channel_weight_observer

    torch.manual_seed(2)
    model, images = Functional().eval(), torch.randn(600, 2, 12, 14)
    config = get_default_qconfig("qnnpack")
    if per_channel:
        config = QConfig(config.activation, default_per_channel_weight_observer)
    mapping = QConfigMapping().set_global(config)
    with qnnpack.engine(), torch.no_grad():
        prepared = quantize_fx.prepare_fx(copy.deepcopy(model), mapping, (images[:1],))
        for batch in images.split(qnnpack.BATCH_SIZE):
            prepared(batch)
        converted = quantize_fx.convert_fx(prepared)
        modules = [getattr(converted, name) for name in ("conv1", "conv2", "fc1", "fc2")]
    network = quantize(model, images, per_channel=per_channel, correct_bias=False)
    for layer, module in zip(network.layers, modules, strict=True):
        assert (layer.output.scale, layer.output.zero_point) == (module.scale, module.zero_point)
        np.testing.assert_array_equal(layer.weight, module.weight().int_repr().numpy())
    integers = quantized_images(network, images.numpy())
    # Values of the input tensor, of which every version of PyTorch makes the same integers.
    steps = (integers - network.input.zero_point).astype(np.float32)
    with qnnpack.engine(), torch.no_grad():
        theirs = converted(torch.from_numpy(steps * np.float32(network.input.scale))).numpy()
    logits = run_network(network, integers)[-1]
    ours = (logits.astype(np.float32) - network.output.zero_point) * np.float32(
        network.output.scale
    )
    np.testing.assert_array_equal(ours, theirs)


def test_channels_without_weights_keep_their_bias():
    """Their own scale would be next to nothing, and the bias would overflow at it."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        model[0].weight[1:3] = 0
        model[0].bias[1:3] = torch.tensor([3000.0, -0.0])
    images = torch.rand(100, 1, 4, 4)
    network = quantize(model, images)
    layer = network.layers[0]
    assert np.abs(layer.bias_q).max() <= reference.MAX_BIAS + 1
    assert layer.bias_q[2] == 0
    steps = layer.bias_q[1] * layer.multiplier[1]
    assert abs(steps * layer.output.scale - 3000) < layer.output.scale
    assert_kernels_equal_integers(network, quantized_images(network, images.numpy()))
    # A channel that has weights keeps its scale, which is its largest weight's.
    largest = model[0].weight.detach()[0].abs().max().numpy()
    np.testing.assert_allclose(layer.weight_scale[0], largest / 127.5, rtol=1e-6)


def test_channels_with_next_to_no_weights_get_no_finer_scale_than_others_need():
    torch.manual_seed(5)
    model = nn.Linear(20, 3, bias=False)
    with torch.no_grad():
        model.weight[1] *= 1e-4
    layer = quantize(model, torch.rand(50, 20)).layers[0]
    assert layer.weight_scale.max() / layer.weight_scale.min() == reference.MAX_SCALE_RATIO
    assert layer.accumulator_bound[1] < layer.accumulator_bound[0] / 10


@pytest.mark.parametrize("per_channel", [False, True])
def test_biases_make_up_for_rounded_weights_on_average(per_channel):
    """Activations of one sign, so that what rounding does to a channel's weights adds up."""
    torch.manual_seed(6)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(120, 7)
    )
    images = torch.rand(600, 2, 12, 14)
    expected = model(images).detach().numpy()
    errors = {}
    for correct_bias in (False, True):
        network = quantize(model, images, per_channel=per_channel, correct_bias=correct_bias)
        logits = run_network(network, quantized_images(network, images.numpy()))[-1]
        real = (logits.astype(float) - network.output.zero_point) * network.output.scale
        errors[correct_bias] = np.abs((real - expected).mean(axis=0)).max()
        for layer, module in zip(network.layers, (model[0], model[4]), strict=True):
            weight = layer.weight_scale.reshape(-1, *[1] * (layer.weight.ndim - 1)) * layer.weight
            assert np.abs(weight - module.weight.detach().numpy()).max() < layer.weight_scale.max()
    assert errors[True] < errors[False] / 2


class Adds(nn.Module):
    def __init__(self, add=operator.add) -> None:
        super().__init__()
        self.conv, self.add = nn.Conv2d(2, 2, 1), add

    def forward(self, x):
        return self.add(x, self.conv(x))


def changed_by_another_name(x, y):
    z = y.view(y.shape)
    return x + y.relu_() + z


class Residual(nn.Module):
    """ResNet's blocks: a sum with the block's input, or with what a convolution makes of it."""

    def __init__(self, add=operator.add, inplace: bool = False) -> None:
        super().__init__()
        self.add, self.relu = add, nn.ReLU(inplace)
        self.first = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.conv1, self.conv2 = (nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(6)
        self.down, self.skip = nn.Conv2d(6, 9, 3, 2, 1), nn.Conv2d(6, 9, 1, 2)
        self.last = nn.Linear(9, 4)

    def forward(self, x):
        x = self.first(x)
        y = self.norm(self.conv2(self.relu(self.conv1(x))))
        x = self.relu(self.add(y, x))
        x = self.add(self.down(x), self.skip(x))
        return self.last(F.adaptive_avg_pool2d(x, 1).flatten(1))


def in_place(x, y):
    x += y
    return x


SUMS = {
    "operator": operator.add,
    "function": torch.add,
    "method": lambda x, y: x.add(y),
    "in place": in_place,
    "FloatFunctional": torch.ao.nn.quantized.FloatFunctional().add,
    "FloatFunctional with ReLU": torch.ao.nn.quantized.FloatFunctional().add_relu,
    "ReLU6 of it": lambda x, y: F.relu6(x + y),
    "pooled": lambda x, y: F.max_pool2d(x + y, 3, 1, 1),
    "twice": lambda x, y: (x + y) + x,
    "itself": lambda x, y: (x + x) + y,
    "pools of what is added": lambda x, y: F.max_pool2d(x, 3, 1, 1) + F.avg_pool2d(y, 1),
}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", SUMS)
def test_models_that_add(name: str, signed: bool) -> None:
    """However the sum is written: kernels, integers and accelerator agree, close to the model."""
    torch.manual_seed(1)
    model, images = Residual(SUMS[name], name == "in place").eval(), torch.rand(64, 2, 12, 14)
    with torch.no_grad():
        expected = model(images.clone()).numpy()
    network = quantize(model, images, signed=signed)
    assert sum(isinstance(op, Add) for op in network.operations) >= 2
    q = quantized_images(network, images.numpy())
    assert_kernels_equal_integers(network, q)
    run = simulate(compile(network, dataclasses.replace(base, adder=True)), q[:3], level="fl")
    np.testing.assert_array_equal(run.outputs, network.integers(q[:3])[-1])
    real = (network.integers(q)[-1] - network.output.zero_point) * network.output.scale
    assert np.sqrt(np.mean((real - expected) ** 2)) < 0.05 * np.ptp(expected)


def test_names_of_sums() -> None:
    torch.manual_seed(1)
    network = quantize(Residual(), torch.rand(9, 2, 12, 14))
    names = [(op.kind, op.name) for op in network.operations]
    assert names == [
        ("conv2d", "first.0"), ("conv2d", "conv1"), ("conv2d", "conv2"), ("add", "add"),
        ("conv2d", "down"), ("conv2d", "skip"), ("add", "add_1"), ("avg_pool2d", "add_1.pool"),
        ("linear", "last"),
    ]  # fmt: skip
    assert [op.relu for op in network.operations if isinstance(op, Add)] == [True, False]
    program = compile(network, dataclasses.replace(base, adder=True))
    assert len(program.layers) == 7


class Joins(nn.Module):
    """Tensors joined by ``join``, of maps, and behind them of vectors."""

    def __init__(self, join) -> None:
        super().__init__()
        self.first, self.left = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(5, 3, 1)
        self.right, self.down = nn.Conv2d(5, 4, 3, padding=1), nn.Conv2d(7, 3, 3, 2)
        self.one, self.other, self.last = nn.Linear(90, 6), nn.Linear(90, 4), nn.Linear(10, 3)
        self.join = join

    def forward(self, x):
        x = F.relu(self.first(x))
        x = self.join([F.relu(self.left(x)), self.right(x)], x)
        x = F.relu(self.down(x))
        x = torch.flatten(x, 1)
        return self.last(torch.cat((self.one(x), self.other(x).relu()), -1))


JOINS = {
    "in place": lambda parts, x: torch.cat(parts, 1),
    "by name": lambda parts, x: torch.concat(tensors=tuple(parts), dim=-3),
    "the other way round": lambda parts, x: torch.cat(parts[::-1], 1),
    "within one another": lambda parts, x: torch.cat([torch.cat(parts, 1)], 1),
    "pooled": lambda parts, x: F.max_pool2d(
        torch.cat([F.max_pool2d(part, 3, 1, 1) for part in parts], 1), 3, 1, 1
    ),
}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", JOINS)
def test_models_that_join(name: str, signed: bool) -> None:
    """However that is written: kernels, integers and accelerator agree, close to the model."""
    torch.manual_seed(1)
    model, images = Joins(JOINS[name]).eval(), torch.rand(64, 2, 12, 14)
    with torch.no_grad():
        expected = model(images.clone()).numpy()
    network = quantize(model, images, signed=signed)
    for join in (op for op in network.operations if isinstance(op, Concat)):
        assert {(t.scale, t.zero_point) for t in join.inputs} == {
            (join.output.scale, join.output.zero_point)
        }
    q = quantized_images(network, images.numpy())
    assert_kernels_equal_integers(network, q)
    program = compile(network, dataclasses.replace(base, act_depth=2048))
    assert [layer.name for layer in program.layers if "cat" in layer.name] == (
        ["cat.pool"] if name == "pooled" else []
    )
    run = simulate(program, q[:3], level="fl")
    np.testing.assert_array_equal(run.outputs, network.integers(q[:3])[-1])
    real = (network.integers(q)[-1] - network.output.zero_point) * network.output.scale
    assert np.sqrt(np.mean((real - expected) ** 2)) < 0.05 * np.ptp(expected)


class Dense(nn.Module):
    """What each layer yields is joined with all before it, the images among them, and these are
    the outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(2 + 3 * i, 3, 3, padding=1) for i in range(3)])

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, F.relu(layer(x))], 1)
        return x


def test_dense_blocks() -> None:
    torch.manual_seed(1)
    images = torch.rand(20, 2, 6, 7)
    network = quantize(Dense().eval(), images)
    q = quantized_images(network, images.numpy())
    assert_kernels_equal_integers(network, q)
    program = compile(network, base)
    # Only the image has to be copied, and the results have to be read.
    assert [layer.name for layer in program.layers] == [
        "layers.0", "cat.1", "layers.1", "layers.2", "cat_2",
    ]  # fmt: skip
    run = simulate(program, q[:3], level="fl")
    np.testing.assert_array_equal(run.outputs, network.integers(q[:3])[-1])


REFUSED_JOINS = {
    "rows": (
        lambda parts, x: F.max_pool2d(torch.cat([torch.cat(parts, 1)] * 2, 2), (2, 1)),
        "joins along dimension 2",
    ),
    "a constant": (
        lambda parts, x: torch.cat([parts[0], torch.ones(len(x), 4, 12, 14)], 1),
        "joins a constant, but only tensors that follow from images can be",
    ),
    "a ReLU behind it": (
        lambda parts, x: F.relu(torch.cat(parts, 1)), "must come after a convolution, linear layer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_JOINS)
def test_joins_that_are_refused(name: str) -> None:
    join, what = REFUSED_JOINS[name]
    with pytest.raises(AccelError, match=what):
        quantize(Joins(join).eval(), torch.rand(9, 2, 12, 14))


class Flattened(nn.Module):
    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 2, kernel, padding=kernel // 2 - 1)
        self.last = nn.Linear(40 + 60, 3)

    def forward(self, x):
        return self.last(torch.cat([self.a(x).flatten(1), self.b(x).flatten(1)], 1))


def test_flattened_maps_are_joined_as_maps() -> None:
    torch.manual_seed(1)
    images = torch.rand(20, 2, 6, 7)
    network = quantize(Flattened(3).eval(), images)
    assert [op.output.shape for op in network.operations][2] == (5, 4, 5)
    assert_kernels_equal_integers(network, quantized_images(network, images.numpy()))
    model = Flattened(4).eval()
    model.last = nn.Linear(60 + 2 * 5 * 6, 3)
    with pytest.raises(AccelError, match=r"joins \(3, 4, 5\) and \(2, 5, 6\), but what is joined"):
        quantize(model, images)


class Branches(Adds):
    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


class Slices(Adds):
    def forward(self, x):
        return self.conv(x)[:, :1]


class Dropout(Adds):
    def forward(self, x):
        return F.dropout(self.conv(x))


class Transposes(Adds):
    def forward(self, x):
        return self.conv(x).view(2, -1)


class TwoOutputs(Adds):
    def forward(self, x):
        y = self.conv(x)
        return y, y


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(2, 3, 3))
    model[0].register_forward_hook(lambda module, args, output: output * 2)
    return model


class Mean(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x.mean(self.dim)


def after_conv(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), *modules)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (after_conv(nn.PReLU()), r"module '1' \(PReLU\) is not supported"),
        (after_conv(nn.ConvTranspose2d(4, 4, 3)), r"module '1' \(ConvTranspose2d\) is not"),
        (after_conv(nn.MaxPool2d(2, dilation=2)), r"module '1' \(MaxPool2d\) has dilation"),
        (after_conv(nn.MaxPool2d(2, return_indices=True)), "returns 2 tensors, but must"),
        (after_conv(nn.AvgPool2d(2, padding=1, count_include_pad=False)), "leaves padding out"),
        (after_conv(nn.AvgPool2d(3, ceil_mode=True)), "has ceil_mode, which is supported for max"),
        (after_conv(nn.AvgPool2d(3, divisor_override=2)), "has a divisor of its own"),
        (after_conv(nn.AdaptiveAvgPool2d(3)), r"averages to \(3, 3\), but only to one pixel"),
        (after_conv(Mean(1)), "is a mean over something else than rows and columns"),
        (after_conv(nn.AvgPool2d(2), nn.ReLU()), r"module '2' \(ReLU\) must come after a conv"),
        (after_conv(nn.ZeroPad2d(1), nn.MaxPool2d(2)), "follows a padding with zeros, but only a"),
        (after_conv(nn.ZeroPad2d(1)), "ends in a padding with zeros"),
        (after_conv(nn.Hardtanh(-1, 1)), "clamps from -1 to 1, but only from 0"),
        (nn.Sequential(nn.ReLU()), "must come after a convolution"),
        (nn.Sequential(nn.Flatten()), "the model holds no layer"),
        (nn.Sequential(nn.BatchNorm2d(2)), "must directly follow"),
        (after_conv(nn.ReLU(), nn.BatchNorm2d(4)), r"module '2' \(BatchNorm2d\) must directly"),
        (after_conv(nn.BatchNorm2d(4, track_running_stats=False)), "have statistics"),
        (after_conv(nn.Linear(12, 3)), r"module '1' \(Linear\) takes a feature map"),
        (after_conv(nn.Flatten(), nn.Conv2d(4, 4, 1)), "does not take calibration images"),
        (nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), "pads by mode 'reflect'"),
        (nn.Conv2d(2, 4, 3, dilation=2), "has dilation"),
        (nn.Conv2d(3, 4, 3), r"does not take calibration images of shape \(2, 12, 14\) \(Given"),
        (Adds(lambda x, y: torch.add(x, y, alpha=2)), "'add' in the forward of Adds adds with alp"),
        (Adds(lambda x, y: y + 1), "operation 'add' in the forward of Adds adds a constant"),
        (Adds(lambda x, y: y + torch.ones(2, 1, 1)), "'add' in the forward of Adds adds a constan"),
        (Adds(lambda x, y: y + y.mean(1, True)), "'mean' in the forward of Adds is a mean over"),
        (Adds(lambda x, y: y + y[:, :1]), "'slice' in the forward of Adds is not"),
        (
            Adds(lambda x, y: y + F.adaptive_avg_pool2d(y, 1)),
            r"adds tensors of shapes \(2, 12, 14\) and \(2, 1, 1\), which must be the same",
        ),
        (Adds(lambda x, y: y - x), "operation 'sub' in the forward of Adds reads not only what"),
        (
            Adds(lambda x, y: F.relu(y) + y),
            "'relu' in the forward of Adds follows a tensor that ot",
        ),
        (Adds(lambda x, y: x + F.pad(y, (1, 1, 1, 1))[:, :, 1:-1, 1:-1]), "Adds is not supported"),
        (Adds(changed_by_another_name), "'add' in the forward of Adds reads what was changed in p"),
        (Branches(), "the forward of Branches cannot be traced"),
        (Slices(), "operation 'slice' in the forward of Slices is not"),
        (Dropout(), "operation 'dropout' in the forward of Dropout is active in evaluation mode"),
        (Transposes(), "operation 'view' in the forward of Transposes must flatten all dimensions"),
        (TwoOutputs(), "TwoOutputs returns 2 tensors, but must return one"),
        (hooked(), r"'mul' in module '0' \(Conv2d\) is not supported"),
    ],
)
def test_refused_models(model, says):
    with pytest.raises(AccelError, match=says) as e:
        quantize(model, torch.rand(3, 2, 12, 14))
    assert str(e.value).isprintable() and not str(e.value).endswith(".")


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.zeros(3, 2, 12, 14, dtype=torch.uint8), r"must be float32 .* not uint8 \(3, 2, 12"),
        (torch.zeros(2, 12, 14), "must be float32 .* not float32"),
        (torch.zeros(0, 2, 12, 14), "must be float32"),
        (torch.full((3, 2, 12, 14), torch.nan), "must be finite"),
        (torch.zeros(3, 2, 9, 9), r"does not take calibration images of shape \(2, 9, 9\)"),
    ],
)
def test_wrong_calibration_images(images, says):
    model, _ = make("nested")
    with pytest.raises(AccelError, match=says):
        quantize(model, images)


def test_calibration_images_that_are_all_zero_are_no_crash():
    """Scales are then as small as they get; what is exact all the same is accepted."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 12 * 14, 3))
    network = quantize(model, torch.zeros(3, 2, 12, 14))
    images = random_images(np.random.default_rng(7), network, 5)
    assert_kernels_equal_integers(network, images)


def test_calibration_on_many_images_is_calibration_on_all_of_them():
    """An image in the last batch decides about the range."""
    model, images = make("nested")
    images[-1] *= 30
    for signed, per_channel in itertools.product((False, True), repeat=2):
        scales = [
            quantize(model, part, per_channel=per_channel, signed=signed).input.scale
            for part in (images[:-1], images)
        ]
        assert scales[1] > 2 * scales[0]


class Small(nn.Module):
    """In the manner of MobileNet and DS-CNN: depthwise and 1x1 convolutions, an average at the
    end."""

    def __init__(self) -> None:
        super().__init__()

        def separable(inputs: int, outputs: int, stride: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU6(),
                nn.Conv2d(inputs, outputs, 1),
                nn.ReLU(),
            )

        self.first = nn.Conv2d(2, 6, (5, 4), (2, 1), (2, 1))
        self.blocks = nn.Sequential(separable(6, 8, 1), separable(8, 10, 2))
        self.pool, self.last = nn.AdaptiveAvgPool2d(1), nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.pool(self.blocks(F.relu6(self.first(x)))).flatten(1))


COMPUTED = {
    "depthwise": Small,
    "one side more": lambda: nn.Conv2d(2, 4, (2, 3), padding="same"),
    "large kernel": lambda: nn.Conv2d(2, 4, (11, 9), (4, 3), (5, 2)),
    "groups": lambda: nn.Conv2d(2, 6, 3, groups=2),
    # As TensorFlow pads for stride 2
    "padded apart": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2, 3, 3, 2)),
    "maximum first": lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(2, 3, 3)),
    "maxima": lambda: after_conv(nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(3, 1, 1)),
    "not full": lambda: after_conv(nn.MaxPool2d((3, 5), (2, 3), (1, 2), ceil_mode=True)),
    "averages": lambda: after_conv(nn.Hardtanh(0, 0.5), nn.AvgPool2d(2), nn.AvgPool2d((1, 3), 1)),
    "pool only": lambda: nn.AvgPool2d(3, 2, 1),
}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", COMPUTED)
# PyTorch says that it copies the image.
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_models_of_all_operations(name: str, signed: bool) -> None:
    """The kernels, the integers and the accelerator agree, and all are close to the model."""
    torch.manual_seed(0)
    model, images = COMPUTED[name](), torch.rand(64, 2, 12, 14)
    network = quantize(model, images, signed=signed)
    q = quantized_images(network, images.numpy())
    assert_kernels_equal_integers(network, q)
    run = simulate(compile(network, base), q[:3], level="cl")
    np.testing.assert_array_equal(run.outputs, network.integers(q[:3])[-1])
    with torch.no_grad():
        expected = model.eval()(images).numpy()
    real = (network.integers(q)[-1] - network.output.zero_point) * network.output.scale
    assert np.sqrt(np.mean((real - expected) ** 2)) < 0.03 * np.ptp(expected)
