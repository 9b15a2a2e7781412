"""Models and calibration images as people write them: the same network, or one fitting sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from accel.errors import AccelError
from accel.frontends.calibration import calibration_images
from accel.frontends.pytorch import quantize

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))


class Written(nn.Module):
    """A convolution, its maximum with zero, and a linear layer, as ``forward`` writes them."""

    def __init__(self, forward) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.fc = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(192, 4)
        self._forward = forward

    def forward(self, x, scale=1):
        return self._forward(self, x)


def numbers(model, images=IMAGES) -> list[np.ndarray]:
    network = quantize(model, images)
    return [part for layer in network.layers for part in (layer.weight, layer.bias)]


WRITTEN = {
    "keyword": lambda s, x: s.fc(torch.flatten(F.relu(s.conv(x)), start_dim=1)),
    "from behind": lambda s, x: s.fc(s.conv(x).relu().flatten(-3)),
    "in place": lambda s, x: s.fc(s.conv(x).relu_().view(len(x), -1).contiguous()),
    "clamp": lambda s, x: s.fc(s.conv(x).clamp(min=0).reshape(x.shape[0], 3 * 64)),
    "functions": lambda s, x: F.linear(
        F.relu(F.conv2d(x, s.conv.weight, s.conv.bias, padding="same")).flatten(1),
        s.fc.weight,
        s.fc.bias,
    ),
    "softmax": lambda s, x: F.log_softmax(s.fc(F.relu(s.conv(x)).flatten(1)), dim=1),
    "tuple": lambda s, x: (s.fc(F.relu(s.conv(x)).flatten(1)),),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_however_it_is_written(name) -> None:
    plain = Written(lambda s, x: s.fc(torch.flatten(F.relu(s.conv(x)), 1)))
    for found, expected in zip(numbers(Written(WRITTEN[name])), numbers(plain), strict=True):
        np.testing.assert_array_equal(found, expected)


POOLED = {
    "own size": (lambda x: F.adaptive_avg_pool2d(x, 8), lambda x: x),
    "divided": (lambda x: F.adaptive_avg_pool2d(x, (4, 2)), lambda x: F.avg_pool2d(x, (2, 4))),
    "mean": (lambda x: x.mean([2, 3]), lambda x: F.avg_pool2d(x, 8)),
    "mean, kept": (lambda x: x.mean((-1, -2), keepdim=True), lambda x: F.avg_pool2d(x, 8)),
}
"""Ways to write a pool, and the plain one."""


@pytest.mark.parametrize("name", POOLED)
def test_averages_however_they_are_written(name) -> None:
    networks = []
    for pool in POOLED[name]:
        model = Written(lambda s, x, pool=pool: s.fc(pool(F.relu(s.conv(x))).flatten(1)))
        model.fc = nn.Linear(POOLED[name][1](torch.zeros(1, 3, 8, 8)).numel(), 4)
        torch.manual_seed(3)
        nn.init.normal_(model.fc.weight)
        nn.init.zeros_(model.fc.bias)
        networks.append(quantize(model, IMAGES))
    written, plain = networks
    x = np.arange(64).reshape(1, 1, 8, 8) * 3
    assert len(written.operations) == len(plain.operations)
    for found, expected in zip(written.integers(x), plain.integers(x), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrappers_are_looked_through() -> None:
    model = Written(WRITTEN["keyword"]).eval()
    exported = torch.export.export(model, (IMAGES,))
    for wrapped in (nn.DataParallel(model), torch.compile(model), exported):
        for found, expected in zip(numbers(wrapped), numbers(model), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"weight": 1}, "a dict is no model: .* load a state_dict into the model"),
        ("model.pt", "'model.pt' is a path"),
        ([nn.Flatten()], r"a list is no model: .*Sequential\(\*layers\)"),
        (nn.Flatten, "Flatten is a class"),
        (None, "None is no model"),
        (nn.Linear(3, 4, device="meta"), "Linear is on the meta device, so weight has no values"),
    ],
)
def test_what_is_no_model(model, says) -> None:
    with pytest.raises(AccelError, match=says):
        quantize(model, IMAGES)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("tensor", ["weight", "bias"])
def test_values_that_are_not_finite(tensor, value) -> None:
    model = Written(WRITTEN["keyword"])
    getattr(model.conv, tensor).data.view(-1)[0] = value
    with pytest.raises(AccelError, match=rf"'conv' \(Conv2d\) has a {tensor} that is not finite"):
        quantize(model, IMAGES)


def test_a_huge_image_is_warned_of() -> None:
    images = IMAGES.clone()
    images[0, 0, 0, 0] = 1e30
    with pytest.warns(UserWarning, match="has little to do with its model"):
        quantize(Written(WRITTEN["keyword"]), images)


LABELS = torch.zeros(12, dtype=torch.long)
FORMS = {
    "loader": DataLoader(TensorDataset(IMAGES, LABELS), batch_size=5),
    "dataset": TensorDataset(IMAGES, LABELS),
    "list": list(IMAGES),
    "batch": (IMAGES, LABELS),
    "flipped": np.flip(np.flip(IMAGES.numpy(), 3).copy(), 3),
    "other byte order": IMAGES.numpy().astype(">f4"),
    "double": IMAGES.double(),
    "sparse": IMAGES.to_sparse(),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_calibration_images(name) -> None:
    found = calibration_images(FORMS[name])
    assert found.dtype == torch.float32 and torch.equal(found, IMAGES)


@pytest.mark.parametrize("data", [None, "images", 3, {"images": IMAGES}, [None], [], iter("ab")])
def test_what_are_no_calibration_images(data) -> None:
    with pytest.raises(AccelError, match="calibration images must be"):
        calibration_images(data)
