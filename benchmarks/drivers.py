"""The compiled driver against a bare loop around the same model, and PyMTL3's import of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.errors import AccelError
from accel.fashion_mnist.training import to_input
from accel.hardware.config import base
from accel.runtimes.qnnpack import run_network
from accel.simulation import verilated
from accel.simulation.runner import Words
from benchmarks.common import BUILD, Spread, Table, check, each, images, network

NUM_IMAGES, NUM_IMPORT_IMAGES = 1000, 3
PAIRS, IMPORT_REPETITIONS = 9, 3
BARE = Path(__file__).with_name("bare.cpp")
NO_LIMIT = 2**62


def measure() -> dict[str, Any]:
    program = compile(network(), base)
    pixels = program.quantize(to_input(images(NUM_IMAGES).pixels).numpy())
    expected = run_network(network(), pixels)[-1].astype(np.int64)
    stream, words = np.array(program.words, np.uint64), program.pack_images(pixels)
    n, size = len(words), program.result_words

    def check_results(results: Words, what: str) -> None:
        outputs, winners = program.unpack_results(results)
        logits = expected[: len(outputs)]
        check(int((outputs != logits).sum() + (winners != logits.argmax(axis=1)).sum()), what)

    driver, bare = verilated.build(base), verilated.build(base, BARE)
    raw = np.asarray(verilated.run(driver, stream, words, size, NO_LIMIT), np.uint64)
    # After the results, the cycle of each image's first word, and of its last result.
    results, cycles = raw[: n * size].reshape(n, size), int(raw[n * size + 2 * n - 1]) + 1
    check_results(results, "the compiled driver")

    seconds: dict[str, list[float]] = {"driver": [], "bare": []}
    for pair in each("driver and bare loop", range(1, PAIRS + 1)):
        for which in ("driver", "bare") if pair % 2 else ("bare", "driver"):
            binary, limit = (driver, NO_LIMIT) if which == "driver" else (bare, cycles)
            start = time.perf_counter()
            words_out = verilated.run(binary, stream, words, size, limit)
            seconds[which].append(time.perf_counter() - start)
            if which == "bare" and list(words_out) != [results[-1, -1]]:
                raise AccelError(f"{BARE.name} does not end with the driver's last result word")

    top = _import_accelerator()
    imported = []
    for _ in each("PyMTL3's import", range(1, IMPORT_REPETITIONS + 1)):
        start = time.perf_counter()
        results, import_cycles = _drive(top, program, words[:NUM_IMPORT_IMAGES])
        imported.append(time.perf_counter() - start)
        check_results(results, "PyMTL3's import")
    return {
        "images": NUM_IMAGES,
        "cycles": cycles,
        "seconds": seconds,
        "import": {"images": NUM_IMPORT_IMAGES, "cycles": import_cycles, "seconds": imported},
    }


def _import_accelerator() -> Any:
    """The Verilated accelerator as the tests import it into PyMTL3."""
    from rtl_models.accelerator import AcceleratorRTL
    from tests.harness import Simulators

    simulators = Simulators({"test_verilog": "zeros", "dump_vcd": ""}, BUILD / "pymtl-import")
    return simulators(AcceleratorRTL, base).top


def _drive(top: Any, program: Program, words: Words) -> tuple[Words, int]:
    """What the compiled driver does, from Python: the results, and in how many cycles."""
    stream = [*program.words, *words.ravel().tolist()]
    sent = cycle = 0
    results: list[int] = []
    top.reset @= 1
    for _ in range(2):
        top.sim_eval_combinational()
        top.sim_edge()
    top.reset @= 0
    top.result.rdy @= 1
    while len(results) < len(words) * program.result_words:
        port, other = top.prog, top.image
        if sent >= len(program.words):
            port, other = other, port
        port.val @= sent < len(stream)
        port.msg @= stream[sent] if sent < len(stream) else 0
        other.val @= 0
        top.sim_eval_combinational()
        sent += int(port.val & port.rdy)
        if top.result.val:
            results.append(int(top.result.msg))
        top.sim_edge()
        cycle += 1
    return np.array(results, np.uint64).reshape(len(words), -1), cycle


def fill(part: dict[str, Any]) -> dict[str, Table | str]:
    seconds, imported = part["seconds"], part["import"]
    pairs = zip(seconds["driver"], seconds["bare"], strict=True)
    overhead = Spread.of([driver / bare - 1 for driver, bare in pairs])
    runs = (
        ("bare loop", part, seconds["bare"]),
        ("compiled driver", part, seconds["driver"]),
        ("PyMTL3's import", imported, imported["seconds"]),
    )
    rows = []
    for what, of, times in runs:
        rate = Spread.of([of["cycles"] / s for s in times]).text(",.0f")
        rows.append([what, of["images"], of["cycles"], Spread.of(times).text(), rate])
    return {
        "drivers": Table(("", "images", "cycles", "seconds", "cycles a second"), rows),
        "drivers_overhead": overhead.text(".1%"),
        "drivers_fastest": f"{min(seconds['driver']) / min(seconds['bare']) - 1:.1%}",
        "drivers_pairs": str(len(seconds["bare"])),
    }
