"""The accelerator behind AXI ports: registers, driver, and drivers of others."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.hardware.config import BUS_NBITS, AccelConfig, tinyml
from accel.hardware.packets import ADDRESS, COUNT, Packet, header
from accel.hardware.pymtl import prepare
from accel.hardware.registers import (
    ADDRESS_NBITS,
    BY_NAME,
    COUNTERS,
    OKAY,
    REGISTERS,
    SLVERR,
    WORD_BYTES,
    c_header,
    constants,
    markdown,
)
from accel.hardware.status import TRAFFIC, Activity, ProgramError
from accel.network.graph import Network
from accel.runtimes.qnnpack import run_network
from accel.simulation.toolchain import find_toolchain
from accel.simulation.verilated import MAKE_OPTIONS
from accel.verilog.translation import AXI_TOP, translate_axi
from fl_models.accelerator import AcceleratorCoreFL
from rtl_models.axi_registers import RESET_CYCLES, AxiRegistersRTL
from rtl_models.performance_counter import PerformanceCounterRTL
from tests import ROOT
from tests.networks import Conv, Linear, random_images, random_network

SMALL = AccelConfig(
    num_cols=2, num_lanes=1, acc_nbits=25, spad_depth=2, act_depth=64, weight_depth=300,
    param_depth=40, max_layers=5,
)  # fmt: skip


def test_register_map_is_sound() -> None:
    offsets = [register.offset for register in REGISTERS]
    assert offsets == sorted(set(offsets))
    assert all(offset % WORD_BYTES == 0 and offset < 1 << ADDRESS_NBITS for offset in offsets)
    for register in REGISTERS:
        assert register.access in ("ro", "rw", "w1c")
        masks = [field.mask for field in register.fields]
        assert sum(masks) == 0 or sum(masks) < 1 << 32
        union = 0
        for mask in masks:
            assert not union & mask
            union |= mask
    text, header = markdown(), c_header()
    for register in REGISTERS:
        assert f"| 0x{register.offset:02X} | `{register.name}` | {register.access} |" in text
        assert f"#define ACCEL_{register.name.upper()} 0x{register.offset:02X}u" in header
    for error in ProgramError:
        assert f"#define ACCEL_ERROR_{error.name} {error.value}u" in header


def test_configuration_fits_its_registers() -> None:
    """Each field comes back, for the largest configuration too."""
    largest = AccelConfig(
        num_cols=64, pixel_groups=4, num_lanes=8, acc_nbits=32, spad_depth=256, act_depth=65536,
        weight_depth=65536, param_depth=65536, max_layers=64, tables=16,
    )  # fmt: skip
    for cfg in (SMALL, largest, tinyml):
        words = constants(cfg)
        for name, word in words.items():
            for field in BY_NAME[name].fields:
                assert (word & field.mask) >> field.low == int(getattr(cfg, field.name))
        for name in ("act_depth", "weight_depth", "param_depth", "line_width"):
            assert words[name] == getattr(cfg, name)


def test_counter_carries() -> None:
    """The upper half of one cycle belongs to the lower half of the cycle before."""
    top = prepare(PerformanceCounterRTL(3))
    top.sim_reset()
    count = low = previous = 0
    for cycle in range(300):
        top.en @= cycle % 7 != 3
        top.clear @= cycle == 250
        top.sim_eval_combinational()
        if cycle not in (0, 251):
            assert int(top.high) << 3 | low == previous
        previous, low = count % 64, int(top.low)
        assert low == count % 8
        count = 0 if cycle == 250 else count + (cycle % 7 != 3)
        top.sim_edge()
    assert count < 64 < 250 * 6 // 7


class Bus:
    """A host on the registers' AXI4-Lite port, with pauses of its own."""

    def __init__(self, pause: int = 0) -> None:
        self.top: Any = prepare(AxiRegistersRTL(SMALL))
        self.pause, self.cycles = pause, 0
        self.top.reset @= 1
        self.tick(2)
        self.top.reset @= 0
        self.tick(RESET_CYCLES + 1)

    def tick(self, cycles: int = 1) -> None:
        for _ in range(cycles):
            self.top.sim_eval_combinational()
            self.top.sim_edge()
            self.cycles += 1
        self.top.sim_eval_combinational()

    def _send(self, channel: str, **signals: int) -> None:
        self.tick(self.pause)
        for name, value in signals.items():
            getattr(self.top, name).__imatmul__(value)
        valid, ready = getattr(self.top, f"{channel}valid"), getattr(self.top, f"{channel}ready")
        valid @= 1
        self.top.sim_eval_combinational()
        while not ready:
            self.tick()
        self.tick()
        valid @= 0

    def _receive(self, channel: str, *names: str) -> list[int]:
        valid, ready = getattr(self.top, f"{channel}valid"), getattr(self.top, f"{channel}ready")
        for _ in range(20):
            if valid:
                break
            self.tick()
        assert valid
        found = [int(getattr(self.top, name)) for name in names]
        for _ in range(self.pause):
            self.tick()
            assert valid and found == [int(getattr(self.top, name)) for name in names]
        ready @= 1
        self.tick()
        ready @= 0
        assert not valid
        return found

    def write(
        self, address: int | str, data: int, strobes: int = 15, data_first: bool = False
    ) -> int:
        at = BY_NAME[address].offset if isinstance(address, str) else address
        sends = [("aw", {"awaddr": at}), ("w", {"wdata": data, "wstrb": strobes})]
        for channel, signals in sends[:: -1 if data_first else 1]:
            self._send(channel, **signals)
        return self._receive("b", "bresp")[0]

    def read(self, address: int | str) -> tuple[int, int]:
        at = BY_NAME[address].offset if isinstance(address, str) else address
        self._send("ar", araddr=at)
        data, resp = self._receive("r", "rdata", "rresp")
        return data, resp

    def get(self, name: str) -> int:
        data, resp = self.read(name)
        assert resp == OKAY
        return data


