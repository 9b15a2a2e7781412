"""``accel run``, ``accel report`` and ``accel demo``."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accel import files
from accel.cli.application import COMMAND, app, examples
from accel.cli.options import (
    ClusterOption,
    ConfigOption,
    DataFolder,
    ImagesOption,
    JobsOption,
    JsonOption,
    LevelOption,
    NetworkOption,
    QuietOption,
    same,
)
from accel.cli.outputs import ForceOption, check, check_json
from accel.console import console, say, working, write_json
from accel.errors import AccelError
from accel.hardware.serial import BAUD

if TYPE_CHECKING:
    from accel.network.graph import Network
    from accel.reports.evaluation import Evaluation
    from accel.reports.record import Record
    from accel.simulation.difference import Difference

REPORT = "report.html"
MANY_IMAGES = {"fl": 1000, "cl": 100, "rtl": 3, "verilator": 1000, "board": 1000}
"""Images that a level runs in well under two minutes."""
BEFORE = 40
"""Cycles of a trace before the one in which a wrong byte was written."""


@app.command(
    epilog=examples(
        "accel run",
        "accel run --level cl --config wide --images 20",
        "accel run --network int8.safetensors --images all --json run.json",
        "accel run --network int8.safetensors --images mine.npz",
        "accel run --report out",
        "accel run --quiet --images 100 --json - | python3 -m json.tool",
        "accel run --images all --cluster tcp://10.0.0.5:8786",
        "accel run --level board --port /dev/ttyUSB0 --config tinyml",
    )
)
def run(
    ctx: typer.Context,
    level: LevelOption = "verilator",
    network: NetworkOption = None,
    config: ConfigOption = "base",
    images: ImagesOption = None,
    data: DataFolder = None,
    jobs: JobsOption = None,
    cluster: ClusterOption = None,
    json_file: JsonOption = None,
    report_folder: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Write report.html there, a page of charts."),
    ] = None,
    max_cycles: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="End each simulation there, and say where it stood."),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(metavar="PORT", help="Of --level board: its serial port, as /dev/ttyUSB0."),
    ] = None,
    baud: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="RATE",
            help=f"Of --level board: the rate of its bitstream. Without it: {BAUD:,}.",
        ),
    ] = None,
    vcd: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.vcd",
            help="If an output differs, write the waveforms around the first wrong byte there.",
        ),
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run images through the accelerator, and compare every output with that of the network's own
    runtime: PyTorch's, or ONNX Runtime's of an ONNX file.

    Without --images 1,000 of them; 100 at level cl, 3 at level rtl. Exit status 1 if any differs.
    """
    from accel.simulation.runner import LEVELS, check_level

    check_level(level, (*LEVELS, "board"))
    if level == "board":
        _check_board(port, jobs=jobs, cluster=cluster, max_cycles=max_cycles)
    elif port is not None or baud is not None:
        raise AccelError("--port and --baud are of a board: add --level board, or leave them out")
    page = None if report_folder is None else report_folder / REPORT
    check_json(json_file)
    if page is not None:
        check(page)
    if vcd is not None:
        if level == "fl":
            raise AccelError("--vcd needs a level with cycles: cl, rtl or verilator, not fl")
        from accel.simulation.waveform import check_name, setup_path

        check_name(vcd)
        check(vcd, setup_path(vcd))
    evaluation = _evaluate(
        *(level, network, config, images, data, jobs, max_cycles, vcd, cluster, port, baud)
    )
    _write_record(evaluation.record(ctx.meta[COMMAND]), json_file, page)
    if page is not None:
        say(f"report: {page}")
    if evaluation.mismatched_outputs:
        raise typer.Exit(1)


