"""Fashion-MNIST is read whole and right, or refused in one sentence."""

import gzip
import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest

from accel.errors import AccelError
from accel.fashion_mnist import data

NUM = 7


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small data set in the real one's files, with checksums to match."""
    rng = np.random.default_rng(0)
    content = {
        "images": struct.pack(">4i", 2051, NUM, 28, 28) + rng.bytes(NUM * 784),
        "labels": struct.pack(">2i", 2049, NUM) + bytes(range(NUM)),
    }
    for (split, kind), file in data.FILES.items():
        nbytes, sha256 = len(content[kind]), hashlib.sha256(content[kind]).hexdigest()
        small = replace(file, nbytes=nbytes, sha256=sha256)
        monkeypatch.setitem(data.FILES, (split, kind), small)
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(content[kind]))
    return tmp_path


@pytest.fixture
def no_debian(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "DEBIAN_FOLDER", tmp_path / "none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def refused(path):
    """What is said about a test set read from ``path``: one line."""
    with pytest.raises(AccelError) as e:
        data.load("test", path)
    message = str(e.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("split", ["train", "test"])
def test_reads_images_and_labels(folder, split):
    images = data.load(split, folder)
    assert images.pixels.shape == (NUM, 28, 28)
    assert images.pixels.dtype == images.labels.dtype == np.uint8
    assert images.labels.tolist() == list(range(NUM))
    expected = np.random.default_rng(0).bytes(NUM * 784)
    assert images.pixels.tobytes() == expected


def test_reads_unpacked_files(folder):
    packed = data.load("test", folder)
    for path in folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    np.testing.assert_array_equal(data.load("test", folder).pixels, packed.pixels)


def test_a_part_of_the_images(folder):
    images = data.load("test", folder)
    part = images[np.array([5, 2])]
    assert len(part) == 2
    np.testing.assert_array_equal(part.pixels[1], images.pixels[2])
    assert part.labels.tolist() == [5, 2]


def test_missing_folder(tmp_path):
    assert "has no t10k-images-idx3-ubyte.gz" in refused(tmp_path / "nowhere")


def test_missing_file(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    assert "has no t10k-labels-idx1-ubyte.gz" in refused(folder)


def test_cut_archive(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    assert "is cut short or damaged" in refused(folder)


def test_not_an_archive(folder):
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"<html>Not found</html>")
    assert "is cut short or damaged" in refused(folder)


def test_damaged_archive(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[100:200] = bytes(100)
    path.write_bytes(content)
    assert "is cut short or damaged" in refused(folder)


def test_wrong_content_names_both_checksums(folder):
    path = folder / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(content))
    message = refused(folder)
    assert hashlib.sha256(content).hexdigest() in message
    assert data.FILES["test", "labels"].sha256 in message


@pytest.mark.parametrize(("change", "got"), [(-1, str(NUM + 7)), (1, "more"), (10**6, "more")])
def test_wrong_size(folder, change, got):
    path = folder / "t10k-labels-idx1-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    content = content[:change] if change < 0 else content + bytes(change)
    path.write_bytes(gzip.compress(content))
    assert f"should hold {NUM + 8} bytes of labels but holds {got};" in refused(folder)


@pytest.mark.usefixtures("no_debian")
def test_downloads_once(folder, tmp_path, monkeypatch):
    downloads = []

    class Datasets:
        @staticmethod
        def FashionMNIST(root, download):
            raw = root / "FashionMNIST" / "raw"
            raw.mkdir(parents=True)
            for path in folder.glob("*.gz"):
                (raw / path.name).write_bytes(path.read_bytes())
                (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
            downloads.append(root)

    monkeypatch.setattr(data, "_import_torchvision_datasets", lambda: Datasets)
    for _ in range(2):
        assert len(data.load("test")) == NUM
    assert downloads == [tmp_path / "cache" / "accel"]


@pytest.mark.usefixtures("no_debian")
def test_failed_download(monkeypatch):
    class Datasets:
        @staticmethod
        def FashionMNIST(root, download):
            raise RuntimeError("Error downloading:\nTried http://a, got:\n<no network>\n")

    monkeypatch.setattr(data, "_import_torchvision_datasets", lambda: Datasets)
    message = refused(None)
    assert "(Error downloading: Tried http://a, got: <no network>)" in message
    assert "dataset-fashion-mnist" in message


@pytest.mark.usefixtures("no_debian")
def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert "cannot download Fashion-MNIST" in refused(None)


def test_torchvision_expects_the_same_files():
    """Its data sets import, beside a CPU build of torch too, and its archives have our names."""
    datasets = data._import_torchvision_datasets()
    archives = {name for name, _ in datasets.FashionMNIST.resources}
    assert archives == {f"{file.name}.gz" for file in data.FILES.values()}


def test_bundled_images():
    images = data.bundled_images()
    assert images.pixels.shape == (1000, 28, 28)
    assert images.pixels.dtype == images.labels.dtype == np.uint8
    # The first test images are well known: an ankle boot, a pullover, two trousers.
    assert [data.CLASSES[i] for i in images.labels[:4]] == [
        "Ankle boot",
        "Pullover",
        "Trouser",
        "Trouser",
    ]
    assert set(images.labels) == set(range(len(data.CLASSES)))


@pytest.mark.skipif(
    not data.DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)
def test_bundled_images_are_the_first_of_the_test_set():
    first = data.load("test")[:1000]
    bundled = data.bundled_images()
    np.testing.assert_array_equal(bundled.pixels, first.pixels)
    np.testing.assert_array_equal(bundled.labels, first.labels)
