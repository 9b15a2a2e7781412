"""Random quantized networks whose values spread over their ranges, without training one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel.compiler.compile import compile
from accel.compiler.program import Program
from accel.errors import AccelError
from accel.hardware.config import AccelConfig
from accel.network.network import Layer, Network, Tensor, layer_output_shape


class Conv(NamedTuple):
    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    relu: bool = True
    pool: bool = False


class Linear(NamedTuple):
    features: int
    relu: bool = True


def random_network(
    rng: np.random.Generator,
    input_shape: tuple[int, ...],
    specs: list[Conv | Linear],
    *,
    per_channel: bool = True,
    signed: bool = False,
    weights: str = "any",
    zero_points: str = "any",
) -> Network:
    """A network of these layers with random weights, biases, scales and zero points.

    weights: ``any``, only the ``ends``, a few that are not ``zero``, or all the ``lowest``.
    zero_points: ``any`` but near the ends, or the ``lowest`` or the ``highest``.
    """

    def tensor(shape: tuple[int, ...], scale: float) -> Tensor:
        zero_point = int(rng.integers(40, 200)) - 128 * signed
        if zero_points != "any":
            zero_point = {"lowest": 0, "highest": 255}[zero_points] - 128 * signed
        return Tensor(
            shape=shape, scale=float(np.float32(scale)), zero_point=zero_point, signed=signed
        )

    x = tensor(input_shape, 2 ** rng.uniform(-8, 0))
    layers = []
    for i, spec in enumerate(specs):
        options: dict[str, Any] = {"relu": spec.relu}
        if isinstance(spec, Conv):
            shape = (spec.channels, x.shape[0], *spec.kernel)
            options |= {"stride": spec.stride, "padding": spec.padding, "pool": spec.pool}
        else:
            shape = (spec.features, x.size)
        weight = rng.integers(-128, 128, shape).astype(np.int8)
        if weights == "ends":
            weight = np.where(weight < 0, -128, 127).astype(np.int8)
        elif weights == "zero":
            weight[rng.random(shape) < 0.8] = 0
        elif weights == "lowest":
            weight[:] = -128
        weight_scale = 2 ** rng.uniform(-9, -7, shape[0] if per_channel else 1)
        spread = 70 * 74 * np.sqrt(np.prod(shape[1:]))
        bias = rng.normal(size=shape[0]) * spread * x.scale * weight_scale / 3
        out_shape = layer_output_shape(
            x.shape, shape, spec.stride, spec.padding, spec.pool
        ) if isinstance(spec, Conv) else (spec.features,)  # fmt: skip
        output = tensor(out_shape, x.scale * weight_scale.mean() * spread / 70)
        layers.append(
            Layer(
                name=f"layer{i}",
                kind="conv2d" if isinstance(spec, Conv) else "linear",
                weight=weight,
                weight_scale=weight_scale.astype(np.float32),
                bias=bias.astype(np.float32),
                input=x,
                output=output,
                **options,
            )
        )
        x = output
    return Network(name="random", layers=tuple(layers))


def random_images(rng: np.random.Generator, network: Network, count: int) -> np.ndarray:
    """int64 (count, *input shape), over the whole range of the input tensor."""
    lo, hi = network.input.limits
    return rng.integers(lo, hi + 1, (count, *network.input.shape))


def compile_if_it_fits(network: Network, cfg: AccelConfig) -> Program | None:
    """The program, or None where the network is too large for so small an accelerator."""
    try:
        return compile(network, cfg)
    except AccelError as e:
        if " more than " not in str(e):
            raise
        return None
