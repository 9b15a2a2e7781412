"""The command line: each command reads its options, has the work done, and prints what came out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from accel import files
from accel.console import check_json, console, error_console, set_quiet, working, write_json
from accel.errors import AccelError

# What imports torch is imported by the command that needs it: the others start at once.
if TYPE_CHECKING:
    from accel.fashion_mnist.data import Images
    from accel.fashion_mnist.training import FashionNet, Progress, Recipe
    from accel.network.graph import Network
    from accel.reports.record import Record
    from accel.simulation.evaluate import Evaluation

REPORT = "report.html"
COMMAND = "accel.command"
"""Where a context's ``meta`` has the command line, for the records of what it made."""


class Commands(TyperGroup):
    """Says an error or an interruption in one line, and exits with a status of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[COMMAND] = shlex.join(["accel", *args])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AccelError as e:
            typer.echo(f"error: {e}", err=True)
            raise typer.Exit(2) from e
        except KeyboardInterrupt as e:
            typer.echo("error: interrupted; no file was left half-written", err=True)
            raise typer.Exit(130) from e


EXIT_STATUS = " ".join(
    (
        "Exit status: 0 done, and all is well; 1 the work was done and says no: an output differs",
        "from PyTorch's, levels differ in a sweep, or doctor misses something that is needed; 2 it",
        "could not be done: a",
        "wrong option, a missing file or tool, something that does not fit; 130 interrupted.",
        "Errors are on the standard error, in one sentence. NO_COLOR=1 keeps colours away.",
    )
)


def examples(*lines: str) -> str:
    """The end of a command's help: commands that work as they stand."""
    return "\n".join(("Examples:", *(f"  {line}" for line in lines)))


app = typer.Typer(
    cls=Commands,
    help="Generate int8 CNN accelerators whose every output byte equals PyTorch's.",
    epilog=EXIT_STATUS
    + "\n\n"
    + examples("accel doctor", "accel run --images 100", "accel --install-completion"),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder with Fashion-MNIST's four files. Without it: Debian's "
        "dataset-fashion-mnist if installed, else a download.",
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
        autocompletion=lambda: ["fl", "cl", "rtl", "verilator"],
        help="fl: functional; cl: cycle level; rtl: PyMTL3's simulator; verilator: compiled.",
    ),
]


def main() -> None:
    """The console script ``accel``."""
    app()


@app.command(
    epilog=examples(
        "accel train --out float.safetensors",
        "accel train --epochs 3 --seed 1 --data ~/fashion-mnist --json train.json",
    )
)
def train(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where the network goes.")
    ] = Path("fashion_mnist_float.safetensors"),
    data: DataFolder = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training images, instead of the recipe's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of start weights and augmentation, instead of the recipe's.")
    ] = None,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train the Fashion-MNIST network on the training images."""
    from accel.fashion_mnist import training
    from accel.fashion_mnist.data import load

    given = {"epochs": epochs, "seed": seed}
    recipe = training.Recipe(**{k: v for k, v in given.items() if v is not None})
    files.check_writable(out)
    check_json(json_file)
    train_images, test_images = load("train", data), load("test", data)
    error_console.print(
        f"training on {len(train_images) - recipe.held_out:,} images, {recipe.held_out:,} held out"
    )
    network, record = _train_with_progress(train_images, recipe)
    record["test_accuracy"] = training.accuracy(network, test_images)
    training.save(network, record, out)
    console.print(
        f"accuracy on {len(test_images):,} test images, which chose nothing: "
        f"{record['test_accuracy']:.2%}; network written to {out}"
    )
    write_json(json_file, record)


@app.command(
    epilog=examples(
        "accel quantize --network float.safetensors --out int8.safetensors",
        "accel quantize --per-tensor --signed",
    )
)
def quantize(
    network: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What accel train wrote. Without it: the bundled one."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where the quantized network goes.")
    ] = Path("fashion_mnist_int8.safetensors"),
    data: DataFolder = None,
    per_channel: Annotated[
        bool,
        typer.Option(
            "--per-channel/--per-tensor", help="Weight scales: one a channel, or a layer."
        ),
    ] = True,
    signed: Annotated[
        bool, typer.Option("--signed", help="Activations from -128 to 127, not from 0 to 255.")
    ] = False,
    every_channel: Annotated[
        bool, typer.Option("--every-channel", help="Leave no channel out of the tables.")
    ] = False,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Quantize the Fashion-MNIST network to int8, calibrated on training images."""
    from accel.fashion_mnist import data as fashion_mnist
    from accel.fashion_mnist import training
    from accel.frontends import pytorch as reference
    from accel.reports import tables as report

    files.check_writable(out)
    check_json(json_file)
    model = training.load(network or fashion_mnist.FLOAT_NETWORK)
    with working("finding the images") as work:
        calibration = fashion_mnist.calibration_images(data)
        test_images = fashion_mnist.load("test", data)
        work.show(0, what=f"calibrating on {len(calibration):,} images")
        quantized = reference.quantize(
            model,
            training.to_input(calibration.pixels),
            per_channel=per_channel,
            signed=signed,
            name="fashion-mnist",
        )
        quantized.save(out)
        work.show(0, what=f"classifying {len(test_images):,} images, before and after")
        figures = report.before_and_after(model, quantized, out, test_images)
    console.print(report.before_and_after_table(figures))
    console.print(report.scales(quantized))
    console.print(report.channels(quantized, every_channel))
    console.print(f"calibrated on {len(calibration):,} training images; network written to {out}")
    write_json(json_file, figures | {"layers": report.layer_figures(quantized)})


