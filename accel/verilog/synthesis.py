"""Synthesis: what an accelerator costs in a technology, and how fast it is on a device.

Yosys maps the Verilog twice. Flat, as a user would: its totals are the design's, and it is what
nextpnr places and routes. And with the units' boundaries kept, which is a little larger, but says
exactly which cells belong to which unit.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rich.table import Table

from accel.children import started
from accel.errors import AccelError
from accel.reports.tables import add_numbers, new_table
from accel.verilog.slowest_paths import BETWEEN, TimedPath, readable, slowest_paths

Progress = Callable[[int, int, str], None]
"""Called with the number of finished stages, of all stages, and what is being done now."""

FIGURES = {
    "lut4": "LUT4",
    "carry": "carry",
    "lut4_with_carry": "LUT4\n+carry",
    "flip_flops": "flip-\nflops",
    "dsp": "DSP",
    "block_ram": "block\nRAM",
    "distributed_ram": "distr.\nRAM",
    "memory_bits": "memory\nbits",
    "area": "area",
}
"""What is counted, and as which column it is shown."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A technology. cells: a pattern of cell types for each figure. luts_per_carry: what a carry
    cell takes of the sites of LUTs. tool: the place and route tool and its options, if any.
    areas: of the cells of a Liberty file."""

    name: str
    title: str
    script: str
    cells: dict[str, str]
    luts_per_carry: int | None = None
    tool: tuple[str, ...] = ()
    liberty: Path | None = None
    blocks: int = 0
    """Block RAMs, if all memories may go there."""
    areas: dict[str, float] = field(default_factory=dict)

    @property
    def figures(self) -> list[str]:
        """Which of :data:`FIGURES` there are."""
        known = {
            "lut4_with_carry": self.luts_per_carry is not None,
            "memory_bits": not self.tool,
            "area": bool(self.areas),
        }
        return [name for name in FIGURES if known.get(name, name in self.cells)]


# Memories stay whole in what has no block RAM of its own: as flip-flops they would be absurd, and
# a foundry's compiler makes them anyway.
_COARSE = "synth -flatten -run begin:fine -top {top}; opt -fast -full; opt -undriven -fine"
_NO_SOFT_MULTIPLIERS = (
    "maccmap -unmap; wreduce t:$mul; techmap -map +/mul2dsp.v -D DSP_A_MAXWIDTH=18 "
    "-D DSP_B_MAXWIDTH=18 -D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 -D DSP_NAME=$__MUL18X18; "
    "chtype -set $mul t:$__soft_mul; alumacc"
)
_ECP5_CELLS = {
    "lut4": "LUT4",
    "carry": "CCU2C",
    "flip_flops": "TRELLIS_FF",
    "dsp": "MULT18X18D",
    "block_ram": "DP16KD|PDPW16KD",
    "distributed_ram": "TRELLIS_DPR16X4",
}
# More weight on slow paths than nextpnr gives by itself: multipliers' operands end up beside them.
PLACER = ("--placer-heap-timingweight", "40", "--placer-heap-critexp", "5")
_ECP5_MULTIPLIER = "techmap -map ecp5_multiplier.v"
# Where the device has so many, even memories of a few entries go there, and save LUTs.
_ALL_BLOCK_RAM = 'setattr -set ram_style "block" MemoryRTL__*/m:*'
_ECP5_BLOCKS = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
"""Bits and words that an ECP5's block RAM can have."""
_TARGETS = {
    target.name: target
    for target in (
        Target(
            name="ecp5",
            title="ECP5-85k, speed grade 6",
            script=f"{_ECP5_MULTIPLIER}; synth_ecp5 -top {{top}}; check -assert",
            cells=_ECP5_CELLS,
            luts_per_carry=2,
            blocks=208,
            tool=("nextpnr-ecp5", "--85k", "--package", "CABGA756", "--speed", "6", *PLACER),
        ),
        Target(
            name="ecp5-25k",
            title="ECP5-25k, speed grade 6",
            script=f"{_ECP5_MULTIPLIER}; synth_ecp5 -top {{top}}; check -assert",
            cells=_ECP5_CELLS,
            luts_per_carry=2,
            tool=("nextpnr-ecp5", "--25k", "--package", "CABGA381", "--speed", "6", *PLACER),
        ),
        Target(
            name="ice40",
            title="iCE40 HX8K",
            script="synth_ice40 -device hx -top {top}; check -assert",
            cells={
                "lut4": "SB_LUT4",
                "carry": "SB_CARRY",
                "flip_flops": r"SB_DFF\w*",
                "block_ram": r"SB_RAM40_4K\w*",
            },
            tool=("nextpnr-ice40", "--hx8k", "--package", "ct256"),
        ),
        Target(
            name="generic",
            title="no device: LUT4, 18x18 multipliers, memories as bits",
            script=f"{_COARSE}; {_NO_SOFT_MULTIPLIERS}; opt; techmap; opt -fast; abc -lut 4; "
            "opt_clean",
            cells={
                "lut4": r"\$lut",
                "flip_flops": r"\$_(S?DFF|ALDFF)\w*_",
                "dsp": r"\$__MUL18X18",
            },
        ),
    )
}


