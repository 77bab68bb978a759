"""A data set of images -> the same with features in their place. Read `with_features` first.

Features that the cache has are opened; others are made, which takes long: `bench.planning` sees to it once, before any
run begins.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.features.block_files import Array, Block, BlockFiles
from bench.features.components import Components, fit_components
from bench.features.feature_files import FeatureFiles, ImageContent
from bench.spec.features import FeatureSettings
from bench.system.cache import cached_json
from bench.system.errors import UsageError
from datasets.arrays import feature_statistics
from datasets.interface import Data, DataError, Part, Progress, no_progress
from datasets.protocols import vector_protocol
from datasets.samples import Pixels, vector_shape
from datasets.selected import Selected, select

EXTRACTING, REDUCING = "extracting features", "principal components"
POOL = "all"
"""The part that holds all images, where a seed decides which are for training."""
Index = NDArray[np.int64]


@dataclass(frozen=True)
class FeatureOrigin:
    """Where a data set's features come from: what is made of each image, the file of weights, and the image data.

    `device` and `readers` (threads that read images) are those of an extraction, which may have to be made.
    `check`: compare the checksums of what is there.
    """

    settings: FeatureSettings
    weights: Callable[[], Path]
    length: int
    data_sha256: str
    image_size: int | None
    unreadable_skipped: int
    split_seed: int
    cache: Path | None = None
    device: str = "cpu"
    readers: int = 1
    progress: Progress = no_progress
    check: bool = False


@dataclass(frozen=True)
class ImageParts:
    """Images by the part that features are stored by, and the samples of the training and the test set among them."""

    images: Mapping[str, Pixels]
    train: tuple[str, Index]
    test: tuple[str, Index]
    seed: int | None


def with_features(data: Data, origin: FeatureOrigin) -> Data:
    """The data set with features float16 (N, V, D) of its images: V views for training, the plain one for testing.

    Features are normalised feature by feature, by the plain views of all training images; principal components by one
    common deviation, so that they keep their proportions.
    """
    parts = image_parts(data, origin.split_seed)
    counts = {name: len(images) for name, images in parts.images.items()}
    source = ImageContent(origin.data_sha256, origin.image_size, origin.unreadable_skipped, counts, parts.seed)
    files = FeatureFiles.of(origin.settings, source, origin.length, origin.cache)
    arrays = obtain(files.blocks, partial(extract, files, parts.images, origin), origin, EXTRACTING)
    blocks = files.blocks
    part, index = parts.train
    if origin.settings.components is not None:
        fitted_on = hashlib.sha256(part.encode() + index.tobytes()).hexdigest()[:16]
        blocks = files.reduced(fitted_on, origin.cache)
        arrays = obtain(blocks, partial(reduce, blocks, arrays, part, index), origin, REDUCING)
    train, (test_part, test_index) = arrays[part], parts.test
    mean, std = statistics(blocks, train, index, origin)
    shape = vector_shape(train)
    description = replace(
        data.description,
        image_shape=None,
        vectors=shape,
        protocol=vector_protocol(len(data.description.classes), shape.views),
        mean=None,
        std=None,
    )
    return replace(
        data,
        description=description,
        train=Part(select(train, index), data.train.labels),
        test=Part(select(arrays[test_part][:, :1], test_index), data.test.labels),
        mean=mean,
        std=std,
    )


def image_parts(data: Data, split_seed: int) -> ImageParts:
    """The images of a data set by the parts that features are stored by.

    Where each seed splits one list of images anew, that list is one part, so that its images are seen once.
    """
    train, test = data.train.images, data.test.images
    if not data.description.seeded_split:
        whole = np.arange(len(train)), np.arange(len(test))
        return ImageParts({"train": train, "test": test}, ("train", whole[0]), ("test", whole[1]), None)
    if isinstance(train, Selected) and isinstance(test, Selected) and train.source is test.source:
        return ImageParts({POOL: train.source}, (POOL, train.index), (POOL, test.index), None)
    whole = np.arange(len(train)), np.arange(len(test))
    return ImageParts({"train": train, "test": test}, ("train", whole[0]), ("test", whole[1]), split_seed)


MakeAll = Callable[[Callable[[int], None]], None]
"""Makes and writes all that is missing, and calls its argument with the number of samples that are there."""


def obtain(blocks: BlockFiles, make: MakeAll, origin: FeatureOrigin, what: str) -> Mapping[str, Array]:
    """The arrays of `blocks`, made first where they aren't there; damaged ones are made again, and said."""
    total = sum(samples for samples, _, _ in blocks.shapes.values())
    if origin.check:
        damaged = blocks.damaged()
        if damaged:
            from bench.system.console import print_note

            blocks.forget(damaged)
            which = f"{len(damaged)} of {len(blocks.blocks)} blocks"
            print_note(f"note: {which} of the features in {blocks.folder} are damaged, and are made again")
    if len(blocks.written()) < len(blocks.blocks):
        make(lambda done: origin.progress(what, done, total))
    return blocks.open()


def extract(
    files: FeatureFiles, images: Mapping[str, Pixels], origin: FeatureOrigin, report: Callable[[int], None]
) -> None:
    """Write the features that aren't there yet."""
    from bench.features.extraction import Extraction

    if any(pixels.shape[3] not in (1, 3) for pixels in images.values()):
        raise UsageError(
            "--features: a backbone takes images that are grey or have three colours, and these are others"
        )
    written = files.blocks.written()
    todo = [block for block in files.blocks.blocks if block not in written]
    following = dict(itertools.pairwise(todo))
    extraction: list[Extraction] = []

    def make(block: Block) -> Array:
        if not extraction:  # once this process has its turn, when nothing may be left to do
            device = torch.device(origin.device)
            extraction.append(Extraction(files.settings, origin.weights(), images, files.views, device, origin.readers))
        return extraction[0].features_of(block, following.get(block))

    try:
        files.blocks.complete(make, report)
    finally:
        for opened in extraction:
            opened.close()


def reduce(
    blocks: BlockFiles, features: Mapping[str, Array], part: str, index: Index, report: Callable[[int], None]
) -> None:
    """Write the principal components, fitted on the plain views of the samples `index` of a part."""
    count = next(iter(blocks.shapes.values()))[2]
    length = features[part].shape[2]
    if count > min(length, len(index)):
        raise DataError(
            f"--feature-components {count} is more than there can be: {len(index):,} training images with {length:,} "
            f"features each. Type {min(length, len(index))} at most"
        )
    fitted: list[Components] = []

    def make(block: Block) -> Array:
        if not fitted:
            fitted.append(fit_components(features[part], index, count))
        return fitted[0].project(features[block.part][block.start : block.stop])

    blocks.complete(make, report)


def statistics(
    blocks: BlockFiles, train: Array, index: Index, origin: FeatureOrigin
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each feature over the plain views of the samples `index`.

    Of principal components one deviation for all, the root of their mean variance.
    """

    def measure() -> list[tuple[float, ...]]:
        return list(feature_statistics(train, index))

    question = [blocks.question, hashlib.sha256(index.tobytes()).hexdigest()]
    mean, std = cached_json("feature-statistics", question, measure, folder=origin.cache)
    if origin.settings.components is not None:
        std = [float(np.sqrt(np.mean(np.square(std))))] * len(std)
    return tuple(mean), tuple(std)
