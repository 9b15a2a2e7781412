"""From RTL components to Verilog."""

from __future__ import annotations

import re
from typing import Any

from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.passes.backends.verilog.translation.VTranslator import VTranslator

from accel.hardware.config import AccelConfig
from accel.process_wide import PYMTL3
from accel.verilog.unused_bits import name_unused
from rtl_models.accelerator import AcceleratorRTL
from rtl_models.axi_accelerator import AxiAcceleratorRTL
from rtl_models.board import BoardRTL

_ONE_FILE = """\
// One file holds all modules, so that it can be handed on as it is.
/* verilator lint_off DECLFILENAME */
"""

_COMBINATIONAL = re.compile(r"(?ms)^  always_comb( begin : \w+\n.*?^  end\n)")
_CONSTANT_SELECT = re.compile(
    r"(?m)^ .*(?:=|if \().*[a-z_]\w*(?:\[(?:\d+'d)?\d|\[\d+'\( __const__|\.\w)"
)
"""Bits or a member of what a line reads; PyMTL3 writes one statement a line."""

AXI_TOP = "accelerator"
"""Name of the module with AXI ports, the same for every configuration."""


BOARD_TOP = "board"
"""Name of the module at the end of a serial line."""


def module_name(cfg: AccelConfig) -> str:
    """Name of the accelerator's Verilog module; different for every configuration."""
    return f"accelerator_{cfg}"


def translate(cfg: AccelConfig) -> str:
    """The accelerator as one (System)Verilog text; the same configuration gives the same text."""
    return translate_component(AcceleratorRTL(cfg), module_name(cfg))


def translate_axi(cfg: AccelConfig) -> str:
    """The accelerator behind AXI ports as one text: the module ``accelerator`` with ``aclk`` and
    ``aresetn``, and all that is in it."""
    component, name = AxiAcceleratorRTL(cfg), f"axi_accelerator_{cfg}"
    text = translate_component(component, name)
    ports = [
        (port.get_field_name(), direction, port.get_type().nbits)
        for direction, found in (
            ("input", component.get_input_value_ports()),
            ("output", component.get_output_value_ports()),
        )
        for port in found
        if port.get_field_name() not in ("clk", "reset")
    ]
    width = {nbits: f"[{nbits - 1}:0] " if nbits > 1 else "" for _, _, nbits in ports}
    declared = [f"  {direction} logic {width[n]}{port}" for port, direction, n in sorted(ports)]
    connected = [f"    .{port}({port})" for port, _, _ in sorted(ports)]
    lines = [
        "// AXI4-Stream s_axis_prog, s_axis_image, m_axis_result; AXI4-Lite s_axi; all on aclk.",
        f"module {AXI_TOP} (",
        "  input logic aclk,",
        "  input logic aresetn,",
        ",\n".join(declared),
        ");",
        f"  {name} inner (",
        "    .clk(aclk),",
        "    .reset(~aresetn),",
        ",\n".join(connected),
        "  );",
        "endmodule",
    ]
    return "\n".join(lines) + "\n\n" + text


def translate_board(cfg: AccelConfig, divisor: int) -> str:
    """The accelerator at the end of a serial line as one text, the module ``board``.

    divisor: clock cycles a bit of the line, 4 at least.
    """
    return translate_component(BoardRTL(cfg, divisor), BOARD_TOP)


def translate_component(component: Any, name: str) -> str:
    """Any RTL component as Verilog, its top module called ``name``."""
    with PYMTL3:
        component.elaborate()
        component.set_metadata(VerilogTranslationPass.enable, True)
        component.set_metadata(VerilogTranslationPass.explicit_module_name, name)
        # What the pass does, but for writing to the current folder, which is the whole process's.
        translator = VTranslator(component)
        translator.translate(component, VerilogTranslationPass().gen_tr_cfgs(component))
        text = translator.hierarchy.src
    # Loop variables have 32 bits, but PyMTL3 gives their constants as few bits as hold them.
    text = re.sub(
        r"for \( int unsigned (\w+) = \d+'d(\d+); (.*); \1 \+= \d+'d(\d+) \)",
        r"for ( int unsigned \1 = \2; \3; \1 += \4 )",
        text,
    )
    # Icarus Verilog complains of each constant select that an always_comb reads. Only blocks with
    # one change: another may read no signal at all, and `always @*` would never run it. Yosys makes
    # a latch of a loop's variable there, so blocks with a loop stay, and some complaints.
    text = _COMBINATIONAL.sub(
        lambda block: (
            f"  always @*{block[1]}"
            if _CONSTANT_SELECT.search(block[1]) and " for (" not in block[1]
            else block[0]
        ),
        text,
    )
    # No one relies on what a memory reads while that entry is written (rtl_models/memory.py), and
    # keeping a promise that block RAM does not make would cost a multiplexer behind each.
    text = re.sub(
        r"(?ms)^module MemoryRTL__\w+$.*?^endmodule$",
        lambda m: re.sub(r"(?m)^  (logic \[\d+:\d+\] mem )", r"  (* no_rw_check *) \1", m[0]),
        text,
    )
    # Synthesis would merge the activation registers of all multipliers of a tap into one, far from
    # most of them.
    text = text.replace(
        "always_ff @(posedge clk) begin : up_factors",
        "(* keep *) always_ff @(posedge clk) begin : up_factors",
    )
    # Where the sources lie is this machine's matter.
    return _ONE_FILE + name_unused(
        re.sub(r"(?m)^( *// At ).*/(\w+/\w+\.py(?::\d+)?)$", r"\1\2", text)
    )
