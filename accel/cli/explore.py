"""``accel explore``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accel import files
from accel.cli.application import COMMAND, app, examples
from accel.cli.options import (
    ClusterOption,
    ConfigOption,
    DataFolder,
    ImagesOption,
    JsonOption,
    QuietOption,
    SeedsOption,
    num_seeds,
)
from accel.cli.outputs import ForceOption, check_json
from accel.cli.outputs import check as check_file
from accel.console import console, error_console, say, working, write_json
from accel.errors import AccelError


@app.command(
    epilog=examples(
        "accel explore --sweep num_cols=4,8,16 --fit --plot front.png",
        "accel explore --sweep num_cols=8,16 --sweep pixel_groups=1,2 --synth generic",
        "accel explore --sweep spad_depth=8,16 --network a.safetensors",
    )
)
def explore(
    ctx: typer.Context,
    sweep: Annotated[
        list[str],
        typer.Option(
            metavar="FIELD=V,V,...",
            help="Values of a field of the configuration, as num_cols, pixel_groups, num_lanes or "
            "spad_depth; once for each field. All combinations are tried.",
        ),
    ],
    config: ConfigOption = "base",
    fit: Annotated[
        bool,
        typer.Option(
            "--fit",
            help="Make activation, weight and parameter memory of each configuration as small as "
            "the networks allow.",
        ),
    ] = False,
    network: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Of accel quantize, or a quantized .onnx; once for each. Without it: the "
            "bundled one.",
        ),
    ] = None,
    images: ImagesOption = None,
    data: DataFolder = None,
    synth_target: Annotated[
        str | None,
        typer.Option(
            "--synth",
            metavar="NAME|FILE",
            autocompletion=lambda: ["ecp5", "ecp5-25k", "ice40", "generic"],
            help="Synthesize each configuration too, for a target of accel synth: minutes each.",
        ),
    ] = None,
    pnr: Annotated[
        bool, typer.Option("--pnr", help="With --synth: place and route, for clock frequency.")
    ] = False,
    seeds: SeedsOption = None,
    check: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Points that run on Verilated RTL too, which must be equal in cycles and outputs.",
        ),
    ] = 2,
    objectives: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help="What the front minimises: the first two are the plot's axes, the third its "
            "colour. Without it: cycles, multipliers, energy; time_us with --pnr; LUTs or area "
            "with --synth.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE.csv",
            help="Where the points go, a line each; a sweep goes on with what is there.",
        ),
    ] = Path("explore.csv"),
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw the points and the front: png, svg or pdf."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="J", help="Points side by side. Without it: one a core."),
    ] = None,
    cluster: ClusterOption = None,
    json_file: JsonOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Try combinations of a configuration's fields: cycles, energy, area, and which are best.

    What was interrupted goes on where it was, by the same command.

    Exit status 1 if an output or Verilated RTL differs, or nothing was measured.
    """
    from accel.exploration import pareto, search
    from accel.exploration.sweep import parse_sweep
    from accel.hardware.config import load_config
    from accel.verilog.synthesis import find_target

    values, base = parse_sweep(sweep), load_config(config)
    target = None if synth_target is None else find_target(synth_target)
    if pnr and target is None:
        raise AccelError("--pnr places and routes what was synthesized: add --synth TARGET")
    runs = num_seeds(pnr, seeds)
    chosen = pareto.choose(objectives, target, pnr)
    check_json(json_file)
    if plot is not None:
        pareto.plot_format(plot)
        check_file(plot)
    try:
        with working("reading the networks", "configurations") as work:
            outcome = search.search(
                *(base, values, network, out),
                objectives=chosen,
                fit=fit,
                images=images,
                data=data,
                target=synth_target,
                seeds=runs,
                checks=check,
                jobs=jobs,
                cluster=cluster,
                progress=lambda done, total, what: work.show(done, total=total, what=what),
            )
    except search.Interrupted:
        error_console.print(
            f"{out} keeps what was done: the same command goes on from there",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
        raise
    if outcome.front:
        console.print(outcome.table())
        if plot is not None:
            files.write(plot, outcome.draw(pareto.plot_format(plot)))
    for line in outcome.summary(out):
        say(line)
    if plot is not None and outcome.front:
        say(f"plot: {plot}")
    write_json(json_file, outcome.record(ctx.meta[COMMAND], out))
    if not outcome.good:
        raise typer.Exit(1)
