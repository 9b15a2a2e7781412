"""What the trace and the waveform show is what the simulations hold."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections import Counter

import numpy as np
import pytest
from typer.testing import CliRunner
from vcd.reader import TokenKind, tokenize

from accel import cli
from accel.compiler.compile import compile
from accel.errors import AccelError
from accel.hardware.config import load_config
from accel.hardware.status import STREAMS, Activity
from accel.network.graph import Network
from accel.reports import trace_text
from accel.simulation import trace
from accel.simulation.runner import RTLStepper, simulate
from accel.simulation.waveform import GROUPS, PERIOD, Waveform
from tests.networks import Conv, Linear, added, looked_up, random_images, random_network

RNG = np.random.default_rng(11)
NETWORK = random_network(RNG, (1, 9, 9), [Conv(5, (3, 3), pool=True), Conv(20, (1, 1)), Linear(7)])
# The 1x1 convolution's outputs come faster than so few lanes requantize them: it stalls.
PROGRAM = compile(NETWORK, load_config("tiny"))
IMAGES = random_images(RNG, NETWORK, 2)
ADDER_CONFIG = load_config({"preset": "tiny", "adder": True})


@pytest.fixture(scope="module")
def traced():
    """Two images at level rtl, from the first cycle to the last, and the last 150 cycles' VCD."""
    end = trace.locate(PROGRAM, IMAGES, 0).end
    waveform = Waveform(1)
    states = trace.trace(PROGRAM, IMAGES, end - 150, end, level="rtl", waveform=waveform)
    return end, states, waveform


def test_waveform_of_columns_that_share_multipliers(tmp_path):
    """They have no sums of their own in a row; all else is shown."""
    program = compile(NETWORK, load_config({"preset": "tiny", "packed_multipliers": True}))
    waveform = Waveform(1)
    states = trace.trace(program, IMAGES, 0, 20, level="rtl", waveform=waveform)
    assert states == trace.trace(program, IMAGES, 0, 20)
    setup = waveform.save(tmp_path / "wave.vcd").read_text()
    shown = re.findall(r"(?m)^accelerator\.\w\S*$", setup)
    assert len(shown) == sum(map(len, GROUPS.values())) - 3
    assert "accelerator.pe_array.accumulators__1.acc[24:0]" in shown


def test_levels_show_the_same(traced):
    """The cycle-level model, from reset on, and the RTL in the last cycles."""
    end, states, _ = traced
    every = trace.trace(PROGRAM, IMAGES, 0, end + 1000)
    assert len(every) == end
    assert every[-150:] == states
    assert len(states) == 150


def test_states_are_what_happened(traced):
    """The trace's counts are those of the runner, which knows nothing of it."""
    end, _, _ = traced
    states = trace.trace(PROGRAM, IMAGES, 0, end)
    run = simulate(PROGRAM, IMAGES, level="cl", jobs=1)
    (chunk,) = run.chunks
    assert [s.result for s in states if s.result is not None] == chunk.results.ravel().tolist()
    assert end == chunk.last_result[-1] + 1
    for image in range(2):
        for layer in range(len(PROGRAM.layers)):
            place = trace.locate(PROGRAM, IMAGES, layer, image)
            assert place.cycles == chunk.spent[image, layer].sum()
            assert place.end == chunk.last_result[image] + 1
            window = states[place.start : place.start + place.cycles]
            count = Counter(s.activity for s in window if s.layer == layer)
            spent = chunk.spent[image, layer]
            assert count == {a: spent[a] for a in Activity if spent[a]}
    taken = Counter(s.taken for s in states)
    assert (taken["prog"], taken["image"]) == (len(PROGRAM.words), 2 * PROGRAM.image_words)


