"""What a check says that finds a program wrong."""

from __future__ import annotations

from accel.errors import AccelError


class MiscompiledError(AccelError):
    """A program that does not compute its network: a fault of the compiler, not of its user."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(
            f"{where}: {what}; so the program is not what the network defines, which is a fault of "
            f"the compiler: please report it, with the network and the configuration"
        )


def require(condition: bool, where: str, what: str) -> None:
    """Raises :class:`MiscompiledError` unless ``condition``."""
    if not condition:
        raise MiscompiledError(where, what)
