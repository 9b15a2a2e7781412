"""The serial line to a board: bytes, and what can go wrong with a port, in one sentence each."""

from __future__ import annotations

import contextlib
import errno
import termios
import time

import serial

from accel.errors import AccelError
from accel.hardware.serial import CRC_BYTES, HEADER_BYTES, MAX_WORDS, WORD_BYTES

LONGEST_NOISE = 1.0
"""Seconds after which :meth:`Line.settle` waits no longer for a line that does not fall silent."""
GLANCE = 0.01
"""Seconds that a look for bytes takes at most."""
BYTE_PATIENCE = 0.002
"""Seconds that a byte may take: so slow is the line of a board that is simulated."""


LONGEST = HEADER_BYTES + MAX_WORDS * WORD_BYTES + CRC_BYTES
"""Bytes of a frame at most."""


class LineBroke(Exception):
    """No answer came, or what came is none. What the board has done is not known."""


class Line:
    """An open port. Only one process at a time has it.

    timeout: seconds without a byte after which no more is expected.

    Raises :class:`AccelError` if the port cannot be opened, here, and when it goes away, from every
    method.
    """

    def __init__(self, port: str, baud: int, timeout: float) -> None:
        self.port, self.baud, self.timeout = port, baud, timeout
        self.bytes_sent = self.bytes_received = 0
        try:
            # Other times than these are kept here: pyserial sets the whole port up anew for each.
            self._serial = serial.Serial(
                port,
                baud,
                exclusive=True,
                timeout=GLANCE,
                write_timeout=timeout + LONGEST * BYTE_PATIENCE,
            )
        except ValueError as e:
            raise AccelError(f"a serial line cannot have {baud} baud: give another rate") from e
        except OSError as e:
            raise _refusal(port, e) from e
        # USB adapters would else keep what they receive for up to 16 ms; others know no such mode.
        with contextlib.suppress(OSError, ValueError, NotImplementedError):
            self._serial.set_low_latency_mode(True)

    def close(self) -> None:
        with contextlib.suppress(OSError, termios.error):
            self._serial.close()

    def write(self, data: bytes) -> None:
        """Raises :class:`LineBroke` if the line does not take them."""
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as e:
            raise LineBroke("the line takes no bytes") from e
        except (OSError, termios.error) as e:
            raise self._gone() from e
        self.bytes_sent += len(data)
        # They are on their way now, and what answers them cannot come sooner.
        self._expected = time.monotonic() + len(data) * (10 / self.baud + BYTE_PATIENCE)

    def read(self, count: int) -> bytes:
        """So many bytes. Raises :class:`LineBroke` if fewer come."""
        data, deadline = b"", max(self._expected, time.monotonic()) + self.timeout
        while len(data) < count:
            came = self._read(count - len(data), deadline - time.monotonic())
            if not came:
                raise LineBroke("no answer" if not data else "half an answer")
            data += came
            deadline = max(deadline, time.monotonic() + self.timeout)
        return data

    def settle(self, seconds: float) -> int:
        """Send nothing, and drop what comes, until nothing has come for ``seconds``: how many bytes
        that were."""
        dropped, end = 0, time.monotonic() + LONGEST_NOISE + seconds
        while time.monotonic() < end and (came := self._read(4096, seconds)):
            dropped += len(came)
            # What has come lately is waited for, so that a line of noise costs no processor.
            time.sleep(min(seconds, 0.01))
        return dropped

    def _read(self, most: int, seconds: float) -> bytes:
        """What comes within ``seconds``, as soon as there is any."""
        deadline, data = time.monotonic() + seconds, b""
        try:
            while not data and time.monotonic() < deadline:
                data = self._serial.read(1)
            data += self._serial.read(min(most - 1, self._serial.in_waiting)) if data else b""
        except (OSError, termios.error) as e:
            raise self._gone() from e
        self.bytes_received += len(data)
        return data

    def _gone(self) -> AccelError:
        return AccelError(
            f"the line to the board at {self.port} went away: plug it in again, and start anew"
        )


def _refusal(port: str, error: OSError) -> AccelError:
    match error.errno:
        case errno.ENOENT:
            return AccelError(
                f"there is no port {port}: plug the board in, and see which /dev/ttyUSB* or "
                f"/dev/ttyACM* comes"
            )
        case errno.EACCES | errno.EPERM:
            return AccelError(
                f"{port} may not be opened: join the group that owns it, often with 'sudo usermod "
                f"-aG dialout $USER', and log in again"
            )
        case errno.EBUSY | errno.EAGAIN:
            return AccelError(f"{port} is in use: end the other program that has it open")
        case errno.ENXIO | errno.ENODEV | errno.EIO:
            return AccelError(f"nothing is plugged in at {port}: see which other ports there are")
    return AccelError(f"{port} is no serial port: give one as /dev/ttyUSB0")
