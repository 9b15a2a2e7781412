"""Every accumulator through the Verilated requantizer: ``make exhaustive``.

A compiled driver (``csrc/exhaustive.cpp``) feeds the requantizer a value a lane and cycle, and
compares each output with float32 arithmetic. The same arithmetic, in the same driver, is compared
with what PyTorch's kernels and ``accel.numerics`` make of the same accumulators. What is swept is
in :func:`groups`.

And every pair of weights with every activation goes through the packed multiplier, as Verilog and
as the netlist of an ECP5.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray

from accel import numerics
from accel.console import console, working
from accel.errors import AccelError
from accel.fashion_mnist.data import bundled_network
from accel.hardware.config import AccelConfig, base
from accel.runtimes import qnnpack
from accel.simulation import verilated
from accel.simulation.toolchain import find_toolchain
from accel.verilog.translation import module_name, translate_component
from rtl_models.packed_multiplier import PackedMultiplierRTL
from rtl_models.requantizer import RequantizerRTL
from tests.netlist import with_models

F32 = np.float32
ops = torch.ops.quantized

MAX_COUNT = 1 << 26
"""Accumulators of one call of the driver: a second or two."""

BLOCK = 1 << 16
"""Accumulators that a kernel makes of one bias."""

SMALLEST, LARGEST = 1 << 23, 254 << 23 | (1 << 23) - 1
"""Bits of the smallest and the largest multiplier: positive normal float32."""


class Requantization(NamedTuple):
    """What happens to an accumulator, without and with its bias."""

    multiplier: int
    """Bits of a float32."""
    zero_point: int
    signed: bool
    relu: bool
    bias: int

    @property
    def value(self) -> np.float32:
        return np.uint32(self.multiplier).view(F32)

    @property
    def limits(self) -> tuple[int, int]:
        return numerics.output_range(self.signed, self.relu, self.zero_point)


class Sweep(NamedTuple):
    """``count`` accumulators from ``first`` on, of that width, by one requantization."""

    acc_nbits: int
    how: Requantization
    first: int
    count: int


class Difference(NamedTuple):
    """How many outputs of a sweep differ, and the first of them."""

    sweep: Sweep
    count: int
    acc: int
    expected: int
    got: int

    def __str__(self) -> str:
        how = self.sweep.how
        return (
            f"{self.count:,} of {self.sweep.count:,} outputs differ: first accumulator {self.acc} "
            f"at {self.sweep.acc_nbits} bits with multiplier {how.multiplier:#010x} "
            f"({float(how.value).hex()}), zero point {how.zero_point}, limits {how.limits}, bias "
            f"{how.bias}: expected {self.expected}, got {self.got}"
        )


Source = Callable[[Sweep], Iterable[NDArray[np.uint8]]]
"""Yields the outputs of a sweep, piece by piece."""


class Group(NamedTuple):
    """Sweeps that are told of together; source: None for the Verilated requantizer."""

    name: str
    source: Source | None
    sweeps: list[Sweep]


# What is swept


def shipped() -> list[Requantization]:
    """Those of the bundled network, each once, with the bias of the first channel that has it."""
    found: dict[tuple[int, int, bool, bool], Requantization] = {}
    for layer in bundled_network().layers:
        output = layer.output
        bits = layer.multiplier.view(np.uint32).tolist()
        for multiplier, bias in zip(bits, layer.folded_bias.tolist(), strict=True):
            key = multiplier, output.zero_point, output.signed, layer.relu
            found.setdefault(key, Requantization(*key, bias))
    return list(found.values())


def with_settings(multipliers: Iterable[int]) -> list[Requantization]:
    """Each with one of some zero points, signed or not, with ReLU or not, and biases, in turn."""
    settings = [
        (130, False, False, 0),
        (-7, True, False, 2**31 - 1),
        (3, False, True, -(2**31)),
        (-100, True, True, 98765),
        (255, False, False, -1),
    ]
    return [
        Requantization(multiplier, *settings[i % len(settings)])
        for i, multiplier in enumerate(multipliers)
    ]


def spread() -> list[Requantization]:
    """Every power of two that is a multiplier, its neighbours, and the largest multiplier."""
    near = {power + offset for power in range(SMALLEST, LARGEST, 1 << 23) for offset in (-1, 0, 1)}
    return with_settings(sorted({m for m in near if m >= SMALLEST} | {LARGEST}))


def across(acc_nbits: int) -> list[Requantization]:
    """Three that spread all accumulators of a width over the outputs, without ReLU and in the
    middle of the range: the neighbours of a power of two, and one that rounds twice."""
    power = int(F32(2.0 ** (8 - acc_nbits)).view(np.uint32))
    twice = int(F32(float.fromhex("0x1.64c81ep0") * 2.0 ** (7 - acc_nbits)).view(np.uint32))
    settings = [(128, False), (0, True), (128, False)]
    return [
        Requantization(multiplier, zero_point, signed, False, 12345)
        for multiplier, (zero_point, signed) in zip(
            (power - 1, power + 1, twice), settings, strict=True
        )
    ]


def everything(acc_nbits: int, hows: list[Requantization]) -> list[Sweep]:
    """All accumulators of a width."""
    return [Sweep(acc_nbits, how, -(1 << acc_nbits - 1), 1 << acc_nbits) for how in hows]


def groups() -> list[Group]:
    """All that ``make exhaustive`` runs: 2**25 accumulators are more than any layer of the
    bundled network can reach."""
    found = shipped()
    # One that rounds often where it matters, and one that the bundled network has.
    wide = [across(32)[2], min(found)]
    middle = [Sweep(32, how, -(1 << 24), 1 << 25) for how in found]
    ends = [
        Sweep(32, how, first, BLOCK) for how in found for first in (-(1 << 31), (1 << 31) - BLOCK)
    ]
    # Of a product of 2**31 or more, kernels on x86 make the smallest integer: see docs/numerics.md.
    fit_kernels = [how for how in spread() if how.value < 2.0**12]
    return [
        Group("25 bits, the bundled network", None, everything(25, found)),
        Group("32 bits, the bundled network", None, middle + ends),
        Group("20 bits, powers of two and their neighbours", None, everything(20, spread())),
        *(
            Group(f"{n} bits, three multipliers", None, everything(n, across(n)))
            for n in range(20, 29)
        ),
        Group("32 bits, two multipliers", None, everything(32, wide)),
        Group("PyTorch, the bundled network", kernel_outputs, middle + ends),
        Group("PyTorch, powers of two", kernel_outputs, everything(20, fit_kernels)),
        Group("PyTorch, two multipliers", kernel_outputs, everything(32, wide)),
        Group("accel.numerics, powers of two", numerics_outputs, everything(20, spread())),
    ]


# Where outputs come from


def build(acc_nbits: int, place: Path, change: Callable[[str], str] = str) -> Path:
    """The driver with the requantizer of that width; change: what to do to its Verilog first."""
    cfg = requantizer_config(acc_nbits)
    place.mkdir()
    verilog = change(translate_component(RequantizerRTL(cfg), module_name(cfg)))
    main = Path(__file__).parent / "csrc" / "exhaustive.cpp"
    verilated.compile_driver(verilog, cfg, find_toolchain(), main, place)
    return place / "obj" / "driver"


def requantizer_config(acc_nbits: int) -> AccelConfig:
    """As wide as a message of its output can be, with two beats a vector: full rate."""
    return dataclasses.replace(base, num_cols=16, num_lanes=8, acc_nbits=acc_nbits)


def kernel_outputs(sweep: Sweep) -> Iterator[NDArray[np.uint8]]:
    """Those of PyTorch's QNNPACK kernel; 65536 accumulators share an output channel.

    A linear layer of six inputs, with ``sx == sy == 1``: two bytes, the upper one at weights that
    add up to 256, and what the float bias misses of an integer as 100 times and once a weight.
    """
    how = sweep.how
    low, high, one = np.arange(BLOCK) % 256, np.arange(BLOCK) // 256, np.ones(BLOCK, np.int64)
    x = np.stack([low, high, high, high, 100 * one, one], axis=1)
    qx = torch._make_per_tensor_quantized_tensor(torch.from_numpy(x.astype(np.uint8)), 1.0, 0)
    run = ops.linear_relu if how.relu else ops.linear
    shift = 128 if how.signed else 0
    for start in range(sweep.first, sweep.first + sweep.count, 256 * BLOCK):
        acc = np.arange(start, min(start + 256 * BLOCK, sweep.first + sweep.count), BLOCK)
        bias = acc.astype(F32) * how.value
        rest = acc - numerics.quantize_bias(bias, 1, how.value)
        hundreds = np.rint(rest / 100).astype(np.int64)
        columns = np.broadcast_arrays(1, 127, 127, 2, hundreds, rest - 100 * hundreds)
        w = np.stack(columns, axis=1)
        assert np.abs(w).max() <= 127
        qw = torch._make_per_tensor_quantized_tensor(
            torch.from_numpy(w.astype(np.int8)), float(how.value), 0
        )
        packed = ops.linear_prepack(qw, torch.from_numpy(bias))
        y = run(qx, packed, 1.0, how.zero_point + shift).int_repr().numpy()
        yield np.ascontiguousarray(y.T) ^ np.uint8(shift)


def numerics_outputs(sweep: Sweep) -> Iterator[NDArray[np.uint8]]:
    """Those of :func:`accel.numerics.requantize`."""
    how = sweep.how
    acc = np.arange(sweep.first, sweep.first + sweep.count)
    y = numerics.requantize(acc, how.value, how.zero_point, *how.limits)
    yield (y & 0xFF).astype(np.uint8)


# Running


def compare(driver: Path, sweep: Sweep, source: Source | None) -> Difference | None:
    """One sweep through the driver."""
    how = sweep.how
    numbers = (
        sweep.acc_nbits, how.bias, how.multiplier, how.zero_point, *how.limits, sweep.first,
        sweep.count,
    )  # fmt: skip
    command = [driver, "stdin" if source else "rtl", *map(str, numbers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        for outputs in source(sweep) if source else ():
            process.stdin.write(outputs)
        process.stdin.close()
        said = process.stdout.read().split()
    if process.returncode:
        raise RuntimeError(f"the driver failed: {' '.join(map(str, command))}")
    count, *first = map(int, said)
    return Difference(sweep, count, *first) if count else None


def pieces(sweep: Sweep) -> list[Sweep]:
    """The sweep in parts that take a second or two."""
    end = sweep.first + sweep.count
    return [
        sweep._replace(first=first, count=min(MAX_COUNT, end - first))
        for first in range(sweep.first, end, MAX_COUNT)
    ]


def run(group: Group, driver: Path, done: Callable[[int], None]) -> list[Difference]:
    """The group on all cores. done: called with the number of outputs compared so far."""
    parts = [part for sweep in group.sweeps for part in pieces(sweep)]
    # What computes is another process, or PyTorch, which frees the lock.
    runner = Parallel(n_jobs=os.cpu_count(), backend="threading", return_as="generator")
    found, total = [], 0
    with qnnpack.engine(), qnnpack.quiet():
        work = (delayed(compare)(driver, part, group.source) for part in parts)
        for part, difference in zip(parts, runner(work), strict=True):
            total += part.count
            done(total)
            if difference:
                found.append(difference)
    return found


def triples(place: Path, *, as_netlist: bool, change: Callable[[str], str] = str) -> list[int]:
    """How many of the 2**25 triples of two weights and an activation the packed multiplier gets
    wrong, and the first of those; change: what to do to its Verilog first."""
    place.mkdir()
    name = module_name(base)
    verilog = change(translate_component(PackedMultiplierRTL(), name))
    if as_netlist:
        verilog = with_models(verilog, name)
    main = Path(__file__).parent / "csrc" / "packed_multiplier.cpp"
    verilated.compile_driver(verilog, base, find_toolchain(), main, place)
    command = [place / "obj" / "driver"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(number) for number in done.stdout.split()]


def multiply_all(folder: Path) -> int:
    """Prints what :func:`triples` finds, and returns how many are wrong."""
    wrong = 0
    for what, as_netlist in (("Verilog", False), ("netlist", True)):
        began = time.monotonic()
        with working(f"The packed multiplier as {what}"):
            differ, a, b, x = triples(folder / what, as_netlist=as_netlist)
        wrong += differ
        console.print(
            f"packed multiplier as {what}: {1 << 25:,} triples, {differ:,} wrong"
            + (f", first a = {a}, b = {b}, x = {x}" if differ else "")
            + f", {time.monotonic() - began:,.0f} s",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
    return wrong


def main() -> int:
    torch.set_num_threads(1)
    drivers: dict[int, Path] = {}
    values = differences = 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="accel-") as folder:
        wrong = multiply_all(Path(folder))
        for group in groups():
            began = time.monotonic()
            count = sum(sweep.count for sweep in group.sweeps)
            # Of the driver for another source, the requantizer is not used.
            acc_nbits = group.sweeps[0].acc_nbits
            if acc_nbits not in drivers:
                with working(f"Building the requantizer of {acc_nbits} bits"):
                    drivers[acc_nbits] = build(acc_nbits, Path(folder) / str(acc_nbits))
            with working(group.name, "values", count) as work:
                found = run(group, drivers[acc_nbits], work.show)
            differ = sum(difference.count for difference in found)
            console.print(
                f"{group.name}: {len(group.sweeps):,} sweeps, {count:,} values, {differ:,} "
                f"differences, {time.monotonic() - began:,.0f} s",
                soft_wrap=True, highlight=False,
            )  # fmt: skip
            for difference in found[:10]:
                console.print(f"  {difference}", soft_wrap=True, highlight=False)
            values, differences = values + count, differences + differ
    console.print(
        f"{values:,} values in all, {differences:,} differences, "
        f"{time.monotonic() - start:,.0f} s",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    return 1 if differences or wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AccelError, RuntimeError) as e:
        sys.exit(f"error: {e}")
