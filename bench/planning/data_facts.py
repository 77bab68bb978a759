"""Facts that need the data: sizes, draws and noises.

Read `data_sizes` and `gather_noises` first. Sizes need a look at the images or labels, so they are cached by the data's
content hash: only the first plan on new data reads it.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.planning.column_facts import check_column_files
from bench.planning.facts import PlannedNoise
from bench.planning.given_labels import AS_GIVEN, NONE, are_labels_as_given
from bench.planning.noise_checks import check_posterior, is_rounded_in_total
from bench.planning.request import Request
from bench.planning.resolve_run import replicate_seeds
from bench.registry.timm_names import PREFIX
from bench.system import cache
from bench.system.errors import UsageError

if TYPE_CHECKING:
    from datasets.interface import DataSet, Description, Labels, Options, Progress
    from datasets.noise import Noise, NoiseFacts
    from datasets.samples import VectorShape


CACHE_VERSION = 5


@dataclass(frozen=True)
class MeasuredSizes:
    """Training images of each class, test images, image shape (height, width, channels), further label columns.

    `labelled` holds the training images of each class that a column has a label for, of the columns with gaps.
    `vectors` says what the samples are where they aren't images.
    """

    counts: tuple[int, ...]
    test: int
    image_shape: tuple[int, int, int]
    columns: tuple[str, ...]
    labelled: dict[str, tuple[int, ...]]
    vectors: VectorShape | None = None


def check_takes_vectors(model: str, vectors: VectorShape) -> None:
    """Raise UsageError where a model can't take samples that are vectors."""
    taking = models_for_vectors()
    if model not in taking:
        typed = " or ".join(f"--model {name}" for name in taking)
        raise UsageError(f"the model {model} is for images, and these samples are {vectors}. Type {typed}")


def models_for_vectors() -> list[str]:
    """The models that take samples that are vectors."""
    return [name for name, entry in registry.models().items() if entry["takes_vectors"]]


def check_image_size(model: str, classes: int, image_shape: tuple[int, int, int]) -> None:
    """Raise UsageError where a model of timm can't take these images; the project's own declare their smallest.

    Only building the model shows it, which takes seconds, so the answer is cached. The model is built on shapes alone,
    without memory for weights.
    """
    if not model.startswith(PREFIX):
        return

    def build_on_shapes() -> bool:
        import torch

        from bench.models import build

        height, width, channels = image_shape
        with suppress(NotImplementedError), torch.device("meta"):  # a layer without a shape rule
            build(model, classes, channels, (height, width))
        return True

    question = [CACHE_VERSION, version("timm"), model, classes, image_shape]
    cache.cached_json("fits", question, build_on_shapes)


def data_options(request: Request, progress: Progress | None = None) -> Options:
    """Options to open a request's data with: folder, download, image size, cache."""
    from datasets.interface import Options, no_progress

    return Options(
        root=None if request.data_root is None else Path(request.data_root),
        download=request.download,
        image_size=request.image_size,
        skip_unreadable=request.skip_unreadable,
        cache=cache.cache_folder(),
        progress=progress or no_progress,
    )


def open_requested_data(request: Request, progress: Progress | None = None) -> DataSet:
    """The data set that a request names, unread."""
    return registry.open_data_set(request.dataset, data_options(request, progress))


def recorded_data_set_name(text: str) -> str:
    """A data set's name as records hold it: no folders, and parameters only where they aren't the defaults."""
    from datasets.calls import written_call

    name, argument, values = registry.parse_data_set(text)
    parameters = registry.data_sets()[name]["parameters"]
    defaults = {item["name"]: item["default"] for item in parameters}
    call = written_call(name, values, defaults, [item["name"] for item in parameters if not item["recorded"]])
    return call if argument is None else f"{call}:{Path(argument).name}"


def data_sizes(data_set: DataSet, description: Description, sha256: str, image_size: int | None) -> MeasuredSizes:
    """The sizes of a data set, cached by its content hash."""
    from datasets.samples import VectorShape

    def measure() -> dict[str, Any]:
        import numpy as np

        outline = data_set.outline(0)

        def count(labels: Labels) -> tuple[int, ...]:
            return tuple(np.bincount(labels, minlength=len(description.classes)).tolist())

        in_files = dict(description.column_files)  # the content hash says nothing of these
        columns = {
            name: values for name in outline.columns if name not in in_files for values in [outline.columns[name]]
        }
        labelled = {name: count(outline.labels[values >= 0]) for name, values in columns.items() if (values < 0).any()}
        sizes = (count(outline.labels), outline.test, outline.image_shape, tuple(columns), labelled)
        return asdict(MeasuredSizes(*sizes, outline.vectors))

    stored = cache.cached_json("facts", [CACHE_VERSION, description.name, sha256, image_size], measure)
    height, width, channels = stored["image_shape"]
    return MeasuredSizes(
        counts=tuple(stored["counts"]),
        test=stored["test"],
        image_shape=(height, width, channels),
        columns=tuple(stored["columns"]),
        labelled={name: tuple(counts) for name, counts in stored["labelled"].items()},
        vectors=None if stored["vectors"] is None else VectorShape(**stored["vectors"]),
    )