def find_target(name: str) -> Target:
    """A target by its name, or a Liberty file's.

    Raises :class:`AccelError` if there is none of this name, or the file cannot be read.
    """
    if name in _TARGETS:
        return _TARGETS[name]
    path = Path(name)
    if path.suffix != ".lib":
        raise AccelError(
            f"unknown target '{name}': expected {', '.join(_TARGETS)}, or a Liberty file (.lib)"
        )
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as e:
        raise AccelError(
            f"cannot read Liberty file {path}: {e.strerror}; Debian's package qflow-tech-osu018 "
            f"has one, /usr/share/qflow/tech/osu018/osu018_stdcells.lib"
        ) from e
    _check_braces(path, text)
    areas, flip_flops = {}, []
    for cell in re.split(r"\bcell\s*\(", text)[1:]:
        name = cell.partition(")")[0].strip(' "')
        if area := re.search(r"\barea\s*:\s*([\d.]+)", cell):
            areas[name] = float(area[1])
        if re.search(r"\bff\s*\(", cell):
            flip_flops.append(re.escape(name))
    if not flip_flops:
        raise AccelError(
            f"Liberty file {path} describes no flip-flop: name the library of a technology's "
            f"standard cells"
        )
    return Target(
        name=path.name,
        title=f"standard cells of {path.name}, memories as bits",
        script=f"read_liberty -lib cells.lib; {_COARSE}; techmap; opt -fast; "
        "dfflibmap -liberty cells.lib; abc -liberty cells.lib; opt_clean; check -assert",
        cells={"flip_flops": "|".join(flip_flops)},
        liberty=path,
        areas=areas,
    )


