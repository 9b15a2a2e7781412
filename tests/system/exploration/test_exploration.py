"""Sweeps of the design space: each point once, with its reason if it failed, whatever ends them."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from accel import cli, compile, simulate
from accel.compiler.refusal import DoesNotFitError, Refusal
from accel.errors import AccelError
from accel.exploration import fit, pareto
from accel.exploration import sweep as exploration
from accel.exploration.sweep import COLUMNS, KEY, Results
from accel.hardware.config import AccelConfig, base, would_do
from accel.verilog import translation
from accel.verilog.synthesis import Synthesis, find_target
from tests.networks import Conv, Linear, random_network
from tests.system.cli.test_console import in_terminal
from tests.system.exploration.test_parallel import Cluster, wait_for

MEMORIES = ("--sweep", "act_depth=64", "--sweep", "weight_depth=120", "--sweep", "param_depth=32")
SWEEP = ("--sweep", "num_cols=1,2,4", "--sweep", "num_lanes=1,2")
"""Five configurations that there can be, and one that there cannot."""


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files of two small networks, the second of which needs more memory."""
    folder, rng = tmp_path_factory.mktemp("networks"), np.random.default_rng(7)
    small, large = folder / "small.safetensors", folder / "large.safetensors"
    random_network(rng, (1, 6, 6), [Conv(3, (3, 3), pool=True), Linear(4)]).save(small)
    random_network(rng, (2, 8, 8), [Conv(5, (3, 3)), Linear(9), Linear(3)]).save(large)
    return small, large


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "points.csv"


def run(*arguments):
    arguments = ("explore", "--jobs", 1, *arguments)
    if "--check" not in arguments:
        arguments = (*arguments, "--check", 0)
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "80"})


def explore(out, network, *arguments):
    result = run("--network", network, "--out", out, *arguments)
    assert "Traceback" not in result.output
    return result


def read(file):
    with open(file, newline="") as f:
        return list(csv.DictReader(f))


def keys(rows):
    return [tuple(row[name] for name in KEY) for row in rows]


# The front


