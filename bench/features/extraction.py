"""Images -> features, block by block. Read `Extraction.features_of` first: it makes the features of one block."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.features.backbone import FrozenBackbone
from bench.features.block_files import Array, Block
from bench.features.views import draw_view, plain_view, weak_view
from bench.spec.features import FeatureSettings
from bench.system.errors import UsageError
from datasets.interface import Images
from datasets.samples import Pixels
from datasets.selected import select

BATCH = {"cpu": 64, "cuda": 256}
"""Views that go through a backbone at once, by device type: more gain nothing on a CPU, whose caches are small."""


class Extraction:
    """Makes the features of a data set's parts; `images` are they by part, `views` the views that each part gets."""

    def __init__(
        self,
        settings: FeatureSettings,
        path: Path,
        images: Mapping[str, Pixels],
        views: Mapping[str, int],
        device: torch.device,
        readers: int,
    ) -> None:
        self.settings, self.images, self.views = settings, images, views
        self.backbone = FrozenBackbone(settings, path, device)
        self.device = device
        self.draws = {
            (part, view): draw_view(view, len(images[part]))
            for part, count in views.items()
            for view in range(1, count)
        }
        self._shares = max(1, readers)
        self._readers = ThreadPoolExecutor(self._shares, "reader")
        self._waiting: dict[Block, list[Future[Images]]] = {}

    def features_of(self, block: Block, following: Block | None) -> Array:
        """The features float16 (n, V, D) of a block; the images of the one that follows are read meanwhile."""
        images = self._take(block)
        if following is not None:
            self._read_ahead(following)
        views = self.views[block.part]
        made = [self._batch(block, images, start, views) for start in range(0, len(images), self._step(views))]
        features = np.concatenate(made)
        if not np.isfinite(features).all():
            raise UsageError(
                f"the features of {self.settings.backbone} aren't finite numbers: its weights can't be right, or it "
                "needs --precision fp32"
            )
        return features

    def close(self) -> None:
        """End the threads that read images."""
        self._readers.shutdown(wait=True, cancel_futures=True)

    def _step(self, views: int) -> int:
        """Images whose views go through the backbone at once."""
        return max(1, BATCH.get(self.device.type, 64) // views)

    def _batch(self, block: Block, images: Images, start: int, views: int) -> Array:
        pixels = torch.from_numpy(images[start : start + self._step(views)]).to(self.device)
        size, first = self.settings.size, block.start + start
        seen = [plain_view(pixels, size)]
        for view in range(1, views):
            draws = self.draws[block.part, view][first : first + len(pixels)]
            seen.append(weak_view(pixels, size, torch.from_numpy(draws).to(self.device)))
        features = self.backbone(torch.stack(seen, dim=1).flatten(0, 1))
        return features.view(len(pixels), views, -1).cpu().numpy()

    def _read_ahead(self, block: Block) -> None:
        """Ask for a block's images, each reader a share of them: files are decoded while the backbone computes."""
        shares = np.array_split(np.arange(block.start, block.stop), self._shares)
        source = self.images[block.part]
        self._waiting[block] = [self._readers.submit(read_images, source, share) for share in shares if len(share)]

    def _take(self, block: Block) -> Images:
        if block not in self._waiting:
            self._read_ahead(block)
        return np.concatenate([share.result() for share in self._waiting.pop(block)])


def read_images(source: Pixels, index: NDArray[np.int64]) -> Images:
    """The images `index` of a part, in memory of their own."""
    images: Images = np.ascontiguousarray(select(source, np.arange(len(source)))[index])
    return images
