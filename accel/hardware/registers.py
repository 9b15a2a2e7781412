"""The register map of the accelerator with AXI ports: its one source. The hardware's decoder
(:mod:`rtl_models.axi_registers`), ``registers.md`` and ``accel_regs.h`` are made from it; that
header has the constants of the program stream too."""

from __future__ import annotations

from dataclasses import dataclass

from accel.hardware.config import AccelConfig
from accel.hardware.descriptors import BYTES_PER_WORD
from accel.hardware.packets import HEADER, Packet
from accel.hardware.status import TRAFFIC, Activity, ProgramError

ADDRESS_NBITS = 12
"""The map takes 4 KB, as interconnects like it; what is not in the table answers SLVERR."""
DATA_NBITS = 32
WORD_BYTES = DATA_NBITS // 8

OKAY, SLVERR = 0, 2
"""Answers on AXI."""

MAGIC = 0x4143434C
"""``ACCL``."""
VERSION = 1 << 16 | 1
"""Of the register map: major in the upper half, minor in the lower. A minor step adds registers."""


@dataclass(frozen=True)
class Field:
    """Bits of a register. What no field covers reads as 0 and is ignored when written."""

    name: str
    low: int
    nbits: int
    text: str

    @property
    def mask(self) -> int:
        return ((1 << self.nbits) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """One 32-bit word. access: ``ro``; ``rw``; ``w1c``, where writing a 1 clears a bit."""

    name: str
    offset: int
    access: str
    text: str
    fields: tuple[Field, ...] = ()

    def field(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)


COUNTERS = (
    ("cycles", "Cycles since the counters were cleared"),
    *(
        (f"activity_{activity.name.lower()}", f"Cycles of activity {activity.name}")
        for activity in Activity
    ),
    ("images", "Images whose results have all been taken"),
    *((name, f"The selected layer's {name.replace('_', ' ')}") for name in TRAFFIC),
)
"""Names and meanings of the 64-bit counters, each two words."""
NUM_OWN_COUNTERS = len(COUNTERS) - len(TRAFFIC)
"""So many of them are cleared by ``clear_counters``; the others by the loading of a layer."""
COUNTERS_OFFSET = 0x40

REGISTERS = (
    Register("magic", 0x00, "ro", f"0x{MAGIC:08X}, ASCII `ACCL`"),
    Register("version", 0x04, "ro", "Of this map: major in the upper half, minor in the lower"),
    Register(
        "array",
        0x08,
        "ro",
        "Configuration of the array",
        (
            Field("num_cols", 0, 8, "Columns of the PE array"),
            Field("pixel_groups", 8, 8, "Pixel groups"),
            Field("num_lanes", 16, 8, "Requantizer lanes"),
            Field("acc_nbits", 24, 8, "Bits of an accumulator"),
        ),
    ),
    Register(
        "limits",
        0x0C,
        "ro",
        "Configuration of small memories",
        (
            Field("max_layers", 0, 8, "Layers of a program at most"),
            Field("zero_gating", 8, 1, "Zero activations switch no multiplier"),
            Field("adder", 9, 1, "There are adder lanes"),
            Field("tables", 10, 5, "Tables in which outputs are looked up"),
            Field("packed_multipliers", 15, 1, "Two columns share their multipliers"),
            Field("spad_depth", 16, 16, "Weight words that each PE keeps"),
        ),
    ),
    Register("act_depth", 0x10, "ro", "Rows of 9 bytes of the activation memory"),
    Register("weight_depth", 0x14, "ro", "Words of the weight memory"),
    Register("param_depth", 0x18, "ro", "Words of the parameter memory"),
    Register("line_width", 0x1C, "ro", "Pixels of a line that column windows keep; 0: none"),
    Register(
        "control",
        0x20,
        "rw",
        "Writing 0 to a bit that clears itself does nothing",
        (
            Field(
                "soft_reset",
                0,
                1,
                "Ends everything but control and counters, and clears itself; load a program next",
            ),
            Field("enable_done", 1, 1, "`irq` follows `interrupt.done`"),
            Field("enable_error", 2, 1, "`irq` follows `interrupt.error`"),
            Field("clear_counters", 3, 1, "Sets the counters to 0, and clears itself"),
        ),
    ),
    Register(
        "status",
        0x24,
        "ro",
        "What the accelerator does in this cycle",
        (
            Field("running", 0, 1, "A program is loaded and runs"),
            Field("busy", 1, 1, "An image is under way"),
            Field("activity", 4, 4, "What the issue stage does"),
            Field("error", 8, 4, "Why the program was refused or ended, until reset; 0: nothing"),
            Field("layer", 16, 8, "Layer of the issue stage"),
        ),
    ),
    Register(
        "interrupt",
        0x28,
        "w1c",
        "What has happened; a soft reset clears it",
        (
            Field("done", 0, 1, "The last word of an image's result was taken"),
            Field("error", 1, 1, "`status.error` has become other than 0"),
        ),
    ),
    Register(
        "layer",
        0x2C,
        "rw",
        "The layer whose traffic is shown, below `limits.max_layers`",
        (Field("select", 0, 6, "Layer"),),
    ),
    *(
        Register(
            f"{name}_{half}",
            COUNTERS_OFFSET + 2 * WORD_BYTES * i + WORD_BYTES * high,
            "ro",
            "upper half, as it was when the lower one of a counter was last read" if high else text,
        )
        for i, (name, text) in enumerate(COUNTERS)
        for high, half in enumerate(("low", "high"))
    ),
)

BY_NAME = {register.name: register for register in REGISTERS}


def constants(cfg: AccelConfig) -> dict[str, int]:
    """What the registers read that only the configuration decides."""

    def pack(register: str) -> int:
        fields = BY_NAME[register].fields
        return sum(int(getattr(cfg, field.name)) << field.low for field in fields)

    return {
        "magic": MAGIC,
        "version": VERSION,
        "array": pack("array"),
        "limits": pack("limits"),
        "act_depth": cfg.act_depth,
        "weight_depth": cfg.weight_depth,
        "param_depth": cfg.param_depth,
        "line_width": cfg.line_width,
    }


def markdown() -> str:
    """``registers.md``."""
    lines = [
        "# Registers",
        "",
        "32-bit words on `s_axi`. An address that is not in this table, a write to a read-only",
        "register, a write that does not cover all four bytes, and a layer that does not exist are",
        "answered with SLVERR and change nothing.",
        "",
        "| offset | register | access | |",
        "|---|---|---|---|",
    ]
    lines += [f"| 0x{r.offset:02X} | `{r.name}` | {r.access} | {r.text} |" for r in REGISTERS]
    lines += [
        "",
        "A counter has 64 bits: read the lower word, then the upper one, which is kept from that",
        "moment. Traffic counters are right while `status.busy` is 0; they start at 0 when their",
        "layer's descriptor is loaded. Activities together make up all cycles.",
        "",
        "## Fields",
        "",
        "| register | bits | field | |",
        "|---|---|---|---|",
    ]
    for r in REGISTERS:
        for f in r.fields:
            high = f.low + f.nbits - 1
            bits = str(f.low) if f.nbits == 1 else f"{high}:{f.low}"
            lines.append(f"| `{r.name}` | {bits} | `{f.name}` | {f.text} |")
    for title, values in (("`status.activity`", Activity), ("`status.error`", ProgramError)):
        lines += ["", f"## {title}", "", "| value | |", "|---|---|"]
        lines += [f"| {value.value} | {value.name} |" for value in values]
    return "\n".join(lines) + "\n"


def c_header() -> str:
    """``accel_regs.h``."""
    lines = [
        "/* Registers of the accelerator, and its program stream; made from",
        "   accel/hardware/registers.py and packets.py. */",
        "#ifndef ACCEL_REGS_H",
        "#define ACCEL_REGS_H",
        "",
        f"#define ACCEL_MAGIC_VALUE 0x{MAGIC:08X}u",
        f"#define ACCEL_VERSION_VALUE 0x{VERSION:08X}u",
        "",
        "/* Offsets in bytes */",
    ]
    lines += [f"#define ACCEL_{r.name.upper()} 0x{r.offset:02X}u" for r in REGISTERS]
    lines += ["", "/* Fields: lowest bit, and mask in place */"]
    for r in REGISTERS:
        for f in r.fields:
            name = f"ACCEL_{r.name.upper()}_{f.name.upper()}"
            lines.append(f"#define {name}_SHIFT {f.low}u")
            lines.append(f"#define {name}_MASK 0x{f.mask:08X}u")
    lines += ["", "/* ACCEL_STATUS_ACTIVITY */"]
    lines += [f"#define ACCEL_ACTIVITY_{a.name}_VALUE {a.value}u" for a in Activity]
    lines += ["", "/* ACCEL_STATUS_ERROR */"]
    lines += [f"#define ACCEL_ERROR_{e.name} {e.value}u" for e in ProgramError]
    lines += ["", "/* The program stream: kinds of packets, and a header's fields in 64 bits */"]
    lines += [f"#define ACCEL_BYTES_PER_WORD {BYTES_PER_WORD}u"]
    lines += [f"#define ACCEL_PACKET_{p.name} {p.value}u" for p in Packet]
    for field in HEADER:
        name, mask = f"ACCEL_HEADER_{field.name.upper()}", (1 << field.end) - (1 << field.low)
        lines.append(f"#define {name}_SHIFT {field.low}u")
        lines.append(f"#define {name}_MASK 0x{mask:016X}ull")
    lines += ["", "#endif"]
    return "\n".join(lines) + "\n"