def test_lines_are_equally_wide_and_say_who_stalls(traced):
    """The last column alone is not; the machine's stalls are said in words."""
    end, _, _ = traced
    states = trace.trace(PROGRAM, IMAGES, 0, end)
    fixed = sum(column.width + 2 for column in trace_text.columns(PROGRAM))
    traced = trace.Traced(PROGRAM, "cl", trace.Place(0, 0, 1, end), 0, states)
    heading = trace_text.heading(traced)[1].plain
    said = Counter()
    for state, line in zip(states, trace_text.lines(traced), strict=True):
        who = trace.who_stalls(PROGRAM, state)
        assert line.plain[fixed:] == who
        assert line.plain[: len("      0")].strip().isdecimal()
        marks = line.plain[heading.index("nh p") :][:2]
        assert marks == "".join(".#"[x] for x in (state.next_vector, state.held_vector))
        said[who] += 1
        stalled = dict(zip(STREAMS, (val and not rdy for val, rdy in state.streams), strict=True))
        assert ("requantizer stalls pooling unit" in who) == stalled["pooled"]
        assert ("pooling unit, PE array" in who) == (stalled["pooled"] and stalled["acc"])
    assert any("requantizer stalls pooling unit, PE array, operand fetch" in who for who in said)
    assert any("waits until layer1 is written" in who for who in said)
    assert "step sequencer waits for an image" in said


def test_adder(traced):
    """Its own column where there is one: the same at both levels, and full when it adds."""
    (layer,) = random_network(RNG, (2, 2, 2), [Conv(3, (1, 1))]).layers
    twice = added(RNG, "twice", layer.output, layer.output)
    network = Network(name="sum", operations=(layer, twice))
    program = compile(network, ADDER_CONFIG)
    images = random_images(RNG, network, 1)
    end = trace.locate(program, images, 0).end
    states = trace.trace(program, images, 0, end)
    assert trace.trace(program, images, 0, end, level="rtl") == states
    # Every vector that is added waits, and its beats pass every stage.
    assert max(s.operands for s in states) > 0 and max(s.to_add for s in states) > 0
    assert all(any(s.adder[stage] for s in states) for stage in range(len(trace_text.ADDER)))
    shown = trace.Traced(program, "cl", trace.Place(0, 0, 1, end), 0, states)
    at = trace_text.heading(shown)[1].plain.index(" v q 1")
    for state, line in zip(states, trace_text.lines(shown), strict=True):
        marks = "".join(".#"[x] for x in state.adder)
        assert line.plain[at:].startswith(f"{state.operands:2d} {state.to_add} {marks}")
    assert any(line.startswith("adder: ") for line in trace_text.legend(shown))
    _, states, _ = traced
    without = trace.Traced(PROGRAM, "cl", trace.Place(0, 0, 1, 9), 0, states)
    assert "adder" not in trace_text.heading(without)[0].plain


def test_tables():
    """As for the adder, and between it and the requantizer where there are both."""
    (layer,) = random_network(RNG, (2, 2, 2), [Conv(3, (1, 1), relu=False)]).layers
    table = looked_up(RNG, "swish", layer.output, "hardswish")
    network = Network(name="tables", operations=(layer, table))
    program = compile(network, dataclasses.replace(ADDER_CONFIG, tables=1))
    images = random_images(RNG, network, 1)
    end = trace.locate(program, images, 0).end
    states = trace.trace(program, images, 0, end)
    assert trace.trace(program, images, 0, end, level="rtl") == states
    assert {s.tables for s in states} >= {(True, False), (False, True)}
    shown = trace.Traced(program, "cl", trace.Place(0, 0, 1, end), 0, states)
    heading = trace_text.heading(shown)
    at = heading[1].plain.index("vo ")
    assert heading[0].plain[at:].startswith("tables  adder")
    for state, line in zip(states, trace_text.lines(shown), strict=True):
        assert line.plain[at:].startswith("".join(".#"[x] for x in state.tables))
    assert any(line.startswith("tables: ") for line in trace_text.legend(shown))


