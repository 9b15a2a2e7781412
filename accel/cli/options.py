"""Options that several commands have."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from accel.console import set_quiet
from accel.errors import AccelError
from accel.hardware.config import PRESETS

DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder with Fashion-MNIST's four files. Without it: Debian's "
        "dataset-fashion-mnist if installed, else a download.",
    ),
]
IMAGES = "FILE.npy|FILE.npz|DIR|random:N"
ImagesOption = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar=f"N|all|{IMAGES}",
        help="The first N test images of Fashion-MNIST, or all; an array of images, with labels if "
        "it is an .npz that has some; a folder of pictures, or of folders of them, one a class; or "
        "N random ones.",
    ),
]
ImageOption = Annotated[
    int, typer.Option("--image", min=0, metavar="N", help="The image to run; the first is 0.")
]
BeforeOption = Annotated[
    int,
    typer.Option(
        "--before",
        min=0,
        metavar="N",
        help="Run so many images before it, so that they overlap.",
    ),
]

QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=set_quiet, help="Print nothing but errors."),
]
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the figures there; - prints them, and nothing else."
    ),
]
LevelOption = Annotated[
    str,
    typer.Option(
        metavar="LEVEL",
        autocompletion=lambda: ["fl", "cl", "rtl", "verilator", "board"],
        help="fl: functional; cl: cycle level; rtl: PyMTL3's simulator; verilator: compiled; "
        "board: no simulation, but what is at --port.",
    ),
]

ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="NAME|FILE",
        autocompletion=lambda: list(PRESETS),
        help="tiny, base, wide or tinyml, or a TOML file of fields.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="J", help="Simulations side by side. Without it: one a core."),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Run on the workers of a Dask cluster, whose scheduler is there: tcp://HOST:PORT.",
    ),
]
PnrOption = Annotated[
    bool, typer.Option("--pnr", help="Place and route as well: clock frequency and paths.")
]
SeedsOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Place and route N times, not once; the median."),
]
NetworkOption = Annotated[
    Path | None,
    typer.Option(
        "--network",
        metavar="FILE",
        help="Of accel quantize, or a quantized .onnx or .tflite. Without it: the bundled one.",
    ),
]


def num_seeds(pnr: bool, seeds: int | None) -> int:
    """Runs of place and route that these two options ask for.

    Raises :class:`AccelError` for seeds of none.
    """
    if seeds is not None and not pnr:
        raise AccelError("--seeds is a number of runs of place and route: add --pnr")
    return (seeds or 1) if pnr else 0


def same(network: Path | None, config: str, data: Path | None, images: str | None = None) -> str:
    """The options that name these, for a command that is to look at what another one saw."""
    # A number, or all, says how many of those that every command has.
    others = images is not None and not (images == "all" or images.isdecimal())
    options = [
        *(("--network", str(network)) if network is not None else ()),
        *(("--config", config) if config != "base" else ()),
        *(("--data", str(data)) if data is not None else ()),
        *(("--images", str(images)) if others else ()),
    ]
    return "".join(f" {shlex.quote(option)}" for option in options)
