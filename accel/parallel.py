"""Many tasks side by side: in processes of this machine, or on the workers of a Dask cluster."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import pickle
import platform
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from functools import cache, partial
from importlib import metadata, resources
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from joblib import Parallel, delayed
from joblib.externals.loky import process_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import ParallelBackendBase

from accel.errors import AccelError

Task = TypeVar("Task")
Result = TypeVar("Result")

PATIENCE = 30.0
"""Seconds that a cluster may be without any worker: one that a nanny starts anew needs a few."""
CONNECT_SECONDS = 10.0
WORKER = "dask worker {} --nthreads 1 --nworkers N"


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    jobs: int | None = None,
    cluster: str | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yields (index of the task, ``function(task)``) as tasks are done, in any order, each once.

    function: of a module that the other processes have too, or of the script itself. tasks: taken
    as they are needed, maybe by another thread; each travels with all that it holds. jobs:
    processes side by side; as many as cores if None, and this one alone if 1. cluster: address of
    a Dask scheduler, as ``tcp://host:8786``, whose workers run the tasks instead. There a task may
    be begun more than once, when a worker dies.

    Raises :class:`AccelError` if a task does, if processes die of a task, if the cluster cannot be
    reached, loses all its workers, or has other versions than this machine. Tasks that have not
    begun are then dropped, and so they are when the iterator is closed.
    """
    if cluster is None:
        jobs = jobs or os.cpu_count() or 1
        if jobs == 1:
            yield from ((index, function(task)) for index, task in enumerate(tasks))
            return
        yield from _through_joblib("loky", jobs, partial(_call, function), tasks)
        return
    if jobs is not None:
        raise AccelError(
            "the cluster has as many jobs as it has workers: leave out --jobs, or --cluster"
        )
    client = _connect(cluster)
    try:
        backend = _DaskBackend(client, cluster)
        call = partial(_call_there, versions(), function)
        yield from _through_joblib(backend, -1, call, tasks)
    finally:
        client.close()


def _through_joblib(
    backend: str | ParallelBackendBase,
    jobs: int,
    call: Callable[[int, Task], tuple[int, Result]],
    tasks: Iterable[Task],
) -> Iterator[tuple[int, Result]]:
    # One task a batch: it takes seconds, and a batch would be lost as a whole.
    runner = Parallel(n_jobs=jobs, backend=backend, return_as="generator_unordered", batch_size=1)
    results = runner(delayed(call)(index, task) for index, task in enumerate(tasks))
    try:
        # Not "yield from", which would close it before the warning is taken care of.
        for index, result in results:  # noqa: UP028
            yield index, result
    except TerminatedWorkerError as e:
        raise AccelError(
            "a process was killed while it ran a task, perhaps for want of memory: give fewer "
            "--jobs"
        ) from e
    finally:
        with warnings.catch_warnings():
            # joblib finds it remarkable that what has not begun is dropped.
            warnings.simplefilter("ignore")
            results.close()


def _call(function: Callable[[Task], Result], index: int, task: Task) -> tuple[int, Result]:
    """In the process that runs the task."""
    # What tasks load, such as torch, is there for the next ones; joblib takes it for a leak, and
    # ends the process. If nothing else was to be done then, later tasks wait for it without end.
    process_executor._MAX_MEMORY_LEAK_SIZE = math.inf
    return index, function(task)


def _call_there(
    theirs: dict[str, str], function: Callable[[Task], Result], index: int, task: Task
) -> tuple[int, Result]:
    """The same on a worker, if it has these versions."""
    for name, version in versions().items():
        if version != theirs[name]:
            raise AccelError(
                f"a worker on {platform.node()} has {name} {version}, and this machine "
                f"{theirs[name]}: install the same in both places, and start the worker anew"
            )
    return index, function(task)


