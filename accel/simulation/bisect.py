"""Where the RTL first does something else than the cycle-level model: unit, signal, column, cycle.

Both run side by side, and :mod:`accel.simulation.probes` says what is compared in each cycle. The
first signal that differs, of those between the units, shows the unit: all that came to it was
right, or something before it would have differed first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from accel.compiler.program import Program
from accel.errors import AccelError
from accel.hardware.packets import Opened, Packet, header, packets
from accel.hardware.status import Activity
from accel.simulation import probes
from accel.simulation.probes import Look, Probe, Value
from accel.simulation.runner import CLStepper, Pauses, RTLStepper, Words, default_limit

LATER = 64
"""So many cycles is a message waited for that did not come when it should have."""

Progress = Callable[[int, int], None]
"""Called with the cycles done so far and those there are."""


@dataclass(frozen=True, kw_only=True)
class Differing:
    """One element of a signal, or all of it, at both levels."""

    place: str
    """As ``column 3``; empty if the signal has no elements."""
    cl: int | None
    """None: there is nothing, as a byte that is not written."""
    rtl: int | None


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first cycle in which the levels differ, and the first signal of it."""

    cycle: int
    """From reset, with the whole program loaded word by word."""
    layer: str | None
    """Of the issue stage; None while the program is loaded."""
    layer_cycle: int
    """Cycles since that layer was taken up."""
    unit: str
    """The RTL's name of it: a component of the accelerator, or ``accelerator`` itself."""
    signal: str
    elements: tuple[Differing, ...]
    others: tuple[str, ...]
    """Further signals that differ in that cycle."""
    note: str = ""
    """When a message comes that did not come in time."""

    def record(self) -> dict[str, Any]:
        """For ``--json``; numbers as text, since they may be too large for many readers."""
        elements = [
            {"place": e.place, "cl": _text(e.cl), "rtl": _text(e.rtl)} for e in self.elements
        ]
        return asdict(self) | {"elements": elements}

    @property
    def column(self) -> int | None:
        """The column of the array, if the signal has some."""
        found = re.match(r"column (\d+)", self.elements[0].place)
        return None if found is None else int(found[1])

    def __str__(self) -> str:
        where = f"cycle {self.cycle:,}"
        if self.layer is None:
            where += ", while the program is loaded"
        else:
            where += f", cycle {self.layer_cycle:,} of layer '{self.layer}'"
        first, *rest = self.elements
        place = f", {first.place}" if first.place else ""
        text = (
            f"first difference: {where}: unit {self.unit}, signal {self.signal}{place}: "
            f"{_text(first.rtl)} in the RTL, {_text(first.cl)} at level cl"
        )
        if rest:
            names = [d.place.partition(" ")[2] for d in rest]
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            text += f" (also {first.place.partition(' ')[0]} {', '.join(names[:8])}{more})"
        return text + (f"; {self.note}" if self.note else "")


def _text(value: int | None) -> str:
    return "nothing" if value is None else f"{value:,}"


@dataclass(frozen=True, kw_only=True)
class Bisection:
    """What came out. divergence: None if nothing differs in any of the ``cycles``."""

    divergence: Divergence | None
    cycles: int
    loaded: bool
    """Whether the weights were loaded word by word."""


def bisect(
    program: Program,
    images: NDArray[Any],
    *,
    whole: bool | None = None,
    pauses: int = 0,
    progress: Progress | None = None,
) -> Bisection:
    """Runs ``images`` one after another at level cl and in PyMTL3's simulation of the RTL.

    images: (N, *input shape), float32 or integers. whole: load the weights word by word, which is
    most of the time that it takes; if False they are in memory from the start, and what is wrong
    with their loading is not seen; if None, they are loaded only if nothing differs without.
    pauses: as :func:`accel.simulation.runner.simulate` has them.
    """
    words = program.pack_images(program.quantize(images))
    if whole is None:
        quick = _run(program, words, pauses, False, progress)
        if quick.divergence is not None:
            return quick
    return _run(program, words, pauses, whole is not False, progress)


