"""Generator of int8 CNN accelerators: PyTorch in, verified hardware out.

network = accel.quantize(model, calibration_images)  # or accel.load("model.onnx")
program = accel.compile(network, accel.load_config("base"))
run = accel.simulate(program, images, level="verilator")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from accel.hardware.newer_python import mend_pymtl3

if TYPE_CHECKING:
    from accel.api import compile, translate
    from accel.board.board import connect
    from accel.errors import AccelError
    from accel.frontends.load import load
    from accel.frontends.pytorch import quantize
    from accel.hardware.config import AccelConfig, load_config
    from accel.network.graph import Network
    from accel.runtimes.reference import run_network
    from accel.simulation.runner import simulate

__all__ = [
    "AccelConfig",
    "AccelError",
    "Network",
    "compile",
    "connect",
    "load",
    "load_config",
    "quantize",
    "run_network",
    "simulate",
    "translate",
]

_MODULES = {
    "AccelConfig": "hardware.config",
    "AccelError": "errors",
    "Network": "network.graph",
    "compile": "api",
    "connect": "board.board",
    "load": "frontends.load",
    "load_config": "hardware.config",
    "quantize": "frontends.pytorch",
    "run_network": "runtimes.reference",
    "simulate": "simulation.runner",
    "translate": "api",
}

mend_pymtl3()


def __getattr__(name: str) -> Any:
    # Imported when first asked for: torch alone takes seconds.
    if name not in _MODULES:
        raise AttributeError(f"module 'accel' has no attribute '{name}'")
    return getattr(import_module(f"accel.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
