"""Events that executors report of runs, and their form as lines of JSON between a worker and its parent.

A class an event, in the order of a run's life; `Event` lists them all. `encode_event` and `decode_event` are the
line of JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import cast, get_args


@dataclass(frozen=True)
class RunEvent:
    """An event of one run."""

    run_id: str


class RunStarted(RunEvent):
    """A worker has claimed the run and begins."""


class RunBusy(RunEvent):
    """Another process has claimed the run."""


class RunStopped(RunEvent):
    """The run was interrupted, and its worker ends; its checkpoint, if it wrote one, stays."""


@dataclass(frozen=True)
class EpochProgress(RunEvent):
    """`done` of `total` epochs are trained."""

    done: int
    total: int


@dataclass(frozen=True)
class RunFinished(RunEvent):
    """The store has the run's record. `seconds` is None where another process had written it meanwhile."""

    seconds: float | None


@dataclass(frozen=True)
class RunPaused(RunEvent):
    """The run stopped where its runtime says, after `epochs` epochs; the store has its curves so far."""

    epochs: int


@dataclass(frozen=True)
class RunFailed(RunEvent):
    """The run can't be finished.

    `hopeless`: no other run can be finished either (the disk is full), so the study ends; `advice` says what to do
    about it if the output folder isn't the cause. `worker_ends`: the worker process may be broken, and takes no other
    job.
    """

    reason: str
    hopeless: bool = False
    worker_ends: bool = False
    advice: str = ""


@dataclass(frozen=True)
class WorkerLost(RunEvent):
    """The worker died while it trained the run.

    `reason` is one line, `output` the last lines that the worker wrote, `advice` what may help where that can be
    guessed.
    """

    reason: str
    output: str
    advice: str = ""


@dataclass(frozen=True)
class WorkerOutput:
    """A worker wrote a line to its standard error."""

    text: str


RunEnded = RunFinished | RunPaused | RunFailed | RunBusy | RunStopped | WorkerLost
"""The events after which a worker has no job."""
Event = RunStarted | EpochProgress | RunEnded | WorkerOutput


def ends_worker(event: Event) -> bool:
    """Whether the worker that sent the event takes no other job."""
    return isinstance(event, RunStopped) or (isinstance(event, RunFailed) and event.worker_ends)


_EVENT_TYPES = {event_type.__name__: event_type for event_type in get_args(Event)}


def encode_event(event: Event) -> str:
    """The event as one line of JSON, without the line's end."""
    return json.dumps({"event": type(event).__name__} | asdict(event))


def decode_event(line: str) -> Event:
    """The event that `encode_event` made the line of. Raises ValueError for a line cut off."""
    fields = json.loads(line)
    return cast(Event, _EVENT_TYPES[fields.pop("event")](**fields))
