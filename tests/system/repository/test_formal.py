"""One formal proof, and that it can fail; `make formal` has all of them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from accel.errors import AccelError
from formal import prove
from formal.proofs import PROOFS
from tests import ROOT

PROOF = next(proof for proof in PROOFS if proof.unit == "pooling unit")


@pytest.fixture(autouse=True)
def build(monkeypatch, tmp_path):
    monkeypatch.setattr(prove, "BUILD", tmp_path)


def test_pooling_unit():
    assert not prove.prove(PROOF, "tiny").failed
    outcome = prove.prove(PROOF, "tiny", PROOF.faults[0])
    assert outcome.failed.startswith("pooling_unit.sv:")
    assert outcome.trace.exists()


def test_a_missing_invariant_is_no_proof(tmp_path):
    """What holds for as long as one looks, but does not follow from itself."""
    counts = tmp_path / "counts.sv"
    counts.write_text(
        "reg [7:0] f_count = 0;\n"
        "always @(posedge clk) f_count <= f_count + 1;\n"
        "always @(*) assert (f_count < 100);\n"
    )
    proof = dataclasses.replace(PROOF, properties={"top": str(counts)})
    assert prove.prove(proof, "tiny").failed == "no induction, counts.sv:3 needs an invariant"


def test_a_fault_that_nothing_becomes_is_refused():
    fault = prove.Fault("none", "no such text", "")
    proof = dataclasses.replace(PROOF, faults=(fault,))
    with pytest.raises(AccelError, match="nothing to replace for the fault 'none'"):
        prove.prove(proof, "tiny", fault)


def test_unknown_unit():
    command = [sys.executable, "-m", "formal", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown unit 'nonsense': expected some of queue of two, ")


def test_documents_say_what_is_bounded():
    bounded = [proof for proof in PROOFS if proof.bounded]
    depths = sorted({proof.depth for proof in bounded})
    readme = (ROOT / "README.md").read_text()
    assert f"| {len(PROOFS)} properties of units (`make formal`)" in readme
    forever = f"| {len(PROOFS) - len(bounded)} proven without limit in time, "
    assert f"{forever}{len(bounded)} of progress for {depths[0]} to {depths[-1]} cycles" in readme
    for proof in bounded:
        assert proof.unit.startswith("progress of ")
