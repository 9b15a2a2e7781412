"""What the documents name is there."""

from __future__ import annotations

import importlib
import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import save as safetensors_bytes

import accel
from accel.network import file as network_file
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import KINDS, Linear
from tests import ROOT

NAMED = re.compile(r"`(\w+)::(test_\w+)`")
MARKER = re.compile(r"(?m)^<!-- generated: (.+) -->$")
FOLDERS = "accel|fl_models|cl_models|rtl_models|tests|formal|docs|examples"
FILE = re.compile(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./-]*\w")
NAME = re.compile(r"\baccel\.(?!\w+\()[a-z]\w*\.[\w.]+")
"""Of a module, or of something in one: what ``import accel`` has itself has one dot."""

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        ROOT / "docs" / "tutorial.ipynb",
    )
}


@pytest.fixture(scope="module")
def conf() -> ModuleType:
    """How Sphinx builds the site."""
    spec = spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_marker_has_its_text_and_every_text_a_marker(conf: ModuleType) -> None:
    markers = [marker for text in PAGES.values() for marker in MARKER.findall(text)]
    assert sorted(markers) == sorted(conf.GENERATED)
    for marker in markers:
        assert re.search(r"(?m)^\|.+\|$|^## ", conf.generated(marker)), marker
    with pytest.raises(ValueError, match="nothing generates 'weather': expected one of command"):
        conf.generated("weather")


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    for name in FILE.findall(PAGES[page]):
        # The unit that a how-to has its readers write
        if "rectifier" not in name:
            assert (ROOT / name).exists(), f"{page} names {name}"


@pytest.mark.parametrize("page", PAGES)
def test_named_modules_and_their_names_exist(page: str) -> None:
    for name in NAME.findall(PAGES[page]):
        assert resolves(name.rstrip(".")), f"{page} names {name}"


def resolves(name: str) -> bool:
    """Whether a dotted name is a module's, or of something in it."""
    module, rest = name, []
    while True:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
            continue
        for part in rest:
            fields = getattr(found, "__dataclass_fields__", {})
            if not hasattr(found, part) and part not in fields:
                return False
            found = getattr(found, part, None)
        return True


@pytest.mark.parametrize("page", PAGES)
def test_named_tests_exist(page: str) -> None:
    named = NAMED.findall(PAGES[page])
    assert len(named) > 20 or page not in ("docs/numerics.md", "docs/verification.md")
    for file, test in named:
        (found,) = (ROOT / "tests").rglob(f"test_{file}.py")
        text = found.read_text()
        assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), f"{file}::{test}"


CODE = re.compile(r"(?ms)^```(?:python|json)\n(.*?)^```$")


def test_the_example_of_a_network_file_is_one(tmp_path: Path) -> None:
    (example,) = CODE.findall(PAGES["docs/reference/network-file.md"])
    document = json.loads(example)
    arrays = {
        "conv.weight": np.ones((2, 1, 3, 3), np.int8),
        "conv.weight_scale": np.ones(1, np.float32) / 64,
        "conv.bias": np.zeros(2, np.float32),
    }
    document["sha256"] = network_file._checksum(document["network"], arrays)
    text = network_file._to_json(document)
    (tmp_path / "small").write_bytes(safetensors_bytes(arrays, {"accel": text}))
    network = Network.load(tmp_path / "small")
    assert [op.name for op in network.operations] == ["conv", "conv.pool"]
    network.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "small").read_bytes()


def test_the_kind_that_is_added_in_the_how_to_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind_and_definition = CODE.findall(PAGES["docs/howto/add-an-operation.md"])
    (tmp_path / "kind_of_the_how_to.py").write_text("\n\n".join(kind_and_definition))
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("kind_of_the_how_to").ChannelScale
    monkeypatch.setitem(KINDS, kind.KIND, kind)
    rng = np.random.default_rng(0)

    def tensor(name: str, *shape: int, zero_point: int = 0) -> Tensor:
        return Tensor(name=name, shape=shape, scale=0.0625, zero_point=zero_point, signed=False)

    def weights(*shape: int) -> dict[str, object]:
        return {
            "weight": rng.integers(-128, 128, shape).astype(np.int8),
            "weight_scale": np.full(shape[0], 1 / 256, np.float32),
            "bias": rng.normal(size=shape[0]).astype(np.float32),
            "relu": False,
        }

    x, y = tensor("input", 5, 4, 4, zero_point=99), tensor("scaled", 5, 4, 4, zero_point=128)
    first = kind(name=y.name, input=x, output=y, **weights(5, 1, 1, 1))
    z = tensor("linear", 10, zero_point=120)
    last = Linear(name=z.name, input=y, output=z, **weights(10, 80))  # type: ignore[arg-type]
    Network(name="added", operations=(first, last)).save(tmp_path / "added")
    network = Network.load(tmp_path / "added")
    images = rng.integers(0, 256, (4, *x.shape))
    kernels = accel.run_network(network, images)
    for made, exact in zip(kernels, network.integers(images), strict=True):
        np.testing.assert_array_equal(made, exact)
        assert len(np.unique(made)) > 20
    program = accel.compile(network, accel.load_config("base"))
    for level in ("fl", "cl"):
        run = accel.simulate(program, images, level=level, jobs=1)
        np.testing.assert_array_equal(run.outputs, kernels[-1])
