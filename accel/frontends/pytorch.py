"""From a float PyTorch model to a quantized network.

All that touches ``torch.ao.quantization`` is here. A float model is read as a row of layers,
calibrated with the observers of PyTorch's own QNNPACK configuration, and becomes a
:class:`~accel.network.graph.Network`.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.ao.quantization.observer import (
    HistogramObserver,
    MinMaxObserver,
    ObserverBase,
    PerChannelMinMaxObserver,
)
from torch.export import ExportedProgram

from accel import numerics
from accel.errors import AccelError
from accel.frontends import calibration
from accel.frontends.reading import (
    Function,
    Joined,
    Reading,
    Sum,
    as_model,
    first_line,
    read,
    takes_sequences,
)
from accel.frontends.stages import EXPECTED, Stage, conv_shape, inputs, outputs, read_stages
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Add, AvgPool2d, Concat, Conv2d, Linear, MaxPool2d, Operation, Table
from accel.operations.window import window_count
from accel.process_wide import PYTORCH
from accel.runtimes.qnnpack import BATCH_SIZE, function_entries, quiet

MAX_SCALE_RATIO = 128
"""Between the weight scales of a layer. All channels share the output's scale, in which a channel
with still smaller weights says next to nothing; but its integers would be as large as any, and
accumulators need to be wide enough for them."""

MAX_BIAS = 1 << 22
"""Steps of an integer bias: a channel with smaller weights gets the scale that its bias needs."""

# Quantization


def quantize(
    model: nn.Module | ExportedProgram,
    calibration_images: Any,
    *,
    per_channel: bool = True,
    signed: bool = False,
    correct_bias: bool = True,
    name: str | None = None,
) -> Network:
    """Quantize a trained float model after training, with PyTorch's observers for QNNPACK.

    model: a Sequential of supported layers, or a module whose forward does what they do in a row,
    however it is written, or such a module exported with ``torch.export``; it is taken in
    evaluation mode, and left as it is. A softmax at its end is left out. calibration_images:
    floating (N, channels, height, width), (N, features), or (N, channels, length) of a model with
    Conv1d, whose network has maps of one row; as the model takes them, in any form
    that :func:`accel.frontends.calibration.calibration_images` takes; from what they make of every
    tensor follow its scale and zero point. per_channel: one weight scale for each output channel.
    signed: activations in [-128, 127]. correct_bias: take out of the biases what the rounding of
    weights adds to the outputs on average, which PyTorch's own flow does not do. name: the
    network's, by default the model's class.

    Raises :class:`AccelError` naming the module that is not supported, or what else is wrong. Warns
    if the network's outputs have little to do with the model's, as a single huge value makes them.
    """
    found = as_model(model)
    # A device that the user made the default would hold what is made here, too.
    with PYTORCH, torch.no_grad(), quiet(), torch.device("cpu"):
        images = calibration.calibration_images(calibration_images, takes_sequences(found))
        reading = read(found, images)
        stages = read_stages(reading.calls, is_flat=images.ndim == 2)
        _compare(found, reading, stages, images)
        images = _as_maps(images)
        tensors = _calibrate(stages, images, signed)
        rounded = [
            _round_weight(stage, tensors[stage.sources[0] + 1], per_channel) for stage in stages
        ]
        if correct_bias:
            _correct_biases(stages, rounded, images)
        operations = [
            operation
            for part, after in zip(rounded, tensors[1:], strict=True)
            for operation in _operations(part, [tensors[i + 1] for i in part.stage.sources], after)
        ]
        default = "ExportedProgram" if found is model else type(found).__name__
        network = Network(name=name or default, operations=tuple(operations))
        off = _distance(network, stages, images[:NUM_COMPARED])
    if off > FAR_OFF:
        warnings.warn(
            f"network '{network.name}' has little to do with its model: outputs are off by "
            f"{off:.0%} of the largest; look for a calibration image, weight or bias that is far "
            f"larger than the others",
            stacklevel=2,
        )
    return network


NUM_COMPARED = 64
"""Calibration images on which the network is compared with its model."""

FAR_OFF = 0.5
"""Of an image's largest output, as the median over images: what is worth a warning."""


