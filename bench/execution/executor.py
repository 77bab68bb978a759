"""Executors, the jobs that they take, and the events that they report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True)
class RunStarted:
    """A worker has claimed the run and begins."""

    run_id: str


@dataclass(frozen=True)
class EpochProgress:
    """`done` of `total` epochs are trained."""

    run_id: str
    done: int
    total: int


@dataclass(frozen=True)
class RunFinished:
    """The store has the run's record. `seconds` is None where another process had written it meanwhile."""

    run_id: str
    seconds: float | None


@dataclass(frozen=True)
class RunPaused:
    """The run was put aside where its runtime says, after `epochs` epochs; the store has its curves so far."""

    run_id: str
    epochs: int


@dataclass(frozen=True)
class RunFailed:
    """The run can't be finished.

    `hopeless`: nor can any other (the disk is full), so the study ends; `advice` says what to do about it, where it
    isn't the output folder's fault. `worker_ends`: its process may be broken, and doesn't take another job.
    """

    run_id: str
    reason: str
    hopeless: bool = False
    worker_ends: bool = False
    advice: str = ""


@dataclass(frozen=True)
class RunBusy:
    """Another process has claimed the run."""

    run_id: str


@dataclass(frozen=True)
class RunStopped:
    """The run was interrupted, and its worker ends; its checkpoint, if it wrote one, stands."""

    run_id: str


@dataclass(frozen=True)
class WorkerLost:
    """The worker died with the run in hand.

    `reason` is one line, `output` the last lines it wrote, `advice` what may help where that can be guessed.
    """

    run_id: str
    reason: str
    output: str
    advice: str = ""


@dataclass(frozen=True)
class WorkerOutput:
    """A worker wrote a line to its standard error."""

    text: str


Event = (
    RunStarted | EpochProgress | RunFinished | RunPaused | RunFailed | RunBusy | RunStopped | WorkerLost | WorkerOutput
)


class Executor(Protocol):
    """Carries out jobs somewhere. The study submits, polls until nothing is pending, and closes."""

    def submit(self, job: Job) -> None:
        """Take a job; it starts when there is room."""

    def poll(self, seconds: float) -> list[Event]:
        """What has happened since the last call; waits at most `seconds` for the first event."""

    def stop(self) -> list[str]:
        """Ask running jobs to checkpoint and end; returns the run ids of jobs that hadn't begun and are dropped."""

    def kill(self) -> None:
        """End everything now."""

    def close(self) -> None:
        """Give back workers and whatever else is held. Safe to call twice."""


class SharedExecutor:
    """Another executor that one study after the other may use: closing this leaves that open."""

    def __init__(self, executor: Executor) -> None:
        self.submit, self.poll = executor.submit, executor.poll
        self.stop, self.kill = executor.stop, executor.kill

    def close(self) -> None:
        """Nothing: who made the executor closes it."""
