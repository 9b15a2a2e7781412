"""Waveforms of the RTL simulation: a VCD file, and a GTKWave set-up with what is worth seeing."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from vcd import VCDWriter
from vcd.gtkw import GTKWSave
from vcd.writer import Variable

from accel import files
from accel.errors import AccelError

PERIOD = 10
"""Of the clock, in ns: cycle n of the simulation begins at n * PERIOD."""

TOP = "accelerator"
WORDS = ("issue", "layer", "stalls")
"""What the scope ``trace`` says in words."""

GROUPS: dict[str, tuple[str, ...]] = {
    "what happens": tuple(f"trace.{name}" for name in WORDS),
    "issue": (
        *("clk", "layer", "activity", "step_sequencer.state", "step_sequencer.issue"),
        *("step_sequencer.is_safe", "step_sequencer.step", "operand_fetch.go"),
    ),
    "fetch": (
        *("step_sequencer.addresses.at_val", "step_sequencer.addresses.command_val"),
        *("operand_fetch.read_val", "operand_fetch.data_val", "operand_fetch.step__val"),
        *("operand_fetch.step__rdy", "operand_fetch.step__msg__x", "operand_fetch.step__msg__idx"),
        *("operand_fetch.step__msg__first", "operand_fetch.step__msg__last"),
    ),
    "PE array": (
        *("pe_array.valid", "pe_array.row0__{column}.row", "pe_array.row1__{column}.row"),
        *("pe_array.row2__{column}.row", "pe_array.accumulators__{column}.acc"),
        *("pe_array.acc__val", "pe_array.acc__rdy", "pe_array.acc__msg__acc"),
        *("pe_array.acc__msg__pool_first", "pe_array.acc__msg__pool_last"),
    ),
    "pooling unit": (
        *("pooling_unit.pooled__val", "pooling_unit.pooled__rdy"),
        *("pooling_unit.lanes__{column}.best", "pooling_unit.pooled__msg__acc"),
    ),
    "requantizer": (
        *("requantizer.next_val", "requantizer.held_val", "requantizer.param__val"),
        *("requantizer.param__rdy", "requantizer.valid", "requantizer.out__val"),
        *("requantizer.out__rdy", "requantizer.out__msg__y"),
    ),
    "write sequencer": (
        *("write_sequencer.queue.head_val", "write_sequencer.queue.tail_val"),
        *("write_sequencer.layer", "write_sequencer.written", "write_sequencer.beat"),
        *("write_mask", "write_rows", "write_bank", "write_data"),
    ),
    "input and result": (
        *("prog__val", "prog__rdy", "prog__msg", "image__val", "image__rdy", "image__msg"),
        *("image_loader.full", "result__val", "result__rdy", "result__msg", "error"),
    ),
}
"""Signals worth seeing, by unit: what :meth:`Waveform.save` sets up, of one column of the array."""

ZOOM = -5.5
"""As GTKWave counts: a cycle is as wide as a number of five digits."""

_SIGNED = re.compile(r"(accumulators__\d+\.acc|\.row|lanes__\d+\.best)$")


class Waveform:
    """Collects the values of all signals of a PyMTL3 simulation, memories' words excepted.

    Components are scopes under ``accelerator``; a list's element, and a port of a stream, has two
    underscores in its name, as in the Verilog; a message's fields are signals of their own. The
    scope ``trace`` says in words what the issue stage does, in which layer, and who stalls whom.
    """

    def __init__(self, column: int = 0) -> None:
        """column: of the array, the one that the set-up shows."""
        self.column = column
        self._text = io.StringIO()
        self._first = self._last = 0

    def declare(self, top: Any) -> None:
        """Takes note of the signals of the elaborated component ``top``."""
        self._top = top
        nets: dict[str, str] = {}
        for _, net in top.get_all_value_nets():
            names = sorted(repr(x) for x in net if not _is_const(x) and x.is_top_level_signal())
            nets |= dict.fromkeys(names, names[0]) if names else {}
        # Only one signal of those that are connected has to be read.
        paths: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for signal in sorted(top._dsl.all_signals, key=repr):
            # A memory's words are too many to be looked at one by one.
            if not signal.is_top_level_signal() or re.search(r"\.mem\[\d+\]", repr(signal)):
                continue
            component = repr(signal.get_host_component())
            scope = ".".join((TOP, *_plain(component).split(".")[1:]))
            name = _plain(repr(signal)[len(component) + 1 :]).replace(".", "__")
            for suffix, path, nbits in _fields(signal._dsl.Type):
                source = nets.get(repr(signal), repr(signal)) + path
                paths[f"{scope}.{name}{suffix}"] = source
                sizes[source] = nbits
        self._paths, self._sizes = paths, sizes
        self._sources = [source for source in sizes if source != nets.get("s.clk", "s.clk")]
        # One function reads them all: a loop over 10,000 signals' attributes would take seconds.
        self._read = eval(f"lambda s: ({', '.join(self._sources)},)")
        self._values: list[int] = []

    def _begin(self, cycle: int) -> None:
        self._writer = writer = VCDWriter(
            self._text,
            timescale="1 ns",
            date="",
            version="accel",
            comment=f"cycle n begins at {PERIOD} n ns",
            init_timestamp=cycle * PERIOD,
            check_values=False,
        )
        known: dict[str, Variable[Any]] = {}
        for full, source in self._paths.items():
            scope, _, name = full.rpartition(".")
            size = self._sizes[source]
            # So, rather than as an argument: pyvcd leaves the range out of an alias.
            name += f"[{size - 1}:0]" if size > 1 else ""
            if source in known:
                writer.register_alias(scope, name, known[source])
            else:
                known[source] = writer.register_var(scope, name, "wire", size, init=0)
        self._clock = known[self._paths[f"{TOP}.clk"]]
        self._variables = [known[source] for source in self._sources]
        self._values = [0] * len(self._sources)
        self._first = cycle * PERIOD
        self._words = {n: writer.register_var(f"{TOP}.trace", n, "string", init="") for n in WORDS}

    def sample(self, cycle: int, words: dict[str, str]) -> None:
        """Writes down all values as they are now, before the edge that ends ``cycle``, and what
        the scope ``trace`` says. Cycles have to rise by one from call to call."""
        if not self._values:
            self._begin(cycle)
        writer, time = self._writer, cycle * PERIOD
        writer.change(self._clock, time, 1)
        values = [int(value) for value in self._read(self._top)]
        for variable, old, new in zip(self._variables, self._values, values, strict=True):
            if old != new:
                writer.change(variable, time, new)
        self._values = values
        for name, variable in self._words.items():
            # A VCD's strings end at a space.
            writer.change(variable, time, words[name].replace(" ", "_"))
        writer.change(self._clock, time + PERIOD // 2, 0)
        self._last = time + PERIOD

    def end(self) -> None:
        """No more cycles come."""
        if self._values:
            self._writer.close(self._last)

    def save(self, path: Path) -> Path:
        """Writes the VCD to ``path``, and a GTKWave set-up beside it, whose path is returned.

        Raises :class:`AccelError` if that is not possible.
        """
        setup = setup_path(path)
        files.write(path, self._text.getvalue())
        files.write(setup, self._setup(path.name))
        return setup

    def _setup(self, name: str) -> str:
        text = io.StringIO()
        save = GTKWSave(text)
        save.comment("Written by accel")
        save.dumpfile(name, abspath=False)
        save.treeopen(f"{TOP}.")
        save.size(1600, 1000)
        save.signals_width(340)
        save.timestart(self._first)
        save.zoom_markers(ZOOM)
        for group, signals in GROUPS.items():
            with save.group(group):
                for signal in (signal.format(column=self.column) for signal in signals):
                    # Columns that share multipliers have no sums of their own in a row.
                    if signal.startswith("trace.") or f"{TOP}.{signal}" in self._paths:
                        self._show(save, signal)
        return text.getvalue()

    def _show(self, save: GTKWSave, signal: str) -> None:
        full = f"{TOP}.{signal}"
        if signal.startswith("trace."):
            save.trace(full, datafmt="ascii")
            return
        size = self._sizes[self._paths[full]]
        datafmt = "signed" if _SIGNED.search(signal) else "hex"
        if signal.endswith((".valid", "_mask")):
            datafmt = "bin"
        if size == 1:
            save.trace(full)
        else:
            save.trace(f"{full}[{size - 1}:0]", datafmt=datafmt)


def setup_path(path: Path) -> Path:
    """Where the GTKWave set-up of the VCD ``path`` goes: beside it, with the suffix ``.gtkw``."""
    return path.with_suffix(".gtkw")


def check_name(path: Path) -> None:
    """Raises :class:`AccelError` if ``path`` has not the name of a VCD."""
    if path.suffix != ".vcd":
        raise AccelError(f"--vcd {path}: the file's name must end in .vcd")


def _is_const(x: Any) -> bool:
    return not hasattr(x, "is_top_level_signal")


def _plain(path: str) -> str:
    """``a[1].b`` as ``a__1.b``."""
    return re.sub(r"\[(\d+)\]", r"__\1", path)


def _fields(kind: Any, suffix: str = "", path: str = "") -> list[tuple[str, str, int]]:
    """Suffix of the name, of the path, and bits, of each field of a bitstruct, or of plain bits."""
    fields = getattr(kind, "__bitstruct_fields__", None)
    if fields is None:
        return [(suffix, path, kind.nbits)]
    return [
        found
        for name, inner in fields.items()
        for found in _fields(inner, f"{suffix}__{name}", f"{path}.{name}")
    ]
