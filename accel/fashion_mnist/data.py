"""Fashion-MNIST: 28x28 grey images of clothes in ten classes, as plain arrays.

The files are looked for in a folder that the caller names, else where Debian's package
``dataset-fashion-mnist`` puts them, else torchvision downloads them once into the user's cache.
Whatever the source, the content of every file is held to its SHA-256 before it is used.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel.errors import AccelError

if TYPE_CHECKING:
    from accel.network.graph import Network

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The name of each label."""

IMAGE_SHAPE = (28, 28)
NUM_CALIBRATION_IMAGES = 2000
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

_ASSETS = Path(__file__).parent / "assets"
FLOAT_NETWORK = _ASSETS / "fashion_mnist_float.safetensors"
"""What ``accel train`` made, see :func:`accel.fashion_mnist.training.load`."""
QUANTIZED_NETWORK = _ASSETS / "fashion_mnist_int8.safetensors"
"""What ``accel quantize`` made of it, see :meth:`accel.network.graph.Network.load`."""

IDX_HEADER_NBYTES = {"images": 16, "labels": 8}
"""A magic number and one 32-bit size per dimension; the checksum covers them too."""


@dataclass(frozen=True)
class IdxFile:
    """A file of the data set: its name without ``.gz``, size and SHA-256 when decompressed.

    The content is what is checked, not the archive: the archives that Debian and torchvision
    hand out differ in their gzip headers.
    """

    name: str
    nbytes: int
    sha256: str


FILES = {
    ("train", "images"): IdxFile(
        "train-images-idx3-ubyte",
        47_040_016,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    ("train", "labels"): IdxFile(
        "train-labels-idx1-ubyte",
        60_008,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    ("test", "images"): IdxFile(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    ("test", "labels"): IdxFile(
        "t10k-labels-idx1-ubyte",
        10_008,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


@dataclass(frozen=True)
class Images:
    """Images with their classes: pixels uint8 (N, 28, 28), labels uint8 (N,), each 0 to 9."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: slice | NDArray[np.int64]) -> Images:
        """Some of the images: a slice, or an array of indices."""
        return Images(self.pixels[which], self.labels[which])


def load(split: str, folder: Path | None = None) -> Images:
    """The 60,000 training images (``split="train"``) or the 10,000 test images (``"test"``).

    ``folder`` holds the data set's four files, gzip-compressed or not, under their usual names;
    without it the files come from Debian's package or, failing that, a download.

    Raises :class:`AccelError` for a missing or wrong file, or a download that fails.
    """
    if folder is None:
        folder = DEBIAN_FOLDER if DEBIAN_FOLDER.is_dir() else _download(_cache_folder())
    pixels = _read(folder, split, "images").reshape(-1, *IMAGE_SHAPE)
    return Images(pixels, _read(folder, split, "labels"))


def calibration_images(folder: Path | None = None) -> Images:
    """The 2,000 training images, always the same, on which quantization is calibrated.

    Found and checked as by :func:`load`.
    """
    images = load("train", folder)
    rng = np.random.default_rng(0)
    return images[rng.choice(len(images), NUM_CALIBRATION_IMAGES, replace=False)]


def bundled_images() -> Images:
    """The first 1,000 test images, which come with this package."""
    # Imported here: it imports torch, which reading the data set does not need.
    from safetensors.numpy import load

    tensors = load((_ASSETS / "fashion_mnist_test_1000.safetensors").read_bytes())
    return Images(tensors["pixels"], tensors["labels"])


def test_images(count: int | None, folder: Path | None) -> Images:
    """The first ``count`` test images, or all if None: the bundled ones where they suffice.

    Raises :class:`AccelError` when there are not so many, or the data set is missing or wrong.
    """
    if count is not None and count < 1:
        raise AccelError(f"the number of images must be at least 1, not {count}")
    images = bundled_images()
    if folder is not None or count is None or count > len(images):
        images = load("test", folder)
    if count is not None and count > len(images):
        raise AccelError(f"there are {len(images):,} test images, not {count:,}: ask for fewer")
    return images[: count or len(images)]


def bundled_network() -> Network:
    """The project's network for these images, quantized."""
    from accel.network.graph import Network

    return Network.load(QUANTIZED_NETWORK)


def _read(folder: Path, split: str, kind: str) -> NDArray[np.uint8]:
    """The bytes after the header of one IDX file whose content is as expected."""
    expected = FILES[split, kind]
    path = _find(folder, expected.name)
    advice = "expected Fashion-MNIST's own file: replace it or name another folder with --data"
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as f:
            # One byte more than is due shows a file that is too long, however long it is.
            content = f.read(expected.nbytes + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as e:
        raise AccelError(f"{path} is cut short or damaged ({e}); {advice}") from e
    except OSError as e:
        raise AccelError(f"cannot read {path}: {e.strerror}; {advice}") from e
    if len(content) != expected.nbytes:
        got = "more" if len(content) > expected.nbytes else str(len(content))
        raise AccelError(
            f"{path} should hold {expected.nbytes} bytes of {kind} but holds {got}; {advice}"
        )
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != expected.sha256:
        raise AccelError(
            f"{path} has the wrong content: its SHA-256 is {sha256}, not {expected.sha256}; "
            f"{advice}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=IDX_HEADER_NBYTES[kind])


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise AccelError(
        f"{folder} has no {name}.gz: name a folder with Fashion-MNIST's four files with --data, "
        f"or leave --data out to have them found or downloaded"
    )


def found_folder() -> Path | None:
    """Where :func:`load` finds the data set without a download; None if it has to download it."""
    if DEBIAN_FOLDER.is_dir():
        return DEBIAN_FOLDER
    folder = _downloaded(_cache_folder())
    return folder if _is_whole(folder) else None


def _downloaded(root: Path) -> Path:
    return root / "FashionMNIST" / "raw"


def _is_whole(folder: Path) -> bool:
    # torchvision unpacks an archive only after its checksum was right, so that the unpacked files
    # show a whole download, and it fetches again what an interrupted one left.
    return all((folder / file.name).is_file() for file in FILES.values())


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accel"


def _download(root: Path) -> Path:
    """Have torchvision download the data set below ``root``, unless it is there already."""
    folder = _downloaded(root)
    if _is_whole(folder):
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        _import_torchvision_datasets().FashionMNIST(root, download=True)
    except (OSError, RuntimeError) as e:
        raise AccelError(
            f"cannot download Fashion-MNIST to {root} ({' '.join(str(e).split())}): install "
            f"Debian's package dataset-fashion-mnist or name a folder with its four files with "
            f"--data"
        ) from e
    return folder


def _import_torchvision_datasets() -> Any:
    """``torchvision.datasets``, also where torchvision's compiled operators do not load.

    That is so beside a CPU build of torch when torchvision was built for CUDA. Its Python code
    then fails at import for want of two operators' schemas, which no data set uses.
    """
    try:
        return importlib.import_module("torchvision.datasets")
    except RuntimeError as e:
        if "torchvision::nms" not in str(e):
            raise
    import torch

    # The declaration lives as long as this object does.
    global _torchvision_schemas
    _torchvision_schemas = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _torchvision_schemas.define(
            f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    return importlib.import_module("torchvision.datasets")


_torchvision_schemas: Any = None
