"""A data set's vectors on the device: one tensor of floats, from which a batch is one gather.

A vector goes through training as an image of one position whose channels are its features: so everything that is done
to batches, and every network's interface, is the same.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor

from bench.system.errors import UsageError
from bench.training.images.image_store import ImageStore

FLOATS = (torch.float16, torch.float32)


class VectorStore(ImageStore):
    """Vectors float16 or float32 (N, V, D) on one device, with the normalisation of their data set.

    Of the V views of each sample the first is the plain one. `mean` and `std` hold one number a feature. The vectors
    stay in the type that they come in, and batches are float32. Raises UsageError where shapes or type don't fit.
    """

    def __init__(self, vectors: Tensor, mean: Sequence[float], std: Sequence[float]) -> None:
        if vectors.dtype not in FLOATS or vectors.dim() != 3:
            shape = tuple(vectors.shape)
            raise UsageError(
                f"vectors must be float16 or float32 of shape (N, V, D), not {vectors.dtype} of shape {shape}."
            )
        if not len(mean) == len(std) == vectors.shape[2]:
            raise UsageError(
                f"vectors have {vectors.shape[2]} features, but the normalisation has {len(mean)} means and {len(std)} "
                "standard deviations: give one of each per feature."
            )
        if min(std) <= 0:
            raise UsageError("standard deviations must be above 0.")
        self.height = self.width = 1
        self.size = (1, 1)
        self.channels = vectors.shape[2]
        self.device = self.index_device = vectors.device
        self.pad, self.mirrored = 0, False
        self.mean = torch.tensor(mean, dtype=torch.float32, device=vectors.device)
        self.scale = torch.tensor(std, dtype=torch.float64).reciprocal().to(vectors.device, torch.float32)
        self._set_images(vectors)

    def _set_images(self, images: Tensor) -> None:
        self.images, self.samples, self.views = images, len(images), images.shape[1]
        self.rows = images.flatten(0, 1)

    def with_images(self, samples: int, blocks: Iterable[Tensor], mirrored: bool = False) -> Self:
        """A store, on the same device, of `samples` other vectors, which come in blocks (n, V, D)."""
        remaining = iter(blocks)
        first = next(remaining)
        store = copy.copy(self)
        if len(first) == samples:
            store._set_images(first.to(self.device))
            return store
        vectors = torch.empty((samples, *first.shape[1:]), dtype=first.dtype, device=self.device)
        start = 0
        for block in itertools.chain([first], remaining):
            vectors[start : start + len(block)] = block
            start += len(block)
        store._set_images(vectors)
        return store

    def centre(self, index: Tensor, flipped: Tensor | None = None) -> Tensor:
        """The plain views of the vectors `index` (B,), unnormalised, (B, D)."""
        return self.rows.index_select(0, index if self.views == 1 else index * self.views)

    def other_view(self, index: Tensor, drawn: Tensor) -> Tensor:
        """One of the views beside the plain one of each vector `index` (B,), unnormalised, (B, D).

        `drawn` (B,) are uniform numbers in [0, 1) that choose it. Where there is no other view, the plain one.
        """
        if self.views == 1:
            return self.centre(index)
        others = self.views - 1
        number = (drawn * others).long().clamp_(max=others - 1)
        return self.rows.index_select(0, torch.add(number, index, alpha=self.views).add_(1))

    def normalise(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Vectors (B, D) -> normalised (B, D, 1, 1), which is in every memory format."""
        return (pixels - self.mean).mul_(self.scale).to(dtype)[:, :, None, None]
