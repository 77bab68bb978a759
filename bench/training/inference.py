"""Where memory runs out in inference: it goes on in smaller pieces."""

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
    """How many images of `size` (height, width) go through a network at once; fewer of large ones, for the memory."""
    return max(1, INFERENCE_BATCH[device.type] * 4096 // max(4096, size[0] * size[1]))


class ChunkSize:
    """How many images go through a network at once: all that come together, and fewer once memory has run out.

    Each image's result is its own, so pieces change no more than the last bits that a library's order of sums does.
    """

    def __init__(self) -> None:
        self.most: int | None = None

    def join(self, output: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """`output(*rows)` with the first axis cut into as many pieces as it takes, joined again.

        Raises what `output` raises where not even one row fits.
        """
        total, at = len(rows[0]), 0
        pieces: list[Tensor] = []
        while at < total:
            size = total - at if self.most is None else min(self.most, total - at)
            try:
                pieces.append(output(*(each[at : at + size] for each in rows)))
                at += size
                continue
            except Exception as error:
                if not is_out_of_memory(error) or size < 2:
                    raise
                traceback.clear_frames(error.__traceback__)
            release_memory(rows[0].device)
            self.most = size // 2
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def release_memory(device: torch.device) -> None:
    """Give memory that nothing uses any more back to whoever asks next."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        give_pages_back()


CACHE_BYTES = 64 << 20
"""Sets whose normalised images take less than this are normalised once, not each epoch."""


class EvaluationSet:
    """Images that are only ever looked at plainly, in order; of several processes each looks at its share."""

    def __init__(self, store: Images, ranks: ProcessGroup = SINGLE_PROCESS, pieces: ChunkSize | None = None) -> None:
        self.store = store
        self.pieces = pieces or ChunkSize()
        self.ranks = ranks.for_count(len(store))
        height, width = store.size
        small = len(store) * height * width * store.channels * 4 <= CACHE_BYTES
        self._ready = list(self._cut()) if small else None

    def __len__(self) -> int:
        return len(self.store)

    def batches(self) -> Iterator[Tensor]:
        """Normalised images of this process's share in large batches."""
        return iter(self._ready) if self._ready is not None else self._cut()

    def each(self, output: Callable[[Tensor], Tensor]) -> Tensor:
        """`output(images)` of all images (n, ...), in order, whichever process they were looked at by."""
        return self.ranks.gather(torch.cat([self.pieces.join(output, batch) for batch in self.batches()]), len(self))

    def _cut(self) -> Iterator[Tensor]:
        size = inference_batch(self.store.device, self.store.size)
        rows = self.ranks.mine(torch.arange(len(self.store), device=self.store.indexed_on))
        wanted = (rows[start : start + size] for start in range(0, len(rows), size))
        for store, places in self.store.ahead(wanted):
            yield store.plain(places)


@contextmanager
def without_counting(networks: Sequence[TrainedNetwork]) -> Iterator[None]:
    """Passes in here are the harness's measuring, not the method's cost."""
    meter = networks[0].meter
    before = replace(meter)
    yield
    meter.forward, meter.backward = before.forward, before.backward


@contextmanager
def evaluation_mode(networks: Sequence[TrainedNetwork]) -> Iterator[None]:
    """Eval mode without gradients, uncounted."""
    for network in networks:
        network.module.eval()
    with without_counting(networks), torch.inference_mode():
        yield


def log_probabilities(method: Method, networks: Sequence[TrainedNetwork], images: EvaluationSet) -> NDArray[np.float32]:
    """The method's own prediction: log-probabilities (n, K) float32."""
    if not len(images):
        return np.zeros((0, 1), np.float32)
    with evaluation_mode(networks):
        return images.each(partial(method.predict, networks)).float().cpu().numpy()


def single_predictions(networks: Sequence[TrainedNetwork], images: EvaluationSet) -> list[NDArray[np.int64]]:
    """Predicted classes (n,) of each network on its own."""
    with evaluation_mode(networks):
        return [images.each(partial(_classes, network)).cpu().numpy() for network in networks]


def _classes(network: TrainedNetwork, images: Tensor) -> Tensor:
    return network(images).argmax(dim=1)
