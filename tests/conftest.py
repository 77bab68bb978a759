"""What holds for every test, and what tests of typed commands share.

Hypothesis judges results, never the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings

from bench import registry
from bench.execution.events import Event
from bench.execution.executor import Job
from bench.execution.worker import Worker
from bench.records.store import Store
from bench.registry import lookup

# the parent is Hypothesis's own profile for where this runs: in CI its examples are the same each time
settings.register_profile("no clock", parent=settings.default, deadline=None)
settings.load_profile("no clock")


class InThisProcess:
    """An executor that carries out a job as soon as it is submitted, without the seconds that a process takes to start.

    What processes do is tested in tests/bench/execution.
    """

    def __init__(self, root: Path, jobs: int, threads: int, lease: float) -> None:
        from bench.training.run import run_spec

        self.events: list[Event] = []
        self.worker = Worker(Store(root, lease=lease), run_spec, self.events.append)

    def submit(self, job: Job) -> None:
        self.worker.carry_out(replace(job, runtime=job.runtime.model_copy(update={"threads": 1})))

    def poll(self, seconds: float) -> list[Event]:
        events = list(self.events)
        self.events.clear()
        return events

    def stop(self) -> list[str]:
        return []

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder to type commands in, with a cache of its own beside it. To be quick, what is registered
    is looked up once, and runs are carried out in this process."""
    import torch

    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    kept = registry.methods(), registry.data_sets(), registry.noises(), registry.models()
    monkeypatch.setenv("LNL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lookup, "_plugins", ())
    names = ("methods", "data_sets", "noises", "models")
    monkeypatch.setattr(lookup, "_catalogue", lambda files, cache: dict(zip(names, kept, strict=True)))
    monkeypatch.setattr("bench.execution.local.LocalExecutor", InThisProcess)
    threads = torch.get_num_threads()
    yield folder
    torch.set_num_threads(threads)
