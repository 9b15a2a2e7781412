"""A compiled network: what the hardware is given, and what reports say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.errors import AccelError
from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import BYTES_PER_WORD
from accel.network.order import Order
from accel.network.tensor import Tensor
from accel.runtimes.rounding import Rounding


@dataclass(frozen=True, kw_only=True)
class ProgramLayer:
    """What a report says of a layer, and what it needs at least."""

    name: str
    kind: str
    target: str
    """The tensor of the network that it yields, or some channels of."""
    channels: tuple[int, int]
    """The first of them there, and the one after the last."""
    macs: int
    steps: int
    array_steps: int
    """Steps in which the array multiplies: not those that only bring pixels for column windows."""
    weight_words: int
    """Words read from the weight memory for one image."""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Where a tensor lies in the activation memory, from the layer that writes it until the last
    one that reads it has ended."""

    name: str
    shape: tuple[int, ...]
    base: int
    """Its first byte."""
    num_bytes: int
    """From its first to its last."""
    written_by: int | None
    """Number of the layer; None for the image."""
    kept: tuple[tuple[int, int], ...]
    """While which layers: each time the first of them, and the one after the last. Where an image
    lies the next one comes while this one is computed."""

    @property
    def first_row(self) -> int:
        return self.base // TAPS

    @property
    def num_rows(self) -> int:
        """Rows that hold some of it."""
        return -(-(self.base + self.num_bytes) // TAPS) - self.first_row


@dataclass(frozen=True, kw_only=True)
class Program:
    """A network compiled for a configuration."""

    cfg: AccelConfig
    words: tuple[int, ...]
    """The program stream: packets of 64-bit words."""
    layers: tuple[ProgramLayer, ...]
    rounding: Rounding
    order: Order
    """Both the network's."""
    input: Tensor
    output: Tensor
    output_bytes: NDArray[np.int64]
    """For each output element in its order, its byte among those of the result words."""
    act_rows: int
    """Rows of the activation memory in use."""
    weight_words: int
    """Words of the weight memory in use."""
    param_words: int
    """Words of the parameter memory in use."""
    tensors: tuple[StoredTensor, ...]
    """All that are stored, the image first; the last layer's output is not."""
    max_accumulator: int
    """Proven bound of any accumulator's magnitude."""

    @property
    def steps(self) -> int:
        return sum(layer.steps for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def image_words(self) -> int:
        channels, height, width = image_shape(self.input.shape)
        return channels * height * -(-width // BYTES_PER_WORD)

    @property
    def result_words(self) -> int:
        """Words of one image's result: packed outputs, and the winning class."""
        return -(-(int(self.output_bytes.max()) + 1) // BYTES_PER_WORD) + 1

    def quantize(self, images: NDArray[Any]) -> NDArray[np.int64]:
        """What the network takes: integers (N, *input.shape) as they are, float32 quantized. The
        shape is in the network's order.

        Raises :class:`AccelError` for images of another shape, type or range.
        """
        images = np.asarray(images)
        shape = self.order.shape(self.input.shape)
        if images.ndim == 3 and images.shape[1:] == (shape[0], *shape[2:]) and shape[1:2] == (1,):
            # Sequences are maps of one row.
            images = images[:, :, None]
        if images.shape[1:] != shape or images.dtype.kind not in "iuf":
            raise AccelError(
                f"images must be numbers of shape (N, {', '.join(map(str, shape))}), "
                f"not {images.dtype} {images.shape}"
            )
        if images.dtype.kind == "f":
            if not np.isfinite(images).all():
                raise AccelError("images must be finite, but some value is infinite or no number")
            t = self.input
            return self.rounding.quantize(images, t.scale, t.zero_point, t.signed)
        lo, hi = self.input.limits
        if images.size and not lo <= images.min() <= images.max() <= hi:
            raise AccelError(
                f"quantized images must hold values from {lo} to {hi}, "
                f"not {images.min()} to {images.max()}"
            )
        return images.astype(np.int64)

    def pack_images(self, images: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Image words: each row of each channel starts a word, pixel x in byte x mod 8.

        images: (N, *input.shape) of quantized values, in the network's order. Returns (N,
        image_words).
        """
        channels, height, width = image_shape(self.input.shape)
        padded = -(-width // BYTES_PER_WORD) * BYTES_PER_WORD
        rows = np.zeros((len(images), channels, height, padded), np.uint8)
        pixels = self.order.inward(images & 0xFF)
        rows[..., :width] = pixels.reshape(-1, channels, height, width)
        return rows.reshape(len(images), -1).view("<u8").astype(np.uint64)

    def unpack_results(
        self, words: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Outputs (N, *output.shape), in the network's order, and the index of the winning one
        (N,), from result words (N, result_words)."""
        n = len(words)
        data = np.ascontiguousarray(words.astype("<u8")).view(np.uint8).reshape(n, -1)
        values = data[:, self.output_bytes]
        outputs = (values.view(np.int8) if self.output.signed else values).astype(np.int64)
        # The hardware counts outputs in the order in which they come.
        winners = np.argsort(self.output_bytes)[words[:, -1].astype(np.int64)]
        return outputs.reshape(n, *self.order.shape(self.output.shape)), winners


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """How a tensor of that shape crosses the image stream: (channels, rows, columns). A vector is
    one row."""
    if len(shape) == 1 or shape[1:] == (1, 1):
        return 1, 1, shape[0]
    channels, height, width = shape
    return channels, height, width
