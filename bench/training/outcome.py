"""How a run ends: finished, interrupted, paused, diverged, or out of memory."""

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

It raises `Interrupted` once `should_stop()` is true and its checkpoint is written, `PauseReached` where the runtime's
`pause_at` is reached, `Diverged` where training left the finite numbers, and anything else for any other failure.
"""


class Interrupted(Exception):  # noqa: N818 - an answer to a request, not an error
    """The run was asked to stop and did so, after its checkpoint."""


class PauseReached(Exception):  # noqa: N818 - an answer to a request, not an error
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
