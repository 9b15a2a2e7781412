"""Bitstreams: boards, their tops and clocks, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accel.cli import app
from accel.errors import AccelError
from accel.hardware.config import PRESETS, AccelConfig, load_config
from accel.hardware.serial import BAUD
from accel.simulation.toolchain import find_toolchain
from accel.verilog import bitstream, manifest
from accel.verilog.bitstream import Bitstream, Clock, clocks, top_module
from accel.verilog.boards import Board, bundled, find_board
from accel.verilog.chip_picture import draw
from accel.verilog.translation import translate_board

SMALLEST = AccelConfig(
    num_cols=1, num_lanes=1, acc_nbits=24, spad_depth=1, act_depth=64, weight_depth=256,
    param_depth=16, max_layers=2,
)  # fmt: skip
BOARDS = bundled()
MINE = """
title = "mine"
fpga = "45k"
package = "CABGA256"
speed = 7
io_type = "LVCMOS33"
clock = 50
clock_pin = "A1"
rx_pin = "A2"
tx_pin = "A3 LVCMOS18"
reset_pin = "A4"
loader = "mine"
serial = "somewhere"
"""
PLL = "module pll (input clock, output clk, output locked); assign {clk, locked} = {clock, 1'b1};\n"


@pytest.mark.parametrize("name", BOARDS)
def test_pins_of_a_board(name: str) -> None:
    """Each port of the top has a place of its own in the constraints, and nothing else has."""
    board = BOARDS[name]
    top, text = top_module(board), board.constraints()
    ports = set()
    for width, port in re.findall(r"^  (?:input|output) (?:\[(\d+):0\] )?(\w+),?$", top, re.M):
        ports |= {f"{port}[{i}]" for i in range(int(width) + 1)} if width else {port}
    sites = dict(re.findall(r'LOCATE COMP "(.*)" SITE "(\w+)";', text))
    assert set(sites) == ports == set(re.findall(r'IOBUF PORT "(.*?)" IO_TYPE=\w+', text))
    assert len(set(sites.values())) == len(sites)
    assert f'FREQUENCY PORT "clock" {board.clock:g} MHZ;' in text


@pytest.mark.parametrize("name", BOARDS)
def test_top_is_sound(name: str, tmp_path: Path) -> None:
    """Verilator finds nothing to complain of in the top with the board inside, with all warnings.
    The PLL is a wire."""
    inner = translate_board(SMALLEST, 20)
    (tmp_path / "top.v").write_text(f"{top_module(BOARDS[name])}{PLL}endmodule\n{inner}")
    tools = find_toolchain()
    command = [
        str(tools.verilator),
        "--lint-only",
        "-Wall",
        "-Wno-UNUSEDSIGNAL",
        "-Wno-DECLFILENAME",
    ]
    done = subprocess.run(
        [*command, "--top-module", "top", "top.v"],
        cwd=tmp_path,
        env=os.environ | tools.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_board_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    board = find_board(str(file))
    assert board.ports == {"clock": "A1", "rx": "A2", "tx": "A3 LVCMOS18", "button": "A4"}
    assert 'IOBUF PORT "tx" IO_TYPE=LVCMOS18;' in board.constraints()
    assert board.has.dsps == 72
    assert "output [" not in top_module(board)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("", "spare = 1\n"), "spare: Extra inputs are not permitted"),
        (('fpga = "45k"', 'fpga = "46k"'), "fpga: String should match"),
        (('package = "CABGA256"\n', ""), "package: Field required"),
        (('"A2"', '"A1"'), "site A1 is given to two ports"),
        (("speed = 7", "speed = "), "is not TOML"),
    ],
)
def test_wrong_board_file(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    file = tmp_path / "mine.toml"
    before, after = change
    file.write_text(MINE.replace(before, after, 1) if before else after + MINE)
    with pytest.raises(AccelError, match=re.escape(says)):
        find_board(str(file))


def test_no_such_board(tmp_path: Path) -> None:
    with pytest.raises(AccelError, match=r"unknown board 'arty': expected ulx3s-85f, .*TOML file"):
        find_board("arty")
    with pytest.raises(AccelError, match=r"cannot read board file .*No such file"):
        find_board(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("baud", [115_200, 1_000_000, BAUD, 12_000_000])
def test_clocks(baud: int) -> None:
    """From the fastest on, all that a PLL makes of 25 MHz and that serve the line: it compares at
    3.125 MHz at least."""
    serve = set()
    for mhz in {Fraction(25 * n, divisor) for divisor in range(1, 9) for n in range(1, 81)}:
        cycles = round(mhz * 10**6 / baud)
        off = abs(mhz * 10**6 / baud / cycles - 1) if cycles else 1
        if 48.1 <= mhz <= 90.3 and cycles >= 4 and off <= Fraction(15, 1000):
            serve.add((round(float(mhz), 9), cycles))
    found = [(round(c.mhz, 9), c.divisor) for c in clocks(25, baud, 90.3, 48.1)]
    assert found == sorted(serve, reverse=True)
    assert found


def test_no_clock_for_such_a_line() -> None:
    with pytest.raises(AccelError, match=r"no clock from 12 to 80 MHz .* bits of 30000000 baud"):
        bitstream.make(SMALLEST, BOARDS["ulx3s-25f"], baud=30_000_000)
    # 23 cycles of 63.4 MHz are 2.76 Mbaud: the PLL's nearest with three is named.
    with pytest.raises(AccelError, match=r"from 63.2 to 64.2 MHz .* as --mhz (\d+\.?\d*)$") as e:
        bitstream.make(SMALLEST, BOARDS["ulx3s-25f"], baud=BAUD, mhz=64.2)
    mhz = float(str(e.value).split()[-1])
    assert abs(mhz - 64.2) < 2 and next(clocks(25, BAUD, mhz + 0.001, mhz - 0.001))


def test_progress_of_place_and_route() -> None:
    """Lines of nextpnr's logs."""
    lines = {
        "Info: iter=431 steplen=2.627223 a=217.842392 penalty=[3.72, 3.72]": "placing, step 431",
        "Info:   at iteration #5: temp = 0.0, timing cost = 842": "refining the placement, step 5",
        "Info:      26000 |    10854      15145 |  225   775 |     62790|       6.84     169.60|": (
            "routing, 62,790 connections to go"
        ),
        "Info:    update_chains distance 188.92": "",
        "Info: Routing..": "",
    }
    assert [bitstream._how_far(line) for line in lines] == list(lines.values())


