"""How many runs fit on a cluster, with how many threads, and what share of a card each has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.executors.cluster.room import Room, fit, places, share_of_card
from bench.machine import share

ROOMS = st.lists(st.builds(Room, st.integers(0, 64).map(float), st.integers(0, 8).map(float)), max_size=6)
CARDS = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.4, 0.5, 0.6, 1.0])
JOBS = st.none() | st.integers(1, 100)


@given(ROOMS, st.integers(0, 200), JOBS, CARDS)
def test_what_is_said_to_fit_fits_and_wastes_no_thread(
    rooms: list[Room], runs: int, jobs: int | None, cards: float
) -> None:
    at_once, threads = fit(rooms, runs, jobs, cards)
    assert threads >= 1 and at_once <= max(1, runs) and at_once <= (jobs or at_once)
    assert at_once <= places(rooms, threads, cards)
    if at_once:
        assert places(rooms, threads + 1, cards) < at_once
    else:
        assert places(rooms, 1, cards) == 0


@given(st.integers(1, 64), st.integers(1, 200), JOBS)
def test_one_machine_is_divided_as_local_processes_divide_it(cores: int, runs: int, jobs: int | None) -> None:
    most = None if jobs is None else min(jobs, cores)
    assert fit([Room(float(cores), 0.0)], runs, most, 0.0) == share(cores, runs, "cpu", most)


@pytest.mark.parametrize(
    ("rooms", "runs", "jobs", "cards", "expected"),
    [
        ([Room(8, 0), Room(8, 0)], 4, None, 0.0, (4, 4)),
        ([Room(16, 1)], 100, None, 0.25, (4, 4)),
        ([Room(16, 4), Room(64, 0)], 100, None, 1.0, (4, 4)),
        ([Room(16, 2)], 100, None, 0.4, (4, 4)),
        ([Room(2, 8)], 100, None, 1.0, (2, 1)),
        ([Room(0, 0)], 5, None, 0.0, (0, 1)),
        ([], 5, 3, 0.0, (0, 1)),
    ],
)
def test_known_machines(
    rooms: list[Room], runs: int, jobs: int | None, cards: float, expected: tuple[int, int]
) -> None:
    assert fit(rooms, runs, jobs, cards) == expected


@given(ROOMS, st.integers(1, 100))
def test_where_nobody_says_as_many_runs_fit_on_the_cards_as_jobs_ask_for(rooms: list[Room], jobs: int) -> None:
    cards = share_of_card(jobs, rooms)
    assert 0 < cards <= 1
    plenty = [Room(1000.0, room.cards) for room in rooms]
    if any(room.cards for room in rooms):
        assert places(plenty, 1, cards) >= min(jobs, places(plenty, 1, 1e-4))
    assert share_of_card(None, rooms) == 1.0


def test_jobs_share_cards_evenly() -> None:
    assert share_of_card(4, [Room(16, 1)]) == 0.25
    assert share_of_card(5, [Room(16, 2)]) == pytest.approx(1 / 3)
    assert share_of_card(2, [Room(16, 4)]) == 1.0
    for runs in range(1, 101):
        assert places([Room(1000, 1)], 1, share_of_card(runs, [Room(1000, 1)])) == runs
