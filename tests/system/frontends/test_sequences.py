"""Float models with Conv1d: their networks have maps of one row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import accel
from accel.errors import AccelError

CONFIG = {"preset": "tiny", "adder": True, "tables": 1}


class Model(nn.Module):
    """Every operation of sequences that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, 8, 5, stride=2, padding=2)
        self.norm = nn.BatchNorm1d(8)
        self.depthwise = nn.Conv1d(8, 8, 3, padding="same", groups=8)
        self.point, self.head = nn.Conv1d(8, 8, 1), nn.Linear(8, 4)
        self.pool = nn.AvgPool1d(2)
        self.norm.running_mean += 0.1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.point(F.silu(self.depthwise(x)))
        x = self.pool(F.max_pool1d(x, 3, 2, 1))
        x = self.depthwise(F.pad(x, (2, 0)))
        return self.head(F.adaptive_avg_pool1d(x, 1).flatten(1))


class Map(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool1d(F.relu(self.conv(x)), 3, 2, ceil_mode=True)


class Mean(Map):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv(x)).mean(-1)


@pytest.mark.parametrize("kind", [Model, Map, Mean])
def test_all_levels_equal_the_kernels(kind: type) -> None:
    torch.manual_seed(1)
    model, sequences = kind().eval(), torch.randn(48, 2, 23)
    network = accel.quantize(model, sequences)
    assert network.input.shape == (2, 1, 23)
    program = accel.compile(network, CONFIG)
    taken = sequences[:3].numpy()
    expected = accel.run_network(network, program.quantize(taken))[-1]
    for level in ("fl", "cl"):
        run = accel.simulate(program, taken, level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs, expected, level)
    # As maps they are the same.
    run = accel.simulate(program, taken[:, :, None], level="fl", jobs=1)
    np.testing.assert_array_equal(run.outputs, expected)
    real = model(sequences[:3]).detach().numpy().reshape(expected.shape)
    output = network.output
    off = np.abs((expected.astype(int) - output.zero_point) * output.scale - real).max()
    assert off < 0.05 * np.abs(real).max()


def test_any_form_of_sequences() -> None:
    torch.manual_seed(1)
    model, sequences = Map().eval(), torch.randn(8, 2, 23)
    exported = torch.export.export(model, (sequences[:2],))
    forms: list[Any] = [
        list(sequences), [(s, 0) for s in sequences], torch.utils.data.DataLoader(sequences, 4),
    ]  # fmt: skip
    of_tensor = accel.quantize(model, sequences)
    for given in forms:
        for source in (model, exported):
            network = accel.quantize(source, given)
            assert network.operations[0].output == of_tensor.operations[0].output


@pytest.mark.parametrize(
    ("model", "shape", "says"),
    [
        (Map(), (8, 2, 1, 23), r"\(N, channels, length\) for Conv1d, not float32 \(8, 2, 1"),
        (Map(), (8, 3, 23), "does not take calibration images of shape"),
        (nn.Sequential(nn.Conv1d(2, 3, 3, dilation=2)), (8, 2, 23), r"dilation \(1, 2\)"),
        (nn.Sequential(nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular")), (8, 2, 23),
         "by mode 'circular'"),
        (nn.Sequential(nn.ConvTranspose1d(2, 3, 3), nn.Conv1d(3, 3, 3)), (8, 2, 23),
         r"module '0' \(ConvTranspose1d\) is not supported"),
    ],
)  # fmt: skip
def test_refusals(model: nn.Module, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(AccelError, match=says):
        accel.quantize(model.eval(), torch.randn(*shape))
