"""Training learns, repeats itself, and its file gives the same network back or one sentence."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from accel import numerics
from accel.errors import AccelError
from accel.fashion_mnist import data, training
from accel.fashion_mnist.data import Images
from accel.fashion_mnist.training import MAX_SHIFT, FashionNet, Recipe
from accel.network.graph import Network
from accel.reports import quantization as report


def striped_images(num):
    """Ten classes that are easily told apart, whichever way they are moved or flipped."""
    labels = np.arange(num, dtype=np.uint8) % 10
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 30, (num, 28, 28), dtype=np.uint8)
    for pixel, label in zip(pixels, labels, strict=True):
        pixel[2 * label + 4 : 2 * label + 6] = 255
    return Images(pixels, labels)


FEW = Recipe(epochs=2, held_out=20, batch_size=32, seed=3)


@pytest.fixture(scope="module")
def trained():
    return training.train(striped_images(180), FEW)


def test_network_is_the_designs():
    network = FashionNet()
    assert sum(p.numel() for p in network.parameters()) == 81_194
    sizes = {}
    for name, module in network.named_children():
        module.register_forward_hook(lambda _, __, y, name=name: sizes.update({name: y.shape[1:]}))
    network(torch.zeros(1, 1, 28, 28))
    assert sizes["conv1"] == (6, 28, 28)
    assert sizes["conv2"] == (16, 12, 12)
    assert sizes["flatten"] == (576,)
    assert [sizes[fc] for fc in ("fc1", "fc2", "fc3")] == [(120,), (84,), (10,)]


def test_a_pixel_is_its_own_quantized_value():
    pixels = np.arange(256, dtype=np.uint8).repeat(784).reshape(256, 28, 28)
    x = training.to_input(pixels)
    assert x.shape == (256, 1, 28, 28)
    quantized = numerics.quantize(x.numpy(), 1 / 255, 0, signed=False)
    np.testing.assert_array_equal(quantized[:, 0], pixels)


def test_learns():
    images = striped_images(600)
    recipe = Recipe(epochs=12, held_out=100, batch_size=20, ema_epochs=0.5)
    network, record = training.train(images, recipe)
    assert not network.training
    assert record["held_out_accuracy"] > 0.9
    assert record["held_out_accuracy"] == training.accuracy(network, images[500:])


def test_repeats_itself(trained):
    network, record = trained
    again, again_record = training.train(striped_images(180), FEW)
    assert again_record == record
    for a, b in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_seed_changes_the_network(trained):
    other, _ = training.train(striped_images(180), Recipe(**{**vars(FEW), "seed": 4}))
    assert not torch.equal(other.fc3.weight, trained[0].fc3.weight)


def test_held_out_images_do_not_train(trained):
    images = striped_images(180)
    images.pixels[160:] = 0
    images.labels[160:] = 0
    network, _ = training.train(images, FEW)
    assert torch.equal(network.fc3.weight, trained[0].fc3.weight)


def test_reports_every_batch():
    reports = []
    training.train(striped_images(180), FEW, reports.append)
    assert [p.step for p in reports] == list(range(1, 11))
    assert {p.num_steps for p in reports} == {10}
    assert [p.epoch for p in reports] == 5 * [0] + 5 * [1]
    assert reports[0].accuracy is None
    assert all(p.loss > 0 for p in reports)
    assert 0 <= reports[-1].accuracy <= 1


@pytest.mark.parametrize("num", [0, 51])
def test_too_few_images(num):
    with pytest.raises(AccelError, match=rf"at least 52 images, not {num}$"):
        training.train(striped_images(num), FEW)


def test_no_epochs():
    with pytest.raises(AccelError, match="at least 1 epoch, not 0"):
        Recipe(epochs=0)


def test_augmentation_only_moves_and_flips():
    pixels = torch.from_numpy(np.random.default_rng(1).integers(1, 256, (200, 28, 28), np.uint8))
    padded = torch.nn.functional.pad(pixels, (MAX_SHIFT,) * 4)
    moved = training._augment(padded)
    assert moved.shape == (200, 1, 28, 28)
    seen = set()
    for image, x in zip(padded, (moved * 255).round().to(torch.uint8)[:, 0], strict=True):
        matches = [
            (dy, dx, flip)
            for dy in range(2 * MAX_SHIFT + 1)
            for dx in range(2 * MAX_SHIFT + 1)
            for flip in (False, True)
            if torch.equal(x.flip(1) if flip else x, image[dy : dy + 28, dx : dx + 28])
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    # 200 draws from 50 possibilities: all shifts and both directions are among them.
    assert {dy for dy, _, _ in seen} == {dx for _, dx, _ in seen} == set(range(5))
    assert {flip for _, _, flip in seen} == {False, True}


def test_file_gives_the_network_back(trained, tmp_path):
    network, record = trained
    path = tmp_path / "new" / "network.safetensors"
    training.save(network, record, path)
    loaded = training.load(path)
    assert not loaded.training
    x = training.to_input(striped_images(20).pixels)
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))
    with safe_open(path, framework="pt") as f:
        document = json.loads(f.metadata()["accel"])
    assert document["training"]["recipe"] == vars(FEW)
    assert os.listdir(path.parent) == [path.name]


def altered(**changes):
    """A file's tensors and metadata with some of them replaced, or left out where None."""
    tensors = {**FashionNet().state_dict(), **changes}
    return {name: t for name, t in tensors.items() if t is not None}


