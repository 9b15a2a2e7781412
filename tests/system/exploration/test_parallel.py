"""Tasks side by side: local processes, and a Dask cluster of real processes on the loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from accel import cli, parallel
from accel.compiler.compile import compile
from accel.errors import AccelError
from accel.parallel import run_tasks
from accel.simulation import verilated
from accel.simulation.runner import simulate
from tests import ROOT
from tests.networks import Conv, Linear, random_images, random_network
from tests.tools import fuzz
from tests.tools.random_networks import CONFIGS

NUM_WORKERS = 3


def wait_for(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.05)


class Cluster:
    """A Dask scheduler, and workers that a nanny starts anew when they die."""

    def __init__(self, folder):
        self.folder = folder
        self.cache = folder / "cache"
        """Of the workers, for compiled simulations."""
        self.processes = []
        file = folder / "scheduler.json"
        self._start(
            *("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0"),
            *("--scheduler-file", str(file)),
        )
        wait_for("the scheduler", lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]

    def start_workers(self, number=NUM_WORKERS):
        self._start(
            *("worker", self.address, "--nthreads", "1", "--nworkers", str(number)),
            *("--no-dashboard", "--local-directory", str(self.folder)),
        )
        client = parallel._connect(self.address)
        client.wait_for_workers(number, timeout=60)
        client.close()

    def _start(self, *arguments):
        # One dead worker does not fail a task, two do.
        environment = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
        environment |= {"XDG_CACHE_HOME": str(self.cache)}
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)

    def stop(self):
        # A worker process ends when its nanny is gone.
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        started.start_workers()
        yield started
    finally:
        started.stop()


@pytest.fixture
def empty_cluster(tmp_path):
    started = Cluster(tmp_path)
    yield started
    started.stop()


def square(x):
    return x * x


def refuse_three(x):
    if x == 3:
        raise AccelError("three is too much: give two")
    return x


def divide(x):
    return 1 // x


def die(x):
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_wait(task):
    """Leaves a file at each begin; the process that ran it to its end."""
    folder, number = task
    (folder / f"{number}-{os.getpid()}").touch()
    time.sleep(0.3)
    return os.getpid()


def kill_in_its_next_task(pid, folder):
    wait_for("its next task", lambda: len([*folder.glob(f"*-{pid}")]) > 1)
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=["jobs=1", "jobs=2", "cluster"])
def where(request):
    """The options of run_tasks."""
    if request.param == "cluster":
        return {"cluster": request.getfixturevalue("cluster").address}
    return {"jobs": int(request.param[-1])}


def test_each_result_comes_once_with_its_index(where):
    results = list(run_tasks(square, iter(range(30)), **where))
    assert sorted(results) == [(n, n * n) for n in range(30)]


KEPT: list[bytes] = []


def keep_much(x):
    """Not in its first task, after which joblib looks how much a process has."""
    time.sleep(0.6)
    if len(KEPT) == 1:
        KEPT.append(b"x" * 350_000_000)
    KEPT.append(b"")
    return os.getpid()


def test_processes_keep_what_they_load():
    """In a process of its own, since what is wrong would not end."""
    code = (
        "from accel.parallel import run_tasks\n"
        "from tests.system.exploration.test_parallel import keep_much\n"
        "print(len({pid for _, pid in run_tasks(keep_much, range(10), jobs=2)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "2\n", done.stderr


def test_no_tasks(where):
    assert list(run_tasks(square, [], **where)) == []


def test_an_error_comes_out_as_it_is(where):
    with pytest.raises(AccelError, match=r"^three is too much: give two$"):
        list(run_tasks(refuse_three, range(8), **where))


def test_a_bug_is_not_hidden(where):
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(divide, range(8), **where))


def test_who_has_seen_enough_may_stop(where):
    """Without a warning, and what has not begun is dropped."""
    start = time.monotonic()
    results = run_tasks(time.sleep, [0.2] * 500, **where)
    next(results)
    # A process pool that is stopped in the very moment in which it is given a task complains.
    time.sleep(0.05)
    results.close()
    assert time.monotonic() - start < 40


def test_a_killed_local_process_is_an_error():
    with pytest.raises(AccelError, match=r"a process was killed .* give fewer --jobs"):
        list(run_tasks(die, range(4), jobs=2))


def test_a_worker_killed_in_mid_run_loses_nothing(cluster, tmp_path):
    """It is killed when the first result is there and it has begun another task, as the files show:
    that one is begun twice, and ends once."""
    tasks = [(tmp_path, n) for n in range(20)]
    results, killed = {}, None
    for index, pid in run_tasks(note_and_wait, tasks, cluster=cluster.address):
        assert index not in results
        results[index] = pid
        if killed is None:
            killed = pid
            kill_in_its_next_task(pid, tmp_path)
    assert sorted(results) == list(range(20))
    assert len(set(results.values()) - {killed}) >= NUM_WORKERS - 1
    begun = [file.name.partition("-")[0] for file in tmp_path.iterdir()]
    assert len(set(begun)) == 20 and len(begun) > 20


def test_a_task_that_kills_its_workers_is_given_up(cluster):
    with pytest.raises(AccelError, match="a task killed 2 workers, one after another"):
        list(run_tasks(die, range(1), cluster=cluster.address))


def test_a_scheduler_without_workers(empty_cluster, monkeypatch):
    monkeypatch.setattr(parallel, "PATIENCE", 1.0)
    message = (
        f"has had no worker for 1 seconds: start some with dask worker {empty_cluster.address} "
    )
    with pytest.raises(AccelError, match=message):
        list(run_tasks(square, range(3), cluster=empty_cluster.address))


def test_a_scheduler_that_dies(empty_cluster):
    """In mid-run: it is killed while results are awaited."""
    results = run_tasks(square, range(3), cluster=empty_cluster.address)
    scheduler = empty_cluster.processes[0]
    threading.Timer(1, scheduler.kill).start()
    with pytest.raises(AccelError, match=r"the connection to the Dask scheduler .* is lost"):
        list(results)
    assert scheduler.wait(10) == -signal.SIGKILL


def test_a_worker_with_other_sources_is_refused(cluster, monkeypatch):
    mine = parallel.versions() | {"accel": "0.0.1 (sources 01234567)"}
    monkeypatch.setattr(parallel, "versions", lambda: mine)
    with pytest.raises(AccelError, match=r"has accel .*, and this machine 0\.0\.1 \(sources 01234"):
        list(run_tasks(square, range(3), cluster=cluster.address))


def test_a_worker_without_a_module_is_refused(cluster, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    from only_here import double

    with pytest.raises(AccelError, match="a worker has no module 'only_here': install there"):
        list(run_tasks(double, range(3), cluster=cluster.address))


@pytest.mark.parametrize("address", ["", "here", "tcp://127.0.0.1", "http://[::1", "tcp://x:port"])
def test_an_address_that_is_none(address):
    with pytest.raises(AccelError, match=r"like tcp://127.0.0.1:8786, not '"):
        next(run_tasks(square, range(3), cluster=address))


def test_nobody_at_the_address(monkeypatch):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 0.5)
    message = "there is no Dask scheduler at tcp://127.0.0.1:1: start one with dask scheduler"
    with pytest.raises(AccelError, match=message):
        next(run_tasks(square, range(3), cluster="tcp://127.0.0.1:1"))


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(AccelError, match=r"pip install 'accel-cnn\[cluster\]'"):
        next(run_tasks(square, range(3), cluster="tcp://127.0.0.1:8786"))


def test_jobs_are_not_of_a_cluster():
    with pytest.raises(AccelError, match="leave out --jobs, or --cluster"):
        next(run_tasks(square, range(3), jobs=2, cluster="tcp://127.0.0.1:8786"))


def assert_same(run, other):
    """Byte for byte, in all that comes out."""
    for mine, theirs in zip(run.chunks, other.chunks, strict=True):
        for name, a, b in zip(mine._fields, mine, theirs, strict=True):
            if a is None:
                assert b is None, name
            else:
                assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), name
    assert run.outputs.tobytes() == other.outputs.tobytes()
    assert run.winners.tobytes() == other.winners.tobytes()


@pytest.fixture(scope="module")
def program():
    specs = [Conv(5, (3, 3), 1, 1, True, True), Linear(7, relu=False)]
    network = random_network(np.random.default_rng(2), (2, 6, 5), specs, signed=True)
    return compile(network, CONFIGS["narrow"])


@pytest.fixture(scope="module")
def images(program):
    return random_images(np.random.default_rng(3), program, 250)


def test_a_cluster_builds_and_simulates_as_this_machine(cluster, program, images, monkeypatch):
    """The workers build once, in their own cache, however many they are. The run here, which finds
    that build, gives the same bytes with one process and with two."""
    seen = []
    there = simulate(program, images, cluster=cluster.address, progress=seen.append)
    assert seen == [0, *sorted(seen[1:])] and seen[-1] == len(images) and len(seen) == 4
    (driver,) = cluster.cache.rglob("driver")
    made = driver.stat().st_mtime_ns
    monkeypatch.setenv("XDG_CACHE_HOME", str(cluster.cache))
    for jobs in (1, 2):
        assert_same(there, simulate(program, images, jobs=jobs))
    assert driver.stat().st_mtime_ns == made


@pytest.mark.parametrize("level", ["fl", "rtl"])
def test_other_levels_run_on_a_cluster(cluster, program, images, level):
    there = simulate(program, images[:2], level=level, cluster=cluster.address)
    assert_same(there, simulate(program, images[:2], level=level, jobs=1))


def test_accel_run_on_a_cluster(cluster, tmp_path):
    """All it writes is what a run here writes, but for what differs between two runs here too."""
    records = []
    for options in (["--cluster", cluster.address], ["--jobs", "1"]):
        file = tmp_path / f"{options[0]}.json"
        done = CliRunner().invoke(
            cli.app, ["run", "--level", "fl", "--images", "300", "--json", str(file), *options]
        )
        assert done.exit_code == 0, done.output
        records.append(json.loads(file.read_text()))
    for record in records:
        assert record["images"] == 300 and record.pop("seconds") > 0
        for name in ("build_seconds", "command", "made"):
            record.pop(name, None)
    assert records[0] == records[1]


def test_accel_run_on_no_cluster():
    done = CliRunner().invoke(cli.app, ["run", "--level", "fl", "--cluster", "here"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: the address of a cluster must be")


def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(cluster, program, images):
    """It is killed when the first images are done, and the others under way."""
    client = parallel._connect(cluster.address)
    pid, *_ = client.run(os.getpid).values()
    client.close()
    seen = []

    def kill_at_the_first(done):
        seen.append(done)
        if len(seen) == 2:
            os.kill(pid, signal.SIGKILL)

    options = {"level": "cl", "pauses": 5}
    there = simulate(
        program, images, cluster=cluster.address, progress=kill_at_the_first, **options
    )
    assert len(seen) == 1 + len(there.chunks) and seen[1] < len(images) / 10
    assert_same(there, simulate(program, images, jobs=1, **options))


def test_random_networks_run_on_a_cluster(cluster):
    """As many as asked for, each checked on its worker."""
    parts = [fuzz.Slice("narrow", seed, 4) for seed in range(3)]
    found = dict(run_tasks(fuzz.run_slice, parts, cluster=cluster.address))
    assert sorted(found) == [0, 1, 2]
    assert all(outcome.failure is None for outcome in found.values())
    assert [found[n].counts.total() for n in range(3)] == [4, 4, 4]
    assert sum(outcome.counts["run"] for outcome in found.values()) > 0


def test_a_build_is_made_once(program, tmp_path, monkeypatch):
    """Also when several ask for it at once."""
    built = []

    def compile_driver(verilog, cfg, toolchain, main, place, options):
        built.append(place)
        time.sleep(0.5)
        (place / "obj").mkdir()
        (place / "obj" / "driver").touch()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(verilated, "translate", str)
    monkeypatch.setattr(verilated, "compile_driver", compile_driver)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(verilated.build(program.cfg)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1 and len(found) == 3
    assert len(set(found)) == 1 and found[0].exists()
