"""PyTorch's quantized kernels, on the QNNPACK engine: what every output is compared with.

All that touches ``torch.ops.quantized`` is here. The kernels run from a network and not from the
model that it was made of, so that they and the hardware start from the same integers and float32
numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from accel.errors import AccelError
from accel.network.network import Layer, Network, Tensor

ENGINE = "qnnpack"


BATCH_SIZE = 256
"""Images that are worked on at a time, so that many images need no more memory than few."""


def run_network(network: Network, images: ArrayLike) -> list[NDArray[np.integer]]:
    """What PyTorch's quantized kernels make of images, on the QNNPACK engine.

    images: integers (N, *network.input.shape), in the range of the input tensor. Returns for each
    layer, after its pooling, int8 (signed) or uint8 (N, *layer.output.shape); the last are the
    logits.

    Raises :class:`AccelError` for images of another shape or range, and when this build of PyTorch
    has no QNNPACK.
    """
    images = np.asarray(images)
    expected = network.input
    if images.shape[1:] != expected.shape or images.dtype.kind not in "iu":
        raise AccelError(
            f"images must be whole numbers of shape (N, {', '.join(map(str, expected.shape))}), "
            f"not {images.dtype} {images.shape}"
        )
    lo, hi = expected.limits
    if images.size and not lo <= images.min() <= images.max() <= hi:
        raise AccelError(
            f"images must hold values from {lo} to {hi}, not {images.min()} to {images.max()}"
        )
    outputs = [
        np.empty((len(images), *layer.output.shape), np.int8 if layer.output.signed else np.uint8)
        for layer in network.layers
    ]
    with engine(), quiet(), torch.no_grad():
        kernels = [_Kernel(layer) for layer in network.layers]
        for start in range(0, len(images), BATCH_SIZE):
            x = images[start : start + BATCH_SIZE]
            for kernel, output in zip(kernels, outputs, strict=True):
                x = kernel(x)
                output[start : start + BATCH_SIZE] = x
    return outputs


class _Kernel:
    """One layer, as PyTorch's quantized kernels compute it; made and called within :func:`engine`.

    The kernels take unsigned activations. A signed tensor is the unsigned one whose values and zero
    point are 128 larger.
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        weight, bias = _quantized_weight(layer), torch.from_numpy(layer.bias.copy())
        ops = torch.ops.quantized
        if layer.kind == "conv2d":
            window = [[layer.stride] * 2, [layer.padding] * 2, [1, 1], 1]
            self._packed = ops.conv2d_prepack(weight, bias, *window)
            self._run = ops.conv2d_relu if layer.relu else ops.conv2d
        else:
            self._packed = ops.linear_prepack(weight, bias)
            self._run = ops.linear_relu if layer.relu else ops.linear

    def __call__(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        """Integers (N, *input.shape) to integers (N, *output.shape)."""
        before, after = self._layer.input, self._layer.output
        if self._layer.kind == "linear":
            x = x.reshape(len(x), -1)
        unsigned = torch.from_numpy((x + np.int16(_shift(before))).astype(np.uint8))
        qx = torch._make_per_tensor_quantized_tensor(
            unsigned, before.scale, before.zero_point + _shift(before)
        )
        qy = self._run(qx, self._packed, after.scale, after.zero_point + _shift(after))
        if self._layer.pool:
            qy = torch.ops.quantized.max_pool2d(qy, [2, 2], [2, 2], [0, 0], [1, 1], False)
        y: NDArray[np.integer] = qy.int_repr().numpy().astype(np.int16) - np.int16(_shift(after))
        return y


def _shift(tensor: Tensor) -> int:
    return 128 if tensor.signed else 0


def _quantized_weight(layer: Layer) -> torch.Tensor:
    weight = torch.from_numpy(layer.weight.copy())
    scale = torch.from_numpy(layer.weight_scale.astype(np.float64))
    if len(scale) == 1:
        return torch._make_per_tensor_quantized_tensor(weight, float(scale), 0)
    zero_point = torch.zeros(len(scale), dtype=torch.int64)
    return torch._make_per_channel_quantized_tensor(weight, scale, zero_point, 0)


@contextmanager
def engine() -> Iterator[None]:
    """PyTorch's quantized kernels are QNNPACK's meanwhile."""
    engines = torch.backends.quantized
    if ENGINE not in engines.supported_engines:
        raise AccelError(
            f"this build of PyTorch has no {ENGINE}, only {', '.join(engines.supported_engines)}; "
            f"install a build that has it"
        )
    before = engines.engine
    engines.engine = ENGINE
    try:
        yield
    finally:
        engines.engine = before


@contextmanager
def quiet() -> Iterator[None]:
    """Without PyTorch's announcements that what is used here will go: its version is pinned."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*(deprecated|will be removed)")
        yield
