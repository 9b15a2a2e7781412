"""Runs images on an accelerator at any level: the one runner for all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from accel.compiler.program import Program
from accel.errors import AccelError
from accel.hardware.config import AccelConfig
from accel.hardware.status import STREAMS, TRAFFIC, Activity
from accel.parallel import run_tasks
from accel.process_wide import PYMTL3
from accel.simulation import verilated

LEVELS = ("fl", "cl", "rtl", "verilator")

# As in csrc/driver.cpp
NUM_LAYERS, NUM_ACTIVITIES = 64, 16

Words = NDArray[np.uint64]
Progress = Callable[[int], None]


class Chunk(NamedTuple):
    """What one simulation of n images yields, each number as the compiled driver counts it."""

    results: Words
    """(n, result_words)"""
    first_word: Words | None
    """(n,) cycle in which an image's first word was taken; None where there is no time."""
    last_result: Words | None
    """(n,) cycle of its last result."""
    spent: Words | None
    """(n, layers, activities) cycles."""
    traffic: Words
    """(layers, counters of :data:`accel.hardware.status.TRAFFIC`) of all n images together."""


@dataclass(frozen=True, kw_only=True)
class BoardFigures:
    """What a board, and the line to it, say of a run."""

    activity: dict[str, int]
    """Cycles at each of :class:`accel.hardware.status.Activity`, by its name in small letters."""
    counted_images: int
    """Images that the counters are of: all of them, or those since the last fresh start."""
    bytes_sent: int
    bytes_received: int
    loads: int
    """How often the program was loaded: not at all where the board had it."""
    fresh_starts: int
    """How often the line broke, and everything was begun anew."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came out of a simulation or a board, and in how many cycles."""

    level: str
    program: Program
    outputs: NDArray[np.int64]
    """(N, *output shape): the last layer's integers."""
    winners: NDArray[np.int64]
    """(N,): index of the winning class, as the hardware says it; -1 if it says one that there is
    not."""
    seconds: float
    """Without ``build_seconds``."""
    build_seconds: float
    """For the compiled simulation, or to load the program into a board."""
    chunks: tuple[Chunk, ...]
    board: BoardFigures | None = None
    """At level board alone."""

    def wrong_winners(self, expected: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether an image's winning class is not that of the first largest of its outputs in
        ``expected``, (N, *output shape): (N,)."""
        # The first in the order in which the hardware yields them.
        order = np.argsort(self.program.output_bytes)
        logits = expected.reshape(len(expected), -1)[:, order]
        wrong: NDArray[np.bool_] = self.winners != order[logits.argmax(axis=1)]
        return wrong

    def mismatches(self, expected: NDArray[np.int64]) -> int:
        """Outputs that differ from ``expected``, (N, *output shape), and wrong winners."""
        return int((self.outputs != expected).sum() + self.wrong_winners(expected).sum())

    @property
    def logits(self) -> NDArray[np.float64]:
        """The outputs as real numbers."""
        output = self.program.output
        return (self.outputs - output.zero_point) * np.float64(output.scale)

    @cached_property
    def spent(self) -> NDArray[np.float64] | None:
        """Cycles per image, layer and activity, (layers, activities): the mean over images in
        steady state, or over first images where each was alone; None at levels fl and board.

        An image is in steady state when another was under way as it was loaded.
        """
        if self.chunks[0].spent is None:
            return None
        spent = [c.spent[1:] for c in self.chunks if c.spent is not None and len(c.spent) > 1]
        spent = spent or [c.spent for c in self.chunks if c.spent is not None]
        mean: NDArray[np.float64] = np.concatenate(spent).mean(axis=0)
        return mean[: len(self.program.layers), : len(Activity)]

    @cached_property
    def traffic(self) -> NDArray[np.float64]:
        """What the hardware counted for each layer: (layers, counters of
        :data:`accel.hardware.status.TRAFFIC`), an image on average."""
        total = np.sum([c.traffic for c in self.chunks], axis=0)
        images = len(self.outputs) if self.board is None else self.board.counted_images
        return total[: len(self.program.layers)] / images

    @property
    def cycles_per_image(self) -> float | None:
        """From one image to the next in steady state; the latency where there was one image."""
        if self.spent is None:
            return None
        if all(len(c.results) == 1 for c in self.chunks):
            return float(self.latency_cycles or 0)
        return float(self.spent.sum())

    @property
    def latency_cycles(self) -> int | None:
        """From an image's first word to its last result, both counted, on an idle accelerator."""
        latencies = [
            int(c.last_result[0] - c.first_word[0]) + 1
            for c in self.chunks
            if c.last_result is not None and c.first_word is not None
        ]
        return max(latencies, default=None)

    @property
    def cycles(self) -> int | None:
        """All cycles simulated, the loading of programs among them."""
        if self.chunks[0].last_result is None:
            return None
        return sum(int(c.last_result[-1]) + 1 for c in self.chunks if c.last_result is not None)

    @property
    def utilization(self) -> float | None:
        """Multiply-accumulates over what all multipliers could do in that time."""
        if self.cycles_per_image is None:
            return None
        return self.program.macs / (self.cycles_per_image * self.program.cfg.num_multipliers)


def simulate(
    program: Program,
    images: NDArray[Any],
    *,
    level: str = "verilator",
    jobs: int | None = None,
    cluster: str | None = None,
    max_cycles: int | None = None,
    pauses: int = 0,
    progress: Progress | None = None,
) -> Run:
    """Classify ``images`` on the accelerator of ``program.cfg``.

    images: (N, *input shape), float32 as the float network takes them, or integers already
    quantized. level: ``fl`` (functional), ``cl`` (cycle level), ``rtl`` (PyMTL3's own simulator)
    or ``verilator`` (compiled). jobs: simulations side by side; as many as cores if None.
    cluster: address of a Dask scheduler, whose workers simulate instead, as
    :func:`accel.parallel.run_tasks` says; each builds what it needs. The results are the same.
    max_cycles: limit of each simulation; generous if None. pauses: seed, from 1 to 2**64 - 1, of
    random pauses before words are offered and results taken, the same at each level that has
    cycles; 0 for none. progress: called with 0 when building is
    done, then with the number of images done so far.

    Raises :class:`AccelError` for unsuitable images, an unknown level, a missing tool, or a
    simulation that reaches its limit: the message says where the hardware stood.
    """
    check_level(level)
    if not isinstance(program, Program):
        raise AccelError(
            f"accel.simulate takes a program, which accel.compile makes of a network, not "
            f"{type(program).__name__}"
        )
    quantized = program.quantize(images)
    if not len(quantized):
        raise AccelError("there are no images: give at least one")
    words = program.pack_images(quantized)
    size = _chunk_size(level, len(words))
    parts = [words[i : i + size] for i in range(0, len(words), size)]
    # Of 256 cycles, pauses take up to 232.
    limit = max_cycles or default_limit(program, size) * (16 if pauses else 1)
    simulation = partial(_run_chunk, level, program, limit, pauses)

    start = time.monotonic()
    if level == "verilator" and cluster is None:
        verilated.build(program.cfg)
    build_seconds = time.monotonic() - start

    if progress is not None:
        progress(0)
    start = time.monotonic()
    chunks: dict[int, Chunk] = {}

    def done(in_chunk: int = 0) -> None:
        if progress is not None:
            progress(sum(len(c.results) for c in chunks.values()) + in_chunk)

    for index, chunk in _run_chunks(level, simulation, parts, jobs, cluster, done):
        chunks[index] = chunk
        done()
    ordered = tuple(chunks[index] for index in range(len(parts)))
    return finish(level, program, ordered, time.monotonic() - start, build_seconds)


def finish(
    level: str,
    program: Program,
    chunks: tuple[Chunk, ...],
    seconds: float,
    build_seconds: float,
    board: BoardFigures | None = None,
) -> Run:
    """The run whose images yielded these chunks, in their order."""
    words = np.concatenate([c.results for c in chunks])
    # Hardware that is wrong may name a class that there is not.
    unknown = words[:, -1] >= program.output.size
    outputs, winners = program.unpack_results(
        np.where(unknown[:, None] & (np.arange(words.shape[1]) == words.shape[1] - 1), 0, words)
    )
    winners = np.where(unknown, -1, winners)
    return Run(
        level=level,
        program=program,
        outputs=outputs,
        winners=winners,
        chunks=chunks,
        seconds=seconds,
        build_seconds=build_seconds,
        board=board,
    )


def check_level(level: str, levels: Sequence[str] = LEVELS) -> None:
    """Raises :class:`AccelError` if there is no such level."""
    if level not in levels:
        raise AccelError(f"unknown level '{level}': expected one of {', '.join(levels)}")


def _chunk_size(level: str, num_images: int) -> int:
    """Images of one simulation: enough to outweigh loading the program, few enough for progress
    to show. The same wherever they run, and so are all numbers that come out."""
    least = {"fl": 100, "cl": 10, "rtl": 3, "verilator": 100}[level]
    return max(least, min(500, -(-num_images // 16)))


def _run_chunks(
    level: str,
    simulation: Callable[..., Chunk],
    parts: list[Words],
    jobs: int | None,
    cluster: str | None,
    done: Progress,
) -> Iterator[tuple[int, Chunk]]:
    """Each part's index and what came out of it, in any order."""
    if cluster is not None:
        yield from run_tasks(simulation, parts, jobs=jobs, cluster=cluster)
        return
    jobs = min(jobs or os.cpu_count() or 1, len(parts))
    if jobs == 1:
        yield from ((index, simulation(part, done)) for index, part in enumerate(parts))
    elif level in ("fl", "verilator"):
        # Compiled simulations are processes of their own; NumPy frees the lock.
        runner = Parallel(n_jobs=jobs, backend="threading", return_as="generator")
        yield from enumerate(runner(delayed(simulation)(part) for part in parts))
    else:
        yield from run_tasks(simulation, parts, jobs=jobs)


def default_limit(program: Program, num_images: int) -> int:
    """Several times what the slowest program takes."""
    image = program.steps + program.image_words + program.result_words
    # A layer without pooling can keep the requantizer busier than the array.
    requantize = program.cfg.num_beats + 1
    return 10_000 + 2 * len(program.words) + 2 * num_images * (requantize * image + 10_000)


def _run_chunk(
    level: str,
    program: Program,
    limit: int,
    pauses: int,
    images: Words,
    done: Progress | None = None,
) -> Chunk:
    """One simulation, from reset to the last result. done: called with the images of it that are
    done, where that is known on the way."""
    if level == "fl":
        # Imported here, and below, so that a run loads only what it needs.
        from fl_models.accelerator import AcceleratorCoreFL

        core = AcceleratorCoreFL(program.cfg)
        core.load(program.words)
        return Chunk(core.run(images), None, None, None, _traffic(core.program.traffic.get))
    if level == "verilator":
        driver = verilated.build(program.cfg)
        words = np.array(program.words, np.uint64)
        raw = verilated.run(driver, words, images, program.result_words, limit, pauses)
        if isinstance(raw, list):
            raise _stopped(program, level, limit, len(images), *raw)
        return _parse(program, raw, len(images))
    steppers: dict[str, Callable[[AccelConfig], Stepper]] = {"cl": CLStepper, "rtl": RTLStepper}
    stepper = steppers[level](program.cfg)
    return _step_through(stepper, level, program, images, limit, Pauses(pauses), done)


def _parse(program: Program, raw: Words, n: int) -> Chunk:
    """The compiled driver's output file."""
    sizes = np.cumsum([n * program.result_words, n, n, n * NUM_LAYERS * NUM_ACTIVITIES])
    results, first_word, last_result, spent, traffic = np.split(raw, sizes)
    return Chunk(
        results.reshape(n, -1),
        first_word,
        last_result,
        spent.reshape(n, NUM_LAYERS, NUM_ACTIVITIES),
        traffic.reshape(NUM_LAYERS, len(TRAFFIC)),
    )


def _traffic(counters: Callable[[int], Any]) -> Words:
    """``counters(layer)`` of all layers, zeros where it is None."""
    nothing = [0] * len(TRAFFIC)
    return np.array([counters(layer) or nothing for layer in range(NUM_LAYERS)], np.uint64)


class Pauses:
    """Which streams go on, cycle by cycle: the numbers of the class of this name in
    csrc/driver.cpp."""

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < 1 << 64:
            raise AccelError(f"the seed of the pauses must be from 0 to 2**64 - 1, not {seed}")
        self._state = seed
        for _ in range(20):
            self._step()
        self._pause = [(0, 32, 128, 232)[self._step() >> 32 & 3] for _ in range(3)]

    def go(self) -> tuple[bool, bool, bool]:
        """Whether, in the next cycle, the program's next word may be offered, the images', and
        whether a result is taken."""
        random = self._step() >> 32
        prog, image, result = (random >> 8 * i & 255 >= self._pause[i] for i in range(3))
        return prog, image, result

    def _step(self) -> int:
        x = self._state
        x ^= x << 13 & (1 << 64) - 1
        x ^= x >> 7
        x ^= x << 17 & (1 << 64) - 1
        self._state = x
        return x


class Stepper(Protocol):
    """An accelerator that is simulated cycle by cycle in Python."""

    layer: int
    activity: int

    @property
    def streams(self) -> int: ...

    def settle(
        self, prog: int | None, image: int | None, rdy: bool = True
    ) -> tuple[bool, bool, int | None]:
        """A clock cycle up to its end: whether the offered words are taken, and the result if one
        comes and ``rdy`` takes it. ``layer``, ``activity`` and ``streams`` are this cycle's."""
        ...

    def edge(self) -> None:
        """The clock edge that ends the cycle."""
        ...

    def traffic(self, layer: int) -> list[int] | None:
        """The counters of a layer, at rest; None if the hardware has no such layer."""
        ...


class CLStepper:
    def __init__(self, cfg: AccelConfig) -> None:
        from cl_models.accelerator import AcceleratorCoreCL

        self.core: Any = AcceleratorCoreCL(cfg)

    def settle(
        self, prog: int | None, image: int | None, rdy: bool = True
    ) -> tuple[bool, bool, int | None]:
        core = self.core
        core.evaluate(rdy)
        self.layer, self.activity = core.layer, core.activity
        took_prog = prog is not None and core.prog_rdy
        took_image = image is not None and core.image_rdy
        self.inputs = (
            prog is not None,
            prog if took_prog else None,
            image if took_image else None,
            rdy,
        )
        return took_prog, took_image, core.result if rdy else None

    def edge(self) -> None:
        self.core.tick(*self.inputs)

    @property
    def streams(self) -> int:
        return int(self.core.streams)

    def traffic(self, layer: int) -> list[int] | None:
        counters: list[int] | None = self.core.program.traffic.get(layer)
        return counters


class RTLStepper:
    def __init__(self, cfg: AccelConfig, look: Callable[[Any], None] | None = None) -> None:
        """look: called with the elaborated hardware, whose signals have no values yet."""
        from accel.hardware.pymtl import prepare
        from rtl_models.accelerator import AcceleratorRTL

        self.num_layers = cfg.max_layers
        self.top: Any = AcceleratorRTL(cfg)
        with PYMTL3:
            self.top.elaborate()
            if look is not None:
                look(self.top)
            prepare(self.top)
        self.top.sim_reset()

    def settle(
        self, prog: int | None, image: int | None, rdy: bool = True
    ) -> tuple[bool, bool, int | None]:
        top = self.top
        for port, word in ((top.prog, prog), (top.image, image)):
            port.val @= word is not None
            if word is not None:
                port.msg @= word
        top.result.rdy @= rdy
        top.sim_eval_combinational()
        self.layer, self.activity = int(top.layer), int(top.activity)
        result = int(top.result.msg) if top.result.val & top.result.rdy else None
        taken = bool(top.prog.val & top.prog.rdy), bool(top.image.val & top.image.rdy)
        return *taken, result

    def edge(self) -> None:
        self.top.sim_edge()

    @property
    def streams(self) -> int:
        return int(self.top.streams)

    def traffic(self, layer: int) -> list[int] | None:
        if layer >= self.num_layers:
            return None
        self.top.traffic_layer @= layer
        self.top.sim_eval_combinational()
        return [int(getattr(self.top, name)) for name in TRAFFIC]


def _step_through(
    stepper: Stepper,
    level: str,
    program: Program,
    images: Words,
    limit: int,
    pauses: Pauses,
    done: Progress | None,
) -> Chunk:
    """What the compiled driver does, in Python: see csrc/driver.cpp."""
    n, image_words = images.shape
    words, pixels = program.words, images.ravel().tolist()
    results: list[int] = []
    first_word, last_result = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
    spent = np.zeros((n + 1, NUM_LAYERS, NUM_ACTIVITIES), np.uint64)
    cycle = next_word = next_pixel = 0
    at = -1
    prog: int | None = None
    image: int | None = None
    while len(results) < n * program.result_words:
        if cycle == limit:
            raise _stopped(
                program,
                level,
                limit,
                n,
                len(results),
                stepper.layer,
                stepper.activity,
                stepper.streams,
            )
        prog_goes, image_goes, result_goes = pauses.go()
        # A word that was offered stays so until it is taken.
        if prog is None and prog_goes and next_word < len(words):
            prog = words[next_word]
        loaded = next_word == len(words)
        if image is None and image_goes and loaded and next_pixel < len(pixels):
            image = pixels[next_pixel]
        took_prog, took_image, result = stepper.settle(prog, image, result_goes)
        if took_prog:
            prog = None
        next_word += took_prog
        if took_image:
            if next_pixel % image_words == 0:
                first_word[next_pixel // image_words] = cycle
            next_pixel += 1
            image = None
        if result is not None:
            results.append(result)
            if len(results) % program.result_words == 0:
                last_result[len(results) // program.result_words - 1] = cycle
                if done is not None:
                    done(len(results) // program.result_words)
        if stepper.activity == Activity.HANDOVER and stepper.layer == 0:
            at += 1
        # Hardware that is wrong may begin more images than there are.
        if 0 <= at <= n:
            spent[at, stepper.layer, stepper.activity] += 1
        stepper.edge()
        cycle += 1
    shaped = np.array(results, np.uint64).reshape(n, -1)
    return Chunk(shaped, first_word, last_result, spent[:n], _traffic(stepper.traffic))


_ISSUE = {
    Activity.IDLE: "has no program",
    Activity.STEP: "issues steps",
    Activity.HANDOVER: "takes up the layer",
    Activity.FILL: "waits for the layer before, whose last step is on its way to the array",
    Activity.DRAIN: "waits for the layer before, whose last step is in the array",
    Activity.REQUANTIZER: "waits for the requantizer",
    Activity.MEMORY: "waits for an image that waits for the activation memory",
    Activity.INPUT: "waits for an image",
    Activity.OUTPUT: "waits for outputs to be taken",
}

_UNITS = (
    ("PE array", ("step",), "acc", "pooling unit"),
    ("pooling unit", ("acc",), "pooled", "requantizer"),
    ("requantizer", ("pooled", "param"), "out", "write sequencer"),
    ("write sequencer", ("out",), None, "result stream"),
)
"""Each unit, the streams that it takes from and sends to, and who is behind it."""


def _stopped(
    program: Program,
    level: str,
    limit: int,
    num_images: int,
    num_results: int,
    layer: int,
    activity: int,
    streams: int,
) -> AccelError:
    """Where the hardware stood when its time was over, in one sentence."""
    val = {name: streams >> 2 * i & 1 for i, name in enumerate(STREAMS)}
    rdy = {name: streams >> 2 * i + 1 & 1 for i, name in enumerate(STREAMS)}
    units = [f"step sequencer {_ISSUE[Activity(activity)]}"]
    for unit, inputs, output, behind in _UNITS:
        missing = [name for name in inputs if not val[name]]
        if output is not None and val[output] and not rdy[output]:
            state = f"waits for the {behind} to take its output"
        elif missing:
            state = f"waits for {' and '.join(missing)}"
        elif any(not rdy[name] for name in inputs):
            state = "is busy" if output is not None else f"waits for the {behind}"
        else:
            state = "moves"
        units.append(f"{unit} {state}")
    return AccelError(
        f"the simulation at level {level} stopped at its limit of {limit} cycles with "
        f"{num_results} of {num_images * program.result_words} result words, in layer "
        f"'{program.layers[layer].name}': {', '.join(units)}"
    )
