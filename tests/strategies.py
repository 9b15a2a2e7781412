"""What Hypothesis draws: tensors with many extremes, messages of the units, delays and stalls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import DX, LEAST_SHIFT, Loop
from accel.hardware.legality import MAX_SHIFT
from accel.hardware.messages import Acc, Beat, Ints, Operand, Param, Pooled, Step, Terms
from accel.network.graph import Network
from accel.numerics import wrap
from tests.networks import Conv, Linear, layer_output_shape, random_network


def more_examples(factor: int) -> settings:
    """For tests that are fast: draws ``factor`` times the examples that the profile says."""
    return settings(max_examples=factor * settings().max_examples)


def bytes_as_ints(count: int) -> st.SearchStrategy[Ints]:
    """int64 (count,) in [0, 255]: anything, only the ends, only zeros, or all the same end.

    One draw of raw bytes is far faster than one draw a number, and shrinks just as well.
    """
    anything = st.binary(min_size=count, max_size=count).map(
        lambda raw: np.frombuffer(raw, dtype=np.uint8).astype(np.int64)
    )
    return st.one_of(
        anything,
        anything.map(lambda values: (values >> 7) * 255),
        st.sampled_from([0, 255]).map(lambda value: np.full(count, value, dtype=np.int64)),
    )


def int8s(*shape: int) -> st.SearchStrategy[Ints]:
    """int64 of that shape, in [-128, 127], often all zero or all extreme."""
    values = bytes_as_ints(int(np.prod(shape))).map(lambda v: v.reshape(shape) - 128)
    return st.one_of(values, st.just(np.zeros(shape, dtype=np.int64)))


def activations(*shape: int) -> st.SearchStrategy[Ints]:
    """int64 of that shape: signed, in [-128, 127], or unsigned, in [0, 255]."""
    return st.one_of(
        int8s(*shape), bytes_as_ints(int(np.prod(shape))).map(lambda v: v.reshape(shape))
    )


def ends_and_between(low: int, high: int, *special: int) -> st.SearchStrategy[int]:
    """Integers of a range, its ends and special ones often."""
    return st.one_of(st.sampled_from([*special, low, high]), st.integers(low, high))


def accumulators(cfg: AccelConfig, count: int) -> st.SearchStrategy[Ints]:
    """int64 (count,), as wide as accumulators are: both ends, zero, small ones and any others."""
    half = 1 << (cfg.acc_nbits - 1)
    # Around 2**24 the conversion to float32 starts to round.
    near_24_bits = [v for v in ((1 << 24) - 1, (1 << 24) + 1, -(1 << 24) - 3) if -half <= v < half]
    one = st.one_of(st.integers(-300, 300), ends_and_between(-half, half - 1, 0, -1, *near_24_bits))
    return st.lists(one, min_size=count, max_size=count).map(lambda v: np.array(v, dtype=np.int64))


def waits(count: int) -> st.SearchStrategy[list[int]]:
    """Delays before messages, or stalls of them: none, all the same, or any."""
    return st.one_of(
        st.just([0] * count),
        st.integers(1, 3).map(lambda n: [n] * count),
        st.lists(st.sampled_from([0, 0, 0, 1, 2, 7]), min_size=count, max_size=count),
    )


def delayed(messages: Sequence[Any]) -> st.SearchStrategy[list[tuple[Any, int]]]:
    """The messages, each with a delay before it."""
    return waits(len(messages)).map(lambda delays: list(zip(messages, delays, strict=True)))


@st.composite
def steps(draw: st.DrawFn, cfg: AccelConfig, max_steps: int = 14) -> list[Step]:
    """Steps of any accumulations; an entry of the scratchpad is loaded before it is used."""
    loaded: set[int] = set()
    found = []
    any_activations = draw(st.booleans())
    for i in range(draw(st.integers(1, max_steps))):
        idx = draw(st.integers(0, cfg.spad_depth - 1))
        load = idx not in loaded or draw(st.booleans())
        keep = load and draw(st.booleans())
        if keep:
            loaded.add(idx)
        first = i == 0 or (found[-1].last and draw(st.booleans()))
        last, pool_first, pool_last = (draw(st.booleans()) for _ in range(3))
        # Without load the array must not look at the weights that come with the step.
        w = draw(int8s(cfg.num_cols, TAPS))
        shape = cfg.operand_sets, TAPS
        x = draw(activations(*shape) if any_activations else st.just(np.full(shape, -128)))
        if draw(st.booleans()):
            # Zeros here and there: what is gated must not change the others.
            x = np.where(draw(bytes_as_ints(x.size)).reshape(shape) & 1, x, 0)
        found.append(Step(x, w, idx, *map(int, (load, keep, first, last, pool_first, pool_last))))
    return found


@st.composite
def pooling_windows(draw: st.DrawFn, cfg: AccelConfig, max_windows: int = 6) -> list[Acc]:
    """Accumulators of whole pooling windows of one to five pixels."""
    found = []
    for _ in range(draw(st.integers(1, max_windows))):
        size = draw(st.integers(1, 5))
        for i in range(size):
            acc = draw(accumulators(cfg, cfg.num_cols))
            found.append(Acc(acc, int(i == 0), int(i == size - 1)))
    return found


def multipliers() -> st.SearchStrategy[int]:
    """Bits of a positive normal float32: powers of two and their neighbours often, exponents
    mostly such that an accumulator lands near the range of an activation."""
    exponent = st.one_of(st.integers(96, 130), st.integers(1, 254))
    fraction = ends_and_between(0, (1 << 23) - 1, 1, (1 << 23) - 2, 1 << 22)
    return st.builds(lambda e, f: e << 23 | f, exponent, fraction)


@st.composite
def multipliers_near_ties(draw: st.DrawFn, acc: int) -> int:
    """Bits of a float32 that makes nearly an integer and a half of ``acc``: here every rounding
    on the way may decide."""
    target = (draw(st.integers(0, 260)) + 0.5) / max(1, abs(acc))
    return int(np.float32(target).view(np.uint32)) + draw(st.integers(-2, 2))


@st.composite
def params(draw: st.DrawFn, cfg: AccelConfig, columns: Ints, last: bool) -> Param:
    """What requantizes these columns, as many as there are lanes."""
    bias, multiplier = [], []
    for acc in columns.tolist():
        small = st.integers(-300, 300)
        int32 = ends_and_between(-(1 << 31), (1 << 31) - 1, 0)
        bias.append(draw(st.one_of(st.just(0), small, int32)))
        biased = int(wrap(acc + bias[-1], cfg.acc_nbits))
        multiplier.append(draw(st.one_of(multipliers_near_ties(biased), multipliers())))
    low = draw(st.sampled_from([0, -128]))
    zero_point = draw(ends_and_between(low, low + 255))
    lo, hi = low, low + 255
    if draw(st.booleans()):
        lo, hi = sorted([draw(ends_and_between(low, low + 255)) for _ in range(2)])
    arrays = np.array(multiplier, dtype=np.int64), np.array(bias, dtype=np.int64)
    message = Param(*arrays, zero_point, lo, hi, int(last))
    flag = st.integers(0, 1)
    if cfg.adder:
        message = message._replace(ties_away=draw(flag), ends_layer=draw(flag) * int(last))
    if cfg.tables:
        table, signed = draw(st.integers(0, cfg.tables - 1)), draw(flag) * cfg.adder
        message = message._replace(looks_up=draw(flag), table_index=table, table_signed=signed)
    return message


@st.composite
def requantizations(
    draw: st.DrawFn, cfg: AccelConfig, max_vectors: int = 4
) -> tuple[list[Pooled], list[Param]]:
    """Vectors, and their beats: mostly as many as cover all columns, else fewer or one more."""
    vectors, beats = [], []
    for _ in range(draw(st.integers(1, max_vectors))):
        acc = draw(accumulators(cfg, cfg.num_cols))
        vectors.append(Pooled(acc))
        count = cfg.num_beats
        if draw(st.integers(0, 3)) == 3:
            count = draw(st.integers(1, cfg.num_beats + 1))
        columns = np.append(acc, np.zeros(cfg.num_lanes, dtype=np.int64)).reshape(-1, cfg.num_lanes)
        beats += [draw(params(cfg, columns[i], i == count - 1)) for i in range(count)]
    return vectors, beats


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    """Of a layer: those of scales that runtimes have, where sums are often at ties, or any."""
    low = draw(st.sampled_from([0, -128]))
    zero_point = draw(ends_and_between(low, low + 255))
    lo, hi = low, low + 255
    if draw(st.booleans()):
        lo, hi = sorted([draw(ends_and_between(low, low + 255)) for _ in range(2)])
    shift = draw(ends_and_between(LEAST_SHIFT, MAX_SHIFT))
    most = (1 << 23) - 1
    if draw(st.booleans()):
        # Few bits: sums are at ties often.
        ma, mb = ((1 << shift - 2) * draw(st.integers(0, 7)) for _ in range(2))
        multipliers = min(ma, most), min(mb, most)
        constant = -sum(m * draw(st.integers(low, low + 255)) for m in multipliers)
    else:
        multipliers = draw(ends_and_between(0, most)), draw(ends_and_between(0, most))
        constant = draw(ends_and_between(-(1 << 31), (1 << 31) - 1, 0))
    constant = int(np.clip(constant, -(1 << 31), (1 << 31) - 1))
    flags = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    return Terms(*multipliers, shift, *flags, constant, zero_point, lo, hi)


@st.composite
def sums(
    draw: st.DrawFn, cfg: AccelConfig, max_vectors: int = 4
) -> tuple[list[Terms], list[Operand], list[Beat]]:
    """Layers for the adder, and what is added in those that add: vectors of all columns or
    fewer."""
    layers, operands, beats = draw(st.lists(terms(), min_size=1, max_size=3)), [], []
    for layer in layers:
        count = draw(st.integers(1, cfg.num_beats))
        for _ in range(draw(st.integers(1, max_vectors // len(layers) or 1))):
            if layer.pops:
                operands.append(Operand(draw(activations(cfg.num_cols))))
            y = draw(activations(count, cfg.num_lanes))
            beats += [Beat(beat, int(i == count - 1), 0) for i, beat in enumerate(y)]
        beats[-1] = beats[-1]._replace(ends_layer=1)
    return layers, operands, beats


@st.composite
def nests(
    draw: st.DrawFn, num_loops: int, most: int = 40, furthest: int = DX.maximum
) -> tuple[Loop, ...]:
    """Nested loops, innermost first, of at most so many iterations; strides of any sign, rows and
    columns up to ``furthest``."""
    further = st.integers(0, furthest)
    found = []
    for _ in range(num_loops):
        count = draw(st.integers(1, max(1, min(4, most))))
        most //= count
        stride = draw(ends_and_between(-60, 200, 0, 1, 8, 9))
        found.append(Loop(count, stride, draw(further), draw(further)))
    # Any of them may be the one that has iterations.
    return tuple(draw(st.permutations(found)))


@st.composite
def networks(draw: st.DrawFn, max_size: int = 9, max_layers: int = 3) -> Network:
    """Whole networks: convolutions, then linear layers, of any kind that the compiler takes."""
    size = st.integers(1, max_size)
    shape = (draw(st.integers(1, 12)), draw(size), draw(size))
    specs: list[Conv | Linear] = []
    at = shape
    for _ in range(draw(st.integers(0, max_layers))):
        padding = draw(st.integers(0, 2))
        longest = [min(5, side + 2 * padding) for side in at[1:]]
        kernel = draw(st.integers(1, longest[0])), draw(st.integers(1, longest[1]))
        stride = draw(st.integers(1, 2))
        channels = draw(st.integers(1, 12))
        sides = layer_output_shape(at, (channels, at[0], *kernel), stride, padding)[1:]
        pool = min(sides) >= 2 and draw(st.booleans())
        specs.append(Conv(channels, kernel, stride, padding, draw(st.booleans()), pool))
        at = layer_output_shape(at, (channels, at[0], *kernel), stride, padding, pool)
    for _ in range(draw(st.integers(0 if specs else 1, max_layers - len(specs) or 1))):
        specs.append(Linear(draw(st.integers(1, 20)), draw(st.booleans())))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    options = {"per_channel": draw(st.booleans()), "signed": draw(st.booleans())}
    return random_network(rng, shape, specs, **options)


def network_images(network: Network, count: int) -> st.SearchStrategy[Ints]:
    """int64 (count, *input shape) in the input's range: anything, or only its ends."""
    low, _ = network.input.limits
    shape = (count, *network.input.shape)
    return bytes_as_ints(int(np.prod(shape))).map(lambda values: values.reshape(shape) + low)
