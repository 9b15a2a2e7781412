"""Options and fixtures that all tests share."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from pymtl3.passes.backends.verilog.import_.VerilogVerilatorImportConfigs import (
    VerilogVerilatorImportConfigs,
)

from tests.harness import Simulators
from tests.tools.random_networks import summary

# Where tests run in the background, the shell has had Ctrl-C ignored, and so would the programs
# that they start, and end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Chosen with --hypothesis-profile; "ci" is what runs without it.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, max_examples=30, **_COMMON)
settings.register_profile("more", derandomize=True, max_examples=150, **_COMMON)
# Those of a day are others than those of the day before: make daily gives the date for a seed.
settings.register_profile("daily", max_examples=60, print_blob=True, **_COMMON)
settings.register_profile("night", max_examples=3000, print_blob=True, **_COMMON)
settings.load_profile("ci")

UNSUPPORTED = ("test_yosys_verilog", "dump_textwave", "dump_vtb", "max_cycles")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--test-netlist",
        action="store_true",
        help="run RTL tests on the netlist that Yosys makes for an ECP5, in Verilator",
    )
    parser.addoption(
        "--rand-seed",
        type=int,
        default=0,
        metavar="N",
        help="with --test-verilog=rand: other values that registers and memories start with",
    )
    parser.addoption(
        "--rtl-coverage",
        type=Path,
        metavar="FOLDER",
        help="with --test-verilog: have Verilator count lines and toggles, into files there",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("test_netlist"):
        if config.getoption("test_verilog"):
            raise pytest.UsageError("choose one of --test-verilog and --test-netlist")
        # It goes the same way, with the netlist in the place of the Verilog.
        config.option.test_verilog = "rand"
    test_verilog = config.getoption("test_verilog")
    if test_verilog not in ("", "zeros", "ones", "rand"):
        raise pytest.UsageError(
            f"--test-verilog={test_verilog}: expected zeros, ones or rand; write "
            f"--test-verilog=zeros, since without a value the option swallows the next word"
        )
    seed = config.getoption("rand_seed")
    if seed and test_verilog != "rand":
        raise pytest.UsageError("--rand-seed is of --test-verilog=rand: give both")
    # PyMTL3 takes a seed in the place of "rand", but as text only, which then is none.
    VerilogVerilatorImportConfigs.get_vl_xinit_seed = lambda _: seed
    for option in UNSUPPORTED:
        if config.getoption(option):
            raise pytest.UsageError(f"--{option.replace('_', '-')} is not supported by these tests")
    if test_verilog and config.getoption("dump_vcd"):
        raise pytest.UsageError(
            "--dump-vcd works with PyMTL3's own simulation, not with --test-verilog"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --test-verilog only RTL is of interest: the other levels have no Verilog."""
    if not config.getoption("test_verilog"):
        return
    others = [
        item
        for item in items
        if hasattr(item, "callspec") and item.callspec.params.get("level", "rtl") != "rtl"
    ]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many random networks were run, on all workers together."""
    counts: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            counts.update(dict(report.user_properties).get("random networks", {}))
    if counts:
        terminalreporter.write_line(summary(counts))


@pytest.fixture(scope="session")
def cmdline_opts(request: pytest.FixtureRequest) -> dict[str, Any]:
    """PyMTL3's options. Its own fixture of this name has function scope, which Hypothesis rejects,
    and would not let simulators live longer than a test."""
    coverage = request.config.getoption("rtl_coverage")
    return {
        "test_verilog": request.config.getoption("test_verilog"),
        "test_netlist": request.config.getoption("test_netlist"),
        "rand_seed": request.config.getoption("rand_seed"),
        "rtl_coverage": coverage and coverage.resolve(),
        "dump_vcd": bool(request.config.getoption("dump_vcd")),
    }


@pytest.fixture(scope="session")
def simulators(
    cmdline_opts: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[Simulators]:
    """Builds ``simulators(component_class, cfg)``, once each."""
    built = Simulators(cmdline_opts, request.config.cache.mkdir("verilated"))
    yield built
    built.close()
