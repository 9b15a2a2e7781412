"""The slowest paths of a placed and routed design, from the delays that nextpnr writes (SDF)."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

BETWEEN = "between units"
"""What belongs to none: the top module's own cells."""


@dataclass(frozen=True)
class TimedPath:
    """A path from register to register, and the units that it starts and ends in. hops: the
    signals on the way, and when each has settled."""

    start: str
    end: str
    ns: float
    hops: list[tuple[str, float]]


_SDF = re.compile(
    r"\(INSTANCE (?P<instance>\S*?)\s*\)"
    r"|\((?P<kind>IOPATH|INTERCONNECT) (?P<source>\S+) (?P<sink>\S+) \(\d+:\d+:(?P<delay>\d+)\)"
    r"|\(SETUPHOLD \(posedge (?P<pin>\S+)\) \(posedge \S+\) \(-?\d+:-?\d+:(?P<setup>-?\d+)\)"
)


def slowest_paths(sdf: str, owners: dict[str, str]) -> dict[str, TimedPath]:
    """The slowest register to register path that ends in each unit, from nextpnr's delays (SDF).

    ``owners`` names the unit behind each of the top module's ports.
    """
    clock_pins = set(re.findall(r"\(SETUPHOLD \(posedge \S+\) \(posedge (\S+)\)", sdf))
    sinks: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    waits: Counter[str] = Counter()
    arrival: dict[str, int] = {}
    setup: dict[str, int] = {}
    instance = ""
    for match in _SDF.finditer(sdf.replace("\\", "")):
        if match["instance"] is not None:
            instance = match["instance"]
        elif match["pin"]:
            setup[f"{instance}/{match['pin']}"] = int(match["setup"])
        elif match["kind"] == "IOPATH" and match["source"] in clock_pins:
            arrival[f"{instance}/{match['sink']}"] = int(match["delay"])
        else:
            inside = f"{instance}/" if match["kind"] == "IOPATH" else ""
            sinks[inside + match["source"]].append((inside + match["sink"], int(match["delay"])))
            waits[inside + match["sink"]] += 1
    # Each pin after all that drive it; what only a port drives has no arrival time.
    came_from: dict[str, str] = {}
    ready = [pin for pin in {*sinks, *arrival} if not waits[pin]]
    while ready:
        pin = ready.pop()
        for sink, delay in sinks[pin]:
            if pin in arrival and arrival[pin] + delay > arrival.get(sink, -1):
                arrival[sink], came_from[sink] = arrival[pin] + delay, pin
            waits[sink] -= 1
            if not waits[sink]:
                ready.append(sink)
    slowest: dict[str, tuple[int, str]] = {}
    for pin in setup.keys() & arrival.keys():
        found = arrival[pin] + setup[pin], pin
        unit = _unit(pin, owners)
        slowest[unit] = max(slowest.get(unit, found), found)
    paths = {}
    for unit, (picoseconds, pin) in sorted(slowest.items()):
        pins = list(_walk(pin, came_from))[::-1]
        start = _unit(pins[0], owners)
        paths[unit] = TimedPath(start, unit, picoseconds / 1000, _hops(pins, arrival))
    return paths


def _walk(pin: str | None, came_from: dict[str, str]) -> Iterator[str]:
    while pin is not None:
        yield pin
        pin = came_from.get(pin)


def _hops(pins: list[str], arrival: dict[str, int]) -> list[tuple[str, float]]:
    """Neighbouring pins of one signal as one hop, with the time at the last of them."""
    hops: list[tuple[str, float]] = []
    for pin in pins:
        name = readable(_design_name(pin))
        if hops and name in ("", hops[-1][0]):
            name = hops.pop()[0]
        hops.append((name, arrival[pin] / 1000))
    return hops


def _design_name(pin: str) -> str:
    """The signal or memory of the design that Yosys named the cell of ``pin`` after, or nothing."""
    cell = pin.rpartition("/")[0].split("$")[0]
    cell = re.split(r"_(?:LUT4|CCU2C|PFUMX|L6MUX21|TRELLIS_\w+|MULT18X18D|SB_\w+)(?:_|$)", cell)[0]
    return re.sub(r"\.mem\.\d.*", ".mem", cell)


def readable(name: str) -> str:
    """A name as PyMTL3 writes it: ``row0[1].acc.rdy`` for ``row0__1.acc__rdy``."""
    return re.sub(r"__(\d+)(?=\.|$|__)", r"[\1]", name).replace("__", ".")


def _unit(pin: str, owners: dict[str, str]) -> str:
    """The unit of the cell of ``pin``; a signal that reaches a port of the top has its name."""
    first, dot, _ = _design_name(pin).partition(".")
    return readable(first) if dot else owners.get(first, BETWEEN)
