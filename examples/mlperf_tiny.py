"""The four networks of MLPerf Tiny on one accelerator, and two of them trained on Fashion-MNIST.

    python examples/mlperf_tiny.py                   all four, with random weights, on the Verilog
    python examples/mlperf_tiny.py train             a residual and a depthwise network, in minutes

The layers are those of the int8 models of https://github.com/mlcommons/tiny, TensorFlow's one-sided
padding of a stride of 2 included. What a network computes depends on its weights, but in how many
cycles does not: they are random here, unless they are trained.
"""

import argparse
import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import accel
from accel.fashion_mnist import data

CONFIG = "tinyml"


def convolution(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: int = 1,
    *,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution with TensorFlow's SAME padding of a map of even size, batch normalisation and
    ReLU."""
    # For a stride of 2 nothing is padded above and left of a 3x3 kernel.
    over = [size - stride for size in kernel]
    first = [size // 2 for size in over]
    (above, left), (below, right) = first, (over[0] - first[0], over[1] - first[1])
    layers: list[nn.Module] = []
    if any((above, left, below, right)):
        layers.append(nn.ZeroPad2d((left, right, above, below)))
    layers.append(nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


class Residual(nn.Module):
    """Two 3x3 convolutions beside a way past them, which a 1x1 convolution adapts if it must."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, (3, 3), stride)
        self.second = convolution(outputs, outputs, (3, 3), relu=False)
        self.skip = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.skip(x))


class ResNet8(nn.Sequential):
    """Image classification: 12.5 million multiply-accumulates of a 32x32 image of three colours."""

    SHAPE = (3, 32, 32)

    def __init__(self, channels: int = 3, side: int = 32, classes: int = 10) -> None:
        super().__init__(
            convolution(channels, 16, (3, 3)),
            Residual(16, 16, 1),
            Residual(16, 32, 2),
            Residual(32, 64, 2),
            nn.AvgPool2d(side // 4),
            nn.Flatten(),
            nn.Linear(64, classes),
        )


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A depthwise 3x3 convolution and a 1x1 convolution."""
    return nn.Sequential(
        convolution(inputs, inputs, (3, 3), stride, groups=inputs),
        convolution(inputs, outputs, (1, 1)),
    )


class MobileNetV1(nn.Sequential):
    """Is there a person? A quarter of MobileNetV1's width: 7.5 million multiply-accumulates of a
    96x96 image of three colours."""

    SHAPE = (3, 96, 96)

    def __init__(self) -> None:
        widths = [8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256]
        strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
        super().__init__(
            convolution(3, 8, (3, 3), 2),
            *map(separable, widths, widths[1:], strides),
            nn.AvgPool2d(3),
            nn.Flatten(),
            nn.Linear(256, 2),
        )


class DsCnn(nn.Sequential):
    """Keyword spotting: 2.7 million multiply-accumulates of 49 times 10 features of a second of
    sound."""

    SHAPE = (1, 49, 10)

    def __init__(self) -> None:
        super().__init__(
            # Its 10x4 windows begin 4 rows above the features and end 5 rows below.
            nn.ZeroPad2d((1, 1, 4, 5)),
            nn.Conv2d(1, 64, (10, 4), stride=2, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            *(separable(64, 64) for _ in range(4)),
            nn.AvgPool2d((25, 5)),
            nn.Flatten(),
            nn.Linear(64, 12),
        )


class AutoEncoder(nn.Sequential):
    """Is a machine's sound unusual? 264,192 multiply-accumulates of 640 features."""

    SHAPE = (640,)

    def __init__(self) -> None:
        widths = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        super().__init__(*layers[:-1])


class DepthwiseNet(nn.Sequential):
    """Separable convolutions for a 28x28 image of one channel."""

    def __init__(self) -> None:
        super().__init__(
            convolution(1, 32, (3, 3)),
            separable(32, 64, 2),
            separable(64, 64),
            separable(64, 128, 2),
            separable(128, 128),
            nn.AvgPool2d(7),
            nn.Flatten(),
            nn.Linear(128, 10),
        )


NETWORKS: dict[str, Any] = {
    "resnet8": ResNet8,
    "mobilenet": MobileNetV1,
    "ds-cnn": DsCnn,
    "autoencoder": AutoEncoder,
}


def quantized(name: str) -> accel.Network:
    """One of the four with random weights, quantized."""
    torch.manual_seed(0)
    model = NETWORKS[name]()
    images = torch.randn(32, *model.SHAPE)
    # A pass in training mode, so that batch normalisation knows what it is to normalise.
    model.train()(images)
    return accel.quantize(model.eval(), images, name=name)


def run_all(level: str, count: int) -> int:
    """Prints what each of the four takes, and returns how many outputs differ."""
    wrong = 0
    for name, kind in NETWORKS.items():
        network = quantized(name)
        program = accel.compile(network, CONFIG)
        images = np.random.default_rng(0).normal(size=(count, *kind.SHAPE)).astype(np.float32)
        run = accel.simulate(program, images, level=level)
        expected = accel.run_network(network, program.quantize(images))[-1]
        differing = int((run.outputs != expected).sum())
        wrong += differing
        cycles = (
            ""
            if run.cycles is None
            else f"{run.cycles_per_image:,.0f} cycles an image, {run.utilization:.1%} of the "
            f"multipliers, "
        )
        print(f"{name}: {network.macs:,} multiply-accumulates, {cycles}", end="")
        print(f"{differing} of {expected.size} outputs differ")
    return wrong


def train(model: nn.Module, images: data.Images, epochs: int) -> nn.Module:
    """Trains a network for 28x28 images, and returns it in evaluation mode."""
    x = torch.from_numpy(images.pixels[:, None].astype(np.float32) / 255)
    labels = torch.from_numpy(images.labels.astype(np.int64))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    steps = epochs * (len(x) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps + epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(128):
            flipped = torch.where(torch.rand(len(batch), 1, 1, 1) < 0.5, x[batch], x[batch].flip(3))
            loss = F.cross_entropy(model(flipped), labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def train_both(epochs: int) -> None:
    """Prints accuracies on the test images, before quantization and after it."""
    images, test = data.load("train"), data.load("test")
    x = torch.from_numpy(test.pixels[:, None].astype(np.float32) / 255)
    calibration = data.calibration_images().pixels[:, None].astype(np.float32) / 255
    for name, model in (
        ("residual", ResNet8(channels=1, side=28)),
        ("depthwise", DepthwiseNet()),
    ):
        torch.manual_seed(0)
        train(model, images, epochs)
        with torch.no_grad():
            logits = torch.cat([model(part) for part in x.split(500)])
        network = accel.quantize(model, calibration, name=name)
        run = accel.simulate(accel.compile(network, CONFIG), x.numpy(), level="fl")
        before = float((logits.argmax(1).numpy() == test.labels).mean())
        after = float((run.winners == test.labels).mean())
        network.save(f"{name}.safetensors")
        print(f"{name}: accuracy {before:.2%} in float, {after:.2%} in int8: {name}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description="MLPerf Tiny's networks on the accelerator")
    parser.add_argument("what", nargs="?", choices=("run", "train"), default="run")
    parser.add_argument("--level", default="verilator", help="fl, cl or verilator")
    parser.add_argument("--images", type=int, default=4, help="images for each network")
    parser.add_argument("--epochs", type=int, default=10, help="of training")
    options = parser.parse_args()
    if options.what == "train":
        train_both(options.epochs)
    elif run_all(options.level, options.images):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
