"""From a float PyTorch model to a quantized network.

All that touches ``torch.ao.quantization`` is here. A float model is read as a row of layers,
calibrated with the observers of PyTorch's own QNNPACK configuration, and becomes a
:class:`~accel.network.network.Network`.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.ao.quantization.observer import (
    HistogramObserver,
    MinMaxObserver,
    ObserverBase,
    PerChannelMinMaxObserver,
)
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from accel import numerics
from accel.errors import AccelError
from accel.network.graph import Network
from accel.network.tensor import Tensor
from accel.operations import Conv2d, Linear, MaxPool2d, Operation
from accel.operations.conv2d import conv2d_shape
from accel.runtimes.qnnpack import BATCH_SIZE, quiet

MAX_KERNEL = 5
STRIDES = (1, 2)

MAX_SCALE_RATIO = 128
"""Between the weight scales of a layer. All channels share the output's scale, in which a channel
with still smaller weights says next to nothing; but its integers would be as large as any, and
accumulators need to be wide enough for them."""

MAX_BIAS = 1 << 22
"""Steps of an integer bias: a channel with smaller weights gets the scale that its bias needs."""

_EXPECTED = "expected Conv2d, BatchNorm, ReLU, MaxPool2d, Flatten, Linear or Dropout in a row"


# A float model, as a row of stages


@dataclass
class _Stage:
    """A convolution or a linear layer, and what follows it before the next one."""

    name: str
    module: nn.Conv2d | nn.Linear
    relu: bool = False
    pool: bool = False

    def sums(self, x: torch.Tensor) -> torch.Tensor:
        """What the layer itself does; a hook would be lost in the quantized network."""
        x = x.flatten(1) if isinstance(self.module, nn.Linear) else x
        return self.module.forward(x)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """float32 (N, ...) to float32; a linear layer takes a feature map as it is."""
        x = self.sums(x)
        x = x.relu() if self.relu else x
        return F.max_pool2d(x, 2) if self.pool else x


@dataclass
class _Call:
    """One operation of a model's forward, as the module that does it, if there is one."""

    label: str
    """What it is called in a message."""
    name: str
    module: nn.Module | None

    def refuse(self, why: str) -> NoReturn:
        raise AccelError(f"{self.label} {why}")


def _stages(model: nn.Module, is_flat: bool) -> list[_Stage]:
    """Read a model's steps one after the other. ``is_flat``: its input is (N, features)."""
    stages: list[_Stage] = []
    may_fold = False
    for step in _calls(model):
        module = step.module
        could_fold, may_fold = may_fold, False
        match module:
            case nn.Conv2d() | nn.Linear():
                _check(step, module, is_flat)
                if any(stage.name == step.name for stage in stages):
                    step.refuse("is called twice: each call needs a module of its own, as a copy")
                stages.append(_Stage(step.name, module))
                may_fold = True
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                if not could_fold or module.running_mean is None:
                    step.refuse(
                        "must directly follow a convolution or linear layer and have statistics"
                    )
                stages[-1].module = _fold(stages[-1].module, module)
            case nn.ReLU():
                # It changes place with a maximum or a flatten, so it may also come after them.
                if not stages:
                    step.refuse("must come after a convolution or linear layer")
                stages[-1].relu = True
            case nn.MaxPool2d():
                if not stages or stages[-1].pool or is_flat:
                    step.refuse("must come after a convolution, and once")
                _check_pooling(step, module)
                stages[-1].pool = True
            case nn.Flatten():
                if module.start_dim != 1 or module.end_dim not in (-1, 3):
                    step.refuse("must flatten all dimensions but the first")
                is_flat = True
            case nn.Identity() | nn.Dropout() | nn.Dropout1d() | nn.Dropout2d():
                may_fold = could_fold
            case _:
                step.refuse(f"is not supported; {_EXPECTED}")
    if not stages:
        raise AccelError(f"{type(model).__name__} holds no layer; {_EXPECTED}")
    return stages


def _check(step: _Call, module: nn.Conv2d | nn.Linear, is_flat: bool) -> None:
    if isinstance(module, nn.Linear):
        if not is_flat:
            step.refuse("takes a feature map, so a Flatten must come before it")
        return
    if is_flat:
        step.refuse("takes a flat vector, but a convolution must take a feature map")
    padding = module.padding
    if max(module.kernel_size) > MAX_KERNEL:
        step.refuse(f"has kernel size {module.kernel_size}, but at most {MAX_KERNEL} is supported")
    if module.stride not in [(s, s) for s in STRIDES]:
        step.refuse(f"has stride {module.stride}, but only 1 and 2 are supported")
    if isinstance(padding, str) or padding[0] != padding[1] or module.padding_mode != "zeros":
        step.refuse(
            f"has padding {padding!r} of mode {module.padding_mode!r}, but only zeros are "
            f"supported, the same number on all sides"
        )
    if module.dilation != (1, 1):
        step.refuse(f"has dilation {module.dilation}, but only 1 is supported")
    if module.groups != 1:
        step.refuse(f"has {module.groups} groups, but only 1 is supported")


