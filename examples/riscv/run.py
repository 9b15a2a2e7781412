"""A hand-off folder's C driver on a simulated RISC-V processor, PicoRV32, beside the accelerator.

    accel translate --config tiny --network int8.safetensors --images 3 --out handoff
    python examples/riscv/run.py handoff

It compiles the driver and ``firmware.c``, simulates ``system.sv`` in Verilator, and compares the
logits and classes that the firmware prints with those of the folder, which the network's own
runtime computed. It needs two packages beside accel: ziglang and pythondata-cpu-picorv32. The
exit status is 1 if any output differs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from accel.errors import AccelError
from accel.simulation.toolchain import find_toolchain

HERE = Path(__file__).parent
RAM_BYTES = 1 << 20
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
        if kind == 1:
            memory.extend(bytes(max(0, address + length - len(memory))))
            memory[address : address + length] = elf[offset : offset + length]
    return bytes(memory)


def package(name: str) -> Path:
    """The folder of a package that is needed."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        sys.exit(
            "error: processor or compiler is missing: pip install ziglang pythondata-cpu-picorv32"
        )
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


def build_firmware(folder: Path, work: Path) -> None:
    """Write ``firmware.hex`` for the RAM."""
    package("ziglang")
    (work / "data.h").write_text(data_header(folder))
    # Neither a C library nor its start-up file.
    call(
        "the compiler",
        [sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-freestanding-none",
         "-mcpu=generic_rv32+m", "-std=c99", "-O2", "-ffreestanding", "-fno-builtin", "-nostdlib",
         "-Wall", "-Wextra", "-Werror", f"-T{HERE / 'link.ld'}", f"-I{folder}", f"-I{work}",
         HERE / "start.S", HERE / "firmware.c", folder / "accel.c", "-o", work / "firmware.elf"],
        work,
        {f"ZIG_{kind}_CACHE_DIR": str(work / "zig") for kind in ("LOCAL", "GLOBAL")},
    )  # fmt: skip
    memory = loadable((work / "firmware.elf").read_bytes())
    if len(memory) > RAM_BYTES - STACK_BYTES:
        sys.exit(
            f"error: program and images take {len(memory)} bytes, and the RAM has "
            f"{RAM_BYTES - STACK_BYTES} for them: write the folder with fewer images"
        )
    memory += bytes(-len(memory) % 4)
    (work / "firmware.hex").write_text(
        "".join(f"{w:08x}\n" for (w,) in struct.iter_unpack("<I", memory))
    )


def build_simulation(folder: Path, work: Path) -> None:
    picorv32 = package("pythondata_cpu_picorv32") / "verilog" / "picorv32.v"
    toolchain = find_toolchain()
    call(
        "Verilator",
        [toolchain.verilator, "--binary", "-j", "2", "-CFLAGS", "-std=c++20 -O1",
         "-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include", "-Wno-fatal", "-Wno-lint", "-Wno-style",
         "--Mdir", "obj_dir", "--top-module", "system",
         HERE / "system.sv", folder / "accelerator.sv", picorv32],
        work,
        toolchain.environment,
    )  # fmt: skip


def run(work: Path) -> str:
    """What the simulation prints. It needs ``firmware.hex`` and the simulator in ``work``."""
    done = subprocess.run([work / "obj_dir" / "Vsystem"], cwd=work, capture_output=True, text=True)
    return done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="as accel translate --network writes it")
    folder: Path = parser.parse_args().folder.resolve()
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        sys.exit(
            f"error: {folder} is no hand-off folder, as it has no {missing[0]}: write one with "
            f"accel translate --network FILE --out DIR"
        )
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        try:
            build_firmware(folder, work)
            build_simulation(folder, work)
        except AccelError as e:
            sys.exit(f"error: {e}")
        said = run(work)
    print(said, end="")
    return judge(folder, said)


def judge(folder: Path, said: str) -> int:
    """Says whether what the firmware printed is what it should; the exit status."""
    lines, wanted = said.splitlines(), expected(folder)
    if lines[: len(wanted)] != wanted or not any(line.startswith("PASS") for line in lines):
        print("FAIL: logits or classes are not those of the folder")
        return 1
    print(f"{len(wanted)} images: logits and classes are those of the folder")
    return 0


if __name__ == "__main__":
    sys.exit(main())
