"""Capacity of a cluster's nodes: how many runs fit at a time, and how many threads each run may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NodeCapacity:
    """CPU cores and GPUs that a node offers to Ray, and the node's name."""

    cores: float
    gpus: float
    host: str = ""


def count_places(nodes: Sequence[NodeCapacity], threads: int, gpu: float) -> int:
    """Runs that fit on the nodes at a time, each with so many threads and this share of a GPU (0: none)."""
    return sum(_places(node, threads, gpu) for node in nodes)


def fit_jobs(nodes: Sequence[NodeCapacity], runs: int, jobs: int | None, gpu: float) -> tuple[int, int]:
    """(runs at a time, threads of each): as many runs as wanted and as fit, then as many threads as that leaves.

    `jobs` None: as many runs as fit with one thread each. (0, 1): no run fits.
    """
    at_once = min(max(1, runs), count_places(nodes, 1, gpu))
    if jobs is not None:
        at_once = min(at_once, jobs)
    if at_once == 0:
        return 0, 1
    threads = 1
    most = int(max(node.cores for node in nodes))
    while threads < most and count_places(nodes, threads + 1, gpu) >= at_once:
        threads += 1
    return at_once, threads


def most_jobs_on_one(nodes: Sequence[NodeCapacity], gpu: float, jobs: int | None) -> int:
    """Runs that share one memory at most: a GPU's, or a node's where runs are on the CPU."""
    if gpu:
        return _places_on_gpu(gpu)
    most = max((_places(node, 1, gpu) for node in nodes), default=1)
    return max(1, most if jobs is None else min(most, jobs))


def gpu_share(jobs: int | None, nodes: Sequence[NodeCapacity]) -> float:
    """The share of a GPU for each run by default: 1, or less where more jobs than GPUs are wanted.

    A whole number of runs shares a GPU, so that none is split unevenly.
    """
    gpus = sum(int(node.gpus) for node in nodes)
    if jobs is None or gpus == 0 or jobs <= gpus:
        return 1.0
    return 1.0 / -(-jobs // gpus)


def _places(node: NodeCapacity, threads: int, gpu: float) -> int:
    by_cores = int(node.cores // threads)
    if not gpu:
        return by_cores
    # Whole runs on each GPU: three runs of 0.4 don't share what is left of two GPUs.
    return min(by_cores, int(node.gpus) * _places_on_gpu(gpu))


def _places_on_gpu(gpu: float) -> int:
    # Ray counts in ten-thousandths of a GPU; the addition also keeps 1 / (1 / 3) from being 2.
    return int(1.0 / gpu + 1e-4)
