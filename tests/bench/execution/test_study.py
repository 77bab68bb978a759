"""A study sees every run through, whatever happens to its processes, and does none twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.execution.display import Display
from bench.execution.events import Event, RunBusy, RunFailed, RunFinished, RunPaused, RunStarted, WorkerLost
from bench.execution.executor import Job, JobSource
from bench.execution.local import LocalExecutor
from bench.execution.study import StudyOutcome, When, run_job_source, run_study, split_by_stored
from bench.execution.study_loop import ATTEMPTS, DEATHS_BEFORE_GIVING_UP, StudyLoop
from bench.execution.worker import load_file
from bench.records.store import Store
from bench.spec import RunSpec
from bench.system.errors import UsageError

HELPER = Path(__file__).parents[1] / "fake_runners.py"
RUNNER = f"{HELPER}:pretend"
fake = load_file(HELPER)

STUDY = """
import json, sys
from pathlib import Path
from bench.execution.local import LocalExecutor
from bench.execution.worker import load_file
from bench.records.store import Store
from bench.execution.study import run_study
helper, root, jobs, runs, parameters = sys.argv[1:]
fake = load_file(Path(helper))
specs = [fake.spec_for(seed, **json.loads(parameters)) for seed in range(int(runs))]
executor = LocalExecutor(Path(root), int(jobs), 1, helper + ":pretend")
outcome = run_study(specs, fake.runtime_for(), Store(Path(root)), executor=executor)
print(json.dumps({"finished": len(outcome.finished), "failed": len(outcome.failed), "skipped": len(outcome.skipped),
                  "left": len(outcome.left)}))
