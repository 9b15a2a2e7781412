"""What other tools take of a hand-off: its registers as SystemRDL and as IP-XACT, and a core file
for FuseSoC. All are made from :mod:`accel.hardware.registers` and the folder's own file names."""

from __future__ import annotations

from xml.sax.saxutils import escape

from accel.hardware import registers
from accel.hardware.config import AccelConfig
from accel.hardware.registers import ADDRESS_NBITS, DATA_NBITS, REGISTERS, Field, Register

NAME = "accel"
VENDOR, LIBRARY = "accel", "cnn"
IPXACT = "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"
_WHOLE = "value"
"""What the one field is called of a register that has none."""


def fields(register: Register) -> tuple[Field, ...]:
    """The register's, or one of all its bits."""
    return register.fields or (Field(_WHOLE, 0, DATA_NBITS, register.text),)


def systemrdl(cfg: AccelConfig) -> str:
    """``registers.rdl``: SystemRDL 2.0. What only the configuration decides is the reset value."""
    reads = registers.constants(cfg)
    lines = [
        f"addrmap {NAME} {{",
        f'    name = "Accelerator {cfg}";',
        f"    default regwidth = {DATA_NBITS};",
        f"    default accesswidth = {DATA_NBITS};",
    ]
    for register in REGISTERS:
        lines += [
            "    reg {",
            f'        name = "{register.name}";',
            f"        desc = {_quoted(register.text)};",
        ]
        for field in fields(register):
            reset = (reads.get(register.name, 0) & field.mask) >> field.low
            high = field.low + field.nbits - 1
            # A word of SystemRDL may be a name here: escaped, it is none.
            lines.append(
                f"        field {{ desc = {_quoted(field.text)}; {_ACCESS_RDL[register.access]} }} "
                f"\\{field.name} [{high}:{field.low}] = {field.nbits}'d{reset};"
            )
        lines.append(f"    }} \\{register.name} @ 0x{register.offset:X};")
    return "\n".join([*lines, "};"]) + "\n"


_ACCESS_RDL = {
    "ro": "sw = r; hw = w;",
    "rw": "sw = rw; hw = r;",
    "w1c": "sw = rw; hw = w; onwrite = woclr;",
}


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def ipxact(cfg: AccelConfig, top: str) -> str:
    """``accel.xml``: a component of IEEE 1685-2014 with its memory map, and its Verilog file."""
    reads, version = registers.constants(cfg), _version()
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<ipxact:component xmlns:ipxact="{IPXACT}">',
        f"  <ipxact:vendor>{VENDOR}</ipxact:vendor>",
        f"  <ipxact:library>{LIBRARY}</ipxact:library>",
        f"  <ipxact:name>{NAME}_{cfg}</ipxact:name>",
        f"  <ipxact:version>{version}</ipxact:version>",
        "  <ipxact:memoryMaps>",
        "    <ipxact:memoryMap>",
        "      <ipxact:name>s_axi</ipxact:name>",
        "      <ipxact:addressBlock>",
        "        <ipxact:name>registers</ipxact:name>",
        "        <ipxact:baseAddress>0</ipxact:baseAddress>",
        f"        <ipxact:range>{1 << ADDRESS_NBITS}</ipxact:range>",
        f"        <ipxact:width>{DATA_NBITS}</ipxact:width>",
        "        <ipxact:usage>register</ipxact:usage>",
    ]
    for register in REGISTERS:
        lines += _register(register, reads.get(register.name, 0))
    lines += [
        "      </ipxact:addressBlock>",
        "      <ipxact:addressUnitBits>8</ipxact:addressUnitBits>",
        "    </ipxact:memoryMap>",
        "  </ipxact:memoryMaps>",
        "  <ipxact:model>",
        "    <ipxact:instantiations>",
        "      <ipxact:componentInstantiation>",
        "        <ipxact:name>rtl</ipxact:name>",
        "        <ipxact:language>SystemVerilog</ipxact:language>",
        f"        <ipxact:moduleName>{top}</ipxact:moduleName>",
        "        <ipxact:fileSetRef><ipxact:localName>rtl</ipxact:localName></ipxact:fileSetRef>",
        "      </ipxact:componentInstantiation>",
        "    </ipxact:instantiations>",
        "  </ipxact:model>",
        "  <ipxact:fileSets>",
        "    <ipxact:fileSet>",
        "      <ipxact:name>rtl</ipxact:name>",
        "      <ipxact:file>",
        "        <ipxact:name>accelerator.sv</ipxact:name>",
        "        <ipxact:fileType>systemVerilogSource</ipxact:fileType>",
        "      </ipxact:file>",
        "    </ipxact:fileSet>",
        "  </ipxact:fileSets>",
        "</ipxact:component>",
    ]
    return "\n".join(lines) + "\n"


