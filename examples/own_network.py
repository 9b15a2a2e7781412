"""Your own network on the accelerator: other layers, channel counts and kernels than the demo's.

    python examples/own_network.py

Trains for a few seconds on the bundled images, quantizes, compiles, and classifies what it has not
seen on the Verilated hardware. Every output byte equals PyTorch's quantized kernels.
"""

import numpy as np
import torch
from torch import nn

import accel
from accel.fashion_mnist.data import bundled_images


class Net(nn.Module):
    """5x5 with stride 2, 3x3 with pooling, 1x1, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(1, 11, 5, stride=2, padding=2)
        self.deep = nn.Conv2d(11, 20, 3, padding=1)
        self.mix = nn.Conv2d(20, 9, 1)
        self.hidden = nn.Linear(9 * 7 * 7, 50)
        self.classes = nn.Linear(50, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.wide(x))
        x = nn.functional.max_pool2d(torch.relu(self.deep(x)), 2)
        x = torch.relu(self.mix(x))
        x = torch.relu(self.hidden(torch.flatten(x, 1)))
        return self.classes(x)


def main() -> None:
    torch.manual_seed(0)
    images = bundled_images()
    x = torch.from_numpy(images.pixels[:, None].astype(np.float32) / 255)
    labels = torch.from_numpy(images.labels.astype(np.int64))
    seen, unseen = slice(0, 800), slice(800, 1000)

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(25):
        for batch in torch.randperm(800).split(50):
            loss = nn.functional.cross_entropy(model(x[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()

    # From the model to hardware, and images through it.
    network = accel.quantize(model, x[seen], name="own")
    program = accel.compile(network, accel.load_config("base"))
    run = accel.simulate(program, x[unseen].numpy(), level="verilator")

    # What PyTorch's quantized kernels make of the same images.
    expected = accel.run_network(network, program.quantize(x[unseen].numpy()))[-1]
    wrong = int((run.outputs != expected).sum())
    accuracy = float((run.winners == labels[unseen].numpy()).mean())
    print(f"{wrong} of {expected.size} outputs differ from PyTorch's quantized kernels")
    print(f"accuracy {accuracy:.1%} on {len(labels[unseen])} images that were not trained on")
    for layer in program.layers:
        print(f"  {layer.name}: {layer.macs:,} multiply-accumulates in {layer.steps:,} steps")
    print(f"{run.cycles_per_image:,.0f} cycles an image, {run.utilization:.1%} of the multipliers")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
