"""Throughput on a Dask cluster of this machine's own, beside the same without Dask."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from distributed import LocalCluster

from benchmarks.common import Spread, Table, each, run

NUM_IMAGES = 1000
REPETITIONS = 3
WORKERS = (1, 2)


def measure() -> dict[str, Any]:
    run("verilator", 1)  # built before anything is measured
    with ExitStack() as stack:
        ways: dict[str, dict[str, Any]] = {}
        for n in WORKERS:
            # Processes, as dask worker starts them.
            workers = LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0")
            address = stack.enter_context(workers).scheduler_address
            ways[f"{n} local"] = {"jobs": n}
            ways[f"{n} on a cluster"] = {"cluster": address}
            run("verilator", 100 * n, cluster=address)  # each worker has loaded accel
        rates: dict[str, list[float]] = {way: [] for way in ways}
        # One after the other, and again, so that a slow minute of the machine meets all of them.
        for way in each("cluster", [*ways] * REPETITIONS):
            rates[way].append(NUM_IMAGES / run("verilator", NUM_IMAGES, **ways[way]).seconds)
    return {"images": NUM_IMAGES, "rates": rates}


def fill(part: dict[str, Any]) -> dict[str, Table | str]:
    rates = {way: Spread.of(of) for way, of in part["rates"].items()}
    one, two = (rates[f"{n} on a cluster"].median for n in WORKERS)
    rows = [[way, rate.text(",.0f")] for way, rate in rates.items()]
    return {
        "cluster": Table(("processes", "images a second"), rows),
        "cluster_images": f"{part['images']:,}",
        "cluster_two": f"{two / one:.2f}",
        "cluster_local": f"{one / rates['1 local'].median:.2f}",
    }