@pytest.mark.parametrize(
    ("name", "most"),
    [("ulx3s-85f", 72.0), ("ulx3s-85f", 63.3), ("orangecrab-25f", 60.0), ("ecp5-evn", 81.0)],
)
def test_pll(name: str, most: float, tmp_path: Path) -> None:
    """The dividers make the clock, and the PLL's own oscillator is in its range."""
    board = BOARDS[name]
    clock = next(clocks(board.clock, BAUD, most, 12))
    text = bitstream._pll(board, clock, tmp_path)
    refclk, feedback, out = (
        int(re.search(rf"\.{key}\((\d+)\)", text)[1])  # type: ignore[index]
        for key in ("CLKI_DIV", "CLKFB_DIV", "CLKOP_DIV")
    )
    made = board.clock * feedback / refclk
    assert made == pytest.approx(clock.mhz) and most - 4 < made <= most
    assert 400 <= made * out <= 800


class Routing:
    """Stands for synthesis and routing. reached: MHz, of one attempt after another."""

    def __init__(self, *reached: float) -> None:
        self.reached, self.asked = list(reached), list[float]()

    def __call__(self, cfg: Any, board: Any, baud: int, clock: Clock, *_: Any) -> Bitstream:
        self.asked.append(clock.mhz)
        return made(cfg, board, clock, self.reached[len(self.asked) - 1])


