"""What a network costs in energy, estimated from what the hardware counted.

Relative costs of an access, the multiply-accumulate being 1, from Y.-H. Chen, J. Emer and V. Sze,
"Eyeriss: A Spatial Architecture for Energy-Efficient Dataflow for Convolutional Neural Networks",
ISCA 2016, table IV. They were extracted for 16-bit words in a 65 nm process, and no measurement of
this hardware validates them: what is compared here is designs, not devices.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from accel.compiler.program import Program
from accel.hardware.config import TAPS
from accel.hardware.status import TRAFFIC

MULTIPLY, REGISTER_FILE, ARRAY, BUFFER, DRAM = 1, 1, 2, 6, 200


@dataclass(frozen=True)
class Accesses:
    """Bytes or numbers moved, and multiplications, for one layer of one image."""

    multiply: float
    """Multiplications that were not gated, in columns without an output channel too."""
    register_file: float
    """Weights written to and read from scratchpads, accumulators read and written."""
    array: float
    """Activations delivered to the PEs of each column, sums handed from PE to PE."""
    buffer: float
    """Bytes from and to the activation memories, and from the weight memory."""
    dram: float
    """Bytes of images and results; weights stay on the chip."""

    @property
    def energy(self) -> dict[str, float]:
        """Relative energy, by kind of access."""
        costs = (MULTIPLY, REGISTER_FILE, ARRAY, BUFFER, DRAM)
        names = [f.name for f in fields(self)]
        return {n: getattr(self, n) * cost for n, cost in zip(names, costs, strict=True)}

    @property
    def total(self) -> float:
        return sum(self.energy.values())


def accesses(
    program: Program,
    traffic: NDArray[np.float64],
    *,
    scratchpads: bool = True,
    gating: bool = True,
) -> list[Accesses]:
    """Accesses of each layer for one image.

    traffic: (layers, counters of :data:`accel.hardware.status.TRAFFIC`), an image on average.
    Without ``scratchpads`` every step would read its weights from memory; without ``gating`` every
    multiplier would work in every step.
    """
    cfg = program.cfg
    found = []
    for i, (layer, counters) in enumerate(zip(program.layers, traffic.tolist(), strict=True)):
        count = dict(zip(TRAFFIC, counters, strict=True))
        columns = layer.array_steps * cfg.num_cols
        multiply = TAPS * columns - gating * count["gated_taps"] * cfg.operand_cols
        weight_words = count["weight_words"] if scratchpads else layer.array_steps
        weight_bytes = TAPS * cfg.num_cols * weight_words
        # Of the steps that load their weights, none comes out of a scratchpad.
        kept = 1 - weight_words / layer.array_steps
        stored = weight_bytes if kept else 0
        first, last = i == 0, i == len(program.layers) - 1
        image_bytes = float(np.prod(program.input.shape)) if first else 0.0
        written = image_bytes + (0 if last else count["result_bytes"])
        found.append(
            Accesses(
                multiply=multiply,
                register_file=2 * columns + kept * multiply + stored,
                array=multiply + 3 * columns,
                buffer=count["activation_bytes"] + cfg.pixel_groups * written + weight_bytes,
                dram=image_bytes + (count["result_bytes"] if last else 0),
            )
        )
    return found
