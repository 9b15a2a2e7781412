"""Images of a user's own: what is taken, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from accel import cli
from accel.errors import AccelError
from accel.fashion_mnist import data
from accel.hardware.config import tiny
from accel.images import Images, find, first, pictures
from accel.network.graph import Network
from accel.reports import html_report
from accel.reports import record as records
from accel.reports.evaluation import evaluate
from accel.runtimes.qnnpack import run_network
from tests.networks import Conv, Linear, random_network

RNG = np.random.default_rng(5)
GREY = random_network(RNG, (1, 6, 4), [Conv(3, (3, 3)), Linear(4, relu=False)])
COLOURED = random_network(RNG, (3, 6, 4), [Conv(3, (3, 3)), Linear(4, relu=False)])
VECTOR = random_network(RNG, (10,), [Linear(4, relu=False)])
BUNDLED = data.bundled_network()


def accepted(network: Network, what: Any, **options: Any) -> Images:
    return find(str(what), network, **({"count": 7} | options))


def refused(network: Network, what: Any, **options: Any) -> str:
    with pytest.raises(AccelError) as e:
        accepted(network, what, **options)
    assert "\n" not in str(e.value)
    return str(e.value)


# Without files


def test_fashion_mnist_where_the_network_takes_it() -> None:
    for what, count in ((None, 7), ("3", 3)):
        found = find(what, BUNDLED, count=7)
        assert found.values.shape == (count, 1, 28, 28) and found.values.dtype == np.float32
        np.testing.assert_array_equal(found.labels, data.bundled_images()[:count].labels)
        assert found.classes == data.CLASSES


def test_random_images_are_the_same_however_many() -> None:
    for network in (GREY, VECTOR):
        low, high = network.input.limits
        found = accepted(network, "random:300").values
        assert (found.min(), found.max()) == (low, high)
        assert found.shape == (300, *network.input.shape)
        for what in ("20", "random:20"):
            np.testing.assert_array_equal(accepted(network, what).values, found[:20])
        np.testing.assert_array_equal(find(None, network, count=7).values, found[:7])
    assert accepted(BUNDLED, "random:2").values.shape == (2, 1, 28, 28)


@pytest.mark.parametrize("what", ["0", "-5", "random:0", "random:", "random:x", "+3", "random:-1"])
def test_a_number_that_is_none(what: str) -> None:
    for network in (GREY, BUNDLED):
        assert "must be a whole number from 1 on" in refused(network, what)


def test_what_cannot_be() -> None:
    assert "must be all, a number, FILE.npy" in refused(GREY, "photos.doc")
    assert "takes (1, 6, 4)" in refused(GREY, "all")
    assert "takes (1, 6, 4)" in refused(GREY, "3", data=Path())
    assert "--images names others" in refused(BUNDLED, "random:3", data=Path())
    assert "ask for" in refused(GREY, f"random:{10**11}")
    with pytest.raises(AccelError, match=r"there are 3 images \(random values, seed 0\)"):
        first(accepted(GREY, "random:3"), 4)


# Arrays


def test_arrays_in_the_forms_that_people_have(tmp_path: Path) -> None:
    own = RNG.integers(0, 256, (5, 3, 6, 4)).astype(np.uint8)
    for i, array in enumerate((own, own.transpose(0, 2, 3, 1), own[:, ::-1][:, ::-1])):
        np.save(tmp_path / f"{i}.npy", array)
        found = accepted(COLOURED, tmp_path / f"{i}.npy")
        np.testing.assert_array_equal(found.values, own)
        assert found.labels is None
    np.save(tmp_path / "grey.npy", own[:, 0].astype(">f8") / 255)
    found = accepted(GREY, tmp_path / "grey.npy")
    np.testing.assert_array_equal(found.values, own[:, :1] / 255.0)
    labels = np.arange(5).astype(np.uint8)
    for i, names in enumerate(({"images": own, "labels": labels}, {"x_test": own, "y": labels},
                               {"arr_0": own, "Labels": labels[:, None]})):  # fmt: skip
        np.savez(tmp_path / f"{i}.npz", **names)
        found = accepted(COLOURED, tmp_path / f"{i}.npz")
        np.testing.assert_array_equal(found.values, own)
        np.testing.assert_array_equal(found.labels, labels)
    np.save(tmp_path / "vector.npy", np.zeros((2, 10)))
    assert accepted(VECTOR, tmp_path / "vector.npy").values.shape == (2, 10)


def test_arrays_that_are_none(tmp_path: Path) -> None:
    file, archive = tmp_path / "a.npy", tmp_path / "a.npz"
    for array, message in (
        (np.zeros((2, 5, 5)), r"of shape (N, 1, 6, 4) or (N, 6, 4, 1), not (2, 5, 5)"),
        (np.zeros((0, 1, 6, 4)), "not (0, 1, 6, 4)"),
        (np.zeros((2, 1, 6, 4), complex), "must hold numbers, not complex128"),
        (np.array(["a"]), "must hold numbers"),
    ):
        np.save(file, array)
        assert message in refused(GREY, file)
    np.save(file, np.zeros((2, 10, 2)))
    assert "of shape (N, 10), not" in refused(VECTOR, file)
    good = np.zeros((2, 1, 6, 4))
    for arrays, message in (
        ({"a": good, "b": good}, "in an array called images or x or x_test or data, but it has"),
        ({}, "but it has none"),
        ({"x": good, "y": np.zeros(3, int)}, "must be 2 whole numbers"),
        ({"x": good, "y": np.zeros(2)}, "must be 2 whole numbers"),
        ({"x": good, "y": np.array([0, -1])}, "must be from 0 to 65535, not -1 to 0"),
    ):
        np.savez(archive, **arrays)
        assert message in refused(GREY, archive)
    assert f"cannot read {tmp_path / 'none.npz'}: No such file" in refused(
        GREY, tmp_path / "none.npz"
    )


class Trap:
    """Says so if it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a file's content was run",)


