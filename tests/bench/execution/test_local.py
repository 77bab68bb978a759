"""Local workers: reused, bounded, given the right threads, and gone when they should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bench.execution.events import (
    EpochProgress,
    Event,
    RunBusy,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    WorkerLost,
    WorkerOutput,
)
from bench.execution.executor import Job
from bench.execution.local import LocalExecutor, worker_environment
from bench.execution.worker import load_file, load_runner
from bench.records.store import Store

HELPER = Path(__file__).parents[1] / "fake_runners.py"
RUNNER = f"{HELPER}:pretend"
fake = load_file(HELPER)

Make = Callable[..., LocalExecutor]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Executors over `tmp_path`, closed at the end."""
    made: list[LocalExecutor] = []

    def build(jobs: int = 1, threads: int = 1, runner: str = RUNNER) -> LocalExecutor:
        made.append(LocalExecutor(tmp_path, jobs, threads, runner))
        return made[-1]

    yield build
    for executor in made:
        executor.close()


def job(seed: int = 0, redo: bool = False, device: str = "cpu", **parameters: object) -> Job:
    return Job(fake.spec_for(seed, **parameters), fake.runtime_for(device=device), redo)


def follow(executor: LocalExecutor, ends: int, seconds: float = 20.0) -> list[Event]:
    """Events until so many jobs have ended."""
    found: list[Event] = []
    deadline = time.monotonic() + seconds
    while sum(not isinstance(event, WorkerOutput | RunStarted | EpochProgress) for event in found) < ends:
        assert time.monotonic() < deadline, found
        found += executor.poll(0.1)
    return found


def starts(root: Path) -> list[tuple[str, int, str]]:
    """(run id, process, threads) of every start of the fake runner."""
    lines = (root / "starts.log").read_text().splitlines()
    return [(line.split()[0], int(line.split()[1]), line.split()[2]) for line in lines]


def test_workers_are_reused_and_no_more_than_asked_for(make: Make, tmp_path: Path) -> None:
    executor = make(jobs=2, threads=3)
    jobs = [job(seed) for seed in range(12)]
    for each in jobs:
        executor.submit(each)
    events = follow(executor, 12)
    assert {event.run_id for event in events if isinstance(event, RunFinished)} == {each.run_id for each in jobs}
    assert executor.started == 2
    assert len({process for _, process, _ in starts(tmp_path)}) <= 2
    assert {threads for _, _, threads in starts(tmp_path)} == {"3"}
    assert len(list(Store(tmp_path).records())) == 12


def test_no_more_workers_than_runs(make: Make) -> None:
    executor = make(jobs=8)
    executor.submit(job())
    follow(executor, 1)
    assert executor.started == 1


def test_events_come_in_order(make: Make) -> None:
    executor = make()
    executor.submit(job(epochs=3, seconds=0.15))
    events = [event for event in follow(executor, 1) if not isinstance(event, WorkerOutput)]
    assert isinstance(events[0], RunStarted) and isinstance(events[-1], RunFinished)
    epochs = [(event.done, event.total) for event in events[1:-1] if isinstance(event, EpochProgress)]
    assert epochs == sorted(epochs) and epochs[-1] == (3, 3)
    assert events[-1].seconds is not None and events[-1].seconds >= 0.4


def test_a_failure_has_its_traceback_and_the_worker_goes_on(make: Make, tmp_path: Path) -> None:
    executor, store = make(), Store(tmp_path)
    bad, diverging, good = job(1, do="fail"), job(2, do="diverge"), job(3)
    for each in (bad, diverging, good):
        executor.submit(each)
    events = follow(executor, 3)
    reasons = {event.run_id: event.reason for event in events if isinstance(event, RunFailed)}
    assert reasons == {
        bad.run_id: "ValueError: as told",
        diverging.run_id: "diverged in epoch 2: the loss is nan",
    }
    assert executor.started == 1 and store.has(good.run_id)
    failure, diverged = store.read_failure(bad.run_id), store.read_failure(diverging.run_id)
    assert failure is not None and "raise ValueError" in failure["traceback"] and failure["epoch"] is None
    assert diverged is not None and diverged["epoch"] == 2 and diverged["traceback"] == ""


def test_after_a_failure_on_a_device_the_process_is_not_used_again(make: Make, tmp_path: Path) -> None:
    executor = make()
    executor.submit(job(1, device="cuda", do="fail"))
    executor.submit(job(2))
    follow(executor, 2)
    first, second = starts(tmp_path)
    assert first[1] != second[1] and executor.started == 2


def test_a_runner_that_forgets_its_record_or_is_none_fails(make: Make, tmp_path: Path) -> None:
    executor = make()
    executor.submit(job(do="forget"))
    (failed,) = [event for event in follow(executor, 1) if isinstance(event, RunFailed)]
    assert "without a record" in failed.reason
    executor = make(runner="bench.no_such_module:run")
    executor.submit(job(1))
    (failed,) = [event for event in follow(executor, 1) if isinstance(event, RunFailed)]
    assert "ModuleNotFoundError" in failed.reason
    with pytest.raises(AttributeError):
        load_runner("bench.spec.run_spec:no_such_function")


def test_a_full_disk_is_hopeless(make: Make) -> None:
    executor = make()
    executor.submit(job(do="fill"))
    (failed,) = [event for event in follow(executor, 1) if isinstance(event, RunFailed)]
    assert failed.hopeless and "No space left" in failed.reason


