"""A small program, as what is assumed of the accelerator's descriptors."""

from __future__ import annotations

import numpy as np

from accel.compiler.compile import compile
from accel.hardware.config import BUS_NBITS, AccelConfig
from accel.hardware.descriptors import PARAM_WORDS, STEP_WORDS, WRITE_WORDS
from accel.hardware.packets import Packet, packets
from rtl_models.descriptor_memory import word_nbits
from tests.networks import Conv, Linear, random_network

READERS = {
    "StepSequencerRTL": STEP_WORDS,
    "ParamSequencerRTL": PARAM_WORDS,
    "WriteSequencerRTL": WRITE_WORDS,
}
"""The words of a descriptor that each sequencer reads."""


def assumptions(cfg: AccelConfig) -> dict[str, str]:
    """For each module that holds descriptors: that they are those of a 1x1 convolution of four
    pixels, and of a linear layer after it that waits for them."""
    specs = [Conv(1, kernel=(1, 1)), Linear(2)]
    network = random_network(np.random.default_rng(0), (1, 2, 2), specs)
    found = list(packets(compile(network, cfg).words, cfg))
    first, second = (packet.payload for packet in found if packet.kind == Packet.LAYER)
    (image,) = (packet.payload for packet in found if packet.kind == Packet.INPUT)
    facts_of = {"ImageLoaderRTL": [f"descriptor[{i}] == 64'd{w}" for i, w in enumerate(image)]}
    for module, numbers in READERS.items():
        facts_of[module] = []
        for i in numbers:
            nbits = min(BUS_NBITS, word_nbits(i, cfg))
            values = [f"{nbits}'d{layer[i] & ((1 << nbits) - 1)}" for layer in (first, second)]
            chosen = f"layer == 0 ? {values[0]} : {values[1]}"
            facts_of[module].append(f"descriptor__word{i} == ({chosen})")
    return {
        module: "".join(f"  always @(*) assume ({fact});\n" for fact in facts)
        for module, facts in facts_of.items()
    }