def described(**changes):
    """A file's metadata, its description changed."""
    document = {"format": training.FORMAT, "version": training.VERSION, **changes}
    return {"accel": json.dumps(document)}


GOOD = described()


@pytest.mark.parametrize(
    ("tensors", "metadata", "says"),
    [
        (altered(), None, "is not a float network"),
        (altered(), {"accel": "no JSON"}, "is not a float network"),
        (altered(), {"accel": "[" * 100_000}, "is not a float network"),
        (altered(), {"accel": "1"}, "is not a float network"),
        (altered(), described(format="other"), "is not a float network"),
        (altered(), described(version=2), "of format version 1"),
        (altered(**{"fc3.bias": None}), GOOD, "other tensors"),
        (altered(extra=torch.zeros(1)), GOOD, "other tensors"),
        (altered(**{"fc3.bias": torch.zeros(11)}), GOOD, "other tensors"),
        (altered(**{"fc3.bias": torch.zeros(10).double()}), GOOD, "tensor fc3.bias"),
        (altered(**{"fc3.bias": torch.full((10,), torch.nan)}), GOOD, "tensor fc3.bias"),
    ],
)
def test_another_file_is_refused(tmp_path, tensors, metadata, says):
    path = tmp_path / "network.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(AccelError, match=says) as e:
        training.load(path)
    assert str(path) in str(e.value)
    assert "accel train" in str(e.value)


@pytest.mark.parametrize("num_bytes", [0, 7, 100, 300_000])
def test_cut_file_is_refused(trained, tmp_path, num_bytes):
    path = tmp_path / "network.safetensors"
    training.save(*trained, path)
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(AccelError, match="not a whole safetensors file"):
        training.load(path)


@pytest.mark.parametrize("name", ["missing.safetensors", "."])
def test_what_is_not_a_file_is_refused(tmp_path, name):
    with pytest.raises(AccelError, match="cannot read"):
        training.load(tmp_path / name)


def test_bundled_networks():
    """Float and quantized are there, are one another's, and are good."""
    images = data.bundled_images()
    model = training.load(data.FLOAT_NETWORK)
    network = Network.load(data.QUANTIZED_NETWORK)
    assert training.accuracy(model, images) > 0.91
    assert report.quantized_accuracy(network, images) > 0.91
    for layer in network.layers:
        weight = model.get_parameter(f"{layer.name}.weight").detach().numpy()
        scale = layer.weight_scale.reshape(-1, *[1] * (weight.ndim - 1))
        assert np.all(np.abs(layer.weight * scale - weight) <= 0.501 * scale)


def test_a_pixel_is_the_bundled_networks_input():
    tensor = Network.load(data.QUANTIZED_NETWORK).input
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    x = training.to_input(pixels).numpy()
    q = numerics.quantize(x, tensor.scale, tensor.zero_point, tensor.signed)
    np.testing.assert_array_equal(q[0], pixels)
