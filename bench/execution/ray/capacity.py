"""How many runs fit on a cluster's nodes at a time, and how many threads each may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NodeCapacity:
    """What a node offers to Ray: processor cores and cards."""

    cores: float
    cards: float


def count_places(rooms: Sequence[NodeCapacity], threads: int, cards: float) -> int:
    """How many runs with so many threads and cards (a share of one, or 0) fit on the nodes at a time."""
    return sum(_places(room, threads, cards) for room in rooms)


def fit_jobs(rooms: Sequence[NodeCapacity], runs: int, jobs: int | None, cards: float) -> tuple[int, int]:
    """(runs at a time, threads of each): as many runs as asked for and as fit, then as many threads as that leaves.

    `jobs` None: as many as there is room for with one thread each. (0, 1): there is no room for any.
    """
    at_once = min(max(1, runs), count_places(rooms, 1, cards))
    if jobs is not None:
        at_once = min(at_once, jobs)
    if at_once == 0:
        return 0, 1
    threads = 1
    most = int(max(room.cores for room in rooms))
    while threads < most and count_places(rooms, threads + 1, cards) >= at_once:
        threads += 1
    return at_once, threads


def most_jobs_on_one(rooms: Sequence[NodeCapacity], cards: float, jobs: int | None) -> int:
    """How many runs may share a memory at most: a card's, or on processors a node's."""
    if cards:
        return _on_one_card(cards)
    most = max((_places(room, 1, cards) for room in rooms), default=1)
    return max(1, most if jobs is None else min(most, jobs))


def gpu_share(jobs: int | None, rooms: Sequence[NodeCapacity]) -> float:
    """The share of a card for each run where nobody says: a whole one, or less where more jobs than cards are wanted.

    A whole number of runs shares a card, so that no card is split unevenly.
    """
    cards = sum(int(room.cards) for room in rooms)
    if jobs is None or cards == 0 or jobs <= cards:
        return 1.0
    return 1.0 / -(-jobs // cards)


def _places(room: NodeCapacity, threads: int, cards: float) -> int:
    by_cores = int(room.cores // threads)
    if not cards:
        return by_cores
    # On each card as many as fit there whole: three runs of 0.4 don't share the rest of two cards.
    return min(by_cores, int(room.cards) * _on_one_card(cards))


def _on_one_card(cards: float) -> int:
    # Ray counts in ten-thousandths of a card, which is also what keeps 1 / (1 / 3) from being 2.
    return int(1.0 / cards + 1e-4)
