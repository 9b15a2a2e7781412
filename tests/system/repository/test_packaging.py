"""The wheel holds the packages and their data, and nothing else."""

import email
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests import ROOT

PACKAGES = ("accel", "cl_models", "fl_models", "rtl_models")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: a build leaves folders, and takes up those of earlier ones."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", *options, "-w", out, source], check=True
    )
    (made,) = out.iterdir()
    return made


def read(wheel, member):
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def test_it_holds_every_file_of_the_packages_and_no_other(wheel):
    expected = {
        str(path.relative_to(ROOT))
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {
        "accel/simulation/csrc/driver.cpp",
        "accel/reports/assets/report.js",
        "rtl_models/pe.py",
    } <= expected
    with zipfile.ZipFile(wheel) as archive:
        members = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert members == expected
    for member in sorted(expected):
        assert read(wheel, member) == (ROOT / member).read_bytes(), member


def test_it_carries_both_licences_and_the_command(wheel):
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    for licence in ("LICENSE", "accel/fashion_mnist/assets/LICENSE.fashion-mnist"):
        assert read(wheel, f"{info}/licenses/{licence}") == (ROOT / licence).read_bytes()
    assert b"accel = accel.cli:main" in read(wheel, f"{info}/entry_points.txt")


def test_its_metadata_says_what_it_needs(wheel):
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    metadata = email.message_from_bytes(read(wheel, f"{info}/METADATA"))
    assert metadata["Name"] == "accel-cnn"
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.15"}
    extras = {"board", "cluster", "litert", "onnx", "synth", "docs", "dev"}
    assert set(metadata.get_all("Provides-Extra")) == extras
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert any(line == "torch>=2.13" for line in needed)
    assert not any(line.startswith(("pytest", "hypothesis", "sphinx")) for line in needed)
    optional = [line for line in metadata.get_all("Requires-Dist") if "extra ==" in line]
    assert any(line.startswith("distributed>=") and line.endswith('"cluster"') for line in optional)
    assert metadata.get_payload().startswith("# accel\n")
