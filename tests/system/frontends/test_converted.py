"""Models that PyTorch has quantized: their networks yield what they yield, byte for byte."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.ao import quantization as tq
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx, prepare_qat_fx
from torch.nn import functional as F

import accel
from accel.errors import AccelError
from accel.hardware.config import tinyml
from accel.runtimes.qnnpack import quantizes_as_we_do

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = (3, 12, 10)


@pytest.fixture(autouse=True)
def _engine() -> Iterator[None]:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "qnnpack"
    torch.manual_seed(1)
    yield
    torch.backends.quantized.engine = before


class Mixed(nn.Module):
    """What a model of today has: batch norm, a depthwise layer, a sum, pools, ReLU6, a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = tq.QuantStub(), tq.DeQuantStub()
        self.first = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm, self.relu = nn.BatchNorm2d(16), nn.ReLU()
        self.depthwise = nn.Conv2d(16, 16, 3, stride=(1, 2), padding=(1, 0), groups=16)
        self.relu6 = nn.ReLU6()
        self.point, self.skip = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 1, stride=(1, 1))
        self.sum = torch.ao.nn.quantized.FloatFunctional() if self.EAGER else None
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.last = nn.Linear(8, 7)

    EAGER = False

    def forward(self, x):
        x = self.relu(self.norm(self.first(self.quant(x))))
        x = self.relu6(self.depthwise(x))
        a, b = self.point(x), self.skip(x)
        x = self.relu(self.sum.add(a, b) if self.EAGER else a + b)
        x = F.dropout(self.pool(x), training=self.training)
        x = F.adaptive_avg_pool2d(x, 1)
        x = self.last(torch.flatten(x, start_dim=1))
        return F.softmax(self.dequant(x), dim=1)


class Joins(nn.Module):
    """Branches that are joined, and the images with them."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(SHAPE[0], 5, 1), nn.Conv2d(SHAPE[0], 4, 3, padding=1)
        self.last = nn.Linear(9 + SHAPE[0], 6)

    def forward(self, x):
        x = torch.cat([F.relu(self.left(x)), x, self.right(x)], dim=1)
        return self.last(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class EagerJoins(nn.Module):
    """By the class that PyTorch has for it, to a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = tq.QuantStub(), tq.DeQuantStub()
        self.left, self.right = nn.Conv2d(SHAPE[0], 5, 1), nn.Conv2d(SHAPE[0], 4, 3, padding=1)
        self.join = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x):
        x = self.quant(x)
        return self.dequant(self.join.cat([self.left(x), self.right(x)], dim=1))