@given(
    st.integers(2, 4).flatmap(
        lambda k: st.lists(st.tuples(*[st.integers(0, 4)] * k), min_size=0, max_size=14)
    )
)
def test_the_front_is_what_none_beats(points):
    def beats(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    values = np.array(points, np.float64).reshape(len(points), len(points[0]) if points else 2)
    expected = [not any(beats(other, point) for other in points) for point in points]
    assert pareto.front(values).tolist() == expected


def test_several_networks_are_a_geometric_mean_and_must_all_fit():
    def row(cols, cycles, state="measured"):
        return dataclasses.asdict(base) | {"num_cols": cols, "cycles": cycles, "state": state}

    rows = [row(1, 10), row(1, 1000), row(2, 7), row(2, None, "failed"), row(4, 3), row(4, 3)]
    found = pareto.candidates(rows, ["cycles"])
    assert [(c.fields["num_cols"], c.values) for c in found] == [
        (1, (pytest.approx(100),)), (4, (3,))
    ]  # fmt: skip


# What is swept


def test_fit_is_the_least_that_holds_all_networks(networks):
    subjects = exploration.load_subjects(networks, None, None)
    sweep = {"num_cols": (1, 2, 4), "pixel_groups": (1, 2)}
    one_lane = dataclasses.replace(base, num_lanes=1)
    designs = exploration.plan(one_lane, sweep, subjects, fit=True)
    assert [d.cfg is None for d in designs] == [False, True, *[False] * 4]
    for cfg in (d.cfg for d in designs if d.cfg):
        programs = [compile(s.network, cfg) for s in subjects]
        assert programs[0].act_rows < programs[1].act_rows
        for name, less in (
            ("act_depth", cfg.act_depth // 2),
            ("weight_depth", cfg.weight_depth - 1),
            ("param_depth", cfg.param_depth - 1),
        ):
            if less >= 16:
                with pytest.raises(AccelError, match=f"more than {name} = {less}"):
                    compile(subjects[1].network, dataclasses.replace(cfg, **{name: less}))
        assert cfg.act_depth > 16 and cfg.weight_depth > 16


@pytest.mark.parametrize(("rows", "depth"), [(1, 16), (16, 16), (17, 32), (64, 64), (65, 128)])
def test_fit_rounds_activation_memory_up_to_a_power_of_two(networks, monkeypatch, rows, depth):
    subjects = exploration.load_subjects(networks[:1], None, None)
    found = SimpleNamespace(
        act_rows=rows, weight_words=rows, param_words=rows, max_accumulator=1, layers=()
    )

    def compiled(network, cfg):
        if cfg.act_depth < rows:
            raise DoesNotFitError([
                Refusal(layer="c", limit="act_depth", needed=rows, room=cfg.act_depth,
                        sentence="too much", would_do=would_do("act_depth", rows))
            ])  # fmt: skip
        return found

    monkeypatch.setattr(fit, "compile", compiled)
    (design,) = exploration.plan(base, {"num_cols": (2,)}, subjects, fit=True)
    assert design.fields["act_depth"] == depth
    assert design.fields["weight_depth"] == design.fields["param_depth"] == max(rows, 16)


def test_fit_leaves_to_each_network_to_say_why_it_cannot_be(networks, out):
    result = run("--network", networks[0], "--network", networks[1], "--out", out, "--fit",
                 "--sweep", "max_layers=2")  # fmt: skip
    small, large = read(out)
    assert (small["state"], small["weight_depth"]) == ("measured", "16")
    assert (large["state"], large["reason"][:12]) == ("failed", "network 'ran")
    assert "1 more than max_layers = 2" in large["reason"]
    # Both belong to one configuration, which so is no candidate.
    assert result.exit_code == 1
    assert "1 measured, 1 failed" in result.stdout


# A whole sweep


def test_each_point_is_a_row_with_figures_or_a_reason(networks, out):
    result = run("--network", networks[0], "--network", networks[1], "--out", out, *SWEEP,
                 *MEMORIES, "--images", 3)  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = read(out)
    assert len(rows) == 12
    assert len(set(keys(rows))) == 12
    assert list(rows[0]) == list(COLUMNS)
    subjects = {s.name: s for s in exploration.load_subjects(networks, "3", None)}
    seen = []
    for row in rows:
        fields = {f.name: int(row[f.name]) for f in dataclasses.fields(AccelConfig)
                  if f.name != "zero_gating"}  # fmt: skip
        network, images = subjects[row["network"]].network, subjects[row["network"]].images
        seen.append(row["state"])
        if row["state"] == "failed":
            with pytest.raises(AccelError) as refused:
                compile(network, AccelConfig(**fields))
            assert (row["reason"], row["cycles"]) == (str(refused.value), "")
        else:
            found = simulate(compile(network, AccelConfig(**fields)), images, level="cl", jobs=1)
            assert (row["state"], row["reason"]) == ("measured", "")
            assert int(row["cycles"]) == found.cycles_per_image
            assert int(row["latency_cycles"]) == found.latency_cycles
            assert float(row["utilization"]) == found.utilization
            assert int(row["multipliers"]) == 9 * fields["num_cols"]
    # One column cannot have two lanes, nor hold all weights of the larger network.
    assert (seen.count("failed"), seen.count("measured")) == (3, 9)
    assert "12 points in points.csv" in result.stdout.replace(f"{out}", "points.csv")
    assert "failed: num_cols 1, num_lanes 2" in result.stdout
    assert "pixel_groups * num_lanes must divide num_cols" in result.stdout


def test_energy_is_that_of_the_record(networks, out):
    from accel.reports.energy import accesses

    explore(out, networks[0], "--sweep", "num_cols=2", "--sweep", "zero_gating=true,false")
    gated, free = read(out)
    assert (gated["zero_gating"], free["zero_gating"]) == ("True", "False")
    assert gated["cycles"] == free["cycles"]
    assert float(gated["energy"]) < float(free["energy"])
    (subject,) = exploration.load_subjects(networks[:1], None, None)
    program = compile(subject.network, dataclasses.replace(base, num_cols=2))
    found = simulate(program, subject.images, level="cl", jobs=1)
    expected = sum(layer.total for layer in accesses(program, found.traffic))
    assert float(gated["energy"]) == expected


def test_a_data_frame_reads_it(networks, out):
    """As docs/explore.md says."""
    explore(out, networks[0], *SWEEP)
    points = pandas.read_csv(out)
    good = points[(points.state == "measured") & (points.level == "cl")]
    assert len(points) == 6 and len(good) == 5
    assert good.num_cols.dtype.kind == "i"
    assert good.cycles.dtype.kind == good.energy.dtype.kind == "f"
    assert points.zero_gating.dtype == bool
    assert good.groupby("num_cols").cycles.min().is_monotonic_decreasing


# Going on


def test_a_sweep_goes_on_with_what_is_there(networks, out, monkeypatch):
    explore(out, networks[0], "--sweep", "num_cols=1,2", "--sweep", "num_lanes=1,2")
    first = out.read_bytes()
    measured = []
    measure = exploration.measure
    monkeypatch.setattr(exploration, "measure", lambda task: measured.append(task) or measure(task))

    result = explore(out, networks[0], "--sweep", "num_cols=1,2", "--sweep", "num_lanes=1,2")
    assert result.exit_code == 0
    assert "4 points in " in result.stdout and ", 4 of them from before" in result.stdout
    assert not measured
    assert out.read_bytes() == first

    # More values: only what is new. The renamed network is the same.
    renamed = networks[0].with_name("renamed.safetensors")
    renamed.write_bytes(networks[0].read_bytes())
    result = explore(out, renamed, *SWEEP)
    assert "6 points in " in result.stdout and ", 4 of them from before" in result.stdout
    assert [task.design.cfg.num_cols for task in measured] == [4, 4]
    assert out.read_bytes().startswith(first)
    assert len(set(keys(read(out)))) == len(read(out)) == 6


@pytest.mark.parametrize("what", ["network", "images", "sources", "synthesis"])
def test_rows_of_another_sweep_are_not_taken_for_this_ones(networks, out, monkeypatch, what):
    sweep = ("--sweep", "num_cols=1,2", "--sweep", "num_lanes=1")
    explore(out, networks[0], *sweep)
    before = out.read_bytes()
    network, options = networks[0], ()
    if what == "network":
        network = networks[1]
    elif what == "images":
        options = ("--images", 3)
    elif what == "sources":
        monkeypatch.setattr(exploration, "versions", lambda: {"accel": "0.1.0 (sources 0)"})
    else:
        monkeypatch.setattr(exploration, "tools", lambda target, seeds: "Yosys 0.0")
        monkeypatch.setattr(translation, "translate", refuse)
        options = ("--synth", "generic")
    result = explore(out, network, *sweep, *options)
    assert "2 points in " in result.stdout and ", 0 of them from before" in result.stdout
    assert out.read_bytes().startswith(before)
    assert len(read(out)) == 4
    assert len(set(keys(read(out)))) == 4


def refuse(*_, **__):
    raise AccelError("accelerator does not fit the device: choose a smaller configuration")


STOPS_AFTER_FIVE = """
import time
from accel.exploration import sweep as exploration
from accel.cli import main
measure, begun = exploration.measure, []
def stops(task):
    begun.append(task)
    time.sleep(60 * (len(begun) > 5))
    return measure(task)
exploration.measure = stops
main()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_mid_sweep(networks, out, how):
    """And half a line is written: then the same command goes on, and the file is what it is when
    nothing happens."""
    sweep = (
        "--sweep",
        "num_cols=2,4,8",
        "--sweep",
        "num_lanes=1,2",
        "--sweep",
        "spad_depth=4,8,16",
    )
    options = ("--network", networks[0], *sweep, "--check", 0, "--jobs", 1, "--out", out)
    command = [sys.executable, "-c", STOPS_AFTER_FIVE, "explore", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            wait_for("five rows", lambda: out.exists() and out.read_bytes().count(b"\n") == 6)
            p.send_signal(how)
            _, said = p.communicate(timeout=30)
        finally:
            p.kill()
    assert len(read(out)) == 5
    if how == signal.SIGINT:
        assert p.returncode == 130
        *_, hint, error = said.splitlines()
        assert hint == f"{out} keeps what was done: the same command goes on from there"
        assert error == "error: interrupted; no file was left half-written"
    else:
        assert p.returncode == -signal.SIGKILL
        out.write_bytes(out.read_bytes()[:-30])
    result = explore(out, networks[0], *sweep)
    assert result.exit_code == 0, result.output
    kept = 5 if how == signal.SIGINT else 4
    assert f"18 points in {out}, {kept} of them from before: 18 measured" in result.stdout
    again = out.with_name("again.csv")
    explore(again, networks[0], *sweep)
    assert out.read_bytes() == again.read_bytes()


def test_a_file_cut_anywhere_has_its_whole_lines(networks, out):
    explore(out, networks[0], "--sweep", "num_cols=1,2", "--sweep", "num_lanes=1,2")
    content = out.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for size in {0, 1, *(e + d for e in ends for d in (-1, 0, 1, 40) if e + d <= len(content))}:
        out.write_bytes(content[:size])
        with Results(out) as results:
            lines = sum(end <= size for end in ends)
            assert len(results.rows) == max(lines - 1, 0)
        # The header is there in any case.
        assert out.read_bytes() == content[: max([e for e in ends if e <= size], default=ends[0])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "a,b\n1,2\n", "is not what this version of accel explore writes"),
        (lambda text: "no newline", "is not what this version of accel explore writes"),
        (lambda text: text.replace("network,", "nets,", 1), "is not what this version"),
        (lambda text: text + "\n", "line 4 of .* is damaged: delete it"),
        (lambda text: text + "a,b\n", "line 4 of .* is damaged: delete it"),
        (lambda text: text.replace(",cl,", ",gate,", 1), "line 2 of .* is damaged"),
        (lambda text: text.replace("measured", "unmeasured", 1), "line 2 of .* is damaged"),
        (lambda text: text.replace(",True,", ",maybe,", 1), "line 2 of .* is damaged"),
        (lambda text: text.replace(",32,", ",3x2,", 1), "line 2 of .* is damaged"),
        (lambda text: text.replace('"Python', "Python", 1), "line 2 of .* is damaged"),
    ],
)
def test_a_damaged_file_is_left_as_it_is(networks, out, change, message):
    explore(out, networks[0], "--sweep", "num_cols=1,2", "--sweep", "num_lanes=1")
    damaged = change(out.read_text())
    out.write_text(damaged)
    with pytest.raises(AccelError, match=message), Results(out):
        pass
    assert out.read_text() == damaged


def test_one_sweep_at_a_time_writes_a_file(networks, out):
    with Results(out):
        result = explore(out, networks[0], *SWEEP)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: another sweep is writing {out}: wait for it, or give another --out\n"
    )


def test_a_full_disk_ends_it_in_one_line(networks, out, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = explore(out, networks[0], *SWEEP)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: cannot write {out}: No space left on device")


# Checks


def test_verilated_rtl_is_equal(networks, out):
    """The one real build here, of the smallest accelerator."""
    options = ("--sweep", "num_cols=1", "--sweep", "num_lanes=1", *MEMORIES, "--check", 5)
    result = explore(out, networks[0], *options)
    assert result.exit_code == 0, result.output
    cl, rtl = read(out)
    assert (cl["level"], rtl["level"], rtl["state"]) == ("cl", "verilator", "measured")
    for name in ("cycles", "latency_cycles", "utilization", "energy"):
        assert cl[name] == rtl[name]
    assert "Verilator" in rtl["versions"] and "Verilator" not in cl["versions"]
    assert "1 of 1 points that were run on Verilated RTL too are equal" in result.stdout


@pytest.mark.parametrize("planted", ["cycles", "latency", "output", "winner", "bug"])
def test_a_difference_is_seen(networks, out, monkeypatch, planted):
    real, checked = exploration.simulate, []

    def simulate(program, images, *, level, jobs):
        found = real(program, images, level="cl", jobs=jobs)
        if level == "cl" or program.cfg.num_cols != 4:
            return found
        checked.append(program.cfg)
        (chunk,) = found.chunks
        if planted == "cycles":
            chunk.spent[1, 0, 1] += 1
        elif planted == "latency":
            chunk.last_result[0] += 1
        elif planted == "output":
            found.outputs[1, 2] ^= 1
        elif planted == "winner":
            found.winners[0] ^= 1
        else:
            raise KeyError("port")
        return found

    monkeypatch.setattr(exploration, "simulate", simulate)
    sweep = ("--sweep", "num_cols=1,2,4", "--sweep", "num_lanes=1")
    result = explore(out, networks[0], *sweep, "--check", 2, "--json", "out.json")
    assert result.exit_code == 1
    reason = {
        "cycles": "cycles: {:,} in Verilated RTL, but {:,} at level cl",
        "latency": "latency_cycles: ",
        "output": "1 of 10 outputs differ from those of PyTorch's quantized kernels at level "
        "verilator",
        "winner": "1 of 10 outputs differ",
        "bug": "accel itself failed with KeyError: 'port'",
    }[planted]
    first, middle, last = (row for row in read(out) if row["level"] == "cl")
    if planted == "cycles":
        reason = reason.format(int(last["cycles"]) + 1, int(last["cycles"]))
    checks = [row for row in read(out) if row["level"] == "verilator"]
    assert [(row["num_cols"], row["state"]) for row in checks] == [
        ("1", "measured"),
        ("4", "wrong"),
    ]
    assert checks[1]["reason"].startswith(reason)
    assert "1 of 2 points that were run on Verilated RTL too are equal" in result.stdout
    assert f"wrong: num_cols 4: {reason}" in result.stdout
    # What is wrong is on no front, though it would be the fastest.
    record = json.loads(Path("out.json").read_text())
    assert [c["num_cols"] for c in record["front"]] == [2, 1]
    assert [row["num_cols"] for row in record["wrong"]] == [4]
    assert (first["state"], middle["state"], last["state"]) == ("measured",) * 3

    # It is not forgotten, nor run again.
    assert len(checked) == 1
    assert explore(out, networks[0], *sweep, "--check", 2).exit_code == 1
    assert len(checked) == 1


def test_a_wrong_output_at_level_cl_is_seen_too(networks, out, monkeypatch):
    real = exploration.simulate

    def simulate(*arguments, **options):
        found = real(*arguments, **options)
        found.outputs[0, 0] ^= 1
        return found

    monkeypatch.setattr(exploration, "simulate", simulate)
    result = explore(out, networks[0], "--sweep", "num_cols=2", "--check", 2)
    assert result.exit_code == 1
    (row,) = read(out)
    assert row["state"] == "wrong"
    assert row["reason"].startswith("1 of 10 outputs differ") and row["reason"].endswith("level cl")


# Synthesis


@pytest.fixture
def synthesis(monkeypatch):
    """In place of Yosys, which takes minutes: what it was called with, and some figures."""
    called = []

    def synthesize(verilog, top, target, *, num_seeds, by_unit):
        called.append((top, target.name, num_seeds, by_unit))
        assert f"module {top}" in verilog
        if "c4" in top:
            refuse()
        whole = dict.fromkeys(target.figures, 7.0) | {"lut4": 1000.0 * int(top[13])}
        return Synthesis(design=top, target=target, tools="", whole=whole, units={}, runs=[])

    monkeypatch.setattr(translation, "translate", lambda cfg: f"module accelerator_{cfg}")
    monkeypatch.setattr(exploration, "synthesize", synthesize)
    monkeypatch.setattr(exploration, "tools", lambda target, seeds: "Yosys 0.0")
    monkeypatch.setattr(Synthesis, "fmax_mhz", property(lambda s: 50.0 if s.target.tool else None))
    return called


def test_synthesis_is_of_a_configuration_whatever_networks_run_on_it(networks, out, synthesis):
    options = ("--sweep", "num_cols=1,2,4,8", "--sweep", "num_lanes=1", "--synth", "ecp5", "--pnr",
               "--seeds", 3, "--objectives", "time_us,lut4")  # fmt: skip
    result = explore(out, networks[0], *options)
    assert result.exit_code == 0, result.output
    assert len(synthesis) == 4
    assert {call[1:] for call in synthesis} == {("ecp5", 3, False)}
    for row in read(out):
        cols = int(row["num_cols"])
        assert (row["target"], row["seeds"]) == ("ecp5", "3")
        assert int(row["cycles"]) > 0
        if cols == 4:
            assert (row["state"], row["lut4"]) == ("failed", "")
            assert row["reason"].startswith("accelerator does not fit the device")
        else:
            assert (row["state"], row["lut4"], row["fmax_mhz"]) == (
                "measured",
                f"{1000 * cols}",
                "50.0",
            )
            assert float(row["time_us"]) == int(row["cycles"]) / 50
    assert "Pareto front num time cols us lut4" in " ".join(result.stdout.split())

    # Another network takes up the figures, and the failure.
    both = ("--network", networks[1], *options)
    result = explore(out, networks[0], *both)
    assert len(synthesis) == 4
    rows = read(out)
    assert len(rows) == 8
    for mine, theirs in zip(rows[:4], rows[4:], strict=True):
        assert mine["network"] != theirs["network"]
        for name in ("state", "reason", "target", "lut4", "dsp", "fmax_mhz"):
            assert mine[name] == theirs[name]
        if mine["state"] == "measured":
            assert mine["cycles"] != theirs["cycles"]
            assert float(theirs["time_us"]) == int(theirs["cycles"]) / 50


def test_no_synthesis_for_what_no_network_fits(networks, out, synthesis):
    result = explore(out, networks[1], "--sweep", "weight_depth=16,17", "--synth", "generic")
    assert not synthesis
    assert [row["state"] for row in read(out)] == ["failed", "failed"]
    assert "words, " in read(out)[0]["reason"]
    assert result.exit_code == 1
    assert "Pareto" not in result.stdout


def test_objectives_are_those_that_there_are_figures_for():
    assert pareto.choose(None, None, False) == ("cycles", "multipliers", "energy")
    assert pareto.choose(None, find_target("generic"), False) == ("cycles", "lut4", "energy")
    ecp5 = find_target("ecp5")
    assert pareto.choose(None, ecp5, True) == ("time_us", "lut4_with_carry", "energy")
    assert pareto.choose("energy, dsp", ecp5, False) == ("energy", "dsp")
    for text, target, message in (
        ("cycles", None, "needs two objectives or more"),
        ("cycles,speed", None, "unknown objective 'speed': expected some of cycles, "),
        ("cycles,lut4", None, "objective lut4 needs --synth"),
        ("cycles,time_us", ecp5, "objective time_us needs --pnr"),
        ("cycles,dsp", find_target("ice40"), "objective dsp needs --synth with a target that has"),
    ):
        with pytest.raises(AccelError, match=message):
            pareto.choose(text, target, False)


# The command line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Missing option '--sweep'"),
        (("--sweep", "cols=1"), "--sweep cols=1: expected FIELD=VALUE,VALUE,... with one of the"),
        (("--sweep", "num_cols"), "--sweep num_cols: expected FIELD=VALUE"),
        (("--sweep", "num_cols="), "values must be whole numbers, not ''"),
        (("--sweep", "num_cols=1,-2"), "values must be whole numbers, not '-2'"),
        (("--sweep", "num_cols=1,1e3"), "values must be whole numbers, not '1e3'"),
        (("--sweep", "zero_gating=1"), "values must be true or false, not '1'"),
        (("--sweep", "num_cols=1", "--sweep", "num_cols=2"), "names num_cols twice"),
        (("--sweep", "act_depth=64", "--fit"), "--fit chooses act_depth: leave out --fit, or"),
        (
            ("--sweep", "weight_depth=" + ",".join(map(str, range(16, 10_100)))),
            "the sweep has 10,084 configurations, 84 more than are tried at once",
        ),
        (("--sweep", "num_cols=1", "--network", "missing"), "missing"),
        (("--sweep", "num_cols=1", "--config", "huge"), "unknown configuration 'huge'"),
        (("--sweep", "num_cols=1", "--images", "1"), "--images must be two or more"),
        (("--sweep", "num_cols=1", "--pnr"), "add --synth TARGET"),
        (("--sweep", "num_cols=1", "--synth", "generic", "--seeds", "2"), "add --pnr"),
        (
            ("--sweep", "num_cols=1", "--synth", "generic", "--pnr"),
            "target generic has no place and route",
        ),
        (("--sweep", "num_cols=1", "--synth", "asic"), "unknown target 'asic'"),
        (("--sweep", "num_cols=1", "--plot", "front.jpg"), "must end in .png, .svg, .pdf"),
        (("--sweep", "num_cols=1", "--out", "/proc/x.csv"), "cannot write /proc/x.csv"),
        (("--sweep", "num_cols=1", "--json", "/proc/x"), "cannot write /proc/x"),
        (("--sweep", "num_cols=1", "--objectives", "cycles,lut4"), "lut4 needs --synth"),
        (("--sweep", "num_cols=2", "--cluster", "tcp://x"), "leave out --jobs, or --cluster"),
    ],
)
def test_what_cannot_be_asked_for(options, message, out):
    result = run(*options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert result.stdout == ""
    # At most the header of a sweep that ended before its first point.
    assert all(len(read(file)) == 0 for file in out.parent.iterdir())


def test_networks_that_cannot_be_told_apart(networks, out, tmp_path):
    (tmp_path / "below").mkdir()
    twin = tmp_path / "below" / "twin.safetensors"
    twin.write_bytes(networks[0].read_bytes())
    message = explore(out, networks[0], "--network", twin, *SWEEP).stderr
    assert message == "error: networks small and twin are the same: leave one of them out\n"
    namesake = tmp_path / "below" / "small.safetensors"
    namesake.write_bytes(networks[1].read_bytes())
    message = explore(out, networks[0], "--network", namesake, *SWEEP).stderr
    assert message == "error: two networks are called small: give files of different names\n"


def test_missing_tools_end_it_before_the_first_point(networks, out, monkeypatch):
    def missing(*_):
        raise AccelError("it is not installed: install it")

    for name, options in (("tools", ("--synth", "generic")), ("find_toolchain", ("--check", 1))):
        with monkeypatch.context() as m:
            m.setattr(exploration, name, missing)
            result = explore(out, networks[0], "--sweep", "num_cols=2", *options)
        assert (result.exit_code, result.stderr) == (2, "error: it is not installed: install it\n")
        assert read(out) == []


def test_json_and_nothing_else(networks, out):
    result = explore(out, networks[0], *SWEEP, "--json", "-")
    record = json.loads(result.stdout)
    assert record["record"] == "accel explore"
    assert record["command"].startswith("accel explore --jobs 1 --network")
    assert (record["points"], record["kept"], len(record["failed"])) == (6, 0, 1)
    assert record["failed"][0]["reason"].startswith("configuration: pixel_groups * num_lanes")
    assert record["objectives"] == ["cycles", "multipliers", "energy"]
    rows = {(int(r["num_cols"]), int(r["num_lanes"])): r for r in read(out)}
    for point in record["front"]:
        row = rows[point["num_cols"], point["num_lanes"]]
        assert {name: float(row[name]) for name in record["objectives"]} == {
            name: point[name] for name in record["objectives"]
        }


def test_quiet(networks, out):
    result = explore(out, networks[0], *SWEEP, "--quiet", "--plot", "front.png")
    assert (result.exit_code, result.output) == (0, "")
    assert len(read(out)) == 6
    assert Path("front.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "start"), [("f.png", b"\x89PNG"), ("f.svg", b"<?xml"),
                                             ("f.pdf", b"%PDF")])  # fmt: skip
@pytest.mark.parametrize("sweep", [("num_cols=2",), ("num_cols=1,2,4", "num_lanes=1")])
def test_plots(networks, out, name, start, sweep):
    """Also of a single point, and with two, three and four objectives."""
    options = [part for values in sweep for part in ("--sweep", values)]
    for objectives in ("cycles,multipliers", "cycles,energy,multipliers,storage_bytes"):
        result = explore(out, networks[0], *options, "--plot", name, "--objectives", objectives)
        assert result.exit_code == 0, result.output
        assert Path(name).read_bytes().startswith(start)
        assert f"plot: {name}" in result.stdout


def test_colours_only_where_they_are_wanted(networks, out):
    command = ["explore", "--network", str(networks[0]), "--sweep", "num_cols=1,2", "--sweep",
               "num_lanes=1", "--check", "0", "--jobs", "1"]  # fmt: skip
    status, said = in_terminal(command, NO_COLOR="1")
    assert status == 0
    assert "Pareto front" in said
    # Bold and italic are no colours, nor is what a bar of progress does to the cursor.
    assert not re.search(r"\x1b\[[\d;]*\b[349]\d", said)


# A cluster


def test_a_cluster_with_a_worker_killed_in_mid_sweep(networks, out, tmp_path):
    """Same rows as locally, none twice."""
    sweep = ("--sweep", "num_cols=2,4,8,16", "--sweep", "num_lanes=1,2", "--sweep",
             "spad_depth=2,4,8,16,32")  # fmt: skip
    local = tmp_path / "local.csv"
    assert explore(local, networks[1], *sweep).exit_code == 0
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Cluster(folder)
    try:
        cluster.start_workers(2)
        pids = workers(cluster)
        killer = threading.Thread(target=kill_when, args=(out, 5, pids[0]))
        killer.start()
        arguments = ("explore", "--network", networks[1], *sweep, "--check", 0, "--out", out,
                     "--cluster", cluster.address)  # fmt: skip
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
        killer.join()
        assert result.exit_code == 0, result.output
        assert pids[0] not in workers(cluster)
    finally:
        cluster.stop()
    assert len(read(out)) == 40
    assert sorted(out.read_bytes().splitlines()) == sorted(local.read_bytes().splitlines())


def workers(cluster):
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        return sorted(client.run(os.getpid).values())


def kill_when(file, lines, pid):
    wait_for("a few rows", lambda: file.exists() and file.read_bytes().count(b"\n") > lines)
    os.kill(pid, signal.SIGKILL)
