"""Interfaces of execution: `Job`, `Executor` (carries out jobs) and `JobSource` (supplies them while a study runs)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from bench.execution.events import Event, RunFailed, RunFinished, RunPaused
from bench.spec import RunSpec, Runtime


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


class JobSource:
    """Supplies jobs while a study runs, as results come in. This base class has none: all jobs are known before."""

    @property
    def open(self) -> bool:
        """Whether there may be more jobs, though none is under way."""
        return False

    def further(self) -> Iterable[Job]:
        """Jobs to carry out now, none of which is under way. Called often; quick where nothing has changed."""
        return ()

    def ended(self, run_id: str, event: RunFinished | RunPaused | RunFailed) -> None:
        """Take note that a job has ended, in this process or (RunFinished, RunFailed) in another."""
