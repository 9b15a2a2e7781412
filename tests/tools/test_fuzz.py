"""Random networks in large numbers: what a task reports, and how many there are."""

from __future__ import annotations

from tests.tools import fuzz
from tests.tools.random_networks import CONFIGS, Case


def test_a_random_network_that_fails_is_made_small(monkeypatch):
    """The command that runs it again is of the smallest one, and the others are counted."""

    def check(case):
        assert case.seed < 1000, "it is wrong\nin this way"
        return "run"

    monkeypatch.setattr(fuzz, "check", check)
    outcome = fuzz.run_slice(fuzz.Slice("narrow", 3, 200))
    what, again = outcome.failure.split("\n")
    assert what == "it is wrong"
    command, text, _ = again.split("'")
    assert command == "  again: .venv/bin/python -m tests.tools.random_networks "
    assert Case.parse(text).seed == 1000
    assert set(outcome.counts) <= {"run"}


def test_the_slices_are_as_many_networks_as_asked_for():
    parts = fuzz.slices(160, 7)
    assert sum(part.count for part in parts) == 160
    assert {part.config for part in parts} == set(CONFIGS)
    assert len({part.seed for part in parts}) == len(parts)
