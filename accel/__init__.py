"""Generator of int8 CNN accelerators: PyTorch in, verified hardware out.

network = accel.quantize(model, calibration_images)
program = accel.compile(network, accel.load_config("base"))
run = accel.simulate(program, images, level="verilator")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel.compiler import compile
    from accel.config import AccelConfig, load_config
    from accel.errors import AccelError
    from accel.network import Network
    from accel.reference import quantize, run_network
    from accel.simulation import simulate
    from accel.translation import translate

__all__ = [
    "AccelConfig",
    "AccelError",
    "Network",
    "compile",
    "load_config",
    "quantize",
    "run_network",
    "simulate",
    "translate",
]

_MODULES = {
    "AccelConfig": "config",
    "AccelError": "errors",
    "Network": "network",
    "compile": "compiler",
    "load_config": "config",
    "quantize": "reference",
    "run_network": "reference",
    "simulate": "simulation",
    "translate": "translation",
}


def __getattr__(name: str) -> Any:
    # Imported when first asked for: torch alone takes seconds.
    if name not in _MODULES:
        raise AttributeError(f"module 'accel' has no attribute '{name}'")
    return getattr(import_module(f"accel.{_MODULES[name]}"), name)
