"""Displays of runs under way, on standard error: one live display on a terminal, plain lines elsewhere.

`open_display` chooses; their base classes are in `bench.execution.display`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from bench.execution.display import CountingDisplay, Display
from bench.planning import gather_facts
from bench.planning.facts import Facts
from bench.planning.validate import ValidatedRequest
from bench.system.console import print_note
from bench.system.hardware import Hardware
from bench.system.text import format_duration, list_first

if TYPE_CHECKING:
    from rich.progress import TaskID


SECONDS_BETWEEN_LINES = 10.0
"""A long step of the preparation writes a plain line no more often than this, and none if it is shorter."""
SECONDS_WITHOUT_LINE = 180.0
"""After so long without a line on the study, plain lines say which runs are under way."""
RUNS_NAMED = 3
"""Runs under way that such a line names."""


class PlainDisplay(CountingDisplay):
    """One line for every run that ends and, where that takes long, for those under way; for logs and pipes."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.stream = stream
        self._last_line: dict[str, float] = {}
        """Step of the preparation -> seconds of its last line, by the clock."""
        self._under_way: dict[str, str] = {}
        """Run under way -> its name, followed by its epochs once one is trained."""
        self._names: dict[str, str] = {}
        self._last_word = self.clock()
        """Seconds of the last line on the study, by the clock."""

    def begin(self, total: int, done: int) -> None:
        """Print how many runs there are, if any is left."""
        super().begin(total, done)
        self._last_word = self.clock()
        if total > done:
            self.note(f"{total} run{'s' * (total != 1)}" + (f", {done} of them done already" if done else ""))

    def started(self, run_id: str, name: str) -> None:
        """Note that the run is under way."""
        self._names[run_id] = self._under_way[run_id] = name

    def epoch(self, run_id: str, done: int, total: int) -> None:
        """Note how far the run is."""
        super().epoch(run_id, done, total)
        if run_id in self._names:
            self._under_way[run_id] = f"{self._names[run_id]} (epoch {done} of {total})"

    def gone(self, run_id: str) -> None:
        """Forget the run."""
        super().gone(run_id)
        self._under_way.pop(run_id, None)
        self._names.pop(run_id, None)

    def tick(self) -> None:
        """Print which runs are under way, if the last line is long ago."""
        if self.clock() - self._last_word < SECONDS_WITHOUT_LINE or not self._under_way:
            return
        self._last_word = self.clock()
        count = len(self._under_way)
        named = list_first(self._under_way.values(), RUNS_NAMED)
        self.note(f"{count} run{'s' * (count != 1)} under way: {named} ({self._describe_time()})")

    def finished(self, run_id: str, name: str, seconds: float | None) -> None:
        """Print the run's time."""
        self._print_end(run_id, f"{name}: {'done by another process' if seconds is None else f'{seconds:.1f} s'}")

    def failed(self, run_id: str, name: str, reason: str) -> None:
        """Print the reason."""
        self._print_end(run_id, f"{name}: failed, {reason}")

    def note(self, text: str) -> None:
        """Print the line."""
        self.stream.write(text + "\n")
        self.stream.flush()

    def decoding(self, what: str, done: int, total: int) -> None:
        """Print a line now and then."""
        now = self.clock()
        if now - self._last_line.setdefault(what, now) >= SECONDS_BETWEEN_LINES:
            self._last_line[what] = now
            self.note(f"{what}: {done} of {total}")

    def _print_end(self, run_id: str, text: str) -> None:
        super().finished(run_id, "", None)
        self._last_word = self.clock()
        self.note(f"[{self.count}/{self.total}] {text} ({self._describe_time()})")

    def _describe_time(self) -> str:
        """The time so far and, once it can be told, the time left."""
        left = self.seconds_left()
        more = f"; about {format_duration(left)} left" if left and self.count < self.total else ""
        return f"{format_duration(self.seconds)} so far{more}"


class LiveDisplay(CountingDisplay):
    """One live display: a bar for all runs with the time left, and a row for each run and step under way."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        super().__init__(clock)
        columns = (  # a long name is cut, so that the other columns keep their width
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[count]}", markup=False, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True)),
        )
        console = Console(file=stream, highlight=False, force_terminal=True)
        self.bars = Progress(*columns, console=console, transient=True, refresh_per_second=4, expand=True)
        self._all_runs: TaskID | None = None
        self._rows: dict[str, TaskID] = {}

    def begin(self, total: int, done: int) -> None:
        """Show the bar of all runs, if any is left."""
        super().begin(total, done)
        if total > done:
            self.bars.start()
            count = f"{done}/{total}"
            self._all_runs = self.bars.add_task("all runs", total=total, completed=done, count=count, left="")

    def started(self, run_id: str, name: str) -> None:
        """Add a row."""
        self.gone(run_id)
        self._rows[run_id] = self.bars.add_task(name, total=None, count="", left="")

    def epoch(self, run_id: str, done: int, total: int) -> None:
        """Move the bars of the run and of all runs."""
        super().epoch(run_id, done, total)
        if run_id in self._rows:
            self.bars.update(self._rows[run_id], completed=done, total=total, count=f"epoch {done}/{total}")
        self._show_all()

    def finished(self, run_id: str, name: str, seconds: float | None) -> None:
        """Remove the row."""
        self._remove(run_id)
        super().finished(run_id, name, seconds)
        self._show_all()

    def failed(self, run_id: str, name: str, reason: str) -> None:
        """Remove the row, and print the reason."""
        self.finished(run_id, name, None)
        self.note(f"{name}: failed, {reason}")

    def gone(self, run_id: str) -> None:
        """Remove the row."""
        self._remove(run_id)
        super().gone(run_id)

    def note(self, text: str) -> None:
        """Print the line above the bars."""
        self.bars.console.print(text, markup=False, soft_wrap=True)

    def decoding(self, what: str, done: int, total: int) -> None:
        """Show a row while the step lasts."""
        if not self.bars.live.is_started:
            self.bars.start()
        if what not in self._rows:
            self._rows[what] = self.bars.add_task(what, total=total, count="", left="")
        self.bars.update(self._rows[what], completed=done, count=f"{done}/{total}")
        if done >= total:
            self._remove(what)

    def end(self) -> None:
        """Take the display off the screen."""
        self.bars.stop()

    def _remove(self, row: str) -> None:
        if row in self._rows:
            self.bars.remove_task(self._rows.pop(row))

    def _show_all(self) -> None:
        if self._all_runs is not None:
            left = self.seconds_left()
            self.bars.update(
                self._all_runs,
                completed=self.before + self.trained,
                count=f"{self.count}/{self.total}",
                left="" if left is None else f"about {format_duration(left)} left",
            )


def open_display(stream: TextIO | None = None) -> Display:
    """The live display if `stream` (by default standard error) is a terminal that can show it, else plain lines."""
    stream = sys.stderr if stream is None else stream
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return LiveDisplay(stream)
    return PlainDisplay(stream)


def gather_facts_with_display(validated: ValidatedRequest, hardware: Hardware | None = None) -> Facts:
    """The facts of a request, gathered with a display; notes on its data are printed.

    `hardware`: of the cluster, None for this machine.
    """
    display = open_display()
    try:
        facts = gather_facts.gather_facts(validated, display.decoding, hardware)
    finally:
        display.end()
    for note in facts.data_notes:
        print_note(f"note: {note}")
    return facts
