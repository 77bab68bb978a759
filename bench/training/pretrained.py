"""Weights that a run begins with: those of its networks, or of the frozen backbone whose features are its samples."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from bench.features.feature_data import FeatureOrigin, with_features
from bench.features.feature_files import feature_length
from bench.models.weights import WeightsFile
from bench.spec import RunSpec, Runtime
from bench.spec.features import FeatureSettings
from bench.system import encoder_package
from bench.system.errors import UsageError
from bench.training.content_check import check_weights
from datasets.interface import Data

FEATURES_NORMALISED = "each number by its mean and deviation over the plain views of all training images"
COMPONENTS_NORMALISED = (
    "principal components of the plain views of all training images, without labels, by one deviation for all of them"
)


def open_starting_weights(spec: RunSpec, runtime: Runtime) -> WeightsFile | None:
    """The weights that a run's networks start from; None where they are fresh, or are those of frozen features.

    Raises DataError where the file isn't the one that the run was planned for.
    """
    if spec.weights_sha256 is None or spec.features is not None:
        return None
    return open_weights(spec, runtime)


def open_weights(spec: RunSpec, runtime: Runtime) -> WeightsFile:
    """The file of weights that the spec names by its hash; of the encoder package, wherever that is installed here."""
    packaged = spec.weights_sha256 == encoder_package.SHA256 and runtime.weights_source is None
    path = encoder_package.find_encoder() if packaged else Path(str(runtime.weights_source))
    if path is None:
        raise UsageError(f"the package {encoder_package.PACKAGE} isn't here: {encoder_package.HOW_TO_INSTALL}")
    weights = WeightsFile(path)
    check_weights(spec, runtime, weights.sha256)
    return weights


def in_place_of_images(data: Data, spec: RunSpec, runtime: Runtime) -> Data:
    """The data with the features that the spec names; as it is where it names none.

    They are in the cache, where planning has put them. Where they aren't (another machine), they are made.
    """
    settings = FeatureSettings.of(spec)
    if settings is None:
        return data
    cache = None if runtime.cache is None else Path(runtime.cache)
    return with_features(
        data,
        FeatureOrigin(
            settings=settings,
            weights=partial(weights_path, spec, runtime),
            length=feature_length(settings, cache),
            data_sha256=spec.data_sha256,
            image_size=spec.image_size,
            unreadable_skipped=spec.unreadable_skipped,
            split_seed=spec.split_seed,
            cache=cache,
            device=runtime.device,
            readers=runtime.threads,
        ),
    )


def describe_features(spec: RunSpec, data: Data) -> dict[str, Any]:
    """The measures of a run on features: how many numbers stand for an image, and how they are normalised."""
    if spec.features is None or data.description.vectors is None:
        return {}
    reduced = spec.feature_components is not None
    return {
        "features": {
            "numbers": data.description.vectors.length,
            "normalisation": COMPONENTS_NORMALISED if reduced else FEATURES_NORMALISED,
        }
    }


def weights_path(spec: RunSpec, runtime: Runtime) -> Path:
    """The file of weights, checked against the spec."""
    return open_weights(spec, runtime).path