def _check_pooling(step: _Call, pool: nn.MaxPool2d) -> None:
    def is_all(setting: Any, value: int) -> bool:
        return bool(np.all(np.asarray(setting) == value))

    plain = is_all(pool.padding, 0) and is_all(pool.dilation, 1) and not pool.ceil_mode
    if not (is_all(pool.kernel_size, 2) and is_all(pool.stride, 2) and plain):
        step.refuse("must pool windows of 2x2 with stride 2 and no padding, rounding sizes down")
    if pool.return_indices:
        step.refuse("must not return indices")


def _fold(module: nn.Module, norm: nn.Module) -> Any:
    fuse: Any = fuse_conv_bn_eval if isinstance(module, nn.Conv2d) else fuse_linear_bn_eval
    return fuse(module, norm)


def _calls(model: nn.Module) -> list[_Call]:
    """What a model's forward does, in the order in which it does it."""
    tracer = fx.Tracer()
    if tracer.is_leaf_module(model, ""):
        model = nn.Sequential(model)
    try:
        graph = fx.GraphModule(model, tracer.trace(model)).graph
    except Exception as e:
        raise AccelError(
            f"the forward of {type(model).__name__} cannot be traced ({_first_line(e)}); it must "
            f"call its layers in a fixed row"
        ) from e
    graph.eliminate_dead_code()
    modules = dict(model.named_modules())
    steps = []
    for node in graph.nodes:
        if node.op in ("placeholder", "output") or _is_size(node):
            continue
        if node.op == "call_module":
            module = modules[node.target]
            label = f"module '{node.target}' ({type(module).__name__})"
            steps.append(_Call(label, node.target, module))
        else:
            target = getattr(node.target, "__name__", node.target)
            label = f"operation '{node.name}' ({target}) in the forward of {type(model).__name__}"
            steps.append(_Call(label, node.name, _as_module(node)))
    return steps


def _is_size(node: fx.Node) -> bool:
    """A size that a forward asks for, to give it to a view."""
    if node.target is operator.getitem:
        return isinstance(node.args[0], fx.Node) and _is_size(node.args[0])
    return node.target == "size" or (node.target is getattr and node.args[1] == "shape")


def _as_module(node: fx.Node) -> nn.Module | None:
    """The module that does what a function or a method does."""
    arguments: Any = node.args[1:]
    options: Any = {key: value for key, value in node.kwargs.items() if key != "input"}
    match node.target:
        case F.relu | torch.relu | "relu":
            return nn.ReLU()
        case F.max_pool2d | torch.max_pool2d:
            # Parameters in the module's order, but for two that must both be false.
            return nn.MaxPool2d(*arguments, **options)
        case torch.flatten | "flatten":
            return nn.Flatten(*(arguments or [0]), **options)
        case torch.reshape | "reshape" | "view":
            # Whether it flattens is seen when the stages are compared with the model.
            return nn.Flatten()
        case F.dropout:
            training = options.get("training", arguments[1] if len(arguments) > 1 else True)
            return None if training else nn.Dropout()
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]


# Quantization


def quantize(
    model: nn.Module,
    calibration_images: torch.Tensor | NDArray[np.float32],
    *,
    per_channel: bool = True,
    signed: bool = False,
    correct_bias: bool = True,
    name: str | None = None,
) -> Network:
    """Quantize a trained float model after training, with PyTorch's observers for QNNPACK.

    model: a Sequential of supported layers, or a module whose forward calls them in a row, also
    nested; it is taken in evaluation mode, and left as it is. calibration_images: float32
    (N, channels, height, width) or (N, features), as the model takes them; from what they make of
    every tensor follow its scale and zero point. per_channel: one weight scale for each output
    channel. signed: activations in [-128, 127]. correct_bias: take out of the biases what the
    rounding of weights adds to the outputs on average, which PyTorch's own flow does not do. name:
    the network's, by default the model's class.

    Raises :class:`AccelError` naming the module that is not supported, or what else is wrong.
    """
    images = _checked_images(calibration_images)
    model = copy.deepcopy(model).eval().cpu().float()
    with torch.no_grad(), quiet():
        stages = _stages(model, is_flat=images.ndim == 2)
        _compare(model, stages, images[:BATCH_SIZE])
        tensors = _calibrate(stages, images, signed)
        rounded = [
            _round_weight(stage, before, per_channel)
            for stage, before in zip(stages, tensors, strict=False)
        ]
        if correct_bias:
            _correct_biases(stages, rounded, images)
        operations = [
            operation
            for parts in zip(rounded, tensors, tensors[1:], strict=False)
            for operation in _operations(*parts)
        ]
    return Network(name=name or type(model).__name__, operations=tuple(operations))


