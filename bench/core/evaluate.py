"""Evaluation: a method's own prediction and its single networks, in large batches, outside the cost count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.images import Images
from bench.core.networks import CoreNetwork
from bench.core.pieces import Pieces
from bench.core.ranks import ALONE, Ranks
from bench.core.task import inference_batch
from methods.interface import Method

CACHE_BYTES = 64 << 20
"""Sets whose normalised images take less than this are normalised once, not each epoch."""


class EvaluationSet:
    """Images that are only ever looked at plainly, in order; of several processes each looks at its share."""

    def __init__(self, store: Images, ranks: Ranks = ALONE, pieces: Pieces | None = None) -> None:
        self.store = store
        self.pieces = pieces or Pieces()
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
def uncounted(networks: Sequence[CoreNetwork]) -> Iterator[None]:
    """Passes in here are the harness's measuring, not the method's cost."""
    meter = networks[0].meter
    before = replace(meter)
    yield
    meter.forward, meter.backward = before.forward, before.backward


@contextmanager
def evaluation_mode(networks: Sequence[CoreNetwork]) -> Iterator[None]:
    """Eval mode without gradients, uncounted."""
    for network in networks:
        network.module.eval()
    with uncounted(networks), torch.inference_mode():
        yield


def log_probabilities(method: Method, networks: Sequence[CoreNetwork], images: EvaluationSet) -> NDArray[np.float32]:
    """The method's own prediction: log-probabilities (n, K) float32."""
    if not len(images):
        return np.zeros((0, 1), np.float32)
    with evaluation_mode(networks):
        return images.each(partial(method.predict, networks)).float().cpu().numpy()


def single_predictions(networks: Sequence[CoreNetwork], images: EvaluationSet) -> list[NDArray[np.int64]]:
    """Predicted classes (n,) of each network on its own."""
    with evaluation_mode(networks):
        return [images.each(partial(_classes, network)).cpu().numpy() for network in networks]


def _classes(network: CoreNetwork, images: Tensor) -> Tensor:
    return network(images).argmax(dim=1)
