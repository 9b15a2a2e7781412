"""The stages that a step passes, and how long each takes."""

FETCH_LATENCY = 5
"""Cycles from the issue of a step to its offer to the PE array."""


PE_ARRAY_LATENCY = 5
"""Cycles from the acceptance of a ``last`` step to the offer of its sums."""


REQUANTIZER_LATENCY = 11
"""Cycles from the acceptance of a beat to the offer of its output."""
