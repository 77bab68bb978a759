"""What is shown while runs are under way."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from bench.execution.display import CountingDisplay, Display
from bench.execution.progress import LiveDisplay, PlainDisplay, open_display
from bench.system.text import format_duration
from bench.tuning.study.run_studies import TrialsDisplay


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_time_left_follows_the_pace() -> None:
    clock = Clock()
    display = CountingDisplay(clock)
    display.begin(total=10, done=2)
    assert display.seconds_left() is None
    clock.now += 10
    display.finished("a", "ce", 10.0)
    assert display.seconds_left() == pytest.approx(70) and display.count == 3
    display.epoch("b", 5, 10)
    display.epoch("c", 5, 10)
    assert display.seconds_left() == pytest.approx(10 * 6 / 2)
    display.finished("b", "ce", None)
    display.finished("c", "ce", 5.0)
    assert display.seconds_left() == pytest.approx(10 * 5 / 3)


def test_plain_lines_are_one_a_run() -> None:
    clock, stream = Clock(), io.StringIO()
    display = PlainDisplay(stream, clock)
    display.begin(4, 1)
    display.started("a", "ce seed 0")
    display.epoch("a", 1, 2)
    clock.now += 61
    display.finished("a", "ce seed 0", 61.04)
    display.finished("b", "ce seed 1", None)
    display.failed("c", "ce seed 2", "diverged in epoch 3")
    display.end()
    assert stream.getvalue().splitlines() == [
        "4 runs, 1 of them done already",
        "[2/4] ce seed 0: 61.0 s (0:01:01 so far; about 0:02:02 left)",
        "[3/4] ce seed 1: done by another process (0:01:01 so far; about 0:00:30 left)",
        "[4/4] ce seed 2: failed, diverged in epoch 3 (0:01:01 so far)",
    ]


def test_a_long_run_says_now_and_then_how_far_it_is() -> None:
    clock, stream = Clock(), io.StringIO()
    display = PlainDisplay(stream, clock)
    display.begin(5, 0)
    for run in "abcd":
        display.started(run, f"ce seed {run}")
    for minute in range(1, 13):
        for _ in range(60):
            clock.now += 1
            display.tick()
        if minute > 3:
            display.epoch("a", minute, 30)
    display.gone("a")
    display.finished("b", "ce seed b", 720.0)
    for _ in range(200):
        clock.now += 1
        display.tick()
    assert stream.getvalue().splitlines() == [
        "5 runs",
        "4 runs under way: ce seed a, ce seed b, ce seed c and 1 more (0:03:00 so far)",
        "4 runs under way: ce seed a (epoch 5 of 30), ce seed b, ce seed c and 1 more "
        "(0:06:00 so far; about 2:54:00 left)",
        "4 runs under way: ce seed a (epoch 8 of 30), ce seed b, ce seed c and 1 more "
        "(0:09:00 so far; about 2:39:45 left)",
        "4 runs under way: ce seed a (epoch 11 of 30), ce seed b, ce seed c and 1 more "
        "(0:12:00 so far; about 2:31:38 left)",
        "[1/5] ce seed b: 720.0 s (0:12:00 so far; about 0:48:00 left)",
        "2 runs under way: ce seed c, ce seed d (0:15:00 so far; about 1:00:00 left)",
    ]


def test_epochs_of_a_run_are_no_part_of_the_time_left_where_trials_are_counted() -> None:
    clock, stream = Clock(), io.StringIO()
    inner = PlainDisplay(stream, clock)
    display = TrialsDisplay(inner, 4, 0)
    display.begin(0, 0)
    display.started("a", "gce")
    display.epoch("a", 1, 2)
    clock.now += 200
    display.tick()
    assert stream.getvalue().splitlines() == ["4 runs", "1 run under way: gce (epoch 1 of 2) (0:03:20 so far)"]


def test_nothing_to_do_says_nothing() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    display.begin(3, 3)
    display.end()
    assert stream.getvalue() == ""


def test_short_preparation_says_nothing_and_long_now_and_then() -> None:
    clock, stream = Clock(), io.StringIO()
    display = PlainDisplay(stream, clock)
    for done in range(251):
        display.decoding("reading images", done, 250)
        clock.now += 0.125
    assert stream.getvalue().splitlines() == [f"reading images: {done} of 250" for done in (80, 160, 240)]


def test_the_live_display_shows_runs_and_cleans_up() -> None:
    stream = Terminal()
    display = LiveDisplay(stream)
    display.decoding("reading images", 1, 2)
    display.decoding("reading images", 2, 2)
    display.begin(3, 1)
    display.started("a", "gce[q=0.7] · digits")
    display.started("b", "ce · digits")
    display.epoch("a", 3, 4)
    display.bars.refresh()
    assert "gce[q=0.7] · digits" in stream.getvalue() and "epoch 3/4" in stream.getvalue()
    display.finished("a", "gce[q=0.7] · digits", 2.0)
    display.gone("b")
    display.failed("b", "ce · digits", "diverged [in] epoch 3")
    assert len(display.bars.tasks) == 1 and display.bars.tasks[0].completed == 3
    assert "failed, diverged [in] epoch 3" in stream.getvalue()
    display.end()
    display.end()


def test_a_run_begun_again_has_one_row() -> None:
    display = LiveDisplay(Terminal())
    display.begin(2, 0)
    display.started("a", "ce")
    display.epoch("a", 1, 2)
    display.started("a", "ce")
    assert len(display.bars.tasks) == 2 and display.parts == {}
    display.end()


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [(Terminal, "xterm", LiveDisplay), (Terminal, "dumb", PlainDisplay), (io.StringIO, "xterm", PlainDisplay)],
)
def test_the_display_fits_the_stream(
    stream: Callable[[], io.StringIO], term: str, kind: type[Display], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    assert type(open_display(stream())) is kind


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    display: Display = Display()
    display.begin(1, 0)
    display.started("a", "ce")
    display.epoch("a", 1, 1)
    display.note("text")
    display.decoding("what", 1, 2)
    display.finished("a", "ce", 1.0)
    display.failed("b", "ce", "reason")
    display.gone("c")
    display.end()
    assert capsys.readouterr() == ("", "")


def test_durations_read_as_hours_minutes_seconds() -> None:
    assert [format_duration(seconds) for seconds in (0.4, 67, 3661)] == ["0:00:00", "0:01:07", "1:01:01"]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_long_name_is_cut_and_the_rest_of_its_row_is_not(width: int) -> None:
    from rich.console import Console

    live = LiveDisplay(io.StringIO())
    live.begin(240, 3)
    live.started(
        "a", "dividemix[alpha=4.0,forward_unlabelled=True,history=1,lambda_u=25.0] · digits · asym 0.4 · seed 0"
    )
    live.epoch("a", 3, 30)
    console = Console(file=io.StringIO(), width=width)
    console.print(live.bars.get_renderable())
    live.end()
    assert isinstance(console.file, io.StringIO)
    total, row = console.file.getvalue().splitlines()
    assert "3/240" in total and "left" in total
    assert row.startswith("dividem") and "…" in row and "epoch 3/30" in row
