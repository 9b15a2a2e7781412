"""Test images of Fashion-MNIST on an accelerator, each output held to the network's reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.errors import AccelError
from accel.fashion_mnist import data
from accel.fashion_mnist.data import Images
from accel.fashion_mnist.training import to_input
from accel.frontends.load import load
from accel.hardware.config import AccelConfig
from accel.network.graph import Network
from accel.reports.evaluation import Evaluation
from accel.simulation.comparison import compare


def evaluate(
    network: Network, cfg: AccelConfig, images: Images, *, level: str, **options: Any
) -> Evaluation:
    """Compile, simulate, and compare. options: those of
    :func:`accel.simulation.comparison.compare`.

    Raises :class:`AccelError` as those do, and when the network does not take Fashion-MNIST's
    images.
    """
    program = _compile(network, cfg)
    given = taken(network, images.pixels)
    found = compare(network, program, given, level=level, **options)
    return Evaluation(found, images.pixels, images.labels, data.CLASSES, network)


def prepare(
    network: Path | None, cfg: AccelConfig, count: int, folder: Path | None
) -> tuple[Program, NDArray[np.float32]]:
    """The program of the network in that file, or of the bundled one, and the first ``count`` test
    images as that network takes them.

    Raises :class:`AccelError` as :func:`evaluate` and :func:`accel.fashion_mnist.data.test_images`
    do.
    """
    loaded = network_of(network)
    return _compile(loaded, cfg), taken(loaded, data.test_images(count, folder).pixels)


def taken(network: Network, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels (N, 28, 28) as that network takes them: float32 (N, 1, 28, 28), in its order."""
    return network.order.outward(to_input(pixels).numpy())


def network_of(file: Path | None) -> Network:
    """The network in that file, of any kind that :func:`accel.load` reads, or the bundled one.

    Raises :class:`AccelError` as that does.
    """
    return data.bundled_network() if file is None else load(file)


def _compile(network: Network, cfg: AccelConfig) -> Program:
    if network.input.shape != (1, 28, 28):
        raise AccelError(
            f"network '{network.name}' takes images of shape {network.input.shape}, but "
            f"Fashion-MNIST's are (1, 28, 28): run it from Python with accel.simulate"
        )
    return compile(network, cfg)
