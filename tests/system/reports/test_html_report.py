"""The page of a run, in a real browser where there is one, and the record that it is made from."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from accel import cli
from accel.compiler.compile import compile
from accel.errors import AccelError
from accel.fashion_mnist import data
from accel.fashion_mnist.training import to_input
from accel.hardware.config import TAPS, base, wide
from accel.hardware.packets import ProgramMemory
from accel.hardware.walk import reads
from accel.images import Images, find, of_fashion_mnist
from accel.reports import evaluation, html_report
from accel.reports import record as records
from accel.reports.record import Record
from accel.runtimes.qnnpack import run_network
from tests.networks import Conv, Linear, random_network

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP, PHONE = 1280, 390
CHARTS = {
    "confusion", "recall", "cycles", "lost", "roofline", "traffic", "energy", "variants", "memory"
}  # fmt: skip
HOSTILE = (
    "</script><script>window.taken=1</script><img src=x onerror='window.taken=1'>\"{{7*7}}%{x}"
)
BOLD = "<b>x</b>"

# Of the bundled test images some that the bundled network gets right, and some that it does not.
PICKED = [0, 1, 2, 23, 42, 68, 147]


def picked() -> Images:
    return of_fashion_mnist(data.bundled_images()[np.array(PICKED)])


def evaluated(level: str, cfg: Any = base) -> evaluation.Evaluation:
    return evaluation.evaluate(data.bundled_network(), cfg, picked(), level=level, jobs=1)


@pytest.fixture(scope="module")
def timed() -> Record:
    return evaluated("cl").record("accel run --level cl")


@pytest.fixture(scope="module")
def untimed() -> Record:
    return evaluated("fl").record()


def changed(record: Record, **fields: Any) -> Record:
    """Another record, which passes the checks of one that was read from a file."""
    return Record.model_validate_json(json.dumps(json.loads(record.model_dump_json()) | fields))


# The record


def test_what_the_record_says_of_the_images() -> None:
    shown = of_fashion_mnist(data.bundled_images())
    found = evaluation.evaluate(data.bundled_network(), base, shown, level="fl", jobs=2)
    record, images = found.record(), data.bundled_images()
    network = data.bundled_network()
    x = found.run.program.quantize(to_input(images.pixels).numpy())
    logits = run_network(network, x)[-1]
    winners = logits.argmax(axis=1)

    for label, row in enumerate(record.confusion):
        assert row == [int((winners[images.labels == label] == k).sum()) for k in range(10)]
    assert sum(map(sum, record.confusion)) == record.images == 1000

    assert (
        sorted(image.index for image in record.wrong)
        == np.flatnonzero(winners != images.labels).tolist()
    )
    errors = []
    for image in record.wrong + record.least_certain:
        i = image.index
        assert (image.label, image.winner) == (images.labels[i], winners[i])
        assert image.logits == logits[i].tolist()
        assert image.pixels == images.pixels[i].tobytes()
        errors.append(image.logits[image.winner] - image.logits[image.label])
    errors = errors[: len(record.wrong)]
    assert errors == sorted(errors, reverse=True)

    two = np.sort(logits, axis=1)[:, -2:]
    leads = (two[:, 1] - two[:, 0])[[image.index for image in record.least_certain]].tolist()
    assert leads == sorted(two[:, 1] - two[:, 0])[: len(leads)]
    assert len(leads) == evaluation.MANY_UNCERTAIN


def test_a_class_that_there_is_not(timed: Record) -> None:
    """Wrong hardware may name one: the run says so, and the page is drawn."""
    found = evaluated("fl")
    found.run.winners[0] = -1
    assert found.mismatched_outputs == 1
    record = found.record()
    assert len(record.classes) == 11 and record.confusion[found.labels[0]][10] == 1
    assert next(image for image in record.wrong if image.index == 0).winner == 10
    assert 'class="card' in html_report.page(record)


def test_the_page_says_how_outputs_were_compared(timed: Record) -> None:
    page = html_report.page(timed)
    assert "How outputs were compared" in page and "docs/verification.md" in page
    assert f"{timed.outputs} values, of which 0 differ" in page
    assert "The outputs are those of the cycle-level model" in page
    assert [bar.name for bar in html_report._figures(timed)["recall"].data] == [
        "recall",
        "precision",
    ]
    assert "accel trace --layer NAME --cycles A:B" in page


def test_a_record_is_read_as_it_was_written(timed: Record, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(timed.model_dump_json())
    assert records.load(tmp_path / "run.json") == timed
    assert timed.versions.keys() == {"accel", "PyMTL3", "PyTorch", "NumPy", "Python", "platform"}
    assert timed.configuration["num_cols"] == 8


@pytest.mark.parametrize("cfg", [base, wide], ids=["base", "wide"])
def test_no_layer_is_above_the_roof(cfg: Any) -> None:
    record = evaluated("cl", cfg).record()
    figure = html_report._figures(record)["roofline"]
    for trace, layer in zip(figure.data[1:], record.layers, strict=True):
        (x,), (y,) = trace.x, trace.y
        words, activations = layer.traffic["weight_words"], layer.traffic["activation_bytes"]
        assert x == pytest.approx(layer.macs / (TAPS * cfg.num_cols * words + activations))
        assert y == layer.macs / layer.cycles
        assert y <= cfg.num_multipliers
        assert y <= x * record.memory_bytes_per_cycle
        # As the issue stage counts: a byte more than the memories yield in a cycle is a mistake.
        assert TAPS * cfg.num_cols * words + activations <= (
            layer.steps * record.memory_bytes_per_cycle
        )


def test_bars_add_up(timed: Record) -> None:
    """What a chart shows of a layer is all of it."""
    figures = html_report._figures(timed)
    for i, layer in enumerate(timed.layers):
        sums = {
            name: sum(trace.x[i] for trace in figures[name].data)
            for name in ("cycles", "lost", "energy", "traffic")
        }
        assert sums["cycles"] == pytest.approx(layer.cycles)
        assert sums["lost"] == layer.cycles - layer.steps
        assert sums["energy"] == pytest.approx(sum(layer.energy["as it is"].values()))
        traffic = layer.traffic
        assert sums["traffic"] == (
            72 * traffic["weight_words"] + traffic["activation_bytes"] + traffic["result_bytes"]
        )
        work = figures["cycles"].data[0]
        assert work.name == "multipliers at work"
        assert work.x[i] / layer.cycles == pytest.approx(layer.utilization)


@pytest.mark.parametrize("cfg", [base, wide], ids=["base", "wide"])
@pytest.mark.parametrize("seed", range(3))
def test_tensors_lie_where_the_hardware_reads_and_writes_them(cfg: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    specs = [Conv(5, (3, 3), padding=1, pool=True), Conv(9, (2, 3)), Linear(20), Linear(7)]
    program = compile(random_network(rng, (2, 12, 10 + seed), specs), cfg)
    memory = ProgramMemory(cfg)
    for word in program.words:
        memory.take(word)
    tensors = program.tensors
    assert [t.name for t in tensors] == ["image", *(f"{x.name} output" for x in program.layers[:3])]
    assert program.act_rows == max(t.first_row + t.num_rows for t in tensors)
    for i, tensor in enumerate(tensors):
        descriptor = memory.layers[i]
        taps = reads(descriptor, cfg.pixel_groups)
        rows = taps.address[taps.inside] // TAPS
        # Every row of it, and no other.
        assert (rows.min(), rows.max()) == (
            tensor.first_row, tensor.first_row + tensor.num_rows - 1
        )  # fmt: skip
        if i + 1 < len(tensors):
            written = tensors[i + 1]
            assert TAPS * descriptor.write_row + descriptor.write_bank == TAPS * written.first_row
            # What a layer reads and writes at once, and the image, are apart.
            places = {(t.first_row, t.num_rows) for t in (tensors[0], tensor, written)}
            ends = sorted((first, first + num) for first, num in places)
            assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))


def test_the_map_shows_tensors_while_they_are_kept(timed: Record) -> None:
    bars = html_report._figures(timed)["memory"].data
    shown = [(b.x[0], b.width[0], b.base[0], b.y[0]) for b in bars]
    assert shown == [(0, 5, 0, 94), (0, 2, 94, 193), (1, 2, 287, 129), (2, 2, 94, 14),
                     (3, 2, 108, 10)]  # fmt: skip


def test_the_map_shows_an_image_whose_place_others_take() -> None:
    """What lives between its last reader and the layer after which the next one loads."""
    rng = np.random.default_rng(0)
    network = random_network(rng, (4, 28, 28), [Linear(60), *[Linear(900)] * 2, Linear(3)])
    small = dataclasses.replace(base, act_depth=512, weight_depth=65536, param_depth=1024)
    found = evaluation.evaluate(network, small, find("3", network, count=3), level="cl", jobs=1)
    assert found.mismatched_outputs == 0
    bars = html_report._figures(found.record())["memory"].data
    assert [(b.x[0], b.width[0]) for b in bars] == [(0, 1), (3, 1), (0, 2), (1, 2), (2, 2)]


def test_a_network_of_other_outputs(tmp_path: Path) -> None:
    """More outputs than there are classes, fewer, and a last layer that is a convolution."""
    rng = np.random.default_rng(3)
    for specs, num in (
        ([Linear(30)], 30),
        ([Conv(2, (5, 5), stride=5), Linear(3)], 10),
        ([Conv(3, (5, 5), stride=12)], 12),
    ):
        network = random_network(rng, (1, 28, 28), specs)
        found = evaluation.evaluate(network, wide, picked(), level="fl", jobs=1)
        assert found.mismatched_outputs == 0
        record = found.record()
        assert len(record.classes) == num
        assert 'class="card' in html_report.page(record)


# Files that are no record


def damaged(**fields: Any) -> Callable[[dict[str, Any]], str]:
    return lambda good: json.dumps(good | fields)


def without(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda good: json.dumps({k: v for k, v in good.items() if k != name})


def old(good: dict[str, Any]) -> str:
    return json.dumps({k: good[k] for k in ("level", "config", "cycles_per_image", "layers")})


def with_image(**fields: Any) -> Callable[[dict[str, Any]], str]:
    return lambda good: json.dumps(good | {"wrong": [good["wrong"][0] | fields]})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: "", "is not JSON"),
        (lambda _: "\x00\x01", "is not JSON"),
        (lambda _: "[" * 100_000, "is not JSON"),
        (lambda _: "[1]", "is JSON, but not what accel run wrote"),
        (lambda _: '{"record": "another"}', "is JSON, but not what accel run wrote"),
        (old, "was written by an older accel"),
        (damaged(version=2), "is a record of version 2, but this accel reads 3"),
        (damaged(version="2\n"), "is a record of version '2\\n', but"),
        (without("images"), "damaged record of accel run (images: Field required)"),
        (damaged(images=0), "(images: "),
        (damaged(images="many"), "(images: "),
        (damaged(extra=1), "(extra: "),
        (damaged(**{"a\nb": 1}), "(a\\nb: "),
        (damaged(accuracy=float("nan")), "(accuracy: "),
        (damaged(accuracy=1e300), "(accuracy: "),
        (damaged(layers=[]), "(layers: "),
        (damaged(cycles_per_image=None), "cycles of layers must be null as cycles_per_image is"),
        (
            lambda good: json.dumps(good | {"tensors": [good["tensors"][0] | {"kept": [[0, 6]]}]}),
            "tensors must be kept while some of the layers run",
        ),
        (damaged(confusion=[[1]]), "confusion must have a row and a column for each of classes"),
        (damaged(correct=None), "accuracy must be null where correct is"),
        (damaged(correct=None, accuracy=None), "confusion and wrong must be empty where correct"),
        (damaged(picture_shape=[28, 14, 2]), "pictures must have three colours, or none"),
        (damaged(picture_shape=[28, 29]), "pixels of an image must be 812 bytes"),
        (with_image(label=None), "label of an image must be null where correct is"),
        (damaged(made="today"), "(made: "),
        (with_image(pixels="AAAA"), "pixels of an image must be 784 bytes"),
        (with_image(pixels="<script>"), "(wrong.0.pixels: "),
        (with_image(label=10), "must be among classes"),
        (with_image(logits=[1] * 11), "must be among classes"),
        (with_image(logits=[10**30]), "must be int8 or uint8"),
    ],
)
def test_a_wrong_file_is_one_sentence(
    timed: Record, tmp_path: Path, make: Callable[[dict[str, Any]], str], message: str
) -> None:
    path = tmp_path / "run.json"
    path.write_text(make(json.loads(timed.model_dump_json())))
    result = CliRunner().invoke(cli.app, ["report", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"error: {path} ")
    assert message in result.stderr
    assert result.stderr.endswith(": write one with accel run --json FILE\n")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(AccelError, match=f"cannot read {path}: "):
            records.load(path)


# The command line


def test_run_and_report_write_the_same_page(tmp_path: Path) -> None:
    json_file, folder = tmp_path / "a run.json", tmp_path / "made"
    command = ["run", "--level", "fl", "--images", "30", "--json", str(json_file)]
    result = CliRunner().invoke(cli.app, [*command, "--report", str(folder)])
    assert result.exit_code == 0, result.output
    assert f"report: {folder / 'report.html'}" in result.stdout
    page = (folder / "report.html").read_text()
    assert records.load(json_file).command == (
        f"accel run --level fl --images 30 --json '{json_file}' --report {folder}"
    )
    assert f"<pre>accel run --level fl --images 30 --json &#39;{json_file}&#39; --report" in page
    again = tmp_path / "again"
    result = CliRunner().invoke(cli.app, ["report", str(json_file), "--out", str(again)])
    assert result.exit_code == 0, result.output
    assert (again / "report.html").read_text() == page


def test_run_says_before_the_work_that_it_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "evaluate", None)
    (tmp_path / "file").touch()
    result = CliRunner().invoke(cli.app, ["run", "--report", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: cannot write")


# In a browser


class Opened(NamedTuple):
    page: Any
    """Playwright's."""
    said: list[str]
    """Console messages and uncaught errors."""
    requests: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: Debian's package chromium has it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield found
        found.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[[Record | Path, int], Opened]]:
    opened = []

    def show(record: Record | Path, width: int) -> Opened:
        file = tmp_path / "report.html"
        if isinstance(record, Path):
            file = record
        else:
            file.write_text(html_report.page(record), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 800}, is_mobile=width < 500)
        opened.append(page)
        said: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        return Opened(page, said, [url for url in requests if not url.startswith("data:")])

    yield show
    for page in opened:
        page.close()


