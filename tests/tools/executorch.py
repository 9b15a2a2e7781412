"""ExecuTorch's bytes: a million outputs of each operator, many at ties, against networks that were
read from the same programs. ``make executorch`` runs it, in an environment of its own; with
``--record`` it keeps some of these bytes for the tests, which have no ExecuTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import accel
from accel.console import console
from accel.errors import AccelError
from accel.network.graph import Network
from tests.pt2e_models import KINDS, Single, exported

NUM_OUTPUTS = 1_000_000
OUTPUTS_OF_A_MODEL = 25_000
NUM_RECORDED, IMAGES_RECORDED = 12, 3
"""Models of each kind, and images of each."""
RECORD = Path(__file__).parents[1] / "vectors" / "executorch.npz"


@contextlib.contextmanager
def executorch(program: Any) -> Iterator[Any]:
    """Takes images (N, ...) float32, one by one, and yields what ExecuTorch makes of them."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    buffer = lowered.to_executorch().buffer
    # The runtime keeps no reference to either.
    loaded = Runtime.get().load_program(buffer)
    method = loaded.load_method("forward")

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        made = [method.execute([torch.from_numpy(image[None])])[0].numpy() for image in images]
        return np.concatenate(made)

    yield run


def bytes_of(model: Single, images: NDArray[np.float32], program: Any) -> NDArray[np.int8]:
    """What ExecuTorch yields, as the integers that its real numbers are steps of."""
    scale, zero_point = model.after
    with executorch(program) as run:
        steps = run(images).astype(np.float64) / np.float32(scale)
    y = np.rint(steps) + zero_point
    assert np.abs(steps - np.rint(steps)).max() < 1e-3
    return y.astype(np.int8)


def ours(program: Any) -> Network | None:
    """The network; None if it is refused."""
    try:
        return accel.load(program)
    except AccelError as e:
        console.print(f"refused: {e}")
        return None


def compare(kind: str) -> int:
    """Returns how many of a million outputs differ; of models most of which must be taken."""
    wrong = count = models = seed = 0
    while count < NUM_OUTPUTS:
        if seed - models > 20 + models:
            sys.exit(f"{kind}: {seed - models} of {seed} models are refused")
        model = Single(kind, 1000 + seed)
        seed += 1
        program = exported(model)
        if (network := ours(program)) is None:
            continue
        images = model.images(max(1, OUTPUTS_OF_A_MODEL // network.output.size))
        source = network.input
        x = network.rounding.quantize(images, source.scale, source.zero_point, source.signed)
        found = network.integers(x.reshape(len(x), *source.shape))[-1]
        theirs = bytes_of(model, images, program)
        wrong += int((theirs.reshape(found.shape) != found).sum())
        count, models = count + found.size, models + 1
    console.print(f"{kind}: {wrong} of {count:,} outputs of {models} models differ")
    return wrong


def record(kinds: Sequence[str]) -> None:
    """What is kept of other kinds stays."""
    kept = {}
    if RECORD.exists():
        with np.load(RECORD) as file:
            kept = dict(file)
    kept["version"] = np.array(metadata.version("executorch"))
    for kind in kinds:
        for seed in range(NUM_RECORDED):
            model = Single(kind, seed)
            kept[f"{kind}/{seed}"] = bytes_of(model, model.images(IMAGES_RECORDED), exported(model))
    RECORD.parent.mkdir(exist_ok=True)
    np.savez_compressed(RECORD, **kept)
    console.print(f"{len(kept) - 1} models are recorded in {RECORD}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("kinds", nargs="*", default=KINDS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    if options.record:
        record(options.kinds)
        return
    console.print(f"ExecuTorch {metadata.version('executorch')}")
    wrong = sum(compare(kind) for kind in options.kinds)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