@cache
def versions() -> dict[str, str]:
    """Of all that the bytes of a result depend on; of accel what the files say, not only what they
    are called."""
    digest = hashlib.sha256()
    for package in ("accel", "cl_models", "fl_models", "rtl_models"):
        folder = Path(str(resources.files(package)))
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("csrc/*")]):
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "accel": f"{metadata.version('accel-cnn')} (sources {digest.hexdigest()[:8]})",
        "numpy": metadata.version("numpy"),
        "pymtl3": metadata.version("pymtl3"),
    }


def _connect(address: str) -> Any:
    """A client of the scheduler there."""
    try:
        from distributed import Client
    except ImportError as e:
        raise AccelError(
            "a cluster needs Dask, which is not installed: pip install 'accel-cnn[cluster]'"
        ) from e
    try:
        parts = urlsplit(address)
        ok = parts.scheme in ("tcp", "tls", "ws", "wss") and parts.hostname and parts.port
    except ValueError:
        ok = False
    if not ok:
        raise AccelError(
            f"the address of a cluster must be as dask scheduler prints it, like "
            f"tcp://127.0.0.1:8786, not '{address}'"
        )
    # What it has to say of a lost connection, an error says.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as e:
        raise AccelError(
            f"there is no Dask scheduler at {address}: start one with dask scheduler, and workers "
            f"with {WORKER.format(address)}"
        ) from e


class _DaskBackend(ParallelBackendBase):  # type: ignore[misc]
    """Runs what joblib dispatches on the workers of a Dask cluster.

    joblib's own backend of this kind waits for ever for a task that Dask gives up, or when all
    workers are gone; it sends large arguments to one worker, with which they are lost; and it runs
    everything here when the cluster has but one worker.
    """

    supports_retrieve_callback = True

    def __init__(self, client: Any, address: str) -> None:
        super().__init__()
        self._client, self._address = client, address
        self._futures: set[Any] = set()
        self._stop = threading.Event()
        self._reason = ""

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Twice as many as run at once are sent ahead, and some for workers that come later. joblib
        takes 1 for no cluster at all."""
        return 8 + sum(self._client.nthreads().values())

    def start_call(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def stop_call(self) -> None:
        self._stop.set()

    def submit(self, func: Any, callback: Any = None) -> Any:
        import cloudpickle

        # As bytes, which the scheduler hands on: else it would have to know all that is in them.
        # They stay with it until the result is there, so that a worker may die.
        future = self._client.submit(
            lambda task: pickle.loads(task)(), cloudpickle.dumps(func), key=f"accel-{uuid4().hex}"
        )
        self._futures.add(future)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Any) -> list[Any]:
        """joblib's callback, with a future that is done, failed or cancelled."""
        from distributed import KilledWorker

        self._futures.discard(out)
        try:
            return out.result()
        except KilledWorker as e:
            raise AccelError(
                f"a task killed {e.allowed_failures + 1} workers, one after another, perhaps for "
                f"want of memory: start fewer on a machine, or run it without --cluster to see why"
            ) from e
        except ModuleNotFoundError as e:
            raise AccelError(
                f"a worker has no module '{e.name}': install there what is installed here, and "
                f"start it anew"
            ) from e
        except CancelledError as e:
            raise AccelError(
                self._reason or f"the connection to the Dask scheduler at {self._address} is lost"
            ) from e

    def abort_everything(self, ensure_ready: bool = True) -> None:
        self._stop.set()
        self._client.cancel(list(self._futures))

    def _watch(self) -> None:
        """Gives up when there has long been no worker."""
        seen = time.monotonic()
        while not self._stop.wait(1):
            try:
                there = self._client.nthreads()
            except Exception:
                return  # The connection is lost, or closed: Dask itself cancels what waits for it.
            if there:
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                self._reason = (
                    f"the Dask scheduler at {self._address} has had no worker for "
                    f"{PATIENCE:.0f} seconds: start some with {WORKER.format(self._address)}"
                )
                self._client.cancel(list(self._futures))
                return
