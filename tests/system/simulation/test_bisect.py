"""The unit in which something differs is the one that is named."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from accel import cli
from accel.compiler.compile import compile
from accel.hardware.config import AccelConfig
from accel.hardware.messages import Out, Param, Pooled
from accel.hardware.packets import Packet
from accel.simulation import bisect as bisecting
from accel.simulation import probes
from accel.simulation.bisect import Bisection, bisect
from cl_models import accelerator as cl
from cl_models.adder import AdderCoreCL
from cl_models.column_windows import ColumnWindowsCoreCL
from cl_models.pe_array import PEArrayCoreCL
from cl_models.pooling_unit import PoolingUnitCoreCL
from cl_models.requantizer import RequantizerCoreCL
from tests.networks import Conv, Linear, depthwise_network, random_images, random_network

CFG = AccelConfig(
    num_cols=4, num_lanes=2, pixel_groups=2, acc_nbits=26, spad_depth=8, act_depth=128,
    weight_depth=60, param_depth=20, max_layers=4,
)  # fmt: skip
RNG = np.random.default_rng(4)
NETWORK = random_network(RNG, (1, 6, 6), [Conv(3, (3, 3), 1, 1, True, True), Linear(5)])
PROGRAM = compile(NETWORK, CFG)
IMAGES = random_images(RNG, NETWORK, 2)
ALL_UNITS = dataclasses.replace(CFG, pixel_groups=1, line_width=6, adder=True, tables=2)
"""Column windows, adder and tables too."""

BLOCK_NETWORK = depthwise_network(RNG, signed=True)
BLOCK = compile(BLOCK_NETWORK, ALL_UNITS), random_images(RNG, BLOCK_NETWORK, 1)


@pytest.mark.parametrize("pauses", [0, 3])
def test_levels_that_agree(pauses: int) -> None:
    """In every probe and every cycle, also when streams pause: so each says what it should."""
    progress: list[tuple[int, int]] = []
    found = bisect(PROGRAM, IMAGES, pauses=pauses, progress=lambda *done: progress.append(done))
    assert found.divergence is None and found.loaded
    assert progress[-1][0] == progress[-1][1] == found.cycles


def test_levels_that_agree_in_all_units() -> None:
    found = bisect(*BLOCK, whole=False)
    assert found.divergence is None and found.cycles > 500


RIGHT = {
    "watchdog.stuck", "program_loader.error", "program_loader.failed", "program_loader.close",
    "program_loader.last_layer", "step_sequencer.command.pad_value", "image_loader.waits",
    "step_sequencer.command.is_signed", "write_sequencer.out.rdy", "step_sequencer.out_waits",
    "param_sequencer.param.msg.hi", "image_loader.hold", "operand_fetch.reading_input",
    "pooling_unit.acc.rdy", "pe_array.step.rdy",
}  # fmt: skip
"""A right program has no error, and nothing hangs, pauses, or makes an image wait."""
# The queue of what is added is never full, no other runtime rounds, nothing is pooled, and all that
# is stored is signed.
WITH_ALL_UNITS = RIGHT | {
    "adder.operand.rdy", "param_sequencer.param.msg.ties_away", "tables.value.rdy",
    "param_sequencer.param.msg.table_signed", "requantizer.out.msg.table_signed",
}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "images", "may_be_still"), [(PROGRAM, IMAGES, RIGHT), (*BLOCK, WITH_ALL_UNITS)]
)
def test_probes_are_not_blind(program: Any, images: Any, may_be_still: set[str]) -> None:
    """Each is looked at in some cycle of that run, and has another value in some."""
    cfg = program.cfg
    seen: dict[str, set[str]] = {}
    where = [*probes.now(cfg), *probes.edge(cfg)]
    look = probes.Look(cl.AcceleratorCoreCL(cfg))
    words, pixels = list(program.words), program.pack_images(images).ravel().tolist()
    payloads = probes.payloads(words, cfg)
    taken = 0
    for _ in range(1500):
        core = look.core
        core.evaluate(True)
        prog = words[taken] if taken < len(words) else None
        image = pixels[0] if prog is None and pixels else None
        took_prog = prog is not None and core.prog_rdy
        took_image = image is not None and core.image_rdy
        for probe in where:
            value = probe.cl(look)
            if value is not None:
                seen.setdefault(probe.signal, set()).add(repr(value))
        look.payload = payloads[taken] if took_prog else None
        core.tick(
            prog is not None, prog if took_prog else None, image if took_image else None, True
        )
        taken += took_prog
        del pixels[:took_image]
    still = {probe.signal for probe in where} - {s for s, values in seen.items() if len(values) > 1}
    if cfg != CFG:
        still -= {probe.signal for probe in probes.now(CFG)}
        still = {signal for signal in still if not re.search("pool_|idx", signal)}
    assert still <= may_be_still


def change(monkeypatch: pytest.MonkeyPatch, core: Any, method: str, after: Any) -> None:
    """``after`` is called with the core once ``method`` has run."""
    original = getattr(core, method)

    def changed(self: Any, *arguments: Any, **options: Any) -> Any:
        result = original(self, *arguments, **options)
        after(self)
        return result

    monkeypatch.setattr(core, method, changed)


def acc_column_3(core: Any) -> None:
    if core.out is not None:
        core.out.acc[3] += 1


def best_column_2(core: Any) -> None:
    if core.out is not None:
        core.out = Pooled(core.out.acc + np.array([0, 0, 1, 0]))


def out_lane_1(core: Any) -> None:
    if core.out is not None:
        core.out = Out(core.out.y ^ np.array([0, 1]))


def bias_lane_0(core: Any) -> None:
    if core.data is not None:
        core.data = core.data._replace(bias=core.data.bias + np.array([1, 0]))


def one_byte(core: Any) -> None:
    if core.port.pending is not None:
        at, data, serial = core.port.pending
        if serial is not None:
            core.port.pending = at, data ^ 1, serial


def image_byte(core: Any) -> None:
    if core.port.pending is not None:
        at, data, serial = core.port.pending
        if serial is None:
            core.port.pending = at, data ^ 1, None


def result_word(core: Any) -> None:
    if core.out is not None:
        core.out ^= 4


def window_tap(core: Any) -> None:
    if core.out is not None:
        x = core.out.x.copy()
        x[2, 4] ^= 1
        core.out = core.out._replace(x=x)


def term(core: Any) -> None:
    if core.out is not None:
        core.out = core.out._replace(zero_point=core.out.zero_point ^ 1)


def vector_to_add(core: Any) -> None:
    if core.operands:
        core.operands[0] = core.operands[0] ^ np.array([0, 1, 0, 0])


def no_fill(core: Any) -> None:
    core.since = 20


FAULTS: dict[str, tuple[Any, str, Any, str, str]] = {
    "accumulator": (PEArrayCoreCL, "tick", acc_column_3, "pe_array.acc.msg.acc", "column 3"),
    "maximum": (
        PoolingUnitCoreCL,
        "tick",
        best_column_2,
        "pooling_unit.pooled.msg.acc",
        "column 2",
    ),
    "output": (RequantizerCoreCL, "tick", out_lane_1, "requantizer.out.msg.y", "lane 1"),
    "bias": (cl.ParamSequencer, "tick", bias_lane_0, "param_sequencer.param.msg.bias", "lane 0"),
    "written byte": (cl.WriteSequencer, "tick", one_byte, "write_sequencer.write_data", "byte "),
    "image": (cl.ImageLoader, "tick", image_byte, "image_loader.write_data", "byte "),
    "result": (cl.ResultPacker, "tick", result_word, "write_sequencer.result.msg", "byte 0"),
    "activity": (cl.StepSequencer, "advance", no_fill, "step_sequencer.activity", ""),
}
BLOCK_FAULTS: dict[str, tuple[Any, str, Any, str, str]] = {
    "window": (
        ColumnWindowsCoreCL,
        "tick",
        window_tap,
        "operand_fetch.column_windows.step.msg.x",
        "column 2 tap 4",
    ),
    "terms": (cl.TermSequencer, "tick", term, "term_sequencer.terms.msg.zero_point", ""),
    "added": (AdderCoreCL, "tick", vector_to_add, "adder.operands.rdata", "column 1"),
    "sum": (AdderCoreCL, "tick", out_lane_1, "adder.sums", "lane 1"),
}
FAULTS |= BLOCK_FAULTS
"""What is changed, and what is named first: the signal's first part is the unit."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_its_unit(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted in the cycle-level model, which is the easier one to change: the levels differ, and
    it does not matter which of them is right."""
    core, method, after, signal, place = FAULTS[fault]
    unit = signal.partition(".")[0]
    change(monkeypatch, core, method, after)
    found = bisect(*(BLOCK if fault in BLOCK_FAULTS else (PROGRAM, IMAGES))).divergence
    assert found is not None
    assert (found.unit, found.signal) == (unit, signal)
    assert found.elements[0].place.startswith(place)
    column = re.match(r"column (\d)", place)
    assert found.column == (column and int(column[1]))
    said = str(found)
    assert f"unit {unit}, signal {signal}" in said
    assert re.match(
        rf"first difference: cycle {found.cycle:,}, cycle [\d,]+ of layer 'layer\d'", said
    )


def test_an_early_fault_has_the_cycle_of_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether weights are loaded word by word or are there from the start."""
    change(monkeypatch, PEArrayCoreCL, "tick", acc_column_3)
    quick = bisect(PROGRAM, IMAGES)
    whole = bisect(PROGRAM, IMAGES, whole=True)
    assert not quick.loaded and whole.loaded
    assert quick == dataclasses.replace(whole, loaded=False)


