"""A float model as stages: a layer with weights each, with all that follows it before the next."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from accel.errors import AccelError
from accel.frontends.reading import IMAGES, Call, Function, Joined, Sum, pair
from accel.operations.window import Pair, Sides, window_count

EXPECTED = (
    "expected Conv2d, BatchNorm, ReLU, ReLU6, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, Flatten, "
    "Linear, Dropout, functions such as Hardswish, SiLU, Sigmoid, Tanh or LeakyReLU, sums of "
    "tensors, or tensors joined by channels"
)


NO_PADDING: Sides = (0, 0, 0, 0)


@dataclass
class Pooling:
    """A maximum or an average over windows."""

    is_max: bool
    size: Pair | None
    """None for the whole map."""
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    """Above and below alike, and at both sides."""
    ceil: bool = False
    """A last window that is not full counts."""

    def window(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Size, stride and padding on four sides over a map of that shape (channels, rows,
        columns)."""
        if self.size is None:
            return {"size": shape[1:], "stride": (1, 1), "padding": (0, 0, 0, 0)}
        more = [0, 0]
        if self.ceil:
            more = [
                _missing(n, k, s, p)
                for n, k, s, p in zip(shape[1:], self.size, self.stride, self.padding, strict=True)
            ]
        above, left = self.padding
        padding: Sides = (above, left, above + more[0], left + more[1])
        return {"size": self.size, "stride": self.stride, "padding": padding}

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """float32 (N, channels, rows, columns) to float32."""
        window = self.window(tuple(x.shape[1:]))
        above, left, below, right = window["padding"]
        padded = F.pad(x, (left, right, above, below), value=-math.inf if self.is_max else 0.0)
        pool = F.max_pool2d if self.is_max else F.avg_pool2d
        return pool(padded, window["size"], window["stride"])