def _train_with_progress(images: Images, recipe: Recipe) -> tuple[FashionNet, dict[str, Any]]:
    from accel.fashion_mnist import training

    with working("training", "images") as work:

        def report(progress: Progress) -> None:
            accuracy = "-" if progress.accuracy is None else f"{progress.accuracy:.2%}"
            work.show(
                progress.step * recipe.batch_size,
                total=progress.num_steps * recipe.batch_size,
                note=f"epoch {progress.epoch + 1} of {recipe.epochs}, loss {progress.loss:.3f}, "
                f"held-out accuracy {accuracy}",
            )

        return training.train(images, recipe, report)


ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="NAME|FILE",
        autocompletion=lambda: ["tiny", "base", "wide"],
        help="tiny, base or wide, or a TOML file of fields.",
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


@app.command(
    epilog=examples(
        "accel run",
        "accel run --level cl --config wide --images 20",
        "accel run --network int8.safetensors --images all --json run.json",
        "accel run --report out",
        "accel run --quiet --images 100 --json - | python3 -m json.tool",
        "accel run --images all --cluster tcp://10.0.0.5:8786",
    )
)
def run(
    ctx: typer.Context,
    level: LevelOption = "verilator",
    network: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of accel quantize. Without it: the bundled one."),
    ] = None,
    config: ConfigOption = "base",
    images: Annotated[
        str | None,
        typer.Option(
            metavar="N|all",
            help="The first N test images. Without it: 1,000; 100 at level cl; 3 at level rtl.",
        ),
    ] = None,
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
    vcd: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.vcd",
            help="If an output differs, write the waveforms around the first wrong byte there.",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Classify test images on the accelerator, and compare every logit with PyTorch's.

    Exit status 1 if any differs.
    """
    page = None if report_folder is None else report_folder / REPORT
    check_json(json_file)
    if page is not None:
        files.check_writable(page)
    if vcd is not None:
        if level == "fl":
            raise AccelError("--vcd needs a level with cycles: cl, rtl or verilator, not fl")
        _check_vcd(vcd)
    evaluation = _evaluate(level, network, config, images, data, jobs, max_cycles, vcd, cluster)
    _write_record(evaluation.record(ctx.meta[COMMAND]), json_file, page)
    if page is not None:
        console.print(f"report: {page}", soft_wrap=True, highlight=False, markup=False)
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
    quiet: QuietOption = False,
) -> None:
    """Write the page of a run: one HTML file that loads nothing."""
    from accel.reports.record import load

    page = out / REPORT
    record = load(json_file)
    files.check_writable(page)
    _write_record(record, None, page)
    console.print(f"report: {page}", soft_wrap=True, highlight=False, markup=False)


def _check_vcd(vcd: Path) -> None:
    from accel.simulation.waveform import setup_path

    if vcd.suffix != ".vcd":
        raise AccelError(f"--vcd {vcd}: the file's name must end in .vcd")
    for file in (vcd, setup_path(vcd)):
        files.check_writable(file)


def _write_record(record: Record, json_file: Path | None, page: Path | None) -> None:
    write_json(json_file, record.model_dump(mode="json"))
    if page is not None:
        from accel.reports.html_report import page as html_page

        files.write(page, html_page(record))


@app.command(
    epilog=examples(
        "accel trace --layer conv2",
        "accel trace --layer fc2 --cycles 0:60 --image 7",
        "accel trace --layer 0 --cycles 100:160 --vcd conv1.vcd",
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
            help="cl or rtl, which show the same. Without it: cl; rtl with --vcd.",
        ),
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of accel quantize. Without it: the bundled one."),
    ] = None,
    config: ConfigOption = "base",
    image: Annotated[
        int, typer.Option(min=0, metavar="N", help="The test image to run; the first is 0.")
    ] = 0,
    before: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Run so many test images before it, so that they overlap."
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
    quiet: QuietOption = False,
) -> None:
    """Print what each unit holds, cycle by cycle, and who stalls whom."""
    from accel.hardware.config import load_config
    from accel.simulation import evaluate
    from accel.simulation import trace as tracing
    from accel.simulation.waveform import Waveform

    first, last = tracing.parse_cycles(cycles)
    level = level or ("cl" if vcd is None else "rtl")
    tracing.check(level, waveform=vcd is not None)
    if vcd is not None:
        _check_vcd(vcd)
    check_json(json_file)
    program, pixels = evaluate.prepare(network, load_config(config), image + 1, data)
    found = tracing.find_layer(program, layer)
    images = tracing.images_before(pixels, image, before)
    place = tracing.locate(program, images, found)
    start, stop = tracing.check_window(program, place, first, last)
    waveform = Waveform() if vcd is not None else None
    with working(f"level {level}", "cycles", stop) as work:
        states = tracing.trace(
            *(program, images, start, stop),
            level=level,
            waveform=waveform,
            progress=lambda done, total: work.show(done),
        )
    console.print(
        f"layer {program.layers[found].name} of image {image} at level {level}, configuration "
        f"{config}: {place.cycles:,} cycles from cycle {place.start:,} of the simulation on",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    for line in (
        *(Text(line, "dim") for line in tracing.LEGEND),
        *tracing.heading(program),
        *tracing.lines(program, states, first),
    ):
        console.print(line, soft_wrap=True, highlight=False)
    if waveform is not None and vcd is not None:
        setup = waveform.save(vcd)
        console.print(
            f"waveforms written to {vcd}: gtkwave {vcd} {setup}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    write_json(
        json_file,
        {
            "layer": program.layers[found].name,
            "image": image,
            "level": level,
            "layer_cycles": place.cycles,
            "layer_start": place.start,
            "cycles": tracing.record(program, states, first),
        },
    )


@app.command(
    epilog=examples(
        "accel translate --config tiny --out rtl",
        "accel translate --network int8.safetensors --images 4 --out handoff",
    )
)
def translate(
    config: ConfigOption = "base",
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")
    ] = Path("out"),
    network: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of accel quantize. With it: a folder that stands alone, with AXI ports, driver, "
            "testbench, images and logits.",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Images for the testbench, with --network; else 2."),
    ] = None,
    data: DataFolder = None,
    quiet: QuietOption = False,
) -> None:
    """Write the accelerator as one Verilog file, or with a network as a whole folder."""
    from accel.hardware.config import load_config
    from accel.verilog.translation import module_name
    from accel.verilog.translation import translate as to_verilog

    cfg = load_config(config)
    if network is not None:
        from accel.network.graph import Network
        from accel.verilog import handoff

        quantized = Network.load(network)
        found, source = handoff.images_for(quantized, images or 2, data)
        with working("translating"):
            handoff.write(cfg, quantized, found, source, out)
        console.print(f"accelerator with {quantized.name} written to {out}", soft_wrap=True)
        return
    if images is not None or data is not None:
        raise AccelError(
            "--images and --data are for the testbench, which belongs to a network: give --network "
            "as well, or leave them out"
        )
    file = out / f"{module_name(cfg)}.v"
    files.check_writable(file)
    with working("translating"):
        verilog = to_verilog(cfg)
    files.write(file, verilog)
    console.print(f"module {module_name(cfg)} written to {file}", soft_wrap=True)


@app.command(
    epilog=examples(
        "accel synth --config tiny --target ice40",
        "accel synth --target ecp5 --pnr --seeds 3 --json synth.json",
    )
)
def synth(
    config: ConfigOption = "base",
    target: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            autocompletion=lambda: ["ecp5", "ecp5-25k", "ice40", "generic"],
            help="ecp5: Lattice ECP5-85k; ecp5-25k: a smaller one; ice40: Lattice iCE40 HX8K; "
            "generic: no device; or a "
            "Liberty file of standard cells.",
        ),
    ] = "ecp5",
    pnr: Annotated[
        bool, typer.Option("--pnr", help="Place and route as well: clock frequency and paths.")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Place and route N times, not once; the median."),
    ] = None,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Synthesize the accelerator: what each unit takes, and how fast it is."""
    from accel.hardware.config import load_config
    from accel.verilog.synthesis import find_target, synthesize
    from accel.verilog.translation import module_name, translate

    if seeds is not None and not pnr:
        raise AccelError("--seeds is a number of runs of place and route: add --pnr")
    cfg = load_config(config)
    found = find_target(target)
    check_json(json_file)
    with working("translating", "stages") as work:

        def show(done: int, total: int, what: str) -> None:
            work.show(done, total=total, what=what)

        synthesis = synthesize(
            translate(cfg),
            module_name(cfg),
            found,
            num_seeds=(seeds or 1) if pnr else 0,
            progress=show,
        )
    console.print(synthesis.table())
    for line in synthesis.summary():
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    write_json(json_file, synthesis.record())


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
            metavar="FILE", help="Of accel quantize; once for each. Without it: the bundled one."
        ),
    ] = None,
    images: Annotated[
        int,
        typer.Option(
            min=2,
            metavar="N",
            help="Images for each point. Cycles are the same for all; energy is not, since zeros "
            "save some.",
        ),
    ] = 2,
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
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Place and route N times, not once; the median."),
    ] = None,
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
    quiet: QuietOption = False,
) -> None:
    """Try combinations of a configuration's fields: cycles, energy, area, and which are best.

    What was interrupted goes on where it was, by the same command.

    Exit status 1 if an output or Verilated RTL differs, or nothing was measured.
    """
    from accel.exploration import pareto
    from accel.exploration import sweep as exploration
    from accel.fashion_mnist import data as fashion_mnist
    from accel.hardware.config import load_config
    from accel.verilog.synthesis import find_target

    values = exploration.parse_sweep(sweep)
    base = load_config(config)
    target = None if synth_target is None else find_target(synth_target)
    if pnr and target is None:
        raise AccelError("--pnr places and routes what was synthesized: add --synth TARGET")
    if seeds is not None and not pnr:
        raise AccelError("--seeds is a number of runs of place and route: add --pnr")
    chosen = pareto.choose(objectives, target, pnr)
    check_json(json_file)
    if plot is not None:
        pareto.plot_format(plot)
        files.check_writable(plot)
    paths = network or [fashion_mnist.QUANTIZED_NETWORK]
    with exploration.Results(out) as results:
        try:
            with working("reading the networks", "configurations") as work:

                def show(done: int, total: int, what: str) -> None:
                    work.show(done, total=total, what=what)

                subjects = exploration.load_subjects(paths, images, data)
                designs = exploration.plan(base, values, subjects, fit=fit)
                found = exploration.run(
                    *(designs, subjects, results),
                    target=synth_target,
                    seeds=(seeds or 1) if pnr else 0,
                    checks=check,
                    jobs=jobs,
                    cluster=cluster,
                    progress=show,
                )
        except KeyboardInterrupt:
            error_console.print(
                f"{out} keeps what was done: the same command goes on from there",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )
            raise
    outcome = pareto.Outcome(found, chosen, values)
    if outcome.front:
        console.print(outcome.table())
        if plot is not None:
            files.write(plot, outcome.draw(pareto.plot_format(plot)))
    for line in outcome.summary(out):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if plot is not None and outcome.front:
        console.print(f"plot: {plot}", soft_wrap=True, highlight=False, markup=False)
    write_json(json_file, outcome.record(ctx.meta[COMMAND], out))
    if not outcome.good:
        raise typer.Exit(1)