def count_drawn_samples(
    sizes: MeasuredSizes, request: Request, data_set: DataSet, description: Description, sha256: str
) -> int:
    """Training images after the draw, the most of any noise; raises DataError where the draw is impossible."""
    import numpy as np

    from datasets.draw import draw_indices

    def count(counts: tuple[int, ...]) -> int:
        if request.train_size is None and request.imbalance is None:
            return sum(counts)
        labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        return len(draw_indices(labels, len(counts), request.train_size, request.imbalance, 0))

    if request.labels is not None:
        return count(sizes.counts)
    noises = [open_stated_noise(text, request, description) for text in request.noise]
    return max(map(count, {count_labelled(noise, sizes, data_set, sha256, request.image_size) for noise in noises}))


def count_labelled(
    noise: Noise, sizes: MeasuredSizes, data_set: DataSet, sha256: str, image_size: int | None
) -> tuple[int, ...]:
    """The training images (K,) of each class that a noise has a label for, where columns have gaps."""
    if not sizes.labelled or noise.argument not in ("NAME", "NAMES"):
        return sizes.counts
    if noise.argument == "NAME":
        return sizes.labelled.get(noise.argument_value, sizes.counts)

    def measure() -> list[int]:
        import numpy as np

        outline = data_set.outline(0)
        labelled = noise.labelled(outline.columns)
        labels = outline.labels if labelled is None else outline.labels[labelled]
        counts: list[int] = np.bincount(labels, minlength=len(sizes.counts)).tolist()
        return counts

    return tuple(cache.cached_json("facts", [CACHE_VERSION, sha256, image_size, noise.argument_value], measure))


def gather_noises(
    request: Request, data_set: DataSet, description: Description, sha256: str, sizes: MeasuredSizes
) -> tuple[PlannedNoise, ...]:
    """Every noise of a request, tried at each rate. Raises DataError where the data set rules a noise out."""
    if request.labels is not None:
        return (labels_as_noise(request, data_set, description, sha256),)
    noises = []
    for text in request.noise:
        noise = open_stated_noise(text, request, description)
        classes = known_facts(noise, request, description)
        rates: tuple[float | None, ...] = request.rate if noise.takes_rate else (None,)
        matrices = [noise.matrix(classes, rate) for rate in rates]
        if noise.reads_posterior:
            check_posterior(noise, request, data_set, description, sha256, rates)
        gives_matrix = all(matrix is not None for matrix in matrices)
        in_total = [
            rate for rate in rates if is_rounded_in_total(request, sizes.counts, noise.wrong_shares(classes, rate))
        ]
        typed = text if noise.is_known else noise.name
        noise_sha256 = registry.noise_hash(noise, classes, data_options(request))
        check_column_files(noise, classes, data_set, [sha256, noise_sha256])
        about = (noise.takes_rate, gives_matrix, noise_sha256, noise.is_known, noise.notes(classes))
        noises.append(PlannedNoise(typed, noise.recorded_name(), *about, frozenset(in_total)))
    return tuple(noises)


def known_facts(noise: Noise, request: Request, description: Description) -> NoiseFacts:
    """What a noise may know of the data set.

    Raises DataError where it goes by clean labels that nobody vouches for, or doesn't go with `--transition-matrix`.
    """
    from datasets.interface import DataError

    if noise.reads_confusions and are_labels_as_given(request, description):
        raise DataError(
            f"Noise {noise.recorded_name()!r} looks which classes are confused by clean labels, and nobody knows that "
            f"those of {description.name} are clean. If they are, add --labels-are-clean."
        )
    classes = len(description.classes)
    if request.transition_matrix is not None and noise.kept_classes(classes) != classes:
        raise DataError(
            f"Noise {noise.recorded_name()!r} leaves {noise.kept_classes(classes)} of {classes} classes, which "
            "--transition-matrix can't say. Leave it out."
        )
    return registry.facts_for(noise, description, request.dataset, data_options(request))


def open_stated_noise(text: str, request: Request, description: Description) -> Noise:
    """The noise that `text` names. On data whose labels nobody knows to be clean, `none` is `as-given`."""
    if registry.parse_noise(text)[0] == NONE and are_labels_as_given(request, description):
        text = AS_GIVEN
    return registry.open_noise(text)


def read_given_matrix(request: Request, description: Description) -> tuple[str | None, tuple[str, ...]]:
    """The hash of the file of `--transition-matrix`, and notes on it.

    Raises DataError where it holds no matrix for these classes.
    """
    from datasets.noise import NoiseFacts

    if request.transition_matrix is None:
        return None, ()
    noise, classes = registry.open_noise(f"matrix:{request.transition_matrix}"), NoiseFacts.of(description)
    noise.matrix(classes, None)
    return noise.file_hash(), noise.notes(classes)


def labels_as_noise(request: Request, data_set: DataSet, description: Description, sha256: str) -> PlannedNoise:
    """`--labels` as a noise. Raises DataError where its labels are for other data, another draw or another split."""
    from datasets.draw import draw_indices
    from datasets.noise.labels import load_labels
    from datasets.splits import split_name

    path = Path(str(request.labels))
    seed = replicate_seeds(request, request.seeds[0])["split_seed"]
    classes, clean = len(description.classes), data_set.outline(seed).labels
    drawn = draw_indices(clean, classes, request.train_size, request.imbalance, seed)
    split = split_name(description.seeded_split, seed)
    load_labels(path, classes, sha256, clean[drawn], drawn, len(clean), split, data_set.paths(seed))
    return PlannedNoise("labels", "labels", False, False, hashlib.sha256(path.read_bytes()).hexdigest())
