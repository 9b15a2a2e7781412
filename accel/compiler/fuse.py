"""The first pass: operations become what the array computes at one go."""

from __future__ import annotations

from accel.compiler.convolution import Convolution
from accel.network.graph import Network


def fuse(network: Network) -> list[Convolution]:
    """A convolution for each layer of the hardware, in the network's order, with all that it does
    at one go.

    Raises :class:`AccelError` naming an operation that the array cannot compute.
    """
    found: list[Convolution] = []
    for operation in network.operations:
        operation.lower(found, network.readers)
    return found
