"""The command line: each command reads its options, has the work done, and prints what came out.

What imports torch is imported by the command that needs it: the others start at once.
"""

import io
import signal
import sys
from types import FrameType
from typing import NoReturn

from accel.cli.application import app

# In the order of the help, since a command belongs to it by being defined.
# isort: off
from accel.cli import networks
from accel.cli import runs
from accel.cli import check
from accel.cli import trace
from accel.cli import bisect
from accel.cli import board
from accel.cli import verilog
from accel.cli import explore
from accel.cli import fit
from accel.cli import doctor
# isort: on

__all__ = ["app", "main"]

COMMANDS = (networks, runs, check, trace, bisect, board, verilog, explore, fit, doctor)
"""The files of the commands."""


def main() -> None:
    """The console script ``accel``."""
    for stream in (sys.stdout, sys.stderr):
        # Not every terminal has every letter: a name with others is shown with question marks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Ended in order: programs that were started end too, and no temporary folder is left.
    signal.signal(signal.SIGTERM, _end)
    app()


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
