"""Runs on a Ray cluster of two nodes: real processes, one of the nodes killed with runs in hand."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra [ray] is not installed")

from bench.execution.display import Display
from bench.execution.events import Event, RunBusy, RunFailed, RunFinished, RunStarted, RunStopped, WorkerLost
from bench.execution.executor import Job
from bench.execution.ray import ray_executor
from bench.execution.ray.cluster import RayCluster, connect_cluster
from bench.execution.ray.node_check import DataCheck
from bench.execution.ray.ray_backend import DriverToken
from bench.execution.ray.ray_executor import RayExecutor
from bench.execution.study import StudyOutcome, run_study
from bench.execution.worker import load_file
from bench.planning.request import Request
from bench.records.store import Store
from bench.system.errors import UsageError

pytestmark = pytest.mark.cluster

HELPER = Path(__file__).parents[1] / "fake_runners.py"
RUNNER = f"{HELPER}:pretend"
fake = load_file(HELPER)

Make = Callable[..., RayExecutor]
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A node that is gone is known to be within seconds."""
QUIET = {"include_dashboard": False, "object_store_memory": 100_000_000}


class Notes(Display):
    """Keeps what a person would have read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head and a second node of two cores each, as `ray start` makes them."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["LNL_BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    from ray.cluster_utils import Cluster as Machines

    made = Machines(initialize_head=True, head_node_args={"num_cpus": 2, "_system_config": SOON, **QUIET})
    made.second = made.add_node(num_cpus=2, object_store_memory=100_000_000)
    yield made
    made.shutdown()
    del os.environ["LNL_BENCH_CACHE"]


@pytest.fixture(scope="module")
def cluster(machines: Any) -> Iterator[RayCluster]:
    """A connection to both nodes."""
    joined = connect_cluster(Request(executor="ray", ray_address=machines.address, device="cpu"), [])
    yield joined
    joined.close()


@pytest.fixture
def make(cluster: RayCluster, tmp_path: Path) -> Iterator[Make]:
    """Executors over `tmp_path`, closed at the end."""
    made: list[RayExecutor] = []

    def build(threads: int = 1) -> RayExecutor:
        made.append(RayExecutor(cluster, Store(tmp_path), threads, RUNNER))
        return made[-1]

    yield build
    for executor in made:
        executor.close()


def job(seed: int = 0, redo: bool = False, **parameters: object) -> Job:
    return Job(fake.spec_for(seed, **parameters), fake.runtime_for(), redo)


def follow(executor: RayExecutor, ends: int, seconds: float = 60.0) -> list[Event]:
    """Events until so many jobs have ended."""
    found: list[Event] = []
    deadline = time.monotonic() + seconds
    while sum(isinstance(event, RunFinished | RunFailed | RunBusy | RunStopped | WorkerLost) for event in found) < ends:
        assert time.monotonic() < deadline, found
        found += executor.poll(0.1)
    return found


def starts(root: Path) -> Counter[str]:
    """How often each run has begun."""
    path = root / "starts.log"
    return Counter(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else Counter()


def study(executor: RayExecutor, root: Path, runs: int, **parameters: object) -> tuple[StudyOutcome, list[str]]:
    """A study of so many fake runs; its outcome and notes."""
    display = Notes()
    specs = [fake.spec_for(seed, **parameters) for seed in range(runs)]
    return run_study(specs, fake.runtime_for(), Store(root), display=display, executor=executor), display.notes


def test_workers_on_both_nodes_are_reused_and_write_to_the_shared_folder(
    make: Make, cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "SECONDS_BEFORE_A_NOTE", 600.0)  # on a busy machine a worker starts late
    assert len(cluster.admitted) == 2 and cluster.share(100) == (4, 1) and cluster.share(2) == (2, 2)
    executor = make()
    outcome, notes = study(executor, tmp_path, 12, seconds=0.1)
    assert len(outcome.finished) == 12 and outcome.exit_code == 0 and notes == []
    assert executor.started <= 4 and set(starts(tmp_path).values()) == {1}
    processes = {line.split()[1] for line in (tmp_path / "starts.log").read_text().splitlines()}
    assert 2 <= len(processes) <= 4
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".driver")) == []


def test_what_goes_wrong_in_a_run_is_told_as_by_a_local_worker(make: Make, tmp_path: Path) -> None:
    executor, store = make(threads=2), Store(tmp_path)
    bad, deadly, good = job(1, do="fail"), job(2, do="die"), job(3)
    for each in (bad, deadly, good):
        store.prepare()
        executor.submit(each)
    events = follow(executor, 3)
    (failed,) = [event for event in events if isinstance(event, RunFailed)]
    (lost,) = [event for event in events if isinstance(event, WorkerLost)]
    assert failed.reason == "ValueError: as told" and "last words" in lost.output
    failure = store.read_failure(bad.run_id)
    assert failure is not None and "raise ValueError" in failure["traceback"]
    assert store.has(good.run_id) and not store.is_claimed(deadly.run_id)


def test_stop_lets_the_running_checkpoint_and_drops_the_rest(make: Make, tmp_path: Path) -> None:
    executor, store = make(), Store(tmp_path)
    store.prepare()
    jobs = [job(seed, seconds=60) for seed in range(6)]
    for each in jobs:
        executor.submit(each)
    begun: set[str] = set()
    while len(begun) < 4:
        begun |= {event.run_id for event in executor.poll(0.1) if isinstance(event, RunStarted)}
    began = time.monotonic()
    dropped = executor.stop()
    assert set(dropped) == {each.run_id for each in jobs} - begun
    assert {event.run_id for event in follow(executor, 4) if isinstance(event, RunStopped)} == begun
    assert time.monotonic() - began < 3.5
    assert all(store.checkpoint_path(run_id).exists() and not store.is_claimed(run_id) for run_id in begun)


def test_a_node_with_other_code_or_data_is_refused(cluster: RayCluster, tmp_path: Path) -> None:
    requirements = cluster.requirements
    elsewhere = tmp_path / "runs" / ".driver-elsewhere.tmp"
    try:
        cluster.requirements = replace(requirements, versions=requirements.versions | {"torch": "1.0"}, sources="other")
        with pytest.raises(UsageError, match=r"torch is .* there and 1\.0 here; the code of lnl-bench in"):
            cluster.admit()
        cluster.requirements, cluster.refused = replace(requirements, plugins=(("/no/plugin.py", "0"),)), {}
        with pytest.raises(UsageError, match=r"/no/plugin\.py is missing"):
            cluster.admit()
        cluster.requirements, cluster.refused = requirements, {}
        with pytest.raises(UsageError, match="the data of --dataset digits differ there"):
            cluster.admit_for(DataCheck(Request(), "0" * 64, (), stream=False, token=None))
        cluster.requirements, cluster.refused = requirements, {}
        with pytest.raises(UsageError, match=rf"share the output folder {elsewhere.parent}.*--out .*--shard .*`merge`"):
            cluster.admit_for(DataCheck(Request(), "0" * 64, (), stream=False, token=str(elsewhere)))
        assert not elsewhere.parent.exists()
    finally:
        cluster.requirements, cluster.refused = requirements, {}
        cluster.admit()


def test_a_driver_token_leaves_no_folder_behind(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "runs")
    token = DriverToken(store)
    assert token.path.parent == store.root and token.path.is_file()
    token.remove()
    assert list(tmp_path.iterdir()) == []
    token = DriverToken(store)
    store.write_record(fake.record_of(fake.spec_for(0)))
    token.remove()
    assert store.has(fake.spec_for(0).run_id) and not token.path.exists()


def test_a_node_killed_in_the_middle_gives_its_runs_back(
    make: Make, cluster: RayCluster, machines: Any, tmp_path: Path
) -> None:
    """It takes a node away, so it stands behind those that use both. Every run is recorded, each record once."""

    def kill_once_all_work() -> None:
        deadline = time.monotonic() + 60
        while len(starts(tmp_path)) < 6 and time.monotonic() < deadline:
            time.sleep(0.02)
        machines.remove_node(machines.second, allow_graceful=False)

    killer = threading.Thread(target=kill_once_all_work)
    killer.start()
    outcome, _ = study(make(), tmp_path, 16, seconds=0.4)
    killer.join()
    assert len(outcome.finished) == 16 and outcome.failed == {} and outcome.exit_code == 0
    assert len(list(Store(tmp_path).records())) == 16
    begun = starts(tmp_path)
    again = [run_id for run_id, times in begun.items() if times == 2]
    assert 1 <= len(again) <= 2 and set(begun.values()) == {1, 2}, begun
    deadline = time.monotonic() + 30
    while len(cluster.nodes()) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert cluster.room_for(1) == 2


def test_a_node_that_joins_is_asked_and_used(
    make: Make, cluster: RayCluster, machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "SECONDS_BETWEEN_LOOKS", 0.5)
    before = len(cluster.nodes())
    Store(tmp_path).prepare()
    executor = make()
    for seed in range(3 + 2 * before):
        executor.submit(job(seed, seconds=60))
    machines.add_node(num_cpus=2, object_store_memory=100_000_000)
    begun, deadline = 0, time.monotonic() + 60
    while begun < 2 + 2 * before:
        assert time.monotonic() < deadline
        begun += sum(isinstance(event, RunStarted) for event in executor.poll(0.1))
    assert len(cluster.admitted & cluster.nodes().keys()) == before + 1
