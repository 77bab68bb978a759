"""Events that executors report of runs, and their form as lines of JSON between a worker and its parent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import cast, get_args


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
    """The run stopped where its runtime says, after `epochs` epochs; the store has its curves so far."""

    run_id: str
    epochs: int


@dataclass(frozen=True)
class RunFailed:
    """The run can't be finished.

    `hopeless`: no other run can be finished either (the disk is full), so the study ends; `advice` says what to do
    about it if the output folder isn't the cause. `worker_ends`: the worker process may be broken, and takes no other
    job.
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
    """The run was interrupted, and its worker ends; its checkpoint, if it wrote one, stays."""

    run_id: str


@dataclass(frozen=True)
class WorkerLost:
    """The worker died while it trained the run.

    `reason` is one line, `output` the last lines that the worker wrote, `advice` what may help where that can be
    guessed.
    """

    run_id: str
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

_EVENT_TYPES = {event_type.__name__: event_type for event_type in get_args(Event)}


def encode_event(event: Event) -> str:
    """The event as one line of JSON, without the line's end."""
    return json.dumps({"event": type(event).__name__} | asdict(event))


def decode_event(line: str) -> Event:
    """The event that `encode_event` made the line of. Raises ValueError for a line cut off."""
    fields = json.loads(line)
    return cast(Event, _EVENT_TYPES[fields.pop("event")](**fields))