class Sequences(nn.Module):
    """Every operation of sequences that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv1d(2, 8, 5, stride=2, padding=2), nn.BatchNorm1d(8)
        self.depthwise = nn.Conv1d(8, 8, 3, padding=1, groups=8)
        self.pool, self.average = nn.MaxPool1d(3, 2, 1), nn.AvgPool1d(2)
        self.last = nn.Linear(8, 5)
        self.whole = nn.AdaptiveAvgPool1d(1)

    def forward(self, x):
        x = self.pool(F.relu(self.norm(self.stem(x))))
        x = self.average(x + self.depthwise(x))
        x = F.max_pool1d(x, 2, stride=1)
        return self.last(torch.flatten(self.whole(x), 1))


class Flat(nn.Module):
    def __init__(self, start_dim: int) -> None:
        super().__init__()
        self.start_dim = start_dim

    def forward(self, x):
        return torch.flatten(x, self.start_dim)


class MixedEager(Mixed):
    EAGER = True


def images(count: int = 20, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(count, *shape)


def by_fx(model: nn.Module, x: torch.Tensor) -> nn.Module:
    mapping = tq.get_default_qconfig_mapping("qnnpack")
    prepared = prepare_fx(model.eval(), mapping, (x,))
    prepared(x)
    return convert_fx(prepared)


def by_fx_per_channel(model: nn.Module, x: torch.Tensor) -> nn.Module:
    weights = tq.PerChannelMinMaxObserver.with_args(
        dtype=torch.qint8, qscheme=torch.per_channel_symmetric
    )
    qconfig = tq.QConfig(activation=tq.HistogramObserver, weight=weights)
    prepared = prepare_fx(model.eval(), tq.QConfigMapping().set_global(qconfig), (x,))
    prepared(x)
    return convert_fx(prepared)


def by_fx_training(model: nn.Module, x: torch.Tensor) -> nn.Module:
    mapping = tq.get_default_qat_qconfig_mapping("qnnpack")
    prepared = prepare_qat_fx(model.train(), mapping, (x,))
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.01)
    for _ in range(2):
        prepared(x).square().sum().backward()
        optimizer.step()
    return convert_fx(prepared.eval())


def eagerly(model: nn.Module, x: torch.Tensor) -> nn.Module:
    model = copy.deepcopy(model).eval()
    model.qconfig = tq.get_default_qconfig("qnnpack")
    if isinstance(model, Mixed):
        model = tq.fuse_modules(model, [["first", "norm", "relu"]])
        # The module that was fused is an identity, which the sum's is not.
        model.relu = nn.ReLU()
        # Its quantized module yields elements in another order, as its function does.
        model.relu6 = nn.ReLU()
    prepared = tq.prepare(model)
    prepared(x)
    return tq.convert(prepared)


WAYS: dict[str, tuple[type[nn.Module], Callable[[nn.Module, torch.Tensor], nn.Module]]] = {
    "convert_fx": (Mixed, by_fx),
    "convert_fx, a scale a channel": (Mixed, by_fx_per_channel),
    "convert_fx after training": (Mixed, by_fx_training),
    "convert": (MixedEager, eagerly),
    "convert_fx, joined": (Joins, by_fx),
    "convert, joined": (EagerJoins, eagerly),
}


def last_integers(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    """Of what the model dequantizes last."""
    found = []
    whole = torch.dequantize

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
            if function in (torch.Tensor.dequantize, whole) and args[0].is_quantized:
                found.append(args[0].int_repr().numpy())
            if function in (F.relu6, F.hardtanh, torch.clamp, torch.Tensor.clamp):
                # On QNNPACK they yield elements in another order where channels are innermost.
                args = args[0].contiguous(), *args[1:]
            return function(*args, **(kwargs or {}))

    with Spy(), torch.no_grad():
        model(x)
    return found[-1]


def same(network: accel.Network, model: nn.Module, x: torch.Tensor) -> None:
    """As a model and in PyTorch's kernels, in the arithmetic that the hardware has."""
    expected = last_integers(model, x)
    source = network.input
    quantized = torch.quantize_per_tensor(
        x, source.scale, source.zero_point, torch.qint8 if source.signed else torch.quint8
    )
    q = quantized.int_repr().numpy()
    for found in (network.integers(q)[-1], accel.run_network(network, q)[-1]):
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("way", WAYS)
def test_networks_are_their_models(way: str) -> None:
    kind, convert = WAYS[way]
    model = convert(kind(), images())
    if kind is EagerJoins and not quantizes_as_we_do():
        # Its parts have other scales.
        with pytest.raises(AccelError, match=r"or use PyTorch 2\.13"):
            accel.load(model, input_shape=SHAPE)
        return
    network = accel.load(model, input_shape=SHAPE)
    assert network.origin == "pytorch"
    same(network, model, 3 * images(200))
    x = 3 * images(3)
    run = accel.simulate(accel.compile(network, tinyml), x.numpy(), level="cl")
    np.testing.assert_array_equal(run.outputs, last_integers(model, x))


def test_modules_have_their_names_and_roundings() -> None:
    network = accel.load(by_fx(Mixed(), images()), SHAPE)
    names = [operation.name for operation in network.operations]
    assert names[:4] == ["first", "depthwise", "point", "skip"]
    assert names[-1] == "last" and network.name == "GraphModule"
    by_name = {operation.name: operation for operation in network.operations}
    assert by_name["first"].relu and by_name["depthwise"].smallest == 120
    assert by_name["pool"].padding == (1, 1, 2, 2)
    (note,) = network.notes
    assert note.startswith("PyTorch's kernel for module 'relu6' (ReLU6) yields elements in another")