def _checked_images(images: torch.Tensor | NDArray[np.float32]) -> torch.Tensor:
    images = torch.as_tensor(images).detach().cpu()
    if images.dtype != torch.float32 or images.ndim not in (2, 4) or not images.numel():
        raise AccelError(
            f"calibration images must be float32 (N, channels, height, width) or (N, features), "
            f"not {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
        )
    if not images.isfinite().all():
        raise AccelError("calibration images must be finite, but some values are not")
    return images


def _compare(model: nn.Module, stages: list[_Stage], x: torch.Tensor) -> None:
    """The stages, in float32, do what the model does."""
    try:
        y = model(x)
    except Exception as e:
        raise AccelError(
            f"the model does not take calibration images of shape {tuple(x.shape[1:])} "
            f"({_first_line(e)})"
        ) from e
    for stage in stages:
        x = stage(x)
    is_same = isinstance(y, torch.Tensor) and y.shape == x.shape
    # Only a folded batch norm changes the order of roundings.
    if not is_same or not torch.allclose(x, y, rtol=1e-3, atol=1e-3 * float(y.abs().max())):
        raise AccelError(
            f"{type(model).__name__} does something else than its layers in a row, such as a hook, "
            f"a second output, or a view that is no flatten; {_EXPECTED}"
        )


def _calibrate(stages: list[_Stage], images: torch.Tensor, signed: bool) -> list[Tensor]:
    """The tensor that goes into the first stage, and those that come out of each."""
    dtype = torch.qint8 if signed else torch.quint8
    observers = [HistogramObserver(dtype=dtype) for _ in range(len(stages) + 1)]
    for x in images.split(BATCH_SIZE):
        shapes = [x.shape]
        observers[0](x)
        for stage, observer in zip(stages, observers[1:], strict=True):
            x = stage(x)
            # Only what pooling leaves is ever stored.
            observer(x)
            shapes.append(x.shape)
    tensors = []
    names = ("input", *(_output_name(stage) for stage in stages))
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

    stage: _Stage
    weight: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: torch.Tensor
    """The stage's own, float32: changed in place."""


def _round_weight(stage: _Stage, before: Tensor, per_channel: bool) -> _Rounded:
    module = copy.deepcopy(stage.module)
    observer: ObserverBase
    if per_channel:
        observer = PerChannelMinMaxObserver(dtype=torch.qint8, qscheme=torch.per_channel_symmetric)
    else:
        observer = MinMaxObserver(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)
    observer(module.weight)
    scale = observer.calculate_qparams()[0].numpy()
    scale = np.maximum(scale, scale.max() / np.float32(MAX_SCALE_RATIO))
    bias = torch.zeros(len(module.weight)) if module.bias is None else module.bias
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


def _correct_biases(stages: list[_Stage], rounded: list[_Rounded], images: torch.Tensor) -> None:
    """Give every output channel of the rounded stages the mean that it has in the float model.

    One layer after the other, so that each also makes up for what is left of the errors before it
    (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019,
    the empirical form).
    """
    for i, stage in enumerate(stages):
        error, count = torch.zeros_like(rounded[i].bias), 0
        for x in images.split(BATCH_SIZE):
            x_rounded = x
            for before, before_rounded in zip(stages[:i], rounded, strict=False):
                x, x_rounded = before(x), before_rounded.stage(x_rounded)
            by_channel = (rounded[i].stage.sums(x_rounded) - stage.sums(x)).transpose(0, 1)
            error += by_channel.flatten(1).sum(dim=1)
            count += by_channel[0].numel()
        rounded[i].bias -= error / count


def _output_name(stage: _Stage) -> str:
    return f"{stage.name}.pool" if stage.pool else stage.name


def _operations(rounded: _Rounded, before: Tensor, after: Tensor) -> Iterator[Operation]:
    """What the quantized network does for a stage; a maximum keeps its input's scale."""
    stage, module = rounded.stage, rounded.stage.module
    common: dict[str, Any] = {
        "name": stage.name,
        "weight": rounded.weight,
        "weight_scale": rounded.scale,
        "bias": rounded.bias.numpy(),
        "relu": stage.relu,
        "input": before,
    }
    if isinstance(module, nn.Linear):
        yield Linear(**common, output=after)
        return
    assert not isinstance(module.padding, str), "refused before"
    above, left = module.padding
    window: dict[str, Any] = {"stride": module.stride, "padding": (above, left, above, left)}
    output = after
    if stage.pool:
        shape = conv2d_shape(before.shape, rounded.weight.shape, **window)
        output = replace(after, name=stage.name, shape=shape)
    yield Conv2d(**common, **window, output=output)
    if stage.pool:
        yield MaxPool2d(name=after.name, input=output, output=after)
