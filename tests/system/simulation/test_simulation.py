"""The runner and the compiled simulation: same results, and clear words when something is wrong."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.errors import AccelError
from accel.hardware.config import AccelConfig, tiny
from accel.hardware.status import Activity
from accel.runtimes.qnnpack import run_network
from accel.simulation import toolchain, verilated
from accel.simulation.runner import CLStepper, simulate
from fl_models.accelerator import AcceleratorCoreFL
from tests.networks import Conv, Linear, random_images, random_network

SMALL = AccelConfig(
    num_cols=4, num_lanes=2, acc_nbits=26, spad_depth=4, act_depth=64, weight_depth=100,
    param_depth=20, max_layers=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def network():
    specs = [Conv(5, (3, 3), 1, 1, True, True), Linear(7, relu=False)]
    return random_network(np.random.default_rng(2), (2, 6, 5), specs, signed=True)


@pytest.fixture(scope="module")
def program(network) -> Program:
    return compile(network, SMALL)


@pytest.fixture(scope="module")
def images(network):
    return random_images(np.random.default_rng(3), network, 250)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache(shared_folder, monkeypatch) -> Path:
    """A cache for compiled simulations, empty for the first test that asks for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_folder))
    return shared_folder


@pytest.fixture
def no_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache for compiled simulations."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_no_one_reads_what_is_being_written(
    network, program, images, no_cache, monkeypatch
) -> None:
    """Block RAM may yield anything then, and the Verilog says that it may (``no_rw_check``)."""
    read = "rdata <= mem[raddr];"
    text = verilated.translate(SMALL)
    assert text.count(read) == text.count("(* no_rw_check *) logic") > 0

    def run(corrupted: str):
        monkeypatch.setenv("XDG_CACHE_HOME", str(no_cache / str(len(corrupted))))
        monkeypatch.setattr(verilated, "translate", lambda cfg: text.replace(read, corrupted))
        return simulate(program, images[:50], jobs=1).outputs

    expected = run_network(network, images[:50])[-1].reshape(50, -1)
    assert np.array_equal(
        run("rdata <= mem[raddr] ^ {$bits(rdata){wen && waddr == raddr}};"), expected
    )
    # The same corruption where reads do happen is seen.
    assert not np.array_equal(run("rdata <= mem[raddr] ^ {$bits(rdata){raddr == 2}};"), expected)


def test_compiled_simulation(network, program, images, cache) -> None:
    """Equal to PyTorch in value and to the cycle-level model in every count, in one piece or in
    several side by side; built once."""
    seen: list[int] = []
    first = simulate(program, images, jobs=2, progress=seen.append)
    assert seen[0] == 0
    assert seen[-1] == len(images)
    assert seen == sorted(seen)
    built = list(cache.rglob("driver"))
    assert len(built) == 1
    made = built[0].stat().st_mtime_ns
    again = simulate(program, images[:30], jobs=1)
    assert built[0].stat().st_mtime_ns == made
    assert not list(cache.rglob("building-*"))

    expected = run_network(network, images)[-1]
    np.testing.assert_array_equal(first.outputs, expected)
    np.testing.assert_array_equal(again.outputs, expected[:30])
    np.testing.assert_array_equal(first.winners, expected.argmax(axis=1))
    cycle_level = simulate(program, images[:30], level="cl", jobs=1)
    for chunk, other in zip(again.chunks, cycle_level.chunks, strict=False):
        n = min(len(chunk.results), len(other.results))
        for mine, theirs in zip(chunk[:-1], other[:-1], strict=True):
            np.testing.assert_array_equal(mine[:n], theirs[:n])
    np.testing.assert_array_equal(again.traffic, cycle_level.traffic)
    assert first.cycles_per_image == again.cycles_per_image == cycle_level.cycles_per_image
    assert first.latency_cycles == cycle_level.latency_cycles


def test_steady_state_adds_up(program, images) -> None:
    """The cycles of an image's layers are those from its last result to the next image's."""
    run = simulate(program, images[:9], level="cl", jobs=1)
    (chunk,) = run.chunks
    periods = np.diff(chunk.last_result.astype(int))
    np.testing.assert_array_equal(chunk.spent[1:-1].sum(axis=(1, 2)), periods[:-1])
    assert run.utilization == program.macs / (run.cycles_per_image * 36)


@pytest.mark.parametrize("level", ["cl", "rtl", "verilator"])
@pytest.mark.parametrize(
    ("cycles", "where"),
    [
        (5, r"with 0 of 4 result words, in layer 'layer0': step sequencer has no program"),
        (320, r"with \d of 4 result words, in layer 'layer0': step sequencer issues steps"),
    ],
)
def test_says_where_it_stood_at_its_limit(program, images, cache, level, cycles, where) -> None:
    expected = rf"level {level} stopped at its limit of {cycles} cycles {where}, PE array \w+"
    with pytest.raises(AccelError, match=expected):
        simulate(program, images[:2], level=level, max_cycles=cycles, jobs=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda x: x[:, :1],
            r"images must be numbers of shape \(N, 2, 6, 5\), not int64 \(250, 1,",
        ),
        (lambda x: x[0], r"images must be numbers of shape"),
        (lambda x: x + 1000, r"quantized images must hold values from -128 to 127, not"),
        (lambda x: x.astype(str), r"images must be numbers"),
        (lambda x: np.where(x > 0, np.nan, x), "images must be finite"),
        (lambda x: x[:0], "there are no images"),
    ],
)
def test_unsuitable_images_are_named(program, images, wrong, message) -> None:
    with pytest.raises(AccelError, match=message):
        simulate(program, wrong(images), level="fl")


