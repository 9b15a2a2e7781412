"""`import accel`: what is plainly meant is taken, and what is not is said in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import accel
from accel.hardware.config import base, tiny
from tests.networks import Conv, Linear, random_images, random_network

NETWORK = random_network(np.random.default_rng(3), (1, 9, 9), [Conv(2, (3, 3)), Linear(4)])


def test_the_public_names_are_there() -> None:
    assert dir(accel) == sorted(accel.__all__)
    for name in dir(accel):
        assert getattr(accel, name) is not None


def test_a_configuration_in_any_form(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('preset = "tiny"\nspad_depth = 4\n')
    fields = {"preset": "tiny", "spad_depth": 4}
    expected = accel.load_config(str(file))
    assert expected.spad_depth == 4 and expected.num_cols == tiny.num_cols
    for config in (file, fields, expected):
        assert accel.load_config(config) == expected
        assert accel.compile(NETWORK, config).cfg == expected
    assert fields == {"preset": "tiny", "spad_depth": 4}
    assert accel.compile(NETWORK, "tiny").cfg == tiny
    assert accel.compile(NETWORK).cfg == base
    assert accel.translate("tiny") == accel.translate(tiny)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_colls": 4}, "configuration: unknown field 'num_colls'; expected preset, "),
        ({"num_cols": "4"}, "configuration: num_cols must be a whole number, not '4'"),
        ({"preset": "huge"}, "configuration: preset must be one of tiny, base, wide, tinyml"),
        (
            8,
            "a configuration must be one of tiny, base, wide, tinyml, a .toml file, a dictionary",
        ),
        (None, "a configuration must be one of"),
        ("huge", "unknown configuration 'huge'"),
    ],
)
def test_what_is_no_configuration(config: Any, message: str) -> None:
    for function in (accel.load_config, lambda c: accel.compile(NETWORK, c), accel.translate):
        with pytest.raises(accel.AccelError) as e:
            function(config)
        assert message in str(e.value)
        assert "\n" not in str(e.value)


def test_what_is_no_network_or_no_program() -> None:
    images = random_images(np.random.default_rng(1), NETWORK, 1)
    with pytest.raises(accel.AccelError, match=r"takes a program, which accel\.compile makes"):
        accel.simulate(NETWORK, images)  # type: ignore[arg-type]
    for wrong in ("net.safetensors", accel.compile(NETWORK, "tiny"), None):
        with pytest.raises(
            accel.AccelError, match=r"takes a quantized network, as accel\.quantize"
        ):
            accel.compile(wrong, "tiny")  # type: ignore[arg-type]


def test_a_module_that_is_used_twice() -> None:
    """Is two layers, of different names."""
    shared, relu = torch.nn.Linear(6, 6), torch.nn.ReLU()
    images = torch.rand(20, 6)
    network = accel.quantize(torch.nn.Sequential(shared, relu, shared), images)
    assert [layer.name for layer in network.layers] == ["2", "2.2"]
    program = accel.compile(network, "base")
    q = program.quantize(images.numpy())
    run = accel.simulate(program, q, level="fl")
    assert run.mismatches(accel.run_network(network, q)[-1]) == 0
