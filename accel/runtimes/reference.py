"""With what the outputs of a network are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accel.errors import AccelError
from accel.network.graph import Network
from accel.runtimes.registry import RUNTIMES, Runtime

Tensors = list[NDArray[np.integer[Any]]]


@dataclass(frozen=True)
class Reference:
    """What computes each operation's output of a network, other than the hardware's models."""

    name: str
    """For "differ from those of ..."."""
    run: Callable[[Network, ArrayLike], Tensors]
    """Of a network and images (N, *network.input.shape): for each operation integers (N,
    *operation.output.shape)."""


def reference(network: Network) -> Reference:
    """The runtime of the network's origin; if that cannot run it here, the network's own
    arithmetic, which the tests hold to it."""
    runtime = RUNTIMES[network.origin]
    missing = _missing(network, runtime)
    if missing is None:
        return Reference(runtime.name, _run(runtime))
    return Reference(
        f"the integer model, which is tested against {runtime.name} ({missing})", _integers
    )


def run_network(network: Network, images: ArrayLike) -> Tensors:
    """What the runtime that a network comes from makes of images: PyTorch's quantized kernels of
    one that ``accel.quantize`` made, ONNX Runtime of one that was read from its file.

    images: integers (N, *network.input.shape), in the range of the input tensor. Returns for each
    operation int8 (signed) or uint8 (N, *operation.output.shape); the last are the logits.

    Raises :class:`AccelError` for images of another shape or range, and if that runtime cannot be
    used here.
    """
    if not isinstance(network, Network):
        raise AccelError(
            f"a {type(network).__name__} is no network: give what accel.quantize returns"
        )
    runtime = RUNTIMES[network.origin]
    missing = _missing(network, runtime)
    if missing is not None:
        raise AccelError(
            f"network '{network.name}' cannot be run by {runtime.name}: {missing}; "
            f"network.integers(images) has the same arithmetic"
        )
    return _run(runtime)(network, images)


def _missing(network: Network, runtime: Runtime) -> str | None:
    """Why the runtime cannot run that network here."""
    if runtime.module is None:
        return "accel cannot start it"
    if runtime.package is not None:
        try:
            metadata.version(runtime.package)
        except metadata.PackageNotFoundError:
            return f"{runtime.package} is not installed"
    if runtime.runs_source and network.source is None:
        return "it runs the original file, which this network was not read from"
    return None


def _run(runtime: Runtime) -> Callable[[Network, ArrayLike], Tensors]:
    run: Callable[[Network, ArrayLike], Tensors] = import_module(
        f"accel.runtimes.{runtime.module}"
    ).run_network
    return run


def _integers(network: Network, images: ArrayLike) -> Tensors:
    return list(network.integers(images))
