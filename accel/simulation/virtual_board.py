"""A board that is simulated down to its serial line, which is a pseudo-terminal here: a host cannot
tell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accel.children import started
from accel.errors import AccelError
from accel.hardware.config import AccelConfig
from accel.simulation import verilated
from accel.verilog.translation import module_name, translate_component
from rtl_models.board import BoardRTL

DIVISOR = 4
"""Cycles of a bit: the fewest, since a simulation's time is in cycles."""
SILENCE_BITS = 1 << 12
"""A line that is simulated does not pause within a frame."""
QUIET_CYCLES = 1 << 18
"""Cycles without a byte after which the clock stands still until one comes."""
OPTIONS = (
    *verilated.VERILATOR_OPTIONS,
    *("-CFLAGS", f"-DDIVISOR={DIVISOR} -DQUIET_CYCLES={QUIET_CYCLES}"),
    # Only so that another number is another build: it is in the Verilog.
    *("-CFLAGS", f"-DSILENCE_BITS={SILENCE_BITS}"),
)


@dataclass(frozen=True)
class VirtualBoard:
    """A board under way. port: name of its serial port."""

    port: str
    _pid: int
    _process: subprocess.Popen[bytes]

    def press_reset(self) -> None:
        """Its button: everything is as after power-up."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGUSR1)

    def wait(self) -> None:
        """Until it ends, which it does not by itself.

        Raises :class:`AccelError` if it does.
        """
        status = self._process.wait()
        raise AccelError(f"the virtual board ended with status {status}: start it anew")


def build(cfg: AccelConfig) -> Path:
    """The program that simulates a board with this configuration, as
    :func:`accel.simulation.verilated.build` does it."""
    main = Path(__file__).parent / "csrc" / "board.cpp"
    return verilated.build(cfg, main, OPTIONS, verilog=_verilog)


def _verilog(cfg: AccelConfig) -> str:
    return translate_component(BoardRTL(cfg, DIVISOR, silence_bits=SILENCE_BITS), module_name(cfg))


@contextmanager
def virtual_board(cfg: AccelConfig) -> Iterator[VirtualBoard]:
    """A board with the bitstream of this configuration, until the block is left, or this process
    ends in whatever way.

    Raises :class:`AccelError` as :func:`build` does, or if it does not start.
    """
    program = build(cfg)
    reading, writing = os.pipe()
    with contextlib.ExitStack() as ends:
        said = ends.enter_context(os.fdopen(reading))
        try:
            process = ends.enter_context(started([str(program)], output=writing))
        finally:
            os.close(writing)
        words = said.readline().split()
        if len(words) != 2 or not words[1].isdecimal():
            raise AccelError(
                f"the virtual board {program} did not start: "
                f"{' '.join(words) or 'it said nothing'}; delete {program.parent} to build it anew"
            )
        yield VirtualBoard(words[0], int(words[1]), process)
