"""PyTorch's quantized kernels, on the QNNPACK engine: what every output is compared with.

All that touches ``torch.ops.quantized`` is here and in the operations that call it. The kernels run
from a network and not from the model that it was made of, so that they and the hardware start from
the same integers and float32 numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from accel import numerics
from accel.errors import AccelError
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations.operation import Integers, Kernel
from accel.operations.pool import Pool
from accel.operations.weighted import Weighted
from accel.process_wide import PYTORCH
from accel.runtimes.rounding import QNNPACK

ENGINE = "qnnpack"

BATCH_SIZE = 256
"""Images that are worked on at a time, so that many images need no more memory than few."""


def run_network(network: Network, images: ArrayLike) -> list[NDArray[np.integer]]:
    """What PyTorch's quantized kernels make of images, on the QNNPACK engine.

    images: integers (N, *network.input.shape), in the range of the input tensor. Returns for each
    operation int8 (signed) or uint8 (N, *operation.output.shape); the last are the logits.

    Raises :class:`AccelError` for images of another shape or range, for a network that rounds like
    another runtime, and when this build of PyTorch has no QNNPACK.
    """
    if not isinstance(network, Network):
        raise AccelError(
            f"a {type(network).__name__} is no network: give what accel.quantize returns"
        )
    images = network.checked(images)
    if network.rounding.name != QNNPACK.name:
        raise AccelError(
            f"network '{network.name}' rounds like {network.rounding.name}, which PyTorch's "
            f"kernels do not: compare with network.integers(images)"
        )
    outputs = [
        np.empty((len(images), *op.output.shape), np.int8 if op.output.signed else np.uint8)
        for op in network.operations
    ]
    with engine(), quiet(), torch.no_grad():
        kernels = [op.kernel() for op in network.operations]
        for start in range(0, len(images), BATCH_SIZE):
            found = network.evaluate(kernels, images[start : start + BATCH_SIZE])
            for output, part in zip(outputs, found, strict=True):
                output[start : start + BATCH_SIZE] = part
    return outputs


@cache
def quantizes_as_we_do() -> bool:
    """Whether this version of PyTorch makes integers of real numbers as
    :func:`accel.numerics.quantize` does: those up to 2.13 do, from 2.14 on it is
    :func:`accel.numerics.reciprocal_quantize`."""
    scale, zero_point = float(np.float32(0.1)), 11
    ties = (np.arange(-20, 400, dtype=np.float32) / 2) * np.float32(scale)
    with quiet():
        found = torch.quantize_per_tensor(
            torch.from_numpy(ties), scale, zero_point, torch.quint8
        ).int_repr()
    return np.array_equal(found.numpy(), numerics.quantize(ties, scale, zero_point, False))


# What the kernels of the operations are made with. They take unsigned activations: a signed tensor
# is the unsigned one whose values and zero point are 128 larger.


def ops() -> Any:
    """PyTorch's quantized operators."""
    return torch.ops.quantized


def weighted_kernel(operation: Weighted, run: Any, packed: Any) -> Kernel:
    """``run`` with packed weights, and what cuts off at the smallest and largest output, as a
    function of integers."""
    after = operation.output

    def kernel(x: Integers) -> Integers:
        qx = quantized(x.reshape(len(x), -1) if operation.kind == "linear" else x, operation.input)
        qy = run(qx, packed, after.scale, after.zero_point + shift(after))
        return np.clip(integers(qy, after), *operation.output_range)

    return kernel


def pool_kernel(operation: Pool, run: Any, padded: Kernel) -> Kernel:
    """``run`` of the padded input, as a function of integers. QNNPACK knows no windows of one
    pixel: they choose pixels."""
    rows, columns = operation.stride
    if operation.size == (1, 1):
        return lambda x: padded(x)[:, :, ::rows, ::columns]

    def kernel(x: Integers) -> Integers:
        return integers(run(quantized(padded(x), operation.input)), operation.output)

    return kernel


def avg_pool2d(
    qx: torch.Tensor, size: list[int], stride: list[int], pad: list[int]
) -> torch.Tensor:
    """PyTorch's average pool, whose kernel is QNNPACK's for a quantized tensor."""
    return torch.nn.functional.avg_pool2d(qx, size, stride, pad)


