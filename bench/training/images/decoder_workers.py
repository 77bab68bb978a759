"""Worker processes that read images ahead of their use, in chunks, so that several workers share a batch.

Read `DecoderWorkers.read` first. The workers are those of a PyTorch DataLoader whose sampler yields the requests.
"""

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
from datasets.interface import DataError
from datasets.samples import Pixels

CHUNK_BYTES = 2 << 20
"""Bytes that one worker reads at a time. Small, so that the first batch comes soon and shared memory isn't filled."""
CHUNKS_AHEAD = 2
"""Chunks that each worker reads ahead."""

Request = tuple[int, NDArray[np.int64]]
"""The number of a part, and positions in it."""


@dataclass(frozen=True)
class UnreadableImages:
    """Sent by a worker in place of images that can't be read."""

    reason: str


class PartSources(Dataset[Tensor | UnreadableImages]):
    """Images by request."""

    def __init__(self, parts: Sequence[Pixels]) -> None:
        self.parts = parts

    def __getitem__(self, request: Request) -> Tensor | UnreadableImages:
        number, rows = request
        try:
            return torch.from_numpy(self.parts[number][rows])
        except DataError as error:
            return UnreadableImages(str(error))


class ReadRequests(Sampler[Request]):
    """The requests of the next reading; set before each iteration of the loader."""

    def __init__(self) -> None:
        self.requests: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.requests


class DecoderWorkers:
    """At most `workers` processes for each reading in progress, reused by later ones; the first reading starts them.

    A reading that begins before another has ended gets processes of its own, since a DataLoader serves one at a time.
    """

    def __init__(self, parts: Sequence[Pixels], workers: int) -> None:
        self._sources = PartSources(parts)
        self._workers = workers
        sizes = [int(np.prod(part.shape[1:])) * part.dtype.itemsize for part in parts]
        self._chunks = [max(1, CHUNK_BYTES // max(1, size)) for size in sizes]
        self._loaders: list[DataLoader[Tensor | UnreadableImages]] = []
        self._idle: list[DataLoader[Tensor | UnreadableImages]] = []

    def read(self, part: int, indices: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """The samples of each index int64 (B,), as they are stored, in chunks. Indices are taken ahead of their turn.

        Raises DataError naming a file that can't be read, RuntimeError where a worker died.
        """
        sizes: deque[int] = deque()
        loader = self._idle.pop() if self._idle else self._start()
        try:
            assert isinstance(loader.sampler, ReadRequests)
            loader.sampler.requests = self._requests(part, indices, sizes)
            with _keep_child_handler():
                chunks = iter(loader)
            while (first := _next_chunk(chunks)) is not None:
                batch, missing = [first], sizes.popleft() - len(first)
                while missing > 0:
                    chunk = _next_chunk(chunks)
                    assert chunk is not None
                    batch.append(chunk)
                    missing -= len(chunk)
                yield batch
        finally:
            self._idle.append(loader)

    def close(self) -> None:
        """End every process. Nothing can be read afterwards."""
        for loader in self._loaders:
            iterator: Any = getattr(loader, "_iterator", None)
            if iterator is not None:
                # PyTorch ends persistent workers when the iterator is collected, which a traceback may delay
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
            # forked workers share arrays and lists of files with this process; they never use a GPU
            multiprocessing_context="fork" if sys.platform == "linux" else multiprocessing.get_start_method(),
            # its own, so that the loader takes no random number from the global state
            generator=torch.Generator(),
        )
        self._loaders.append(loader)
        return loader


def prepare_worker(parent: int, worker: int) -> None:
    """Ignore signals, which the run handles and ends its workers after; end with the run, however it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(parent)


@contextmanager
def _keep_child_handler() -> Iterator[None]:
    """Keep the process's handler of ended children while a loader starts.

    PyTorch's handler raises an error wherever the main thread is, which may hold a lock then. A worker's death is
    noticed all the same, a few seconds later, by the reading that waits for it.
    """
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)


def _next_chunk(chunks: Iterator[Tensor | UnreadableImages]) -> Tensor | None:
    """The next chunk, or None after the last one. Raises DataError and RuntimeError as `DecoderWorkers.read` does."""
    try:
        chunk = next(chunks, None)
    except (RuntimeError, OSError, EOFError) as error:  # the last two if it died while sending
        raise RuntimeError(
            f"a process that reads images ended ({' '.join(str(error).split())}). If memory ran out, type fewer --jobs"
        ) from error
    if isinstance(chunk, UnreadableImages):
        raise DataError(chunk.reason)
    return chunk
