"""``accel check``."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from accel.cli.application import app, examples
from accel.cli.options import ConfigOption, JsonOption, NetworkOption, QuietOption
from accel.console import check_json, console, say, write_json


@app.command(
    epilog=examples(
        "accel check",
        "accel check --config wide --network int8.safetensors",
        "accel check --seed 1 --json certificate.json",
    )
)
def check(
    network: NetworkOption = None,
    config: ConfigOption = "base",
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of the random residues. Without it: another one every time."),
    ] = None,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
) -> None:
    """Show that the compiled program computes its network, for every input.

    Without a simulation: the loads and loops of the program are replayed by code that shares
    nothing with the compiler. What is printed counts what was shown.
    """
    from accel.checking.check import check as check_program
    from accel.cli.loading import network_of
    from accel.compiler.compile import compile
    from accel.hardware.config import load_config

    check_json(json_file)
    cfg = load_config(config)
    quantized = network_of(network)
    certificate = check_program(quantized, compile(quantized, cfg), seed)
    console.print(certificate.table())
    for line in certificate.notes():
        say(line)
    write_json(json_file, dataclasses.asdict(certificate))
