"""What the accelerator says of itself: its ports for errors, activity, traffic and streams."""

from __future__ import annotations

from enum import IntEnum


class ProgramError(IntEnum):
    """What was wrong with a program: the accelerator's ``error`` port.

    The first error stays until reset. Until then words of the program and of images are taken and
    dropped, so that no transfer of the host's hangs, and nothing is computed. After reset the whole
    program has to be loaded: descriptors from before are not taken for this one's.
    """

    NONE = 0
    KIND = 1
    """No packet is of this kind."""
    COUNT = 2
    """A WEIGHTS, PARAMS or TABLE packet of no words."""
    ADDRESS = 3
    """The packet goes beyond the memory that it names."""
    LAYERS = 4
    """RUN with no layer, or with more than there can be."""
    MISSING = 5
    """RUN with a layer whose descriptor has not come since reset, or before the INPUT packet."""
    STUCK = 6
    """Nothing has moved for ``WATCHDOG_CYCLES`` cycles though no one waits for the host: the
    descriptors contradict one another."""


WATCHDOG_CYCLES = 1024
"""A power of two, and many times what any two transfers within the accelerator are apart."""


class Activity(IntEnum):
    """What the accelerator's issue stage does in a cycle (its ``activity`` port): it issues a step,
    or something keeps it from doing so."""

    IDLE = 0
    """No program runs."""
    STEP = 1
    """A step was issued: every multiplier of the array has work."""
    HANDOVER = 2
    """The next layer's descriptor is taken up."""
    FILL = 3
    """The step would read what the layer before has not written yet, and that layer's last step has
    not reached the multipliers."""
    DRAIN = 4
    """The same, and that step is in the array's adders and accumulators."""
    REQUANTIZER = 5
    """The same, and it has left the array; or the requantizer takes no more vectors."""
    MEMORY = 6
    """Waits for an image whose next word waits for the activation memory: outputs are written in
    this cycle, or the last image is still being read."""
    INPUT = 7
    """Waits for an image whose next word has not come."""
    OUTPUT = 8
    """The pipeline is blocked: results are not taken, or a layer's last one was just put away."""


TRAFFIC = ("weight_words", "activation_bytes", "gated_taps", "result_bytes")
"""What the hardware counts for each layer, from the loading of its descriptor on: words read from
the weight memory; bytes read from the activation memories; taps that were gated, each of which kept
``operand_cols`` multipliers from switching; bytes of output. A tap that the array does not see, of
a window that is not used, is not gated."""


TRAFFIC_NBITS = 48
"""Width of a counter."""


STREAMS = ("step", "acc", "pooled", "param", "out")
"""Streams between the units, as the port ``streams`` shows them: val in bit 2i, rdy in
bit 2i + 1."""