def values(text):
    """Of each cycle: every signal's value, by full name; from the file alone."""
    scopes, names, now, cycles = [], {}, {}, {}
    for token in tokenize(io.BytesIO(text.encode())):
        if token.kind is TokenKind.SCOPE:
            scopes.append(token.scope.ident)
        elif token.kind is TokenKind.UPSCOPE:
            scopes.pop()
        elif token.kind is TokenKind.VAR:
            full = ".".join([*scopes, token.var.reference])
            if token.var.bit_index is not None:
                full += "[{}:{}]".format(*token.var.bit_index)
            assert full not in names
            names[full] = token.var.id_code
        elif token.kind is TokenKind.CHANGE_TIME:
            time = token.data
        elif token.kind in (
            TokenKind.CHANGE_SCALAR,
            TokenKind.CHANGE_VECTOR,
            TokenKind.CHANGE_STRING,
        ):
            change = token.data
            now[change.id_code] = change.value
            # The falling edge ends what changes in a cycle.
            falls = change.id_code == names["accelerator.clk"] and time % PERIOD == PERIOD // 2
            if falls:
                cycles[time // PERIOD] = {n: now[code] for n, code in names.items()}
    return cycles


def test_waveform_holds_the_simulation(traced, tmp_path):
    """Signal by signal and cycle by cycle, against a second simulation without a waveform."""
    end, states, waveform = traced
    path = tmp_path / "new" / "wave.vcd"
    setup = waveform.save(path)
    cycles = values(path.read_text())
    assert sorted(cycles) == list(range(end - 150, end))
    some = next(iter(cycles.values()))
    assert len(some) > 1000

    shown = re.findall(r"(?m)^accelerator\.\w\S*$", setup.read_text())
    assert len(shown) == sum(map(len, GROUPS.values()))
    assert set(shown) <= set(some)
    assert {f"accelerator.pe_array.row{r}__1.row[19:0]" for r in range(3)} <= set(shown)

    stepper = RTLStepper(PROGRAM.cfg)
    words, pixels = list(PROGRAM.words), PROGRAM.pack_images(IMAGES).ravel().tolist()
    for cycle in range(end):
        image = pixels[0] if pixels and not words else None
        took_prog, took_image, _ = stepper.settle(words[0] if words else None, image)
        if cycle in cycles:
            found, top = cycles[cycle], stepper.top
            for name, value in (
                ("activity[3:0]", top.activity),
                ("streams[9:0]", top.streams),
                ("result__val", top.result.val),
                ("pe_array.valid[3:0]", top.pe_array.valid),
                ("pe_array.row0__1.row", top.pe_array.row0[1].row),
                ("pe_array.acc__msg__acc", top.pe_array.acc.msg.acc),
                ("pe_array.step__msg__w", top.operand_fetch.step.msg.w),
                ("requantizer.out__msg__y", top.requantizer.out.msg.y),
                ("write_sequencer.queue.head__y", top.write_sequencer.queue.head.y),
                ("requantizer.lanes__0.y", top.requantizer.lanes[0].y),
                ("operand_fetch.x__4", top.operand_fetch.x[4]),
            ):
                full = "accelerator." + name
                if full not in found:
                    full += f"[{value.nbits - 1}:0]"
                assert int(found[full]) == int(value), (cycle, name)
            state = states[cycle - (end - 150)]
            said = trace.waveform_names(PROGRAM, state)
            for name, text in said.items():
                assert found[f"accelerator.trace.{name}"] == text.replace(" ", "_")
        stepper.edge()
        del words[:took_prog], pixels[:took_image]
    changed = {n for n in some if len({str(c[n]) for c in cycles.values()}) > 1}
    assert {"accelerator.trace.issue", "accelerator.requantizer.valid[10:0]"} <= changed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "'5' is no range of cycles: expected two whole numbers, such as 0:40"),
        ("a:b", "is no range"),
        ("-1:5", "is no range"),
        ("5:5", "the range of cycles 5:5 is empty"),
        ("9:5", "the range of cycles 9:5 is empty"),
    ],
)
def test_ranges(text, message):
    with pytest.raises(AccelError, match=f"^.*{re.escape(message)}"):
        trace.parse_cycles(text)


def test_the_column_asked_for_is_shown():
    """And what differs from level cl has a star before it, in whichever column it is."""
    shown = trace.trace_layer(PROGRAM, IMAGES[1:], "layer0", (0, 60), column=1)
    at, state = next((i, s) for i, s in enumerate(shown.states) if s.acc is not None)
    line = list(trace_text.lines(shown))[at].plain
    assert f"{state.acc[1]:>10}" in line and state.acc[0] != state.acc[1]
    assert "*" not in line and trace_text.differing(shown) == []

    # As if another column, and later the pooling unit, had come out otherwise at level rtl
    other = list(shown.states)
    other[at] = state._replace(acc=(state.acc[0] + 1, *state.acc[1:]))
    other[at + 1] = other[at + 1]._replace(pooled=None, next_vector=not other[at + 1].next_vector)
    held = trace.Traced(PROGRAM, "rtl", shown.place, 0, other, 1, shown.states)
    found = list(trace_text.lines(held))
    assert [i for i, text in enumerate(found) if "*" in text.plain] == trace_text.differing(held)
    assert trace_text.differing(held)[0] == at
    first, second = found[at].plain, found[at + 1].plain
    assert f"{state.acc[1]:>10}" in first and first.count("*") == 1
    assert second.count("*") >= 1 and len(second) >= len(first.rstrip()) - 20
    assert trace_text.record(held)["differing"][:2] == [at, at + 1]
    assert any("level cl" in line for line in trace_text.legend(held))


