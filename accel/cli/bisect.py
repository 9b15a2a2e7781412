"""``accel bisect``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

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
    same,
)
from accel.cli.outputs import ForceOption, check_json
from accel.console import say, working, write_json

if TYPE_CHECKING:
    from accel.simulation.bisect import Divergence

BEFORE = 20
"""Cycles of a trace before the one in which the levels differ."""


@app.command(
    epilog=examples(
        "accel bisect",
        "accel bisect --config tiny --image 7",
        "accel bisect --before 1 --pauses 3 --json -",
    )
)
def bisect(
    network: NetworkOption = None,
    config: ConfigOption = "base",
    image: ImageOption = 0,
    before: BeforeOption = 0,
    images: ImagesOption = None,
    pauses: Annotated[
        int,
        typer.Option(
            min=0, metavar="SEED", help="Pause the streams at random, so that units stall; 0: no."
        ),
    ] = 0,
    data: DataFolder = None,
    json_file: JsonOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Name the first unit and signal in which RTL and cycle-level model differ.

    Both run side by side, the RTL in PyMTL3's simulator. Where they agree in every cycle, the
    outputs are held to those of the network's own runtime.

    Exit status 1 if anything differs.
    """
    from accel.cli.loading import prepare
    from accel.runtimes.reference import reference
    from accel.simulation import bisect as bisecting
    from accel.simulation.difference import first_difference
    from accel.simulation.trace import images_before

    check_json(json_file)
    subject, program, values = prepare(network, config, image, images, data)
    with working("building the simulation", "cycles") as work:
        found = bisecting.bisect(
            program,
            images_before(values, image, before),
            pauses=pauses,
            progress=lambda done, total: work.show(done, total=total, what="levels rtl and cl"),
        )
    divergence, options = found.divergence, same(network, config, data, images)
    record = {"image": image, "cycles": found.cycles, "divergence": None, "wrong": None}
    if divergence is not None:
        say(str(divergence))
        if divergence.others:
            say(f"in that cycle {', '.join(divergence.others)} differ as well")
        if divergence.layer is not None and not pauses:
            say(f"next: {_trace(divergence, image, before)}{options}")
        write_json(json_file, record | {"divergence": divergence.record()})
        raise typer.Exit(1)
    say(
        f"the RTL and level cl agree in every one of {found.cycles:,} cycles, from reset to the "
        f"last result"
    )
    expected_by = reference(subject).name
    with working(f"comparing with {expected_by}"):
        wrong = first_difference(subject, program, values, image, "cl")
        functional = first_difference(subject, program, values, image, "fl")
    if wrong is None:
        say(f"and what image {image} yields equals the outputs of {expected_by}")
        write_json(json_file, record)
        return
    say(str(wrong))
    say(
        "both levels are wrong alike, but level fl is not: look at what cl_models and rtl_models "
        "have in common"
        if functional is None
        else "all levels are wrong alike: look at accel/compiler, at accel/numerics.py, or at what "
        "quantized the network"
    )
    write_json(json_file, record | {"wrong": str(wrong)})
    raise typer.Exit(1)


def _trace(found: Divergence, image: int, before: int) -> str:
    assert found.layer is not None
    start = max(0, found.layer_cycle - BEFORE)
    return (
        f"accel trace --layer {shlex.quote(found.layer)} --cycles {start}:{found.layer_cycle + 1}"
        + (f" --column {found.column}" if found.column is not None else "")
        + f" --level rtl --image {image}"
        + (f" --before {before}" if before else "")
    )
