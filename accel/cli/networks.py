"""``accel train`` and ``accel quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accel.cli.application import app, examples
from accel.cli.options import DataFolder, JsonOption, QuietOption
from accel.cli.outputs import ForceOption, check, check_json
from accel.console import console, error_console, working, write_json

if TYPE_CHECKING:
    from accel.fashion_mnist.data import Images
    from accel.fashion_mnist.training import FashionNet, Progress, Recipe


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
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train the Fashion-MNIST network on the training images."""
    from accel.fashion_mnist import training
    from accel.fashion_mnist.data import load

    given = {"epochs": epochs, "seed": seed}
    recipe = training.Recipe(**{k: v for k, v in given.items() if v is not None})
    check(out)
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
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Quantize the Fashion-MNIST network to int8, calibrated on training images."""
    from accel.fashion_mnist import data as fashion_mnist
    from accel.fashion_mnist import training
    from accel.frontends import pytorch
    from accel.reports import quantization as report

    check(out)
    check_json(json_file)
    model = training.load(network or fashion_mnist.FLOAT_NETWORK)
    with working("finding the images") as work:
        calibration = fashion_mnist.calibration_images(data)
        test_images = fashion_mnist.load("test", data)
        work.show(0, what=f"calibrating on {len(calibration):,} images")
        quantized = pytorch.quantize(
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
