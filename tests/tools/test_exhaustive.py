"""Few of the sweeps of ``make exhaustive``, and that a difference is found: see
:mod:`tests.tools.exhaustive`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from accel.runtimes import qnnpack
from tests.tools import exhaustive

SWEEPS = exhaustive.everything(20, [*exhaustive.across(20), min(exhaustive.shipped())])


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exhaustive.build(20, tmp_path_factory.mktemp("exhaustive") / "right")


@pytest.mark.parametrize(
    "source",
    [None, exhaustive.kernel_outputs, exhaustive.numerics_outputs],
    ids=["rtl", "pytorch", "numerics"],
)
def test_every_accumulator_of_20_bits(driver: Path, source: exhaustive.Source | None) -> None:
    with qnnpack.engine(), qnnpack.quiet():
        assert [exhaustive.compare(driver, sweep, source) for sweep in SWEEPS] == [None] * 4


def test_one_wrong_output_is_found(driver: Path) -> None:
    sweep = SWEEPS[1]
    (right,) = exhaustive.numerics_outputs(sweep)
    wrong = right.copy()
    wrong[[777_777, 999_999]] ^= np.uint8([1, 128])
    found = exhaustive.compare(driver, sweep, lambda _: [wrong[:500_000], wrong[500_000:]])
    first = sweep.first + 777_777
    assert found == (sweep, 2, first, right[777_777], right[777_777] ^ 1)
    assert f"first accumulator {first} at 20 bits with multiplier 0x39800001" in str(found)
    for outputs in (right[:-1], np.append(right, right[-1])):
        with pytest.raises(RuntimeError, match="the driver failed"):
            exhaustive.compare(driver, sweep, lambda _, outputs=outputs: [outputs])


def test_a_fault_in_the_hardware_is_found(tmp_path: Path) -> None:
    """A product is cut to 24 bits, not rounded: few outputs of few multipliers show it."""

    def change(verilog: str) -> str:
        changed, count = re.subn(r"up8 = product7.*;", "up8 = 1'd0;", verilog)
        assert count == 2
        return changed

    faulty = exhaustive.build(20, tmp_path / "faulty", change)
    found = exhaustive.compare(faulty, SWEEPS[2], None)
    assert found is not None
    assert found[1:] == (4, -390885, 61, 62)


def test_every_triple_of_the_packed_multiplier(tmp_path: Path) -> None:
    """And that a carry which is a bit too short is found."""
    assert exhaustive.triples(tmp_path / "right", as_netlist=False)[0] == 0

    def change(verilog: str) -> str:
        changed, count = re.subn(r"carry = (.*);", r"carry = { {1'b0}, 7'(\1) };", verilog)
        assert count == 1
        return changed

    found = exhaustive.triples(tmp_path / "faulty", as_netlist=False, change=change)
    assert found[0] > 0
