"""``accel fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accel import files
from accel.cli.application import app, examples
from accel.cli.options import ConfigOption, QuietOption
from accel.cli.outputs import ForceOption, check
from accel.console import console, say, working
from accel.errors import AccelError


@app.command(
    epilog=examples(
        "accel fit --network int8.safetensors --out mine.toml",
        "accel fit --network a.safetensors --network b.safetensors --cols 4 --cols 8",
        "accel fit --points explore.csv --line 7 --out mine.toml",
    )
)
def fit(
    network: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Of accel quantize, or a quantized .onnx; once for each that is to fit. Without "
            "it: the bundled one.",
        ),
    ] = None,
    cols: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Columns of the array, once for each number to try: the least that fits is taken. "
            "Without it: those of --config.",
        ),
    ] = None,
    config: ConfigOption = "base",
    points: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Of accel explore: take a configuration from there."),
    ] = None,
    line: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="With --points: the line it is in.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.toml", help="Where the configuration goes.")
    ] = Path("mine.toml"),
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the smallest configuration that holds a network, or one of a sweep.

    Memories, accumulators and layer descriptors become as small as they can be; what else there is
    comes from --config.
    """
    from accel.cli.loading import network_of
    from accel.exploration import fit as fitting
    from accel.hardware.config import load_config, toml

    if out.suffix != ".toml":
        raise AccelError(f"--out {out}: the file's name must end in .toml")
    if (points is None) != (line is None):
        raise AccelError("--points names a file and --line a line of it: give both or neither")
    check(out)
    if points is not None and line is not None:
        if network or cols:
            raise AccelError("--points has the configuration whole: leave out --network and --cols")
        cfg, what = fitting.point(points, line), f"line {line} of {points.name}"
    else:
        base = load_config(config)
        wanted: list[Path | None] = list(network) if network else [None]
        with working("reading the networks"):
            networks = [network_of(path) for path in wanted]
        with working("compiling"):
            found = fitting.candidates(networks, base, cols or [base.num_cols])
        fits = [candidate for candidate in found if candidate.cfg is not None]
        if not fits:
            raise AccelError("; ".join(f"{c.num_cols} columns: {c.reason}" for c in found))
        console.print(fitting.table(found))
        for candidate in found:
            if candidate.cfg is None:
                say(f"{candidate.num_cols} columns: {candidate.reason}")
        assert fits[0].cfg is not None
        cfg, what = fits[0].cfg, "the smallest for " + ", ".join(n.name for n in networks)
    files.write(out, toml(cfg, what))
    say(f"configuration {cfg} written to {out}: accel run --config {out}")