FLOAT: Mapping[str, Callable[..., torch.Tensor]] = {
    "requantize": lambda x: x,
    "relu": torch.relu,
    "relu6": functional.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "silu": functional.silu,
    "mish": functional.mish,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "selu": functional.selu,
    "elu": functional.elu,
    "leaky_relu": functional.leaky_relu,
    "hard_sigmoid": lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1),
    "hardtanh": functional.hardtanh,
    "softplus": functional.softplus,
}
"""Functions of float32 tensors, and of the numbers that they take besides."""


def function_kernel(
    function: str, arguments: tuple[float, ...], before: Tensor, after: Tensor
) -> Kernel:
    """A function of :data:`accel.operations.table.FUNCTIONS`, as a function of integers: PyTorch's
    kernel for quantized tensors, or float32 between dequantizing and quantizing.

    Raises :class:`AccelError` for a kernel that yields another scale or zero point.
    """
    if not function.startswith("quantized."):

        def of_real(x: Integers) -> Integers:
            y = FLOAT[function](quantized(x, before).dequantize(), *arguments)
            return numerics.quantize(y.numpy(), after.scale, after.zero_point, after.signed)

        return of_real

    def kernel(x: Integers) -> Integers:
        qx, scale, zero_point = quantized(x, before), after.scale, after.zero_point + shift(after)
        match function:
            case "quantized.sigmoid":
                qy = ops().sigmoid(qx, scale, zero_point)
            case "quantized.tanh":
                qy = torch.tanh(qx)
            case "quantized.hardsigmoid":
                qy = functional.hardsigmoid(qx)
            case "quantized.hardswish":
                qy = ops().hardswish(qx, scale, zero_point)
            case "quantized.elu":
                qy = ops().elu(qx, scale, zero_point, *arguments)
            case _:
                qy = ops().leaky_relu(qx, *arguments, False, scale, zero_point)
        made = qy.q_scale(), qy.q_zero_point()
        if made != (scale, zero_point):
            raise AccelError(
                f"PyTorch's {function} yields scale {made[0]:.6g} and zero point {made[1]}, not "
                f"{scale:.6g} and {zero_point}"
            )
        return integers(qy, after)

    return kernel


def function_entries(
    function: str, arguments: tuple[float, ...], before: Tensor, after: Tensor
) -> NDArray[np.integer]:
    """What that kernel makes of each value of ``before``, the least first: (256,), of the type of
    ``after``."""
    lo, hi = before.limits
    with engine(), quiet(), torch.no_grad():
        y = function_kernel(function, arguments, before, after)(np.arange(lo, hi + 1))
    return y.astype(np.int8 if after.signed else np.uint8)


def parameters(operation: Weighted) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantized weight and float32 bias, as PyTorch packs them."""
    weight = torch.from_numpy(operation.weight.copy())
    scale = torch.from_numpy(operation.weight_scale.astype(np.float64))
    bias = torch.from_numpy(operation.bias.copy())
    if len(scale) == 1:
        return torch._make_per_tensor_quantized_tensor(weight, float(scale), 0), bias
    zero_point = torch.zeros(len(scale), dtype=torch.int64)
    return torch._make_per_channel_quantized_tensor(weight, scale, zero_point, 0), bias


def quantized(x: Integers, tensor: Tensor) -> torch.Tensor:
    """Integers of that tensor as PyTorch's quint8."""
    unsigned = torch.from_numpy((x + np.int64(shift(tensor))).astype(np.uint8))
    zero_point = tensor.zero_point + shift(tensor)
    return torch._make_per_tensor_quantized_tensor(unsigned, tensor.scale, zero_point)


def integers(qy: torch.Tensor, tensor: Tensor) -> Integers:
    """The inverse of :func:`quantized`: int16."""
    y: Integers = qy.int_repr().numpy().astype(np.int16) - np.int16(shift(tensor))
    return y


def shift(tensor: Tensor) -> int:
    """What is added to integers of that tensor so that they are unsigned."""
    return 128 if tensor.signed else 0


@contextmanager
def engine() -> Iterator[None]:
    """PyTorch's quantized kernels are QNNPACK's meanwhile."""
    engines = torch.backends.quantized
    if ENGINE not in engines.supported_engines:
        raise AccelError(
            f"this build of PyTorch has no {ENGINE}, only {', '.join(engines.supported_engines)}; "
            f"install a build that has it"
        )
    with PYTORCH:
        before = engines.engine
        engines.engine = ENGINE
        try:
            yield
        finally:
            engines.engine = before


@contextmanager
def quiet() -> Iterator[None]:
    """Without PyTorch's announcements that what is used here will go."""
    with PYTORCH, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*(deprecated|will be removed)")
        yield