def documented() -> tuple[dict[str, tuple[int, str]], dict[str, dict[str, int]], dict[str, int]]:
    """As their reader finds them. Markdown: offset and access of each register, and its fields'
    masks. The C header: its numbers."""
    text = markdown()
    rows = re.findall(r"(?m)^\| 0x(\w+) \| `(\w+)` \| (\w+) \|", text)
    masks: dict[str, dict[str, int]] = {name: {} for _, name, _ in rows}
    for name, bits, field in re.findall(r"(?m)^\| `(\w+)` \| ([\d:]+) \| `(\w+)` \|", text):
        high, low = (int(bit) for bit in (bits.split(":") * 2)[:2])
        masks[name][field] = (2 << high) - (1 << low)
    defines = re.findall(r"(?m)^#define ACCEL_(\w+) (\w+)u$", c_header())
    numbers = {name: int(number, 0) for name, number in defines}
    assert len(numbers) == len(defines)
    return {name: (int(offset, 16), access) for offset, name, access in rows}, masks, numbers


def test_every_register_is_as_documented() -> None:
    """Markdown, C header and RTL agree on each register, each field and each counter."""
    registers, masks, c = documented()
    assert len(registers) == len(REGISTERS)
    for name, (offset, _) in registers.items():
        assert c[name.upper()] == offset
        for field, mask in masks[name].items():
            assert c[f"{name}_{field}_MASK".upper()] == mask
            assert mask >> c[f"{name}_{field}_SHIFT".upper()] & 1
            assert not mask & (1 << c[f"{name}_{field}_SHIFT".upper()]) - 1
    bus = Bus()

    def read(name: str) -> int:
        data, resp = bus.read(registers[name][0])
        assert resp == OKAY
        return data

    # Reading changes nothing, and what is written comes back in the bits that are kept.
    at_first = {name: read(name) for name in registers if not name.startswith(("cycles", "activ"))}
    assert at_first == {name: read(name) for name in at_first}
    kept = {"control": {"enable_done", "enable_error"}, "interrupt": set(), "layer": {"select"}}
    for name, (offset, access) in registers.items():
        for bit in range(32):
            holds = sum(masks[name][f] for f in kept.get(name, ())) & 1 << bit
            legal = access != "ro" and (name != "layer" or 1 << bit < SMALL.max_layers)
            assert bus.write(offset, 1 << bit) == (OKAY if legal else SLVERR)
            if access != "ro":
                bus.tick(RESET_CYCLES + 2)
                assert read(name) == (holds if legal else 4)
                assert int(bus.top.traffic_layer) == (read("layer") if name == "layer" else 0)
    assert bus.write(registers["layer"][0], 0) == OKAY
    for name in at_first:
        assert read(name) == at_first[name]
    # Each port is seen in its own bits.
    for field, mask in masks["status"].items():
        port = getattr(bus.top, field)
        port @= (1 << port.nbits) - 1
        bus.tick(2)
        wide = read("status") >> c[f"STATUS_{field}_SHIFT".upper()]
        assert read("status") & ~mask == 0 and wide == (1 << port.nbits) - 1 > 0
        port @= 0
        bus.tick(2)
        assert not read("status")
    for i, name in enumerate(TRAFFIC):
        getattr(bus.top, name).__imatmul__((i + 1) << 36 | i + 9)
    for i, name in enumerate(TRAFFIC):
        assert read(f"{name}_low") == i + 9
        assert read(f"{name}_high") == (i + 1) << 4
    for activity in Activity:
        name = f"activity_{activity.name.lower()}"
        assert c[f"ACTIVITY_{activity.name}_VALUE"] == activity
        before, all_before = read(f"{name}_low"), read("cycles_low")
        bus.top.activity @= activity
        bus.tick(100)
        counted = read(f"{name}_low") - before
        assert 100 <= counted <= read("cycles_low") - all_before < 115
    bus.top.activity @= 0
    assert bus.write(registers["interrupt"][0], 3) == OKAY
    # Causes, and what clears them.
    for field, port in (("done", bus.top.done), ("error", bus.top.error)):
        port @= 1
        bus.tick()
        port @= 0
        bus.tick()
        assert read("interrupt") == masks["interrupt"][field]
        assert bus.write(registers["interrupt"][0], masks["interrupt"][field] ^ 3) == OKAY
        assert read("interrupt") == masks["interrupt"][field]
        assert not bus.top.irq
        assert bus.write(registers["control"][0], masks["control"][f"enable_{field}"]) == OKAY
        bus.tick(2)
        assert bus.top.irq
        assert bus.write(registers["interrupt"][0], masks["interrupt"][field]) == OKAY
        assert read("interrupt") == 0
        assert not bus.top.irq


