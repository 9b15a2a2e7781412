"""What a network is run on: Fashion-MNIST's test images, a user's own, or random ones.

``--images`` of the commands says which::

    N, all          the first N, or all, of Fashion-MNIST's test images; of a network that takes
                    others, N random ones
    FILE.npy        an array of images
    FILE.npz        images, and labels if it has them
    FOLDER          pictures; the folders in it, if there are any, are their classes
    random:N        N random images, the same every time
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel import numerics
from accel.errors import AccelError
from accel.network.graph import Network
from accel.network.order import Order
from accel.network.tensor import Tensor

if TYPE_CHECKING:
    import accel.fashion_mnist.data as fashion_mnist

FORMS = "a number, FILE.npy, FILE.npz, a folder of pictures or random:N"
MAX_VALUES = 1 << 28
"""Of all images together."""
MAX_PICTURE_SIDE = 128
"""Pixels of a picture that is shown."""
MAX_CLASS = 65_535
FASHION_MNIST_SHAPE = (1, 28, 28)
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
IMAGE_NAMES, LABEL_NAMES = ("images", "x", "x_test", "data"), ("labels", "y", "y_test", "targets")
"""Arrays of a file, by the names that people give them."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images for a network."""

    values: NDArray[Any]
    """(N, *shape of the network's input), in its order: real numbers, or integers that are the
    network's own."""
    labels: NDArray[np.int64] | None = None
    """(N,): the index of each image's class, if it is known."""
    classes: Sequence[str] = ()
    """Names of classes, as far as they have any."""
    source: str
    """Where they are from, for a sentence."""

    def __len__(self) -> int:
        return len(self.values)


def find(what: str | None, network: Network, *, count: int, data: Path | None = None) -> Images:
    """The images that ``what`` names, in one of the forms above; without it, ``count`` of
    Fashion-MNIST's if the network takes such images, else random ones.

    data: the folder in which that data set lies, if it is not where it is looked for.

    Raises :class:`AccelError` for a form that there is not, for images that are not there or cannot
    be read, and for such as the network does not take.
    """
    found = _find(str(count) if what is None else what, network, data)
    return replace(found, values=network.order.outward(found.values))


def _find(what: str, network: Network, data: Path | None) -> Images:
    """The same, with channels first."""
    takes_fashion_mnist = network.input.shape == FASHION_MNIST_SHAPE
    is_number = what.lstrip("+-").isdecimal()
    if takes_fashion_mnist and (is_number or what == "all"):
        return _fashion_mnist(None if what == "all" else _number(what), data)
    if data is not None:
        raise AccelError(
            f"--data is for Fashion-MNIST's images of shape {FASHION_MNIST_SHAPE}, but "
            + (
                "--images names others"
                if takes_fashion_mnist
                else f"network '{network.name}' takes {network.input.shape}"
            )
        )
    if what == "all":
        raise AccelError(
            f"--images all is for Fashion-MNIST's images of shape {FASHION_MNIST_SHAPE}, but "
            f"network '{network.name}' takes {network.input.shape}: give {FORMS}"
        )
    if is_number or what.startswith("random:"):
        return _random(network.input, _number(what.removeprefix("random:")))
    path = Path(what)
    if path.is_dir():
        return _pictures(path, network.input)
    if path.suffix in _READERS:
        return _arrays(path, network.input, network.order)
    raise AccelError(f"--images must be all, {FORMS}, not '{what}'")


def first(images: Images, count: int) -> Images:
    """The first ``count`` images.

    Raises :class:`AccelError` if there are fewer.
    """
    if count > len(images):
        raise AccelError(
            f"there are {len(images):,} images ({images.source}), so that image {count - 1} is not "
            f"among them"
        )
    labels = None if images.labels is None else images.labels[:count]
    return Images(
        values=images.values[:count], labels=labels, classes=images.classes, source=images.source
    )


