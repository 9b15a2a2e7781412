"""Drives the val/rdy ports of a component from Python, one cycle at a time, and checks them.

One harness for all levels and all units: a test hands it the messages of every input with delays
before them, the messages that it expects from every output, and stalls. It gets back the cycle of
every transfer, or a :class:`HarnessError` that says what went wrong and in which cycle.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import hashlib
import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from pymtl3 import mk_bits
from pymtl3.passes.backends.verilog import (
    VerilogPlaceholderPass,
    VerilogTranslationPass,
    VerilogVerilatorImportPass,
)
from pymtl3.stdlib.test_utils import config_model_with_cmdline_opts

from accel.hardware.config import AccelConfig
from accel.hardware.messages import pack, unpack
from accel.hardware.pymtl import prepare
from accel.simulation.toolchain import use_toolchain
from tests.netlist import NetlistImportPass

PATIENCE = 500
"""Cycles without a transfer on any port after which a simulation counts as hung."""

DRAIN = 40
"""Cycles that are listened to after the last expected message, longer than any pipeline."""


class HarnessError(AssertionError):
    """A component broke the protocol, sent something wrong, or hung."""


class Simulator:
    """A component made ready for simulation, usable for any number of runs."""

    def __init__(self, component: Any, cfg: AccelConfig | None) -> None:
        self.top, self.cfg = component, cfg
        self.eval_combinational = component.sim_eval_combinational
        self.edge = component.sim_edge

    def port(self, name: str) -> Any:
        """By name; a stream's signals are called like ``image.val``."""
        return attrgetter(name)(self.top)

    def settle(self, inputs: Mapping[str, Any]) -> None:
        """Sets input ports, each to a bitstruct, Bits or int, and lets all that follows settle."""
        for name, value in inputs.items():
            port = self.port(name)
            port @= value
        self.eval_combinational()

    def read(self, name: str) -> int:
        """All bits of a port."""
        return int(self.port(name).to_bits())

    def clock(self, inputs: Mapping[str, Any]) -> None:
        """A cycle of these inputs of which no one reads an output."""
        self.settle(inputs)
        self.edge()

    def reset(self) -> None:
        self.top.reset @= 1
        for _ in range(2):
            self.eval_combinational()
            self.edge()
        self.top.reset @= 0