@pytest.mark.parametrize("pause", [0, 3])
def test_registers_answer(pause: int) -> None:
    bus = Bus(pause)
    for name, word in constants(SMALL).items():
        assert bus.get(name) == word
    assert bus.write("control", 0b0110) == OKAY
    assert bus.get("control") == 0b0110
    assert bus.write("layer", 4, data_first=True) == OKAY
    assert bus.get("layer") == int(bus.top.traffic_layer) == 4
    bus.top.error @= 0
    bus.top.running @= 1
    bus.top.busy @= 1
    bus.top.activity @= 7
    bus.top.layer @= 3
    bus.tick()
    assert bus.get("status") == 0x30073
    bus.top.weight_words @= 0xABCD_12345678
    index = next(i for i, (name, _) in enumerate(COUNTERS) if name == "weight_words")
    assert bus.get("weight_words_low") == 0x12345678
    bus.top.weight_words @= 0
    assert bus.get("weight_words_high") == 0xABCD
    assert BY_NAME["weight_words_low"].offset == 0x40 + 8 * index


def test_illegal_accesses_change_nothing() -> None:
    bus = Bus()
    assert bus.write("control", 0b0010) == OKAY
    assert bus.write("layer", 1) == OKAY
    unmapped = [0x30, 0x3C, max(BY_NAME[r.name].offset for r in REGISTERS) + 4, 0xFFC]
    for address in (*unmapped, 0x21, 0x22, 0x820):
        assert bus.read(address) == (0, SLVERR)
        assert bus.write(address, 0xFFFFFFFF) == SLVERR
    for register in REGISTERS:
        if register.access == "ro":
            assert bus.write(register.offset, 0xFFFFFFFF) == SLVERR
    for strobes in range(15):
        assert bus.write("control", 0b0101, strobes) == SLVERR
    for layer in (SMALL.max_layers, 8, 1 << 31):
        assert bus.write("layer", layer) == SLVERR
    assert not bus.top.core_reset
    assert bus.get("control") == 0b0010
    assert bus.get("layer") == 1