def _check_braces(path: Path, text: str) -> None:
    """Yosys would stop reading at a brace too many, and count what comes before it."""
    opened: list[int] = []
    line, rest = 1, "give the file as its maker provides it"
    for part in re.finditer(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|/\*|["{}\n]', text, re.DOTALL):
        if part[0] in ('"', "/*"):
            raise AccelError(f"Liberty file {path}: {part[0]} of line {line} has no end: {rest}")
        if part[0] == "{":
            opened.append(line)
        elif part[0] == "}":
            if not opened:
                raise AccelError(f"Liberty file {path}: }} of line {line} closes nothing: {rest}")
            opened.pop()
        line += part[0].count("\n")
    if opened:
        raise AccelError(
            f"Liberty file {path}: the file ends, but {{ of line {opened[-1]} is not closed: {rest}"
        )


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One run of place and route. slowest: the slowest path that ends in each unit."""

    seed: int
    fmax_mhz: float
    slowest: dict[str, TimedPath]

    @property
    def critical(self) -> TimedPath:
        return max(self.slowest.values(), key=lambda path: path.ns)


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """What synthesis says of one design. whole, units: figures by name (:data:`FIGURES`)."""

    design: str
    target: Target
    tools: str
    whole: dict[str, float]
    units: dict[str, dict[str, float]]
    runs: list[Placed]

    @property
    def median(self) -> Placed | None:
        """The run in the middle (of an even number, the slower of the two there)."""
        runs = sorted(self.runs, key=lambda run: run.fmax_mhz)
        return runs[(len(runs) - 1) // 2] if runs else None

    @property
    def fmax_mhz(self) -> float | None:
        """The median of all runs."""
        return statistics.median(run.fmax_mhz for run in self.runs) if self.runs else None

    def record(self) -> dict[str, Any]:
        """What goes into the JSON file."""
        return {
            "design": self.design,
            "target": self.target.name,
            "device": self.target.title,
            "tools": self.tools,
            "whole": self.whole,
            "units": self.units,
            "fmax_mhz": self.fmax_mhz,
            "runs": [
                {
                    "seed": run.seed,
                    "fmax_mhz": run.fmax_mhz,
                    "slowest_path_into": {
                        unit: {"from": path.start, "ns": path.ns, "hops": path.hops}
                        for unit, path in run.slowest.items()
                    },
                }
                for run in self.runs
            ],
        }

    def table(self) -> Table:
        """The figures of each unit and of the whole, and each unit's slowest path."""
        table = new_table(f"{self.design}: {self.target.title}", "unit")
        shown = [name for name in FIGURES if name in self.whole]
        add_numbers(table, *(FIGURES[name] for name in shown))
        run = self.median
        slowest = run.slowest if run else {}
        if run:
            add_numbers(table, "slowest\npath (ns)")
        for unit, figures in self.units.items():
            row = [f"{figures[name]:,.0f}" for name in shown]
            if run:
                row.append(f"{slowest[unit].ns:.2f}" if unit in slowest else "-")
            table.add_row(unit, *row)
        table.add_section()
        row = [f"{self.whole[name]:,.0f}" for name in shown]
        table.add_row("whole, flat", *row, *([f"{run.critical.ns:.2f}"] if run else []))
        table.caption = (
            "Units are mapped each for itself; the whole is mapped flat, so that it is not quite "
            "their sum."
        )
        if run:
            table.caption += " A path counts for the unit that it ends in."
        return table

    def summary(self) -> list[str]:
        """The clock frequency and the critical path, a line each."""
        if not (run := self.median):
            return []
        runs = ", ".join(f"{r.fmax_mhz:.2f}" for r in self.runs)
        how = f"median of seeds 1 to {len(self.runs)}: {runs}" if len(self.runs) > 1 else "seed 1"
        path = run.critical
        lines = [
            f"{self.fmax_mhz:.2f} MHz after place and route ({how})",
            f"critical path of seed {run.seed}, {path.start} to {path.end}, {path.ns:.2f} ns:",
        ]
        return lines + [f"  {ns:6.2f} ns  {name}" for name, ns in path.hops]


def synthesize(
    verilog: str,
    top: str,
    target: Target,
    *,
    num_seeds: int = 0,
    by_unit: bool = True,
    progress: Progress | None = None,
) -> Synthesis:
    """Module ``top`` of ``verilog`` on ``target``, placed and routed with seeds 1 to ``num_seeds``.

    The modules that ``top`` is made of are its units; without ``by_unit`` there are no figures of
    theirs, in little more than half the time. Raises :class:`AccelError` if a tool is
    missing or fails, a latch is inferred, or the design does not fit.
    """
    say = progress or (lambda done, total, what: None)
    num_maps = 1 + by_unit
    num_stages = num_maps + num_seeds
    runs: list[Placed] = []
    try:
        with tempfile.TemporaryDirectory(prefix="accel-synth-") as place:
            folder = Path(place)
            versions = tools(target, num_seeds)
            prepare(folder, verilog, target)
            say(0, num_stages, "synthesis, whole design")
            whole, _ = _map(folder, top, target, flat=True)
            units: dict[str, dict[str, float]] = {}
            owners: dict[str, str] = {}
            if by_unit:
                say(1, num_stages, "synthesis, by unit")
                units, owners = _map(folder, top, target, flat=False)
            if num_seeds:
                _remove_pads(folder / "flat.json", top)
            if num_seeds:
                say(num_maps, num_stages, _placing(num_seeds, runs))
            for run in _place_all(folder, top, target, owners, num_seeds):
                runs.append(run)
                if len(runs) < num_seeds:
                    say(num_maps + len(runs), num_stages, _placing(num_seeds, runs))
            runs.sort(key=lambda run: run.seed)
    except OSError as e:
        raise AccelError(
            f"cannot work in the folder for temporary files: {e}; set TMPDIR to one with some "
            f"hundred megabytes free"
        ) from e
    say(num_stages, num_stages, "done")
    return Synthesis(
        design=top,
        target=target,
        tools=versions,
        whole=whole[BETWEEN],
        units=units,
        runs=runs,
    )


def tools(target: Target, num_seeds: int = 0) -> str:
    """The tools of :func:`synthesize`, and their versions.

    Raises :class:`AccelError` if one is missing, or ``num_seeds`` is not 0 and the target has no
    place and route.
    """
    if num_seeds and not target.tool:
        raise AccelError(
            f"target {target.name} has no place and route: leave out --pnr, or choose ecp5 or ice40"
        )
    needed = ["yosys", *(target.tool[:1] if num_seeds else ())]
    return "; ".join(_version(tool) for tool in needed)


def netlist(verilog: str, top: str, target: Target) -> str:
    """Module ``top`` of ``verilog``, mapped flat to the cells of ``target``, as Verilog.

    Raises :class:`AccelError` as :func:`synthesize` does.
    """
    with tempfile.TemporaryDirectory(prefix="accel-synth-") as place:
        folder = Path(place)
        prepare(folder, verilog, target)
        _map(folder, top, target, flat=True)
        script = "read_json flat.json; delete t:$scopeinfo; write_verilog -noattr netlist.v"
        run_tool("yosys", ["-p", script], folder)
        return (folder / "netlist.v").read_text()


def mapped(folder: Path, top: str, target: Target, blocks_of: str) -> dict[str, float]:
    """The figures of module ``top``, mapped flat to ``flat.json`` in a folder that was prepared.
    blocks_of: the module that has all memories."""
    return _map(folder, top, target, flat=True, blocks_of=blocks_of)[0][BETWEEN]


def prepare(folder: Path, verilog: str, target: Target) -> None:
    """Put what Yosys reads into ``folder``."""
    (folder / "design.v").write_text(verilog)
    csrc = Path(__file__).parent / "csrc"
    (folder / "ecp5_multiplier.v").write_text((csrc / "ecp5_multiplier.v").read_text())
    if target.liberty:
        shutil.copyfile(target.liberty, folder / "cells.lib")
        try:
            run_tool("yosys", ["-p", "read_liberty -lib cells.lib"], folder)
        except AccelError as e:
            raise AccelError(
                f"cannot use Liberty file {target.liberty}: {e}; give the file as its maker "
                f"provides it"
            ) from e


def _blocks(verilog: str, top: str) -> int:
    """Block RAMs of an ECP5 that all memories of ``top`` take, each for itself."""
    _, *parts = re.split(r"^module (\w+)", verilog, flags=re.MULTILINE)
    modules = dict(zip(parts[::2], parts[1::2], strict=True))

    @cache
    def count(module: str) -> int:
        if memory := re.fullmatch(r"MemoryRTL__nbits_(\d+)__depth_(\d+)", module):
            bits, words = map(int, memory.groups())
            return min(-(-bits // width) * -(-words // depth) for width, depth in _ECP5_BLOCKS)
        # Of what is not there Yosys complains.
        text = modules.get(module, "")
        inside = re.findall(r"^  (\w+) \w+\n  \(", text, re.MULTILINE)
        return sum(count(each) for each in inside)

    return count(top)


def _map(
    folder: Path, top: str, target: Target, *, flat: bool, blocks_of: str = ""
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Run Yosys. Returns the figures of the top module and, unless ``flat``, of each unit; and the
    unit behind each of the top module's ports."""
    netlist = "flat.json" if flat else "units.json"
    verilog = (folder / "design.v").read_text()
    has_room = bool(target.blocks) and _blocks(verilog, blocks_of or top) <= target.blocks
    script = [
        # What the device has and a design may name, as its PLL.
        "read_verilog -lib +/ecp5/cells_bb.v" if blocks_of else "",
        "read_verilog -sv design.v",
        f"hierarchy -check -top {top}",
        "" if flat else f"setattr -set keep_hierarchy 1 {top}/t:*",
        "proc",
        "check -assert",
        "select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr",
        _ALL_BLOCK_RAM if has_room else "",
        target.script.format(top=top),
        f"write_json {netlist}",
    ]
    (folder / "script.ys").write_text("\n".join(script))
    try:
        run_tool("yosys", ["script.ys"], folder)
    except AccelError as e:
        if target.liberty and "ABC output file" in str(e):
            raise AccelError(
                f"cannot map to Liberty file {target.liberty}: ABC found no circuit; expected a "
                f"library with an inverter, a buffer and a gate of two inputs"
            ) from e
        raise
    modules = json.loads((folder / netlist).read_text())["modules"]
    module = modules[top]
    inside = {name for name, m in modules.items() if "blackbox" not in m["attributes"]}
    units = {name: cell for name, cell in module["cells"].items() if cell["type"] in inside}
    # In Yosys's JSON a number is a wire, and a string a constant.
    owners = {
        port: readable(unit)
        for unit, cell in units.items()
        for bits in cell["connections"].values()
        for port, wires in module["ports"].items()
        if any(isinstance(bit, int) for bit in set(bits).intersection(wires["bits"]))
    }
    types = {readable(name): cell["type"] for name, cell in units.items()} | {BETWEEN: top}
    figures = {name: _figures(modules[module], target) for name, module in types.items()}
    return figures, owners


def _remove_pads(netlist: Path, top: str) -> None:
    """Leave no port but clock and reset: pads would spread the logic over the whole device, and
    not every package has so many."""
    design = json.loads(netlist.read_text())
    module = design["modules"][top]
    module["ports"] = {n: p for n, p in module["ports"].items() if n in ("clk", "reset")}
    netlist.write_text(json.dumps(design))


def _figures(module: dict[str, Any], target: Target) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for cell in module["cells"].values():
        for figure, pattern in target.cells.items():
            counts[figure] += bool(re.fullmatch(pattern, cell["type"]))
        if cell["type"] == "$mem_v2":
            parameters = cell["parameters"]
            counts["memory_bits"] += int(parameters["WIDTH"], 2) * int(parameters["SIZE"], 2)
    figures: dict[str, float] = {name: counts[name] for name in target.cells}
    if target.luts_per_carry:
        figures["lut4_with_carry"] = figures["lut4"] + target.luts_per_carry * figures["carry"]
    if not target.tool:
        figures["memory_bits"] = counts["memory_bits"]
    if target.areas:
        figures["area"] = sum(target.areas.get(c["type"], 0) for c in module["cells"].values())
    return figures


def _placing(num_seeds: int, runs: list[Placed]) -> str:
    done = f", so far {', '.join(f'{r.fmax_mhz:.1f}' for r in runs)} MHz" if runs else ""
    return f"place and route, {num_seeds} seed{'s' * (num_seeds > 1)}{done}"


def _place_all(
    folder: Path, top: str, target: Target, owners: dict[str, str], num_seeds: int
) -> Iterator[Placed]:
    """Place and route with all seeds, one on each core at a time; yields them as they finish."""
    stop = threading.Event()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            waiting = [
                pool.submit(_place, folder, top, target, owners, seed, stop)
                for seed in range(1, num_seeds + 1)
            ]
            for future in as_completed(waiting):
                yield future.result()
        finally:
            # Whatever ended this, an interrupt or a design that does not fit, ends all of them.
            stop.set()
            pool.shutdown(cancel_futures=True)


def _place(
    place: Path,
    top: str,
    target: Target,
    owners: dict[str, str],
    seed: int,
    stop: threading.Event,
) -> Placed:
    """Place and route once; raises :class:`AccelError` if the design does not fit."""
    tool, *device = target.tool
    folder = place / f"seed{seed}"
    folder.mkdir()
    shutil.copyfile(place / "flat.json", folder / "flat.json")
    options = ["--json", "flat.json", "--top", top, "--seed", str(seed), "--freq", "130"]
    options += ["--timing-allow-fail", "--report", "report.json", "--sdf", "timing.sdf"]
    try:
        run_tool(tool, [*device, *options], folder, stop)
    except AccelError as e:
        excess = over_capacity(folder / f"{tool}.log")
        if not excess:
            raise
        raise AccelError(
            f"{top} does not fit the {target.title}: it needs {' and '.join(excess)}; choose a "
            f"smaller configuration"
        ) from e
    fmax = json.loads((folder / "report.json").read_text())["fmax"]
    if not fmax:
        raise AccelError(f"{tool} found no path between two registers in {top}")
    return Placed(
        seed=seed,
        fmax_mhz=min(clock["achieved"] for clock in fmax.values()),
        slowest=slowest_paths((folder / "timing.sdf").read_text(), owners),
    )


def over_capacity(log: Path) -> list[str]:
    """What nextpnr's table of utilization says there is too little of."""
    text = log.read_text(errors="replace") if log.exists() else ""
    rows = re.findall(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%", text, re.M)
    return [
        f"{int(used):,} {cell} where there are {int(available):,}"
        for cell, used, available in rows
        if int(used) > int(available)
    ]


def _command(tool: str) -> list[str]:
    """How to start ``tool``: that of the wheel beside this Python, else the one on ``PATH``."""
    wheel = "nextpnr-ecp5" if tool in ("ecppll", "ecppack") else tool
    package, function = f"yowasp_{wheel.replace('-', '_')}", tool.replace("-", "_")
    if importlib.util.find_spec(package):
        start = f"{package}.run_{function}(sys.argv[1:])"
        return [sys.executable, "-c", f"import sys, {package}; sys.exit({start})"]
    if found := shutil.which(tool):
        return [found]
    raise AccelError(f"{tool} is not installed: 'pip install yowasp-{wheel}' provides it")


def _version(tool: str) -> str:
    done = subprocess.run([*_command(tool), "--version"], capture_output=True, text=True)
    answer = done.stdout + done.stderr
    found = re.search(r"Yosys \S+|nextpnr-\d[^)\s]*", answer)
    return found[0] if found else answer.strip()


def run_tool(
    tool: str,
    arguments: list[str],
    folder: Path,
    stop: threading.Event | None = None,
    watch: Callable[[str], None] | None = None,
) -> None:
    """Run ``tool`` in ``folder``, where it writes what it says to a log of its name. It never
    outlives this function, nor this process. Once ``stop`` is set, it is ended. ``watch`` is called
    with the log's last line, several times a second.

    Raises :class:`AccelError` if it is missing, or with its own message if it fails.
    """
    command = _command(tool)
    output, log = folder / f"{tool}.out", folder / f"{tool}.log"
    # Not all that Yosys says after a call of ABC reaches its standard output.
    keeps_log = tool == "yosys" or tool.startswith("nextpnr")
    logged = [*command, *(["-q", "-l", log.name] if keeps_log else []), *arguments]
    # What a tool that is ended leaves of its own goes with the folder.
    env = os.environ | {"TMPDIR": str(folder)}
    with output.open("wb") as f, started(logged, cwd=folder, env=env, output=f) as process:
        while (status := process.poll()) is None:
            if stop and stop.is_set():
                raise AccelError(f"{tool} was stopped")
            if watch and log.exists():
                watch(_last_line(log))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
    if status:
        text = "".join(p.read_text(errors="replace") for p in (output, log) if p.exists())
        errors = re.findall(r"^ERROR: .*", text, re.M)[:1] or text.strip().splitlines()[-1:]
        raise AccelError(f"{tool} failed with status {status}: {'; '.join(errors) or 'no message'}")


def _last_line(log: Path) -> str:
    with log.open("rb") as f:
        f.seek(max(0, log.stat().st_size - 1000))
        return f.read().decode(errors="replace").rpartition("\n")[0].rpartition("\n")[2]
