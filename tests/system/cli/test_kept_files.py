"""Nothing that was there is lost: no command overwrites a file that accel did not write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from accel import cli, files
from accel.exploration.pareto import Outcome
from accel.exploration.sweep import Sweep
from accel.hardware.config import base, tiny
from accel.simulation.waveform import Waveform
from accel.verilog import handoff
from tests.networks import Conv, Linear, random_images, random_network

FOREIGN = b"somebody's work\n"
NETWORK = random_network(
    np.random.default_rng(3), (1, 28, 28), [Conv(2, (5, 5), stride=3), Linear(4)]
)
RUN = ("run", "--level", "fl", "--images", 2)
TRACE = ("trace", "--layer", "fc3", "--cycles", "0:2")


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "80"})


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ((*RUN, "--json", "run.json"), "run.json"),
        ((*RUN, "--report", "page"), "page/report.html"),
        ((*TRACE, "--json", "trace.json"), "trace.json"),
        (("report", "own.json", "--out", "page"), "page/report.html"),
        (("translate", "--config", "tiny", "--out", "rtl"), f"rtl/accelerator_{tiny}.v"),
        (("fit", "--out", "mine.toml"), "mine.toml"),
        (("doctor", "--json", "doctor.json"), "doctor.json"),
        (("translate", "--network", "net", "--config", "tiny", "--out", "hand"), "hand/README.md"),
        (("translate", "--network", "net", "--config", "tiny", "--out", "."), "README.md"),
    ],
)
def test_what_is_there_stays(
    command: tuple[Any, ...], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless --force says otherwise; what accel wrote itself is written anew without."""
    monkeypatch.chdir(tmp_path)
    NETWORK.save(tmp_path / "net")
    if command[0] == "report":
        assert run(*RUN, "--json", "own.json").exit_code == 0
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(FOREIGN)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    refused = run(*command)
    assert refused.exit_code == 2, refused.output
    assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
    assert Path(name).name in refused.stderr and "--force" in refused.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    assert run(*command, "--force").exit_code in (0, 1)
    written = file.read_bytes()
    assert written != FOREIGN
    assert run(*command).exit_code in (0, 1)


def test_a_file_of_the_folder_that_was_changed(tmp_path: Path) -> None:
    """Is no longer what the manifest says, and so is somebody's work."""
    images = random_images(np.random.default_rng(1), NETWORK, 1)
    handoff.write(tiny, NETWORK, images, "random", tmp_path)
    handoff.write(tiny, NETWORK, images, "random", tmp_path)
    changed = tmp_path / "accel.c"
    changed.write_text(changed.read_text() + "// mine\n")
    with pytest.raises(files.AccelError, match=r"^accel\.c in folder .* is there already"):
        handoff.write(tiny, NETWORK, images, "random", tmp_path)
    handoff.write(tiny, NETWORK, images, "random", tmp_path, force=True)
    assert "mine" not in changed.read_text()


@pytest.mark.parametrize("name", ["front.png", "front.svg", "front.pdf"])
def test_plots_are_known_again(name: str, tmp_path: Path) -> None:
    from accel.exploration import pareto

    rows = [
        {"network": "n", "state": "measured", "level": "cl", "cycles": c, "multipliers": m}
        | {field: getattr(base, field) for field in pareto.FIELDS} | {"num_cols": m // 9}
        for c, m in ((10, 18), (5, 36))
    ]  # fmt: skip
    outcome = Outcome(
        Sweep(rows=rows, checks=[], kept=0), ("cycles", "multipliers"), {"num_cols": (2, 4)}
    )
    path = tmp_path / name
    path.write_bytes(outcome.draw(path.suffix[1:]))
    assert files.is_own(path)


def test_networks_and_waveforms_are_known_again(tmp_path: Path) -> None:
    from accel.compiler.compile import compile
    from accel.simulation import trace

    NETWORK.save(tmp_path / "net")
    program, waveform = compile(NETWORK, tiny), Waveform()
    images = random_images(np.random.default_rng(1), NETWORK, 1)
    trace.trace(program, images, 0, 3, level="rtl", waveform=waveform)
    setup = waveform.save(tmp_path / "w.vcd")
    for path in (tmp_path / "net", tmp_path / "w.vcd", setup):
        assert files.is_own(path), path
    (tmp_path / "other").write_bytes(FOREIGN)
    assert not files.is_own(tmp_path / "other")
    (tmp_path / "empty").touch()
    assert files.is_own(tmp_path / "empty") and files.is_own(tmp_path / "nothing")


def test_json_says_whose_it_is(tmp_path: Path) -> None:
    assert run("doctor", "--json", tmp_path / "d.json").exit_code in (0, 1)
    assert json.loads((tmp_path / "d.json").read_text())["written_by"] == "accel"