sys.exit(outcome.exit_code)
"""


class Notes(Display):
    """Keeps what a person would have read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Scripted:
    """An executor that answers every submission at once, by a function of (job, how often it was submitted)."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.submitted: list[str] = []
        self.events: list[Event] = []
        self.stopped = self.closed = False

    def submit(self, job: Job) -> None:
        self.submitted.append(job.run_id)
        self.events.append(self.answer(job, self.submitted.count(job.run_id)))

    def poll(self, seconds: float) -> list[Event]:
        found, self.events = self.events[:1], self.events[1:]
        return found

    def stop(self) -> list[str]:
        self.stopped = True
        left = [event.run_id for event in self.events if not hasattr(event, "text")]
        self.events = []
        return left

    def kill(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed = True


def start(root: Path, runs: int, jobs: int = 2, **parameters: Any) -> subprocess.Popen[str]:
    """A study in a process group of its own."""
    command = [sys.executable, "-c", STUDY, HELPER, root, str(jobs), str(runs), json.dumps(parameters)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def end(process: subprocess.Popen[str]) -> dict[str, int]:
    """What a study said at its end."""
    said = json.loads(process.communicate(timeout=60)[0])
    assert isinstance(said, dict)
    return said


def run(specs: Sequence[RunSpec], root: Path, jobs: int = 2, when: When = "missing", **options: Any) -> StudyOutcome:
    """A study in this process, with workers that pretend."""
    executor = LocalExecutor(root, jobs, 1, RUNNER)
    return run_study(specs, fake.runtime_for(), Store(root), jobs, when, executor=executor, **options)


def started(root: Path) -> Counter[str]:
    """How often each run was begun."""
    path = root / "starts.log"
    return Counter(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else Counter()


def wait_for_starts(root: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while sum(started(root).values()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def results(root: Path) -> dict[str, Any]:
    """Every record without its provenance."""
    return {
        record["run_id"]: {key: value for key, value in record.items() if key != "provenance"}
        for record in Store(root).records()
    }


def test_running_again_runs_nothing(tmp_path: Path) -> None:
    specs = [fake.spec_for(seed) for seed in range(4)]
    first = run(specs, tmp_path / "runs")
    assert set(first.finished) == {spec.run_id for spec in specs} and first.exit_code == 0
    second = run(specs, tmp_path / "runs")
    assert set(second.skipped) == set(first.finished) and second.finished == () and second.exit_code == 0
    assert set(started(tmp_path / "runs").values()) == {1}


def test_equal_specs_run_once_and_replicates_come_one_after_another(tmp_path: Path) -> None:
    specs = [fake.spec_for(seed, method) for method in ("ce", "gce", "mae") for seed in range(3)]
    todo, skipped = split_by_stored([*specs, *specs], Store(tmp_path))
    assert [spec.seed for spec in todo] == [0, 0, 0, 1, 1, 1, 2, 2, 2] and skipped == []
    assert [spec.method for spec in todo[:3]] == ["ce", "gce", "mae"]


def test_when_says_what_is_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    done, failed, new = (fake.spec_for(seed) for seed in range(3))
    store.write_record(fake.record_of(done))
    store.write_failure(failed, "earlier")
    specs = [done, failed, new]
    # what failed before comes last
    assert split_by_stored(specs, store, "missing") == ([new, failed], [done.run_id])
    assert split_by_stored(specs, store, "failed") == ([failed], [done.run_id])
    assert split_by_stored(specs, store, "always") == (specs, [])
    assert split_by_stored(specs, store, "never") == ([], [done.run_id])
    with pytest.raises(UsageError, match="--when sometimes is none of"):
        split_by_stored(specs, store, "sometimes")  # type: ignore[arg-type]
    never = run(specs, tmp_path, when="never")
    assert never.left == (failed.run_id, new.run_id) and never.exit_code == 1 and started(tmp_path) == {}
    outcome = run(specs, tmp_path, when="failed")
    assert outcome.finished == (failed.run_id,) and outcome.left == (new.run_id,)
    assert run(specs, tmp_path, when="always").finished == (done.run_id, failed.run_id, new.run_id)
    assert started(tmp_path) == {done.run_id: 1, failed.run_id: 2, new.run_id: 1}


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_what_is_left_and_what_is_skipped_are_the_plan(done: set[int], failed: set[int]) -> None:
    seed_of = {fake.spec_for(seed).run_id: seed for seed in range(31)}
    store = create_autospec(Store, instance=True)
    store.finished.return_value = {run_id for run_id, seed in seed_of.items() if seed in done}
    store.failed.return_value = {run_id for run_id, seed in seed_of.items() if seed in failed - done}
    specs = [fake.spec_for(seed) for seed in range(31)]
    todo, skipped = split_by_stored(specs, store)
    assert {spec.seed for spec in todo} == set(range(31)) - done
    assert {seed_of[run_id] for run_id in skipped} == done
    assert {spec.seed for spec in split_by_stored(specs, store, "failed")[0]} == failed - done


def test_a_failure_does_not_stop_the_others_and_is_tried_again(tmp_path: Path) -> None:
    specs = [fake.spec_for(0, do="fail"), fake.spec_for(1, do="diverge"), fake.spec_for(2)]
    outcome = run(specs, tmp_path)
    assert outcome.finished == (specs[2].run_id,) and outcome.exit_code == 1
    assert outcome.failed == {
        specs[0].run_id: "ValueError: as told",
        specs[1].run_id: "diverged in epoch 2: the loss is nan",
    }
    assert {failure["epoch"] for failure in Store(tmp_path).failures()} == {None, 2}
    run(specs, tmp_path)
    assert started(tmp_path) == {specs[0].run_id: 2, specs[1].run_id: 2, specs[2].run_id: 1}


def test_a_run_that_kills_its_worker_is_tried_twice_and_then_failed(tmp_path: Path) -> None:
    specs = [fake.spec_for(0, do="die"), fake.spec_for(1, do="die once"), fake.spec_for(2)]
    outcome = run(specs, tmp_path)
    assert set(outcome.finished) == {specs[1].run_id, specs[2].run_id}
    assert "SIGKILL" in outcome.failed[specs[0].run_id]
    assert started(tmp_path) == {specs[0].run_id: ATTEMPTS, specs[1].run_id: 2, specs[2].run_id: 1}
    failure = Store(tmp_path).read_failure(specs[0].run_id)
    assert failure is not None and "last words" in failure["traceback"]


def test_workers_that_die_before_any_run_begins_end_the_study(tmp_path: Path) -> None:
    display, executor = (
        Notes(),
        Scripted(lambda job, count: WorkerLost(job.run_id, "the worker process died", "no torch")),
    )
    specs = [fake.spec_for(seed) for seed in range(50)]
    outcome = run_study(specs, fake.runtime_for(), Store(tmp_path), display=display, executor=executor)
    assert len(executor.submitted) <= len(specs) + DEATHS_BEFORE_GIVING_UP and executor.stopped and executor.closed
    assert len(outcome.failed) + len(outcome.left) == 50 and outcome.exit_code == 1
    assert any("died before any run began" in note for note in display.notes)


def test_a_machine_that_takes_many_runs_with_it_does_not_end_the_study(tmp_path: Path) -> None:
    """Eight runs are under way on a node that dies: all come back, and each is given to another worker."""

    class Node(Scripted):
        def submit(self, job: Job) -> None:
            self.submitted.append(job.run_id)
            first = self.submitted.count(job.run_id) == 1
            # the first time round, all begin before any is lost
            begun = [RunStarted(job.run_id)] if first else [RunStarted(job.run_id), RunFinished(job.run_id, 1.0)]
            self.events[:] = [*begun, *self.events] if first else [*self.events, *begun]
            self.events += [WorkerLost(job.run_id, "its node died", "")] * first

    specs = [fake.spec_for(seed) for seed in range(2 * DEATHS_BEFORE_GIVING_UP)]
    executor = Node(lambda job, count: None)
    outcome = run_study(specs, fake.runtime_for(), Store(tmp_path), executor=executor)
    assert len(outcome.finished) == len(specs) and outcome.exit_code == 0


def test_a_full_disk_ends_the_study_and_keeps_what_was_finished(tmp_path: Path) -> None:
    def answer(job: Job, count: int) -> Event:
        if job.spec.seed == 0:
            return RunFinished(job.run_id, 1.0)
        return RunFailed(job.run_id, "OSError: no space", hopeless=True)

    display, specs = Notes(), [fake.spec_for(seed) for seed in range(5)]
    executor = Scripted(answer)
    outcome = run_study(specs, fake.runtime_for(), Store(tmp_path), display=display, executor=executor)
    assert outcome.finished == (specs[0].run_id,) and list(outcome.failed) == [specs[1].run_id]
    assert outcome.left == tuple(spec.run_id for spec in specs[2:]) and outcome.exit_code == 1
    assert any("Make room" in note for note in display.notes)


def test_a_corrupt_record_is_reported_and_its_run_made_again(tmp_path: Path) -> None:
    specs = [fake.spec_for(seed) for seed in range(3)]
    run(specs, tmp_path)
    expected = results(tmp_path)
    path = tmp_path / specs[1].run_id / "record.json"
    path.write_bytes(path.read_bytes()[:50])
    store = Store(tmp_path)
    outcome = run_study(specs, fake.runtime_for(), store, executor=LocalExecutor(tmp_path, 1, 1, RUNNER))
    assert outcome.finished == (specs[1].run_id,) and len(outcome.skipped) == 2
    assert [problem.run_id for problem in store.problems] == [specs[1].run_id]
    assert results(tmp_path) == expected and path.with_name("record.corrupt-1.json").exists()


def test_nothing_is_written_where_the_folder_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="read-only"):
        run_study([fake.spec_for()], fake.runtime_for(), Store(tmp_path / "runs"))
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_store_that_is_complete_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).write_record(fake.record_of(fake.spec_for()))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert run_study([fake.spec_for()], fake.runtime_for(), Store(tmp_path)).exit_code == 0


def test_a_run_that_another_process_has_is_waited_for(tmp_path: Path) -> None:
    other = start(tmp_path, 1, 1, seconds=0.5)
    spec = fake.spec_for(0, seconds=0.5)
    wait_for_starts(tmp_path, 1)
    outcome = run([spec], tmp_path)
    assert outcome.finished == (spec.run_id,) and started(tmp_path) == {spec.run_id: 1}
    assert end(other)["finished"] == 1


@pytest.mark.slow
def test_processes_on_one_store_divide_the_work(tmp_path: Path) -> None:
    """Eight studies of the same 24 runs: each run begins once, and every study ends with all of them."""
    studies = [start(tmp_path, 24, 1, seconds=0.02) for _ in range(8)]
    for study in studies:
        said = end(study)
        assert study.returncode == 0 and said["finished"] + said["skipped"] == 24
    assert len(started(tmp_path)) == 24 and set(started(tmp_path).values()) == {1}
    assert len(results(tmp_path)) == 24


@pytest.mark.slow
def test_of_eight_processes_one_is_killed_and_its_run_goes_to_another(tmp_path: Path) -> None:
    """Every run is recorded once: only the one that the dead process had in hand is begun again."""
    specs = [fake.spec_for(seed, seconds=0.15) for seed in range(24)]
    studies = [start(tmp_path, 24, 1, seconds=0.15) for _ in range(8)]
    wait_for_starts(tmp_path, 8)
    interrupted, worker = (tmp_path / "starts.log").read_text().splitlines()[-1].split()[:2]
    victim = next(study for study in studies if study.pid == os.getpgid(int(worker)))
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    begun_again = not Store(tmp_path).has(interrupted)
    for study in studies:
        if study is not victim:
            said = end(study)
            assert study.returncode == 0 and said["finished"] + said["skipped"] == 24
    assert begun_again, "the run was over before its process could be killed"
    assert started(tmp_path) == {spec.run_id: 1 + (spec.run_id == interrupted) for spec in specs}
    assert results(tmp_path).keys() == {spec.run_id for spec in specs}
    left_over = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(left_over) <= {"record.json", "starts.log", ".claims.lock"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_group", [True, False], ids=["group", "parent alone"])
def test_a_signal_ends_the_study_with_everything_stored(number: signal.Signals, to_group: bool, tmp_path: Path) -> None:
    study = start(tmp_path, 6, 2, seconds=0.3)
    wait_for_starts(tmp_path, 3)
    began = time.monotonic()
    os.killpg(study.pid, number) if to_group else study.send_signal(number)
    said = end(study)
    assert time.monotonic() - began < 5
    assert study.returncode == 128 + number
    assert said["failed"] == 0 and said["finished"] == len(results(tmp_path)) and said["left"] >= 1
    restarted = start(tmp_path, 6, 2, seconds=0.3)
    assert end(restarted)["skipped"] == said["finished"] and restarted.returncode == 0
    assert len(results(tmp_path)) == 6


def test_a_run_that_does_not_listen_is_ended_in_time(tmp_path: Path) -> None:
    study = start(tmp_path, 1, 1, seconds=60, do="ignore")
    wait_for_starts(tmp_path, 1)
    began = time.monotonic()
    study.send_signal(signal.SIGINT)
    assert end(study)["left"] == 1
    assert time.monotonic() - began < 5 and study.returncode == 130


def test_an_echo_is_no_second_signal(tmp_path: Path) -> None:
    """As under torchrun, which hands on to its processes what a terminal has sent them: runs keep their time."""
    study = start(tmp_path, 1, 1, seconds=60, do="ignore")
    wait_for_starts(tmp_path, 1)
    began = time.monotonic()
    study.send_signal(signal.SIGINT)
    time.sleep(0.02)
    study.send_signal(signal.SIGINT)
    assert end(study)["left"] == 1
    assert 3 < time.monotonic() - began < 5 and study.returncode == 130


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    study = start(tmp_path, 1, 1, seconds=60, do="ignore")
    wait_for_starts(tmp_path, 1)
    began = time.monotonic()
    study.send_signal(signal.SIGINT)
    time.sleep(0.3)
    study.send_signal(signal.SIGINT)
    end(study)
    assert time.monotonic() - began < 2 and study.returncode == 130


@pytest.mark.parametrize("to_group", [True, False], ids=["group", "parent alone"])
@pytest.mark.slow
def test_killed_at_random_moments_and_restarted_it_ends_as_if_never_killed(to_group: bool, tmp_path: Path) -> None:
    moments = random.Random(1)
    for _ in range(4):
        study = start(tmp_path / "killed", 12, 2, seconds=0.05)
        time.sleep(0.3 + 0.6 * moments.random())
        os.killpg(study.pid, signal.SIGKILL) if to_group else study.kill()
        study.communicate()
    study = start(tmp_path / "killed", 12, 2, seconds=0.05)
    said = end(study)
    assert study.returncode == 0 and said["finished"] + said["skipped"] == 12
    run([fake.spec_for(seed, seconds=0.05) for seed in range(12)], tmp_path / "whole")
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    left_over = [path.name for path in (tmp_path / "killed").rglob("*") if path.is_file()]
    assert set(left_over) <= {"record.json", "starts.log", ".claims.lock"}


class Chain(JobSource):
    """A source: one run at a time, first to its half, then to its end; a failed one is tried again once."""

    def __init__(self, specs: Sequence[RunSpec]) -> None:
        self.todo = [(spec, share) for spec in specs for share in (0.5, None)]
        self.under_way: tuple[RunSpec, float | None] | None = None
        self.events: list[Event] = []

    @property
    def open(self) -> bool:
        return bool(self.todo or self.under_way)

    def further(self) -> list[Job]:
        if self.under_way is not None or not self.todo:
            return []
        self.under_way = self.todo.pop(0)
        spec, share = self.under_way
        return [Job(spec, fake.runtime_for(pause_at=share))]

    def ended(self, run_id: str, event: RunFinished | RunPaused | RunFailed) -> None:
        assert self.under_way is not None and run_id == self.under_way[0].run_id
        if isinstance(event, RunFailed) and sum(isinstance(each, RunFailed) for each in self.events) < 1:
            self.todo.insert(0, self.under_way)
        self.under_way = None
        self.events.append(event)


def test_a_source_says_what_to_run_as_results_come_in(tmp_path: Path) -> None:
    specs = [fake.spec_for(seed, epochs=4) for seed in range(2)]
    source, executor = Chain(specs), LocalExecutor(tmp_path, 2, 1, RUNNER)
    outcome = run_job_source(source, Store(tmp_path), Display(), executor)
    assert [type(event) for event in source.events] == [RunPaused, RunFinished, RunPaused, RunFinished]
    assert source.events[0] == RunPaused(specs[0].run_id, 2)
    assert set(outcome.finished) == {spec.run_id for spec in specs} and outcome.exit_code == 0
    assert executor.started == 1 and Store(tmp_path).read_partial(specs[0].run_id) is None


def test_a_source_hears_of_failures_and_may_ask_again(tmp_path: Path) -> None:
    spec = fake.spec_for(0, do="fail")
    source = Chain([spec])
    outcome = run_job_source(source, Store(tmp_path), Display(), LocalExecutor(tmp_path, 1, 1, RUNNER))
    assert [type(event) for event in source.events] == [RunFailed, RunFailed, RunFailed]
    assert outcome.failed == {spec.run_id: "ValueError: as told"} and outcome.exit_code == 1
    assert started(tmp_path) == {spec.run_id: 3}


def test_who_has_the_last_runs_is_said(tmp_path: Path) -> None:
    store, spec = Store(tmp_path), fake.spec_for(1)
    notes: list[str] = []
    claim = store.claim(spec.run_id)
    assert claim is not None

    class Others:
        """An executor that finds every run claimed."""

        def __init__(self) -> None:
            self.events: list[Event] = []
            self.kill = self.close = lambda: None
            self.stop = list

        def submit(self, job: Job) -> None:
            self.events.append(RunBusy(job.run_id))

        def poll(self, seconds: float) -> list[Event]:
            time.sleep(seconds)
            received, self.events = self.events, []
            return received

    class Listening(Display):
        def note(self, text: str) -> None:
            notes.append(text)
            store.write_record(fake.record_of(spec))
            claim.release()

    study = StudyLoop([Job(spec, fake.runtime_for())], store, Listening(), Others())
    study.run_until_done()
    assert study.finished == {spec.run_id}
    assert len(notes) == 1 and notes[0].startswith("waiting for others: 1 run is with ")
    assert f"process {os.getpid()}, last seen" in notes[0]