@settings(max_examples=settings().max_examples // 4)
@given(data=st.data())
def test_any_convolution_pool_and_linear_layer(data: st.DataObject) -> None:
    draw = data.draw
    small = st.integers(1, 3)
    groups = draw(st.sampled_from([1, 2, 4]))
    kernel, stride = ((draw(small), draw(small)) for _ in range(2))
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    pool: Any = draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))
    # QNNPACK takes no window of one pixel.
    size = (draw(small), draw(st.integers(2, 3)))
    layers = [
        nn.Conv2d(4, 8, kernel, stride, padding, groups=groups, bias=draw(st.booleans())),
        draw(st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.Identity(), nn.Hardtanh(-0.3, 0.4)])),
        pool(size, draw(small)),
        Flat(1),
    ]
    shape = 4, draw(st.integers(8, 13)), draw(st.integers(8, 13))
    torch.manual_seed(draw(st.integers(0, 999)))
    model = nn.Sequential(*layers)
    model.append(nn.Linear(model(torch.zeros(1, *shape)).shape[1], 5))
    x = images(8, shape)
    convert = draw(st.sampled_from([by_fx, by_fx_per_channel]))
    converted = convert(model, x)
    same(accel.load(converted, shape), converted, 2 * images(8, shape))


def test_views_and_functions_however_they_are_written() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

        def forward(self, x):
            x = self.a(x).clamp(-0.5, 0.5).contiguous()
            x = F.max_pool2d(x, 2, stride=1)
            x = F.avg_pool2d(x, (2, 1))
            x = x.mean([2, 3], keepdim=True)
            x = x.squeeze(3).squeeze(2).reshape(x.size(0), -1)
            return (self.b(x),)

    class Unwrapped(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x)[0]

    converted = by_fx(Written(), images())
    same(accel.load(converted, SHAPE), Unwrapped(converted), images())


@pytest.mark.parametrize(
    ("limit", "function"),
    [
        (torch.relu, "relu"),
        (F.relu6, "relu6"),
        (lambda x: F.hardtanh(x, -0.3, 0.4), "hardtanh"),
        (lambda x: x.clamp(max=0.3), "hardtanh"),
    ],
)
def test_limits_of_real_numbers_are_looked_up(limit: Any, function: str) -> None:
    """FX leaves ``torch.relu`` between dequantizing and quantizing to another scale."""

    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 1)
            self.quant, self.again = tq.QuantStub(), tq.QuantStub()
            self.dequant = tq.DeQuantStub()

        def forward(self, x: torch.Tensor) -> Any:
            real = self.dequant(self.a(self.quant(x)))
            return self.dequant(self.b(self.again(limit(real))))

    model = Between().eval()
    model.qconfig = tq.get_default_qconfig("qnnpack")
    prepared = tq.prepare(model)
    prepared(images())
    network = accel.load(tq.convert(prepared), SHAPE)
    assert [getattr(op, "function", op.kind) for op in network.operations] == [
        "conv2d", function, "conv2d",
    ]  # fmt: skip
    same(network, tq.convert(prepared), images())


def one(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), layer)


POOLED = nn.MaxPool2d(2), nn.Flatten()
"""convert_fx gives what the second yields real numbers, and then a scale of its own."""