def test_a_dead_worker_gives_its_run_back_with_its_last_words(make: Make, tmp_path: Path) -> None:
    executor = make()
    executor.submit(job(1, do="die"))
    executor.submit(job(2))
    events = follow(executor, 2)
    (lost,) = [event for event in events if isinstance(event, WorkerLost)]
    assert lost.run_id == job(1, do="die").run_id
    assert "SIGKILL" in lost.reason and lost.output.splitlines()[-1] == "last words"
    assert lost.advice.endswith("type a smaller --batch-size or --model") and "memory ran out" in lost.advice
    assert Store(tmp_path).has(job(2).run_id) and executor.started == 2
    assert not Store(tmp_path).is_claimed(lost.run_id)


def test_what_is_there_or_claimed_is_not_run(make: Make, tmp_path: Path) -> None:
    store, executor = Store(tmp_path), make()
    there, claimed = job(1), job(2)
    store.write_record(fake.record_of(there.spec))
    claim = store.claim(claimed.run_id)
    assert claim is not None
    executor.submit(there)
    executor.submit(claimed)
    assert follow(executor, 2) == [RunFinished(there.run_id, None), RunBusy(claimed.run_id)]
    claim.release()
    executor.submit(job(1, redo=True))
    executor.submit(claimed)
    follow(executor, 2)
    assert [run_id for run_id, _, _ in starts(tmp_path)] == [there.run_id, claimed.run_id]


def test_stop_lets_the_running_end_and_drops_the_rest(make: Make, tmp_path: Path) -> None:
    executor = make()
    running, waiting = job(1, seconds=30), job(2)
    executor.submit(running)
    executor.submit(waiting)
    while not any(isinstance(event, RunStarted) for event in executor.poll(0.1)):
        pass
    began = time.monotonic()
    assert executor.stop() == [waiting.run_id]
    assert RunStopped(running.run_id) in follow(executor, 1)
    assert time.monotonic() - began < 2
    assert Store(tmp_path).checkpoint_path(running.run_id).exists() and not Store(tmp_path).has(waiting.run_id)


def test_a_terminated_worker_stops_its_run_and_ends(make: Make, tmp_path: Path) -> None:
    executor = make()
    executor.submit(job(1, seconds=30))
    while not (tmp_path / "starts.log").exists():
        executor.poll(0.1)
    time.sleep(0.1)
    os.kill(starts(tmp_path)[0][1], signal.SIGINT)  # ignored
    os.kill(starts(tmp_path)[0][1], signal.SIGTERM)
    assert RunStopped(job(1, seconds=30).run_id) in follow(executor, 1)
    executor.submit(job(2))
    follow(executor, 1)
    assert executor.started == 2


PARENT = """
import sys, time
from pathlib import Path
from bench.execution.local import LocalExecutor
from bench.execution.worker import load_file
from bench.execution.executor import Job
fake = load_file(Path(sys.argv[1]))
executor = LocalExecutor(Path(sys.argv[2]), 2, 1, sys.argv[1] + ":pretend")
for seed in range(2):
    executor.submit(Job(fake.spec_for(seed, seconds=60, do="ignore"), fake.runtime_for()))
while True:
    executor.poll(1.0)
"""


def alive(process: int) -> bool:
    """Whether a process runs; a zombie doesn't."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="tells living processes by /proc")
def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, HELPER, tmp_path])
    deadline = time.monotonic() + 20
    while not (tmp_path / "starts.log").exists() or len(starts(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = [process for _, process, _ in starts(tmp_path)]
    assert all(alive(worker) for worker in workers)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 2
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent by 2 s"
        time.sleep(0.02)
    assert Store(tmp_path).claim(fake.spec_for(0, seconds=60, do="ignore").run_id) is not None


def test_the_environment_limits_threads_and_yields_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    environment = worker_environment(3)
    assert {environment[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS")} == {"3"}
    assert environment["GLIBC_TUNABLES"] == "glibc.malloc.check=1"


def test_jobs_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LocalExecutor(tmp_path, 0, 1)


def test_what_the_kernel_killed_is_told_from_what_somebody_may_have(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.system.memory_limits.count_oom_kills", lambda: 1)
    executor = make(jobs=2)
    monkeypatch.setattr("bench.system.memory_limits.count_oom_kills", lambda: 2)
    for seed in (1, 2):
        executor.submit(job(seed, do="die"))
    advice = [event.advice for event in follow(executor, 2) if isinstance(event, WorkerLost)]
    assert advice == [
        "memory ran out: type fewer --jobs",
        "unless somebody killed it, memory ran out: type fewer --jobs",
    ]


def test_a_run_out_of_memory_fails_with_advice_and_its_process_is_not_used_again(make: Make, tmp_path: Path) -> None:
    executor = make()
    jobs = [job(1, do="batch"), job(2, do="exhaust"), job(3)]
    for each in jobs:
        executor.submit(each)
    reasons = [event.reason for event in follow(executor, 3) if isinstance(event, RunFailed)]
    assert reasons == [
        "out of memory: a batch of 64 doesn't fit",
        "out of memory: RuntimeError: can't allocate memory; type fewer --jobs, or a smaller --batch-size or --model",
    ]
    assert len({process for _, process, _ in starts(tmp_path)}) == 3
    assert Store(tmp_path).has(jobs[2].run_id)
