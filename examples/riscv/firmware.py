"""The firmware that drives a hand-off folder's accelerator, and whether what it prints is right."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel.simulation.toolchain import find_toolchain

HERE = Path(__file__).parent
STACK_BYTES = 4096
NEEDED = (
    *("logits.txt", "program.hex", "images.hex", "results.hex", "accelerator.sv"),
    *("accel.c", "accel.h", "accel_network.h", "accel_regs.h"),
)
"""Files of the hand-off folder."""


def hex_words(file: Path) -> list[str]:
    return file.read_text().split()


def data_header(folder: Path) -> str:
    """``data.h``: the program and the images of the folder."""
    program, images = hex_words(folder / "program.hex"), hex_words(folder / "images.hex")
    lines = [f"#define NUM_IMAGES {len((folder / 'logits.txt').read_text().splitlines())}u"]
    for name, words in (("program", program), ("images", images)):
        values = ", ".join(f"0x{word}u" for word in words)
        lines.append(f"static const uint64_t {name}[{len(words)}] = {{{values}}};")
    return "\n".join(lines) + "\n"


def expected(folder: Path) -> list[str]:
    """The lines that the firmware has to print."""
    logits = (folder / "logits.txt").read_text().splitlines()
    results = hex_words(folder / "results.hex")
    words = len(results) // len(logits)
    # The last word of an image's result is its class.
    winners = [int(word, 16) for word in results[words - 1 :: words]]
    return [f"{line} -> {winner}" for line, winner in zip(logits, winners, strict=True)]


def loadable(elf: bytes) -> bytes:
    """What lies in memory from address 0 on, of a 32-bit little-endian ELF file."""
    (table,) = struct.unpack_from("<I", elf, 28)
    size, count = struct.unpack_from("<HH", elf, 42)
    memory = bytearray()
    for i in range(count):
        kind, offset, _, address, length = struct.unpack_from("<5I", elf, table + i * size)
        # Variables are only room.
        if kind == 1 and length:
            memory.extend(bytes(max(0, address + length - len(memory))))
            memory[address : address + length] = elf[offset : offset + length]
    return bytes(memory)


def package(name: str) -> Path:
    """The folder of a package that is needed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        sys.exit(f"error: {name} is not installed: pip install {name.replace('_', '-')}")
    return Path(spec.origin).parent


def call(what: str, command: list[Any], work: Path, environment: dict[str, str]) -> None:
    """Run a tool in ``work``; if it fails, end with its first complaint."""
    done = subprocess.run(
        command, cwd=work, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["it said nothing"]
        first = next((line for line in lines if "rror" in line), lines[-1])
        sys.exit(f"error: {what} failed: {first.strip()}")


@dataclass(frozen=True, kw_only=True)
class System:
    """What a system's firmware depends on. source: the C file beside this one. accelerator: the
    address of the registers. Code lies from address 0 on, in ``code_bytes``; variables and stack in
    the RAM, which may be the same."""

    source: str
    accelerator: int
    code_bytes: int
    ram: int
    ram_bytes: int


def build(folder: Path, work: Path, system: System) -> list[int]:
    """The words of the firmware for the driver, program and images of ``folder``, from address 0
    on. Headers of the system's own are looked for in ``work``."""
    package("ziglang")
    (work / "data.h").write_text(data_header(folder))
    script = (HERE / "link.ld").read_text()
    for name, address in (("START", system.ram), ("END", system.ram + system.ram_bytes)):
        script = script.replace(f"RAM_{name}", f"{address:#x}")
    (work / "link.ld").write_text(script)
    # Neither a C library nor its start-up file.
    call(
        "the compiler",
        [sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-freestanding-none",
         "-mcpu=generic_rv32+m", "-std=c99", "-O2", "-ffreestanding", "-fno-builtin", "-nostdlib",
         "-Wall", "-Wextra", "-Werror", f"-T{work / 'link.ld'}", f"-I{folder}", f"-I{work}",
         f"-I{HERE}", f"-DACCELERATOR={system.accelerator:#x}u",
         HERE / "start.S", HERE / "firmware.c", HERE / system.source, folder / "accel.c",
         "-o", work / "firmware.elf"],
        work,
        {f"ZIG_{kind}_CACHE_DIR": str(work / "zig") for kind in ("LOCAL", "GLOBAL")},
    )  # fmt: skip
    memory = loadable((work / "firmware.elf").read_bytes())
    room = system.code_bytes - (STACK_BYTES if system.ram < system.code_bytes else 0)
    if len(memory) > room:
        sys.exit(
            f"error: program and images take {len(memory)} bytes, and the memory has {room} for "
            f"them: write the folder with fewer images"
        )
    memory += bytes(-len(memory) % 4)
    return [word for (word,) in struct.iter_unpack("<I", memory)]


def simulate(folder: Path, work: Path, top: str, sources: list[Path]) -> str:
    """What module ``top`` prints, with the accelerator of ``folder`` and all files of ``work``."""
    toolchain = find_toolchain()
    call(
        "Verilator",
        [toolchain.verilator, "--binary", "-j", "2", "-CFLAGS", "-std=c++20 -O1",
         "-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include", "-Wno-fatal", "-Wno-lint", "-Wno-style",
         "--Mdir", "obj_dir", "--top-module", top, *sources, folder / "accelerator.sv"],
        work,
        toolchain.environment,
    )  # fmt: skip
    done = subprocess.run([work / "obj_dir" / f"V{top}"], cwd=work, capture_output=True, text=True)
    return done.stdout + done.stderr


def handoff_folder(path: Path) -> Path:
    """The folder, if it has what is needed."""
    folder = path.resolve()
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        sys.exit(
            f"error: {folder} is no hand-off folder, as it has no {missing[0]}: write one with "
            f"accel translate --network FILE --out DIR"
        )
    return folder


def judge(folder: Path, said: str) -> int:
    """Says whether what the firmware printed is what it should; the exit status."""
    lines, wanted = said.splitlines(), expected(folder)
    if lines[: len(wanted)] != wanted or not any(line.startswith("PASS") for line in lines):
        print("FAIL: logits or classes are not those of the folder")
        return 1
    print(f"{len(wanted)} images: logits and classes are those of the folder")
    return 0