class Simulators:
    """Builds simulators and keeps them, one per component and what it is constructed with.

    opts: PyMTL3's command line options. cache: where Verilated RTL is kept; it may be shared by
    any number of processes.
    """

    def __init__(self, opts: Mapping[str, Any], cache: Path) -> None:
        self.opts, self.cache = opts, cache
        self._built: dict[tuple[Any, ...], Simulator] = {}
        self._imported: list[tuple[Any, Path]] = []

    @property
    def verilated(self) -> bool:
        return self.opts["test_verilog"] != ""

    def __call__(self, component_class: type, *arguments: Any) -> Simulator:
        """arguments: of the component's ``construct``, a configuration mostly."""
        key = component_class, *arguments
        if key not in self._built:
            component = component_class(*arguments)
            name = "_".join(
                re.sub(r"\W+", "_", str(part)).strip("_")
                for part in (component_class.__name__, *arguments)
            )
            if self.verilated and component_class.__name__.endswith("RTL"):
                component = self._verilate(component, name)
                vcd = None  # what PyMTL3 generates for it does not compile under Verilator 5
            else:
                vcd = name if self.opts["dump_vcd"] else None
            prepare(component, vcd=vcd)
            cfg = next((part for part in arguments if isinstance(part, AccelConfig)), None)
            self._built[key] = Simulator(component, cfg)
        return self._built[key]

    def close(self) -> None:
        for number, (component, folder) in enumerate(self._imported):
            place = self.opts["rtl_coverage"]
            if place:
                # Verilator leaves coverage.dat in the current folder; the Verilog goes beside it.
                place = place / f"{os.getpid()}-{number}"
                place.mkdir()
                for verilog in folder.glob("*__pickled.v"):
                    shutil.copy(verilog, place)
            with contextlib.chdir(place or "."):
                component.finalize()
        self._built, self._imported = {}, []
        with warnings.catch_warnings():
            # PyMTL3 writes every cycle of a VCD file out at once, but never closes the file.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def _verilate(self, component: Any, name: str) -> Any:
        """PyMTL3's translation and import. It keeps a build whose Verilog is the same as before,
        so that a folder for each tool, option and module is all that a cache needs, and a lock."""
        xinit = self.opts["test_verilog"]
        component.elaborate()
        tag = hashlib.sha256(
            f"{use_toolchain().version} {xinit} {self.opts['rand_seed']} "
            f"{self.opts['test_netlist']}"
            f"{' coverage' if self.opts['rtl_coverage'] else ''}".encode()
        ).hexdigest()[:12]
        if not component.has_metadata(VerilogTranslationPass.explicit_module_name):
            # PyMTL3's import stumbles over the "__" in the name that it would choose.
            component.set_metadata(VerilogTranslationPass.explicit_module_name, name)
        folder = self.cache / tag / name
        folder.mkdir(parents=True, exist_ok=True)
        with (
            open(folder / "lock", "w") as lock,
            contextlib.chdir(folder),
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            imported = self._import(component)
        self._imported.append((imported, folder))
        return imported

    def _import(self, component: Any) -> Any:
        if self.opts["rtl_coverage"]:
            component.set_metadata(VerilogVerilatorImportPass.vl_line_coverage, True)
            component.set_metadata(VerilogVerilatorImportPass.vl_toggle_coverage, True)
        if not self.opts["test_netlist"]:
            return config_model_with_cmdline_opts(component, dict(self.opts), duts=None)
        component.set_metadata(NetlistImportPass.enable, True)
        component.set_metadata(VerilogVerilatorImportPass.vl_xinit, self.opts["test_verilog"])
        component.apply(VerilogPlaceholderPass())
        return NetlistImportPass()(component)


@dataclass(frozen=True)
class Transfers:
    """What crossed each port: ``(cycle, message)``, cycle 0 being the first after reset."""

    ports: dict[str, list[tuple[int, Any]]]
    watched: dict[str, list[int]]
    """What the ports to watch carried in each cycle."""

    @property
    def timing(self) -> dict[str, list[int]]:
        """The cycles of every port: what two models of the same timing have in common."""
        return {name: [cycle for cycle, _ in port] for name, port in self.ports.items()}


def run(
    sim: Simulator,
    inputs: Mapping[str, Sequence[tuple[Any, int]]],
    expected: Mapping[str, Sequence[Any]],
    stalls: Mapping[str, Sequence[int]] | None = None,
    *,
    patience: int = PATIENCE,
    watch: Sequence[str] = (),
    steady: Mapping[str, int] | None = None,
    cycles: int | None = None,
) -> Transfers:
    """Resets the component and runs it until all is done, and then for ``DRAIN`` cycles.

    inputs: for each input port the messages, each with a delay: cycles without an offer before it.
    expected: for each output port the messages that must come, and no others. stalls: for each
    output port, for each message the cycles that it is kept waiting. A message is one of
    accel.hardware.messages, or what the port carries (a bitstruct, Bits or an int). watch: names of
    output ports that are no streams, to be recorded in every cycle. steady: what input ports carry
    that are no streams; 0 while the component is reset. cycles: to run, whatever is left then.

    Raises HarnessError, with the last line traces, if an output differs from what is expected, a
    message comes after the last, a message that waits is withdrawn or changes, or nothing moves
    for ``patience`` cycles.
    """
    stalls = stalls or {}
    try:
        return _Run(sim, inputs, expected, stalls, watch, steady or {}).go(patience, cycles)
    except HarnessError as e:
        lines: list[str] = []
        with contextlib.suppress(HarnessError):
            again = _Run(sim, inputs, expected, stalls, watch, steady or {})
            again.go(patience, cycles, lines)
        raise HarnessError("\n".join([str(e), *lines[-30:]])) from None


class _Run:
    def __init__(
        self,
        sim: Simulator,
        inputs: Mapping[str, Sequence[tuple[Any, int]]],
        expected: Mapping[str, Sequence[Any]],
        stalls: Mapping[str, Sequence[int]],
        watch: Sequence[str],
        steady: Mapping[str, int],
    ) -> None:
        self.sim, self.steady = sim, steady
        self.watched: dict[str, list[int]] = {name: [] for name in watch}
        self.inputs = [_Input(sim, name, items) for name, items in inputs.items()]
        self.outputs = [
            _Output(sim, name, items, stalls.get(name, ())) for name, items in expected.items()
        ]

    def go(self, patience: int, cycles: int | None, trace: list[str] | None = None) -> Transfers:
        sim, ports = self.sim, [*self.inputs, *self.outputs]
        sim.settle(dict.fromkeys(self.steady, 0))
        sim.reset()
        sim.settle(self.steady)
        for port in ports:
            port.drive()
        cycle = last_moved = 0
        drain_from: int | None = None
        while cycle != cycles and (drain_from is None or cycle < drain_from + DRAIN):
            sim.eval_combinational()
            if trace is not None and cycle < last_moved + 10:
                trace.append(f"{cycle:5}: {sim.top.line_trace()}")
            moved = [port.sample(cycle) for port in ports]
            for name, values in self.watched.items():
                values.append(int(sim.port(name)))
            sim.edge()
            for port in ports:
                port.drive()
            if any(moved):
                last_moved = cycle
            cycle += 1
            if drain_from is None:
                if all(port.done for port in ports):
                    drain_from = cycle
                elif cycle - last_moved > patience:
                    waits = "; ".join(map(str, ports))
                    raise HarnessError(f"hung since cycle {last_moved}: {waits}")
        return Transfers({port.name: port.transfers for port in ports}, self.watched)


class _Input:
    """Offers messages; val stays high, and the message the same, until it is taken."""

    def __init__(self, sim: Simulator, name: str, items: Sequence[tuple[Any, int]]) -> None:
        self.name, self.port = name, sim.port(name)
        self.items = [(m, _to_port_type(sim, self.port, m), delay) for m, delay in items]
        # What an idle port carries is no one's business: all ones, to show that nothing looks.
        self.idle = _from_int(type(self.port.msg), -1)
        self.transfers: list[tuple[int, Any]] = []
        self.offering = False
        self.delay = 0
        self.port.val @= 0
        self.port.msg @= self.idle
        self._next()

    def _next(self) -> None:
        if not self.done:
            self.delay = self.items[len(self.transfers)][2]

    def drive(self) -> None:
        offering = not self.done and self.delay == 0
        if offering or self.offering:
            self.port.val @= offering
            self.port.msg @= self.items[len(self.transfers)][1] if offering else self.idle
        self.offering = offering

    def sample(self, cycle: int) -> bool:
        if not self.offering:
            self.delay -= not self.done
            return False
        if not self.port.rdy:
            return False
        self.transfers.append((cycle, self.items[len(self.transfers)][0]))
        self._next()
        return True

    @property
    def done(self) -> bool:
        return len(self.transfers) == len(self.items)

    def __str__(self) -> str:
        if self.done:
            return f"{self.name}: all {len(self.items)} messages taken"
        waits = "waits for rdy" if self.offering else f"comes in {self.delay} cycles"
        return f"{self.name}: message {len(self.transfers)} of {len(self.items)} {waits}"


class _Output:
    """Listens, stalls, and checks; a message waits for as many cycles as its stall says."""

    def __init__(
        self, sim: Simulator, name: str, expected: Sequence[Any], stalls: Sequence[int]
    ) -> None:
        self.sim, self.name, self.port = sim, name, sim.port(name)
        self.type = type(self.port.msg)
        self.expected = [int(_to_port_type(sim, self.port, m).to_bits()) for m in expected]
        self.stalls = stalls
        self.transfers: list[tuple[int, Any]] = []
        self.held: int | None = None
        self.port.rdy @= 0
        self._next()

    def _next(self) -> None:
        index = len(self.transfers)
        self.stall = self.stalls[index] if index < len(self.stalls) else 0

    def drive(self) -> None:
        self.port.rdy @= self.stall == 0

    def sample(self, cycle: int) -> bool:
        if not self.port.val:
            if self.held is not None:
                raise HarnessError(f"cycle {cycle}: {self.name} withdrew a message that waited")
            return False
        bits = int(self.port.msg.to_bits())
        if self.held is not None and bits != self.held:
            raise HarnessError(
                f"cycle {cycle}: {self.name} changed a message that waited, from "
                f"{self._read(self.held)} to {self._read(bits)}"
            )
        index = len(self.transfers)
        if index == len(self.expected):
            raise HarnessError(
                f"cycle {cycle}: {self.name} offers {self._read(bits)} after its last message"
            )
        if bits != self.expected[index]:
            raise HarnessError(
                f"cycle {cycle}: message {index} of {self.name} is {self._read(bits)}, "
                f"expected {self._read(self.expected[index])}"
            )
        if self.stall:
            self.stall -= 1
            self.held = bits
            return False
        self.held = None
        self.transfers.append((cycle, self._read(bits)))
        self._next()
        return True

    def _read(self, bits: int) -> Any:
        value = _from_int(self.type, bits)
        if self.sim.cfg is None:
            return value
        try:
            return unpack(self.sim.cfg, value)
        except TypeError:  # none of accel.hardware.messages
            return value

    @property
    def done(self) -> bool:
        return len(self.transfers) == len(self.expected)

    def __str__(self) -> str:
        count = f"{len(self.transfers)} of {len(self.expected)} messages came"
        return f"{self.name}: {count}, val={int(self.port.val)}, rdy={int(self.port.rdy)}"


def _to_port_type(sim: Simulator, port: Any, message: Any) -> Any:
    if isinstance(message, tuple):
        return pack(sim.cfg, message)
    return type(port.msg)(message) if isinstance(message, int) else message


def _from_int(message_type: Any, value: int) -> Any:
    """A value of a port's type from all its bits; -1 is all ones."""
    if hasattr(message_type, "from_bits"):
        return message_type.from_bits(mk_bits(message_type.nbits)(value))
    return message_type(value)
