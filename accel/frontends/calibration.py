"""Calibration images, in whatever form people have them, as one float32 tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch.utils.data import Dataset

from accel.errors import AccelError

EXPECTED = "float32 (N, channels, height, width) or (N, features)"

FORMS = (
    "a tensor or an array, a list of images, a batch (images, labels), a DataLoader or a Dataset"
)


def calibration_images(data: Any, sequences: bool = False) -> torch.Tensor:
    """float32 (N, channels, height, width) or (N, features), on the CPU; ``sequences``: (N,
    channels, length).

    data: a tensor of any device, layout and floating type; an array of any strides and byte order;
    a batch ``(images, labels)``; or what yields images, pairs of image and label, or batches, such
    as a list, a ``Dataset`` or a ``DataLoader``.

    Raises :class:`AccelError` for anything else, and for values that are not finite.
    """
    allowed = (3,) if sequences else (2, 4)
    images = _gathered(data, allowed)
    if not images.dtype.is_floating_point or images.ndim not in allowed or not images.numel():
        expected = "float32 (N, channels, length) for Conv1d" if sequences else EXPECTED
        raise AccelError(
            f"calibration images must be {expected}, not "
            f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}{_advice(images)}"
        )
    images = images.float().contiguous()
    if not images.isfinite().all():
        raise AccelError("calibration images must be finite in float32, but some values are not")
    return images


def _advice(images: torch.Tensor) -> str:
    if images.dtype == torch.uint8:
        return "; scale them as for training, for example images.float() / 255"
    if images.ndim == 3:
        return "; images without channels need images[:, None], a single image needs images[None]"
    return ""


def _gathered(data: Any, allowed: tuple[int, ...]) -> torch.Tensor:
    """allowed: how many dimensions a batch may have."""
    plain = _tensor(data)
    if plain is not None:
        return plain
    if _is_labelled(data):
        return _gathered(data[0], allowed)
    if isinstance(data, Dataset) and not isinstance(data, Iterable):
        # Python would go on until an IndexError, which not every dataset raises.
        data = _items(data)
    if isinstance(data, str | bytes | Mapping | type) or not isinstance(data, Iterable):
        _refuse(data)
    parts = [_part(item) for item in data]
    if not parts:
        raise AccelError(f"calibration images must be {EXPECTED}, but {_what(data)} holds none")
    if len({part.shape[1:] for part in parts}) == 1 and parts[0].ndim in allowed:
        return torch.cat(parts)
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) > 1:
        first, second = sorted(shapes)[:2]
        raise AccelError(
            f"calibration images must have one shape, but there are {first} and {second}"
        )
    return torch.stack(parts)


def _items(data: Any) -> Iterable[Any]:
    try:
        size = len(data)
    except TypeError:
        _refuse(data)
    return (data[i] for i in range(size))


def _part(item: Any) -> torch.Tensor:
    """An image or a batch of them, with a label or without."""
    if isinstance(item, list | tuple) and item and _tensor(item[0]) is not None:
        item = item[0]
    found = _tensor(item)
    if found is None:
        _refuse(item, "each item of the calibration images")
    return found


def _is_labelled(data: Any) -> bool:
    """Whether it is a batch (images, labels), which has one label for each image."""
    if not isinstance(data, list | tuple) or len(data) != 2:
        return False
    images, labels = map(_tensor, data)
    if images is None or labels is None or images.ndim not in (2, 3, 4) or labels.ndim > 2:
        return False
    return labels.ndim > 0 and len(images) == len(labels) and images.ndim > labels.ndim


def _tensor(data: Any) -> torch.Tensor | None:
    """A tensor's or an array's values as a plain tensor on the CPU; None for anything else."""
    if isinstance(data, torch.Tensor):
        if data.is_meta:
            raise AccelError("calibration images are on the meta device, and so have no values")
        data = data.detach()
        if data.is_quantized:
            data = data.dequantize()
        if data.layout != torch.strided:
            data = data.to_dense()
        return data.cpu()
    if isinstance(data, str | bytes | list | tuple | Mapping) or not hasattr(data, "__array__"):
        return None
    array = np.asarray(data)
    if array.dtype.kind not in "fiub":
        _refuse(array)
    # PyTorch takes neither strides below zero nor another byte order.
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if array.dtype.kind == "f" and array.dtype.itemsize not in (2, 4, 8):
        array = array.astype(np.float64)
    return torch.from_numpy(array.copy())


def _what(data: Any) -> str:
    if isinstance(data, np.ndarray):
        return f"an array of {data.dtype}"
    if data is None:
        return "None"
    return f"the class {data.__name__}" if isinstance(data, type) else f"a {type(data).__name__}"


def _refuse(data: Any, what: str = "calibration images") -> NoReturn:
    size = f" of {len(data)}" if isinstance(data, Sequence) and not isinstance(data, str) else ""
    raise AccelError(f"{what} must be {FORMS}, with images {EXPECTED}, not {_what(data)}{size}")
