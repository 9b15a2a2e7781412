"""A sweep of the design space from beginning to end: from files of networks to a Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from accel.exploration.pareto import Outcome
from accel.exploration.sweep import Progress, Results, load_subjects, plan, run
from accel.fashion_mnist.data import QUANTIZED_NETWORK
from accel.hardware.config import AccelConfig


class Interrupted(KeyboardInterrupt):
    """Interrupted when there was a file, which keeps what was done."""


def search(
    base: AccelConfig,
    values: Mapping[str, tuple[int | bool, ...]],
    networks: Sequence[Path] | None,
    out: Path,
    *,
    objectives: Sequence[str],
    fit: bool = False,
    images: str | None = None,
    data: Path | None = None,
    target: str | None = None,
    seeds: int = 0,
    checks: int = 0,
    jobs: int | None = None,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Tries ``base`` with each combination of ``values``, fields' values, on the networks in these
    files, or on the bundled one, and finds out which no other beats.

    out: the file of the points, which goes on being written. images, data: which images, as
    :func:`accel.exploration.sweep.load_subjects` takes them. fit: as
    :func:`accel.exploration.sweep.plan` says. All others but the objectives are those of
    :func:`accel.exploration.sweep.run`.

    Raises :class:`AccelError` as these do, and :class:`Interrupted`.
    """
    with Results(out) as results:
        try:
            subjects = load_subjects(networks or [QUANTIZED_NETWORK], images, data)
            found = run(
                *(plan(base, values, subjects, fit=fit), subjects, results),
                target=target,
                seeds=seeds,
                checks=checks,
                jobs=jobs,
                cluster=cluster,
                progress=progress,
            )
        except KeyboardInterrupt as e:
            raise Interrupted from e
    return Outcome(found, objectives, values)