def _missing(size: int, window: int, stride: int, padding: int) -> int:
    """Rows below, or columns at the right, that the last window of ``ceil_mode`` lacks. It begins
    within the map or the padding before it."""
    padded = size + 2 * padding
    count = -(-(padded - window) // stride) + 1
    if (count - 1) * stride >= size + padding:
        count -= 1
    return max(0, (count - 1) * stride + window - padded)


@dataclass
class Stage:
    """A convolution, a linear layer, a sum, joined tensors, a function of each value, or a tensor
    as it is, and what follows it."""

    name: str
    module: nn.Conv2d | nn.Linear | Sum | Joined | Function | None
    """None for a tensor as it is."""
    sources: tuple[int, ...]
    """The numbers of the stages that it reads; :data:`IMAGES` for the images."""
    relu: bool = False
    largest: float = math.inf
    """What is larger becomes this."""
    pools: list[Pooling] = field(default_factory=list)
    padding: Sides = (0, 0, 0, 0)
    """Of a convolution."""

    @property
    def layer(self) -> nn.Conv2d | nn.Linear | None:
        """The layer with weights, if it is one."""
        return self.module if isinstance(self.module, nn.Conv2d | nn.Linear) else None

    def sums(self, *values: torch.Tensor) -> torch.Tensor:
        """What the layer itself does; a hook would be lost in the quantized network."""
        x = values[0]
        match self.module:
            case None:
                return x
            case Sum():
                return x + values[1]
            case Joined():
                return self._joined(values)
            case Function():
                return self.module(x)
            case nn.Linear():
                return self.module.forward(x.flatten(1))
        above, left, below, right = self.padding
        padded = F.pad(x, (left, right, above, below))
        conv = self.module
        return F.conv2d(padded, conv.weight, conv.bias, conv.stride, 0, 1, conv.groups)

    def _joined(self, values: tuple[torch.Tensor, ...]) -> torch.Tensor:
        first = values[0].shape
        for value in values:
            if value.ndim != len(first) or value.shape[2:] != first[2:]:
                raise AccelError(
                    f"'{self.name}' joins {tuple(first[1:])} and {tuple(value.shape[1:])}, but "
                    f"what is joined must be vectors, or maps of one height and width"
                )
        return torch.cat(values, 1)

    def stored(self, *values: torch.Tensor) -> torch.Tensor:
        """What the stage's scale is chosen for: its outputs, but of a maximum only what it
        leaves."""
        x = self.sums(*values)
        x = x.relu() if self.relu else x
        x = x.clamp(max=self.largest) if self.largest < math.inf else x
        for pool in self.pools[: self._num_maxima]:
            x = pool(x)
        return x

    def __call__(self, *values: torch.Tensor) -> torch.Tensor:
        """float32 (N, ...) to float32; a linear layer takes a feature map as it is."""
        x = self.stored(*values)
        for pool in self.pools[self._num_maxima :]:
            x = pool(x)
        return x

    @property
    def _num_maxima(self) -> int:
        """Maxima before the first average."""
        return next((i for i, pool in enumerate(self.pools) if not pool.is_max), len(self.pools))

    @property
    def only_maxima(self) -> bool:
        """A ReLU changes place with all that has followed so far."""
        return self._num_maxima == len(self.pools)

    def names(self) -> Iterator[str]:
        """Of the tensors that its pools yield, one after the other."""
        for i in range(len(self.pools)):
            yield f"{self.name}.pool{i + 1 if i else ''}"


def outputs(stages: list[Stage], images: torch.Tensor) -> list[torch.Tensor]:
    """What each stage makes of images, float32 (N, ...)."""
    tensors: list[torch.Tensor] = []
    for stage in stages:
        tensors.append(stage(*inputs(stage, images, tensors)))
    return tensors


def inputs(
    stage: Stage, images: torch.Tensor, outputs: list[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """What a stage takes, of the outputs of those before it."""
    return tuple(images if i == IMAGES else outputs[i] for i in stage.sources)


@dataclass(frozen=True)
class _Value:
    """What a call yields."""

    stage: int
    """Whose last part it is, or :data:`IMAGES`."""
    is_flat: bool
    shared: bool
    """Others read the stage's outputs as they are, so that nothing can be done to them."""
    may_fold: bool = False
    zeros: Sides = NO_PADDING


def read_stages(calls: list[Call], is_flat: bool) -> list[Stage]:
    """Take a model's calls one after the other. ``is_flat``: its input is (N, features).

    Raises :class:`AccelError` naming the call that is not supported.
    """
    stages: list[Stage] = []
    readers = Counter(number for call in calls for number in call.reads)
    values = {IMAGES: _Value(IMAGES, is_flat, shared=True)}
    for number, call in enumerate(calls):
        module = call.module
        if module is None:
            call.refuse(call.why or f"is not supported; {EXPECTED}")
        _check_values(call)
        value = values[call.reads[0]]
        stage, is_flat, could_fold, before = (
            value.stage,
            value.is_flat,
            value.may_fold,
            value.zeros,
        )
        shared, may_fold, zeros = value.shared, False, NO_PADDING
        if before != NO_PADDING and not isinstance(module, nn.Conv2d | nn.Identity | nn.ZeroPad2d):
            call.refuse("follows a padding with zeros, but only a convolution may")
        match module:
            case nn.Linear():
                if not is_flat:
                    call.refuse("takes a feature map, so a Flatten must come before it")
                stages.append(Stage(call.name, module, (stage,)))
                stage, may_fold, shared = len(stages) - 1, True, False
            case nn.Conv2d():
                if is_flat:
                    call.refuse("takes a flat vector, but a convolution must take a feature map")
                padding = _plus(before, _conv_padding(call, module))
                stages.append(Stage(call.name, module, (stage,), padding=padding))
                stage, may_fold, shared = len(stages) - 1, True, False
            case Sum():
                other = values[call.reads[1]]
                if other.zeros != NO_PADDING:
                    call.refuse("follows a padding with zeros, but only a convolution may")
                stages.append(Stage(call.name, module, (stage, other.stage)))
                stage, shared = len(stages) - 1, False
            case Joined():
                parts = [values[i] for i in call.reads]
                if any(part.zeros != NO_PADDING for part in parts):
                    call.refuse("follows a padding with zeros, but only a convolution may")
                if len({part.is_flat for part in parts}) > 1:
                    call.refuse("joins feature maps and vectors")
                stages.append(Stage(call.name, module, tuple(part.stage for part in parts)))
                stage, shared = len(stages) - 1, False
            case Function():
                stages.append(Stage(call.name, module, (stage,)))
                stage, shared = len(stages) - 1, False
            case nn.ZeroPad2d():
                left, right, above, below = module.padding
                if min(module.padding) < 0 or is_flat:
                    call.refuse(f"pads by {module.padding}, but only a feature map can be padded")
                zeros = _plus(before, (above, left, below, right))
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                layer = stages[stage].layer if could_fold and not shared else None
                if layer is None or module.running_mean is None:
                    call.refuse(
                        "must directly follow a convolution or linear layer and have statistics"
                    )
                stages[stage].module = _fold(layer, module)
            case nn.ReLU() | nn.Hardtanh():
                if shared and stage != IMAGES:
                    call.refuse("follows a tensor that others read too, which is not supported")
                _cut(call, module, None if stage == IMAGES else stages[stage])
            case nn.MaxPool2d() | nn.AvgPool2d() | nn.AdaptiveAvgPool2d():
                if is_flat:
                    call.refuse("must take a feature map, but takes a flat vector")
                pooling = _pooling(call, module)
                if shared:
                    # What others read is left as it is.
                    name = "input" if stage == IMAGES else call.name
                    stages.append(Stage(name, None, (stage,)))
                    stage, shared = len(stages) - 1, False
                stages[stage].pools.append(pooling)
            case nn.Flatten():
                if module.start_dim != 1 or module.end_dim not in (-1, 3):
                    call.refuse("must flatten all dimensions but the first")
                is_flat = True
            case nn.Identity():
                may_fold, zeros = could_fold, before
            case _:
                call.refuse(f"is not supported; {EXPECTED}")
        shared = shared or readers[number] > 1
        values[number] = _Value(stage, is_flat, shared, may_fold, zeros)
    if values[len(calls) - 1].zeros != NO_PADDING:
        raise AccelError(
            "the model ends in a padding with zeros, but only a convolution may follow"
        )
    if not stages:
        raise AccelError(f"the model holds no layer; {EXPECTED}")
    return stages


def _plus(first: Sides, second: Sides) -> Sides:
    return (first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3])


def _check_values(call: Call) -> None:
    """Raises :class:`AccelError` if a layer holds values that make its outputs meaningless."""
    if call.module is None:
        return
    for name, values in (*call.module.named_parameters(), *call.module.named_buffers()):
        if not values.is_floating_point():
            continue
        wrong = values[~values.isfinite()]
        if len(wrong):
            call.refuse(f"has a {name} that is not finite: {float(wrong[0])}")
        if name == "running_var" and (values < 0).any():
            call.refuse(f"has a running_var below zero: {float(values.min()):g}")


def _conv_padding(call: Call, conv: nn.Conv2d) -> Sides:
    """Padding on four sides."""
    if conv.dilation != (1, 1):
        call.refuse(f"has dilation {conv.dilation}, but only 1 is supported")
    if conv.padding_mode != "zeros":
        call.refuse(f"has padding of mode {conv.padding_mode!r}, but only zeros are supported")
    if conv.padding == "valid":
        return (0, 0, 0, 0)
    if conv.padding == "same":
        # As PyTorch does it: what is odd goes below and to the right.
        rows, columns = (size - 1 for size in conv.kernel_size)
        return (rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)
    assert not isinstance(conv.padding, str)
    above, left = conv.padding
    return (above, left, above, left)


def _cut(call: Call, module: nn.Module, stage: Stage | None) -> None:
    """A ReLU, or one that cuts off large values too."""
    if isinstance(module, nn.Hardtanh) and (module.min_val != 0 or module.max_val <= 0):
        call.refuse(
            f"clamps from {module.min_val:g} to {module.max_val:g}, but only from 0 to a positive "
            f"number is supported"
        )
    # It changes place with a maximum or a flatten, so it may also come after them.
    if stage is None or isinstance(stage.module, Joined | Function | None) or not stage.only_maxima:
        call.refuse("must come after a convolution, linear layer or sum, and before an average")
    stage.relu = True
    if isinstance(module, nn.Hardtanh):
        stage.largest = min(stage.largest, float(module.max_val))


def _pooling(call: Call, module: nn.Module) -> Pooling:
    if isinstance(module, nn.AdaptiveAvgPool2d):
        if pair(module.output_size) != (1, 1):
            call.refuse(f"averages to {module.output_size}, but only to one pixel is supported")
        return Pooling(False, None)
    assert isinstance(module, nn.MaxPool2d | nn.AvgPool2d)
    size = pair(module.kernel_size)
    stride = size if module.stride is None else pair(module.stride)
    padding = pair(module.padding)
    if isinstance(module, nn.MaxPool2d):
        if pair(module.dilation) != (1, 1):
            call.refuse(f"has dilation {module.dilation}, but only 1 is supported")
        if module.return_indices:
            call.refuse("must not return indices")
        return Pooling(True, size, stride, padding, module.ceil_mode)
    if module.divisor_override is not None:
        call.refuse("has a divisor of its own, which is not supported")
    if not module.count_include_pad and any(padding):
        call.refuse("leaves padding out of the mean, but only count_include_pad=True is supported")
    if module.ceil_mode:
        call.refuse("has ceil_mode, which is supported for maxima only")
    return Pooling(False, size, stride, padding)


def _fold(module: nn.Module, norm: nn.Module) -> Any:
    fuse: Any = fuse_conv_bn_eval if isinstance(module, nn.Conv2d) else fuse_linear_bn_eval
    return fuse(module.eval(), norm.eval())


def conv_shape(stage: Stage, weight: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a convolution's output, before pooling."""
    assert isinstance(stage.module, nn.Conv2d)
    stride = pair(stage.module.stride)
    return (weight[0], *window_count(shape, (weight[2], weight[3]), stride, stage.padding))
