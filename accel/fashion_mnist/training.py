"""The Fashion-MNIST network, and its training on the training images.

Nothing here reads a test image: what is chosen is chosen by training images that were held out.
"""

from __future__ import annotations

import copy
import json
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from accel import files
from accel.errors import AccelError
from accel.fashion_mnist.data import Images

FORMAT, VERSION = "accel float network", 1
"""What the metadata of a float network's file says that it is."""

_METADATA_KEY = "accel"

MAX_SHIFT = 2
"""Pixels by which augmentation moves an image at most, in each direction."""


class FashionNet(nn.Sequential):
    """Two 3x3 convolutions and three linear layers: 81,194 parameters, 246,792 MACs an image.

    Takes float32 (N, 1, 28, 28), pixels divided by 255; gives ten logits, float32 (N, 10).
    """

    def __init__(self) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(1, 6, 3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 3),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(576, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, 10),
        )
        super().__init__(layers)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    The defaults were chosen on held-out training images: there, dropout did not help a network
    this small, and neither did a higher rate or fewer epochs.
    """

    epochs: int = 120
    seed: int = 1
    held_out: int = 5000
    """Training images, the last ones, that are only used to measure accuracy."""
    batch_size: int = 128
    max_rate: float = 2.5e-3
    """The peak of the one-cycle learning rate."""
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    ema_epochs: float = 1.0
    """Time constant, in epochs, of the moving average of the weights that is kept."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise AccelError(f"training needs at least 1 epoch, not {self.epochs}")


@dataclass(frozen=True)
class Progress:
    """Where training is: reported after every batch.

    ``loss`` is that of the batch; ``accuracy`` that of the averaged weights on the held-out
    images after the last whole epoch, None in the first.
    """

    step: int
    num_steps: int
    epoch: int
    loss: float
    accuracy: float | None


def to_input(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 (N, 28, 28) to what the network takes: float32 (N, 1, 28, 28), from 0 to 1.

    So a pixel is its own quantized value, with scale 1/255 and zero point 0.
    """
    return torch.from_numpy(pixels.astype(np.float32) / 255).unsqueeze(1)


def accuracy(network: nn.Module, images: Images) -> float:
    """The share of the images that the network puts in their class, from 0 to 1."""
    labels = torch.from_numpy(images.labels.astype(np.int64))
    training = network.training
    network.eval()
    with torch.inference_mode():
        batches = to_input(images.pixels).split(1000)
        classes = torch.cat([network(x).argmax(1) for x in batches])
    network.train(training)
    return float((classes == labels).double().mean())


def train(
    images: Images, recipe: Recipe, report: Callable[[Progress], None] = lambda progress: None
) -> tuple[FashionNet, dict[str, Any]]:
    """Train :class:`FashionNet` from nothing.

    Returns the network, in evaluation mode, and a record of how it was trained: the recipe and
    the accuracy on the held-out images.

    Raises :class:`AccelError` when fewer images are given than are held out.
    """
    num_train = len(images) - recipe.held_out
    if num_train < recipe.batch_size:
        raise AccelError(
            f"training needs at least {recipe.held_out + recipe.batch_size} images, "
            f"not {len(images)}"
        )
    torch.manual_seed(recipe.seed)
    network = FashionNet()
    average = copy.deepcopy(network).eval()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay)
    steps_per_epoch = num_train // recipe.batch_size
    num_steps = recipe.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.max_rate, num_steps)
    keep = math.exp(-1 / (recipe.ema_epochs * steps_per_epoch))
    held_out = images[num_train:]
    pixels = F.pad(torch.tensor(images.pixels[:num_train]), (MAX_SHIFT,) * 4)
    labels = torch.from_numpy(images.labels[:num_train].astype(np.int64))

    held_out_accuracy = None
    for step in range(num_steps):
        epoch, batch = divmod(step, steps_per_epoch)
        if batch == 0:
            order = torch.randperm(num_train)
        which = order[batch * recipe.batch_size : (batch + 1) * recipe.batch_size]
        logits = network(_augment(pixels[which]))
        loss = F.cross_entropy(logits, labels[which], label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            # The average forgets faster in the beginning, when there is little to remember.
            weight = 1 - min(keep, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), weight)
        if batch == steps_per_epoch - 1 and len(held_out):
            held_out_accuracy = accuracy(average, held_out)
        report(Progress(step + 1, num_steps, epoch, loss.item(), held_out_accuracy))
    record = {"recipe": asdict(recipe), "held_out_accuracy": held_out_accuracy}
    return average, record


def save(network: FashionNet, record: dict[str, Any], path: Path) -> None:
    """Write a float network, and the record of its training, as a safetensors file.

    Raises :class:`AccelError` when the file cannot be written.
    """
    document = {"format": FORMAT, "version": VERSION, "training": record}
    # One entry, because safetensors writes several in an order that changes from run to run.
    metadata = {_METADATA_KEY: json.dumps(document)}
    files.write(path, safetensors_bytes(network.state_dict(), metadata))


def load(path: Path) -> FashionNet:
    """The network that :func:`save` wrote, in evaluation mode.

    Raises :class:`AccelError` for a file that cannot be read, is damaged, or holds anything else.
    """
    advice = "expected a file written by accel train"
    network = FashionNet()
    expected = {name: (t.dtype, t.shape) for name, t in network.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as f:
            if not _is_ours(f.metadata()):
                raise AccelError(
                    f"{path} is not a float network of format version {VERSION}; {advice}"
                )
            # The header is compared before a tensor is read: a hostile one may claim any size.
            found = {name: f.get_slice(name).get_shape() for name in f.keys()}  # noqa: SIM118
            if found != {name: list(shape) for name, (_, shape) in expected.items()}:
                raise AccelError(f"{path} holds other tensors than {FashionNet.__name__}; {advice}")
            state = {name: f.get_tensor(name) for name in found}
    except SafetensorError as e:
        raise AccelError(f"{path} is not a whole safetensors file ({e}); {advice}") from e
    except OSError as e:
        raise AccelError(f"cannot read {path}: {e.strerror or e}; {advice}") from e
    for name, tensor in state.items():
        if tensor.dtype != expected[name][0] or not tensor.isfinite().all():
            raise AccelError(f"{path}: tensor {name} is not all finite float32 values; {advice}")
    network.load_state_dict(state)
    return network.eval()


def _is_ours(metadata: dict[str, str] | None) -> bool:
    try:
        document = json.loads((metadata or {}).get(_METADATA_KEY, ""))
    except (ValueError, RecursionError):
        return False
    ours = {"format": FORMAT, "version": VERSION}
    return isinstance(document, dict) and document | ours == document


def _augment(padded: Tensor) -> Tensor:
    """Shift each image at random, and flip every other one.

    uint8 (N, 28 + 4, 28 + 4), padded by the largest shift, to float32 (N, 1, 28, 28) from 0 to 1.
    """
    num, size = len(padded), padded.shape[-1] - 2 * MAX_SHIFT
    shift = torch.randint(0, 2 * MAX_SHIFT + 1, (2, num, 1))
    ahead = torch.arange(size).expand(num, size)
    flip = torch.rand(num, 1) < 0.5
    rows = ahead + shift[0]
    cols = torch.where(flip, ahead.flip(1), ahead) + shift[1]
    moved = padded[torch.arange(num)[:, None, None], rows[:, :, None], cols[:, None, :]]
    return (moved.float() / 255).unsqueeze(1)
