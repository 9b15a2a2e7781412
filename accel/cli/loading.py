"""What the options that several commands have name: networks, programs and images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel.console import error_console

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from accel.compiler.program import Program
    from accel.network.graph import Network


def network_of(file: Path | None) -> Network:
    """The network in that file, of any kind that :func:`accel.load` reads, or the bundled one. What
    a user should know of how it was read goes to the standard error.

    Raises :class:`AccelError` if there is none in it.
    """
    from accel.fashion_mnist.data import bundled_network
    from accel.frontends.load import load

    if file is None:
        return bundled_network()
    network = load(file)
    for note in network.notes:
        error_console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    return network


def prepare(
    file: Path | None, config: str, image: int, images: str | None, data: Path | None
) -> tuple[Network, Program, NDArray[Any]]:
    """A network, its program, and the images up to ``image``: (image + 1, *input shape).

    Raises :class:`AccelError` as what reads and compiles them does, and if there is no such image.
    """
    from accel.compiler.compile import compile
    from accel.hardware.config import load_config
    from accel.images import find, first

    network, cfg = network_of(file), load_config(config)
    found = find(images, network, count=image + 1, data=data)
    return network, compile(network, cfg), first(found, image + 1).values
