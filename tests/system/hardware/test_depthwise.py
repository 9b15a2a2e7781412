"""Depthwise convolutions by column windows: all levels equal PyTorch's kernels, and CL and RTL are
equal in every cycle."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.compiler.compile import compile
from accel.compiler.convolution import Convolution
from accel.compiler.fuse import fuse
from accel.compiler.mapping import map_layer
from accel.hardware.config import AccelConfig, base
from accel.hardware.status import Activity
from accel.network.graph import Network
from accel.operations import AvgPool2d, MaxPool2d, Operation
from accel.operations.window import window_count
from accel.simulation.runner import simulate
from tests.harness import Simulators
from tests.networks import compile_if_it_fits, random_images
from tests.strategies import network_images, waits
from tests.system.hardware.test_accelerator import drive, reference
from tests.system.hardware.test_operations import assert_levels_equal_the_kernels, conv2d, tensor

SIZES = {"act_depth": 256, "weight_depth": 64, "param_depth": 64, "max_layers": 6}
# The first one is that which --test-verilog builds.
CONFIGS = [
    AccelConfig(
        num_cols=4, pixel_groups=2, num_lanes=2, acc_nbits=26, spad_depth=2, line_width=8, **SIZES
    ),
    AccelConfig(num_cols=8, num_lanes=8, line_width=10, zero_gating=False, **SIZES),
    AccelConfig(num_cols=9, num_lanes=1, spad_depth=4, line_width=7, **SIZES),
    AccelConfig(num_cols=8, pixel_groups=4, num_lanes=1, spad_depth=1, line_width=9, **SIZES),
    AccelConfig(num_cols=1, num_lanes=1, spad_depth=1, line_width=6, **SIZES),
]


@st.composite
def depthwise_networks(draw: st.DrawFn, most: int = 3) -> Network:
    """Depthwise convolutions and averages of 3x3 in a row, with convolutions of one pixel between;
    narrow and low maps often, strides and padding of their own in each direction and side."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signed, side = draw(st.booleans()), st.sampled_from([1, 2, 3, 4, 5, 7])
    shape = draw(st.integers(1, 12)), draw(side), draw(side)
    x = tensor("input", shape, 2.0 ** -draw(st.integers(0, 7)), signed, rng)
    operations: list[Operation] = []
    for i in range(draw(st.integers(1, most))):
        padding = tuple(draw(st.integers(0, 1)) for _ in range(4))
        rows, columns = (n + padding[j] + padding[j + 2] for j, n in enumerate(x.shape[1:]))
        window: Any = {
            "stride": (draw(st.integers(1, 2)), draw(st.integers(1, 2))), "padding": padding,
        }  # fmt: skip
        kind = draw(st.sampled_from(["depthwise", "depthwise", "average", "1x1"]))
        if kind == "1x1" or min(rows, columns) < 3:
            window = {"stride": (1, 1), "padding": (0, 0, 0, 0)}
            made: Any = conv2d(
                f"1x1 {i}", x, draw(st.integers(1, 9)), 1, (1, 1), window, True, False, rng
            )
        elif kind == "average":
            count = window_count(x.shape, (3, 3), **window)
            output = dataclasses.replace(x, name=f"average {i}", shape=(x.shape[0], *count))
            made = AvgPool2d(name=output.name, size=(3, 3), input=x, output=output, **window)
        else:
            channels, relu = x.shape[0], draw(st.booleans())
            made = conv2d(f"dw {i}", x, channels, channels, (3, 3), window, relu, True, rng)
        operations.append(made)
        x = made.output
    return Network(name="depthwise", operations=tuple(operations))


@given(network=depthwise_networks(), cfg=st.sampled_from(CONFIGS))
def test_functional_and_cycle_level(network: Network, cfg: AccelConfig) -> None:
    assert_levels_equal_the_kernels(network, cfg, ("fl", "cl"))


