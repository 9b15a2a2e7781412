"""How early a layer may begin while outputs of the layer before are on their way to memory.

A layer's first step is issued right after the last step of the layer before. What that layer has
not yet written then is in the pipeline: its last outputs, and no more of them than the pipeline has
places for, whatever stalls. Each place holds a step, a vector or a beat
(:mod:`accel.hardware.pipeline`). For a layer of 4 steps a vector and 3 beats a vector:

    10 places for steps     ceil(10 / 4) = 3 vectors
     3 places for vectors                  3 vectors
    14 places for beats     ceil(14 / 3) = 5 vectors        11 vectors are outstanding at most

So the first step that reads a byte which one of the last 11 vectors writes has to wait, and with it
all that come after. Both what is written, in which order, and what is read follow from the two
descriptors, by the walk that the models of the hardware take (:mod:`accel.hardware.walk`).

Only the layer right before can have outputs outstanding: every layer waits, before its last step at
the latest, until the layer before it is in memory.
"""

from __future__ import annotations

import numpy as np

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import FIELDS, LayerDescriptor
from accel.hardware.pipeline import Holds, places
from accel.hardware.walk import (
    groups_read_alike,
    num_groups,
    reads,
    steps_per_group,
    steps_per_window,
    writes,
)


def vectors_in_flight(d: LayerDescriptor) -> int:
    """Most vectors of a layer that can be outstanding when its last step has been issued."""
    beats = d.param_last_beats
    return (
        -(-places(Holds.STEP) // steps_per_window(d))
        + places(Holds.VECTOR)
        + -(-places(Holds.BEAT) // beats)
    )


def safe_steps(before: LayerDescriptor, after: LayerDescriptor, cfg: AccelConfig) -> int:
    """Steps of ``after`` before the first that reads what ``before`` may still have in flight; one
    less than it has where there is none, so that it always waits for ``before`` in the end."""
    total = num_groups(after) * steps_per_group(after)
    most = min(total - 1, FIELDS["safe_steps"].maximum)
    size = TAPS * cfg.act_depth
    outputs = writes(before, cfg.num_lanes)
    first = outputs.vector[-1] + 1 - vectors_in_flight(before)
    outstanding = np.zeros(size, bool)
    outstanding[outputs.address[outputs.vector >= first] % size] = True
    for group in range(1 if groups_read_alike(after) else num_groups(after)):
        taps = reads(after, cfg.pixel_groups, group)
        unsafe = (outstanding[taps.address % size] & taps.inside).any(axis=(1, 2))
        if unsafe.any():
            return min(most, group * steps_per_group(after) + int(np.argmax(unsafe)))
    return most
