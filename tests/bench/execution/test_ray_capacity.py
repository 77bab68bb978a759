"""How many runs fit on a cluster, with how many threads, and what share of a card each has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.execution.ray.capacity import NodeCapacity, count_places, fit_jobs, gpu_share
from bench.system.hardware import share_cores

ROOMS = st.lists(st.builds(NodeCapacity, st.integers(0, 64).map(float), st.integers(0, 8).map(float)), max_size=6)
GPUS = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.4, 0.5, 0.6, 1.0])
JOBS = st.none() | st.integers(1, 100)


@given(ROOMS, st.integers(0, 200), JOBS, GPUS)
def test_what_is_said_to_fit_fits_and_wastes_no_thread(
    rooms: list[NodeCapacity], runs: int, jobs: int | None, gpus: float
) -> None:
    at_once, threads = fit_jobs(rooms, runs, jobs, gpus)
    assert threads >= 1 and at_once <= max(1, runs) and at_once <= (jobs or at_once)
    assert at_once <= count_places(rooms, threads, gpus)
    if at_once:
        assert count_places(rooms, threads + 1, gpus) < at_once
    else:
        assert count_places(rooms, 1, gpus) == 0


@given(st.integers(1, 64), st.integers(1, 200), JOBS)
def test_one_machine_is_divided_as_local_processes_divide_it(cores: int, runs: int, jobs: int | None) -> None:
    most = None if jobs is None else min(jobs, cores)
    assert fit_jobs([NodeCapacity(float(cores), 0.0)], runs, most, 0.0) == share_cores(cores, runs, "cpu", most)


@pytest.mark.parametrize(
    ("rooms", "runs", "jobs", "gpus", "expected"),
    [
        ([NodeCapacity(8, 0), NodeCapacity(8, 0)], 4, None, 0.0, (4, 4)),
        ([NodeCapacity(16, 1)], 100, None, 0.25, (4, 4)),
        ([NodeCapacity(16, 4), NodeCapacity(64, 0)], 100, None, 1.0, (4, 4)),
        ([NodeCapacity(16, 2)], 100, None, 0.4, (4, 4)),
        ([NodeCapacity(2, 8)], 100, None, 1.0, (2, 1)),
        ([NodeCapacity(0, 0)], 5, None, 0.0, (0, 1)),
        ([], 5, 3, 0.0, (0, 1)),
    ],
)
def test_known_machines(
    rooms: list[NodeCapacity], runs: int, jobs: int | None, gpus: float, expected: tuple[int, int]
) -> None:
    assert fit_jobs(rooms, runs, jobs, gpus) == expected


@given(ROOMS, st.integers(1, 100))
def test_where_nobody_says_as_many_runs_fit_on_the_gpus_as_jobs_ask_for(rooms: list[NodeCapacity], jobs: int) -> None:
    gpus = gpu_share(jobs, rooms)
    assert 0 < gpus <= 1
    plenty = [NodeCapacity(1000.0, room.gpus) for room in rooms]
    if any(room.gpus for room in rooms):
        assert count_places(plenty, 1, gpus) >= min(jobs, count_places(plenty, 1, 1e-4))
    assert gpu_share(None, rooms) == 1.0


def test_jobs_share_gpus_evenly() -> None:
    assert gpu_share(4, [NodeCapacity(16, 1)]) == 0.25
    assert gpu_share(5, [NodeCapacity(16, 2)]) == pytest.approx(1 / 3)
    assert gpu_share(2, [NodeCapacity(16, 4)]) == 1.0
    for runs in range(1, 101):
        assert count_places([NodeCapacity(1000, 1)], 1, gpu_share(runs, [NodeCapacity(1000, 1)])) == runs