@app.command(epilog=examples("accel report run.json", "accel report out/demo.json --out page"))
def report(
    json_file: Annotated[
        Path, typer.Argument(metavar="FILE.json", help="What accel run --json wrote.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for report.html.")
    ] = Path("out"),
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the page of a run: one HTML file that loads nothing."""
    from accel.reports.record import load

    page = out / REPORT
    record = load(json_file)
    check(page)
    _write_record(record, None, page)
    say(f"report: {page}")


def _write_record(record: Record, json_file: Path | None, page: Path | None) -> None:
    write_json(json_file, record.model_dump(mode="json"))
    if page is not None:
        from accel.reports.html_report import page as html_page

        files.write(page, html_page(record))


@app.command(epilog=examples("accel demo", "accel demo --out pictures --jobs 1"))
def demo(
    ctx: typer.Context,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")
    ] = Path("out"),
    jobs: JobsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Classify the 1,000 bundled images on the accelerator in Verilator.

    Leaves a picture, a report to open in a browser, and the figures as JSON.
    """
    from accel.reports.picture import draw

    picture, figures, page = out / "demo.png", out / "demo.json", out / REPORT
    check(picture, figures, page)
    evaluation = _evaluate("verilator", None, "base", "1000", None, jobs, None)
    files.write(picture, draw(evaluation))
    _write_record(evaluation.record(ctx.meta[COMMAND]), figures, page)
    say(f"picture: {picture}, figures: {figures}, report to open in a browser: {page}")
    if evaluation.mismatched_outputs:
        raise typer.Exit(1)


def _evaluate(
    level: str,
    network: Path | None,
    config: str,
    images: str | None,
    data: Path | None,
    jobs: int | None,
    max_cycles: int | None,
    vcd: Path | None = None,
    cluster: str | None = None,
    port: str | None = None,
    baud: int | None = None,
) -> Evaluation:
    """Load what the options name, run it under a progress bar, and print what came out."""
    from accel.board.board import connect
    from accel.cli.loading import network_of
    from accel.hardware.config import load_config
    from accel.images import find
    from accel.reports.evaluation import evaluate

    cfg = load_config(config)
    quantized = network_of(network)
    chosen = find(images, quantized, count=MANY_IMAGES[level], data=data)
    first = {"verilator": "building the simulation", "board": "loading the program"}
    what = first.get(level, f"level {level}")
    # Found out before anything is computed: what is wrong with a port or a board.
    with contextlib.ExitStack() as ends, working(what, "images", len(chosen)) as work:
        board = None
        if port is not None:
            board = ends.enter_context(connect(port, baud=BAUD if baud is None else baud))
            board.check(cfg)
        evaluation = evaluate(
            quantized,
            cfg,
            chosen,
            level=level,
            jobs=jobs,
            cluster=cluster,
            max_cycles=max_cycles,
            board=board,
            progress=lambda done: work.show(done, what=f"level {level}"),
        )
    console.print(evaluation.table())
    console.print(evaluation.energy_table())
    for line in evaluation.summary():
        console.print(line, soft_wrap=True, highlight=False)
    if evaluation.comparison.first_wrong is not None:
        _say_where(evaluation, quantized, vcd, same(network, config, data, images))
    return evaluation


def _check_board(port: str | None, **others: object) -> None:
    """Raises :class:`AccelError` for options that do not go with a board."""
    if port is None:
        raise AccelError(
            "--level board needs the board's serial port: add --port /dev/ttyUSB0, or what "
            "'accel board' prints"
        )
    for name, value in others.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise AccelError(
                f"{option} is of simulations, but --level board has none: leave it out"
            )


def _say_where(evaluation: Evaluation, network: Network, vcd: Path | None, options: str) -> None:
    """Prints the first difference and the commands that show more, and writes the waveforms around
    it. options: those of the command that name the network and its like."""
    from accel.simulation.difference import first_difference, write_waveform

    image, run = evaluation.comparison.first_wrong, evaluation.run
    assert image is not None
    images = evaluation.images.values
    with working("looking for the first difference"):
        difference = first_difference(network, run.program, images, image, run.level)
    if difference is None:
        level = "rtl" if run.level in ("verilator", "board") else run.level
        say(
            f"first difference: image {image}, but alone, at level {level}, it does not differ: "
            f"look at the images before it"
            + (", or at the translation to Verilog" if run.level == "verilator" else "")
            + (", or at synthesis and the board" if run.level == "board" else "")
        )
        return
    say(str(difference))
    for command in _next_commands(difference, options):
        say(f"next: {command}")
    if vcd is None:
        return
    if difference.cycle is None:
        say(f"{vcd} is not written: the byte was never written, and so there is no cycle to show")
        return
    with working("writing the waveforms"):
        start, stop = write_waveform(run.program, images, difference, vcd)
    say(f"waveforms of cycles {start:,} to {stop - 1:,} of the RTL: {vcd}")


def _next_commands(difference: Difference, options: str) -> list[str]:
    """What shows more of a difference."""
    commands = [f"accel bisect --image {difference.image}{options}"]
    if difference.layer_cycle is not None:
        cycles = f"{max(0, difference.layer_cycle - BEFORE)}:{difference.layer_cycle + 1}"
        commands.append(
            f"accel trace --layer {shlex.quote(difference.layer)} --cycles {cycles} --column "
            f"{difference.column} --level {difference.level} --image {difference.image}{options}"
        )
    return commands
