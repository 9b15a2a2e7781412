"""Steps and cycles of MobileNetV1 0.25's depthwise layers (96 x 96 images), by the cycle-level
model, with and without column windows: ``python -m benchmarks.depthwise`` prints the table of
``docs/architecture.md``."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from accel.compiler.compile import compile
from accel.hardware.config import AccelConfig, base
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Conv2d
from accel.simulation.runner import simulate

LAYERS = (
    (48, 8, 1, 1), (48, 16, 2, 1), (24, 32, 1, 1), (24, 32, 2, 1), (12, 64, 1, 1), (12, 64, 2, 1),
    (6, 128, 1, 5), (6, 128, 2, 1), (3, 256, 1, 1),
)  # fmt: skip
"""Rows and columns of the map, channels, stride, and how many of these there are."""

SIZES: dict[str, Any] = {
    "num_lanes": 8,
    "act_depth": 8192,
    "weight_depth": 4096,
    "param_depth": 512,
}
WINDOWS = dataclasses.replace(base, line_width=64, **SIZES)
BROADCAST = dataclasses.replace(base, **SIZES)


def network(size: int, channels: int, stride: int) -> Network:
    """One layer, padded as TensorFlow does: for stride 2 below and at the right only."""
    rng = np.random.default_rng(0)

    def tensor(name: str, side: int) -> Tensor:
        shape = (channels, side, side)
        return Tensor(name=name, shape=shape, scale=0.5, zero_point=128, signed=False)

    padding = (1, 1, 1, 1) if stride == 1 else (0, 0, 1, 1)
    layer = Conv2d(
        name="depthwise",
        weight=rng.integers(-127, 128, (channels, 1, 3, 3)).astype(np.int8),
        weight_scale=np.full(channels, 0.01, np.float32),
        bias=np.zeros(channels, np.float32),
        stride=(stride, stride),
        padding=padding,
        groups=channels,
        relu=True,
        input=tensor("input", size),
        output=tensor("output", size // stride),
    )
    return Network(name="depthwise", operations=(layer,))


def measure(layer: Network, cfg: AccelConfig) -> tuple[int, int]:
    """Steps, and cycles that the issue stage spends on them."""
    program = compile(layer, cfg)
    images = np.random.default_rng(1).integers(0, 256, (1, *layer.input.shape))
    run = simulate(program, images, level="cl", jobs=1)
    assert run.mismatches(layer.integers(images)[-1]) == 0 and run.spent is not None
    busy = run.spent[0, 1:6].sum()  # steps, hand-over, fill, drain, requantizer
    return program.steps, int(busy)


def main() -> None:
    print("| map | channels | stride | layers | steps | cycles | steps without | cycles without |")
    print("|---|---|---|---|---|---|---|---|")
    totals = np.zeros(4, int)
    for size, channels, stride, count in LAYERS:
        layer = network(size, channels, stride)
        figures = np.array([*measure(layer, WINDOWS), *measure(layer, BROADCAST)])
        totals += count * figures
        numbers = " | ".join(f"{n:,}" for n in figures)
        print(f"| {size} x {size} | {channels} | {stride} | {count} | {numbers} |")
    print(f"| **all** | | | 13 | {' | '.join(f'{n:,}' for n in totals)} |")


if __name__ == "__main__":
    main()