def _run(
    program: Program, images: Words, pauses: int, whole: bool, progress: Progress | None
) -> Bisection:
    total = _num_cycles(program, images, pauses, program.words)
    words = list(program.words)
    if not whole:
        words = [
            word
            for packet in packets(program.words, program.cfg)
            if packet.kind != Packet.WEIGHTS
            for word in _closed(packet)
        ]
    pair = _Pair(program, images, words, pauses)
    length = total
    if not whole:
        pair.preload()
        length = _num_cycles(program, images, pauses, words)
    # As if all had been loaded.
    skipped = total - length
    for cycle in pair.cycles():
        if progress is not None and (cycle % 50 == 0 or cycle == length - 1):
            progress(cycle + 1, length)
        differing = pair.compare()
        if differing:
            return Bisection(
                divergence=pair.divergence(cycle + skipped, differing), cycles=total, loaded=whole
            )
    return Bisection(divergence=None, cycles=total, loaded=whole)


def _closed(packet: Opened) -> list[int]:
    return [header(Packet(packet.kind), packet.address, packet.num_words), *packet.payload]


def _num_cycles(program: Program, images: Words, pauses: int, words: Any) -> int:
    """To the last result, at level cl."""
    driver = _Driver(program, images, list(words), pauses)
    stepper = CLStepper(program.cfg)
    while not driver.done:
        driver.took(*stepper.settle(*driver.offered()))
        stepper.edge()
    return driver.cycle


class _Driver:
    """Offers words and takes results, as the compiled simulation does."""

    def __init__(self, program: Program, images: Words, words: list[int], pauses: int) -> None:
        self.program, self.words, self.pixels = program, words, images.ravel().tolist()
        self.wanted = len(images) * program.result_words
        self.pauses = Pauses(pauses)
        self.limit = default_limit(program, len(images)) * (16 if pauses else 1)
        self.cycle = self.next_word = self.next_pixel = self.num_results = 0
        self.prog: int | None = None
        self.image: int | None = None

    @property
    def done(self) -> bool:
        return self.num_results == self.wanted

    def offered(self) -> tuple[int | None, int | None, bool]:
        """The words that are offered in this cycle, and whether a result is taken."""
        if self.cycle == self.limit:
            raise AccelError(
                f"the program does not end within {self.limit:,} cycles at level cl: 'accel run "
                f"--level cl' with the same options says where it stands"
            )
        prog_goes, image_goes, result_goes = self.pauses.go()
        if self.prog is None and prog_goes and self.next_word < len(self.words):
            self.prog = self.words[self.next_word]
        loaded = self.next_word == len(self.words)
        if self.image is None and image_goes and loaded and self.next_pixel < len(self.pixels):
            self.image = self.pixels[self.next_pixel]
        return self.prog, self.image, result_goes

    def took(self, prog: bool, image: bool, result: int | None) -> None:
        """What the accelerator took, and what came of it."""
        self.next_word += prog
        self.next_pixel += image
        self.prog = None if prog else self.prog
        self.image = None if image else self.image
        self.num_results += result is not None
        self.cycle += 1


