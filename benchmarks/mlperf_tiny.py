"""The four networks of MLPerf Tiny on ``tinyml``, beside Arm's estimates for an Ethos-U55."""

from __future__ import annotations

import csv
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import accel
from accel.errors import AccelError
from accel.hardware.config import tinyml
from accel.hardware.status import Activity
from accel.network.graph import Network
from accel.simulation.runner import Run
from benchmarks import common
from benchmarks.common import BLUE, BUILD, GREY, ORANGE, Table, each
from examples import mlperf_tiny

NUM_IMAGES = 10
MODELS = "MODELS"
"""The environment variable with the folder of the published models, if there is one."""
PUBLISHED = {
    "resnet8": "pretrainedResnet_quant.tflite",
    "mobilenet": "vww_96_int8.tflite",
    "ds-cnn": "kws_ref_model.tflite",
    "autoencoder": "ad01_int8.tflite",
}
"""Files of https://github.com/mlcommons/tiny."""
QUOTED = {"resnet8": 356_303, "mobilenet": 355_816, "ds-cnn": 137_709, "autoencoder": 41_090}
"""What Vela 5.2.0 printed of these files."""

HERE = Path(__file__).parent
ENVIRONMENT, REQUIREMENTS = BUILD / "vela-venv", HERE / "requirements-vela.txt"
OPTIONS = ("--accelerator-config", "ethos-u55-64", "--memory-mode", "Sram_Only")
"""64 multipliers, and all in SRAM."""

CAUSES = {
    "hand-over": Activity.HANDOVER,
    "fill": Activity.FILL,
    "drain": Activity.DRAIN,
    "requantizer": Activity.REQUANTIZER,
}


def measure() -> dict[str, Any]:
    folder = os.environ.get(MODELS)
    found = []
    for name in each("MLPerf Tiny", list(mlperf_tiny.NETWORKS)):
        run = _run(mlperf_tiny.quantized(name))
        assert run.spent is not None, "only level fl has no cycles"
        spent = run.spent.sum(axis=0)
        file = folder and Path(folder, PUBLISHED[name])
        found.append(
            {
                "name": name,
                "macs": run.program.macs,
                "steps": run.program.steps,
                "cycles": run.cycles_per_image,
                "causes": {cause: float(spent[at]) for cause, at in CAUSES.items()},
                "ethos": estimate(file) if file else QUOTED[name],
                "published": published(file) if file else None,
            }
        )
    return {
        "images": NUM_IMAGES,
        "multipliers": tinyml.num_multipliers,
        "networks": found,
        "vela": "run" if folder else "quoted",
    }


def _run(network: Network) -> Run:
    """Images of noise through the compiled simulation, each output compared."""
    program = accel.compile(network, tinyml)
    shape = network.order.shape(network.input.shape)
    images = np.random.default_rng(0).normal(size=(NUM_IMAGES, *shape)).astype(np.float32)
    run = accel.simulate(program, images, level="verilator")
    expected = accel.run_network(network, program.quantize(images))[-1]
    common.check(int((run.outputs != expected).sum()), f"network {network.name}")
    return run


def published(file: Path) -> float:
    """Cycles an image of a published model, whose every output is compared with LiteRT's."""
    return float(_run(accel.load(file)).cycles_per_image or 0)


def estimate(file: Path) -> int:
    """Cycles for one inference on an Ethos-U55, as Vela estimates.

    Raises :class:`AccelError` if Vela cannot be installed, or fails.
    """
    python = common.install("Vela", ENVIRONMENT, REQUIREMENTS)
    out = BUILD / "vela"
    shutil.rmtree(out, ignore_errors=True)
    problem = f"Vela failed on {file}"
    command = [str(python.with_name("vela")), *OPTIONS, "--output-dir", str(out), str(file)]
    common.call(command, problem)
    try:
        (summary,) = out.glob("*_summary_*.csv")
        (row,) = csv.DictReader(summary.read_text().splitlines())
        return round(float(row["cycles_total"]))
    except (OSError, ValueError, KeyError) as e:
        raise AccelError(f"{problem}: it left no summary of one network with cycles_total") from e


def fill(part: dict[str, Any]) -> dict[str, Table | str]:
    rows: list[list[str | int]] = []
    causes: list[list[str | int]] = []
    for n in part["networks"]:
        floor = n["macs"] / part["multipliers"]
        cycles, ethos = round(n["cycles"]), n["ethos"]
        over = f"{cycles / n['steps'] - 1:.1%}"
        shares = [over, f"{floor / cycles:.1%}", ethos, f"{ethos / cycles:.1f}"]
        rows.append([n["name"], math.ceil(floor), n["steps"], cycles, *shares])
        lost = [round(n["causes"][cause]) for cause in CAUSES]
        causes.append([n["name"], *lost, sum(lost)])
    header = ("", "floor", "mapping", "measured", "over mapping", "use", "Ethos-U55-64", "times")
    same = [n for n in part["networks"] if n["published"] is not None]
    files = ", ".join(f"`{PUBLISHED[n['name']]}` {n['published']:,.0f}" for n in same)
    return {
        "mlperf": Table(header, rows),
        "mlperf_causes": Table(("", *CAUSES, "lost"), causes),
        "mlperf_images": str(part["images"]),
        "mlperf_vela": {"run": "Vela was run for this page", "quoted": "quoted, not run here"}[
            part["vela"]
        ],
        "mlperf_published": (
            f"The published models ran here too, {part['images']} images each, with every output "
            f"equal to LiteRT's: {files} cycles."
            if same
            else "The published models were not there to be run."
        ),
    }


def draw(part: dict[str, Any]) -> Figure:
    """Bars, each network's by what the floor is."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axis = figure.subplots()
    names = [n["name"] for n in part["networks"]]
    floors = [n["macs"] / part["multipliers"] for n in part["networks"]]
    bars = (
        ("mapping", "steps", GREY),
        ("this project, measured", "cycles", BLUE),
        (f"Ethos-U55 with 64 multipliers, Vela's estimate ({part['vela']})", "ethos", ORANGE),
    )
    for i, (label, key, colour) in enumerate(bars):
        values = [n[key] for n in part["networks"]]
        times = [value / floor for value, floor in zip(values, floors, strict=True)]
        at = axis.barh([y + 0.27 * (i - 1) for y in range(len(names))], times, 0.25, color=colour)
        at.set_label(label)
        for y, value, length in zip(range(len(names)), values, times, strict=True):
            axis.annotate(f" {value:,.0f}", (length, y + 0.27 * (i - 1)), va="center", fontsize=8)
    axis.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("cycles an image, in those that 72 busy multipliers would take (dotted)")
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.legend(loc="upper right")
    return figure
