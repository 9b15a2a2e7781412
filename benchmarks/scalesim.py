"""Runs SCALE-Sim, a simulator of systolic arrays, on our network."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

from accel import files
from accel.errors import AccelError
from accel.network.graph import Network
from accel.operations import Conv2d
from accel.operations.weighted import Weighted
from benchmarks import common
from benchmarks.common import BUILD

HERE = Path(__file__).parent
REQUIREMENTS, CONFIG = HERE / "requirements-scalesim.txt", HERE / "scalesim.cfg"
ENVIRONMENT = BUILD / "scalesim-venv"

DATAFLOWS = {"os": "output stationary", "ws": "weight stationary", "is": "input stationary"}

CYCLES = "Total Cycles"
"""The report's column without prefetch: from the first operand's entry into the array on."""

_RUN = """
import sys
from scalesim.scale_sim import scalesim
config, topology, out = sys.argv[1:]
scalesim(True, False, config, topology, topology).run_scale(out)
"""


def install() -> None:
    """SCALE-Sim in an environment of its own, unless it is there with these very versions.

    Raises :class:`AccelError` if that fails.
    """
    common.install("SCALE-Sim", ENVIRONMENT, REQUIREMENTS)


def simulate(network: Network, dataflow: str, height: int, width: int) -> list[int]:
    """Cycles of each layer on an array of ``height`` x ``width`` multipliers."""
    name = f"{dataflow}-{height}x{width}"
    folder = BUILD / "scalesim" / name
    shutil.rmtree(folder, ignore_errors=True)
    config, layers = folder / "config.cfg", folder / "layers.csv"
    files.write(config, CONFIG.read_text().format(height=height, width=width, dataflow=dataflow))
    files.write(layers, topology(network))
    python = ENVIRONMENT / "bin" / "python"
    out = str(folder / "out")
    problem = f"SCALE-Sim failed on {name}"
    common.call([str(python), "-c", _RUN, str(config), str(layers), out], problem)
    try:
        report = (folder / "out" / "run" / "COMPUTE_REPORT.csv").read_text()
    except OSError as e:
        raise AccelError(f"{problem}: it left no report") from e
    return read_report(report, network)


def topology(network: Network) -> str:
    """The network as SCALE-Sim reads it. A linear layer is a 1x1 convolution over one pixel.
    Padding is part of the map, and pooling is nothing at all."""
    rows = [
        "Layer, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, "
        "Strides,"
    ]
    for layer in network.layers:
        numbers = ", ".join(map(str, _shape(layer)))
        rows.append(f"{layer.name}, {numbers},")
    return "\n".join(rows) + "\n"


def _shape(layer: Weighted) -> tuple[int, ...]:
    if not isinstance(layer, Conv2d):
        num_out, num_in = layer.weight.shape
        return 1, 1, 1, 1, num_in, num_out, 1
    num_out, num_in, kernel_h, kernel_w = layer.weight.shape
    above, left, below, right = layer.padding
    height, width = layer.input.shape[1] + above + below, layer.input.shape[2] + left + right
    return height, width, kernel_h, kernel_w, num_in, num_out, layer.stride[0]


def read_report(text: str, network: Network) -> list[int]:
    """Cycles of each layer from SCALE-Sim's COMPUTE_REPORT.csv."""
    rows = list(csv.DictReader(io.StringIO(text), skipinitialspace=True))
    try:
        cycles = [int(row[CYCLES]) for row in rows]
        stalls = sum(int(row["Stall Cycles"]) for row in rows)
    except (KeyError, TypeError, ValueError) as e:
        raise AccelError(f"SCALE-Sim's report has no whole number in a column: {e}") from e
    if len(cycles) != len(network.layers) or stalls:
        raise AccelError(
            f"SCALE-Sim reports {len(cycles)} layers and {stalls} stalls, where "
            f"{len(network.layers)} layers without a stall were expected"
        )
    return cycles