def test_interrupts() -> None:
    """Each cause on its own, kept until a 1 clears it; a cause at that moment is not lost."""
    bus = Bus()
    assert bus.write("control", 0b0010) == OKAY
    bus.top.error @= 3
    bus.tick(3)
    assert not bus.top.irq
    assert bus.get("interrupt") == 2
    bus.top.done @= 1
    bus.tick()
    bus.top.done @= 0
    bus.tick(3)
    assert bus.top.irq
    assert bus.get("interrupt") == 3
    assert bus.write("interrupt", 1) == OKAY
    bus.tick(2)
    assert not bus.top.irq
    assert bus.get("interrupt") == 2
    # The error stays, and is reported once.
    assert bus.write("interrupt", 2) == OKAY
    assert bus.get("interrupt") == 0
    assert bus.get("status") >> 8 & 15 == 3
    bus.top.done @= 1
    assert bus.write("interrupt", 3) == OKAY
    assert bus.get("interrupt") == 1
    bus.top.done @= 0
    # A soft reset clears what is pending, lasts its time, and leaves control alone.
    assert bus.write("control", 0b0111) == OKAY
    lasts = sum(1 for _ in range(20) if bus.top.core_reset and not bus.tick())
    assert lasts <= RESET_CYCLES
    bus.top.error @= 0
    bus.tick(2)
    assert not bus.top.irq
    assert bus.get("interrupt") == 0
    assert bus.get("control") == 0b0110


def test_counters() -> None:
    """All cycles have an activity; clearing sets everything to zero at once."""
    bus = Bus()
    for activity in (0, 1, 1, 8, 5, 1):
        bus.top.activity @= activity
        bus.tick(activity + 1)
    bus.top.done @= 1
    bus.tick(4)
    bus.top.done @= 0
    bus.top.activity @= 2
    bus.tick(2)
    assert bus.get("images_low") == 4
    assert bus.get("activity_output_low") == 9
    assert bus.get("activity_requantizer_low") == 6
    assert bus.get("activity_step_low") == 2 + 2 + 2 + 4
    assert bus.write("control", 0b1000) == OKAY
    bus.tick(3)
    start = bus.cycles
    first = bus.get("cycles_low")
    assert first < 12
    assert bus.get("cycles_low") - first == (bus.cycles - start) // 2
    assert bus.get("images_low") == bus.get("activity_step_low") == bus.get("cycles_high") == 0
    assert bus.get("control") == 0
    assert len([name for name, _ in COUNTERS if name.startswith("activity_")]) == len(Activity)


def test_soft_reset_lasts() -> None:
    bus = Bus()
    top = bus.top
    for channel, signals in (("aw", {"awaddr": 0x20}), ("w", {"wdata": 1, "wstrb": 15})):
        bus._send(channel, **signals)
    lengths = []
    for _ in range(20):
        lengths.append(int(top.core_reset))
        bus.tick()
    assert sum(lengths) == RESET_CYCLES + 1


NETWORK = [Conv(5, (3, 3), 1, 1, True, True), Linear(3, relu=False)]


@pytest.fixture(scope="module")
def program() -> Program:
    return compile(_network(), SMALL)


def _network() -> Network:
    return random_network(np.random.default_rng(2), (2, 6, 5), NETWORK)


def _images(count: int) -> Any:
    return random_images(np.random.default_rng(3), _network(), count)


