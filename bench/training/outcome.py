"""The ends of a run other than a record: interrupted, paused, diverged, or out of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.spec import RunSpec, Runtime

if TYPE_CHECKING:
    from bench.records.store import Store


ReportProgress = Callable[[int, int], None]
"""Called as report(epochs done, epochs in all)."""

Runner = Callable[[RunSpec, Runtime, "Store", ReportProgress, Callable[[], bool]], None]
"""run(spec, runtime, store, report, should_stop): trains and writes the record.

It raises `Interrupted` once `should_stop()` is true, `PauseReached` at the runtime's `pause_at`, `Diverged` when a loss
or a weight isn't finite, and any other exception for any other failure.
"""


class Interrupted(Exception):  # noqa: N818 - an answer to a request, not an error
    """The run was asked to stop and did so; its last checkpoint remains."""


class PauseReached(Exception):  # noqa: N818 - an answer to a request, not an error
    """The run has reached its runtime's `pause_at`; its checkpoint and its curves over `epochs` epochs are written."""

    def __init__(self, epochs: int) -> None:
        super().__init__(epochs)
        self.epochs = epochs


DIVERGED = "diverged in epoch"
"""The first words of a divergence's reason."""


class Diverged(Exception):  # noqa: N818 - a result of training, not an error
    """A loss or a weight was no longer finite in epoch `epoch` (counted from 1)."""

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
