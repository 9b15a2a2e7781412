"""Rough treatment, a little of each: see :mod:`tests.tools.rough`."""

from __future__ import annotations

import pytest

from accel.hardware.config import AccelConfig
from tests.tools import rough

SMALL = AccelConfig(
    num_cols=4, num_lanes=2, acc_nbits=26, spad_depth=4, act_depth=64, weight_depth=100,
    param_depth=20, max_layers=4,
)  # fmt: skip


def test_rough_treatment(monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one test, so that the driver is built once: half a minute."""
    network, images = rough.small_network(1)
    (resets,) = rough.run(network, images, SMALL, "resets")
    assert resets > 1000
    # So many states, all different.
    assert rough.run(network, images, SMALL, "seeds", 200) == [200]
    cycles, count = rough.run(network, images, SMALL, "stream", 1_000_000, 1)
    assert cycles >= 1_000_000
    assert count > 1000

    # Results in another order than their images'.
    right = rough.result_words

    def swapped(*args: object) -> list[int]:
        words = right(*args)
        return words[len(words) // 2 :] + words[: len(words) // 2]

    monkeypatch.setattr(rough, "result_words", swapped)
    for what in (["resets"], ["seeds", 1], ["stream", 1000, 1]):
        with pytest.raises(AssertionError, match=r"word 0 of result 0 is 0x\w+ in cycle \d+"):
            rough.run(network, images, SMALL, *what)
