"""The command line: what a user can do wrong ends in one line and a status of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from accel import cli
from accel.fashion_mnist import data, training
from accel.fashion_mnist.data import Images
from accel.fashion_mnist.training import FashionNet
from accel.frontends import pytorch
from accel.network.graph import Network
from accel.runtimes import qnnpack
from accel.simulation import comparison
from accel.simulation import runner as simulation
from tests import ROOT
from tests.networks import Linear, random_network

RNG = np.random.default_rng(5)


def some_images(num):
    pixels = RNG.integers(0, 256, (num, 28, 28), dtype=np.uint8)
    return Images(pixels, RNG.integers(0, 10, num, dtype=np.uint8))


@pytest.fixture
def few_images(monkeypatch):
    """A small data set in place of the real one."""
    images = {"train": some_images(6000), "test": some_images(100)}
    monkeypatch.setattr(data, "load", lambda split, folder=None: images[split])
    monkeypatch.setattr(data, "calibration_images", lambda folder=None: images["train"][:64])


@pytest.fixture
def float_file(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "float.safetensors"
    training.save(FashionNet(), {}, path)
    return path


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "80"})


def refused(*arguments):
    """What a command that must fail says: one line on stderr."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def tables(stdout):
    """The words of each row between the rule and the caption of each of the three tables."""
    found = []
    for part in re.split(r"\n ─+ *\n", stdout)[1:]:
        rows = [line.split() for line in part.splitlines()]
        caption = next(i for i, row in enumerate(rows) if row[:1] in (["Sizes:"], ["A"], ["Bias:"]))
        found.append([row for row in rows[:caption] if row])
    return found


@pytest.mark.usefixtures("few_images")
def test_train_then_quantize(tmp_path):
    float_file, int8_file = tmp_path / "float.safetensors", tmp_path / "int8.safetensors"
    result = run("train", "--epochs", 1, "--seed", 9, "--out", float_file)
    assert result.exit_code == 0, result.output
    assert "accuracy on 100 test images" in result.stdout
    result = run("train", "--epochs", 1, "--seed", 9, "--out", float_file, "--json", "-")
    figures = json.loads(result.stdout)
    assert figures["recipe"]["seed"] == 9
    assert 0 <= figures["test_accuracy"] <= 1
    result = run("quantize", "--network", float_file, "--out", int8_file)
    assert result.exit_code == 0, result.output
    assert f"network written to {int8_file}" in result.stdout.replace("\n", "")
    network = Network.load(int8_file)
    result = run("quantize", "--network", float_file, "--out", int8_file, "--json", "-")
    figures = json.loads(result.stdout)
    assert figures["int8"]["bytes"] == int8_file.stat().st_size < figures["float"]["bytes"]
    for layer, said in zip(network.layers, figures["layers"], strict=True):
        assert said["layer"] == layer.name
        assert said["folded_bias"] == layer.folded_bias.tolist()
        assert np.array_equal(np.float32(said["multiplier"]), layer.multiplier)
    assert sorted(os.listdir(tmp_path)) == ["float.safetensors", "int8.safetensors"]


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantize_prints_what_it_did(float_file, tmp_path, per_channel, signed):
    out = tmp_path / "int8.safetensors"
    options = ["--per-channel" if per_channel else "--per-tensor"] + ["--signed"] * signed
    result = run("quantize", "--network", float_file, "--out", out, "--every-channel", *options)
    assert result.exit_code == 0, result.output
    network = Network.load(out)
    assert network.input.signed == signed
    sizes, scales, channels = tables(result.stdout)

    size = {row[0]: float(row[1]) for row in sizes if row[0] in ("float", "int8")}
    assert size["int8"] == pytest.approx(out.stat().st_size / 1e6, abs=1e-6)
    assert 0.3247 < size["float"] < 0.3347

    # Of several weight scales the largest stands in a line of its own.
    numbers = {row[0]: [float(x) for x in row[1:] if x != "to"] for row in scales if len(row) > 5}
    for layer in network.layers:
        assert len(layer.weight_scale) == (len(layer.bias) if per_channel else 1)
        assert numbers[layer.name] == pytest.approx(
            [
                *(layer.input.scale, layer.input.zero_point),
                *(layer.weight_scale.min(), 0),
                *(layer.output.scale, layer.output.zero_point),
            ],
            rel=1e-5,
        )

    for layer in network.layers:
        for channel in range(len(layer.bias)):
            *name, number, weight_scale, bias, folded, multiplier, integer, shift = channels.pop(0)
            assert name == ([] if channel else [layer.name])
            scale = np.broadcast_to(layer.weight_scale, layer.bias.shape)[channel]
            assert int(number) == channel
            assert float(weight_scale) == pytest.approx(scale, rel=1e-5)
            assert (int(bias), int(folded)) == (layer.bias_q[channel], layer.folded_bias[channel])
            assert float(multiplier) == pytest.approx(layer.multiplier[channel], rel=1e-5)
            assert int(integer) / 2 ** int(shift) == layer.multiplier[channel]
    assert not channels


