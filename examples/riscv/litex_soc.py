"""A LiteX system on chip around a hand-off folder's accelerator: a VexRiscv processor with caches,
and a DMA engine at each of the three streams.

    accel translate --config tiny --network int8.safetensors --images 3 --out handoff
    python examples/riscv/litex_soc.py handoff
    python examples/riscv/litex_soc.py handoff --bitstream soc.bit

simulates it with the folder's own driver in Verilator, and compares what it prints with what the
network's own runtime computed; or makes a bitstream for the board ULX3S with an 85F, which prints
the same on its serial line, 115,200 baud, and lights LED 0 at the end, and LED 1 if it failed. The
packages that it needs are those of ``requirements.txt`` beside this file.

::

                +----------+   32-bit Wishbone
                | VexRiscv |------+--------+------+-----------+---------------+
                +----------+      |        |      |           | AXI-Lite      | CSRs
                                 ROM      RAM   UART   +-------------+        |
                                  |        |           | accelerator |   (registers of
                                  +--DMA---|--32->64-->| prog        |    the engines)
                                  +--DMA---|--32->64-->| image       |
                                           +<-DMA-64->32-| result    |
                                                       +-------------+
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware import HERE, System, build, handoff_folder, judge, simulate

from accel import files
from accel.errors import AccelError
from accel.verilog.boards import find_board
from accel.verilog.synthesis import find_target, prepare, run_tool

try:
    from litex.build.generic_platform import Pins, Subsignal
    from litex.build.io import CRG
    from litex.build.sim import SimPlatform
    from litex.gen import LiteXModule
    from litex.soc.cores.clock import ECP5PLL
    from litex.soc.cores.dma import WishboneDMAReader, WishboneDMAWriter
    from litex.soc.integration.export import get_csr_header
    from litex.soc.integration.soc import SoCRegion
    from litex.soc.integration.soc_core import SoCCore
    from litex.soc.interconnect import axi, stream, wishbone
    from litex.soc.interconnect.csr import CSRStatus, CSRStorage
    from litex_boards.platforms import radiona_ulx3s
    from migen import ClockDomain, ClockSignal, Instance, ResetSignal, Signal
except ImportError as e:
    sys.exit(f"error: {e}: pip install -r {HERE / 'requirements.txt'}")

SYSTEM = System(
    source="litex.c",
    accelerator=0xA0000000,  # VexRiscv caches nothing there
    code_bytes=192 * 1024,
    ram=0x10000000,
    ram_bytes=8192,
)
CLOCK_HZ = 40e6
BOARD = "ulx3s-85f"


class Accelerator(LiteXModule):
    """The accelerator, and what moves words between its streams and the bus.

    While ``drop`` is set, the words for it are thrown away.
    """

    def __init__(self) -> None:
        self.bus = axi.AXILiteInterface(data_width=32, address_width=32)
        self.drop = CSRStorage()
        self.waiting = CSRStatus(description="Words that were read, and are not in there yet.")
        self.masters: dict[str, Any] = {}
        """Of the bus: one an engine."""
        pins: dict[str, Any] = {}
        waiting: Any = 0
        for name in ("program", "image"):
            # A word's lower half lies, and comes, first.
            reader = WishboneDMAReader(self._master(name), endianness="big", with_csr=True)
            words = stream.Converter(32, 64)
            setattr(self, name, reader)
            setattr(self, f"{name}_words", words)
            self.comb += reader.source.connect(words.sink)
            stem = "s_axis_prog" if name == "program" else "s_axis_image"
            ready = Signal()
            self.comb += words.source.ready.eq(ready | self.drop.storage)
            pins[f"i_{stem}_tdata"] = words.source.data
            pins[f"i_{stem}_tvalid"] = words.source.valid & ~self.drop.storage
            pins[f"o_{stem}_tready"] = ready
            waiting |= reader.source.valid | words.source.valid
        self.comb += self.waiting.status.eq(waiting)

        self.result = writer = WishboneDMAWriter(self._master("result"), endianness="big")
        writer.add_ctrl(ready_on_idle=0)
        writer.add_csr()
        self.result_words = halves = stream.Converter(64, 32)
        self.comb += halves.source.connect(writer.sink, omit={"last"})
        pins |= {
            "o_m_axis_result_tdata": halves.sink.data,
            "o_m_axis_result_tvalid": halves.sink.valid,
            "i_m_axis_result_tready": halves.sink.ready,
        }

        for channel, names in {
            "aw": ("addr",), "w": ("data", "strb"), "b": ("resp",), "ar": ("addr",),
            "r": ("data", "resp"),
        }.items():  # fmt: skip
            endpoint = getattr(self.bus, channel)
            to_it = channel in ("aw", "w", "ar")
            for name in names:
                signal = getattr(endpoint, name)
                value = signal[:12] if name == "addr" else signal
                pins[f"{'i' if to_it else 'o'}_s_axi_{channel}{name}"] = value
            pins[f"{'i' if to_it else 'o'}_s_axi_{channel}valid"] = endpoint.valid
            pins[f"{'o' if to_it else 'i'}_s_axi_{channel}ready"] = endpoint.ready
        self.specials += Instance(
            "accelerator",
            i_aclk=ClockSignal("sys"),
            i_aresetn=~ResetSignal("sys"),
            **pins,
        )

    def _master(self, name: str) -> Any:
        self.masters[name] = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        return self.masters[name]


class Soc(SoCCore):
    """The system. The firmware's words come later: it needs the addresses that LiteX chooses."""

    def __init__(self, platform: Any, crg: Any, **options: Any) -> None:
        self.crg = crg
        super().__init__(
            platform,
            CLOCK_HZ,
            cpu_type="vexriscv",
            integrated_rom_size=SYSTEM.code_bytes,
            integrated_sram_size=SYSTEM.ram_bytes,
            with_timer=False,
            **options,
        )
        self.accelerator = Accelerator()
        region = SoCRegion(origin=SYSTEM.accelerator, size=0x1000, cached=False)
        self.bus.add_slave("accelerator", self.accelerator.bus, region)
        for name, master in self.accelerator.masters.items():
            self.bus.add_master(name, master)
        self.end = End(platform.request("ended"), platform.request("failed"))


