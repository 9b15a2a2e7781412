"""``accel translate``, ``accel synth`` and ``accel bitstream``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accel import files
from accel.cli.application import app, examples
from accel.cli.options import (
    ConfigOption,
    DataFolder,
    ImagesOption,
    JsonOption,
    PnrOption,
    QuietOption,
    SeedsOption,
    num_seeds,
)
from accel.cli.outputs import ForceOption, check, check_json, forced
from accel.console import console, say, working, write_json
from accel.errors import AccelError
from accel.hardware.serial import BAUD


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
            help="Of accel quantize, or a quantized .onnx. With it: a folder that stands alone, "
            "with AXI ports, driver, testbench, images and logits.",
        ),
    ] = None,
    images: ImagesOption = None,
    data: DataFolder = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the accelerator as one Verilog file, or with a network as a whole folder."""
    from accel.hardware.config import load_config
    from accel.verilog.translation import module_name
    from accel.verilog.translation import translate as to_verilog

    cfg = load_config(config)
    if network is not None:
        from accel.cli.loading import network_of
        from accel.images import find
        from accel.verilog import handoff

        quantized = network_of(network)
        found = find(images, quantized, count=2, data=data)
        with working("translating"):
            handoff.write(cfg, quantized, found.values, found.source, out, force=forced())
        say(f"accelerator with {quantized.name} written to {out}")
        return
    if images is not None or data is not None:
        raise AccelError(
            "--images and --data are for the testbench, which belongs to a network: give --network "
            "as well, or leave them out"
        )
    file = out / f"{module_name(cfg)}.v"
    check(file)
    with working("translating"):
        verilog = to_verilog(cfg)
    files.write(file, f"// Written by accel translate.\n{verilog}")
    say(f"module {module_name(cfg)} written to {file}")


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
    pnr: PnrOption = False,
    seeds: SeedsOption = None,
    json_file: JsonOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Synthesize the accelerator: what each unit takes, and how fast it is."""
    from accel.hardware.config import load_config
    from accel.verilog.synthesis import find_target, synthesize
    from accel.verilog.translation import module_name, translate

    runs = num_seeds(pnr, seeds)
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
            num_seeds=runs,
            progress=show,
        )
    console.print(synthesis.table())
    for line in synthesis.summary():
        say(line)
    write_json(json_file, synthesis.record())


@app.command(
    epilog=examples(
        "accel bitstream --board ulx3s-85f --out board",
        "accel bitstream --board ulx3s-25f --config tiny --baud 1000000 --out board",
    )
)
def bitstream(
    board: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            autocompletion=lambda: _boards(),
            help="One of those that come with accel (a wrong name lists them), or a TOML file.",
        ),
    ],
    config: ConfigOption = "base",
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")
    ] = Path("out"),
    baud: Annotated[
        int, typer.Option(min=1200, metavar="RATE", help="Bits a second of the serial line.")
    ] = BAUD,
    mhz: Annotated[
        float | None,
        typer.Option(
            min=12.0, metavar="MHZ", help="The clock. Without it: about as fast as timing allows."
        ),
    ] = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make the bitstream of an accelerator at the end of a serial line, for a board.

    A routing takes some minutes, and there are up to four, until the clock fits.
    """
    from accel.hardware.config import load_config
    from accel.verilog import bitstream as making
    from accel.verilog import manifest
    from accel.verilog.boards import find_board

    cfg, found = load_config(config), find_board(board)
    manifest.check(out, making.NAMES, "accel bitstream", force=forced())
    with working("translating") as work:
        made = making.make(
            cfg,
            found,
            baud=baud,
            mhz=mhz,
            progress=lambda what, how_far: work.show(0, what=what, note=how_far or "under way"),
        )
    making.write(made, out)
    say(f"{made.clock.mhz:g} MHz, {made.reached:.1f} reached; {made.clock.baud:,.0f} baud")
    say(f"bitstream for {found.title} written to {out}; its README.md says how to load it")


def _boards() -> list[str]:
    from accel.verilog.boards import bundled

    return list(bundled())
