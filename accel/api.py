"""What ``import accel`` offers that takes more than the functions behind it do."""

from __future__ import annotations

from typing import Any

from accel.compiler import compile as compiler
from accel.compiler.program import Program
from accel.errors import AccelError
from accel.hardware.config import Configuration, load_config
from accel.network.graph import Network


def compile(network: Network, config: Configuration = "base") -> Program:
    """Compile a quantized network for a configuration, which may also be the name of one, a TOML
    file or a dictionary of fields.

    Raises :class:`~accel.compiler.refusal.DoesNotFitError`, an :class:`AccelError` that names
    layers, limits and excess, when it does not fit; and :class:`AccelError` for what is no network
    or no configuration.
    """
    if not isinstance(network, Network):
        raise AccelError(
            f"accel.compile takes a quantized network, as accel.quantize or accel.load "
            f"yields it, not {_kind(network)}"
        )
    return compiler.compile(network, load_config(config))


def translate(config: Configuration = "base") -> str:
    """The accelerator as one (System)Verilog text; the same configuration gives the same text.

    config: as :func:`compile` takes it, and so is what is raised.
    """
    from accel.verilog import translation

    return translation.translate(load_config(config))


def _kind(thing: Any) -> str:
    return type(thing).__name__