def made(cfg: AccelConfig, board: Board, clock: Clock, reached: float) -> Bitstream:
    figures = {"lut4_with_carry": 7000.0, "flip_flops": 5000.0, "dsp": 20.0, "block_ram": 30.0}
    cell = {"type": "TRELLIS_FF", "attributes": {"NEXTPNR_BEL": "X3/Y4/SLICEA.FF0"}}
    cells = {"inner.accelerator.accelerator.pe_array.row": cell, "inner.rx": cell}
    return Bitstream(
        board=board, cfg=cfg, baud=BAUD, clock=clock, reached=reached, figures=figures,
        tools="Yosys 1; nextpnr 2", verilog="module top;", constraints="LOCATE", data=b"\xff\0bits",
        placed=json.dumps({"modules": {"top": {"cells": cells}}}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reached", "asked", "clock"),
    [
        ((86.0,), [80.0], 80.0),  # near enough
        ((70.0, 71.0), [80.0, 66.667], 66.667),  # missed, then met
        ((99.0, 98.0), [80.0, 96.875], 96.875),  # much more is possible
        ((99.0, 90.0, 89.0), [80.0, 96.875, 87.5], 87.5),
        ((99.0, 80.0), [80.0, 96.875], 80.0),  # not above what was met already
    ],
)
def test_clock_follows_routing(
    monkeypatch: pytest.MonkeyPatch, reached: tuple[float, ...], asked: list[float], clock: float
) -> None:
    routing = Routing(*reached)
    monkeypatch.setattr(bitstream, "_attempt", routing)
    found = bitstream.make(SMALLEST, BOARDS["ulx3s-85f"], baud=BAUD)
    assert found.clock.mhz == pytest.approx(clock, abs=0.001) and clock <= found.reached
    assert routing.asked == pytest.approx(asked, abs=0.001)


def test_a_clock_that_is_too_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    board = BOARDS["ulx3s-85f"]
    monkeypatch.setattr(bitstream, "_attempt", Routing(60.0))
    says = r"reaches 60.0 MHz on ULX3S with an ECP5-85F, not 71.875: give a lower clock with --mhz"
    with pytest.raises(AccelError, match=says):
        bitstream.make(SMALLEST, board, baud=BAUD, mhz=72)
    missed = lambda cfg, board, _, clock, *more: made(cfg, board, clock, 0.9 * clock.mhz)  # noqa: E731
    monkeypatch.setattr(bitstream, "_attempt", missed)
    with pytest.raises(AccelError, match=r"reaches .* MHz on .*: give a lower clock with --mhz"):
        bitstream.make(SMALLEST, board, baud=BAUD)


def test_what_does_not_fit() -> None:
    figures = {"lut4_with_carry": 20_000, "distributed_ram": 900, "flip_flops": 9000,
               "dsp": 80, "block_ram": 56}  # fmt: skip
    assert bitstream._excess(figures, BOARDS["ulx3s-85f"]) == []
    assert bitstream._excess(figures, BOARDS["ulx3s-25f"]) == [
        "25,400 LUT4 where there are 24,288",
        "80 multipliers where there are 28",
    ]


def test_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command leaves what the README speaks of, knows its own files again, and no others."""
    monkeypatch.setattr(bitstream, "_attempt", Routing(*[81.0] * 3))
    monkeypatch.setattr(bitstream, "tools", lambda *_: "tools")
    out = tmp_path / "board"
    command = ["bitstream", "--board", "orangecrab-85f", "--config", "tiny", "--out", str(out)]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    assert {file.name for file in out.iterdir()} == set(bitstream.NAMES)
    assert (out / "accel.bit").read_bytes() == b"\xff\0bits"
    assert load_config(str(out / "config.toml")) == PRESETS["tiny"]
    text = (out / "README.md").read_text()
    assert "openFPGALoader -b orangeCrab accel.bit" in text and "--baud" not in text
    assert text.count("\n| 2 |") == 1 and "\n| 3 |" not in text  # three lights
    report = json.loads((out / "report.json").read_text())
    assert report["divisor"] == 27 and report["board"]["clock"] == 48
    assert set(json.loads((out / manifest.NAME).read_text())["sha256"]) == {*bitstream.NAMES[:-1]}
    assert CliRunner().invoke(app, command).exit_code == 0
    (out / "top.v").write_text("mine")
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 2 and "top.v in folder" in run.output
    assert (out / "top.v").read_text() == "mine"


def test_picture_of_the_chip() -> None:
    board = BOARDS["ulx3s-85f"]
    found = made(SMALLEST, board, Clock(80.0, 27), 81.0)
    assert draw(found.placed, "title", bitstream.unit_of).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("inner.accelerator.accelerator.pe_array.row1__1.psum_in_TRELLIS_FF_Q", "pe_array"),
        ("inner.accelerator.accelerator.streams_LUT4_Z", "streams and registers"),
        ("inner.accelerator.registers.counters__5.low_TRELLIS_FF_Q", "streams and registers"),
        ("inner.bridge.mark_TRELLIS_FF_Q_1", "serial line"),
        ("inner.ticks_TRELLIS_FF_Q", "between units"),
        ("since_TRELLIS_FF_Q", "between units"),
    ],
)
def test_units_of_cells(name: str, unit: str) -> None:
    assert bitstream.unit_of(name) == unit


def test_whole_bitstream(cmdline_opts: dict[str, Any], tmp_path: Path) -> None:
    """Of the smallest accelerator, with the tools: its clock is met, and it is for the device."""
    if not cmdline_opts["test_netlist"]:
        pytest.skip("only with --test-netlist: place and route takes minutes")
    board = BOARDS["ulx3s-25f"]
    found = bitstream.make(SMALLEST, board, baud=BAUD, mhz=45)
    assert found.reached >= 45 == found.clock.mhz
    assert 0 < found.figures["lut4_with_carry"] < board.has.luts
    # Bitstreams begin with a comment that names the part.
    assert found.data.startswith(b"\xff\x00") and b"LFE5U-25F" in found.data[:200]
    with pytest.raises(AccelError, match=r"does not fit ULX3S .*: it needs .* where there are"):
        bitstream.make(dataclasses.replace(PRESETS["wide"]), board, baud=BAUD, mhz=45)
