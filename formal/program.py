"""A small program, as what is assumed of the accelerator's descriptors."""

from __future__ import annotations

import numpy as np

from accel.compiler.compile import compile
from accel.hardware.config import BUS_NBITS, AccelConfig
from accel.hardware.descriptors import INPUT_WORDS, PARAM_WORD, WORDS_PER_LAYER, WRITE_WORD
from accel.hardware.packets import Packet
from rtl_models.descriptor_memory import word_nbits
from tests.networks import Conv, Linear, random_network

READERS = {
    "StepSequencerRTL": range(PARAM_WORD),
    "ParamSequencerRTL": range(PARAM_WORD, WRITE_WORD),
    "WriteSequencerRTL": range(WRITE_WORD, WORDS_PER_LAYER),
}
"""The words of a descriptor that each sequencer reads."""


def assumptions(cfg: AccelConfig) -> dict[str, str]:
    """For each module that holds descriptors: that they are those of a 1x1 convolution of four
    pixels, and of a linear layer after it that waits for them."""
    specs = [Conv(1, kernel=(1, 1)), Linear(2)]
    network = random_network(np.random.default_rng(0), (1, 2, 2), specs)
    layers, words = [], list(compile(network, cfg).words)
    beats = {Packet.WEIGHTS: cfg.weight_word_beats, Packet.PARAMS: cfg.num_lanes}
    while words:
        header, *words = words
        kind, count = Packet(header >> 60), header >> 32 & 0xFFFFFFF
        fixed = {Packet.LAYER: WORDS_PER_LAYER, Packet.INPUT: INPUT_WORDS, Packet.RUN: 0}
        size = fixed[kind] if kind in fixed else count * beats[kind]
        payload, words = words[:size], words[size:]
        if kind == Packet.LAYER:
            layers.append(payload)
        elif kind == Packet.INPUT:
            image = payload
    first, second = layers
    found = {"ImageLoaderRTL": [f"descriptor[{i}] == 64'd{w}" for i, w in enumerate(image)]}
    for module, numbers in READERS.items():
        found[module] = []
        for i in numbers:
            nbits = min(BUS_NBITS, word_nbits(i))
            values = [f"{nbits}'d{layer[i] & ((1 << nbits) - 1)}" for layer in (first, second)]
            chosen = f"layer == 0 ? {values[0]} : {values[1]}"
            found[module].append(f"descriptor__word{i} == ({chosen})")
    return {
        module: "".join(f"  always @(*) assume ({fact});\n" for fact in facts)
        for module, facts in found.items()
    }
