"""Rough treatment of Verilated accelerators: resets in every cycle, random initial states, long
streams with pauses. ``make stress`` runs all of it.

What is done is in ``csrc/rough.cpp``, which is compiled with the accelerator.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from accel.compiler.compile import compile
from accel.console import console, working
from accel.errors import AccelError
from accel.fashion_mnist.data import bundled_network, test_images
from accel.fashion_mnist.training import to_input
from accel.hardware.config import PRESETS, AccelConfig
from accel.hardware.messages import Ints
from accel.network.graph import Network
from accel.runtimes.qnnpack import run_network
from accel.simulation import verilated
from tests.networks import Conv, Linear, random_images, random_network
from tests.system.hardware.test_accelerator import result_words

DRIVER = Path(__file__).parent / "csrc" / "rough.cpp"

OPTIONS = ("-O3", "--x-assign", "unique", "--x-initial", "unique", "--noassert", "-Wno-fatal")
"""What has no value may have any, also when the simulation starts."""

NUM_SEEDS = 1000
STREAM_CYCLES = 50_000_000
"""A simulation; there are two for each preset."""


def small_network(seed: int) -> tuple[Network, Ints]:
    """A network that is done in some hundred cycles, and images for it."""
    rng = np.random.default_rng(seed)
    layers = [Conv(5, (3, 3), 1, 1, True, True), Linear(7), Linear(4, relu=False)]
    network = random_network(rng, (2, 6, 5), layers, signed=True)
    return network, random_images(rng, network, 2)


def run(
    network: Network, images: NDArray[Any], cfg: AccelConfig, what: str, *numbers: int
) -> list[int]:
    """Calls the driver, and returns the numbers that it prints.

    images: as :func:`accel.simulate` takes them. Raises AssertionError with what the driver says
    went wrong.
    """
    program = compile(network, cfg)
    images = program.quantize(images)
    outputs = run_network(network, images)[-1].astype(np.int64)
    driver = verilated.build(cfg, DRIVER, OPTIONS)
    with tempfile.TemporaryDirectory(prefix="accel-") as folder:
        files = {
            "program": program.words,
            "images": program.pack_images(images),
            "results": result_words(program, outputs),
        }
        for name, words in files.items():
            np.array(words, "<u8").tofile(Path(folder) / name)
        paths = [str(Path(folder) / name) for name in files]
        command = [str(driver), *paths, str(len(images)), what, *map(str, numbers)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{cfg}, {what} {numbers}: {done.stderr.strip()}"
    return [int(number) for number in done.stdout.split()]


def said(text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False)


def main() -> None:
    """All on every preset; each line says what was done."""
    start = time.monotonic()
    small, few = small_network(1)
    network = bundled_network()
    images = to_input(test_images(1000, None).pixels).numpy()
    for name, cfg in PRESETS.items():
        with working(f"Building {name}"):
            verilated.build(cfg, DRIVER, OPTIONS)
        with working(f"Resets on {name}"):
            (resets,) = run(small, few, cfg, "resets")
        said(f"{name}: {resets:,} resets, one in every cycle of a run, and a right run after each")
        with working(f"Random states on {name}"):
            (starts,) = run(small, few, cfg, "seeds", NUM_SEEDS)
        said(f"{name}: a right run from each of {starts:,} random states")
        with working(f"Streams on {name}"):
            # Its streams hold up the small network, its layers the large one.
            work = (
                delayed(run)(*what, cfg, "stream", STREAM_CYCLES, 1)
                for what in ((network, images), (small, few))
            )
            streams = Parallel(n_jobs=os.cpu_count(), backend="threading")(work)
        for cycles, count in streams:
            said(f"{name}: a stream of {count:,} images with pauses, {cycles:,} cycles")
    said(f"no difference, {time.monotonic() - start:,.0f} s")


if __name__ == "__main__":
    try:
        main()
    except (AccelError, AssertionError) as e:
        sys.exit(f"error: {e}")