def _distance(network: Network, stages: list[Stage], images: torch.Tensor) -> float:
    """How far the network's outputs are off the model's, by an image's largest output: the median
    over images (N, ...)."""
    source, output = network.input, network.output
    x = numerics.quantize(images.numpy(), source.scale, source.zero_point, source.signed)
    found = (network.integers(x)[-1] - output.zero_point) * np.float64(output.scale)
    y = outputs(stages, images)[-1]
    expected = y.double().numpy().reshape(len(images), -1)
    largest = np.abs(expected).max(axis=1)
    off = np.abs(found.reshape(expected.shape) - expected).max(axis=1)
    return float(np.median(off[largest > 0] / largest[largest > 0])) if largest.any() else 0.0


def _compare(
    model: nn.Module | ExportedProgram,
    reading: Reading,
    stages: list[Stage],
    images: torch.Tensor,
) -> None:
    """The stages, in float32, do what the model does."""
    x = images[torch.arange(reading.batch or min(BATCH_SIZE, len(images))) % len(images)]
    module = model.module() if isinstance(model, ExportedProgram) else model
    try:
        y = module(x)
    except Exception as e:
        raise AccelError(
            f"the model does not take calibration images of shape {tuple(x.shape[1:])} "
            f"({first_line(e)})"
        ) from e
    y = y[0] if isinstance(y, tuple | list) and len(y) == 1 else y
    for stage, made in zip(stages, outputs(stages, _as_maps(x)), strict=True):
        if not made.isfinite().all():
            raise AccelError(
                f"layer '{stage.name}' yields values that are not finite for the calibration "
                f"images, since its weights or what it reads are too large for float32"
            )
    x = reading.end(made)
    is_same = isinstance(y, torch.Tensor) and _without_ones(y) == _without_ones(x)
    # Sequences are maps of one row, and means maps of one pixel, whatever the model calls them.
    x = x.reshape(y.shape) if is_same else x
    # Only a folded batch norm changes the order of roundings.
    if not is_same or not torch.allclose(x, y, rtol=1e-3, atol=1e-3 * float(y.abs().max())):
        raise AccelError(
            f"{type(model).__name__} does something else than its layers in a row; {EXPECTED}"
        )


def _without_ones(x: torch.Tensor) -> list[int]:
    """The sizes of an image's output, but for those of 1."""
    return [len(x), *(n for n in x.shape[1:] if n != 1)]


def _as_maps(x: torch.Tensor) -> torch.Tensor:
    """Sequences (N, channels, length) as maps of one row; all else as it is."""
    return x.unsqueeze(2) if x.ndim == 3 else x


def _calibrate(stages: list[Stage], images: torch.Tensor, signed: bool) -> list[Tensor]:
    """The tensor that goes into the first stage, and those that come out of each."""
    dtype = torch.qint8 if signed else torch.quint8
    # What pools a tensor keeps its scale; what is joined has one.
    alike = list(range(len(stages) + 1))
    for i, stage in enumerate(stages):
        if isinstance(stage.module, Joined | None):
            of_sources = {alike[source + 1] for source in stage.sources}
            alike = [min(of_sources) if n in {*of_sources, i + 1} else n for n in alike]
    made_of = {n: HistogramObserver(dtype=dtype) for n in set(alike)}
    observers = [made_of[n] for n in alike]
    for x in images.split(BATCH_SIZE):
        observers[0](x)
        made: list[torch.Tensor] = []
        for stage, observer in zip(stages, observers[1:], strict=True):
            taken = inputs(stage, x, made)
            if not isinstance(stage.module, Joined | None):
                observer(stage.stored(*taken))
            made.append(stage(*taken))
    shapes = [images.shape, *(y.shape for y in made)]
    tensors = []
    names = ("input", *([stage.name, *stage.names()][-1] for stage in stages))
    for name, observer, shape in zip(names, observers, shapes, strict=True):
        scale, zero_point = observer.calculate_qparams()
        tensors.append(
            Tensor(
                name=name,
                shape=tuple(shape[1:]),
                scale=float(scale),
                zero_point=int(zero_point),
                signed=signed,
            )
        )
    return tensors


@dataclass
class _Rounded:
    """A stage whose weights are what int8 weights stand for."""

    stage: Stage
    weight: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: torch.Tensor
    """The stage's own, float32: changed in place. The input has none of the three."""


