"""Programs that are started from here, and that end when this process does, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The pipe's other end is open for as long as this process lives. Nobody writes to it: when reading
# it ends, this process is gone, perhaps killed, and all of the program's group go after it.
_WATCHED = """
pipe=$1; shift
"$@" & program=$!
{ read -r _ < "/dev/fd/$pipe"; kill -KILL 0; } > /dev/null 2>&1 & watch=$!
wait $program; status=$?
kill $watch 2> /dev/null
exit $status
"""


@contextmanager
def started(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    output: Any = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """``command`` under way; it and all that it started are ended on leaving the block.

    output: an open file for what it prints, on either stream. Ctrl-C does not reach it: that is for
    this process, which then ends it in order. Raises OSError if no shell can be started.
    """
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHED, "sh", str(reading), *command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(reading,),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    finally:
        os.close(reading)
        os.close(writing)
