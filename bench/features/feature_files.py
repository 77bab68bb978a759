"""The files in the cache folder that hold a data set's features: which there are, and what their folder is called.

No torch, so that planning can say what is there already. `FeatureFiles.of` is the entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from bench.features.block_files import BlockFiles
from bench.spec import canonical_json
from bench.spec.features import WEAK_VIEW, FeatureSettings
from bench.system.cache import cache_folder, cached_json
from bench.system.text import digest

EXTRACTION_VERSION = 1
"""Raised whenever the same images would get other features; runs are then told apart by a field of RunSpec as well."""
BLOCK_VIEWS = 256
"""Views of a block, about: a second of work of a quiet core, which is what a kill costs."""
FOLDER = "features"


@dataclass(frozen=True)
class ImageContent:
    """The images that features are of: the data set's content, what was done to them, and how many each part has.

    `seed` is that of a split whose parts are made anew for each seed (None: the parts are the same for all seeds).
    """

    data_sha256: str
    image_size: int | None
    unreadable_skipped: int
    parts: Mapping[str, int]
    seed: int | None = None


@dataclass(frozen=True)
class FeatureFiles:
    """The features of one data set by one backbone; `views` are the views of a sample by part."""

    settings: FeatureSettings
    source: ImageContent
    length: int
    views: Mapping[str, int]
    blocks: BlockFiles

    @classmethod
    def of(cls, settings: FeatureSettings, source: ImageContent, length: int, cache: Path | None = None) -> Self:
        """Those in `cache` (None: the cache folder); `length` is the number of features of an image."""
        described = {**asdict(settings), "weak_view": WEAK_VIEW if settings.views > 1 else None}
        del described["components"]
        question = {"version": EXTRACTION_VERSION, **described, **asdict(source), "length": length}
        # a part of test images alone needs no weak views; of one list that seeds split, every image may be trained on
        views = {part: 1 if part == "test" else settings.views for part in source.parts}
        shapes = {part: (count, views[part], length) for part, count in source.parts.items()}
        folder = features_folder(cache) / folder_name(question)
        return cls(settings, source, length, views, BlockFiles(folder, question, shapes, block_size(settings.views)))

    def reduced(self, fitted_on: str, cache: Path | None = None) -> BlockFiles:
        """Their principal components; `fitted_on` is a hash of the samples that they are fitted on."""
        count = self.settings.components or self.length
        question = {**self.blocks.question, "components": count, "fitted_on": fitted_on}
        shapes = {part: (samples, views, count) for part, (samples, views, _) in self.blocks.shapes.items()}
        return BlockFiles(features_folder(cache) / folder_name(question), question, shapes, self.blocks.block)

    @property
    def passes(self) -> int:
        """Views that go through the backbone."""
        return sum(count * self.views[part] for part, count in self.source.parts.items())

    @property
    def passes_left(self) -> int:
        """Those that haven't gone through it yet."""
        done = self.blocks.written()
        return self.passes - sum((block.stop - block.start) * self.views[block.part] for block in done)


def feature_length(settings: FeatureSettings, cache: Path | None = None) -> int:
    """The numbers that the backbone makes of an image. Only the first question about a backbone imports torch.

    Raises UsageError where it can't take images of this size.
    """

    def measure() -> int:
        from bench.features.backbone import measure_length

        return measure_length(settings.name, settings.size)

    question = [EXTRACTION_VERSION, version("timm"), settings.name, settings.size]
    return int(cached_json("feature-length", question, measure, folder=cache))


def check_fit(settings: FeatureSettings, weights: Path) -> None:
    """Raise UsageError where the weights of a file don't fit the backbone; cached by the file's hash."""

    def fit() -> bool:
        from bench.features.backbone import check_weights

        check_weights(settings.name, settings.size, weights)
        return True

    question = [EXTRACTION_VERSION, version("timm"), settings.name, settings.size, settings.weights_sha256]
    cached_json("features-fit", question, fit)


def features_folder(cache: Path | None) -> Path:
    """The folder of all features."""
    return (cache_folder() if cache is None else cache) / FOLDER


def folder_name(question: Mapping[str, Any]) -> str:
    """The folder's name for what it holds: the backbone, and a hash of everything."""
    backbone = str(question["backbone"]).partition(":")[2]
    return f"{backbone}-{digest(canonical_json(question))}"


def block_size(views: int) -> int:
    """The samples of a block."""
    return max(1, BLOCK_VIEWS // views)