def test_unknown_level_is_named(program, images) -> None:
    with pytest.raises(AccelError, match="unknown level 'gate': expected one of fl, cl, rtl"):
        simulate(program, images, level="gate")


def test_real_numbers_are_quantized(network, program, images) -> None:
    tensor = network.input
    real = ((images - tensor.zero_point) * np.float32(tensor.scale)).astype(np.float32)
    run = simulate(program, real[:5], level="fl")
    expected = run_network(network, images[:5])[-1].astype(int)
    np.testing.assert_array_equal(run.outputs, expected)
    output = network.output
    np.testing.assert_allclose(run.logits, (expected - output.zero_point) * output.scale)


@pytest.mark.parametrize("tool", ["g++", "make", "perl"])
def test_missing_tool_is_named(program, images, no_cache, monkeypatch, tmp_path, tool) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for other in ("g++", "make", "perl"):
        if other != tool:
            (folder / other).symlink_to(shutil.which(other))
    monkeypatch.setenv("PATH", str(folder))
    toolchain.find_toolchain.cache_clear()
    try:
        with pytest.raises(AccelError, match=rf"{re.escape(tool)} is not installed"):
            simulate(program, images)
    finally:
        toolchain.find_toolchain.cache_clear()


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ("error: no good", r"could not build the simulation of c4l2.*error: no good"),
        (
            "fatal error: error writing to x.s: No space left on device",
            r"no space left to build the simulation of c4l2.* XDG_CACHE_HOME and TMPDIR to folders",
        ),
    ],
)
def test_compiler_that_fails_is_named(
    program, images, no_cache, monkeypatch, tmp_path, said, match
) -> None:
    """And nothing is left that the next run would take for a build."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("g++", "c++"):
        (folder / name).write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(AccelError, match=match):
        simulate(program, images)
    assert not list(no_cache.rglob("driver"))
    assert not list(no_cache.rglob("building-*"))


def test_disk_that_is_full_is_named(program, images, no_cache, monkeypatch) -> None:
    """Where Verilator cannot even write that there is no space."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(AccelError, match="there is no space left to build"):
        verilated.build(program.cfg, options=("--no-such-option",))


def test_cache_that_cannot_be_written_is_named(program, images, monkeypatch, tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    with pytest.raises(AccelError, match=r"cannot keep a compiled simulation in .*XDG_CACHE_HOME"):
        simulate(program, images)
    assert file.read_text() == "mine"


def test_other_sources_are_another_build(monkeypatch, tmp_path) -> None:
    found, main = toolchain.find_toolchain(), verilated.driver_source()
    key = verilated._key(SMALL, found, main)
    assert key == verilated._key(SMALL, found, main)
    assert key != verilated._key(dataclasses.replace(SMALL, num_lanes=1), found, main)
    other_main = tmp_path / main.name
    other_main.write_text("other")
    assert key != verilated._key(SMALL, found, other_main)
    changed = tmp_path / "pe.py"
    changed.write_text("other")
    sources = verilated._sources()
    assert any(file.name == "pe.py" for file in sources)
    others = [changed if file.name == "pe.py" else file for file in sources]
    monkeypatch.setattr(verilated, "_sources", lambda: others)
    assert key != verilated._key(SMALL, found, main)


def test_all_that_the_verilog_is_made_from_is_in_the_key() -> None:
    """Whatever is imported for a translation; but for what writes files, says errors and locks."""
    code = (
        "import sys; from accel.hardware.config import PRESETS\n"
        "from accel.verilog.translation import translate\n"
        "translate(PRESETS['tiny'])\n"
        "print(*(m.__file__ for name, m in sys.modules.items()\n"
        "        if name.split('.')[0] in ('accel', 'rtl_models')), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    used = {Path(line) for line in done.stdout.splitlines()}
    assert len(used) > 40
    rest = used - set(verilated._sources())
    assert {file.name for file in rest} <= {
        "__init__.py",
        "errors.py",
        "files.py",
        "process_wide.py",
    }


def test_progress_shows_each_image(program, images) -> None:
    seen: list[int] = []
    simulate(program, images[:3], level="cl", progress=seen.append)
    assert seen == [0, 1, 2, 3, 3]


def test_hardware_that_names_a_class_that_there_is_not(monkeypatch):
    """Is wrong, and the run says so: it does not end in a traceback."""
    network = random_network(np.random.default_rng(0), (4,), [Linear(3)])
    program, real = compile(network, tiny), AcceleratorCoreFL.run
    monkeypatch.setattr(
        AcceleratorCoreFL, "run", lambda core, images: np.uint64(1 << 40) | real(core, images)
    )
    run = simulate(program, random_images(np.random.default_rng(1), network, 2), level="fl")
    assert run.winners.tolist() == [-1, -1]
    assert run.wrong_winners(run.outputs).all()


def test_hardware_that_begins_too_many_images(monkeypatch):
    """Is held to the outputs all the same."""
    network = random_network(np.random.default_rng(0), (4,), [Linear(3)])
    program, settle = compile(network, tiny), CLStepper.settle
    images = random_images(np.random.default_rng(1), network, 2)

    def begins(stepper, *words):
        taken = settle(stepper, *words)
        stepper.layer, stepper.activity = 0, Activity.HANDOVER
        return taken

    monkeypatch.setattr(CLStepper, "settle", begins)
    run = simulate(program, images, level="cl", jobs=1)
    assert run.mismatches(run_network(network, images)[-1]) == 0
