"""Random networks through Verilated RTL: see :mod:`tests.tools.random_networks`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, note, settings

from tests.strategies import more_examples
from tests.tools.random_networks import CONFIGS, Case, cases, check, replay

# Each takes half a minute to build.
FEW = ("groups",)


@pytest.mark.parametrize("config", CONFIGS)
def test_random_networks(config: str, record_property: Callable[[str, object], None]) -> None:
    if settings().max_examples < 100 and config not in FEW:
        pytest.skip("only with more examples, as in make fuzz")
    counts: Counter[str] = Counter()

    @more_examples(4)
    @given(case=cases(config))
    def any_network(case: Case) -> None:
        note(f"again: {replay(case)}")
        counts[check(case)] += 1

    try:
        any_network()
    finally:
        record_property("random networks", dict(counts))
