"""The energy estimate, and what a report says of traffic and lost cycles."""

import json

import numpy as np
import pytest

from accel.compiler.compile import compile
from accel.fashion_mnist import data
from accel.hardware.config import base, tiny
from accel.hardware.status import TRAFFIC
from accel.images import of_fashion_mnist
from accel.reports.energy import accesses
from accel.reports.evaluation import evaluate
from tests.networks import Conv, Linear, random_network


def test_by_hand() -> None:
    """Two layers small enough to count on paper."""
    rng = np.random.default_rng(2)
    # Five outputs in 3 groups of 2 columns: one window an output, so that 3 words serve all pixels.
    network = random_network(rng, (1, 4, 4), [Conv(5, (3, 3)), Linear(2, relu=False)])
    program = compile(network, tiny)
    steps = [3 * 4, 4]
    assert [layer.steps for layer in program.layers] == steps
    traffic = np.array([[3, 108, 10, 20], [4, 20, 6, 2]], float)
    assert TRAFFIC == ("weight_words", "activation_bytes", "gated_taps", "result_bytes")

    conv, linear = accesses(program, traffic)
    assert conv.multiply == 9 * 2 * 12 - 2 * 10
    # 9 of 12 steps take their weights from scratchpads; 3 words of 18 bytes are stored there.
    assert conv.register_file == 2 * 2 * 12 + conv.multiply * 9 / 12 + 3 * 18
    assert conv.array == conv.multiply + 3 * 2 * 12
    assert conv.buffer == 108 + (16 + 20) + 3 * 18
    assert conv.dram == 16
    assert conv.total == (
        conv.multiply + conv.register_file + 2 * conv.array + 6 * conv.buffer + 200 * conv.dram
    )
    # Every weight is used once: none is stored.
    assert linear.register_file == 2 * 2 * 4
    assert linear.buffer == 20 + 4 * 18
    assert linear.dram == 2

    alone, _ = accesses(program, traffic, scratchpads=False, gating=False)
    assert alone.multiply == 9 * 2 * 12
    assert alone.register_file == 2 * 2 * 12
    assert alone.buffer == 108 + (16 + 20) + 12 * 18


@pytest.mark.parametrize("level", ["fl", "cl"])
def test_report(level: str) -> None:
    """Steps and lost cycles are all cycles; what saves energy does; the record is plain JSON."""
    images = of_fashion_mnist(data.bundled_images()[:2])
    found = evaluate(data.bundled_network(), base, images, level=level, jobs=1)
    record = json.loads(found.record().model_dump_json())
    for layer in record["layers"]:
        assert layer["traffic"]["weight_words"] > 0
        energy = {name: sum(kinds.values()) for name, kinds in layer["energy"].items()}
        assert energy["as it is"] <= min(energy["no scratchpad"], energy["no gating"])
        assert max(energy["no scratchpad"], energy["no gating"]) <= energy["neither"]
        if level == "cl":
            assert layer["steps"] + sum(layer["lost_cycles"].values()) == layer["cycles"]
    if level == "cl":
        assert sum(layer["cycles"] for layer in record["layers"]) == record["cycles_per_image"]
    assert len(found.table().rows) == len(found.energy_table().rows) == 6
