"""Interfaces of execution: `Job`, `JobSource`, `Executor` (carries out jobs), `Backend` (what `run` and `tune` open).

A backend is made from a request, finds out what hardware the runs meet, and makes the executors of the studies. Each
executor's module has one, and `bench.execution.backends.BACKENDS` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.execution.events import Event, RunFailed, RunFinished, RunPaused
from bench.execution.runtimes import make_runtimes
from bench.spec import RunSpec, Runtime

if TYPE_CHECKING:
    from bench.memory.job_limits import JobLimits
    from bench.planning.facts import Facts
    from bench.planning.request import Request
    from bench.records.store import Store
    from bench.system.hardware import Hardware


@dataclass(frozen=True)
class Job:
    """One run to be carried out. `redo`: also where the store has its record already."""

    spec: RunSpec
    runtime: Runtime
    redo: bool = False

    @property
    def run_id(self) -> str:
        """The id of the job's spec."""
        return self.spec.run_id

    @property
    def name(self) -> str:
        """A short name for people: method, data set, noise, rate and seed."""
        spec = self.spec
        method = spec.method
        if spec.parameters:
            method += "[" + ",".join(f"{key}={value}" for key, value in sorted(spec.parameters.items())) + "]"
        if spec.members > 1:
            method += f" x {spec.members}"
        noise = spec.noise if spec.rate is None else f"{spec.noise} {spec.rate:g}"
        return f"{method} · {spec.data_set} · {noise} · seed {spec.seed}"


class Executor(Protocol):
    """Carries out jobs. The study submits jobs, polls until every job has ended, and closes the executor."""

    def submit(self, job: Job) -> None:
        """Take a job; it starts when there is room."""

    def poll(self, seconds: float) -> list[Event]:
        """The events since the last call; waits at most `seconds` for the first one."""

    def stop(self) -> list[str]:
        """Ask running jobs to checkpoint and end; returns the run ids of jobs that hadn't begun and are dropped."""

    def kill(self) -> None:
        """End everything now."""

    def close(self) -> None:
        """Give back workers and whatever else is held. Safe to call twice."""


class SharedExecutor:
    """Another executor that several studies use one after the other: closing this one leaves the other open."""

    def __init__(self, executor: Executor) -> None:
        self.submit, self.poll = executor.submit, executor.poll
        self.stop, self.kill = executor.stop, executor.kill

    def close(self) -> None:
        """Do nothing: the backend that made the executor closes it."""


class JobSource(Protocol):
    """Supplies jobs while a study runs, as results come in."""

    @property
    def open(self) -> bool:
        """Whether there may be more jobs, though none is under way."""

    def further(self) -> Iterable[Job]:
        """Jobs to carry out now, none of which is under way. Called often; quick where nothing has changed."""

    def ended(self, run_id: str, event: RunFinished | RunPaused | RunFailed) -> None:
        """Take note that a job has ended, in this process or (RunFinished, RunFailed) in another."""


class NoFurtherJobs:
    """A source without jobs, for a study whose jobs are all known at the start."""

    open = False

    def further(self) -> Iterable[Job]:
        """No jobs."""
        return ()

    def ended(self, run_id: str, event: RunFinished | RunPaused | RunFailed) -> None:
        """Do nothing."""


class Backend(ABC):
    """An executor as commands use it, from the request to the end of its last study.

    The methods stand in the order in which they are called. `processes` train each run together; `is_follower` is true
    in those of them that only train along.
    """

    processes = 1
    is_follower = False

    def __init__(self, request: Request) -> None:
        self.request = request

    def follow(self) -> int:
        """Train along with the main process until it ends; returns the exit code. For followers only."""
        raise NotImplementedError

    def find_hardware(self) -> Hardware | None:
        """The hardware that runs are planned for; None: this machine's."""
        return None

    @abstractmethod
    def limit_jobs(self, specs: Sequence[RunSpec], facts: Facts, runs: int, at_most: int | None = None) -> JobLimits:
        """Runs at a time, and the threads and memory of each; parameters as in `bench.memory.job_limits.limit_jobs`."""

    def start(self, facts: Facts, store: Store, limits: JobLimits, runs: int) -> Callable[[RunSpec], Runtime]:
        """Get ready to train at most `runs` runs; returns the runtime of each spec. Not called in a dry run."""
        self.facts, self.store, self.limits, self.runs = facts, store, limits, runs
        return make_runtimes(self.request, facts, limits)

    def count_jobs(self) -> int:
        """Runs that there is room for at a time. May start a cluster: for use only if there is something to run."""
        return self.limits.jobs

    @abstractmethod
    def make_executor(self, runs: int) -> Executor:
        """The executor of a study of `runs` runs."""

    def close(self) -> None:  # noqa: B027 - may stay empty: local processes end with their studies
        """Give back what is held. Safe to call twice."""