def run_tool(command: list[Any], folder: Path) -> str:
    environment = os.environ | find_toolchain().environment
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_c_header_makes_the_headers_of_packets(tmp_path: Path) -> None:
    """Of every kind, with the largest address and count."""
    address, count = (field.maximum for field in (ADDRESS, COUNT))
    (tmp_path / "accel_regs.h").write_text(c_header())
    (tmp_path / "headers.c").write_text(
        '#include "accel_regs.h"\n#include <stdint.h>\n#include <stdio.h>\n'
        "static void print(uint64_t kind, uint64_t count, uint64_t address) {\n"
        "  const uint64_t word = kind << ACCEL_HEADER_KIND_SHIFT\n"
        "      | count << ACCEL_HEADER_COUNT_SHIFT | address << ACCEL_HEADER_ADDRESS_SHIFT;\n"
        '  printf("%llu %d\\n", (unsigned long long)word,\n'
        "      (word & ACCEL_HEADER_KIND_MASK) == kind << ACCEL_HEADER_KIND_SHIFT\n"
        "      && (word & ACCEL_HEADER_COUNT_MASK) >> ACCEL_HEADER_COUNT_SHIFT == count\n"
        "      && (word & ACCEL_HEADER_ADDRESS_MASK) == address);\n"
        "}\n"
        "int main(void) {\n"
        + "".join(f"  print(ACCEL_PACKET_{p.name}, {count}u, {address}u);\n" for p in Packet)
        + "  return ACCEL_BYTES_PER_WORD;\n}\n"
    )
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
    run_tool(["gcc", *strict, "headers.c", "-o", "headers"], tmp_path)
    done = subprocess.run([tmp_path / "headers"], capture_output=True, text=True)
    assert done.returncode == BUS_NBITS // 8
    words = [header(packet, address, count) for packet in Packet]
    assert done.stdout.splitlines() == [f"{word} 1" for word in words]


def test_driver(program: Program, tmp_path: Path) -> None:
    """The C driver finds the accelerator, is told of a wrong program, runs a good one: the results
    are PyTorch's, the counters those of the functional model."""
    csrc = Path(str(resources.files("accel") / "verilog" / "csrc"))
    own = Path(__file__).parent / "csrc"
    (tmp_path / "accelerator.sv").write_text(translate_axi(SMALL))
    (tmp_path / "accel_regs.h").write_text(c_header())
    images = _images(4)
    words = program.pack_images(images)
    wrong = [*program.words[:-1], header(Packet.RUN, SMALL.max_layers + 1)]
    for name, content in (("program", program.words), ("wrong", wrong), ("images", words)):
        np.array(content, "<u8").tofile(tmp_path / name)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", "-O1"]
    # As it is, and with the registers of the simulation.
    run_tool(["gcc", *strict, "-I.", "-c", csrc / "accel.c", "-o", "plain.o"], tmp_path)
    mmio = ["-include", own / "mmio.h"]
    run_tool(["gcc", *strict, *mmio, "-I.", "-c", csrc / "accel.c", "-o", "accel.o"], tmp_path)
    run_tool(
        [
            find_toolchain().verilator, "--cc", "--exe", "--build", "-j", 1, "-O3", "-Wno-fatal",
            "-MAKEFLAGS", "OPT_FAST=-O1", "-MAKEFLAGS", MAKE_OPTIONS[1],
            "-CFLAGS", f"-I{csrc} -I{tmp_path}",
            "--top-module", AXI_TOP, "--Mdir", "obj", "accelerator.sv", own / "axi_host.cpp",
            tmp_path / "accel.o", "-o", "host",
        ],
        tmp_path,
    )  # fmt: skip
    sizes = [len(images), program.result_words, len(program.layers)]
    said = json.loads(run_tool(["obj/host", "program", "wrong", "images", *sizes], tmp_path))

    assert said["nowhere"] == -1
    assert said["open"] == said["load"] == 0
    assert said["wrong"] == said["run_without"] == ProgramError.LAYERS
    results = np.array([image["words"] for image in said["images"]], np.uint64)
    outputs, _ = program.unpack_results(results)
    np.testing.assert_array_equal(outputs, run_network(_network(), images)[-1])
    assert min(value for image in said["images"] for value in image["signed"]) < 0
    for image, row in zip(said["images"], results, strict=True):
        assert image["status"] == 0
        assert image["winner"] == int(row[-1])
        assert image["unsigned"][::-1] == row[:-1].view(np.uint8).tolist()
        assert image["signed"][::-1] == row[:-1].view(np.int8).tolist()
        assert image["irq"] == 1
    cycles, *spent, done = said["counters"]
    assert done == len(images)
    assert said["elapsed"] - 20 < said["cycles"] < said["elapsed"] + 20
    # The counters are read one after another, while nothing runs: only waiting goes on.
    assert spent[Activity.STEP] == len(images) * program.steps
    waiting = spent[Activity.INPUT]
    assert cycles - waiting < sum(spent) - waiting + 100
    core = AcceleratorCoreFL(SMALL)
    core.load(program.words)
    core.run(words)
    assert said["traffic"] == [core.program.traffic[i] for i in range(len(program.layers))]
    # A reset in any cycle, soft or hard, leaves nothing that the next run would show.
    assert said["resets"] > len(program.words) + program.steps
    assert said["wrong_after_reset"] == 0