DRAWN = """() => Object.fromEntries([...document.querySelectorAll('.plot')].map(plot => {
  const box = plot.getBoundingClientRect();
  const marks = '.barlayer .point path, .hm image, .scatterlayer .points path';
  const shown = [...plot.querySelectorAll(marks)].filter(e => {
    const b = e.getBoundingClientRect();
    return b.width > 0.2 && b.height > 0.2;
  });
  const cut = [...plot.querySelectorAll('text')].filter(e => {
    const b = e.getBoundingClientRect();
    return b.width && (b.left < box.left - 1 || b.right > box.right + 1
      || b.top < box.top - 1 || b.bottom > box.bottom + 1);
  }).map(e => e.textContent);
  return [plot.id, {marks: shown.length, cut, width: box.width}];
}))"""
WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


def check(opened: Opened, charts: set[str]) -> dict[str, Any]:
    """Every chart draws something, no text of a chart is cut off, nothing is wider than the window,
    nothing was said on the console, and nothing but the file was asked for."""
    drawn = opened.page.evaluate(DRAWN)
    assert drawn.keys() == charts
    for name, chart in drawn.items():
        assert chart["marks"] >= 1, name
        assert chart["cut"] == [], name
    scrolled, width = opened.page.evaluate(WIDTHS)
    assert scrolled == width
    assert opened.said == []
    assert [url.partition("://")[0] for url in opened.requests] == ["file"]
    return drawn


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_page(timed: Record, show: Callable[..., Opened], width: int) -> None:
    opened = show(timed, width)
    drawn = check(opened, CHARTS)
    # 5 layers: multipliers at work and idle, and what was lost.
    assert drawn["confusion"]["marks"] == 2
    assert drawn["recall"]["marks"] == 2 * sum(row[i] > 0 for i, row in enumerate(timed.confusion))
    assert drawn["cycles"]["marks"] >= 10
    assert drawn["roofline"]["marks"] == 5
    assert drawn["memory"]["marks"] == 5
    # Charts take the width that there is.
    assert all(chart["width"] > 0.35 * width for chart in drawn.values())
    text = opened.page.inner_text("body")
    for words in ("test images through the accelerator at level cl", "accel run --level cl",
                  "0\nof 77 outputs differ", "num_cols", "PyTorch",
                  "(MACs), by an unvalidated model", "with another chip"):  # fmt: skip
        assert words in text
    images = opened.page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert images == [28] * (len(timed.wrong) + len(timed.least_certain))
    # A phone's font is not too small to read.
    size = "Math.min(...[...document.querySelectorAll('body *')].map(e => " \
           "parseFloat(getComputedStyle(e).fontSize)))"  # fmt: skip
    assert opened.page.evaluate(size) >= 11