_ACCESS_IPXACT = {"ro": "read-only", "rw": "read-write", "w1c": "read-write"}


def _register(register: Register, reads: int) -> list[str]:
    access = _ACCESS_IPXACT[register.access]
    lines = [
        "        <ipxact:register>",
        f"          <ipxact:name>{register.name}</ipxact:name>",
        f"          <ipxact:description>{escape(register.text)}</ipxact:description>",
        f"          <ipxact:addressOffset>{register.offset}</ipxact:addressOffset>",
        f"          <ipxact:size>{DATA_NBITS}</ipxact:size>",
    ]
    for field in fields(register):
        lines += [
            "          <ipxact:field>",
            f"            <ipxact:name>{field.name}</ipxact:name>",
            f"            <ipxact:description>{escape(field.text)}</ipxact:description>",
            f"            <ipxact:bitOffset>{field.low}</ipxact:bitOffset>",
            "            <ipxact:resets><ipxact:reset>"
            f"<ipxact:value>{(reads & field.mask) >> field.low}</ipxact:value>"
            "</ipxact:reset></ipxact:resets>",
            f"            <ipxact:bitWidth>{field.nbits}</ipxact:bitWidth>",
            f"            <ipxact:access>{access}</ipxact:access>",
        ]
        if register.access == "w1c":
            clears = "<ipxact:modifiedWriteValue>oneToClear</ipxact:modifiedWriteValue>"
            lines.append(f"            {clears}")
        lines.append("          </ipxact:field>")
    return [*lines, "        </ipxact:register>"]


def _version() -> str:
    return f"{registers.VERSION >> 16}.{registers.VERSION & 0xFFFF}"


def core_name(cfg: AccelConfig) -> str:
    """What FuseSoC calls it."""
    return f"{VENDOR}:{LIBRARY}:{NAME}_{cfg}:{_version()}.0"


def core(cfg: AccelConfig, top: str) -> str:
    """``accel.core``: for FuseSoC 2, with the testbench in Icarus Verilog and in Verilator."""
    return f"""\
CAPI=2:
name: {core_name(cfg)}
description: A generated int8 CNN accelerator, with a network and a testbench

filesets:
  rtl:
    files: [accelerator.sv]
    file_type: systemVerilogSource
  testbench:
    files:
      - testbench.sv: {{file_type: systemVerilogSource}}
      - program.hex: {{file_type: user, copyto: program.hex}}
      - images.hex: {{file_type: user, copyto: images.hex}}
      - results.hex: {{file_type: user, copyto: results.hex}}

targets:
  default:
    filesets: [rtl]
    toplevel: {top}
  sim:
    # The testbench says how long a unit of time is, for all that follows.
    filesets: [testbench, rtl]
    toplevel: testbench
    default_tool: icarus
    tools:
      icarus:
        iverilog_options: [-g2012]
      verilator:
        mode: binary
        verilator_options: [-j, "0", -CFLAGS, -std=c++20, -MAKEFLAGS, CFG_CXXFLAGS_PCH_I=-include]
"""
