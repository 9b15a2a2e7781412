"""The first pass: operations become what the array computes at one go."""

from __future__ import annotations

from accel.compiler.convolution import Convolution
from accel.errors import AccelError
from accel.network.graph import Network
from accel.operations import Conv2d, Linear, MaxPool2d


def fuse(network: Network) -> list[Convolution]:
    """A convolution for each layer, in the network's order, with the pooling that follows it.

    Raises :class:`AccelError` naming an operation that the array cannot compute.
    """
    found: list[Convolution] = []
    for operation in network.operations:
        match operation:
            case Conv2d() | Linear():
                found.append(operation.lower())
            case MaxPool2d():
                before = found[-1] if found else None
                alone = network.readers[operation.input.name] == (operation,)
                if (
                    before is None
                    or before.target != operation.input
                    or not alone
                    or (before.pool > 1)
                ):
                    raise AccelError(
                        f"layer '{operation.name}': a maximum must directly follow a convolution "
                        f"whose output nothing else reads, and not another maximum"
                    )
                found[-1] = operation.merge(before)
            case _:
                raise AccelError(
                    f"layer '{operation.name}': the compiler knows no operation of kind "
                    f"'{operation.kind}'"
                )
    return found
