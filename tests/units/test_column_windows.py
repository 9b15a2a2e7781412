"""The column windows, at all levels."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.hardware.config import TAPS, AccelConfig, base
from accel.hardware.messages import Ints, Pixel, Step
from cl_models.column_windows import ColumnWindowsCL
from fl_models.column_windows import ColumnWindowsFL
from rtl_models.column_windows import ColumnWindowsRTL
from tests.harness import HarnessError, Simulators, run
from tests.strategies import activations, delayed, int8s, more_examples, waits

LEVELS = {"fl": ColumnWindowsFL, "cl": ColumnWindowsCL, "rtl": ColumnWindowsRTL}


def config(num_cols: int, line_width: int, pixel_groups: int = 1) -> AccelConfig:
    return dataclasses.replace(
        base, num_cols=num_cols, num_lanes=1, pixel_groups=pixel_groups, line_width=line_width
    )


# The first two are those that --test-verilog builds.
CONFIGS = [config(4, 5, 2), config(9, 8), config(1, 2), config(8, 64), config(12, 7, 4)]


class Raster(NamedTuple):
    """Maps of a layer, and which of their windows are used."""

    pixels: Ints
    """(groups of channels, height, width, pixel groups, 9)"""
    step: tuple[int, int]
    """Rows and columns from one window that is used to the next."""
    skip: tuple[int, int, int, int]
    """Whether those on the first row, last row, first column, last column are not used."""
    pad_value: int

    @property
    def used(self) -> np.ndarray:
        """(height, width)"""
        top, bottom, left, right = self.skip
        height, width = self.pixels.shape[1:3]
        y, x = np.arange(height), np.arange(width)
        rows = ((y - top) % self.step[0] == 0) & (y >= top) & (y < height - bottom)
        columns = ((x - left) % self.step[1] == 0) & (x >= left) & (x < width - right)
        return rows[:, None] & columns

    def messages(self, cfg: AccelConfig, seed: int = 0) -> list[Pixel]:
        """One for each pixel, and for each of a row and a pixel more, which bring nothing. seed: of
        the weights that come with them."""
        rng = np.random.default_rng(seed)
        groups, height, width = self.pixels.shape[:3]
        behind = width + 1
        count = groups * height * width + behind
        found = []
        for at in range(count):
            x = np.zeros(self.pixels.shape[3:], np.int64)
            if at < groups * height * width:
                x = self.pixels.reshape(-1, *self.pixels.shape[3:])[at]
            row, column = divmod((at - behind) % (height * width), width)
            edges = (row == 0, row == height - 1, column == 0, column == width - 1)
            used = at >= behind and self.used[row, column]
            flags = [int(flag) for flag in (used, used, 1, 1, 1, 1)]
            found.append(
                Pixel(
                    x, rng.integers(-128, 128, (cfg.num_cols, TAPS)), 0, *flags, windows=1,
                    row_end=int(at % width == width - 1 or at == count - 1),
                    used=int(used), edges=sum(edge << i for i, edge in enumerate(edges)),
                    pad_value=self.pad_value,
                )
            )  # fmt: skip
        return found

    def windows(self, cfg: AccelConfig) -> list[Ints]:
        """Of each that is used, (num_cols, 9)."""
        found = []
        for group in self.pixels:
            maps = group[..., : cfg.group_cols].reshape(*group.shape[:2], -1)
            around = ((1, 1), (1, 1), (0, 0))
            padded = np.pad(maps, around, constant_values=self.pad_value)
            for y, x in np.argwhere(self.used):
                window = padded[y : y + 3, x : x + 3]
                found.append(window.reshape(TAPS, -1).T)
        return found


@st.composite
def rasters(draw: st.DrawFn, cfg: AccelConfig) -> Raster:
    """Of any width that the line buffers hold, from 2 on; narrow ones and low ones often."""
    width = draw(st.sampled_from([2, 3, cfg.line_width]) | st.integers(2, cfg.line_width))
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 4)), min(width, cfg.line_width)
    signed = draw(st.booleans())
    raw = draw(activations(*shape, cfg.pixel_groups, TAPS))
    return Raster(
        np.clip(raw, *((-128, 127) if signed else (0, 255))),
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        tuple(draw(st.integers(0, 1)) for _ in range(4)),  # type: ignore[arg-type]
        draw(st.integers(-128, 127) if signed else st.integers(0, 255)),
    )


def used_steps(pixels: list[Pixel], windows: list[Ints]) -> list[Step]:
    """What the array gets of pixels, given the activations of those that are used."""
    used = [pixel for pixel in pixels if pixel.used]
    return [
        Step(window, *pixel[1 : len(Step._fields)])
        for pixel, window in zip(used, windows, strict=True)
    ]


@st.composite
def streams(draw: st.DrawFn, cfg: AccelConfig) -> tuple[list[Pixel], list[Step]]:
    """Layers with and without windows in any order, and what follows from them."""
    pixels: list[Pixel] = []
    expected: list[Step] = []
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            raster = draw(rasters(cfg))
            found = raster.messages(cfg, draw(st.integers(0, 1 << 32)))
            windows = raster.windows(cfg)
        else:
            found = draw(st.lists(plain(cfg), max_size=4))
            windows = [np.repeat(pixel.x, cfg.group_cols, axis=0) for pixel in found]
        pixels += found
        expected += used_steps(found, windows)
    return pixels, expected


@st.composite
def plain(draw: st.DrawFn, cfg: AccelConfig) -> Pixel:
    """Of a layer without windows: edges and ends of rows mean nothing."""
    flags = [draw(st.integers(0, 1)) for _ in range(6)]
    return Pixel(
        draw(activations(cfg.pixel_groups, TAPS)), draw(int8s(cfg.num_cols, TAPS)),
        draw(st.integers(0, cfg.spad_depth - 1)), *flags, windows=0,
        row_end=draw(st.integers(0, 1)), used=1, edges=draw(st.integers(0, 15)),
        pad_value=draw(st.integers(-128, 255)),
    )  # fmt: skip


def chosen(simulators: Simulators, data: st.DataObject) -> AccelConfig:
    return data.draw(st.sampled_from(CONFIGS[:2] if simulators.verilated else CONFIGS))


@pytest.mark.parametrize("level", LEVELS)
@more_examples(2)
@given(data=st.data())
def test_random(simulators: Simulators, level: str, data: st.DataObject) -> None:
    cfg = chosen(simulators, data)
    pixels, steps = data.draw(streams(cfg))
    inputs, stalls = {"pixel": data.draw(delayed(pixels))}, {"step": data.draw(waits(len(steps)))}
    run(simulators(LEVELS[level], cfg), inputs, {"step": steps}, stalls)


@more_examples(2)
@given(data=st.data())
def test_timing(simulators: Simulators, data: st.DataObject) -> None:
    """CL and RTL agree on the cycle of every transfer."""
    cfg = chosen(simulators, data)
    pixels, steps = data.draw(streams(cfg))
    inputs, stalls = {"pixel": data.draw(delayed(pixels))}, {"step": data.draw(waits(len(steps)))}
    cl, rtl = (
        run(simulators(LEVELS[level], cfg), inputs, {"step": steps}, stalls)
        for level in ("cl", "rtl")
    )
    assert cl.timing == rtl.timing


def ramp(cfg: AccelConfig, height: int, width: int) -> Raster:
    """Every pixel of every channel differs from its neighbours."""
    shape = 2, height, width, cfg.pixel_groups, TAPS
    pixels = np.arange(np.prod(shape)).reshape(shape) * 37 % 256
    return Raster(pixels, (1, 1), (0, 0, 0, 0), 99)


@pytest.mark.parametrize("height", [1, 2, 3])
@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("level", LEVELS)
def test_small_maps(simulators: Simulators, level: str, width: int, height: int) -> None:
    """Those in which most of a window lies outside, one after another without a gap."""
    cfg = CONFIGS[0]
    raster = ramp(cfg, height, width)
    pixels = raster.messages(cfg)
    steps = used_steps(pixels, raster.windows(cfg))
    run(simulators(LEVELS[level], cfg), {"pixel": [(p, 0) for p in pixels]}, {"step": steps})


@pytest.mark.parametrize("level", ["cl", "rtl"])
def test_latency_and_throughput(simulators: Simulators, level: str) -> None:
    """A window a cycle, a cycle after the pixel that completes it."""
    cfg = CONFIGS[0]
    raster = ramp(cfg, 4, 5)
    pixels = raster.messages(cfg)
    steps = used_steps(pixels, raster.windows(cfg))
    inputs = {"pixel": [(p, 0) for p in pixels]}
    timing = run(simulators(LEVELS[level], cfg), inputs, {"step": steps}).timing
    assert timing["pixel"] == list(range(40 + 6))
    assert timing["step"] == list(range(7, 40 + 7))


@pytest.mark.parametrize("level", LEVELS)
def test_reset_in_a_row(simulators: Simulators, level: str) -> None:
    """Each run begins with a reset; after it a row begins, wherever an earlier run ended."""
    cfg = CONFIGS[0]
    raster = ramp(cfg, 3, 4)
    pixels = raster.messages(cfg)
    steps = used_steps(pixels, raster.windows(cfg))
    sim = simulators(LEVELS[level], cfg)
    with pytest.raises(HarnessError, match="after its last message"):
        run(sim, {"pixel": [(p, 0) for p in pixels[:7]]}, {"step": []})
    run(sim, {"pixel": [(p, 0) for p in pixels]}, {"step": steps})
