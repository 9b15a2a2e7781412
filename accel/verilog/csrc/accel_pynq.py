"""The accelerator of this folder under PYNQ: registers over MMIO, streams over three AXI DMAs.

    overlay = pynq.Overlay("design.bit")
    accel = Accelerator(
        overlay.accelerator_0.mmio, overlay.dma_program.sendchannel, overlay.dma_image.sendchannel,
        overlay.dma_result.recvchannel, pynq.allocate, folder=".",
    )
    accel.load()
    logits, winner = accel.run(accel.images()[0])

It was never on hardware: it is held to the hardware in simulation, behind the same calls of MMIO,
DMA channels and buffers. The DMAs move 64-bit words; their length registers have to hold the
program's bytes. Needs numpy, and of the folder accel_regs.h, accel_network.h, program.hex and
images.hex.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class AcceleratorError(Exception):
    """What the accelerator, or a transfer, ended with."""


class Accelerator:
    """mmio: with ``read(offset)`` and ``write(offset, value)``. program, image: DMA channels that
    send; result: one that receives; each with ``transfer(buffer)`` and ``wait()``. allocate: as
    ``pynq.allocate(shape=, dtype=)``. timeout: seconds that the accelerator may take for an answer.

    Raises AcceleratorError where no accelerator of this folder's kind answers.
    """

    def __init__(
        self,
        mmio: Any,
        program: Any,
        image: Any,
        result: Any,
        allocate: Any,
        folder: str | Path = ".",
        timeout: float = 10.0,
    ) -> None:
        self.mmio, self.channels = mmio, {"program": program, "image": image, "result": result}
        self.allocate, self.folder, self.timeout = allocate, Path(folder), timeout
        self.c = _defines(self.folder / "accel_regs.h") | _defines(self.folder / "accel_network.h")
        text = (self.folder / "accel_network.h").read_text()
        (places,) = re.findall(r"\{([\d, ]+)\}", text)
        self.places = np.array(places.split(","), int)
        magic, version = self.get("MAGIC"), self.get("VERSION")
        if magic != self.c["MAGIC_VALUE"] or version >> 16 != self.c["VERSION_VALUE"] >> 16:
            raise AcceleratorError(
                f"no accelerator of this folder answers: magic 0x{magic:08X}, "
                f"version 0x{version:08X}"
            )

    def get(self, register: str) -> int:
        """A register by its name in accel_regs.h."""
        return int(self.mmio.read(self.c[register])) & 0xFFFFFFFF

    def field(self, register: str, name: str) -> int:
        """A field of a register."""
        key = f"{register}_{name}"
        return (self.get(register) & self.c[f"{key}_MASK"]) >> self.c[f"{key}_SHIFT"]

    def load(self, words: Any = None) -> None:
        """Reset the accelerator, and load the folder's program, or other words."""
        control = self.get("CONTROL") | self.c["CONTROL_SOFT_RESET_MASK"]
        self.mmio.write(self.c["CONTROL"], control)
        self._wait(lambda: not self.field("STATUS", "RUNNING") and not self._error(), "reset")
        self._send("program", _words(self.folder / "program.hex") if words is None else words)
        self._wait(lambda: self.field("STATUS", "RUNNING") or self._error(), "start")
        self._check()

    def images(self) -> Any:
        """The folder's images: uint64 (N, words)."""
        return _words(self.folder / "images.hex").reshape(-1, self.c["IMAGE_WORDS"])

    def run(self, image: Any) -> tuple[Any, int]:
        """The outputs, int64 in the network's order, and the winning class, of an image's words."""
        size = self.c["RESULT_WORDS"]
        buffer = self.allocate(shape=(size,), dtype=np.uint64)
        try:
            # The results have somewhere to go before they can come.
            self.channels["result"].transfer(buffer)
            self._send("image", image)
            self.channels["result"].wait()
            buffer.invalidate()
            words = np.array(buffer)
        finally:
            buffer.freebuffer()
        self._check()
        data = words[:-1].astype("<u8").view(np.uint8)
        kind = np.int8 if self.c["OUTPUT_SIGNED"] else np.uint8
        return data[self.places].view(kind).astype(np.int64), int(words[-1])

    def counter(self, name: str) -> int:
        """A 64-bit counter, as ``IMAGES``: the lower half first, which keeps the upper one."""
        low = self.get(f"{name}_LOW")
        return low | self.get(f"{name}_HIGH") << 32

    def _send(self, stream: str, words: Any) -> None:
        buffer = self.allocate(shape=(len(words),), dtype=np.uint64)
        try:
            buffer[:] = words
            buffer.flush()
            self.channels[stream].transfer(buffer)
            self.channels[stream].wait()
        finally:
            buffer.freebuffer()

    def _error(self) -> int:
        return self.field("STATUS", "ERROR")

    def _check(self) -> None:
        if error := self._error():
            names = [
                name
                for name, value in self.c.items()
                if name.startswith("ERROR_") and value == error
            ]
            raise AcceleratorError(f"the accelerator ended with error {error}: {', '.join(names)}")

    def _wait(self, done: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + self.timeout
        while not done():
            if time.monotonic() > end:
                raise AcceleratorError(f"no {what} in {self.timeout:g} s: is its clock there?")


def _defines(file: Path) -> dict[str, int]:
    """The numbers of a header, without ACCEL_ before their names."""
    found = re.findall(r"(?m)^#define ACCEL_(\w+) (0x[\dA-Fa-f]+|\d+)u?l*$", file.read_text())
    return {name: int(value, 0) for name, value in found}


def _words(file: Path) -> Any:
    return np.array([int(word, 16) for word in file.read_text().split()], np.uint64)
