"""Random networks in large numbers, on this machine or on a Dask cluster.

``python -m tests.tools.fuzz --cluster tcp://HOST:PORT``, or ``make fuzz CLUSTER=tcp://HOST:PORT``.
The workers have to be started in a checkout, so that they find the tests.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections import Counter
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings

from accel.console import working
from accel.errors import AccelError
from accel.parallel import run_tasks
from tests.tools.random_networks import CONFIGS, Case, cases, check, replay, summary

SLICE = 25
"""Networks of one task."""


class Slice(NamedTuple):
    """What one task draws."""

    config: str
    seed: int
    count: int


class Outcome(NamedTuple):
    counts: Counter[str]
    failure: str | None
    """What was wrong, and how to see it again, with the smallest network that Hypothesis found."""


def run_slice(part: Slice) -> Outcome:
    """Draws random networks and checks them, until one fails."""
    counts: Counter[str] = Counter()
    failures: list[Case] = []

    @seed(part.seed)
    @settings(
        max_examples=part.count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(part.config))
    def any_network(case: Case) -> None:
        try:
            done = check(case)
        except Exception:
            failures.append(case)
            raise
        counts[done] += not failures

    try:
        any_network()
    except Exception as e:
        if not failures:
            raise
        # The last one is the smallest.
        wrong = str(e).strip().partition("\n")[0] or type(e).__name__
        return Outcome(counts, f"{wrong}\n  again: {replay(failures[-1])}")
    return Outcome(counts, None)


def slices(networks: int, first_seed: int) -> list[Slice]:
    """So many networks in all, taking turns with the configurations."""
    names = list(CONFIGS)
    return [
        Slice(names[i % len(names)], first_seed + i, min(SLICE, networks - i * SLICE))
        for i in range(-(-networks // SLICE))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.fuzz", description=__doc__)
    parser.add_argument("--networks", type=int, default=3000, metavar="N", help="how many: 3,000")
    parser.add_argument("--seed", type=int, metavar="S", help="of the first; a new one each time")
    parser.add_argument("--jobs", type=int, metavar="J", help="processes here; one a core")
    parser.add_argument("--cluster", metavar="ADDRESS", help="run on the workers of that scheduler")
    options = parser.parse_args()
    first_seed = options.seed if options.seed is not None else secrets.randbelow(2**32)
    parts = slices(options.networks, first_seed)
    counts: Counter[str] = Counter()
    failures = []
    try:
        with working("random networks", "networks", options.networks) as work:
            done = 0
            for index, outcome in run_tasks(
                run_slice, parts, jobs=options.jobs, cluster=options.cluster
            ):
                counts += outcome.counts
                done += parts[index].count
                work.show(done, note=f"{len(failures)} failures" if failures else "")
                if outcome.failure is not None:
                    failures.append(outcome.failure)
                    print(outcome.failure, flush=True)
    except AccelError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    print(f"seed {first_seed}: {summary(counts)}; {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    # By this name the other processes know what is in it.
    from tests import fuzz

    sys.exit(fuzz.main())
