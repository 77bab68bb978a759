"""Inference on many images: large batches, cut into smaller chunks once memory has run out.

`log_probabilities` is a method's prediction on an `EvaluationSet`; `ChunkSize.apply` is the loop over chunks.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.system.memory_limits import INFERENCE_BATCH, give_pages_back, is_out_of_memory
from bench.training.distributed import SINGLE_PROCESS, ProcessGroup
from bench.training.images.image_store import Images
from bench.training.networks import TrainedNetwork
from methods.interface import Method


def inference_batch(device: torch.device, size: tuple[int, int]) -> int:
    """The number of images of `size` (height, width) that go through a network at once; fewer of large images."""
    return max(1, INFERENCE_BATCH[device.type] * 4096 // max(4096, size[0] * size[1]))


class ChunkSize:
    """The number of images that go through a network at once: no `limit` at first, a smaller one when memory runs out.

    Each image's result is its own, so chunks change only the last bits, by a library's order of sums.
    """

    def __init__(self) -> None:
        self.limit: int | None = None

    def apply(self, output: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """`output(*rows)`, computed in as few chunks of the first axis as memory allows, and joined.

        Raises what `output` raises where not even one row fits.
        """
        total, start = len(rows[0]), 0
        results: list[Tensor] = []
        while start < total:
            size = total - start if self.limit is None else min(self.limit, total - start)
            try:
                results.append(output(*(values[start : start + size] for values in rows)))
                start += size
                continue
            except Exception as error:
                if not is_out_of_memory(error) or size < 2:
                    raise
                # the frames of the failed call hold its tensors
                traceback.clear_frames(error.__traceback__)
            # after the except block, where the error no longer holds those frames
            release_memory(rows[0].device)
            self.limit = size // 2
        return results[0] if len(results) == 1 else torch.cat(results)


def release_memory(device: torch.device) -> None:
    """Free memory that nothing uses any more, so that other processes can have it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        give_pages_back()


CACHE_BYTES = 64 << 20
"""Sets whose normalised images take less than this are normalised once, not at each evaluation."""


class EvaluationSet:
    """Images to evaluate on, unaugmented and in order; each process of a group infers its shard of them."""

    def __init__(
        self, store: Images, group: ProcessGroup = SINGLE_PROCESS, chunk_size: ChunkSize | None = None
    ) -> None:
        self.store = store
        self.chunk_size = chunk_size or ChunkSize()
        self.group = group.for_count(len(store))
        height, width = store.size
        small = len(store) * height * width * store.channels * 4 <= CACHE_BYTES
        self._cached = list(self._load()) if small else None

    def __len__(self) -> int:
        return len(self.store)

    def batches(self) -> Iterator[Tensor]:
        """Normalised images of this process's shard in large batches."""
        return iter(self._cached) if self._cached is not None else self._load()

    def apply(self, output: Callable[[Tensor], Tensor]) -> Tensor:
        """`output(images)` of all images (n, ...), in order, in every process."""
        shard = torch.cat([self.chunk_size.apply(output, batch) for batch in self.batches()])
        return self.group.all_gather(shard, len(self))

    def _load(self) -> Iterator[Tensor]:
        size = inference_batch(self.store.device, self.store.size)
        rows = self.group.shard(torch.arange(len(self.store), device=self.store.index_device))
        batches = (rows[start : start + size] for start in range(0, len(rows), size))
        for store, places in self.store.prefetch(batches):
            yield store.plain(places)


@contextmanager
def without_counting(networks: Sequence[TrainedNetwork]) -> Iterator[None]:
    """Don't count the passes in this context: measuring isn't a cost of the method."""
    pass_counter = networks[0].pass_counter
    before = replace(pass_counter)
    yield
    pass_counter.forward, pass_counter.backward = before.forward, before.backward


@contextmanager
def evaluation_mode(networks: Sequence[TrainedNetwork]) -> Iterator[None]:
    """Put networks in eval mode, without gradients and without counting passes."""
    for network in networks:
        network.module.eval()
    with without_counting(networks), torch.inference_mode():
        yield


def log_probabilities(method: Method, networks: Sequence[TrainedNetwork], images: EvaluationSet) -> NDArray[np.float32]:
    """The method's own prediction: log-probabilities (n, K) float32."""
    if not len(images):
        return np.zeros((0, 1), np.float32)
    with evaluation_mode(networks):
        return images.apply(partial(method.predict, networks)).float().cpu().numpy()


def single_predictions(networks: Sequence[TrainedNetwork], images: EvaluationSet) -> list[NDArray[np.int64]]:
    """Predicted classes (n,) of each network on its own."""
    with evaluation_mode(networks):
        return [images.apply(network).argmax(dim=1).cpu().numpy() for network in networks]
