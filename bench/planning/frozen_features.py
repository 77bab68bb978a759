"""Frozen features of a request: what they will be, what of them is there, and making them before any run begins.

Read `plan_features` first, which looks at no image and, once it has planned a backbone, imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench import registry
from bench.features.feature_files import FeatureFiles, ImageContent, check_fit, feature_length
from bench.planning.request import Request
from bench.planning.resolve_run import replicate_seeds
from bench.planning.starting_weights import StartingWeights
from bench.spec.features import PREFIX, SIZE, VIEWS, FeatureSettings
from bench.system.errors import UsageError
from bench.system.text import format_bytes, format_large

if TYPE_CHECKING:
    from bench.planning.data_facts import MeasuredSizes
    from datasets.interface import DataSet, Description, Progress, Protocol
    from datasets.samples import VectorShape


@dataclass(frozen=True)
class PlannedFeatures:
    """The features that every run of a request trains on; `files` are where they are kept, for each split of their own.

    `vectors` says what the samples are, `seeds` the split seeds of the runs.
    """

    settings: FeatureSettings
    weights: StartingWeights
    length: int
    files: tuple[FeatureFiles, ...]
    vectors: VectorShape
    seeds: tuple[int, ...]

    def protocol(self, classes: int) -> Protocol:
        """The training settings of vectors, in the place of those of the images."""
        from datasets.protocols import vector_protocol

        return vector_protocol(classes, self.vectors.views)

    def describe(self) -> str:
        """A sentence on what making them takes, and on what is there already."""
        passes, left = (sum(getattr(files, name) for files in self.files) for name in ("passes", "passes_left"))
        images = sum(sum(files.source.parts.values()) for files in self.files)
        size = format_bytes(sum(files.blocks.nbytes for files in self.files))
        what = f"features: {self.settings.name} on {images:,} images, {format_large(passes)} passes, {size}"
        where = self.files[0].blocks.folder
        if not left:
            return f"{what}; they are in {where}"
        there = "none is made yet" if left == passes else f"{1 - left / passes:.0%} of them are made"
        return f"{what}; {there}, and the rest is made once, before the runs, in {where}"


def plan_features(
    request: Request,
    weights: StartingWeights,
    data_set: DataSet,
    description: Description,
    sha256: str,
    sizes: MeasuredSizes,
    precision: str,
) -> PlannedFeatures:
    """The features that a request asks for. `precision` is the resolved one of the extraction.

    Raises UsageError where samples are vectors already, the backbone can't take images of this size, or its weights
    don't fit.
    """
    from datasets.samples import VectorShape

    if sizes.vectors is not None:
        raise UsageError(f"--features: the samples of {description.name} are {sizes.vectors} already. Leave it out")
    if sizes.image_shape[2] not in (1, 3):
        raise UsageError(
            f"--features: a backbone takes images that are grey or have three colours, and these have "
            f"{sizes.image_shape[2]} channels"
        )
    settings = FeatureSettings(
        backbone=PREFIX + weights.model,
        weights_sha256=weights.sha256,
        size=request.feature_size or SIZE,
        views=request.feature_views or VIEWS,
        components=request.feature_components,
        precision="fp32" if precision == "fp32" else "bf16",
    )
    length = feature_length(settings)
    check_fit(settings, weights.path)
    count = settings.components or length
    most = min(length, sum(sizes.counts))
    if settings.components is not None and count > most:
        raise UsageError(
            f"--feature-components {count}: there are {length:,} features of {sum(sizes.counts):,} training images, so "
            f"{most:,} at most"
        )
    seeds = split_seeds(request, description.seeded_split)
    sources = image_sources(request, data_set, description, sha256, sizes, seeds)
    files = tuple(FeatureFiles.of(settings, source, length) for source in sources)
    for each in files:
        each.blocks.written()  # which finds a folder that holds something else
    return PlannedFeatures(settings, weights, length, files, VectorShape(count, settings.views, 2), seeds)


def refuse_other_images(request: Request) -> None:
    """Raise UsageError where a noise puts other images in the place of some, of which there are no features."""
    for text in request.noise if request.features is not None and request.labels is None else ():
        if registry.open_noise(text).donor:
            raise UsageError(
                f"--noise {text} puts other images in the place of some, and --features are of the data set's own. "
                "Leave one of the two out"
            )


def split_seeds(request: Request, seeded_split: bool) -> tuple[int, ...]:
    """The split seeds of a request's runs; only the first where all of them have the same test images."""
    seeds = tuple(dict.fromkeys(replicate_seeds(request, seed)["split_seed"] for seed in request.seeds))
    return seeds if seeded_split else seeds[:1]


def image_sources(
    request: Request,
    data_set: DataSet,
    description: Description,
    sha256: str,
    sizes: MeasuredSizes,
    seeds: Sequence[int],
) -> list[ImageContent]:
    """The images that features are made of; see `bench.features.feature_data.image_parts`, which does the same."""
    from datasets.listing import ListedImages

    skipped = data_set.report()
    about = (sha256, request.image_size, 0 if skipped is None else skipped.unreadable)
    train = sum(sizes.counts)
    if not description.seeded_split:
        return [ImageContent(*about, {"train": train, "test": sizes.test})]
    if isinstance(data_set, ListedImages):
        return [ImageContent(*about, {"all": train + sizes.test})]
    return [ImageContent(*about, {"train": train, "test": sizes.test}, seed) for seed in seeds]


def prepare_features(
    planned: PlannedFeatures, data_set: DataSet, device: str, readers: int, progress: Progress
) -> None:
    """Make the features that aren't there yet, and check those that are. `data_set` is prepared.

    Raises UsageError where there is no room for them.
    """
    from bench.features.feature_data import FeatureOrigin, with_features

    source = planned.files[0].source
    origin = FeatureOrigin(
        settings=planned.settings,
        weights=lambda: planned.weights.path,
        length=planned.length,
        data_sha256=source.data_sha256,
        image_size=source.image_size,
        unreadable_skipped=source.unreadable_skipped,
        split_seed=0,
        device=device,
        readers=readers,
        progress=progress,
        check=True,
    )
    for seed in planned.seeds:
        with_features(data_set.load(seed), replace(origin, split_seed=seed))
