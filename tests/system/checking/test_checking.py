"""The check of programs: it accepts what the compiler makes, and finds what a faulty one would."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from typer.testing import CliRunner

import accel.checking
from accel import cli
from accel.checking.certificate import Certificate
from accel.checking.check import check
from accel.checking.definition import define
from accel.checking.fault import MiscompiledError
from accel.checking.sums import Exactly, Part, WithResidues
from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.errors import AccelError
from accel.hardware.config import AccelConfig, base, tiny, wide
from accel.hardware.descriptors import FIELDS, INPUT_FIELDS
from accel.hardware.packets import MULTIPLIER, Packet, header
from accel.network.graph import Network
from accel.simulation.runner import simulate
from tests.networks import Conv, Linear, compile_if_it_fits, random_images, random_network
from tests.strategies import more_examples, networks
from tests.system.checking import planted
from tests.system.checking.planted import (
    changed,
    compiled,
    get,
    image_changed,
    moved,
    place,
    placed_over,
    put,
    source,
    swapped,
    weights_of,
    with_bias,
    with_words,
    without,
    word_changed,
)
from tests.system.hardware.test_operations import ROOMY, chains
from tests.tools.random_networks import CONFIGS as SMALL


@st.composite
def cases(draw: st.DrawFn) -> tuple[Program, Any]:
    """A program that is fast to simulate, and its network."""
    network = draw(networks(max_size=6) | chains(most=3))
    program = compile_if_it_fits(network, draw(st.sampled_from([*ROOMY, *SMALL.values()])))
    assume(program is not None and program.steps < 2000)
    return program, network


def is_accepted(network: Any, program: Program) -> bool:
    try:
        check(network, program)
    except MiscompiledError:
        return False
    return True


# What it accepts


@more_examples(2)
@given(network=networks() | chains(), cfg=st.sampled_from([*ROOMY, tiny, *SMALL.values()]))
def test_what_the_compiler_makes_is_accepted(network: Any, cfg: AccelConfig) -> None:
    program = compile_if_it_fits(network, cfg)
    if program is None:
        return
    found = check(network, program)
    # A pool of its own adds up products with ones, which are not counted as such elsewhere.
    if all(layer.macs for layer in program.layers):
        assert found.products == program.macs
    assert found.largest_accumulator <= program.max_accumulator
    assert found.act_rows <= program.act_rows
    assert (found.weight_words, found.param_words) == (program.weight_words, program.param_words)


def test_the_certificate_counts() -> None:
    network = random_network(
        np.random.default_rng(1), (2, 6, 6), [Conv(3, (3, 3), padding=1, pool=True), Linear(4)]
    )
    program = compile(network, base)
    found = check(network, program, 7)
    assert found == dataclasses.replace(
        Certificate(
            network="random",
            configuration=str(base),
            layers=2,
            words=len(program.words),
            products=3 * 36 * 2 * 9 + 27 * 4,
            accumulators=3 * 36 + 4,
            outputs=3 * 9 + 4,
            # Two channels: 36 windows each, without what is padding; then 27 elements.
            reads=2 * 16**2 + 27,
            early_reads=found.early_reads,
            weight_words=program.weight_words,
            param_words=program.param_words,
            act_rows=found.act_rows,
            largest_accumulator=found.largest_accumulator,
            seed=7,
            residue_sums=36 + 1,
            bound=2 / (2**61 - 1),
            bound_of_all=37 * 2 / (2**61 - 1),
            seconds=found.seconds,
        )
    )


def test_seeds_are_drawn_after_the_program() -> None:
    network = planted.network("vector")
    program = compile(network, base)
    assert check(network, program).seed != check(network, program).seed


def test_it_shares_no_code_with_the_passes_nor_with_the_models() -> None:
    allowed = {
        "accel.compiler.program",  # what a program is
        *(f"accel.hardware.{name}" for name in ("config", "descriptors", "fields", "packets")),
        "accel.hardware.pipeline",
    }
    for path in Path(accel.checking.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("accel") for alias in node.names)
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    if name.startswith(("accel.compiler", "accel.hardware")):
                        assert name in allowed or node.module in allowed, f"{path.name}: {name}"


def test_a_product_in_two_parts_is_not_the_networks() -> None:
    """The sum is the same for every input, but not the products."""
    (operation,) = random_network(np.random.default_rng(1), (1, 1, 1), [Conv(1, (1, 1))]).operations
    want = dataclasses.replace(define(operation), weight=np.full((1, 1, 1, 1), 5, np.int8))
    zero = np.zeros(1, np.int64)

    def compare(*weights: int) -> None:
        weight = np.array([weights], np.int8)
        part = Part(channels=zero, first=weight, later=weight, y=zero, x=zero)
        Exactly("layer 'x'", want).compare(part, zero, np.zeros((1, 2), np.int64), 0)

    compare(5, 0)
    compare(0, 5)
    with pytest.raises(MiscompiledError, match="its sum has an element twice at kernel row 0"):
        compare(2, 3)


def test_a_kind_without_a_definition_is_named() -> None:
    with pytest.raises(
        AccelError, match=r"layer 'x': .* no operation of kind 'new': say in accel/"
    ):
        define(SimpleNamespace(name="x", kind="new"))  # type: ignore[arg-type]


# On the command line


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "80"})


def test_accel_check_prints_a_certificate() -> None:
    result = run("check", "--seed", 9)
    assert result.exit_code == 0, result.output
    assert "246,792 products" in result.stdout and "seed 9;" in result.stdout
    assert max(map(len, result.stdout.split("residues: ")[0].splitlines())) <= 80


def test_accel_check_writes_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    planted.network("vector").save(file)
    options = "--network", file, "--config", "wide", "--seed", 3, "--json"
    result = run("check", *options, tmp_path / "certificate.json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "certificate.json").read_text())
    program = compile(Network.load(file), wide)
    found = dataclasses.asdict(check(planted.network("vector"), program, 3))
    assert figures.pop("written_by") == "accel"
    assert figures | {"seconds": 0} == found | {"seconds": 0}
    assert json.loads(run("check", *options, "-").stdout)["products"] == program.macs


def test_accel_check_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(network: Network, cfg: AccelConfig) -> Program:
        return with_bias(compile(network, cfg), 2)

    monkeypatch.setattr("accel.compiler.compile.compile", faulty)
    result = run("check")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: layer 'fc1': output channel 0: its bias is ")


# Faults in programs

WORDS: dict[str, tuple[str, str, Callable[[Program], Program], str]] = {
    # The program stream
    "a word is missing": (
        "pooled", "base", lambda p: with_words(p, list(p.words[:-1])), "RUN with a layer",
    ),
    "the last packet is cut": (
        "pooled", "base", lambda p: with_words(p, list(p.words[:-3])), "of kind INPUT, lacks words",
    ),
    "an unknown packet": (
        "pooled", "base", lambda p: with_words(p, [9 << 60, *p.words]), "no packet is of kind 9",
    ),
    "words after RUN": (
        "pooled", "base", lambda p: with_words(p, [*p.words, header(Packet.RUN, 1)]), "after RUN",
    ),
    "too few layers run": (
        "pooled", "base", lambda p: with_words(p, [*p.words[:-1], header(Packet.RUN, 3)]),
        "runs 3 layers, but the network has 4",
    ),
    "a layer without a descriptor": (
        "pooled", "base", lambda p: without(p, Packet.LAYER), "not all of 4 layers are described",
    ),
    "a layer without weights": (
        "pooled", "base", lambda p: without(p, Packet.WEIGHTS),
        r"layer 'layer0': of the words 0 to \d+ of the weight memory .* only 0 have been loaded",
    ),
    "a layer without parameters": (
        "pooled", "base", lambda p: without(p, Packet.PARAMS), "of the parameter memory",
    ),
    "no image": ("pooled", "base", lambda p: without(p, Packet.INPUT), "INPUT, is missing"),
    "a header's address is beyond the memory": (
        "vector", "base",
        lambda p: word_changed(p, weights_of(p, 0) - 1, lambda w: w + base.weight_depth),
        "words of WEIGHTS at 2048",
    ),
    # Weights and parameters
    "two weight words change places": (
        "pooled", "base", lambda p: swapped(p, weights_of(p, 1), weights_of(p, 1) + 9),
        "layer 'layer1': output channel .* weight -?\\d+ instead of -?\\d+ at kernel row",
    ),
    "one bit of one weight": (
        "vector", "base", lambda p: word_changed(p, weights_of(p, 1), lambda w: w ^ 1),
        "layer 'layer1': output channel 0, row 0, column 0: its sum has weight",
    ),
    "weights of a pixel's second group": (
        # Byte 9 * 8 of the word is the first of the second pixel group's
        "pooled", "squares", lambda p: word_changed(p, weights_of(p, 0) + 9, lambda w: w ^ 128),
        "layer 'layer0': output channel 0, row ., column .: its",
    ),
    "a bias is one too large": (
        "deep", "wide", lambda p: with_bias(p, 2), r"layer 'layer2': .*channel 0: its bias is",
    ),
    "a multiplier's last bit": (
        "deep", "base",
        lambda p: word_changed(p, planted.bias_of(p, 1), lambda w: w ^ 1 << MULTIPLIER.low),
        "layer 'layer1': output channel 0: its multiplier",
    ),
    "a multiplier that is none, of no channel": (
        "pooled", "base",
        lambda p: word_changed(p, planted.bias_of(p, 0) + 11, lambda w: w & (1 << 32) - 1),
        "layer 'layer0': one of its multipliers is no positive normal float32",
    ),
    "a weight beyond the kernel": (
        # Of the second window of four rows: its second row, and the weight there of the last column
        "deep", "base",
        lambda p: word_changed(
            changed(p, 0, last_rows=2), weights_of(p, 0) + base.weight_word_beats,
            lambda w: w ^ 1 << 40,
        ),
        "a product with the element that is 0 channels, 4 rows and 2 columns from its window's",
    ),
    "parameters of two channels change places": (
        "pooled", "base", lambda p: swapped(p, planted.bias_of(p, 0), planted.bias_of(p, 0) + 1),
        "layer 'layer0': output channel 0: its multiplier",
    ),
    "a layer's weights begin a word late": (
        "pooled", "base", lambda p: moved(p, 0, weight_base=1), "layer 'layer0': .*its sum has",
    ),
    "a layer's parameters begin a word late": (
        "pooled", "base", lambda p: moved(p, 1, param_base=1), "layer 'layer1': output channel 0",
    ),
    # What is read
    "rows of the input are too far apart": (
        "pooled", "base", lambda p: moved(p, 0, tap_row=1), "layer 'layer0': step .* reads byte",
    ),
    "channels instead of a window": (
        "pooled", "base", lambda p: changed(p, 0, channel_mode=1), "layer 'layer0'",
    ),
    "a window instead of channels": (
        "many channels", "base", lambda p: changed(p, 0, channel_mode=0), "layer 'layer0'",
    ),
    "the input begins a byte late": (
        "pooled", "base", lambda p: moved(p, 1, read_bank=-1), "layer 'layer1'",
    ),
    "one channel too few in the last block": (
        "many channels", "base", lambda p: moved(p, 1, last_channels=-1),
        "layer 'layer1': .*weight 0 instead of",
    ),
    "one kernel row too few": (
        "deep", "base", lambda p: moved(p, 0, last_rows=-1), "layer 'layer0': ",
    ),
    "one kernel column too few": (
        "deep", "base", lambda p: moved(p, 3, last_columns=-1), "layer 'layer3': .*weight 0 inst",
    ),
    "no kernel row": (
        "vector", "base", lambda p: changed(p, 0, last_channels=0), "'layer0': .* weight 0 instead",
    ),
    "no channel": (
        "no linear layer", "base", lambda p: changed(p, 0, last_rows=0), "'layer0': its steps use",
    ),
    "rows do not advance": (
        "pooled", "base", lambda p: changed(p, 0, out_y__row=0, out_y__bank=0), "layer 'layer0'",
    ),
    "columns advance too far": (
        "pooled", "base", lambda p: moved(p, 0, out_x__bank=1), "layer 'layer0'",
    ),
    "the row counter does not advance": (
        "pooled", "base", lambda p: changed(p, 0, out_y__dy=0), "layer 'layer0'",
    ),
    "pixels of a pooling window are not neighbours": (
        "pooled", "base", lambda p: moved(p, 0, pool_x__bank=1), "layer 'layer0'",
    ),
    "groups of output channels read different channels": (
        "pooled", "base", lambda p: changed(p, 1, group__bank=1), "layer 'layer1'",
    ),
    "the second pixel group reads the first one's pixel": (
        "pooled", "squares", lambda p: changed(p, 0, pixel_bit0__bank=0, pixel_bit0__row=0),
        "layer 'layer0'",
    ),
    "the last row is taken for padding": (
        "pooled", "base", lambda p: moved(p, 0, height=-1), "layer 'layer0': output channel 0, row",
    ),
    "a row beyond the last one is read": (
        "deep", "base", lambda p: moved(p, 1, height=1), "layer 'layer1': ",
    ),
    "a column beyond the last one is read": (
        "deep", "base", lambda p: moved(p, 1, width=1), "layer 'layer1': ",
    ),
    "padding is counted from another corner": (
        "pooled", "base", lambda p: moved(p, 0, padding_rows=-1), "layer 'layer0': ",
    ),
    "padding is not the zero point": (
        "pooled", "base", lambda p: moved(p, 0, pad_value=1), "padded taps are -?\\d+, not -?\\d+",
    ),
    "signed activations are read as unsigned": (
        "pooled", "base", lambda p: changed(p, 2, signed=0), "layer 'layer2': its input is signed",
    ),
    "weights that do not fit the scratchpads are kept there": (
        "deep", "base", lambda p: changed(p, 3, reload=0), "layer 'layer3': output channel 0",
    ),
    # What column windows are made of
    "column windows where there are none": (
        "pooled", "base", lambda p: changed(p, 0, column_windows=1), "line buffers of 0",
    ),
    "windows of a kernel of several steps": (
        "depthwise", "windows", lambda p: changed(p, 0, kernel_x__count=2), "do not bring a pixel",
    ),
    "a window for all columns": (
        "depthwise", "windows", lambda p: changed(p, 0, column_windows=0), "layer 'layer0': ",
    ),
    "windows of taps that are a window": (
        "depthwise", "windows", lambda p: changed(p, 0, channel_mode=0), "do not bring a pixel",
    ),
    "a channel too few for the columns": (
        "depthwise", "windows", lambda p: moved(p, 0, last_channels=-1), "3 channels of a pixel ar",
    ),
    "a column of the last group without a channel": (
        "depthwise", "windows", lambda p: moved(p, 0, window_columns=-1),
        "layer 'layer0': of group 1 it takes outputs from column 2, but 2 columns have a channel",
    ),
    "a column of the last group too many": (
        "depthwise", "windows", lambda p: moved(p, 0, window_columns=1),
        r"layer 'layer0': step 90 reads byte \d+ .* holds no element of 'input'",
    ),
    "every row of windows, not every second": (
        "depthwise", "windows", lambda p: changed(p, 2, row_step=1),
        "'layer2': step, parameter and write sequencer count 35, 20 and 20 vectors",
    ),
    "the other one of each two rows of windows": (
        "depthwise", "windows", lambda p: changed(p, 2, skip_top=0, skip_bottom=1), "'layer2': out",
    ),
    "the other one of each two columns of windows": (
        "depthwise", "windows", lambda p: changed(p, 1, skip_left=0, skip_right=1), "'layer1': out",
    ),
    "the first row of windows instead of the last": (
        "depthwise", "windows", lambda p: changed(p, 1, skip_top=0, skip_bottom=1), "'layer1': out",
    ),
    "the second half of the columns reads what the first one does": (
        "depthwise", "windows", lambda p: changed(p, 0, pixel_bit0__row=0, pixel_bit0__bank=0),
        "layer 'layer0': output channel 4, row 0, column 0: its sum",
    ),
    "each group of channels reads the first one": (
        "depthwise", "windows", lambda p: changed(p, 0, group__row=0, group__bank=0),
        "layer 'layer0': output channel 8, row 0, column 0: its sum",
    ),
    "one bit of a weight of a window": (
        "depthwise", "windows",
        lambda p: word_changed(p, weights_of(p, 0) + 1, lambda w: w ^ 1 << 8),
        "layer 'layer0': output channel 1, row 0, column 0: its products with",
    ),
    "a step of column windows too early": (
        "depthwise", "windows", lambda p: moved(p, 3, safe_steps=1),
        r"layer 'layer3': step 0 reads byte \d+ .* may be on its way",
    ),
    "column windows never wait": (
        "depthwise", "windows", lambda p: moved(p, 1, safe_steps=1), "without having waited",
    ),
    # What is written
    "zero point": ("pooled", "base", lambda p: moved(p, 1, zero_point=1), "its zero point is"),
    "no ReLU": ("pooled", "base", lambda p: changed(p, 1, lo=-128), "its least output is -128"),
    "clamped too early": ("pooled", "base", lambda p: moved(p, 1, hi=-1), "its largest output"),
    "the winner is chosen among bytes": (
        "pooled", "base", lambda p: changed(p, 3, out_signed=0), "compared otherwise",
    ),
    "a row of outputs is dropped": (
        "deep", "base", lambda p: moved(p, 1, write_y__count=-1), "it writes .* outputs, not",
    ),
    "a pixel beyond the map is kept": (
        "pooled", "squares", lambda p: changed(p, 1, drop_x=0, pixel_x=1), "layer 'layer1': it",
    ),
    "a channel of outputs is dropped": (
        "pooled", "base", lambda p: moved(p, 0, last_lanes=-1), "last_lanes|it writes 10 x",
    ),
    "a row of steps is missing": (
        "deep", "base", lambda p: moved(p, 0, out_y__count=-1), "step, parameter and write seq",
    ),
    "a vector's parameters are missing": (
        "deep", "base", lambda p: moved(p, 1, param_vectors=-1), "sequencer count .* vectors",
    ),
    "a group's parameters are missing": (
        "pooled", "base", lambda p: moved(p, 0, param_groups=-1), "sequencer count .* groups",
    ),
    "a beat's parameters are missing": (
        "pooled", "base", lambda p: moved(p, 0, param_last_beats=-1), "beats of a vector in group",
    ),
    "two steps of a pooling window": (
        "deep", "base", lambda p: changed(p, 0, pool_y__count=1), "the maximum of 2 sums, not of 4",
    ),
    "channels of outputs are too close": (
        "pooled", "base", lambda p: moved(p, 1, lane_row=-1), "layer 'layer.': ",
    ),
    "groups of outputs are too close": (
        "pooled", "base", lambda p: moved(p, 0, write_group__row=-1), "layer 'layer.': ",
    ),
    "the next row of outputs is a byte off": (
        "pooled", "base", lambda p: moved(p, 0, write_y__bank=-1), "layer 'layer.': ",
    ),
    "the second pixel of a vector is a row off": (
        "pooled", "squares", lambda p: moved(p, 0, pixel_row=1), "layer 'layer.': ",
    ),
    "all outputs are a byte off": (
        "pooled", "base", lambda p: moved(p, 1, write_bank=1), "layer 'layer2': ",
    ),
    "a bank that there is not": (
        "pooled", "base", lambda p: changed(p, 1, write_bank=9), "write_bank is 9, but there are 9",
    ),
    "results in the middle": (
        "pooled", "base", lambda p: changed(p, 2, to_result=1), "'layer2': .* go to the results",
    ),
    "no results": (
        "pooled", "base", lambda p: changed(p, 3, to_result=0), "'layer3': .* go to memory",
    ),
    "two outputs change places in the results": (
        "pooled", "base",
        lambda p: dataclasses.replace(p, output_bytes=p.output_bytes[[1, 0, 2, 3, 4]]),
        "layer 'layer3': output 0, 0, 0 is byte 0 of the results, not 1",
    ),
    "an output too few in the results": (
        "pooled", "base", lambda p: dataclasses.replace(p, output_bytes=p.output_bytes[:-1]),
        "5 outputs come, but the program places 4",
    ),
    "a channel too many in a beat": (
        "pooled", "base", lambda p: changed(p, 0, last_lanes=3), "last_lanes is 3, but must be",
    ),
    "no channel in a beat": (
        "pooled", "base", lambda p: changed(p, 0, group_lanes=0), "group_lanes is 0, but must be",
    ),
    "a pixel is dropped that there is not": (
        "pooled", "base", lambda p: changed(p, 0, drop_x=1), "a pixel of a vector is dropped that",
    ),
    "more beats than can be counted": (
        "pooled", "base", lambda p: changed(p, 0, drop_beats=63), "has 65 beats, but 64 can be co",
    ),
    # The order of things
    "a step too early": (
        "pooled", "base", lambda p: moved(p, 2, safe_steps=1),
        r"layer 'layer2': step 4 reads byte \d+ .* may be on its way .* from 5 on",
    ),
    "a step too early, four pixels at once": (
        "no linear layer", "squares", lambda p: moved(p, 1, safe_steps=1),
        "layer 'layer1': step 34 reads byte",
    ),
    "a linear layer does not wait": (
        "vector", "base", lambda p: changed(p, 1, safe_steps=1), "layer 'layer1': step 0 reads",
    ),
    "a layer never waits": (
        "pooled", "base", lambda p: moved(p, 1, safe_steps=1), "without having waited",
    ),
    "the image is never freed": (
        "pooled", "base", lambda p: changed(p, 0, frees_input=0), "0 layers say that nothing reads",
    ),
    "the image is freed twice": (
        "pooled", "base", lambda p: changed(p, 2, frees_input=1), "2 layers say that nothing reads",
    ),
    # Places
    "an output is written over its input": (
        "deep", "base", lambda p: placed_over(p, 1, 0), "'layer1': output .* holds an element of",
    ),
    "an output is written into the next image": (
        "pooled", "base", lambda p: changed(changed(p, 2, write_row=0), 3, read_row=0),
        "layer 'layer2': it writes where the next image is loaded",
    ),
    "the wrong tensor is read": (
        "deep", "base",
        lambda p: moved(p, 2, read_row=get(p, 0, "write_row") - get(p, 1, "write_row")),
        r"layer 'layer2': step .* holds no element of 'layer1' then",
    ),
    "the image lies a row further": (
        "pooled", "base", lambda p: image_changed(p, base_row=1), "layer 'layer0': ",
    ),
    "rows of the image are a byte closer": (
        "pooled", "base", lambda p: image_changed(p, row__bank=-1), "layer 'layer0'|the image",
    ),
    "a row of the image is missing": (
        "pooled", "base", lambda p: image_changed(p, row__count=-1), "it has 18 words, but the har",
    ),
    "the last bytes of a row are missing": (
        "pooled", "base", lambda p: image_changed(p, last_bytes=-1),
        "the image: element 0, 0, 7 is not written",
    ),
    "more bytes of a word than there are": (
        "pooled", "base", lambda p: image_changed(p, last_bytes=1), "last_bytes is 9, but must be",
    ),
    "words of the image overlap": (
        "deep", "base", lambda p: image_changed(p, word__bank=-1), "the image: byte 7 .* twice",
    ),
    "a tensor beyond the memory": (
        "pooled", "base",
        lambda p: moved(moved(p, 0, write_row=1000), 1, read_row=1000), "of an activation memory",
    ),
    "the byte beside is added": (
        "sums", "base", lambda p: moved(p, 1, operand_bank=1),
        "to output 0, 0, 0 it adds byte .* which holds element 1 of 'layer0'",
    ),
    "what is added lies a row further": (
        "sums", "base", lambda p: moved(p, 1, operand_row=1), "to output 0, 0, 0 it adds byte",
    ),
    "the next vector adds the same": (
        "sums", "wide", lambda p: changed(p, 1, operand_x__bank=0), "to output 0, 0, ",
    ),
    "the next row adds the same": (
        "sums", "base", lambda p: changed(p, 1, operand_y__row=0, operand_y__bank=0),
        "to output 0, 1, 0 it adds",
    ),
    "the next group of channels adds the same": (
        "sums", "base", lambda p: changed(p, 1, operand_group__row=0), "to output 8, 0, 0 it adds",
    ),
    "the second pixel adds the same": (
        "sums", "wide", lambda p: changed(p, 1, operand_bit0__row=0, operand_bit0__bank=0),
        "to output .* it adds",
    ),
    "another square's pixels are added": (
        "sums", "squares", lambda p: changed(p, 1, operand_bit1__row=0, operand_bit1__bank=0),
        "to output .* it adds",
    ),
    "channels of what is added lie further": (
        "sums", "base", lambda p: moved(p, 1, operand_lane_row=1), "to output 1, 0, 0 it adds",
    ),
    "what is added is unsigned": (
        "sums", "base", lambda p: changed(p, 1, operand_signed=0),
        "what it adds is signed, but read otherwise",
    ),
    "nothing is read to be added": (
        "sums", "base", lambda p: changed(p, 1, adds=0), "it reads nothing to be added",
    ),
    "something is read to be added": (
        "sums", "base", lambda p: changed(p, 0, adds=1), "it reads what is to be added",
    ),
    "nothing is taken to be added": (
        "sums", "base", lambda p: changed(p, 1, pops=0), "taking of what is added is 0, not 1",
    ),
    "something is taken to be added": (
        "sums", "base", lambda p: changed(p, 0, pops=1), "its adder takes what is to be added",
    ),
    "the multipliers are exchanged": (
        "sums", "base",
        lambda p: changed(
            p, 1, own_multiplier=get(p, 1, "operand_multiplier"),
            operand_multiplier=get(p, 1, "own_multiplier"),
        ),
        "its adder's multiplier of outputs is",
    ),
    "a multiplier of what is added": (
        "sums", "base", lambda p: moved(p, 1, operand_multiplier=1), "multiplier of what is added",
    ),
    "a table has another entry": (
        "tables", "base", lambda p: word_changed(p, planted.entry_of(p, 0, -7), lambda w: w ^ 1),
        r"layer 'layer0': table 0 has \d+ for -7, not ",
    ),
    "another table": (
        "tables", "base", lambda p: changed(p, 0, table_index=1), "layer 'layer0': table 1 has ",
    ),
    "a table that there is not": (
        "tables", "base", lambda p: changed(p, 0, table_index=7), "not all of table 7, in which",
    ),
    "a table that was not loaded": (
        "tables", "base", lambda p: without(p, Packet.TABLE), "not all of table 0, in which",
    ),
    "nothing is looked up": (
        "tables", "base", lambda p: changed(p, 0, looks_up=0), "it does not look its outputs up",
    ),
    "something is looked up": (
        "tables", "base", lambda p: changed(p, 3, looks_up=1), "it looks its outputs up in a table",
    ),
    "a table of the other sign": (
        "tables", "base", lambda p: changed(p, 6, table_signed=1), "what it finds is signed, but",
    ),
    "the constant": ("sums", "base", lambda p: moved(p, 1, sum_constant=1), "adder's constant is"),
    "the shift": ("sums", "base", lambda p: moved(p, 1, sum_shift=1), "its adder's shift is"),
    "ties of sums go up": (
        "sums", "base", lambda p: changed(p, 1, sum_ties_away=0), "ties away from zero is 0, not 1",
    ),
    "ties of outputs go away from zero": (
        "sums", "base", lambda p: changed(p, 0, ties_away=1), "its rounding of ties away from zero",
    ),
    "the zero point of sums": (
        "sums", "base", lambda p: moved(p, 1, sum_zero_point=1), "its adder's zero point is",
    ),
    "the least sum": ("sums", "base", lambda p: moved(p, 1, sum_lo=1), "adder's least sum is"),
    "the largest sum": ("sums", "base", lambda p: moved(p, 3, sum_hi=1), "largest sum is"),
    "more steps are safe than those that add": (
        "sums of few", "wide", lambda p: moved(p, 1, safe_steps=1), "which may be on its way",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_a_fault_in_a_program_is_found(name: str) -> None:
    network, config, plant, says = WORDS[name]
    program = compiled(network, config)
    with pytest.raises(MiscompiledError, match=says) as e:
        check(planted.network(network), plant(program))
    assert str(e.value).endswith("please report it, with the network and the configuration")
    assert "a fault of the compiler" in str(e.value) and str(e.value).isprintable()


@pytest.mark.parametrize("way", [Exactly, WithResidues])
def test_each_way_to_compare_sums_is_enough(way: type, monkeypatch: pytest.MonkeyPatch) -> None:
    (other,) = {Exactly, WithResidues} - {way}
    monkeypatch.setattr(other, "compare", lambda *args: None)
    for name, (network, config, plant, _) in WORDS.items():
        # Padding is a number like any other: that it is the right one is for the exact way.
        if (way, name) != (WithResidues, "padding is not the zero point"):
            with pytest.raises(MiscompiledError):
                check(planted.network(network), plant(compiled(network, config)))


def test_what_does_not_fit_a_smaller_accelerator_is_found() -> None:
    network = planted.network("pooled")
    program = compile(network, base)
    for smaller, says in (
        ({"acc_nbits": 20}, "an accumulator of output channel"),
        ({"act_depth": 16}, "of an activation memory of 144"),
        ({"weight_depth": 16}, "words of WEIGHTS at"),
        ({"param_depth": 16}, "words of PARAMS at"),
        ({"max_layers": 2}, "there is a layer 2, but room for 2"),
        ({"spad_depth": 1}, "its sum has"),
    ):
        cfg = dataclasses.replace(base, **smaller)
        with pytest.raises(MiscompiledError, match=says):
            check(network, dataclasses.replace(program, cfg=cfg))


@more_examples(1)
@given(case=cases(), pauses=st.integers(1, 2**32))
def test_no_layer_begins_too_early_that_the_check_accepts(case: Any, pauses: int) -> None:
    """With the most steps before its wait that the check takes for safe, the cycle-level model
    finds every byte in memory when it is read."""
    program, network = case
    for layer in range(1, len(program.layers)):
        while is_accepted(network, later := moved(program, layer, safe_steps=1)):
            program = later
    images = random_images(np.random.default_rng(2), network, 3)
    run = simulate(program, images, level="cl", jobs=1, pauses=pauses)
    np.testing.assert_array_equal(run.outputs, network.integers(images)[-1])


# Faults in the passes

SOURCE: dict[str, tuple[str, str, str]] = {
    "kernel rows and columns are exchanged": ("mapping", "(0, 1, 3, 4, 2)", "(0, 1, 4, 3, 2)"),
    "taps of a window are exchanged": ("mapping", "(0, 1, 2, 4, 3, 5)", "(0, 1, 2, 4, 5, 3)"),
    "steps run backwards": (
        "mapping", ".transpose(0, 2, 1, 3)", ".transpose(0, 2, 1, 3)[:, ::-1]",
    ),
    "the second pixel has no weights": (
        "mapping", "np.tile(words, (1, 1, pixels, 1))",
        "np.pad(words, ((0, 0), (0, 0), (0, (pixels - 1) * columns), (0, 0)))",
    ),
    "loops are counted in another order": (
        "mapping", "(counts[2], counts[1], counts[0])", "(counts[1], counts[2], counts[0])",
    ),
    "one vector too few": (
        "mapping", "-(-self.target.height // self.tile[0])", "(self.target.height // self.tile[0])",
    ),
    "rows are not 3 banks apart": ("layout", "(3 - self.width)", "(4 - self.width)"),
    "channels overlap": (
        "layout", "size = (self.height - 1) * self.row_stride + self.width\n",
        "size = (self.height - 1) * self.width + self.width\n",
    ),
    "a tensor is as long as its first channel": (
        "layout", "(self.channels - 1) * self.channel_stride + last_channel", "last_channel",
    ),
    "tensors lie over one another": (
        "placement", "start = max(start, other.end_row)", "start = max(start, other.first_row)",
    ),
    "a tensor dies before its last reader": (
        "placement", "p.last_read_by >= i and not", "p.last_read_by > i and not",
    ),
    "tensors lie over the image": (
        "placement", "not last_reader[image] < i < until <= image_freed_by",
        "last_reader[image] >= i",
    ),
    "parts of a tensor lie over one another": (
        "placement", "outer.base + channel * outer.layout.channel_stride", "outer.base",
    ),
    "a joined tensor dies with its first part": (
        "placement", "until = max((last_reader.get(name, i) for name in families[whole.name]), "
        "default=i)", "until = last_reader.get(m.layer.target.name, i)",
    ),
    "layers share weights": (
        "placement", "weight_bases[-1] + m.weight_words", "weight_bases[-1] + m.weight_words - 1",
    ),
    "layers share parameters": (
        "placement", "param_bases[-1] + m.param_words",
        "param_bases[-1] + m.param_words - 1",
    ),
    "no vectors in flight": ("overlap", "in_front + places(Holds.VECTOR, cfg)", "in_front"),
    "no beats in flight": (
        "overlap", "-(-places(Holds.BEAT, cfg, adds=adds) // d.param_last_beats)", "0",
    ),
    "memory is read a cycle early": ("overlap", "(TAKEN_OVER + 1)", "(TAKEN_OVER + 2)"),
    "a vector's beats come at once": ("overlap", "+ beats - 1", ""),
    "no vector is late": ("overlap", "np.maximum(backlog(cfg), -so_far)", "-so_far"),
    "vectors do not wait for each other": ("overlap", "np.cumsum(later)", "0 * later"),
    "sums take no time": ("overlap", "memory_latency(cfg, adds=bool(d.adds))",
        "memory_latency(cfg)"),
    "tables of another layer": (
        "encode", "index(_of_bytes(lookup))", "index(_of_bytes(lookup)) ^ 1",
    ),
    "tables overlap": ("encode", "header(Packet.TABLE, i * TABLE_SIZE", "header(Packet.TABLE, i"),
    "tables are in the order of values": ("encode", "np.roll(lookup.entries.astype(np.int64), "
        "lookup.least)", "lookup.entries.astype(np.int64)"),
    "entries have no sign": ("encode", '"table_signed": int(lookup.signed)', '"table_signed": 0'),
    "results are never waited for": (
        "compile", "safe[i] if described[i - 1].to_result else 0", "0",
    ),
    "no steps in flight": ("overlap", "return in_front + ", "return np.zeros_like(in_front) + "),
    "a step late": ("overlap", "step[unsafe].min()))", "step[unsafe].min()) + 1)"),
    "a vector less": ("overlap", "youngest <= vectors", "youngest < vectors"),
    "nothing is unsafe": ("overlap", "if unsafe.any():", "if False:"),
    "padding is not subtracted from the address": (
        "encode", "source.base - above * m.source.row_stride - left", "source.base",
    ),
    "padding is zero": ("encode", "pad_value=layer.pad_value", "pad_value=0"),
    "zero point of the input": (
        "encode", "zero_point=layer.zero_point", "zero_point=layer.source.zero_point",
    ),
    "scratchpads are one larger than they are": (
        "encode", "m.steps_per_sum > cfg.spad_depth", "m.steps_per_sum > 9 * cfg.spad_depth",
    ),
    "the image is freed by the last layer too": (
        "encode", "int(i == placement.image_freed_by)",
        "int(i == placement.image_freed_by or is_last)",
    ),
    "the last window lacks a column": (
        "encode", "(kernel_w - 1) % WINDOW + 1", "(kernel_w - 1) % WINDOW",
    ),
    "no channels but blocks of nine": ("encode", "(layer.weight.shape[1] - 1) % TAPS + 1", "TAPS"),
    "rows of channels": (
        "encode", "(m.source.channel_stride if m.channel_mode else m.source.row_stride) // TAPS",
        "m.source.row_stride // TAPS",
    ),
    "stride without pooling": (
        "encode", "rows * pool_rows, columns * pool_columns", "rows, columns",
    ),
    "pooling without stride": (
        "encode", "Loop(pool_h, stride_y * row, stride_y, 0)", "Loop(pool_h, row, 1, 0)",
    ),
    "groups of channels read the same": ("encode", "m.num_groups, m.group_stride", "m.num_groups"),
    "groups of channels are one channel": (
        "mapping", "self.layer.weight.shape[1] * self.source.channel_stride",
        "self.source.channel_stride",
    ),
    "each group has all columns": (
        "encode", "m.channels_per_group - (m.beats - 1) * cfg.num_lanes", "cfg.num_lanes",
    ),
    "left is above": ("encode", "padding_columns=left", "padding_columns=above"),
    "the row counter follows columns": (
        "encode", "rows * row, rows, 0)", "rows * row, columns, 0)",
    ),
    "pixels of a square are exchanged": (
        "encode", "return next_column, next_row\n", "return next_row, next_column\n",
    ),
    "rows of vectors are as far apart as rows": (
        "encode", "m.tile[0] * m.target.row_stride", "m.target.row_stride",
    ),
    "odd columns are kept": ("encode", "drop_x=target.width % columns", "drop_x=0"),
    "odd rows are kept": ("encode", "drop_y=target.height % rows", "drop_y=0"),
    "beats without outputs are not dropped": (
        "encode", "drop_beats=0 if one_pixel else m.beats - last_beats", "drop_beats=0",
    ),
    "lanes of the last beat": (
        "encode", "channels_left - (last_beats - 1) * cfg.num_lanes", "cfg.num_lanes",
    ),
    "the second pixel has parameters of its own": (
        "encode", "np.tile(groups, (1, m.pixels))", "np.repeat(groups, m.pixels, axis=1)",
    ),
    "biases of the next channel": (
        "encode", "m.layer.bias.tolist()", "np.roll(m.layer.bias, 1).tolist()",
    ),
    "multipliers of the next channel": (
        "encode", "m.layer.multiplier.astype(np.float32)", "np.roll(m.layer.multiplier, 1)",
    ),
    "words of the image overlap": (
        "encode", "Loop(row_words, BYTES_PER_WORD)", "Loop(row_words, BYTES_PER_WORD - 1)",
    ),
    "whole words of an image": (
        "encode", "width - (row_words - 1) * BYTES_PER_WORD", "BYTES_PER_WORD",
    ),
    "results in the order of rows": (
        "encode", "order[np.lexsort((x % cols, y % rows, x // cols, y // rows))]",
        "order[np.arange(pixels)]",
    ),
    "the last group of the results is whole": (
        "encode", "np.where(group == m.num_groups - 1, last, full)", "full",
    ),
    "windows begin at the padding": (
        "encode", "(0, 0) if m.column_windows else layer.padding[:2]", "layer.padding[:2]",
    ),
    "windows at the top are used though there is no padding": (
        "encode", '"skip_top": 1 - above', '"skip_top": 0',
    ),
    "windows at the right are never used": ("encode", '"skip_right": 1 - right', '"skip_right": 1'),
    "rows of windows follow the stride of columns": (
        "encode", '"row_step": layer.stride[0]', '"row_step": layer.stride[1]',
    ),
    "a column for each channel of the last group but one": (
        "encode", '"window_columns": last_columns', '"window_columns": max(1, last_columns - 1)',
    ),
    "pixel groups are a channel apart": (
        "encode", "cfg.group_cols * m.source.channel_stride", "m.source.channel_stride",
    ),
    "a pixel is read for each step that multiplies": (
        "encode", "Loop(m.source.height, row, 1, 0)", "Loop(m.target.height, row, 1, 0)",
    ),
    "groups of windows are a channel apart": (
        "mapping", "self.channels_per_group * self.source.channel_stride",
        "self.source.channel_stride",
    ),
    "no windows in flight": (
        "overlap", "last_ones[np.minimum(steps, last_ones.size - 1)]", "0 * steps",
    ),
    "a maximum over one pixel": ("encode", "Loop(pool_w, stride_x, 0, stride_x)", "Loop()"),
    "what is added dies before its last reader": (
        "placement", "for t in m.layer.sources", "for t in m.layer.sources[:1]",
    ),
    "a diagonal of one channel": ("mapping", "channel % block] =", "0] ="),
    "what is added is not looked at": ("overlap", "if after.adds:", "if False:"),
    "the next columns add the same": (
        "encode", "offsets = [next_channels, 2 * next_channels]", "pass",
    ),
    "the pixel below adds the same": ("encode", "offsets[0] = target.row_stride", "pass"),
    "a square adds a row": (
        "encode", "offsets = [1, target.row_stride]", "offsets = [1, 2]",
    ),
    "the first multiplier is that of what is added": (
        "encode", '"own_multiplier": addition.multipliers[0]',
        '"own_multiplier": addition.multipliers[1]',
    ),
}  # fmt: skip


def test_the_passes_as_they_are_make_right_programs() -> None:
    with source("compile", "", "") as compile_it:
        for _, network, cfg in planted.programs():
            compile_it(network, cfg)


@pytest.mark.parametrize("name", SOURCE)
def test_a_fault_in_a_pass_is_found(name: str) -> None:
    """Without a simulation: by the check at the end of ``compile``, on some network of a few."""
    with source(*SOURCE[name]) as compile_it:
        found = []
        for label, network, cfg in planted.programs():
            try:
                compile_it(network, cfg)
            except MiscompiledError as e:
                found.append(f"{label}: {e}")
                break
        assert found


# Any change of a program


def is_refused_or_harmless(program: Program, other: Program, network: Any) -> None:
    """Either the check finds the change, or models that know nothing of the check compute the same
    as before; CL fails at any byte that is read before it is written."""
    accepted = is_accepted(network, other)
    event("accepted" if accepted else "refused")
    if not accepted:
        return
    images = random_images(np.random.default_rng(1), network, 3)
    expected = network.integers(images)[-1].reshape(3, -1)
    for level in ("fl", "cl"):
        run = simulate(other, images, level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs.reshape(3, -1), expected, level)
        assert not run.wrong_winners(expected).any()


@more_examples(2)
@given(case=cases(), data=st.data())
def test_any_change_of_a_field_is_refused_or_harmless(case: Any, data: st.DataObject) -> None:
    program, network = case
    layer = data.draw(st.integers(-1, len(program.layers) - 1), "layer, or image")
    known = FIELDS if layer >= 0 else INPUT_FIELDS
    at = place(program, Packet.LAYER, layer) if layer >= 0 else place(program, Packet.INPUT)
    field = known[data.draw(st.sampled_from(sorted(known)), "field")]
    value = field.get(program.words[at + field.word])
    near = st.sampled_from([value - 1, value + 1, field.minimum, field.maximum])
    other = data.draw(near | st.integers(field.minimum, field.maximum), "value")
    assume(field.minimum <= other <= field.maximum and other != value)
    is_refused_or_harmless(program, put(program, at, field, other), network)


@more_examples(2)
@given(case=cases(), data=st.data())
def test_any_bit_of_the_words_is_refused_or_harmless(case: Any, data: st.DataObject) -> None:
    program, network = case
    at = data.draw(st.integers(0, len(program.words) - 1), "word")
    bit = data.draw(st.integers(0, 63), "bit")
    is_refused_or_harmless(program, word_changed(program, at, lambda w: w ^ 1 << bit), network)
