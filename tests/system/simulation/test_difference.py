"""A planted fault is found where it is."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from typing import Any

import numpy as np
import pytest

from accel.cli import app
from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.hardware.config import AccelConfig, base
from accel.network.graph import Network
from accel.simulation.difference import Difference, first_difference
from cl_models.pe_array import PEArrayCoreCL
from tests.networks import Conv, Linear, random_images, random_network

SMALL = AccelConfig(
    num_cols=4, num_lanes=2, acc_nbits=26, spad_depth=4, act_depth=64, weight_depth=100,
    param_depth=20, max_layers=4,
)  # fmt: skip
SPECS = [Conv(5, (3, 3), 1, 1, False), Conv(3, (2, 2), 1, 0, False, True), Linear(3, relu=False)]
NETWORK = random_network(np.random.default_rng(2), (1, 5, 5), SPECS, signed=True)
IMAGES = random_images(np.random.default_rng(3), NETWORK, 3)
# A multiplier's, and so a channel's: (layer, channel), in groups of four channels and beats of two.
PLACES = [(0, 4), (1, 2), (2, 1)]


def plant(program: Program, layer: int, channel: int, network: Network = NETWORK) -> Program:
    """A program whose bias of one channel is wrong by half of the accumulators' range."""
    words = list(program.words)
    headers = [i for i, w in enumerate(words) if w >> 60 == 3 and i > 0]
    wanted = network.layers[layer].folded_bias
    found = [
        i
        for i in range(headers[0], len(words))
        if words[i] & 0xFFFFFFFF == int(wanted[channel]) & 0xFFFFFFFF
    ]
    assert len(found) == 1
    words[found[0]] ^= 1 << 24
    return dataclasses.replace(program, words=tuple(words))


@pytest.mark.parametrize(("layer", "channel"), PLACES)
def test_a_planted_fault_is_named(layer: int, channel: int) -> None:
    program = plant(compile(NETWORK, SMALL), layer, channel)
    found: dict[str, Difference | None] = {
        level: first_difference(NETWORK, program, IMAGES, 1, level)
        for level in ("fl", "cl", "rtl", "verilator")
    }
    cl, rtl = found["cl"], found["rtl"]
    assert cl is not None and rtl is not None
    assert dataclasses.replace(cl, level="rtl") == rtl == found["verilator"]
    assert cl.cycle is not None and cl.cycle > len(program.words)
    for difference in found.values():
        assert difference is not None
        assert difference.layer == f"layer{layer}" and difference.place[0] == channel
        assert difference.got != difference.expected


@pytest.mark.parametrize("column", range(8))
def test_the_column_is_the_one_that_computed_it(column: int, monkeypatch: Any) -> None:
    """However a layer's channels and neighbouring pixels are spread over the array."""
    cfg = dataclasses.replace(SMALL, num_cols=8, pixel_groups=2, act_depth=128, param_depth=24)
    specs = [Conv(4, (3, 3), 1, 1, False, True), Conv(11, (2, 2)), Linear(9, relu=False)]
    network = random_network(np.random.default_rng(5), (1, 6, 6), specs)
    tick = PEArrayCoreCL.tick

    def wrong(core: Any, *taken: Any) -> None:
        tick(core, *taken)
        if core.out is not None:
            core.out.acc[column] ^= 1 << 20

    monkeypatch.setattr(PEArrayCoreCL, "tick", wrong)
    images = random_images(np.random.default_rng(3), network, 1)
    found = first_difference(network, compile(network, cfg), images, 0, "cl")
    assert found is not None and found.column == column


@pytest.mark.parametrize("level", ["fl", "cl", "rtl"])
def test_nothing_is_named_where_nothing_differs(level: str) -> None:
    assert first_difference(NETWORK, compile(NETWORK, SMALL), IMAGES, 0, level) is None


@pytest.mark.parametrize("level", ["fl", "cl", "rtl"])
def test_accel_run_says_where(level: str, monkeypatch, tmp_path, capsys) -> None:
    """Of a network for Fashion-MNIST's images, with a fault in its second layer."""
    specs = [Conv(3, (5, 5), 2, 0, True, True), Conv(4, (3, 3)), Linear(10, relu=False)]
    network = random_network(np.random.default_rng(10), (1, 28, 28), specs)
    network.save(tmp_path / "network.safetensors")
    wrong = plant(compile(network, base), 1, 2, network)
    monkeypatch.setattr("accel.reports.evaluation.compile", lambda *_: wrong)
    options = ["run", "--network", str(tmp_path / "network.safetensors"), "--images", "2"]
    vcd = tmp_path / "wrong.vcd"
    more = [] if level == "fl" else ["--vcd", str(vcd)]
    with pytest.raises(SystemExit) as stopped:
        app([*options, "--level", level, *more])
    said = capsys.readouterr().out
    assert stopped.value.code == 1
    assert "first difference: image 0, layer 'layer1', channel 2, row 0, column 0: it is " in said
    assert f"at level {level}" in said
    if level != "fl":
        assert re.search(
            r"written in cycle [\d,]+ of the layer, cycle [\d,]+ from reset, of that image alone, "
            r"and computed in column 2 of the array",
            said,
        )
        shell = next(line for line in said.splitlines() if line.startswith("next: accel trace"))
        assert "--layer layer1 " in shell and "--column 2 " in shell
        # The command that it names shows the byte in its last line.
        with pytest.raises(SystemExit):
            app([*shlex.split(shell)[2:], "--json", str(tmp_path / "trace.json")])
        shown = json.loads((tmp_path / "trace.json").read_text())
        wrong_in = int(re.search(r"cycle ([\d,]+) from reset", said)[1].replace(",", ""))
        assert shown["cycles"][-1]["from_reset"] == wrong_in
        assert "$enddefinitions" in vcd.read_text() and (tmp_path / "wrong.gtkw").exists()
