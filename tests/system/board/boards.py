"""Boards without a board: what is at the other end of a serial port."""

from __future__ import annotations

import contextlib
import os
import random
import select
import threading
import tty
from collections import deque
from collections.abc import Callable
from typing import Self

import numpy as np

from accel.hardware import registers
from accel.hardware.config import AccelConfig
from accel.hardware.registers import ADDRESS_NBITS, BY_NAME, DATA_NBITS, REGISTERS
from accel.hardware.serial import SILENCE
from accel.hardware.status import TRAFFIC
from fl_models.accelerator import AcceleratorCoreFL
from fl_models.serial_bridge import SerialBridgeCore

Disturb = Callable[[bytes], bytes]
"""What becomes of bytes on their way."""
SILENT_AFTER = 0.015


def as_they_are(data: bytes) -> bytes:
    return data


class Noise:
    """Disturbs a byte in so many to twice as many, in one of four ways: a run gets somewhere in
    between."""

    def __init__(self, seed: int, every: int) -> None:
        self.random, self.every = random.Random(seed), every
        self._again()

    def _again(self) -> None:
        self.left = self.random.randrange(self.every, 2 * self.every)

    def __call__(self, data: bytes) -> bytes:
        found = bytearray()
        for byte in data:
            self.left -= 1
            if self.left:
                found.append(byte)
                continue
            self._again()
            match self.random.randrange(4):
                case 0:
                    found.append(byte ^ 1 << self.random.randrange(8))
                case 1:
                    found += bytes([byte, self.random.randrange(256)])
                case 2:
                    found += bytes([0xA5, byte])
        return bytes(found)


class Port:
    """A pseudo-terminal, for as long as the ``with`` block. ``port`` is what a host opens."""

    def __init__(self, to_board: Disturb = as_they_are, to_host: Disturb = as_they_are) -> None:
        self.to_board, self.to_host = to_board, to_host
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """The line goes away."""
        if self._thread.is_alive():
            os.write(self._stopper, b"x")
            self._thread.join()
            for fd in (self.master, self._slave, self._stop, self._stopper):
                os.close(fd)

    def received(self, data: bytes) -> bytes:
        """What is answered to bytes of the host."""
        return b""

    def silence(self) -> bytes:
        """What is answered when there are none."""
        return b""

    def others(self) -> list[int]:
        """Files besides the host's end that something may come from."""
        return []

    def came(self, fd: int) -> None:
        """Something came there."""

    def send(self, data: bytes) -> None:
        os.write(self.master, self.to_host(data))

    def _run(self) -> None:
        silent = True
        while True:
            files = [self.master, self._stop, *self.others()]
            ready, _, _ = select.select(files, [], [], None if silent else SILENT_AFTER)
            if self._stop in ready:
                return
            silent = not ready
            answer = b""
            if self.master in ready:
                answer = self.received(self.to_board(os.read(self.master, 4096)))
            elif silent:
                answer = self.silence()
            for fd in set(ready) - {self.master}:
                self.came(fd)
            if answer:
                self.send(answer)


class Mute(Port):
    """Takes everything, and says nothing."""


class Parrot(Port):
    """Sends back what it gets."""

    def received(self, data: bytes) -> bytes:
        return data


class FakeBoard(Port):
    """The functional models of bridge and accelerator."""

    def __init__(self, cfg: AccelConfig, **disturb: Disturb) -> None:
        super().__init__(**disturb)
        self.cfg, self.constants = cfg, registers.constants(cfg)
        self.reset()

    def reset(self) -> None:
        """Its button."""
        self.bridge = SerialBridgeCore(256)
        self._soft_reset()
        self.selected = self.num_loads = 0

    def _soft_reset(self) -> None:
        self.accelerator = AcceleratorCoreFL(self.cfg)
        self.running = False
        self.image: list[int] = []
        self.results: deque[int] = deque()

    def received(self, data: bytes) -> bytes:
        return b"".join(self._symbol(byte) for byte in data)

    def silence(self) -> bytes:
        return self._symbol(SILENCE)

    def _symbol(self, symbol: int) -> bytes:
        bridge, sent = self.bridge, bytearray()
        bridge.tick({"rx": symbol}, set())
        while True:
            ready = {name for name in ("prog", "image", "access") if bridge.offer(name) is not None}
            words = {name: bridge.offer(name) for name in ready}
            taken = {}
            if bridge.wants("reply") and "access" not in ready:
                taken["reply"] = self._reply
            if self.results and bridge.wants("result"):
                taken["result"] = self.results.popleft()
            if (byte := bridge.offer("tx")) is not None:
                sent.append(byte)
                ready.add("tx")
            if not ready and not taken:
                return bytes(sent)
            bridge.tick(taken, ready)
            for name, word in words.items():
                assert word is not None
                getattr(self, f"_take_{name}")(word)

    def _take_prog(self, word: int) -> None:
        self.accelerator.load([word])
        self.running = self.accelerator.program.running
        self.num_loads += 1

    def _take_image(self, word: int) -> None:
        self.image.append(word)
        if len(self.image) == self.accelerator.image_words:
            found = self.accelerator.run(np.array([self.image], np.uint64))
            self.results.extend(found[0].tolist())
            self.image.clear()

    def _take_access(self, message: int) -> None:
        address = message >> DATA_NBITS & ((1 << ADDRESS_NBITS) - 1)
        data = message & ((1 << DATA_NBITS) - 1)
        register = next(r for r in REGISTERS if r.offset == address)
        if message >> (ADDRESS_NBITS + DATA_NBITS):
            if register.name == "control" and data & BY_NAME["control"].field("soft_reset").mask:
                self._soft_reset()
            elif register.name == "layer":
                self.selected = data
        self._reply = self._read(register.name)

    def _read(self, name: str) -> int:
        if name in self.constants:
            return self.constants[name]
        if name == "status":
            return int(self.running)
        for i, counter in enumerate(TRAFFIC):
            if name == f"{counter}_low":
                return int(self.accelerator.program.traffic[self.selected][i])
        return 0


class Relay(Port):
    """Stands between a host and another port."""

    def __init__(self, port: str, **disturb: Disturb) -> None:
        super().__init__(**disturb)
        self.other = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self.num_to_board, self.stop_after = 0, 1 << 62

    def others(self) -> list[int]:
        return [self.other]

    def received(self, data: bytes) -> bytes:
        data = data[: self.stop_after - self.num_to_board]
        self.num_to_board += len(data)
        while data:
            data = data[os.write(self.other, data) :]
        return b""

    def came(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self.send(os.read(fd, 4096))

    def unplug(self) -> None:
        super().unplug()
        os.close(self.other)
