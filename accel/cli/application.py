"""What all commands have in common: errors in one line, exit statuses, examples in the help."""

from __future__ import annotations

import shlex
from typing import Any

import typer
from typer.core import TyperGroup

from accel.errors import AccelError

COMMAND = "accel.command"
"""Where a context's ``meta`` has the command line, for the records of what it made."""


class Commands(TyperGroup):
    """Says an error or an interruption in one line, and exits with a status of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[COMMAND] = shlex.join(["accel", *args])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AccelError as e:
            typer.echo(f"error: {e}", err=True)
            raise typer.Exit(2) from e
        except KeyboardInterrupt as e:
            typer.echo("error: interrupted; no file was left half-written", err=True)
            raise typer.Exit(130) from e


EXIT_STATUS = " ".join(
    (
        "Exit status: 0 done, and all is well; 1 the work was done and says no: an output differs",
        "from PyTorch's, levels differ in a sweep, or doctor misses something that is needed; 2 it",
        "could not be done: a",
        "wrong option, a missing file or tool, something that does not fit; 130 interrupted.",
        "Errors are on the standard error, in one sentence. NO_COLOR=1 keeps colours away.",
    )
)


def examples(*lines: str) -> str:
    """The end of a command's help: commands that work as they stand."""
    return "\n".join(("Examples:", *(f"  {line}" for line in lines)))


app = typer.Typer(
    cls=Commands,
    help="Generate int8 CNN accelerators whose every output byte equals PyTorch's.",
    epilog=EXIT_STATUS
    + "\n\n"
    + examples("accel doctor", "accel run --images 100", "accel --install-completion"),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
