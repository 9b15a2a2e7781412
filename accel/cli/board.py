"""``accel board``."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from accel.cli.application import app, examples
from accel.cli.options import ConfigOption, QuietOption
from accel.console import say, working
from accel.errors import AccelError


@app.command(
    epilog=examples(
        "accel board --config tiny",
        "accel board --config tinyml --link board.tty",
    )
)
def board(
    config: ConfigOption = "base",
    link: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Make this a link to the line, whose name is another every time."
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Simulate a board with its serial line, for accel run --level board, until Ctrl-C.

    The line is a pseudo-terminal, whose name is printed; the signal USR1 presses the reset button.
    """
    from accel.hardware.config import load_config
    from accel.simulation.virtual_board import build, virtual_board

    cfg = load_config(config)
    with working("building the simulation"):
        build(cfg)
    with virtual_board(cfg) as running, _linked(link, running.port) as port:
        signal.signal(signal.SIGUSR1, lambda number, frame: running.press_reset())
        say(f"a board with configuration {config}; to use it, in another terminal:")
        say(f"accel run --level board --port {port} --config {config}")
        try:
            running.wait()
        except KeyboardInterrupt:
            say("the board is switched off")


@contextmanager
def _linked(link: Path | None, port: str) -> Iterator[str]:
    """The name to use: that of the link, which is there as long as the block is run, if any."""
    if link is None:
        yield port
        return
    try:
        # One that a board left that was killed.
        if link.is_symlink() and not link.exists():
            link.unlink()
        link.symlink_to(port)
    except OSError as e:
        raise AccelError(
            f"cannot make the link {link}: {e.strerror}; give --link a name that is free"
        ) from e
    try:
        yield str(link)
    finally:
        if link.is_symlink() and os.readlink(link) == port:
            with contextlib.suppress(OSError):
                link.unlink()
