"""What quantization did to a network, as tables for a terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import nn

from accel import numerics
from accel.fashion_mnist.data import Images
from accel.fashion_mnist.training import accuracy, to_input
from accel.network.graph import Network
from accel.operations.weighted import Weighted
from accel.reports.tables import add_numbers, new_table
from accel.runtimes.qnnpack import run_network

MANY_CHANNELS = 16
"""Above this number of output channels a table shows the first and the last ones only."""
FIRST, LAST = 4, 1


def before_and_after(
    model: nn.Module, network: Network, file: Path, test_images: Images
) -> dict[str, Any]:
    """Size and accuracy of ``model``, and of ``network``, which ``file`` holds.

    Sizes are of files, in bytes: PyTorch's own with the state dict of ``model``, and ``file``.
    """
    state = io.BytesIO()
    torch.save(model.state_dict(), state)
    float_accuracy = accuracy(model, test_images)
    int8_accuracy = quantized_accuracy(network, test_images)
    return {
        "test_images": len(test_images),
        "float": {"bytes": len(state.getvalue()), "accuracy": float_accuracy},
        "int8": {"bytes": file.stat().st_size, "accuracy": int8_accuracy},
    }


def before_and_after_table(figures: dict[str, Any]) -> Table:
    """What :func:`before_and_after` found."""
    before, after = figures["float"], figures["int8"]
    table = new_table("before and after quantization", "")
    table.caption = "Sizes: state dict and network as saved; 1 MB is 1,000,000 bytes."
    add_numbers(table, "model size (MB)", f"accuracy on {figures['test_images']:,} test images")
    for name, found in (("float", before), ("int8", after)):
        table.add_row(name, f"{found['bytes'] / 1e6:.6f}", f"{found['accuracy']:.2%}")
    change = f"{100 * (after['accuracy'] - before['accuracy']):+.2f} points"
    table.add_row("change", f"to {after['bytes'] / before['bytes']:.1%}", change)
    return table


def quantized_accuracy(network: Network, images: Images) -> float:
    """The share of the images that PyTorch's quantized kernels put in their class."""
    x, tensor = to_input(images.pixels).numpy(), network.input
    q = numerics.quantize(x, tensor.scale, tensor.zero_point, tensor.signed)
    logits = run_network(network, q)[-1]
    return float((logits.argmax(axis=1) == images.labels).mean())


def layer_figures(network: Network) -> list[dict[str, Any]]:
    """What :func:`scales` and :func:`channels` show, of every channel."""
    return [
        {
            "layer": layer.name,
            "input": {"scale": layer.input.scale, "zero_point": layer.input.zero_point},
            "output": {"scale": layer.output.scale, "zero_point": layer.output.zero_point},
            "weight_scale": np.broadcast_to(layer.weight_scale, layer.bias_q.shape).tolist(),
            "bias": layer.bias_q.tolist(),
            "folded_bias": layer.folded_bias.tolist(),
            "multiplier": layer.multiplier.tolist(),
        }
        for layer in network.layers
    ]


def scales(network: Network) -> Table:
    """Per layer the scale and zero point of its input, weights and output."""
    table = new_table("scales and zero points", "layer")
    table.caption = "A real value is scale * (stored value - zero point)."
    for tensor in ("input", "weight", "output"):
        add_numbers(table, f"{tensor}\nscale", f"{tensor}\nzero\npoint")
    for layer in network.layers:
        table.add_row(
            layer.name,
            *(f"{layer.input.scale:.6g}", str(layer.input.zero_point)),
            *(_range(layer.weight_scale), "0"),
            *(f"{layer.output.scale:.6g}", str(layer.output.zero_point)),
        )
    return table


def channels(network: Network, every_channel: bool) -> Table:
    """Per output channel the weights' scale, and the integers that follow from the scales.

    Without ``every_channel`` the middle of a layer with many channels is left out.
    """
    table = new_table("biases and multipliers", "layer", "channel")
    table.caption = (
        "Bias: at scale input scale * weight scale; folded: less the input's zero point * the sum "
        "of the weights. Multiplier: input scale * weight scale / output scale in float32, which "
        "is integer / 2^shift."
    )
    add_numbers(table, "weight\nscale", "bias", "folded\nbias", "multiplier", "integer", "shift")
    for layer in network.layers:
        num = len(layer.bias_q)
        shown = set(range(num))
        if num > MANY_CHANNELS and not every_channel:
            shown = {*range(FIRST), *range(num - LAST, num)}
        for channel in sorted(shown):
            if channel and channel - 1 not in shown:
                table.add_row("", "...")
            table.add_row(*_channel(layer, channel), end_section=channel == num - 1)
    return table


def _channel(layer: Weighted, channel: int) -> list[str]:
    weight_scale = np.broadcast_to(layer.weight_scale, layer.bias_q.shape)[channel]
    multiplier = layer.multiplier[channel]
    fraction, exponent = np.frexp(multiplier)
    return [
        layer.name if channel == 0 else "",
        str(channel),
        f"{weight_scale:.6g}",
        str(layer.bias_q[channel]),
        str(layer.folded_bias[channel]),
        f"{multiplier:.6g}",
        str(int(fraction * 2**24)),
        str(24 - exponent),
    ]


def _range(values: NDArray[np.float32]) -> str:
    low, high = f"{values.min():.6g}", f"{values.max():.6g}"
    return low if values.size == 1 else f"{low} to\n{high}"
