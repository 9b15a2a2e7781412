"""``accel.load``: files of any kind by their names, and what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import accel
from accel.errors import AccelError
from accel.fashion_mnist.data import bundled_network
from tests.networks import Linear, random_network
from tests.system.network.test_network import assert_one_sentence, assert_same


def refused(source: Any) -> str:
    with pytest.raises(AccelError) as e:
        accel.load(source)
    assert_one_sentence(e.value)
    return str(e.value)


@pytest.mark.parametrize("name", ["n.safetensors", "n.SAFETENSORS", "n", "n.network"])
def test_a_network_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    network = random_network(np.random.default_rng(0), (7,), [Linear(5)])
    network.save(tmp_path / name)
    for path in (tmp_path / name, str(tmp_path / name)):
        assert_same(accel.load(path), network)


def test_a_network_is_one_already() -> None:
    network = bundled_network()
    assert accel.load(network) is network


def test_a_float_model_is_no_network() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 2))
    assert "accel.quantize(model, calibration_images) makes a network" in refused(model)
    exported = torch.export.export(model, (torch.zeros(1, 4),))
    assert "ExportedProgram is a float model: accel.quantize" in refused(exported)


@pytest.mark.parametrize("source", [None, 1, b"n.onnx", ["n.onnx"], np.zeros(3)])
def test_what_is_no_path(source: Any) -> None:
    assert "accel.load takes a path to a file (.safetensors, .onnx" in refused(source)


def test_what_no_reader_knows(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    for suffix, how in (
        (".pt2", "torch.export.load"),
        (".pt", "torch.load"),
        (".pth", "torch.load"),
    ):
        file = path.with_suffix(suffix)
        file.write_bytes(b"PK")
        assert f"if you trust it, read it with {how}, and" in refused(file)
    assert f"cannot tell what {path} holds: expected a file whose name ends in" in refused(path)
    assert "No such file" in refused(tmp_path / "missing.pt")
    assert "it is not a file" in refused(tmp_path)


def test_the_content_is_checked(tmp_path: Path) -> None:
    """A file that says of itself to be another kind than it is."""
    network = random_network(np.random.default_rng(0), (7,), [Linear(5)])
    network.save(tmp_path / "n")
    content = (tmp_path / "n").read_bytes()
    (tmp_path / "n.onnx").write_bytes(content)
    assert "it is no ONNX model, or not whole" in refused(tmp_path / "n.onnx")
    (tmp_path / "n.safetensors").write_bytes(b"\x08\x08" + content)
    assert "it is not a whole safetensors file" in refused(tmp_path / "n.safetensors")
