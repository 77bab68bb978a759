"""The steps of an augmentation of vectors: a stored view in place of the plain one, and features left out."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from bench.training.augmentation.steps import Draws, PixelStep, Size

BITS = 0xFFFFFFFF


class OtherView(PixelStep):
    """One of the stored views of each vector beside the plain one, uniformly; see VectorStore.other_view."""

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """ "view", uniform in [0, 1)."""
        return {"view": torch.rand(n, generator=generator)}


class FeatureDropout(PixelStep):
    """Each feature of a normalised vector is set to 0, its mean, with a probability of `percent`.

    Dropout of inputs (Srivastava et al. 2014, who keep a typical 0.8 of real-valued ones), as an augmentation as cutout
    is: the features that are left aren't scaled up (ASSUMPTION), so that a batch keeps the scale of plain vectors.

    Which features go is a hash of a number drawn for the vector and the feature's own number, since numbers for every
    feature of every vector of an epoch, drawn ahead, would take more memory than the vectors do.
    """

    def __init__(self, name: str, percent: int) -> None:
        super().__init__(name)
        self.share = percent / 100

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """ "dropout", int64 in [0, 2^32)."""
        return {"dropout": torch.randint(BITS + 1, (n,), generator=generator)}

    def normalised(self, images: Tensor, draws: Draws) -> Tensor:
        features = torch.arange(images.shape[1], device=images.device)
        hashed = hash_bits(hash_bits(draws["dropout"])[:, None] + features)
        return images.masked_fill_((hashed < int(self.share * (BITS + 1)))[:, :, None, None], 0.0)


def hash_bits(values: Tensor) -> Tensor:
    """A hash in [0, 2^32) of each number int64: two rounds of multiplication and shifted exclusive or."""
    values = values & BITS
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        values = ((values ^ (values >> shift)) * factor) & BITS
    return values ^ (values >> 16)