def cocotb_case(program: Program) -> dict[str, Any]:
    images = _images(2)
    words = program.pack_images(images)
    core = AcceleratorCoreFL(SMALL)
    core.load(program.words)
    results = core.run(words)
    outputs, _ = program.unpack_results(results)
    np.testing.assert_array_equal(outputs, run_network(_network(), images)[-1])
    control, status, interrupt = (BY_NAME[name] for name in ("control", "status", "interrupt"))
    good = list(program.words)
    layer1 = good.index(header(Packet.LAYER, 1))
    return {
        "offsets": {register.name: register.offset for register in REGISTERS},
        "magic": constants(SMALL)["magic"],
        "soft_reset": control.field("soft_reset").mask,
        "enable_error": control.field("enable_error").mask,
        "error_mask": status.field("error").mask,
        "error_shift": status.field("error").low,
        "interrupt_error": interrupt.field("error").mask,
        "unmapped": [0x1C, 0x30, 0x3C, REGISTERS[-1].offset + 4, 0xFFC],
        "read_only": [register.offset for register in REGISTERS if register.access == "ro"],
        "program": good,
        "images": words.tolist(),
        "results": results.tolist(),
        "reset_after": [3, len(good) // 2, len(good) + 80],
        "wrong": [
            # First: after a good program no layer is missing.
            ([*good[:layer1], good[-1]], ProgramError.MISSING),
            ([7 << 60], ProgramError.KIND),
            ([*good[:-1], header(Packet.WEIGHTS)], ProgramError.COUNT),
            ([*good[:-1], header(Packet.PARAMS, 0, SMALL.param_depth + 1)], ProgramError.ADDRESS),
            ([*good[:-1], header(Packet.RUN)], ProgramError.LAYERS),
        ],
    }


def test_cocotb(program: Program, tmp_path: Path) -> None:
    """Drivers that were not written here: cocotb's and cocotbext-axi's, in Icarus Verilog."""
    runner = pytest.importorskip("cocotb_tools.runner", reason="cocotb is not installed")
    pytest.importorskip("cocotbext.axi", reason="cocotbext-axi is not installed")
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    case = cocotb_case(program)
    (tmp_path / "case.json").write_text(json.dumps(case))
    source = tmp_path / "accelerator.sv"
    source.write_text(translate_axi(SMALL))
    simulator = runner.get_runner("icarus")
    simulator.build(
        sources=[source], hdl_toplevel=AXI_TOP, build_dir=tmp_path, timescale=("1ns", "1ps"),
        build_args=["-g2012"], log_file=tmp_path / "build.log",
    )  # fmt: skip
    try:
        found = simulator.test(
            test_module="tests.system.hardware.axi_cocotb", hdl_toplevel=AXI_TOP,
            build_dir=tmp_path, test_dir=tmp_path, timescale=("1ns", "1ps"),
            log_file=tmp_path / "test.log",
            extra_env={
                "AXI_CASE": str(tmp_path / "case.json"),
                "PYTHONPATH": str(ROOT),
                "COCOTB_ANSI_OUTPUT": "0",
            },
        )  # fmt: skip
    except SystemExit:
        pytest.fail((tmp_path / "test.log").read_text()[-5000:])
    tests = ElementTree.parse(found).findall(".//testcase")
    assert len(tests) == 4
    # An element without children is false, so it is held to None.
    wrong = ("failure", "error", "skipped")
    assert not [t.get("name") for t in tests for kind in wrong if t.find(kind) is not None]
