"""Where runs are carried out. An executor is the mechanism; what to run, and again, is the study's to say."""

from __future__ import annotations

from typing import Protocol

from bench.job import Event, Job


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


class KeptOpen:
    """Another executor that one study after the other may use: closing this leaves that open."""

    def __init__(self, executor: Executor) -> None:
        self.submit, self.poll = executor.submit, executor.poll
        self.stop, self.kill = executor.stop, executor.kill

    def close(self) -> None:
        """Nothing: who made the executor closes it."""
