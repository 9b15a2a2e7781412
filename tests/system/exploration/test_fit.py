"""A configuration that holds a network, and no smaller one does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from accel import cli, compile, load_config
from accel.compiler.refusal import DoesNotFitError
from accel.errors import AccelError
from accel.exploration.fit import FITTED, candidates, point, smallest
from accel.exploration.sweep import COLUMNS, FIELDS
from accel.hardware.config import LIMITS, AccelConfig, base, toml
from tests.networks import Conv, Linear, random_network

RNG = np.random.default_rng(8)
SMALL = random_network(RNG, (1, 28, 28), [Conv(3, (5, 5), 2, 0, True, True), Linear(10)])
DEEP = random_network(RNG, (3, 9, 9), [Conv(8, (3, 3)), Conv(12, (3, 3)), Linear(40), Linear(7)])


def fit(*arguments: Any) -> Any:
    return CliRunner().invoke(cli.app, ["fit", *map(str, arguments)], env={"COLUMNS": "100"})


@pytest.mark.parametrize("num_cols", [2, 8, 16])
@pytest.mark.parametrize(
    "networks", [[SMALL], [DEEP], [SMALL, DEEP]], ids=["small", "deep", "both"]
)
def test_no_smaller_one_does(networks: list[Any], num_cols: int) -> None:
    cfg = smallest(networks, dataclasses.replace(base, num_cols=num_cols))
    for network in networks:
        compile(network, cfg)
    for name in FITTED:
        value = getattr(cfg, name)
        less = value // 2 if name == "act_depth" else value - 1
        if less < LIMITS[name][0]:
            continue
        smaller = dataclasses.replace(cfg, **{name: less})
        with pytest.raises(DoesNotFitError, match=name):
            [compile(network, smaller) for network in networks]


def test_few_columns_first() -> None:
    """What is no configuration says why, and hides none of the others."""
    found = candidates([SMALL], base, [16, 3, 4])
    assert [c.num_cols for c in found] == [3, 4, 16]
    assert found[0].cfg is None and "does not divide 3" in found[0].reason
    assert found[1].cfg is not None and found[1].steps > found[2].steps > 0


def test_command_writes_what_config_takes(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "net")
    out = tmp_path / "mine.toml"
    options = ("--network", tmp_path / "net", "--cols", 16, "--cols", 4, "--out", out)
    done = fit(*options)
    assert done.exit_code == 0, done.output
    assert load_config(out) == smallest([SMALL], dataclasses.replace(base, num_cols=4))
    assert f"accel run --config {out}" in done.stdout
    # Its own file it may write again, another one only if told to.
    assert fit(*options).exit_code == 0
    out.write_text("mine = 1\n")
    refused = fit(*options)
    assert refused.exit_code == 2 and "accel did not write it" in refused.stderr
    assert out.read_text() == "mine = 1\n"
    assert fit(*options, "--force").exit_code == 0


def test_a_file_has_all_fields() -> None:
    cfg = AccelConfig(num_cols=4, zero_gating=False)
    text = toml(cfg, "a test")
    assert re.findall(r"(?m)^(\w+) = ", text) == ["preset", *FIELDS]
    assert "zero_gating = false" in text


def points(path: Path, *configurations: AccelConfig) -> Path:
    rows = [",".join(COLUMNS)]
    for cfg in configurations:
        cells: dict[str, Any] = dict.fromkeys(COLUMNS, "") | dataclasses.asdict(cfg)
        cells |= {"network": "n", "level": "cl", "state": "measured", "cycles": 5, "energy": 7}
        rows.append(",".join(str(cells[name]) for name in COLUMNS))
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_line_of_a_sweep(tmp_path: Path) -> None:
    other = dataclasses.replace(base, num_cols=4, act_depth=64)
    path = points(tmp_path / "explore.csv", base, other)
    assert (point(path, 2), point(path, 3)) == (base, other)
    out = tmp_path / "mine.toml"
    assert fit("--points", path, "--line", 3, "--out", out).exit_code == 0
    assert load_config(out) == other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--line", 2), "give both or neither"),
        (("--points", "explore.csv"), "give both or neither"),
        (("--points", "explore.csv", "--line", 4), "its points are in lines 2 to 3"),
        (("--points", "nowhere.csv", "--line", 2), "cannot read nowhere.csv"),
        (
            ("--points", "other.csv", "--line", 2),
            "is not what this version of accel explore writes",
        ),
        (("--points", "explore.csv", "--line", 2, "--cols", 4), "leave out --network and --cols"),
        (("--cols", 3), "3 columns: configuration: pixel_groups * num_lanes must divide num_cols"),
        (("--out", "mine.json"), "must end in .toml"),
        (("--network", "explore.csv"), "explore.csv"),
    ],
)
def test_what_a_user_can_do_wrong(
    options: tuple[Any, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    points(tmp_path / "explore.csv", base, base)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    done = fit(*options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "mine.toml").exists()


def test_what_fits_nowhere() -> None:
    wide = random_network(RNG, (1, 4, 4), [Linear(200_000 // 16), Linear(3)])
    with pytest.raises(AccelError, match="iterations over groups"):
        smallest([wide], dataclasses.replace(base, num_cols=1, num_lanes=1))