def pictures(images: NDArray[Any], tensor: Tensor) -> NDArray[np.uint8]:
    """The images as they can be shown: uint8 (N, height, width) or (N, height, width, 3), the least
    value that the tensor holds in black. Of channels other than three the first is shown, and
    vectors as squares; large ones are thinned out.

    images: as :class:`Images` has them, but with channels first.
    """
    if images.dtype.kind == "f":
        images = numerics.quantize(images, tensor.scale, tensor.zero_point, tensor.signed)
    values = (images - tensor.limits[0]).astype(np.uint8)
    if values.ndim == 2:
        side = isqrt(max(values.shape[1] - 1, 0)) + 1
        square = np.zeros((len(values), side * side), np.uint8)
        square[:, : values.shape[1]] = values
        values = square.reshape(-1, 1, side, side)
    step = -(-max(values.shape[2:]) // MAX_PICTURE_SIDE)
    values = values[:, :, ::step, ::step]
    return np.moveaxis(values, 1, 3) if values.shape[1] == 3 else values[:, 0]


def _number(text: str) -> int:
    # What has more digits than this is more than there is room for anyway.
    if not text.isdecimal() or int(text[:12]) < 1:
        raise AccelError(f"the number of --images must be a whole number from 1 on, not '{text}'")
    return int(text[:12])


def _fashion_mnist(count: int | None, folder: Path | None) -> Images:
    from accel.fashion_mnist.data import test_images

    return of_fashion_mnist(test_images(count, folder))


def of_fashion_mnist(found: fashion_mnist.Images) -> Images:
    """Images of that data set."""
    from accel.fashion_mnist.data import CLASSES
    from accel.fashion_mnist.training import to_input

    return Images(
        values=to_input(found.pixels).numpy(),
        labels=found.labels.astype(np.int64),
        classes=CLASSES,
        source="Fashion-MNIST, the first of the test set",
    )


def _random(tensor: Tensor, count: int) -> Images:
    """Values of the tensor's whole range, each as likely as any other."""
    _check_size(count, tensor)
    low, high = tensor.limits
    # The n-th image is the same however many there are.
    images = [
        np.random.default_rng((0, i)).integers(low, high + 1, tensor.shape) for i in range(count)
    ]
    return Images(values=np.stack(images), source="random values, seed 0")


def _arrays(path: Path, tensor: Tensor, order: Order) -> Images:
    arrays = _read(path, _READERS[path.suffix])
    images, labels = _named(arrays, IMAGE_NAMES), _named(arrays, LABEL_NAMES)
    if images is None:
        only = [array for array in arrays.values() if array is not labels]
        if len(only) != 1:
            raise AccelError(
                f"{path} must have the images in an array called {' or '.join(IMAGE_NAMES)}, but "
                f"it has {', '.join(map(repr, arrays)) or 'none'}"
            )
        images = only[0]
    values = _shaped(images, tensor, order, path)
    if labels is not None:
        labels = _checked_labels(labels, len(values), path)
    return Images(values=values, labels=labels, source=str(path))


def _read(path: Path, reader: Callable[[Path], dict[str, NDArray[Any]]]) -> dict[str, Any]:
    try:
        return reader(path)
    except OSError as e:
        raise AccelError(f"cannot read {path}: {e.strerror or e}") from e
    # Of a damaged header NumPy raises whatever Python's own parser does.
    except Exception as e:
        raise AccelError(
            f"{path} is no whole {path.suffix} file of numbers: write one with numpy.save or "
            f"numpy.savez"
        ) from e


def _npy(path: Path) -> dict[str, NDArray[Any]]:
    # Mapped, so that a header that promises too much is found out before memory is taken.
    array = np.load(path, allow_pickle=False, mmap_mode="r")
    if not isinstance(array, np.ndarray):
        raise ValueError
    return {"images": array}


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        # A small file may hold what no memory does.
        if sum(entry.file_size for entry in archive.infolist()) > 8 * MAX_VALUES:
            raise MemoryError
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


_READERS = {".npy": _npy, ".npz": _npz}


def _named(arrays: dict[str, NDArray[Any]], names: Sequence[str]) -> NDArray[Any] | None:
    return next((array for name, array in arrays.items() if name.lower() in names), None)


def _shaped(images: NDArray[Any], tensor: Tensor, order: Order, path: Path) -> NDArray[Any]:
    """The array with its channels first, and one channel where it has none of its own. Where its
    shape does not tell, it is in that order."""
    expected = tensor.shape
    if images.dtype.kind not in "iuf":
        raise AccelError(f"{path} must hold numbers, not {images.dtype}")
    if images.ndim == len(expected) and images.shape[1:] == expected[1:] and expected[0] == 1:
        images = images[:, None]
    channels_last = (*expected[1:], expected[0])
    is_expected = images.shape[1:] == expected and order is Order.CHANNELS_FIRST
    if images.shape[1:] == channels_last and not is_expected:
        images = np.moveaxis(images, -1, 1)
    if images.shape[1:] != expected or not len(images):
        also = "" if len(expected) == 1 else f" or (N, {', '.join(map(str, channels_last))})"
        raise AccelError(
            f"{path} must hold images of shape (N, {', '.join(map(str, expected))}){also}, not "
            f"{images.shape}"
        )
    _check_size(len(images), tensor)
    return np.ascontiguousarray(images, images.dtype.newbyteorder("="))


def _check_size(count: int, tensor: Tensor) -> None:
    if count * tensor.size > MAX_VALUES:
        raise AccelError(
            f"{count:,} images of {tensor.size:,} values are more than memory may hold here: ask "
            f"for {MAX_VALUES // tensor.size:,} or fewer"
        )


def _checked_labels(labels: NDArray[Any], count: int, path: Path) -> NDArray[np.int64]:
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise AccelError(
            f"labels in {path} must be {count} whole numbers, one for each image, not "
            f"{labels.dtype} {labels.shape}"
        )
    if not 0 <= labels.min() <= labels.max() <= MAX_CLASS:
        raise AccelError(
            f"labels in {path} must be from 0 to {MAX_CLASS}, not {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)


def _pictures(folder: Path, tensor: Tensor) -> Images:
    """Pictures in the folder, or in the folders in it, which are classes, in the order of names."""
    if len(tensor.shape) != 3 or tensor.shape[0] not in (1, 3):
        raise AccelError(
            f"pictures are of one channel or three, but the network takes {tensor.shape}: give an "
            f".npz file"
        )
    try:
        inner = sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
        files = [(i, file) for i, f in enumerate(inner or [folder]) for file in _picture_files(f)]
    except OSError as e:
        raise AccelError(f"cannot read the folder {folder}: {e.strerror}") from e
    if not files:
        raise AccelError(
            f"there are no pictures in {folder}: expected files that end in {', '.join(SUFFIXES)}, "
            f"or folders of them, one for each class"
        )
    _check_size(len(files), tensor)
    values = np.stack([_picture(file, tensor.shape) for _, file in files])
    labels = np.array([i for i, _ in files], np.int64) if inner else None
    return Images(values=values, labels=labels, classes=[f.name for f in inner], source=str(folder))


def _picture_files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())


def _picture(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """float32 (channels, height, width) from 0 to 1."""
    from PIL import Image

    channels, height, width = shape
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB" if channels == 3 else "L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        raise AccelError(f"cannot read the picture {path}: it is damaged, or none") from e
    if picture.size != (width, height):
        raise AccelError(
            f"the picture {path} has {picture.width}x{picture.height} pixels, but the network "
            f"takes {width}x{height}: scale it as for training"
        )
    pixels = np.asarray(picture, np.float32).reshape(height, width, channels) / 255
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
