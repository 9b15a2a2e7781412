"""A run beside what it should have been: every output held to the runtime that the network comes
from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel.compiler.program import Program
from accel.network.graph import Network
from accel.runtimes.reference import reference
from accel.simulation.runner import Progress, Run, simulate

if TYPE_CHECKING:
    from accel.board.board import Board


@dataclass(frozen=True)
class Comparison:
    """A run, and what it should have been."""

    run: Run
    expected: NDArray[np.int64]
    """The outputs of the reference: (N, *output shape)."""
    reference: str
    """With what the outputs are compared: see :class:`accel.runtimes.reference.Reference`."""

    @property
    def mismatched_outputs(self) -> int:
        """Outputs that differ, and winning classes that are not the first largest output's."""
        return self.run.mismatches(self.expected)

    @property
    def first_wrong(self) -> int | None:
        """The first image of which anything differs."""
        different = (self.run.outputs != self.expected).reshape(len(self.expected), -1).any(axis=1)
        images = np.flatnonzero(different | self.run.wrong_winners(self.expected))
        return int(images[0]) if images.size else None


def compare(
    network: Network,
    program: Program,
    images: NDArray[Any],
    *,
    level: str,
    jobs: int | None = None,
    cluster: str | None = None,
    max_cycles: int | None = None,
    progress: Progress | None = None,
    board: Board | None = None,
) -> Comparison:
    """Simulate, or run on a board, and compute what the network's reference makes of the same
    images.

    program: of ``network``. board: what runs them at level ``board``, as
    :meth:`accel.board.board.Board.run` says. All but these is as
    :func:`accel.simulation.runner.simulate` has it, and so is what is raised.
    """
    if board is not None:
        run = board.run(program, images, progress=progress)
    else:
        run = simulate(
            program,
            images,
            level=level,
            jobs=jobs,
            cluster=cluster,
            max_cycles=max_cycles,
            progress=progress,
        )
    by = reference(network)
    expected = by.run(network, program.quantize(images))[-1].astype(np.int64)
    return Comparison(run, expected, by.name)