@pytest.mark.usefixtures("few_images")
def test_tables_leave_out_the_middle_of_large_layers(float_file, tmp_path):
    result = run("quantize", "--network", float_file, "--out", tmp_path / "int8.safetensors")
    numbers = [row[-7] if len(row) > 1 else row[0] for row in tables(result.stdout)[2]]
    fc1, fc2 = ["0", "1", "2", "3", "...", "119"], ["0", "1", "2", "3", "...", "83"]
    assert numbers == [*map(str, range(6)), *map(str, range(16)), *fc1, *fc2, *map(str, range(10))]


@pytest.mark.usefixtures("few_images")
def test_tables_fit_a_terminal_of_80_characters(float_file, tmp_path):
    result = run("quantize", "--network", float_file, "--out", tmp_path / "int8.safetensors")
    assert "\u2026" not in result.stdout


@pytest.mark.usefixtures("few_images")
def test_the_test_set_chooses_nothing(float_file, tmp_path, monkeypatch):
    """Other test images give the same networks."""
    trained, quantized = [], []
    for _ in range(2):
        run("train", "--epochs", 1, "--out", tmp_path / "f")
        trained.append(training.load(tmp_path / "f").state_dict())
        run("quantize", "--network", float_file, "--out", tmp_path / "q")
        quantized.append((tmp_path / "q").read_bytes())
        train, test = data.load("train"), some_images(100)
        monkeypatch.setattr(
            data, "load", lambda split, folder=None, t=train, o=test: t if split == "train" else o
        )
    assert quantized[0] == quantized[1]
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_calibrates_on_training_images(tmp_path, monkeypatch):
    images = some_images(data.NUM_CALIBRATION_IMAGES + 5)
    asked = []

    def load(split, folder=None):
        asked.append((split, folder))
        return images

    monkeypatch.setattr(data, "load", load)
    chosen = data.calibration_images(tmp_path)
    assert asked == [("train", tmp_path)]
    assert len(chosen) == data.NUM_CALIBRATION_IMAGES
    # None twice: a pair of random images does not repeat.
    assert len({pixels.tobytes() for pixels in chosen.pixels}) == data.NUM_CALIBRATION_IMAGES


@pytest.mark.parametrize("command", ["train", "quantize"])
def test_unwritable_output_is_found_before_the_work(tmp_path, monkeypatch, command):
    for work in ("train", "accuracy"):
        monkeypatch.setattr(training, work, None)
    monkeypatch.setattr(data, "load", None)
    (tmp_path / "file").touch()
    assert "cannot write" in refused(command, "--out", tmp_path / "file" / "below")
    assert "it is a folder" in refused(command, "--out", tmp_path)


@pytest.mark.parametrize("command", ["train", "quantize"])
def test_folder_without_the_data(tmp_path, command, monkeypatch, float_file):
    monkeypatch.setattr(data, "FLOAT_NETWORK", float_file)
    message = refused(command, "--data", tmp_path, "--out", tmp_path / "out")
    assert f"{tmp_path} has no train-images-idx3-ubyte.gz" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"", b"no network", b"\xff" * 100])
def test_wrong_network(tmp_path, content):
    path = tmp_path / "network"
    if content is not None:
        path.write_bytes(content)
    message = refused("quantize", "--network", path, "--out", tmp_path / "out")
    assert str(path) in message


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "network"
    save_file({"x": torch.zeros(3)}, path)
    message = refused("quantize", "--network", path, "--out", tmp_path / "out")
    assert "is not a float network" in message


@pytest.mark.usefixtures("few_images")
def test_training_for_no_epochs(tmp_path):
    assert "at least 1 epoch, not 0" in refused("train", "--epochs", 0, "--out", tmp_path / "out")


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("command", ["train", "quantize"])
def test_interrupted(tmp_path, monkeypatch, command, float_file):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    out.write_bytes(b"good")
    monkeypatch.setattr(training, "train", interrupted)
    monkeypatch.setattr(pytorch, "quantize", interrupted)
    monkeypatch.setattr(data, "FLOAT_NETWORK", float_file)
    result = run(command, "--out", out, "--force")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "error: interrupted; no file was left half-written"
    assert out.read_bytes() == b"good"
    assert sorted(os.listdir(tmp_path)) == ["float.safetensors", "out"]


