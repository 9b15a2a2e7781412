"""The compiler: what it refuses, and the rules that its layouts keep."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.compiler.compile import compile
from accel.compiler.fuse import fuse
from accel.compiler.layout import Layout
from accel.compiler.mapping import map_layer
from accel.compiler.placement import place
from accel.compiler.refusal import DoesNotFitError
from accel.errors import AccelError
from accel.hardware.config import TAPS, AccelConfig, base
from accel.hardware.descriptors import InputDescriptor, LayerDescriptor, Loop
from accel.hardware.packets import Packet, packets
from accel.hardware.status import Activity
from accel.hardware.walk import offsets
from accel.network.graph import Network
from accel.operations import MaxPool2d, Operation
from accel.simulation.runner import simulate
from tests.networks import Conv, Linear, compile_if_it_fits, random_images, random_network
from tests.strategies import networks


def network(*specs, shape=(1, 8, 8), **options):
    return random_network(np.random.default_rng(0), shape, list(specs), **options)


def smaller(**fields: int) -> AccelConfig:
    return dataclasses.replace(base, **fields)


@pytest.mark.parametrize(
    ("specs", "cfg", "message"),
    [
        (
            [Linear(4), Linear(4), Linear(4)],
            smaller(max_layers=2),
            r"network 'random' has 3 layers, 1 more than max_layers = 2",
        ),
        (
            [Conv(3, (3, 3)), Linear(100)],
            smaller(weight_depth=100),
            r"layer 'layer1' does not fit: .* needs 157 words, 57 more than weight_depth = 100",
        ),
        (
            [Linear(4), Linear(70)],
            smaller(param_depth=36),
            r"layer 'layer1' does not fit: .* needs 40 words, 4 more than param_depth = 36",
        ),
        (
            [Conv(20, (3, 3), padding=1), Linear(4)],
            smaller(act_depth=128),
            r"layer 'layer0' does not fit: .* needs \d+ rows, \d+ more than act_depth = 128",
        ),
        (
            [Linear(4)],
            smaller(acc_nbits=20),
            r"layer 'layer0': an accumulator of output channel \d can reach \d+, \d+ more than "
            r"acc_nbits = 20 holds; acc_nbits = 2\d would do",
        ),
        (
            [Conv(2, (3, 3), stride=9, padding=2), Linear(4)],
            base,
            None,
        ),
        (
            [Conv(2, (3, 3), stride=32, padding=15, pool=True), Linear(4)],
            base,
            r"layer 'layer0': stride, times that of pooling, is 64, 1 more than the 63",
        ),
        (
            [Conv(2, (3, 3), padding=17), Linear(4)],
            base,
            r"layer 'layer0': padding is 17, 2 more than the 15",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(specs, cfg, message) -> None:
    if message is None:
        compile(network(*specs), cfg)
    else:
        with pytest.raises(AccelError, match=message):
            compile(network(*specs), cfg)


def test_all_that_does_not_fit_is_said_at_once_and_what_would_do() -> None:
    large = network(Conv(20, (3, 3), padding=1), Linear(30), shape=(3, 12, 12))
    cfg = smaller(act_depth=64, weight_depth=100, param_depth=16, max_layers=1, acc_nbits=20)
    with pytest.raises(DoesNotFitError) as e:
        compile(large, cfg)
    limits = {refusal.limit for refusal in e.value.refusals}
    assert limits == {"max_layers", "acc_nbits", "act_depth", "weight_depth", "param_depth"}
    assert e.value.would_do.keys() == limits
    said = " and ".join(f"{field} = {value}" for field, value in e.value.would_do.items())
    assert str(e.value).endswith(f"; {said} would do")
    fitting = dataclasses.replace(cfg, **e.value.would_do)
    compile(large, fitting)
    # And no smaller value does.
    for field, value in e.value.would_do.items():
        less = value // 2 if field == "act_depth" else value - 1
        with pytest.raises(DoesNotFitError) as e:
            compile(large, dataclasses.replace(fitting, **{field: less}))
        assert [refusal.limit for refusal in e.value.refusals] == [field] * len(e.value.refusals)


def test_a_maximum_joins_the_convolution_before_it_where_no_pixel_is_in_two_windows() -> None:
    conv, pool, linear = network(Conv(3, (3, 3), padding=1, pool=True), Linear(2)).operations
    assert isinstance(pool, MaxPool2d)

    def names(*operations: Operation) -> list[str]:
        return [layer.name for layer in fuse(Network(name="n", operations=operations))]

    assert names(conv, pool, linear) == ["layer0", "layer1"]
    shape = (3, 7, 7)
    overlapping = dataclasses.replace(
        pool, stride=(1, 1), output=dataclasses.replace(pool.output, shape=shape)
    )
    assert names(conv, overlapping) == ["layer0", "layer0.pool"]
    again = dataclasses.replace(
        pool, name="again", input=pool.output,
        output=dataclasses.replace(pool.output, name="again", shape=(3, 2, 2)),
    )  # fmt: skip
    assert names(conv, pool, again) == ["layer0", "again"]


def test_a_tensor_keeps_its_place_until_its_last_reader() -> None:
    """Layers 1 and 3 read what layer 0 yields: in between nothing is put in its place."""
    a, b, c, d = fuse(network(*[Conv(4, (3, 3), padding=1)] * 4, shape=(4, 8, 8)))
    d = dataclasses.replace(d, source=a.target)
    placement = place([map_layer(layer, base) for layer in (a, b, c, d)], base.act_depth)
    image, first, second, third = placement.tensors.values()
    assert (first.written_by, first.last_read_by) == (0, 3)
    rows = [set(range(p.first_row, p.end_row)) for p in (image, first, second, third)]
    assert not any(x & y for x, y in itertools.combinations(rows, 2))


def test_more_outputs_than_the_winner_is_found_among_are_refused() -> None:
    with pytest.raises(DoesNotFitError) as e:
        compile(network(Conv(1, (1, 1)), shape=(1, 300, 300)), base)
    (refusal,) = (r for r in e.value.refusals if r.limit == "outputs of the last layer")
    assert (refusal.needed, refusal.room) == (90_000, 65_536)
    assert "layer 'layer0' has 90000 outputs, 24464 more than the 65536" in str(e.value)


def test_large_maps_are_refused_by_name() -> None:
    with pytest.raises(AccelError, match=r"layer 'layer0': input width is 600, 89 more than"):
        compile(network(Conv(2, (1, 1)), shape=(1, 1, 600)), base)


@given(channels=st.integers(1, 20), height=st.integers(1, 20), width=st.integers(1, 20))
def test_no_two_taps_share_a_bank(channels: int, height: int, width: int) -> None:
    """Elements have bytes of their own, and whatever is read or written in one cycle has nine
    banks, tap t in the t-th bank after the first."""
    shape = Layout(channels, height, width)
    c, y, x = np.meshgrid(*(np.arange(n) for n in (channels, height, width)), indexing="ij")
    byte = c * shape.channel_stride + y * shape.row_stride + x
    assert len(np.unique(byte)) == byte.size
    assert byte.max() < shape.num_bytes <= shape.num_rows * TAPS
    window = np.arange(3)[:, None] * shape.row_stride + np.arange(3)
    assert (window.ravel() % TAPS == np.arange(TAPS)).all()
    assert (np.arange(TAPS) * shape.channel_stride % TAPS == np.arange(TAPS)).all()


@given(data=st.data())
def test_descriptors_survive_encoding(data: st.DataObject) -> None:
    program = compile_if_it_fits(data.draw(networks()), base)
    if program is None:
        return
    kinds = []
    for kind, _, _, body in packets(program.words, base):
        if kind == Packet.LAYER:
            assert LayerDescriptor.decode(body).encode() == body
        if kind == Packet.INPUT:
            assert InputDescriptor.decode(body).encode() == body
        kinds.append(kind)
    layer = [Packet.LAYER, Packet.WEIGHTS, Packet.PARAMS]
    assert kinds == layer * len(program.layers) + [Packet.INPUT, Packet.RUN]


def test_offsets_visit_the_innermost_loop_first() -> None:
    loops = (Loop(3, 1), Loop(2, 10), Loop(1, 500), Loop(2, 100))
    assert offsets(loops).tolist() == [0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112]


@pytest.mark.parametrize("spad_depth", [1, 4, 16])
def test_scratchpads_save_weight_reads(spad_depth: int) -> None:
    """A convolution of four steps an output reads them once an image, if they fit."""
    conv = network(Conv(3, (3, 3)), shape=(4, 6, 6))
    program = compile(conv, smaller(spad_depth=spad_depth))
    (layer,) = program.layers
    assert layer.steps == 4 * 16
    assert layer.weight_words == (4 if spad_depth >= 4 else 64)


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_cols", 4), ("num_lanes", 1), ("spad_depth", 1), ("acc_nbits", 25), ("act_depth", 64)],
)
def test_outputs_do_not_depend_on_the_configuration(field: str, value: int) -> None:
    rng = np.random.default_rng(4)
    some = network(Conv(10, (3, 3), pool=True), Linear(12), shape=(2, 7, 7), signed=True)
    images = random_images(rng, some, 3)
    runs = [
        simulate(compile(some, cfg), images, level="cl", jobs=1)
        for cfg in (base, smaller(**{field: value}))
    ]
    np.testing.assert_array_equal(runs[0].outputs, runs[1].outputs)
    if field in ("num_cols", "num_lanes"):
        assert runs[0].cycles_per_image < runs[1].cycles_per_image


def test_a_layer_waits_only_for_what_it_reads() -> None:
    """A convolution starts while the layer before drains; a small linear layer has to wait."""
    rng = np.random.default_rng(6)
    deep = network(
        Conv(8, (3, 3), padding=1), Conv(8, (3, 3)), Linear(9), Linear(5), shape=(1, 9, 9)
    )
    run = simulate(compile(deep, base), random_images(rng, deep, 3), level="cl", jobs=1)
    assert run.spent is not None
    waits = run.spent[:, Activity.DRAIN]
    assert waits[0] == waits[1] == 0
    assert waits[3] > 0


@pytest.mark.parametrize(
    ("spec", "groups", "tile"),
    [
        # Half of the columns would be idle with one pixel at a time.
        (Conv(4, (3, 3), padding=1), 2, (1, 2)),
        # Odd in width, even in height: pairs one above the other waste none.
        (Conv(4, (3, 2), padding=1), 2, (2, 1)),
        (Conv(2, (3, 3), padding=1), 4, (2, 2)),
        # All columns have an output channel of their own.
        (Conv(8, (3, 3), padding=1), 2, (1, 1)),
        # One pixel only
        (Linear(3), 2, (1, 1)),
        (Conv(4, (3, 3), padding=1), 1, (1, 1)),
    ],
)
def test_pixels_at_once(spec: Conv | Linear, groups: int, tile: tuple[int, int]) -> None:
    cfg = dataclasses.replace(base, pixel_groups=groups)
    (layer,) = fuse(network(spec))
    assert map_layer(layer, cfg).tile == tile


def test_a_maximum_keeps_the_stride_of_the_one_before() -> None:
    """Windows of one pixel, every other one: what follows is taken of those only."""
    x = network(Conv(3, (3, 3), padding=1)).output
    thinned = dataclasses.replace(x, name="thinned", shape=(3, 4, 4))
    largest = dataclasses.replace(x, name="largest", shape=(3, 2, 2))
    pools = (
        MaxPool2d(name="thinned", size=(1, 1), stride=(2, 2), input=x, output=thinned),
        MaxPool2d(name="largest", input=thinned, output=largest),
    )
    both = Network(name="pools", operations=pools)
    images = random_images(np.random.default_rng(0), both, 3)
    run = simulate(compile(both, base), images, level="fl", jobs=1)
    np.testing.assert_array_equal(run.outputs, both.integers(images)[-1])
