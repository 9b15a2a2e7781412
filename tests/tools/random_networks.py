"""Random networks on random small accelerators, through all levels that are fast: what the compiler
takes is computed exactly, and what it refuses is too large indeed.

``python -m tests.tools.random_networks 'CASE'`` runs the case that a failing test prints.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from accel.compiler.compile import compile
from accel.compiler.refusal import DoesNotFitError
from accel.hardware.config import AccelConfig, base, tiny
from accel.hardware.messages import Ints
from accel.network.graph import Network
from accel.operations import MaxPool2d
from accel.runtimes.qnnpack import run_network
from accel.simulation.runner import simulate
from tests.networks import Conv, Linear, layer_output_shape, random_network

NUM_IMAGES = 3

CONFIGS = {
    "narrow": AccelConfig(
        num_cols=2, num_lanes=1, acc_nbits=24, spad_depth=2, act_depth=128, weight_depth=200,
        param_depth=40, max_layers=5,
    ),
    "groups": AccelConfig(
        num_cols=8, pixel_groups=2, num_lanes=2, acc_nbits=25, spad_depth=8, act_depth=128,
        weight_depth=160, param_depth=40, max_layers=5, tables=2,
    ),
    "tiny": dataclasses.replace(tiny, act_depth=256),
    "squares": AccelConfig(
        num_cols=4, pixel_groups=4, num_lanes=1, acc_nbits=26, spad_depth=4, act_depth=64,
        weight_depth=250, param_depth=100, max_layers=5, zero_gating=False,
    ),
    "lanes": dataclasses.replace(
        base, num_lanes=8, act_depth=128, weight_depth=150, param_depth=16,
        packed_multipliers=True,
    ),
    "one": AccelConfig(
        num_cols=1, num_lanes=1, spad_depth=1, act_depth=256, weight_depth=1000, param_depth=60,
        max_layers=5,
    ),
    "adder": AccelConfig(
        num_cols=12, pixel_groups=2, num_lanes=2, acc_nbits=28, spad_depth=8, act_depth=256,
        weight_depth=160, param_depth=80, max_layers=8, adder=True, tables=4,
    ),
}  # fmt: skip
"""Small, so that what fills their memories is soon drawn; each field has several values."""


@dataclass(frozen=True)
class Case:
    """All that a run depends on; few numbers, so that it can be typed in again."""

    config: str
    shape: tuple[int, ...]
    layers: tuple[Conv | Linear, ...]
    per_channel: bool
    signed: bool
    weights: str
    zero_points: str
    images: str
    """``any`` values, only the ``ends``, or all the ``lowest``."""
    seed: int
    """Of weights, biases, scales, zero points and images."""
    pauses: int
    """Seed of the pauses at the streams; 0 for none."""

    def __str__(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def parse(cls, text: str) -> Case:
        fields = json.loads(text)
        layers = fields["layers"]
        fields["layers"] = tuple(Linear(*x) if len(x) == 2 else _conv(*x) for x in layers)
        return cls(**fields | {"shape": tuple(fields["shape"])})

    @property
    def cfg(self) -> AccelConfig:
        return CONFIGS[self.config]

    @property
    def network(self) -> Network:
        return random_network(
            np.random.default_rng(self.seed),
            self.shape,
            list(self.layers),
            per_channel=self.per_channel,
            signed=self.signed,
            weights=self.weights,
            zero_points=self.zero_points,
        )

    def quantized_images(self, network: Network) -> Ints:
        low, high = network.input.limits
        shape = NUM_IMAGES, *network.input.shape
        images = np.random.default_rng(self.seed + 1).integers(low, high + 1, shape)
        if self.images == "ends":
            return np.where(images - low < 128, low, high)
        return np.full(shape, low) if self.images == "lowest" else images


def _conv(channels: int, kernel: list[int], *rest: Any) -> Conv:
    return Conv(channels, (kernel[0], kernel[1]), *rest)


@st.composite
def cases(draw: st.DrawFn, config: str) -> Case:
    """Cases for that configuration, few layers first."""
    size = st.integers(1, 12)
    shape: tuple[int, ...] = (draw(st.integers(1, 12)), draw(size), draw(size))
    layers: list[Conv | Linear] = []
    at = shape
    for _ in range(draw(st.integers(0, 4))):
        padding = draw(st.integers(0, 3))
        longest = [min(5, side + 2 * padding) for side in at[1:]]
        kernel = draw(st.integers(1, longest[0])), draw(st.integers(1, longest[1]))
        stride, channels = draw(st.integers(1, 2)), draw(st.integers(1, 14))
        relu, pool = draw(st.booleans()), draw(st.booleans())
        weight_shape = (channels, at[0], *kernel)
        pool = pool and min(layer_output_shape(at, weight_shape, stride, padding)[1:]) >= 2
        layers.append(Conv(channels, kernel, stride, padding, relu, pool))
        at = layer_output_shape(at, weight_shape, stride, padding, pool)
    if not layers and draw(st.booleans()):
        shape = (draw(st.integers(1, 40)),)
    for _ in range(draw(st.integers(0 if layers else 1, 2))):
        layers.append(Linear(draw(st.integers(1, 24)), draw(st.booleans())))
    return Case(
        config=config,
        shape=shape,
        layers=tuple(layers),
        per_channel=draw(st.booleans()),
        signed=draw(st.booleans()),
        weights=draw(st.sampled_from(["any", "ends", "zero", "lowest"])),
        zero_points=draw(st.sampled_from(["any", "lowest", "highest"])),
        images=draw(st.sampled_from(["any", "ends", "lowest"])),
        seed=draw(st.integers(0, 2**32 - 1)),
        pauses=draw(st.one_of(st.just(0), st.integers(1, 2**64 - 1))),
    )


def check(case: Case) -> str:
    """Runs a case at levels fl, cl and verilator, and says what was done with it: ``run``, or the
    limit for which it was refused. Raises AssertionError where anything differs."""
    network, cfg = case.network, case.cfg
    too_much = excess(network, cfg)
    try:
        program = compile(network, cfg)
    except DoesNotFitError as e:
        return confirm_refusal(e, network, cfg, too_much)
    assert not too_much, f"it was taken, but does not fit: {too_much}"

    images = case.quantized_images(network)
    expected = run_network(network, images)[-1].astype(np.int64)
    # The first largest, in the order in which outputs come.
    order = np.argsort(program.output_bytes)
    winners = order[expected.reshape(NUM_IMAGES, -1)[:, order].argmax(axis=1)]
    runs = {
        level: simulate(program, images, level=level, jobs=1, pauses=case.pauses)
        for level in ("fl", "cl", "verilator")
    }
    for level, run in runs.items():
        np.testing.assert_array_equal(run.outputs, expected, f"outputs of {level}")
        np.testing.assert_array_equal(run.winners, winners, f"winning classes of {level}")
        np.testing.assert_array_equal(run.traffic, runs["fl"].traffic, f"traffic of {level}")
    ((cl,), (verilator,)) = runs["cl"].chunks, runs["verilator"].chunks
    for name, mine, theirs in zip(cl._fields, cl, verilator, strict=True):
        np.testing.assert_array_equal(mine, theirs, f"{name} of cl and verilator")
    return "run"


def excess(network: Network, cfg: AccelConfig) -> dict[str, list[tuple[str, int]]]:
    """What a network has too much of for a configuration, by the limit: (layer, need) for each
    layer with which it is too much.

    Counted out, one thing after another, from what docs/architecture.md says; nothing here comes
    from the compiler.
    """
    found: dict[str, list[tuple[str, int]]] = {}

    def need(limit: str, layer: str, amount: int, most: int) -> None:
        if amount > most:
            found.setdefault(limit, []).append((layer, amount))

    need("max_layers", network.name, len(network.layers), cfg.max_layers)
    weight_words = param_words = 0
    for layer in network.layers:
        pool = network.readers[layer.output.name]
        pool = next((op for op in pool if isinstance(op, MaxPool2d)), None)
        after = pool.output if pool else layer.output
        largest = max(abs(x) for x in layer.input.limits)
        for weight, bias in zip(layer.weight.tolist(), layer.folded_bias.tolist(), strict=True):
            flat = np.array(weight).ravel().tolist()
            bound = sum(abs(w) for w in flat) * largest + abs(bias)
            need("acc_nbits", layer.name, bound, 2 ** (cfg.acc_nbits - 1) - 1)
        steps, groups = _steps_and_groups(layer, pool is not None, after.shape, cfg)
        weight_words += groups * steps
        param_words += groups * cfg.num_cols // cfg.num_lanes
        need("weight_depth", layer.name, weight_words, cfg.weight_depth)
        need("param_depth", layer.name, param_words, cfg.param_depth)

    # After which layer the next image loads: the first with which all fits, or else takes least.
    ways = [_rows_of_layers(network, after) for after in range(len(network.layers))]
    most = [max(rows for _, rows in way) for way in ways]
    fits = [way for way, rows in zip(ways, most, strict=True) if rows <= cfg.act_depth]
    for layer_name, rows in (fits or [ways[most.index(min(most))]])[0]:
        need("act_depth", layer_name, rows, cfg.act_depth)
    return found


def _rows_of_layers(network: Network, freed_by: int) -> list[tuple[str, int]]:
    """The image's last row and that of each layer's output, when the next image loads after layer
    ``freed_by``."""
    image = range(_rows(network.input.shape))
    live, found = image, [("image", image.stop)]
    for i, layer in enumerate(network.layers[:-1]):
        (reader,) = network.readers[layer.output.name]
        rows = _rows((reader if isinstance(reader, MaxPool2d) else layer).output.shape)
        # The lowest place that is free of the layer's own input, and of the image's, unless it is
        # written after the first layer and has been read when the next one loads.
        taken = set(live) | (set() if 0 < i < freed_by else set(image))
        at = 0
        while set(range(at, at + rows)) & taken:
            at += 1
        live = range(at, at + rows)
        found.append((layer.name, live.stop))
    return found


def _steps_and_groups(
    layer: Any, pool: bool, after: tuple[int, ...], cfg: AccelConfig
) -> tuple[int, int]:
    """Steps of one output, and groups of output channels. after: the shape after pooling."""
    shape = layer.weight.shape
    if len(shape) == 2:
        shape = (shape[0], *layer.input.shape, 1, 1)[:4]
    outputs, *inner = shape
    taps = [(c, y, x) for c in range(inner[0]) for y in range(inner[1]) for x in range(inner[2])]
    windows = {(c, y // 3, x // 3) for c, y, x in taps}
    channels = {(c // 9, y, x) for c, y, x in taps}
    steps = min(len(windows), len(channels))
    # Neighbouring pixels at once, where that takes fewer cycles.
    height, width = (*after, 1, 1)[1:3]
    ways = [(1, 1)] + {1: [], 2: [(1, 2), (2, 1)], 4: [(2, 2)]}[cfg.pixel_groups]
    costs = []
    for rows, columns in ways:
        vectors = len({(y // rows, x // columns) for y in range(height) for x in range(width)})
        groups = math.ceil(outputs / (cfg.num_cols // (rows * columns)))
        each = max(steps * (4 if pool else 1), cfg.num_cols // cfg.num_lanes)
        costs.append((groups * vectors * each, groups))
    least = min(cost for cost, _ in costs)
    return steps, next(groups for cost, groups in costs if cost == least)


def _rows(shape: tuple[int, ...]) -> int:
    """Rows of nine bytes that a tensor takes: the place of its last byte, counted out."""
    channels, height, width = (*shape, 1, 1)[:3]
    row = next(n for n in range(width, width + 9) if n % 9 == 3)
    used = (height - 1) * row + width
    channel = next(n for n in range(used, used + 9) if n % 9 == 1)
    return len(range(0, (channels - 1) * channel + used, 9))


def confirm_refusal(
    error: DoesNotFitError,
    network: Network,
    cfg: AccelConfig,
    too_much: dict[str, list[tuple[str, int]]],
) -> str:
    """The first limit that a refusal names; all that it says must be so, and nothing be left out.
    With what it says would do, that limit is none any more."""
    assert {refusal.limit for refusal in error.refusals} == too_much.keys(), error
    for refusal in error.refusals:
        limit, need, room = refusal.limit, refusal.needed, refusal.room
        assert (refusal.layer, need) in too_much[limit], f"refused ({error}), but needs {too_much}"
        allowed = getattr(cfg, limit)
        assert room == (2 ** (allowed - 1) - 1 if limit == "acc_nbits" else allowed), error
        for part in (f"{limit} = {allowed}", str(need), str(need - room), f"'{refusal.layer}'"):
            assert part in refusal.sentence.replace("the image", "'image'"), error
    for field, value in error.would_do.items():
        assert f"{field} = {value}" in str(error), error
    if error.would_do.keys() == too_much.keys():
        compile(network, dataclasses.replace(cfg, **error.would_do))
    return error.refusals[0].limit


def replay(case: Case) -> str:
    return f".venv/bin/python -m tests.tools.random_networks '{case}'"


def summary(counts: Counter[str]) -> str:
    refused = {name: n for name, n in sorted(counts.items()) if name != "run"}
    reasons = ", ".join(f"{n} by {name}" for name, n in refused.items()) or "none"
    return (
        f"{counts.total():,} random networks: {counts['run']:,} through Verilated RTL, equal to "
        f"PyTorch, fl and cl; {sum(refused.values()):,} refused for a confirmed reason ({reasons})"
    )


if __name__ == "__main__":
    for text in sys.argv[1:]:
        print(check(Case.parse(text)))