def test_the_page_of_the_demo(show: Callable[..., Opened], tmp_path: Path) -> None:
    """As ``make demo`` writes it, of a run in Verilator."""
    result = CliRunner().invoke(cli.app, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for width in (DESKTOP, PHONE):
        opened = show(tmp_path / "report.html", width)
        check(opened, CHARTS)
        text = opened.page.inner_text("body")
        for words in ("1,000", "93.00%", "0\nof 11,000 outputs differ", "3,683", "accel demo"):
            assert words in text, words


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_page_without_time(untimed: Record, show: Callable[..., Opened], width: int) -> None:
    opened = show(untimed, width)
    check(opened, CHARTS - {"lost", "roofline"})
    text = opened.page.inner_text("body")
    assert "Needs cycles, which level fl does not have." in text
    assert "Called from Python." in text
    assert "None" not in text


def test_text_from_a_file_is_only_text(timed: Record, show: Callable[..., Opened]) -> None:
    raw = json.loads(timed.model_dump_json())
    for layer, tensor in zip(raw["layers"], raw["tensors"], strict=True):
        layer["name"] = layer["kind"] = tensor["name"] = HOSTILE
        layer["lost_cycles"] = {HOSTILE: 5.0}
        layer["energy"] = {HOSTILE: {HOSTILE: 3.0}}
    raw["layers"][0]["name"] = BOLD
    names = dict.fromkeys(("command", "network", "level", "config"), HOSTILE)
    names |= {"classes": [HOSTILE] * 10, "versions": {HOSTILE: HOSTILE}}
    opened = show(changed(timed, layers=raw["layers"], tensors=raw["tensors"], **names), PHONE)
    check(opened, CHARTS)
    assert opened.page.evaluate("window.taken") is None
    assert opened.page.locator("pre").inner_text() == HOSTILE
    assert opened.page.locator("h1").inner_text() == f"{HOSTILE} on 72 multipliers"
    # Plotly shows some HTML in its texts: not in these, which are cut short.
    ticks = [t.text_content() for t in opened.page.locator("#cycles .ytick text").all()]
    assert ticks == [BOLD, *[HOSTILE[:17] + "…"] * 4]
    assert json.loads(html_report._json_for_html({"a": HOSTILE})) == {"a": HOSTILE}
    assert not set("<>&") & set(html_report._json_for_html({"a": HOSTILE + "&"}))
    # Even if a script came in, the page's policy would not let it run.
    opened.page.evaluate(
        "s = document.createElement('script'); s.textContent = 'window.taken = 1';"
        "document.body.append(s)"
    )
    assert opened.page.evaluate("window.taken") is None
    assert re.search("Content Security Policy", opened.said.pop())


def test_the_browser_may_load_nothing(timed: Record, show: Callable[..., Opened]) -> None:
    """And this test's ears hear it."""
    opened = show(timed, DESKTOP)
    opened.page.evaluate("document.images[0].src = 'http://localhost:9/image.png'")
    opened.page.evaluate("fetch('http://localhost:9/').catch(() => null)")
    assert {"image.png" in words for words in opened.said} == {True, False}
    assert all("Content Security Policy" in words for words in opened.said)


@pytest.mark.parametrize("num", [1, 40])
def test_few_and_many_layers(timed: Record, show: Callable[..., Opened], num: int) -> None:
    """Long names, equal names, figures of zero and large ones; no wrong image."""
    raw = json.loads(timed.model_dump_json())
    layers, tensors = [], []
    for i in range(num):
        scale = 10.0 ** (i % 10)
        layer = raw["layers"][i % 5] | {"name": "a_layer_of_a_very_long_name" * 3}
        layer |= {"macs": int(layer["macs"] * scale), "cycles": layer["cycles"] * scale}
        layer["lost_cycles"] = dict.fromkeys(layer["lost_cycles"], 0.0)
        layer["traffic"] = dict.fromkeys(layer["traffic"], 0.0 if i % 2 else 1e9)
        layers.append(layer)
        tensors.append({"name": "t", "shape": [3, 4], "first_row": 7 * i, "rows": 7})
    record = changed(
        timed, layers=layers, tensors=tensors, wrong=[], memory_rows_used=7 * num, correct=7
    )
    opened = show(record, PHONE)
    # Nothing is lost, so that chart is empty.
    drawn = opened.page.evaluate(DRAWN)
    assert drawn.pop("lost")["marks"] == 0
    assert all(chart["marks"] for chart in drawn.values())
    assert {name: chart["cut"] for name, chart in drawn.items() if chart["cut"]} == {}
    assert opened.page.evaluate(WIDTHS) == [PHONE, PHONE]
    assert opened.said == []
    assert "Misclassified\n\nNone." in opened.page.inner_text("body")
