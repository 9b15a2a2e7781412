"""``accel doctor``."""

from __future__ import annotations

import typer

from accel.cli.application import app, examples
from accel.cli.options import JsonOption, QuietOption
from accel.cli.outputs import ForceOption, check_json
from accel.console import console, say, write_json


@app.command(epilog=examples("accel doctor", "accel doctor --json - | python3 -m json.tool"))
def doctor(
    json_file: JsonOption = None, force: ForceOption = False, quiet: QuietOption = False
) -> None:
    """Say what is installed, what is missing, what for, and what gets it.

    Exit status 1 if something is missing that accel demo needs.
    """
    from accel import doctor as examination

    check_json(json_file)
    findings = examination.examine()
    console.print(examination.table(findings))
    missing = examination.missing(findings)
    for line in examination.advice(findings):
        say(line)
    write_json(json_file, examination.record(findings))
    if missing:
        raise typer.Exit(1)