def test_a_weight_that_was_loaded_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is seen as soon as it comes, in the run that loads it."""
    real = probes.payloads

    def wrong(words: Any, cfg: Any) -> Any:
        found = real(words, cfg)
        for i, payload in enumerate(found):
            if payload is not None and payload[0] == Packet.WEIGHTS:
                found[i] = (*payload[:3], payload[3] ^ 1)
        return found

    monkeypatch.setattr(probes, "payloads", wrong)
    found = bisect(PROGRAM, IMAGES).divergence
    assert found is not None and found.layer is None
    assert (found.unit, found.signal) == ("program_loader", "program_loader.data")
    assert "while the program is loaded" in str(found)


def test_what_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that the RTL offers later is said to come, and when."""

    def early(core: Any) -> None:
        if core.out is None and core.data is not None:
            core.out, core.data = core.data, None

    change(monkeypatch, cl.ParamSequencer, "tick", early)
    found = bisect(PROGRAM, IMAGES).divergence
    assert found is not None and found.unit == "param_sequencer"
    assert str(found).endswith("; param_sequencer.param.val comes 1 cycle later in the RTL")


# The command


def command(*arguments: Any) -> Any:
    return CliRunner().invoke(cli.app, ["bisect", *map(str, arguments)], env={"COLUMNS": "80"})


