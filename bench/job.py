"""What travels between a study, its workers and a run: jobs, events, and the two ways in which a run ends early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.spec import RunSpec, Runtime

if TYPE_CHECKING:
    from bench.store import Store


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


Report = Callable[[int, int], None]
"""Called as report(epochs done, epochs in all)."""

Runner = Callable[[RunSpec, Runtime, "Store", Report, Callable[[], bool]], None]
"""run(spec, runtime, store, report, should_stop): trains and writes the record.

It raises `Interrupted` once `should_stop()` is true and its checkpoint is written, `Pause` where the runtime's
`pause_at` is reached, `Diverged` where training left the finite numbers, and anything else for any other failure.
"""


class Interrupted(Exception):  # noqa: N818 - an answer to a request, not an error
    """The run was asked to stop and did so, after its checkpoint."""


class Pause(Exception):  # noqa: N818 - an answer to a request, not an error
    """The run has reached its runtime's `pause_at`; its checkpoint and its curves over `epochs` epochs stand."""

    def __init__(self, epochs: int) -> None:
        super().__init__(epochs)
        self.epochs = epochs


DIVERGED = "diverged in epoch"
"""How a divergence's reason begins."""


class Diverged(Exception):  # noqa: N818 - a result of training, not an error
    """Training left the finite numbers in epoch `epoch` (counted from 1)."""

    def __init__(self, epoch: int, reason: str) -> None:
        super().__init__(epoch, reason)
        self.epoch = epoch
        self.reason = reason

    def __str__(self) -> str:
        return f"{DIVERGED} {self.epoch}: {self.reason}"


class OutOfMemory(Exception):  # noqa: N818 - a run's end, in a sentence that says what would have fit
    """A training step's batch didn't fit into memory."""

    def __str__(self) -> str:
        return f"out of memory: {super().__str__()}"


@dataclass(frozen=True)
class Started:
    """A worker has claimed the run and begins."""

    run_id: str


@dataclass(frozen=True)
class Epoch:
    """`done` of `total` epochs are trained."""

    run_id: str
    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """The store has the run's record. `seconds` is None where another process had written it meanwhile."""

    run_id: str
    seconds: float | None


@dataclass(frozen=True)
class Paused:
    """The run was put aside where its runtime says, after `epochs` epochs; the store has its curves so far."""

    run_id: str
    epochs: int


@dataclass(frozen=True)
class Failed:
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
class Busy:
    """Another process has claimed the run."""

    run_id: str


@dataclass(frozen=True)
class Stopped:
    """The run was interrupted, and its worker ends; its checkpoint, if it wrote one, stands."""

    run_id: str


@dataclass(frozen=True)
class Lost:
    """The worker died with the run in hand.

    `reason` is one line, `output` the last lines it wrote, `advice` what may help where that can be guessed.
    """

    run_id: str
    reason: str
    output: str
    advice: str = ""


@dataclass(frozen=True)
class Said:
    """A worker wrote a line to its standard error."""

    text: str


Event = Started | Epoch | Finished | Paused | Failed | Busy | Stopped | Lost | Said
