"""Runs inside a simulator: cocotb's view of the accelerator with AXI ports, through the drivers of
cocotbext-axi. What to do is in the JSON file that the environment variable ``AXI_CASE`` names."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

CASE: dict[str, Any] = json.loads(Path(os.environ["AXI_CASE"]).read_text())
OFFSETS: dict[str, int] = CASE["offsets"]


def pauses(seed: int, share: float) -> Iterator[bool]:
    rng = random.Random(seed)
    while True:
        yield rng.random() < share


class Host:
    """All drivers of the accelerator."""

    def __init__(self, dut: Any, share: float) -> None:
        self.dut = dut
        clock, reset = dut.aclk, dut.aresetn
        cocotb.start_soon(Clock(clock, 10, unit="ns").start())
        self.prog = AxiStreamSource(
            AxiStreamBus.from_prefix(dut, "s_axis_prog"), clock, reset, False, byte_lanes=8
        )
        self.image = AxiStreamSource(
            AxiStreamBus.from_prefix(dut, "s_axis_image"), clock, reset, False, byte_lanes=8
        )
        self.result = AxiStreamSink(
            AxiStreamBus.from_prefix(dut, "m_axis_result"), clock, reset, False, byte_lanes=8
        )
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), clock, reset, False)
        if share:
            for seed, stream in enumerate((self.prog, self.image, self.result)):
                stream.set_pause_generator(pauses(seed, share))
            channels = (
                self.registers.write_if.aw_channel,
                self.registers.write_if.w_channel,
                self.registers.write_if.b_channel,
                self.registers.read_if.ar_channel,
                self.registers.read_if.r_channel,
            )
            for seed, channel in enumerate(channels, 10):
                channel.set_pause_generator(pauses(seed, share))

    async def reset(self) -> None:
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 5)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 10)

    async def read(self, name: str) -> int:
        found = await self.registers.read(OFFSETS[name], 4)
        assert found.resp == AxiResp.OKAY
        return int.from_bytes(found.data, "little")

    async def write(self, name: str, value: int) -> None:
        done = await self.registers.write(OFFSETS[name], value.to_bytes(4, "little"))
        assert done.resp == AxiResp.OKAY

    async def send(self, stream: AxiStreamSource, words: list[int]) -> None:
        data = b"".join(word.to_bytes(8, "little") for word in words)
        await stream.send(AxiStreamFrame(data))

    async def results(self, count: int) -> list[list[int]]:
        """The words of so many frames, each ended by tlast."""
        found = []
        for _ in range(count):
            frame = await with_timeout(self.result.recv(), 200, "us")
            data = bytes(frame.tdata)
            found.append(
                [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
            )
        return found

    async def classify(self, program: list[int]) -> None:
        """Load a program and run all images: results and the number of images done are right."""
        await self.send(self.prog, program)
        images = CASE["images"]
        for image in images:
            await self.send(self.image, image)
        assert await self.results(len(images)) == CASE["results"]
        await ClockCycles(self.dut.aclk, 30)
        assert self.result.empty()

    async def soft_reset(self) -> None:
        await self.write("control", CASE["soft_reset"] | CASE["enable_error"])
        await ClockCycles(self.dut.aclk, 10)


async def start(dut: Any, share: float = 0.0) -> Host:
    host = Host(dut, share)
    await host.reset()
    return host


@cocotb.test()
async def random_pauses(dut: Any) -> None:
    """Every stream and every channel pauses at random; so does the reading of status meanwhile."""
    host = await start(dut, 0.4)

    async def look() -> None:
        while True:
            assert await host.read("magic") == CASE["magic"]
            assert not await host.read("status") & CASE["error_mask"]

    looking = cocotb.start_soon(look())
    await host.classify(CASE["program"])
    looking.cancel()
    await ClockCycles(dut.aclk, 60)
    assert await host.read("images_low") == len(CASE["images"])
    # A program after a program, without a reset
    await host.classify(CASE["program"])


@cocotb.test()
async def reset_in_mid_run(dut: Any) -> None:
    """Hard and soft, while a program is loaded, and while an image is computed."""
    host = await start(dut)
    for hard in (True, False):
        for cycles in CASE["reset_after"]:
            await host.send(host.prog, CASE["program"])
            await host.send(host.image, CASE["images"][0])
            await ClockCycles(dut.aclk, cycles)
            assert host.result.empty()
            if hard:
                await host.reset()
            else:
                # What is still before the accelerator goes: the streams' drivers are reset alone.
                for stream in (host.prog, host.image):
                    stream.clear()
                    stream.assert_reset(True)
                await ClockCycles(dut.aclk, 2)
                await host.soft_reset()
                for stream in (host.prog, host.image):
                    stream.assert_reset(False)
            assert not await host.read("status")
            await host.classify(CASE["program"])


@cocotb.test()
async def illegal_accesses(dut: Any) -> None:
    """SLVERR for each, while images are computed, which goes on."""
    host = await start(dut)
    before = await host.read("control")
    running = cocotb.start_soon(host.classify(CASE["program"]))
    for address in CASE["unmapped"]:
        assert (await host.registers.read(address, 4)).resp == AxiResp.SLVERR
        assert (await host.registers.write(address, b"\xff" * 4)).resp == AxiResp.SLVERR
    for address in CASE["read_only"]:
        assert (await host.registers.write(address, b"\xff" * 4)).resp == AxiResp.SLVERR
    # Some bytes only
    for low, count in ((0, 1), (1, 1), (2, 2), (0, 3)):
        written = await host.registers.write(OFFSETS["control"] + low, b"\xff" * count)
        assert written.resp == AxiResp.SLVERR
    assert await host.read("control") == before
    await running
    assert await host.read("images_low") == len(CASE["images"])


@cocotb.test()
async def wrong_program_then_good(dut: Any) -> None:
    """An interrupt and an error code; both streams drain; after a soft reset all is well."""
    host = await start(dut)
    await host.write("control", CASE["enable_error"])
    for program, error in CASE["wrong"]:
        await host.send(host.prog, program)
        await with_timeout(RisingEdge(dut.irq), 100, "us")
        await host.send(host.prog, CASE["program"])
        await host.send(host.image, CASE["images"][0])
        await with_timeout(host.prog.wait(), 100, "us")
        await with_timeout(host.image.wait(), 100, "us")
        assert (await host.read("status") & CASE["error_mask"]) >> CASE["error_shift"] == error
        assert await host.read("interrupt") & CASE["interrupt_error"]
        await host.write("interrupt", CASE["interrupt_error"])
        await ClockCycles(dut.aclk, 3)
        assert not int(dut.irq.value)
        await host.soft_reset()
        assert not await host.read("status")
        await host.classify(CASE["program"])
