"""A hand-off folder's C driver on a simulated RISC-V processor, PicoRV32, beside the accelerator.

    accel translate --config tiny --network int8.safetensors --images 3 --out handoff
    python examples/riscv/picorv32.py handoff

It compiles the driver and ``firmware.c``, simulates ``picorv32.sv`` in Verilator, and compares the
logits and classes that the firmware prints with those of the folder, which the network's own
runtime computed. It needs two packages beside accel: ziglang and pythondata-cpu-picorv32. The
exit status is 1 if any output differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from firmware import HERE, System, build, handoff_folder, judge, package, simulate

from accel.errors import AccelError

SYSTEM = System(
    source="picorv32.c", accelerator=0x40000000, code_bytes=1 << 20, ram=0, ram_bytes=1 << 20
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="as accel translate --network writes it")
    folder = handoff_folder(parser.parse_args().folder)
    processor = package("pythondata_cpu_picorv32") / "verilog" / "picorv32.v"
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        words = build(folder, work, SYSTEM)
        (work / "firmware.hex").write_text("".join(f"{word:08x}\n" for word in words))
        try:
            said = simulate(folder, work, "system", [HERE / "picorv32.sv", processor])
        except AccelError as e:
            sys.exit(f"error: {e}")
    print(said, end="")
    return judge(folder, said)


if __name__ == "__main__":
    sys.exit(main())
