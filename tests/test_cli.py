"""The command line: what a user can do wrong ends in one line and a status of its own."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from accel import cli, data, reference, training
from accel.data import Images
from accel.network import Network
from accel.training import FashionNet

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
    result = run("quantize", "--network", float_file, "--out", int8_file)
    assert result.exit_code == 0, result.output
    assert f"network written to {int8_file}" in result.stdout.replace("\n", "")
    assert Network.load(int8_file).layers[0].name == "conv1"
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
    monkeypatch.setattr(reference, "quantize", interrupted)
    monkeypatch.setattr(data, "FLOAT_NETWORK", float_file)
    result = run(command, "--out", out)
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