def test_wrong_options_exit_with_2():
    for arguments in (["nonsense"], ["train", "--nonsense"], ["train", "--epochs", "many"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_help_is_there_without_waiting_for_torch():
    """Every command says what it does; nothing heavy is imported for that."""
    code = (
        "import sys; from accel.cli import main; sys.argv = ['accel', '--help']\n"
        "try: main()\n"
        "finally: assert 'torch' not in sys.modules and 'pymtl3' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for command in ("train", "quantize"):
        assert command in result.stdout


@pytest.mark.skipif(
    not data.DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)
def test_control_c_in_a_real_run(tmp_path):
    """The process itself ends in one line, while it trains."""
    out = tmp_path / "out"
    code = "from accel.cli import main; main()"
    command = [sys.executable, "-c", code, "train", "--out", out]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stderr.readline().startswith("training on 55,000 images")
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith("error: interrupted")
    assert os.listdir(tmp_path) == []


# Running

RECORD = (
    "record", "version", "made", "command", "versions", "network", "notes", "reference", "level",
    "config", "configuration", "images", "images_source", "correct", "accuracy",
    "mismatched_outputs", "outputs", "classes",
    "confusion", "cycles_per_image", "latency_cycles", "macs_per_image", "multipliers",
    "memory_bytes_per_cycle", "utilization", "seconds", "build_seconds", "cycles_per_second",
    "board",
    "layers", "memory_rows", "memory_rows_used", "tensors", "logit_scale", "logit_zero_point",
    "picture_shape", "wrong", "least_certain",
)  # fmt: skip


@pytest.mark.parametrize("level", ["fl", "cl"])
def test_run_writes_its_figures(tmp_path, level):
    out = tmp_path / "run.json"
    result = run("run", "--level", level, "--images", 40, "--json", out, "--jobs", 1)
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text())
    assert tuple(record) == RECORD
    assert (record["level"], record["images"], record["mismatched_outputs"]) == (level, 40, 0)
    assert record["correct"] >= 35
    assert record["accuracy"] == record["correct"] / 40
    assert (record["macs_per_image"], record["multipliers"]) == (246_792, 72)
    names = [layer["name"] for layer in record["layers"]]
    assert names == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    keys = (
        "name", "kind", "macs", "steps", "array_steps", "cycles", "utilization", "lost_cycles",
        "traffic", "energy"
    )  # fmt: skip
    assert all(tuple(layer) == keys for layer in record["layers"])
    assert sum(layer["macs"] for layer in record["layers"]) == 246_792
    if level == "fl":
        assert record["cycles_per_image"] is record["layers"][0]["cycles"] is None
    else:
        cycles = sum(layer["cycles"] for layer in record["layers"])
        assert record["cycles_per_image"] == cycles <= 4000
        assert record["utilization"] == pytest.approx(246_792 / 72 / cycles)
        assert "0 of 440 outputs differ" in result.stdout
        assert f"{cycles:,.0f} cycles an image" in result.stdout
    # The terminal of 80 characters shows the table whole.
    assert "\u2026" not in result.stdout


@pytest.mark.parametrize("what", ["logit", "winner"])
def test_run_finds_what_differs(tmp_path, monkeypatch, what):
    """One wrong output of one image is an exit status of 1, and the figures say so."""
    simulate = comparison.simulate

    def broken(*arguments, **options):
        found = simulate(*arguments, **options)
        (found.outputs[3] if what == "logit" else found.winners)[3] ^= 1
        return found

    monkeypatch.setattr(comparison, "simulate", broken)
    out = tmp_path / "run.json"
    result = run("run", "--level", "fl", "--images", 5, "--json", out)
    assert result.exit_code == 1
    assert "1 of 55 outputs differ" in result.stdout
    assert json.loads(out.read_text())["mismatched_outputs"] == 1


def test_run_compares_with_the_kernels(monkeypatch):
    """The other side of the comparison is PyTorch's."""
    kernels = qnnpack.run_network
    monkeypatch.setattr(qnnpack, "run_network", lambda n, x: [kernels(n, x)[-1] ^ 1])
    assert run("run", "--level", "fl", "--images", 2).exit_code == 1


def test_run_takes_a_network_and_a_configuration(tmp_path):
    config = tmp_path / "mine.toml"
    config.write_text('preset = "base"\nnum_cols = 4\nweight_depth = 4000\n')
    network = data.bundled_network()
    network.save(tmp_path / "network")
    options = ("--network", tmp_path / "network", "--config", config, "--images", 2)
    result = run("run", "--level", "cl", *options, "--json", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out").read_text())["multipliers"] == 36


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--level", "gate"), "unknown level 'gate': expected one of fl, cl, rtl, verilator"),
        (("--config", "huge"), "unknown configuration 'huge': expected one of tiny, base,"),
        (
            ("--images", "few"),
            "a folder of pictures or random:N, not 'few'",
        ),
        (("--images", "-5"), "must be a whole number from 1 on, not '-5'"),
        (("--images", "0"), "must be a whole number from 1 on, not '0'"),
        (("--network", "missing"), "missing"),
        (("--data", "missing"), "missing"),
        (("--json", "/proc/nowhere/out"), "cannot write /proc/nowhere/out"),
        (("--level", "cl", "--max-cycles", "9"), "stopped at its limit of 9 cycles"),
    ],
)
def test_run_refuses(options, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = run("run", *options)
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    assert os.listdir(tmp_path) == []


def test_run_refuses_more_images_than_there_are(monkeypatch):
    monkeypatch.setattr(data, "load", lambda split, folder=None: some_images(100))
    message = refused("run", "--level", "fl", "--images", 1001)
    assert "there are 100 test images, not 1,001: ask for fewer" in message


def test_run_of_a_network_of_other_images(tmp_path):
    rng = np.random.default_rng(0)
    random_network(rng, (3, 8, 8), [Linear(4)]).save(tmp_path / "network")
    options = ["run", "--network", tmp_path / "network", "--level", "fl"]
    assert "20 images (random values, seed 0)" in run(*options, "--images", 20).stdout
    message = run(*options, "--images", "all").stderr
    assert "of shape (1, 28, 28), but network 'random' takes (3, 8, 8): give a number" in message


def test_run_refuses_what_does_not_fit(tmp_path):
    config = tmp_path / "small.toml"
    config.write_text("weight_depth = 500")
    message = run("run", "--config", config, "--level", "fl").stderr
    assert "error: layer 'fc1' does not fit" in message
    assert "more than weight_depth = 500" in message


def test_translate_writes_one_file(tmp_path):
    result = run("translate", "--config", "tiny", "--out", tmp_path / "new")
    assert result.exit_code == 0, result.output
    (file,) = (tmp_path / "new").iterdir()
    assert f"module {file.stem}" in file.read_text()
    assert "cannot write" in refused("translate", "--out", file)
    assert "give --network" in refused("translate", "--out", tmp_path, "--images", 3)
    assert "give --network" in refused("translate", "--out", tmp_path, "--data", tmp_path)


def test_demo_draws_what_came_out(tmp_path, monkeypatch):
    """Picture and report are there, not empty; the compiled simulation has tests of its own."""
    monkeypatch.setattr(
        comparison, "simulate",
        lambda *a, **k: simulation.simulate(a[0], a[1][:30], **(k | {"level": "cl"})),
    )  # fmt: skip
    monkeypatch.setattr(data, "test_images", lambda count, folder: data.bundled_images()[:30])
    result = run("demo", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir(tmp_path / "out")) == ["demo.json", "demo.png", "report.html"]
    assert f"report to open in a browser: {tmp_path / 'out' / 'report.html'}" in result.stdout
    assert "<pre>accel demo --out" in (tmp_path / "out" / "report.html").read_text()
    picture = (tmp_path / "out" / "demo.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_control_c_in_a_run(tmp_path):
    """A simulation ends in one line too, and the figures of the last one stay."""
    out = tmp_path / "run.json"
    out.write_text("good")
    code = "from accel.cli import main; main()"
    options = ["run", "--level", "cl", "--images", "1000", "--json", out, "--jobs", "1", "--force"]
    command = [sys.executable, "-u", "-c", code, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            time.sleep(8)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith("error: interrupted")
    assert out.read_text() == "good"
    assert os.listdir(tmp_path) == ["run.json"]


def test_example_runs():
    """The README's promise: your own network, from Python."""
    example = ROOT / "examples" / "own_network.py"
    result = subprocess.run([sys.executable, example], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "0 of 2000 outputs differ" in result.stdout
