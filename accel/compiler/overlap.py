"""How early a layer may begin while outputs of the layer before are on their way to memory.

A layer's first step is issued right after the last step of the layer before, but for the cycle of
the hand-over. What that layer has not yet written then is in the pipeline: its last outputs, and no
more of them than the pipeline has places for, whatever stalls. A place holds a step, a vector or a
beat (:mod:`accel.hardware.pipeline`).

Take a layer of 2 steps a vector and 8 beats a vector, and the next layer's step 0. When it reads
the activation memory, the places for steps look like this::

    step, address | command | read data | data ... column sum | accumulator
      step 2        step 1     step 0     the last 6 steps       a finished sum, or not

Step 0 reads on its way from ``command`` to ``read data``: with the hand-over's, three places are no
longer the old layer's. The array moves only if the accumulators hold no finished vector, or one
that the pooling unit takes, which then has handed on its own; so of accumulator, maximum, next and
held vector at most three are full. What is outstanding at most:

    10 - 1 - 3 = 6 places for steps     ceil(6 / 2)  = 3 vectors
                   places for vectors                  3 vectors
    14             places for beats     ceil(14 / 8) = 2 vectors         8 vectors

Step i reads i moves of the array later, and finds i steps less.

That is so whatever stalls. But only results can be kept waiting, by who takes them: outputs that go
to memory stall for no reason but that vectors come faster than their beats go, and that ends by
itself. So of a layer with 15 steps and 1 beat a vector, of which nothing waits for results any
more, it is known when a vector is in memory. Those of its last, with 26 cycles from its last step's
issue to the first read that finds them, can be read by the next layer's step 22::

    cycle      0           1          2        ...    24              26
    issue      last step   hand-over  step 0          step 22
    reads                                                             step 22

and those of the vector before by its step 7. A vector may be late, after what is slower, or while
the units behind take up the layer; each that follows is so much less late as it has more steps than
beats. Of the two bounds the lesser holds.

A step that reads a byte which one of the vectors in flight writes has to wait, and with it all that
come after. Both what is written, in which order, and what is read follow from the two descriptors,
by the walk that the models of the hardware take (:mod:`accel.hardware.walk`).

Only the layer right before can have outputs outstanding: every layer waits, before its last step at
the latest, until the layer before it is in memory. For the first layer after one that sends results
that means that they were taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import FIELDS, LayerDescriptor
from accel.hardware.pipeline import Holds, backlog, memory_latency, places, vector_cycles
from accel.hardware.walk import (
    groups_read_alike,
    num_groups,
    operand_reads,
    reads,
    step_numbers,
    steps_per_vector,
    total_steps,
    vector_ends,
    window_ends,
    writes,
)

TAKEN_OVER = 3
"""Places for steps that are not the old layer's any more when the new one's step 0 reads: the
hand-over, and that step's first two registers. So many cycles and one it is since the old layer's
last step was issued."""


def vectors_in_flight(
    d: LayerDescriptor, step: NDArray[np.int64], cfg: AccelConfig, free_from: int
) -> NDArray[np.int64]:
    """Most vectors of a layer that can be outstanding when step number ``step`` of the next layer
    reads: int64, same shape. free_from: the number of the layer's step from whose issue on no
    result waits to be taken."""
    in_flight = _in_places(d, step, cfg)
    readable = _readable_from(d, cfg, free_from)
    still = readable.size - np.searchsorted(readable, step, side="right")
    # Of what came before the first vector of which it is known: as soon as that is in memory.
    return np.where(still < readable.size, np.minimum(in_flight, still), in_flight)


def _readable_from(d: LayerDescriptor, cfg: AccelConfig, free_from: int) -> NDArray[np.int64]:
    """For each of the last vectors, those that end with step ``free_from`` or after it: the first
    step of the next layer that may read it, however late it is. It may be less than 0."""
    ends = vector_ends(d)
    beats = np.full(ends.size, d.param_beats)
    beats[(num_groups(d) - 1) * (ends.size // num_groups(d)) :] = d.param_last_beats
    first = int(np.searchsorted(ends, free_from))
    ends, beats = ends[first:], beats[first:]
    # What a vector is later than the one before, were it as late as it can be
    later = np.maximum(beats, vector_cycles(cfg))[:-1] - np.diff(ends)
    so_far = np.append(0, np.cumsum(later))[: ends.size]
    late = so_far + np.maximum.accumulate(np.maximum(backlog(cfg), -so_far))
    in_memory = ends + late + memory_latency(cfg, adds=bool(d.adds)) + beats - 1
    return in_memory - (total_steps(d) - 1) - (TAKEN_OVER + 1)


def _in_places(d: LayerDescriptor, step: NDArray[np.int64], cfg: AccelConfig) -> NDArray[np.int64]:
    """:func:`vectors_in_flight`, whatever stalls: as many as there is room for."""
    adds = bool(d.adds)
    steps = np.maximum(places(Holds.STEP, cfg) - 1 - TAKEN_OVER - step, 0)
    in_front: NDArray[np.int64] = -(-steps // steps_per_vector(d))
    if d.column_windows:
        # Not every step has a vector: so many of the last ones, 0 of the last none
        last_ones = np.cumsum(np.append(False, window_ends(d)[::-1]))
        in_front = last_ones[np.minimum(steps, last_ones.size - 1)]
    # The last group's vectors have the fewest beats.
    beats = -(-places(Holds.BEAT, cfg, adds=adds) // d.param_last_beats)
    return in_front + places(Holds.VECTOR, cfg) + beats


def first_safe_steps(d: LayerDescriptor, cfg: AccelConfig) -> int:
    """Steps that the first layer makes before it waits until all results of the last image are
    taken. They are not late unless somebody keeps them waiting, so it may wait as early as the
    layer after it gains from that."""
    most = min(total_steps(d) - 1, FIELDS["safe_steps"].maximum)
    stages = sum(places(holds, cfg, adds=cfg.adder) for holds in Holds)
    step = np.arange(stages)
    # The later it waits, the more may be outstanding: halve where that begins.
    least, wanted = min(2 * stages, most), vectors_in_flight(d, step, cfg, 0)
    while least < most:
        middle = (least + most + 1) // 2
        if np.array_equal(vectors_in_flight(d, step, cfg, middle), wanted):
            least = middle
        else:
            most = middle - 1
    return least


def safe_steps(
    before: LayerDescriptor, after: LayerDescriptor, cfg: AccelConfig, free_from: int
) -> int:
    """Steps of ``after`` before the first that reads what ``before`` may still have in flight; one
    less than it has where there is none, so that it always waits for ``before`` in the end.
    free_from: as for :func:`vectors_in_flight`, of ``before``."""
    most = min(total_steps(after) - 1, FIELDS["safe_steps"].maximum)
    size = TAPS * cfg.act_depth
    outputs = writes(before, cfg.num_lanes)
    # For each byte, how many vectors from the last one on it is written: 1 for the last.
    never = np.iinfo(np.int64).max
    age = np.full(size, never)
    age[outputs.address % size] = outputs.vector[-1] + 1 - outputs.vector
    all_alike = groups_read_alike(after) and not after.adds
    for group in range(1 if all_alike else num_groups(after)):
        taps = reads(after, cfg.pixel_groups, group)
        youngest = np.where(taps.inside, age[taps.address % size], never).min(axis=(1, 2))
        step, operand_step = step_numbers(after, group)
        if after.adds:
            added = operand_reads(after, cfg, group)
            young = np.where(added.used, age[added.address % size], never).min(axis=1)
            step, youngest = np.append(step, operand_step), np.append(youngest, young)
        unsafe = youngest <= vectors_in_flight(before, step, cfg, free_from)
        if unsafe.any():
            return min(most, int(step[unsafe].min()))
    return most