def test_no_file_runs_anything(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Trap()]), allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=np.array([Trap()]))
    for name in ("a.npy", "a.npz"):
        assert "is no whole" in refused(GREY, tmp_path / name)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_damaged_file_is_one_sentence(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"images{suffix}"
    save = np.save if suffix == ".npy" else np.savez
    save(file, RNG.integers(0, 256, (3, 1, 6, 4)).astype(np.uint8))
    content, damaged = file.read_bytes(), 0
    for i in range(400):
        changed = bytearray(content)
        if i % 2:
            del changed[int(RNG.integers(len(content))) :]
        else:
            changed[int(RNG.integers(len(content)))] ^= 1 << int(RNG.integers(8))
        file.write_bytes(changed)
        try:
            accepted(GREY, file)
        except AccelError as e:
            damaged += "\n" not in str(e)
    assert damaged > 200


# Pictures


def test_pictures(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (4, 6, 4, 3)).astype(np.uint8)
    for i, picture in enumerate(pixels):
        folder = tmp_path / ("cats" if i < 3 else "dogs")
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{i}.png")
    (tmp_path / "cats" / "notes.txt").write_text("no picture")
    found = accepted(COLOURED, tmp_path)
    np.testing.assert_array_equal(
        found.values, np.moveaxis(pixels, 3, 1).astype(np.float32) / np.float32(255)
    )
    assert found.classes == ["cats", "dogs"]
    np.testing.assert_array_equal(found.labels, [0, 0, 0, 1])

    plain = accepted(COLOURED, tmp_path / "cats")
    np.testing.assert_array_equal(plain.values, found.values[:3])
    assert plain.labels is None
    assert accepted(GREY, tmp_path / "cats").values.shape == (3, 1, 6, 4)

    assert "has 4x6 pixels, but the network takes 28x28" in refused(BUNDLED, tmp_path)
    assert "of one channel or three, but the network takes (10,)" in refused(VECTOR, tmp_path)
    (tmp_path / "dogs" / "9.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert f"cannot read the picture {tmp_path / 'dogs' / '9.png'}" in refused(GREY, tmp_path)
    (tmp_path / "empty").mkdir()
    assert "there are no pictures in" in refused(GREY, tmp_path / "empty")


def test_what_is_shown_of_images() -> None:
    """Grey ones, coloured ones, vectors as squares, large ones thinned out; as integers and as real
    numbers."""
    for network, shape in ((GREY, (6, 4)), (COLOURED, (6, 4, 3)), (VECTOR, (4, 4))):
        tensor = network.input
        values = accepted(network, "random:5").values
        shown = pictures(values, tensor)
        assert shown.shape == (5, *shape) and shown.dtype == np.uint8
        real = ((values - tensor.zero_point) * tensor.scale).astype(np.float32)
        np.testing.assert_array_equal(pictures(real, tensor), shown)
    np.testing.assert_array_equal(shown.reshape(5, -1)[:, :10], values - tensor.limits[0])
    large = random_network(RNG, (1, 300, 5), [Linear(2)])
    assert pictures(accepted(large, "1").values, large.input).shape == (1, 100, 2)


# All of it


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("network", [GREY, COLOURED, VECTOR], ids=["grey", "coloured", "vector"])
def test_the_command(network: Network, labelled: bool, tmp_path: Path) -> None:
    """Run, JSON and page of any network, with classes and without."""
    x = accepted(network, "random:12").values
    truth = run_network(network, x)[-1].argmax(axis=1)
    truth[0] = (truth[0] + 1) % 4
    np.savez(tmp_path / "own.npz", x=x, **({"y": truth} if labelled else {}))
    network.save(tmp_path / "int8.safetensors")
    options = ["run", "--level", "cl", "--network", str(tmp_path / "int8.safetensors")]
    options += ["--images", str(tmp_path / "own.npz"), "--report", str(tmp_path / "page")]
    done = CliRunner().invoke(cli.app, [*options, "--json", str(tmp_path / "run.json")])
    assert done.exit_code == 0, done.output
    first_line = "11 of 12 images in their class" if labelled else "12 images ("
    assert first_line in done.stdout
    record = records.load(tmp_path / "run.json")
    assert record.images_source == str(tmp_path / "own.npz")
    assert record.correct == (11 if labelled else None)
    assert [image.index for image in record.wrong] == ([0] if labelled else [])
    page = (tmp_path / "page" / "report.html").read_text()
    assert page == html_report.page(record)
    assert ('id="confusion"' in page) == labelled
    assert page.count('alt="image ') == len(record.wrong) + 12


def test_a_label_beyond_the_outputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=np.zeros((2, 10)), y=np.array([3, 5000]))
    found = evaluate(
        VECTOR, tiny, accepted(VECTOR, tmp_path / "own.npz"), level="fl", jobs=1
    ).record()
    assert found.confusion is None and len(found.classes) == 5001
    assert 'id="confusion"' not in html_report.page(found)


def test_trace_and_bisect_of_own_images(tmp_path: Path) -> None:
    GREY.save(tmp_path / "int8.safetensors")
    options = ["--network", str(tmp_path / "int8.safetensors"), "--config", "tiny"]
    options += ["--images", "random:3", "--image", "2"]
    for command in (["trace", "--layer", "0"], ["bisect"]):
        done = CliRunner().invoke(cli.app, [*command, *options])
        assert done.exit_code == 0, done.output
    done = CliRunner().invoke(cli.app, ["trace", "--layer", "0", *options[:-1], "3"])
    assert done.exit_code == 2
    assert "there are 3 images" in done.stderr


def test_the_record_of_a_run_is_plain_json() -> None:
    found = evaluate(GREY, tiny, accepted(GREY, "random:4"), level="fl", jobs=1).record()
    record = json.loads(found.model_dump_json())
    assert record["accuracy"] is None and record["images_source"] == "random values, seed 0"