class Twice(nn.Module):
    def __init__(self, then: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.a, self.then = nn.Conv2d(3, 4, 3), then

    def forward(self, x):
        return self.then(self.a(x))


@pytest.mark.parametrize(
    ("model", "shape", "says"),
    [
        (one(nn.PReLU()), SHAPE, r"^module '1' \(PReLU\) is not supported"),
        (one(nn.AdaptiveAvgPool2d(2)), SHAPE, r"^module '1' \(AdaptiveAvgPool2d\) makes \(2, 2\)"),
        (one(nn.Conv2d(4, 4, 3, dilation=2)), SHAPE, r"'1' \(Conv2d\) has dilation \(2, 2\)"),
        (one(nn.Identity()), None, r"^GraphModule does not say which images .* input_shape=\.\.\."),
        (one(nn.Identity()), (3, "a"), r"^input_shape must be whole numbers such as \(3, 32, 32\)"),
        (one(nn.Identity()), (4, 9, 9), r"^GraphModule does not take images of shape \(4, 9, 9\)"),
        (Twice(lambda x: x.relu() + x), SHAPE, r"'relu' \(relu\w*\) limits what others read"),
        (Twice(lambda x: x.transpose(1, 2)), SHAPE, r"operation 'transpose' \(transpose\) is not"),
        (Twice(lambda x: (x, x)), SHAPE, r"^GraphModule must yield one tensor"),
        (one(nn.Sequential(Flat(2), nn.Linear(80, 5))), SHAPE, r"\(flatten\) makes \(2, 4, 80\)"),
    ],
)  # fmt: skip
def test_refusals(model: nn.Module, shape: Any, says: str) -> None:
    with pytest.raises(AccelError, match=says):
        accel.load(by_fx(model, images()), shape)


class SoftmaxBetween(nn.Module):
    """Of real numbers, which are quantized again."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.again, self.dequant = tq.QuantStub(), tq.QuantStub(), tq.DeQuantStub()
        self.a, self.b = nn.Conv2d(SHAPE[0], 4, 3), nn.Conv2d(4, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.softmax(self.dequant(self.a(self.quant(x))), 1)
        return self.dequant(self.b(self.again(x)))


def test_nothing_follows_a_softmax() -> None:
    model = eagerly(SoftmaxBetween(), images())
    with pytest.raises(AccelError, match="follows a softmax, which the host computes at the end"):
        accel.load(model, input_shape=SHAPE)


def test_other_engines_models_have_qnnpack_s_bytes() -> None:
    others = set(torch.backends.quantized.supported_engines) - {"none", "qnnpack"}
    if not others:
        pytest.skip("this PyTorch has no other engine")
    torch.backends.quantized.engine = min(others)
    model = by_fx(Mixed(), images())
    network = accel.load(model, SHAPE)
    assert torch.backends.quantized.engine == min(others)
    torch.backends.quantized.engine = "qnnpack"
    same(network, copy.deepcopy(model), 3 * images(100))


def test_float_models_made_to_be_converted_are_float_models() -> None:
    """With the modules that stand for sums, and the stubs at both ends."""
    network = accel.quantize(MixedEager(), images())
    assert "add" in [operation.name for operation in network.operations]
    with pytest.raises(AccelError, match=r"^MixedEager is a float model: accel\.quantize"):
        accel.load(MixedEager(), SHAPE)


def test_files_say_which_images_they_take() -> None:
    with pytest.raises(AccelError, match=r"^input_shape is for a PyTorch model: a file or a netw"):
        accel.load("model.onnx", SHAPE)


def test_float_models_are_for_quantize() -> None:
    with pytest.raises(AccelError, match=r"is a float model: accel\.quantize"):
        accel.load(one(nn.ReLU()), SHAPE)
    with pytest.raises(AccelError, match=r"is quantized already: accel\.load\(model, input_shape"):
        accel.quantize(by_fx(one(nn.ReLU()), images()), images())


@pytest.mark.parametrize("way", [by_fx, by_fx_per_channel, by_fx_training])
def test_sequences_are_maps_of_one_row(way: Any) -> None:
    """``accel.load`` compares every layer with what the model yields."""
    sequences = images(30, (2, 47))
    converted = way(Sequences(), sequences)
    network = accel.load(converted, input_shape=(2, 47))
    assert network.input.shape == (2, 1, 47)
    program = accel.compile(network, tinyml)
    x = program.quantize(sequences.numpy())
    found = accel.run_network(network, x)[-1]
    np.testing.assert_array_equal(found, network.integers(x)[-1])
    output = network.output
    real = (found.astype(np.float64) - output.zero_point) * output.scale
    np.testing.assert_allclose(real, converted(sequences).numpy(), rtol=1e-5)