class End(LiteXModule):
    """What the firmware came to: 1 when it has ended, and 2 besides if it failed."""

    def __init__(self, ended: Any, failed: Any) -> None:
        self.status = CSRStorage(2)
        self.comb += [ended.eq(self.status.storage[0]), failed.eq(self.status.storage[1])]


class BoardClock(LiteXModule):
    """The board's PLL."""

    def __init__(self, platform: Any) -> None:
        self.rst = Signal()
        self.cd_sys = ClockDomain()
        self.pll = pll = ECP5PLL()
        self.comb += pll.reset.eq(platform.request("rst") | self.rst)
        pll.register_clkin(platform.request("clk25"), 25e6)
        pll.create_clkout(self.cd_sys, CLOCK_HZ)
        # Or the board's other processor resets the FPGA.
        self.comb += platform.request("wifi_gpio0").eq(1)


@dataclass(frozen=True)
class Written:
    """What LiteX wrote. sources: Verilog, without the accelerator's."""

    sources: list[Path]
    constraints: str


def write(folder: Path, work: Path, *, on_board: bool) -> Written:
    """The system around ``folder``'s accelerator, its firmware in its ROM, as files of ``work``."""
    if on_board:
        platform = radiona_ulx3s.Platform(device="LFE5U-85F", toolchain="trellis")
        leds = [("ended", 0, Pins("B2")), ("failed", 0, Pins("C2"))]
        platform.add_extension(leds)
        soc = Soc(platform, BoardClock(platform))
    else:
        serial = [
            Subsignal(f"{way}_{name}", Pins(width))
            for way in ("source", "sink")
            for name, width in (("valid", 1), ("ready", 1), ("data", 8))
        ]
        pins = [
            ("sys_clk", 0, Pins(1)),
            ("serial", 0, *serial),
            ("ended", 0, Pins(1)),
            ("failed", 0, Pins(1)),
        ]
        platform = SimPlatform("SIM", pins)
        soc = Soc(platform, CRG(platform.request("sys_clk")), uart_name="sim")
    soc.finalize()
    header = get_csr_header(soc.csr_regions, soc.constants, with_access_functions=False)
    (work / "csr.h").write_text(header)
    soc.init_rom("rom", build(folder, work, SYSTEM))
    constraints = ""
    if on_board:
        platform.build(soc, build_dir=str(work), build_name="soc", run=False)
        constraints = (work / "soc.lpf").read_text()
    else:
        with contextlib.chdir(work):
            platform.get_verilog(soc, name="soc").write("soc.v")
    processor = [Path(file) for file, *_ in platform.sources if Path(file).name != "soc.v"]
    return Written([work / "soc.v", *processor], constraints)


def bitstream(folder: Path, work: Path, out: Path) -> None:
    """The system for the board, from synthesis to packing."""
    board, target = find_board(BOARD), find_target("ecp5")
    written = write(folder, work, on_board=True)
    sources = [*written.sources, folder / "accelerator.sv"]
    prepare(work, "\n".join(source.read_text() for source in sources), target)
    print("synthesis", flush=True)
    script = [
        "read_verilog -sv design.v",
        "hierarchy -top soc; proc",
        'setattr -set ram_style "block" MemoryRTL__*/m:*',
        target.script.format(top="soc").replace("check -assert", "check"),
        "write_json flat.json",
    ]
    run_tool("yosys", ["-p", "; ".join(script)], work)
    print(f"place and route for {CLOCK_HZ / 1e6:g} MHz, minutes", flush=True)
    device = [f"--{board.fpga}", "--package", board.package, "--speed", str(board.speed)]
    options = ["--json", "flat.json", "--top", "soc", "--lpf", "soc.lpf", "--seed", "1"]
    options += ["--freq", f"{CLOCK_HZ / 1e6:g}", "--textcfg", "soc.config"]
    run_tool("nextpnr-ecp5", [*device, *options, "--report", "report.json"], work)
    for name, clock in json.loads((work / "report.json").read_text())["fmax"].items():
        print(f"{name}: {clock['achieved']:.1f} MHz reached, {clock['constraint']:g} needed")
    run_tool("ecppack", ["soc.config", "--compress", "--bit", "soc.bit"], work)
    files.write(out, (work / "soc.bit").read_bytes())
    print(f"{out} written: openFPGALoader -b {board.loader} {out}")


def main() -> int:
    parser = argparse.ArgumentParser(description="A LiteX system on chip around the accelerator.")
    parser.add_argument("folder", type=Path, help="as accel translate --network writes it")
    parser.add_argument("--bitstream", type=Path, help=f"write one for {BOARD}, do not simulate")
    arguments = parser.parse_args()
    folder = handoff_folder(arguments.folder)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        try:
            if arguments.bitstream:
                bitstream(folder, work, arguments.bitstream)
                return 0
            sources = write(folder, work, on_board=False).sources
            said = simulate(folder, work, "testbench", [HERE / "litex_testbench.sv", *sources])
        except AccelError as e:
            sys.exit(f"error: {e}")
    print(said, end="")
    return judge(folder, said)


if __name__ == "__main__":
    sys.exit(main())
