"""Worker processes that read images ahead of their use, in chunks that several of them share a batch by."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from bench.system.processes import die_with_parent
from datasets.interface import DataError, Pixels

CHUNK_BYTES = 2 << 20
"""What one worker reads at a time. Small, so that the first batch comes soon and shared memory isn't filled."""
CHUNKS_AHEAD = 2
"""Chunks that each worker reads ahead."""

Request = tuple[int, NDArray[np.int64]]


@dataclass(frozen=True)
class UnreadableImages:
    """What a worker sends in place of images that can't be had."""

    reason: str


class PartSources(Dataset[Tensor | UnreadableImages]):
    """Images by request: the number of a part, and positions in it."""

    def __init__(self, parts: Sequence[Pixels]) -> None:
        self.parts = parts

    def __getitem__(self, request: Request) -> Tensor | UnreadableImages:
        number, rows = request
        try:
            return torch.from_numpy(self.parts[number][rows])
        except DataError as error:
            return UnreadableImages(str(error))


class ReadRequests(Sampler[Request]):
    """What is to be read next: set anew before each iteration of the loader."""

    def __init__(self) -> None:
        self.requests: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.requests


class DecoderWorkers:
    """At most `workers` processes for each reading under way, kept for the next one. They start with the first.

    Where a reading begins before another has ended, it gets processes of its own, since a DataLoader serves one.
    """

    def __init__(self, parts: Sequence[Pixels], workers: int) -> None:
        self._sources = PartSources(parts)
        self._workers = workers
        self._chunks = [max(1, CHUNK_BYTES // max(1, int(np.prod(part.shape[1:])))) for part in parts]
        self._loaders: list[DataLoader[Tensor | UnreadableImages]] = []
        self._idle: list[DataLoader[Tensor | UnreadableImages]] = []

    def read(self, part: int, indices: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """For each index int64 (B,): its images uint8 (B, H, W, C), in pieces. Indices are taken ahead of their turn.

        Raises DataError naming a file that can't be read, RuntimeError where a worker died.
        """
        sizes: deque[int] = deque()
        loader = self._idle.pop() if self._idle else self._start()
        try:
            assert isinstance(loader.sampler, ReadRequests)
            loader.sampler.requests = self._requests(part, indices, sizes)
            with _undisturbed():
                chunks = iter(loader)
            while (first := _next(chunks)) is not None:
                pieces, left = [first], sizes.popleft() - len(first)
                while left > 0:
                    piece = _next(chunks)
                    assert piece is not None
                    pieces.append(piece)
                    left -= len(piece)
                yield pieces
        finally:
            self._idle.append(loader)

    def close(self) -> None:
        """End every process. Nothing can be read after it."""
        for loader in self._loaders:
            iterator: Any = getattr(loader, "_iterator", None)
            if iterator is not None:
                # PyTorch ends persistent workers where the iterator is collected, which a traceback may put off
                iterator._shutdown_workers()
        self._loaders.clear()
        self._idle.clear()

    def _requests(self, part: int, indices: Iterable[Tensor], sizes: deque[int]) -> Iterator[Request]:
        step = self._chunks[part]
        for index in indices:
            if len(index):
                sizes.append(len(index))
            rows = index.numpy()
            for start in range(0, len(rows), step):
                yield part, rows[start : start + step]

    def _start(self) -> DataLoader[Tensor | UnreadableImages]:
        loader = DataLoader(
            self._sources,
            batch_size=None,
            sampler=ReadRequests(),
            num_workers=self._workers,
            persistent_workers=True,
            prefetch_factor=CHUNKS_AHEAD,
            worker_init_fn=partial(prepare_worker, os.getpid()),
            # forked, the workers share arrays and lists of files with this process; they never touch a card
            multiprocessing_context="fork" if sys.platform == "linux" else multiprocessing.get_start_method(),
            # its own, so that the loader takes no random number from anybody
            generator=torch.Generator(),
        )
        self._loaders.append(loader)
        return loader


def prepare_worker(parent: int, number: int) -> None:
    """Leave signals to the run, which is told of them and ends its workers, and end with it however it ends."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    die_with_parent(parent)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """In here a loader starts, and the process's way with the end of a child stays what it was.

    PyTorch's own way is to raise an error wherever the main thread is, which may hold a lock then. That a worker died
    is seen all the same, a few seconds later, by whoever waits for it.
    """
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)


def _next(chunks: Iterator[Tensor | UnreadableImages]) -> Tensor | None:
    try:
        found = next(chunks, None)
    except (RuntimeError, OSError, EOFError) as error:  # the last two where one died while handing over
        raise RuntimeError(
            f"a process that reads images ended ({' '.join(str(error).split())}). If memory ran out, type fewer --jobs"
        ) from error
    if isinstance(found, UnreadableImages):
        raise DataError(found.reason)
    return found
