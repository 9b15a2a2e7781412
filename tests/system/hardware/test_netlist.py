"""The synthesized netlist of a whole accelerator on whole images, in a compiled simulation.

The units' tests, and the accelerator's, run on netlists with ``--test-netlist``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel.compiler.compile import compile
from accel.fashion_mnist import data
from accel.fashion_mnist.training import to_input
from accel.hardware.config import PRESETS
from accel.runtimes.qnnpack import run_network
from accel.simulation import verilated
from accel.simulation.runner import simulate
from accel.simulation.toolchain import find_toolchain
from accel.verilog.translation import module_name, translate
from tests.netlist import with_models


def test_whole_images(
    cmdline_opts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundled network on ``tiny``: outputs are PyTorch's, and every count and cycle that of the
    cycle-level model."""
    if not cmdline_opts["test_netlist"]:
        pytest.skip("only with --test-netlist: synthesis takes a minute")
    cfg = PRESETS["tiny"]
    network = data.bundled_network()
    program = compile(network, cfg)
    images = to_input(data.test_images(2, None).pixels).numpy()
    text = with_models(translate(cfg), module_name(cfg))
    verilated.compile_driver(text, cfg, find_toolchain(), verilated.driver_source(), tmp_path)
    monkeypatch.setattr(verilated, "build", lambda cfg: tmp_path / "obj" / "driver")
    found = simulate(program, images, level="verilator", jobs=1)
    expected = run_network(network, program.quantize(images))[-1]
    np.testing.assert_array_equal(found.outputs, expected)
    cycle_level = simulate(program, images, level="cl", jobs=1)
    for mine, theirs in zip(found.chunks[0], cycle_level.chunks[0], strict=True):
        np.testing.assert_array_equal(mine, theirs)
