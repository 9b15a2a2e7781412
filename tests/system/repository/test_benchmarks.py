"""What the benchmarks make of measurements, and that their bare loop runs what the driver runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from accel.compiler.compile import compile
from accel.errors import AccelError
from accel.fashion_mnist.data import bundled_network
from accel.hardware.config import AccelConfig
from accel.simulation import verilated
from accel.simulation.runner import simulate
from benchmarks import __main__ as document
from benchmarks import alkaid, cluster, columns, drivers, mlperf_tiny, same_network, scalesim
from benchmarks.common import Spread, Table, check
from tests.networks import Conv, Linear, random_images, random_network

REPORT = """\
LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, Mapping \
Efficiency %, Compute Util %,
0, 3747, 2111, 0, 27.854097584083373, 74.24242424242424, 27.84090909090909,
1, 3543, 2207, 0, 78.29632985953783, 100.0, 78.26086956521745,
2, 16218, 8864, 0, 10.830324909747292, 11.111111111111114, 10.829103214890013,
3, 2543, 1484, 0, 9.433962264150944, 10.606060606060609, 9.427609427609427,
4, 1247, 197, 0, 5.922165820642978, 6.944444444444445, 5.892255892255893,
"""
"""As SCALE-Sim 3.0.0 wrote it: output stationary, 9x8."""


def test_report_is_read_without_prefetch() -> None:
    assert scalesim.read_report(REPORT, bundled_network()) == [2111, 2207, 8864, 1484, 197]


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (REPORT.replace("197, 0", "197, 5"), "reports 5 layers and 5 stalls"),
        ("\n".join(REPORT.splitlines()[:4]), "reports 3 layers and 0 stalls, where 5 layers"),
        (REPORT.replace(" Total Cycles,", " Sum,"), "no whole number in a column: 'Total Cycles'"),
        (REPORT.replace("2111", "nan"), "no whole number in a column"),
    ],
)
def test_unexpected_report_is_refused(report, message) -> None:
    with pytest.raises(AccelError, match=message):
        scalesim.read_report(report, bundled_network())


def test_topology_has_padding_and_linear_layers() -> None:
    rows = scalesim.topology(bundled_network()).splitlines()[1:]
    assert rows == [
        "conv1, 30, 30, 3, 3, 1, 6, 1,",
        "conv2, 14, 14, 3, 3, 6, 16, 1,",
        "fc1, 1, 1, 1, 1, 576, 120, 1,",
        "fc2, 1, 1, 1, 1, 120, 84, 1,",
        "fc3, 1, 1, 1, 1, 84, 10, 1,",
    ]


def test_failed_installation_is_one_sentence(monkeypatch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(scalesim, "ENVIRONMENT", tmp_path / "file" / "venv")
    with pytest.raises(AccelError, match=r"cannot install SCALE-Sim into .*venv: .*\S"):
        scalesim.install()


def test_best_of_three_and_of_six() -> None:
    part = {
        "images": 10, "multipliers": 2, "layers": ["a", "b"], "macs": [100, 25],
        "kinds": ["conv2d", "linear"], "steps": [50, 13], "cycles": [51.0, 14.0],
        "quoted": [["other", 2, 1250, 125]],
        "scalesim": {
            "os 9x8": [70, 90], "ws 9x8": [60, 300], "is 9x8": [80, 100],
            "os 8x9": [90, 80], "ws 8x9": [61, 300], "is 8x9": [81, 100],
        },
    }  # fmt: skip
    places = same_network.fill(part)
    rows = {row[0]: row[1:] for row in places["same_network"].rows}
    assert rows["floor"] == [50, 13, 63, "100.0%"]
    assert rows["**this project, measured**"] == [51, 14, 65, "96.2%"]
    assert rows["SCALE-Sim, weight stationary"] == [60, 300, 360, "17.4%"]
    assert rows["SCALE-Sim, best of these three"] == [60, 90, 150, "41.7%"]
    assert rows["SCALE-Sim, best of all six"] == [60, 80, 140, "44.6%"]
    assert places["same_network_quoted"].rows == [["other", 2, 1250, "5.0%"]]
    assert places["same_network_times"] == "2.3"
    assert places["same_network_conv_times"] == "1.2"
    assert places["same_network_linear"] == "60%"
    bars = same_network.draw(part).axes[0]
    assert [text.get_text() for text in bars.texts][-1] == " 1,250 (5%)"


def test_columns_over_their_mapping() -> None:
    points = [
        {"columns": 8, "pixel_groups": 1, "multipliers": 72, "macs": 7200, "steps": 110,
         "cycles": 121.0},
        {"columns": 16, "pixel_groups": 1, "multipliers": 144, "macs": 7200, "steps": 90,
         "cycles": 99.0},
        {"columns": 16, "pixel_groups": 2, "multipliers": 144, "macs": 7200, "steps": 60,
         "cycles": 62.0},
    ]  # fmt: skip
    places = columns.fill({"images": 3, "points": points})
    assert places["columns"].rows == [
        ["8", 72, 100, 110, 121, "10.0%", "82.6%"],
        ["16", 144, 50, 90, 99, "10.0%", "50.5%"],
        ["16 in 2 groups", 144, 50, 60, 62, "3.3%", "80.6%"],
    ]
    assert places["columns_gain"] == "16 in 2 groups: 62 cycles instead of 99"
    assert places["columns_over"] == "2 to 11"
    left, _ = columns.draw({"points": points}).axes
    assert [list(line.get_ydata()) for line in left.get_lines()] == [
        [100, 50], [110, 90], [121, 99], [110, 60], [121, 62],
    ]  # fmt: skip


MLPERF = {
    "images": 10, "multipliers": 72, "vela": "quoted",
    "networks": [
        {"name": "resnet8", "macs": 7201, "steps": 110, "cycles": 121.0, "ethos": 242,
         "causes": {"hand-over": 6, "fill": 0, "drain": 2, "requantizer": 3}, "published": None},
    ],
}  # fmt: skip


def test_networks_beside_an_ethos() -> None:
    places = mlperf_tiny.fill(MLPERF)
    assert places["mlperf"].rows == [
        ["resnet8", 101, 110, 121, "10.0%", "82.7%", 242, "2.0"],
    ]  # fmt: skip
    assert places["mlperf_causes"].rows == [["resnet8", 6, 0, 2, 3, 11]]
    assert places["mlperf_vela"] == "quoted, not run here"
    assert places["mlperf_published"] == "The published models were not there to be run."
    (network,) = MLPERF["networks"]
    ran = MLPERF | {"vela": "run", "networks": [network | {"published": 121.0}]}
    places = mlperf_tiny.fill(ran)
    assert places["mlperf_vela"] == "Vela was run for this page"
    assert places["mlperf_published"].endswith(
        "LiteRT's: `pretrainedResnet_quant.tflite` 121 cycles."
    )
    bars = mlperf_tiny.draw(ran).axes[0]
    assert [text.get_text() for text in bars.texts] == [" 110", " 121", " 242"]


@pytest.mark.parametrize(
    ("summary", "cycles"),
    [
        ("network,cycles_npu,cycles_total\nsome,355,356.0\n", 356),
        ("network\nsome\n", None),
        ("network,cycles_total\n", None),
        ("network,cycles_total\nsome,x\n", None),
    ],
)
def test_what_vela_says(monkeypatch, tmp_path, summary, cycles) -> None:
    """As Vela 5.2.0 calls its summary and its column, without its other forty."""
    monkeypatch.setattr(mlperf_tiny, "BUILD", tmp_path)
    monkeypatch.setattr(mlperf_tiny.common, "install", lambda *_: tmp_path / "bin" / "python")

    def vela(command: list[str], problem: str) -> str:
        assert command[0] == str(tmp_path / "bin" / "vela") and command[-1] == "some.tflite"
        out = tmp_path / "vela"
        out.mkdir()
        (out / "some_summary_Ethos_U55.csv").write_text(summary)
        return ""

    monkeypatch.setattr(mlperf_tiny.common, "call", vela)
    if cycles is not None:
        assert mlperf_tiny.estimate(Path("some.tflite")) == cycles
        return
    with pytest.raises(AccelError, match=r"^Vela failed on some\.tflite: it left no summary"):
        mlperf_tiny.estimate(Path("some.tflite"))


def test_two_workers_beside_one() -> None:
    rates = {
        "1 local": [90.0, 100.0, 110.0], "1 on a cluster": [80.0, 70.0, 90.0],
        "2 local": [200.0] * 3, "2 on a cluster": [140.0, 120.0, 150.0],
    }  # fmt: skip
    places = cluster.fill({"images": 1000, "rates": rates})
    assert places["cluster"].rows[1] == ["1 on a cluster", "80 (70 to 90)"]
    assert (places["cluster_two"], places["cluster_local"]) == ("1.75", "0.80")
    assert places["cluster_images"] == "1,000"


def test_repeated_measurements() -> None:
    assert Spread.of([3, 1, 2, 10]).text() == "2.50 (1.00 to 10.00)"


def test_table_is_aligned_markdown() -> None:
    assert str(Table(("", "n"), [["one", 1000], ["three", "2%"]])) == (
        "|       |     n |\n"
        "| ----- | ----: |\n"
        "| one   | 1,000 |\n"
        "| three |    2% |"
    )  # fmt: skip


def test_mismatch_is_an_error() -> None:
    check(0, "level cl")
    with pytest.raises(AccelError, match="level cl: 3 outputs differ"):
        check(3, "level cl")


def test_document_follows_from_its_numbers(monkeypatch, tmp_path) -> None:
    committed, record = document.DOCUMENT.read_text(), json.loads(document.NUMBERS.read_text())
    monkeypatch.setattr(document, "DOCS", tmp_path)
    monkeypatch.setattr(document, "NUMBERS", tmp_path / "benchmarks.json")
    monkeypatch.setattr(document, "DOCUMENT", tmp_path / "benchmarks.md")
    document.write(record)
    assert document.DOCUMENT.read_text() == committed
    for picture in ("same_network", "images", "columns", "mlperf_tiny"):
        assert f"(images/{picture}.png)" in committed
        assert (tmp_path / "images" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_bare_loop_ends_as_the_driver_does(monkeypatch, tmp_path) -> None:
    """In the same cycle with the same word; one cycle later there is no result."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rng, cfg = np.random.default_rng(4), AccelConfig(num_cols=2, num_lanes=1, weight_depth=100)
    network = random_network(rng, (1, 6, 5), [Conv(3, (3, 3), 1, 1, True, True), Linear(4)])
    program, images = compile(network, cfg), random_images(rng, network, 3)
    run = simulate(program, images, level="cl", jobs=1)
    bare = verilated.build(cfg, drivers.BARE)
    stream, words = np.array(program.words, np.uint64), program.pack_images(images)
    arguments = (bare, stream, words, program.result_words)
    assert list(verilated.run(*arguments, run.cycles)) == [run.chunks[0].results[-1, -1]]
    with pytest.raises(AccelError, match="no result comes in the last cycle"):
        verilated.run(*arguments, run.cycles + 1)


def test_sums_of_alkaid_are_unpacked() -> None:
    """Signed numbers, the first of them in the lowest bits."""
    assert alkaid.unpack("fe01ff", 3, 8) == [-1, 1, -2]
    assert alkaid.unpack("7f", 1, 8) == [127]
    assert alkaid.unpack("0", 2, 5) == [0, 0]