def _round_weight(stage: Stage, before: Tensor, per_channel: bool) -> _Rounded:
    module = copy.deepcopy(stage.layer)
    if module is None:
        return _Rounded(stage, np.empty(0, np.int8), np.empty(0, np.float32), torch.empty(0))
    observer: ObserverBase
    if per_channel:
        observer = PerChannelMinMaxObserver(dtype=torch.qint8, qscheme=torch.per_channel_symmetric)
    else:
        observer = MinMaxObserver(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)
    observer(module.weight)
    scale = observer.calculate_qparams()[0].numpy()
    scale = np.maximum(scale, scale.max() / np.float32(MAX_SCALE_RATIO))
    bias = (
        torch.zeros(len(module.weight), dtype=torch.float32) if module.bias is None else module.bias
    )
    largest_bias = bias.abs().numpy() if per_channel else bias.abs().numpy().max(keepdims=True)
    needed = largest_bias / (before.scale * MAX_BIAS)
    scale = np.maximum(scale, needed.astype(np.float32))
    along_weight = scale.reshape(-1, *[1] * (module.weight.ndim - 1))
    weight = numerics.quantize(
        module.weight.numpy(), along_weight, zero_point=0, signed=True
    ).astype(np.int8)
    module.weight = nn.Parameter(torch.from_numpy(weight * along_weight))
    module.bias = nn.Parameter(bias)
    return _Rounded(replace(stage, module=module), weight, scale, module.bias)


def _correct_biases(stages: list[Stage], rounded: list[_Rounded], images: torch.Tensor) -> None:
    """Give every output channel of the rounded stages the mean that it has in the float model.

    One layer after the other, so that each also makes up for what is left of the errors before it
    (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019,
    the empirical form).
    """
    for i, stage in enumerate(stages):
        if stage.layer is None:
            continue
        error, count = torch.zeros_like(rounded[i].bias), 0
        for x in images.split(BATCH_SIZE):
            sums = [
                some[i].sums(*inputs(some[i], x, outputs(some[:i], x)))
                for some in (stages, [r.stage for r in rounded])
            ]
            by_channel = (sums[1] - sums[0]).transpose(0, 1)
            error += by_channel.flatten(1).sum(dim=1)
            count += by_channel[0].numel()
        rounded[i].bias -= error / count


def _operations(rounded: _Rounded, sources: list[Tensor], after: Tensor) -> Iterator[Operation]:
    """What the quantized network does for a stage. sources: the tensors that it reads; after: what
    its outputs are stored as, whose shape is that of the last one. Pooling keeps the scale."""
    stage, module = rounded.stage, rounded.stage.module
    tensor = before = sources[0]
    if isinstance(module, Sum):
        tensor = replace(after, name=stage.name, shape=before.shape)
        yield Add(
            name=stage.name,
            input=before,
            other=sources[1],
            output=tensor,
            relu=stage.relu,
            largest=_largest(stage.largest, tensor),
        )
    elif isinstance(module, Joined):
        shape = (sum(source.shape[0] for source in sources), *before.shape[1:])
        tensor = replace(after, name=stage.name, shape=shape)
        yield Concat(name=stage.name, parts=tuple(sources), output=tensor)
    elif isinstance(module, Function):
        tensor = replace(after, name=stage.name, shape=before.shape)
        yield Table(
            name=stage.name,
            input=before,
            output=tensor,
            function=module.function,
            arguments=module.arguments,
            entries=function_entries(module.function, module.arguments, before, tensor),
        )
    elif module is not None:
        if isinstance(module, nn.Conv2d):
            shape = conv_shape(stage, rounded.weight.shape, before.shape)
        else:
            shape = (len(rounded.weight),)
        tensor = replace(after, name=stage.name, shape=shape)
        common: dict[str, Any] = {
            "name": stage.name,
            "weight": rounded.weight,
            "weight_scale": rounded.scale,
            "bias": rounded.bias.numpy(),
            "relu": stage.relu,
            "largest": _largest(stage.largest, tensor),
            "input": before,
            "output": tensor,
        }
        if isinstance(module, nn.Conv2d):
            stride = (module.stride[0], module.stride[1])
            yield Conv2d(**common, stride=stride, padding=stage.padding, groups=module.groups)
        else:
            yield Linear(**common)
    for name, pool in zip(stage.names(), stage.pools, strict=True):
        window = pool.window(tensor.shape)
        count = window_count(tensor.shape, window["size"], window["stride"], window["padding"])
        output = replace(tensor, name=name, shape=(tensor.shape[0], *count))
        kind: Any = MaxPool2d if pool.is_max else AvgPool2d
        yield kind(name=name, input=tensor, output=output, **window)
        tensor = output


def _largest(limit: float, tensor: Tensor) -> int:
    """The integer of that number, or 255 where there is no limit."""
    if limit == math.inf:
        return 255
    return int(numerics.quantize(limit, tensor.scale, tensor.zero_point, tensor.signed))