class _Pair:
    """Both levels, in the same cycle."""

    def __init__(self, program: Program, images: Words, words: list[int], pauses: int) -> None:
        cfg = program.cfg
        self.program, self.rtl, self.cl = program, RTLStepper(cfg), CLStepper(cfg)
        self.driver = _Driver(program, images, words, pauses)
        self.look = Look(self.cl.core)
        self.payloads = probes.payloads(words, cfg)
        self.now, self.edge = probes.now(cfg), probes.edge(cfg)
        self.started = 0
        self.layer: int | None = None

    def preload(self) -> None:
        """Puts all weights into both memories."""
        cfg, beats = self.program.cfg, self.program.cfg.weight_word_beats
        memory = self.rtl.top.operand_fetch.weights
        for packet in packets(self.program.words, cfg):
            if packet.kind != Packet.WEIGHTS:
                continue
            for word in _closed(packet):
                self.cl.core.program.take(word)
            for i, word in enumerate(packet.payload):
                address, beat = divmod(i, beats)
                mem = getattr(memory, f"beat{beat}").mem
                nbits = mem[0].nbits
                mem[packet.address + address] @= word & (1 << nbits) - 1

    def cycles(self) -> Iterator[int]:
        """Settles cycle after cycle; what ends one is :meth:`compare`."""
        while not self.driver.done:
            cycle = self.driver.cycle
            offered = self.driver.offered()
            self.look.result_rdy = offered[2]
            self.taken = self.cl.settle(*offered)
            try:
                self.rtl.settle(*offered)
            except Exception as e:
                raise AccelError(
                    f"the RTL cannot be simulated beyond cycle {cycle:,}, up to which it equals "
                    f"level cl: {type(e).__name__}: {e}"
                ) from e
            core = self.cl.core
            if core.activity == Activity.HANDOVER:
                self.started, self.layer = cycle, core.layer
            yield cycle

    def compare(self) -> list[tuple[Probe, Value, Value]]:
        """Compares the cycle, and goes over the edge that ends it."""
        look, top = self.look, self.rtl.top
        found = _differing(self.now, look, top)
        before = [(probe, probe.rtl(top)) for probe in self.edge]
        taken = self.taken
        next_payload = self.payloads[self.driver.next_word] if taken[0] else None
        self.driver.took(*taken)
        self.cl.edge()
        look.payload = next_payload
        for probe, rtl in before:
            cl = probe.cl(look)
            if cl != rtl:
                found.append((probe, cl, rtl))
        if not found:
            self.rtl.edge()
        return found

    def divergence(self, cycle: int, found: list[tuple[Probe, Value, Value]]) -> Divergence:
        """Of what :meth:`compare` found in that cycle."""
        probe, cl, rtl = found[0]
        layer = None if self.layer is None else self.program.layers[self.layer].name
        return Divergence(
            cycle=cycle,
            layer=layer,
            layer_cycle=self.driver.cycle - 1 - self.started,
            unit=probe.unit,
            signal=probe.signal,
            elements=_elements(probe, cl, rtl),
            others=tuple(p.signal for p, _, _ in found[1:]),
            note=self._later(found),
        )

    def _later(self, found: list[tuple[Probe, Value, Value]]) -> str:
        """Whether a message that did not come, comes: what it does then is not compared."""
        late = [p for p, cl, rtl in found if p.signal.endswith("val") and cl and not rtl]
        if not late:
            return ""
        for i in range(1, LATER + 1):
            self.rtl.edge()
            self.rtl.settle(*self.driver.offered())
            if late[0].rtl(self.rtl.top):
                return f"{late[0].signal} comes {i} cycle{'s' * (i > 1)} later in the RTL"
        return f"{late[0].signal} does not come within {LATER} cycles in the RTL"


def _differing(where: list[Probe], look: Look, top: Any) -> list[tuple[Probe, Value, Value]]:
    found: list[tuple[Probe, Value, Value]] = []
    for probe in where:
        cl = probe.cl(look)
        if cl is not None:
            rtl = probe.rtl(top)
            if cl != rtl:
                found.append((probe, cl, rtl))
    return found


def _elements(probe: Probe, cl: Value, rtl: Value) -> tuple[Differing, ...]:
    if isinstance(cl, dict) and isinstance(rtl, dict):
        keys = sorted(k for k in cl.keys() | rtl.keys() if cl.get(k) != rtl.get(k))
        name = probe.element or "byte"
        return tuple(Differing(place=f"{name} {k}", cl=cl.get(k), rtl=rtl.get(k)) for k in keys)
    assert isinstance(cl, int) and isinstance(rtl, int)
    if not probe.nbits:
        return (Differing(place="", cl=cl, rtl=rtl),)
    a, b = probe.parts(cl), probe.parts(rtl)
    length = max(len(a), len(b))
    a, b = (x + [0] * (length - len(x)) for x in (a, b))
    return tuple(
        Differing(place=probe.place(i), cl=x, rtl=y)
        for i, (x, y) in enumerate(zip(a, b, strict=True))
        if x != y
    )
