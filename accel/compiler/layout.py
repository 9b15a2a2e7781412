"""How a feature map lies in the activation memory."""

from __future__ import annotations

from dataclasses import dataclass

from accel.hardware.config import TAPS


@dataclass(frozen=True)
class Layout:
    """A feature map and its strides: see :mod:`accel.hardware.descriptors` for the rule of banks. A
    vector is a map of one pixel."""

    channels: int
    height: int = 1
    width: int = 1

    @property
    def row_stride(self) -> int:
        """Bytes from one row to the next: the smallest that holds a row and is 3 mod 9."""
        return self.width + (3 - self.width) % TAPS

    @property
    def channel_stride(self) -> int:
        """Bytes from one channel to the next: the smallest that holds one and is 1 mod 9."""
        size = (self.height - 1) * self.row_stride + self.width
        return size + (1 - size) % TAPS

    @property
    def num_bytes(self) -> int:
        """From the first element to the last."""
        last_channel = (self.height - 1) * self.row_stride + self.width
        return (self.channels - 1) * self.channel_stride + last_channel

    @property
    def num_rows(self) -> int:
        """Rows of the activation memory, when it starts at the start of one."""
        return -(-self.num_bytes // TAPS)
