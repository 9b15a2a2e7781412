"""The hand-off folder's driver for PYNQ, over a simulated device: RTL behind MMIO and DMA."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel.hardware.config import AccelConfig
from accel.hardware.pymtl import prepare
from accel.verilog import handoff
from rtl_models.axi_accelerator import AxiAcceleratorRTL
from tests.networks import Conv, Linear, random_images, random_network

SMALL = AccelConfig(
    num_cols=2, num_lanes=1, acc_nbits=25, spad_depth=2, act_depth=64, weight_depth=300,
    param_depth=40, max_layers=5,
)  # fmt: skip


class Buffer(np.ndarray):
    """As PYNQ's: what the processor and the DMA see differs until it is flushed or invalidated."""

    memory: np.ndarray
    is_free = False

    def flush(self) -> None:
        self.memory = np.array(self)

    def invalidate(self) -> None:
        self[:] = self.memory

    def freebuffer(self) -> None:
        self.is_free = True


class Device:
    """The accelerator's RTL, stepped by whoever wants something of it."""

    def __init__(self) -> None:
        self.top: Any = prepare(AxiAcceleratorRTL(SMALL))
        self.sending: dict[str, list[int]] = {"prog": [], "image": []}
        self.receiving: list[int] = []
        self.buffers: list[Buffer] = []
        self.top.reset @= 1
        self.tick(3)
        self.top.reset @= 0

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Buffer:
        buffer = np.full(shape, 0xEE, dtype).view(Buffer)
        self.buffers.append(buffer)
        return buffer

    def tick(self, cycles: int = 1) -> None:
        top = self.top
        for _ in range(cycles):
            for name, words in self.sending.items():
                valid = getattr(top, f"s_axis_{name}_tvalid")
                valid @= bool(words)
                data = getattr(top, f"s_axis_{name}_tdata")
                data @= words[0] if words else 0
            top.m_axis_result_tready @= 1
            top.sim_eval_combinational()
            for name, words in self.sending.items():
                if words and getattr(top, f"s_axis_{name}_tready"):
                    words.pop(0)
            if top.m_axis_result_tvalid:
                self.receiving.append(int(top.m_axis_result_tdata))
            top.sim_edge()

    def until(self, done: Any) -> None:
        for _ in range(20_000):
            if done():
                return
            self.tick()
        raise TimeoutError

    # MMIO

    def read(self, offset: int) -> int:
        top = self.top
        top.s_axi_araddr @= offset
        top.s_axi_arvalid @= 1
        top.s_axi_rready @= 1
        top.sim_eval_combinational()
        self.until(lambda: top.s_axi_arready)
        self.tick()
        top.s_axi_arvalid @= 0
        self.until(lambda: top.s_axi_rvalid)
        assert not top.s_axi_rresp
        data = int(top.s_axi_rdata)
        self.tick()
        return data

    def write(self, offset: int, value: int) -> None:
        top = self.top
        top.s_axi_awaddr @= offset
        top.s_axi_wdata @= value
        top.s_axi_wstrb @= 15
        top.s_axi_awvalid @= 1
        top.s_axi_wvalid @= 1
        top.s_axi_bready @= 1
        top.sim_eval_combinational()
        self.until(lambda: top.s_axi_awready and top.s_axi_wready)
        self.tick()
        top.s_axi_awvalid @= 0
        top.s_axi_wvalid @= 0
        self.until(lambda: top.s_axi_bvalid)
        assert not top.s_axi_bresp
        self.tick()


class Channel:
    """A DMA's: of a stream that the accelerator takes, or, without one, of its results."""

    def __init__(self, device: Device, stream: str | None) -> None:
        self.device, self.stream = device, stream
        self.buffer: Buffer | None = None

    def transfer(self, buffer: Buffer) -> None:
        assert self.buffer is None and not buffer.is_free and buffer.dtype == np.uint64
        self.buffer = buffer
        if self.stream is not None:
            self.device.sending[self.stream] += buffer.memory.tolist()

    def wait(self) -> None:
        assert self.buffer is not None
        device, buffer = self.device, self.buffer
        if self.stream is not None:
            device.until(lambda: not device.sending[str(self.stream)])
        else:
            device.until(lambda: len(device.receiving) >= len(buffer))
            buffer.memory = np.array(device.receiving[: len(buffer)], np.uint64)
            del device.receiving[: len(buffer)]
        self.buffer = None


@pytest.fixture
def driver(tmp_path: Path) -> Any:
    """The module, as it lies in a hand-off folder."""
    rng = np.random.default_rng(1)
    network = random_network(rng, (1, 6, 6), [Conv(3, (3, 3)), Linear(11, relu=False)], signed=True)
    images = random_images(rng, network, 2)
    handoff.write(SMALL, network, images, "random", tmp_path / "out")
    spec = importlib.util.spec_from_file_location("accel_pynq", tmp_path / "out" / "accel_pynq.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def opened(driver: Any, device: Device, **more: Any) -> Any:
    channels = [Channel(device, name) for name in ("prog", "image", None)]
    folder = Path(driver.__file__).parent
    return driver.Accelerator(device, *channels, device.allocate, folder=folder, **more)


def test_images_on_a_device(driver: Any) -> None:
    """Logits are those of the folder, the winner is the first largest, images are counted, and all
    buffers are given back; also after a program that is none."""
    device = Device()
    accel = opened(driver, device)
    with pytest.raises(driver.AcceleratorError, match="ended with error 1: ERROR_KIND"):
        accel.load(np.array([0xF << 60], np.uint64))
    accel.load()
    lines = (Path(driver.__file__).parent / "logits.txt").read_text().splitlines()
    for image, line in zip(accel.images(), lines, strict=True):
        outputs, winner = accel.run(image)
        assert outputs.tolist() == [int(number) for number in line.split()]
        assert min(outputs) < 0 and winner == int(np.argmax(outputs))
    assert accel.counter("IMAGES") == len(lines) == 2
    assert device.buffers and all(buffer.is_free for buffer in device.buffers)


def test_another_device(driver: Any) -> None:
    class Other(Device):
        def read(self, offset: int) -> int:
            return 0xDEAD

    with pytest.raises(driver.AcceleratorError, match=r"no accelerator .* magic 0x0000DEAD"):
        opened(driver, Other())


def test_a_device_that_stands_still(driver: Any) -> None:
    class Stuck(Device):
        def write(self, offset: int, value: int) -> None:
            pass

    accel = opened(driver, Stuck(), timeout=0.2)
    accel.mmio.sending["prog"] = []
    running = accel.c["STATUS_RUNNING_MASK"]
    accel.get = lambda register: running
    with pytest.raises(driver.AcceleratorError, match=r"no reset in 0.2 s: is its clock there"):
        accel.load()