@pytest.fixture
def network_file(tmp_path: Any) -> Any:
    network = random_network(
        np.random.default_rng(3), (1, 28, 28), [Conv(2, (5, 5), stride=3), Linear(4)]
    )
    network.save(tmp_path / "net")
    return tmp_path / "net"


def test_command_where_all_is_well(network_file: Any, tmp_path: Any) -> None:
    out = tmp_path / "bisect.json"
    done = command("--network", network_file, "--config", "tiny", "--json", out)
    assert done.exit_code == 0, done.output
    assert "the RTL and level cl agree in every one of" in done.stdout
    assert "equals the outputs of PyTorch's quantized kernels" in done.stdout
    assert json.loads(out.read_text())["divergence"] is None


def test_command_names_unit_and_next_step(
    network_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acc_column_1(core: Any) -> None:
        if core.out is not None:
            core.out.acc[1] += 1

    change(monkeypatch, PEArrayCoreCL, "tick", acc_column_1)
    done = command("--network", network_file, "--config", "tiny")
    assert done.exit_code == 1
    assert "unit pe_array, signal pe_array.acc.msg.acc, column 1" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("next: ")]
    assert line.startswith("next: accel trace --layer layer0 --cycles ")
    assert f"--column 1 --level rtl --image 0 --network {network_file} --config tiny" in line


@pytest.mark.parametrize("functional", [True, False])
def test_command_where_both_levels_are_wrong(
    network_file: Any, monkeypatch: pytest.MonkeyPatch, functional: bool
) -> None:
    """The levels are then not to blame for the difference between them, but what they share is."""
    agree = Bisection(divergence=None, cycles=5, loaded=True)
    monkeypatch.setattr(bisecting, "bisect", lambda *_, **__: agree)
    said = "first difference: image 0"
    monkeypatch.setattr(
        "accel.simulation.difference.first_difference",
        lambda network, program, images, image, level: (
            said if level == "cl" or functional else None
        ),
    )
    done = command("--network", network_file, "--config", "tiny")
    assert done.exit_code == 1
    assert said in done.stdout
    assert ("accel/compiler" in done.stdout) == functional
    assert ("level fl is not" in done.stdout) != functional


def test_params_of_messages_are_what_probes_compare() -> None:
    """A field that joins a message has to join the probes."""
    # With an adder and tables it has all fields.
    signals = {probe.signal for probe in probes.now(ALL_UNITS)}
    for name in Param._fields:
        assert f"param_sequencer.param.msg.{name}" in signals
