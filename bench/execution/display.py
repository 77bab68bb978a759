"""What a study tells of its runs: the calls of every display, and the counting and the time left that all share."""

from __future__ import annotations

import time
from collections.abc import Callable


class Display:
    """The calls of a study as its runs go on. This base class shows nothing; displays override what they show.

    `counts_runs`: what is counted are runs. Where it is something else, the epochs of a run say nothing of
    the time left.
    """

    counts_runs = True

    def begin(self, total: int, done: int) -> None:
        """The study has `total` runs, of which `done` have their records already."""

    def started(self, run_id: str, name: str) -> None:
        """A run begins, or begins again."""

    def epoch(self, run_id: str, done: int, total: int) -> None:
        """A run has trained `done` of `total` epochs."""

    def finished(self, run_id: str, name: str, seconds: float | None) -> None:
        """A run has its record; `seconds` is None where another process made it."""

    def failed(self, run_id: str, name: str, reason: str) -> None:
        """A run can't be finished."""

    def gone(self, run_id: str) -> None:
        """A run isn't under way any more, and neither finished nor failed."""

    def tick(self) -> None:
        """Time passes; called several times a second."""

    def note(self, text: str) -> None:
        """One line to read."""

    def decoding(self, what: str, done: int, total: int) -> None:
        """A long step of the preparation goes on; fits `datasets.interface.Progress`."""

    def end(self) -> None:
        """The study is over. Safe to call twice."""


class CountingDisplay(Display):
    """Counts a study's runs, and estimates the time that the rest will take at the pace so far. Shows nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        CountingDisplay.begin(self, 0, 0)

    def begin(self, total: int, done: int) -> None:
        """Start counting."""
        self.total, self.before, self.ended = total, done, 0
        self.parts: dict[str, float] = {}
        """Run under way -> the share of its epochs that is trained."""
        self.start = self.clock()

    def epoch(self, run_id: str, done: int, total: int) -> None:
        """Note how far a run under way is."""
        self.parts[run_id] = done / total if total else 0.0

    def finished(self, run_id: str, name: str, seconds: float | None) -> None:
        """Count a run that finished or failed."""
        self.gone(run_id)
        self.ended += 1

    def gone(self, run_id: str) -> None:
        """Count a run as not begun."""
        self.parts.pop(run_id, None)

    @property
    def trained(self) -> float:
        """What the study has done, in the unit that is counted."""
        return self.ended + (sum(self.parts.values()) if self.counts_runs else 0)

    @property
    def count(self) -> int:
        """Runs that have ended, those before the study included."""
        return self.before + self.ended

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.start

    def seconds_left(self) -> float | None:
        """Seconds that the rest will take; None before any epoch has been trained."""
        trained = self.trained
        if trained <= 0:
            return None
        return max(0.0, self.seconds * (self.total - self.before - trained) / trained)