@app.command(epilog=examples("accel demo", "accel demo --out pictures --jobs 1"))
def demo(
    ctx: typer.Context,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")
    ] = Path("out"),
    jobs: JobsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Classify the 1,000 bundled images on the accelerator in Verilator.

    Leaves a picture, a report to open in a browser, and the figures as JSON.
    """
    from accel.reports.picture import draw

    picture, figures, page = out / "demo.png", out / "demo.json", out / REPORT
    for file in (picture, figures, page):
        files.check_writable(file)
    evaluation = _evaluate("verilator", None, "base", "1000", None, jobs, None)
    files.write(picture, draw(evaluation))
    _write_record(evaluation.record(ctx.meta[COMMAND]), figures, page)
    console.print(
        f"picture: {picture}, figures: {figures}, report to open in a browser: {page}",
        soft_wrap=True,
    )
    if evaluation.mismatched_outputs:
        raise typer.Exit(1)


@app.command(epilog=examples("accel doctor", "accel doctor --json - | python3 -m json.tool"))
def doctor(json_file: JsonOption = None, quiet: QuietOption = False) -> None:
    """Say what is installed, what is missing, what for, and what gets it.

    Exit status 1 if something is missing that accel demo needs.
    """
    from accel import doctor as examination

    check_json(json_file)
    findings = examination.examine()
    console.print(examination.table(findings))
    missing = examination.missing(findings)
    for line in examination.advice(findings):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    write_json(json_file, examination.record(findings))
    if missing:
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
) -> Evaluation:
    """Load what the options name, run it under a progress bar, and print what came out."""
    from accel.hardware.config import load_config
    from accel.network.graph import Network
    from accel.simulation import evaluate
    from accel.simulation.runner import check_level

    check_level(level)
    cfg = load_config(config)
    quantized = evaluate.bundled_network() if network is None else Network.load(network)
    count = _image_count(images, evaluate.MANY_IMAGES[level])
    found = evaluate.test_images(count, data)
    what = "building the simulation" if level == "verilator" else f"level {level}"
    with working(what, "images", len(found)) as work:

        def show(done: int) -> None:
            work.show(done, what=f"level {level}")

        evaluation = evaluate.evaluate(
            quantized,
            cfg,
            found,
            level=level,
            jobs=jobs,
            cluster=cluster,
            max_cycles=max_cycles,
            progress=show,
        )
    console.print(evaluation.table())
    console.print(evaluation.energy_table())
    for line in evaluation.summary():
        console.print(line, soft_wrap=True, highlight=False)
    if evaluation.first_wrong is not None:
        _say_where(evaluation, quantized, vcd)
    return evaluation


def _say_where(evaluation: Evaluation, network: Network, vcd: Path | None) -> None:
    """Prints the first difference, and writes the waveforms around it."""
    from accel.fashion_mnist.training import to_input
    from accel.simulation.difference import first_difference, write_waveform

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    image, run = evaluation.first_wrong, evaluation.run
    assert image is not None
    images = to_input(evaluation.images.pixels).numpy()
    with working("looking for the first difference"):
        found = first_difference(network, run.program, images, image, run.level)
    if found is None:
        level = "rtl" if run.level == "verilator" else run.level
        say(
            f"first difference: image {image}, but alone, at level {level}, it does not differ: "
            f"look at the images before it"
            + (", or at the translation to Verilog" if run.level == "verilator" else "")
        )
        return
    say(str(found))
    if vcd is None:
        return
    if found.cycle is None:
        say(f"{vcd} is not written: the byte was never written, and so there is no cycle to show")
        return
    with working("writing the waveforms"):
        start, stop = write_waveform(run.program, images, found, vcd)
    say(f"waveforms of cycles {start:,} to {stop - 1:,} of the RTL: {vcd}")


def _image_count(text: str | None, default: int) -> int | None:
    if text is None:
        return default
    if text == "all":
        return None
    if not text.isdecimal():
        raise AccelError(f"--images must be a whole number or 'all', not '{text}'")
    return int(text)