# The command


def command(*arguments):
    return CliRunner().invoke(cli.app, ["trace", *map(str, arguments)], env={"COLUMNS": "80"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer", "conv9"), "there is no layer 'conv9': expected one of conv1 (number 0), "),
        (("--layer", "5"), "there is no layer '5'"),
        (("--layer", "fc3", "--cycles", "3"), "'3' is no range of cycles"),
        (
            ("--layer", "fc3", "--cycles", "0:9999"),
            "cycles 0:9999 go beyond the end: layer 'fc3' takes 38 cycles, and the image's last",
        ),
        (("--layer", "0", "--level", "fl"), "level 'fl' has no units to look into"),
        (("--layer", "0", "--level", "cl", "--vcd", "x.vcd"), "level 'cl' has no signals"),
        (("--layer", "0", "--vcd", "x.fst"), "the file's name must end in .vcd"),
        (("--layer", "0", "--vcd", "/proc/nowhere/x.vcd"), "cannot write /proc/nowhere/x.vcd"),
        (("--layer", "0", "--before", "1"), "before image 0 there are 0 images, not 1"),
        (("--layer", "0", "--column", "8"), "there is no column 8: configuration"),
        (("--layer", "0", "--image", "20000", "--data", "nowhere"), "nowhere has no"),
    ],
)
def test_what_a_user_can_do_wrong(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_last_cycle_can_be_asked_for():
    """And the result is in it; with an image before, the same layer starts later."""
    beyond = command("--layer", "fc3", "--cycles", "0:9999").stderr
    end = int(re.search(r"within 0:(\d+)", beyond)[1])
    result = command("--layer", "4", "--cycles", f"{end - 2}:{end}")
    assert result.exit_code == 0, result.output
    # The winning class of the first image is the last word.
    assert f"  {9:016x}" in result.stdout.splitlines()[-1]
    assert command("--layer", "4", "--cycles", f"{end}:{end + 1}").exit_code == 2
    starts = [
        int(re.search(r"from cycle ([\d,]+)", said)[1].replace(",", ""))
        for said in (
            command("--layer", "fc3", "--image", "1").stdout,
            command("--layer", "fc3", "--image", "1", "--before", "1").stdout,
        )
    ]
    assert 3600 < starts[1] - starts[0] < 3800


def test_json():
    """The cycles that are printed, and what is printed of them."""
    options = ("--layer", "fc2", "--cycles", "3:30")
    record = json.loads(command(*options, "--json", "-").stdout)
    lines = command(*options).stdout.splitlines()[-27:]
    assert (record["layer"], record["level"], record["image"]) == ("fc2", "cl", 0)
    assert [cycle["cycle"] for cycle in record["cycles"]] == list(range(3, 30))
    for cycle, line in zip(record["cycles"], lines, strict=True):
        assert cycle["from_reset"] == record["layer_start"] + cycle["cycle"]
        assert f"{cycle['cycle']:7}  {cycle['from_reset']:7}  {cycle['layer']}" in line
        assert len(cycle["acc"] or range(8)) == 8
        assert cycle["issue"] in line
        assert cycle["stalls"] == "-" or line.endswith(cycle["stalls"])
        assert ("!" in line) == any(s["val"] and not s["rdy"] for s in cycle["streams"].values())


def test_vcd_of_a_network_of_the_users(tmp_path):
    """Both files are where the command says, and only they."""
    rng = np.random.default_rng(3)
    random_network(rng, (1, 28, 28), [Conv(2, (5, 5), stride=3), Linear(4)]).save(tmp_path / "net")
    vcd = tmp_path / "w.vcd"
    options = ("--network", tmp_path / "net", "--config", "tiny", "--vcd", vcd)
    result = command("--layer", "layer1", "--cycles", "0:5", *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"waveforms written to {vcd}: gtkwave {vcd} " + str(
        vcd.with_suffix(".gtkw")
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net", "w.gtkw", "w.vcd"]
    assert len(values(vcd.read_text())) == 5
