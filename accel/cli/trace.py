"""``accel trace``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accel.cli.application import app, examples
from accel.cli.options import (
    BeforeOption,
    ConfigOption,
    DataFolder,
    ImageOption,
    ImagesOption,
    JsonOption,
    NetworkOption,
    QuietOption,
)
from accel.cli.outputs import ForceOption, check, check_json
from accel.console import console, say, working, write_json


@app.command(
    epilog=examples(
        "accel trace --layer conv2",
        "accel trace --layer fc2 --cycles 0:60 --image 7",
        "accel trace --layer 0 --cycles 100:160 --vcd conv1.vcd",
        "accel trace --layer fc3 --level rtl --column 3",
    )
)
def trace(
    layer: Annotated[
        str,
        typer.Option(
            metavar="NAME|NUMBER",
            help="The layer to look at, by name or else by number; the first is 0.",
        ),
    ],
    cycles: Annotated[
        str,
        typer.Option(
            metavar="A:B",
            help="Cycles A to B-1, counted from the one in which the layer is taken up.",
        ),
    ] = "0:40",
    level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            autocompletion=lambda: ["cl", "rtl"],
            help="cl; or rtl, where a star marks what is not as at cl. Without it: cl; rtl with "
            "--vcd.",
        ),
    ] = None,
    network: NetworkOption = None,
    config: ConfigOption = "base",
    image: ImageOption = 0,
    before: BeforeOption = 0,
    images: ImagesOption = None,
    column: Annotated[
        int,
        typer.Option(
            min=0, metavar="C", help="The column of the array whose accumulators are shown."
        ),
    ] = 0,
    data: DataFolder = None,
    vcd: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.vcd",
            help="Write the waveforms of these cycles there, and a set-up for GTKWave beside it.",
        ),
    ] = None,
    json_file: JsonOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print what each unit holds, cycle by cycle, and who stalls whom."""
    from accel.cli.loading import prepare
    from accel.reports import trace_text
    from accel.simulation import trace as tracing
    from accel.simulation.waveform import Waveform, check_name, setup_path

    window = tracing.parse_cycles(cycles)
    level = level or ("cl" if vcd is None else "rtl")
    tracing.check(level, waveform=vcd is not None)
    if vcd is not None:
        check_name(vcd)
        check(vcd, setup_path(vcd))
    check_json(json_file)
    _, program, values = prepare(network, config, image, images, data)
    waveform = Waveform(column) if vcd is not None else None
    with working(f"level {level}", "cycles") as work:
        traced = tracing.trace_layer(
            *(program, tracing.images_before(values, image, before), layer, window),
            column=column,
            level=level,
            waveform=waveform,
            progress=lambda done, total: work.show(done, total=total),
        )
    name, place = program.layers[traced.place.layer].name, traced.place
    say(
        f"layer {name} of image {image} at level {level}, configuration {config}: "
        f"{place.cycles:,} cycles from cycle {place.start:,} of the simulation on"
    )
    for line in trace_text.text(traced):
        console.print(line, soft_wrap=True, highlight=False)
    differing = trace_text.differing(traced)
    if differing:
        say(
            f"{len(differing):,} of these cycles differ from level cl, the first of them cycle "
            f"{differing[0]:,}: 'accel bisect' names the first signal"
        )
    if waveform is not None and vcd is not None:
        setup = waveform.save(vcd)
        say(f"waveforms written to {vcd}: gtkwave {vcd} {setup}")
    write_json(json_file, {"image": image} | trace_text.record(traced))