@given(network=depthwise_networks())
def test_verilated(network: Network) -> None:
    assert_levels_equal_the_kernels(network, CONFIGS[0], ("fl", "cl", "verilator"))


@settings(max_examples=settings().max_examples // 2)
@given(data=st.data())
def test_rtl_in_every_cycle(simulators: Simulators, data: st.DataObject) -> None:
    """With pauses before the words of images and stalls of the results."""
    network = data.draw(depthwise_networks(2))
    program = compile_if_it_fits(network, CONFIGS[0])
    if program is not None:
        images = data.draw(network_images(network, 2))
        outputs = reference(network, images)
        delays, stalls = data.draw(waits(5)), data.draw(waits(program.result_words))
        cl, rtl = (
            drive(simulators, level, program, images, outputs, delays, stalls)
            for level in ("cl", "rtl")
        )
        assert cl.timing == rtl.timing
        assert cl.watched == rtl.watched


def layer(
    size: tuple[int, int] = (3, 3), outputs: int = 16, *, pooled: bool = False, **window: Any
) -> Convolution:
    """A grouped convolution over 16 maps of 10 x 12."""
    rng = np.random.default_rng(1)
    window = {"stride": (1, 1), "padding": (1, 1, 1, 1)} | window
    x = tensor("input", (16, 10, 12), 0.5, False, rng)
    operation = conv2d("dw", x, outputs, 16, size, window, False, False, rng)
    operations: list[Operation] = [operation]
    if pooled:
        y = operation.output
        halved = dataclasses.replace(y, name="pool", shape=(16, y.shape[1] // 2, y.shape[2] // 2))
        operations.append(MaxPool2d(name="pool", input=y, output=halved))
    return fuse(Network(name="n", operations=tuple(operations)))[0]


WINDOWS = dataclasses.replace(base, num_lanes=8, line_width=12)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 2)])
def test_a_step_for_each_pixel_of_a_group_of_channels(stride: tuple[int, int]) -> None:
    found = map_layer(layer(stride=stride), WINDOWS)
    assert found.column_windows
    assert found.steps == 2 * 10 * 12 + 12 + 1
    assert found.weight_words == 2


@pytest.mark.parametrize(
    ("cfg", "options"),
    [
        (dataclasses.replace(WINDOWS, line_width=11), {}),
        (base, {}),
        (WINDOWS, {"size": (3, 2)}),
        (WINDOWS, {"outputs": 32}),
        (WINDOWS, {"padding": (2, 1, 1, 1)}),
        (WINDOWS, {"stride": (3, 1)}),
        (WINDOWS, {"pooled": True}),
        # Two lanes need four cycles a vector, and one column two times as long for all channels.
        (dataclasses.replace(WINDOWS, num_cols=2, num_lanes=1), {"stride": (2, 2)}),
    ],
)
def test_all_others_are_mapped_as_they_were(cfg: AccelConfig, options: dict[str, Any]) -> None:
    assert not map_layer(layer(**options), cfg).column_windows


def test_the_next_vector_comes_in_every_cycle() -> None:
    """With a lane a column: no cycle is lost but to the hand-over."""
    rng = np.random.default_rng(3)
    cfg = dataclasses.replace(WINDOWS, weight_depth=64)
    x = tensor("input", (16, 12, 12), 0.5, False, rng)
    window = {"stride": (1, 1), "padding": (1, 1, 1, 1)}
    first = conv2d("first", x, 16, 16, (3, 3), window, True, False, rng)
    second = conv2d("second", first.output, 16, 16, (3, 3), window, True, False, rng)
    network = Network(name="n", operations=(first, second))
    program = compile(network, cfg)
    assert program.steps == 2 * (2 * 144 + 13)
    run = simulate(program, random_images(rng, network, 1), level="cl", jobs=1)
    assert run.spent is not None
    # A cycle for the hand-over, and no other.
    assert run.spent[0, Activity.STEP : Activity.MEMORY].sum() == program.layers[0].steps + 1
