"""Where networks come from, and the runtimes whose bytes they have."""

from __future__ import annotations

from dataclasses import dataclass

from accel.runtimes.rounding import LITERT, ONNXRUNTIME, QNNPACK, XNNPACK, Rounding


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What runs the networks of one origin elsewhere."""

    name: str
    """As a sentence calls it, whose outputs are compared with."""
    rounding: Rounding
    module: str | None = None
    """In ``accel.runtimes``, with a function ``run_network(network, images)``: all tensors by
    the runtime itself. None if there is no such function."""
    package: str | None = None
    """The distribution that is needed for it, and not for anything else."""
    runs_source: bool = False
    """It runs :attr:`accel.network.graph.Network.source`, which it needs; else the network."""


RUNTIMES = {
    "pytorch": Runtime(name="PyTorch's quantized kernels", rounding=QNNPACK, module="qnnpack"),
    "executorch": Runtime(name="ExecuTorch", rounding=XNNPACK),
    "onnx": Runtime(
        name="ONNX Runtime", rounding=ONNXRUNTIME, module="onnxruntime", package="onnxruntime"
    ),
    "litert": Runtime(
        name="LiteRT", rounding=LITERT, module="litert", package="ai-edge-litert", runs_source=True
    ),
}
"""By the origin that a network names."""
