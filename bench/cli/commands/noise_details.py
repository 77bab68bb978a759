"""What `show noise` says of given labels: who answered and how well, and a matrix where nobody knows the clean ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.planning import data_facts
from bench.planning.request import Request
from bench.system.cache import cached_json
from bench.system.console import print_note
from bench.system.errors import quote_reason

if TYPE_CHECKING:
    from datasets.interface import DataSet
    from datasets.noise import Noise

ESTIMATE_VERSION = 1
"""Raised whenever the same labels would give other estimates."""


def describe_annotators(noise: Noise, data_set: DataSet, seed: int) -> dict[str, Any] | None:
    """How many answers images have, how far they agree, and each annotator's; None for noise without annotators.

    Shares are None where there is nothing to divide by. `estimated` accuracies are Dawid-Skene's, which knows no clean
    label; `right` are shares of answers that equal the label.
    """
    import numpy as np

    from datasets.noise import DrawnImages, NoiseFacts
    from datasets.noise.aggregation import describe_answers
    from datasets.noise.annotators import Annotators

    if not isinstance(noise, Annotators):
        return None
    outline, facts = data_set.outline(seed), NoiseFacts.of(data_set.describe())
    images = DrawnImages(outline.labels, facts, None, seed, outline.columns)
    quality = describe_answers(noise.answers(images), len(facts.classes), outline.labels)

    def share(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    assert quality.right is not None
    people = zip(
        noise.annotator_names(facts),
        quality.given.tolist(),
        quality.estimated.tolist(),
        quality.right.tolist(),
        strict=True,
    )
    return {
        "answers": {str(count): images for count, images in quality.answers.items()},
        "agreement": quality.agreement,
        "people": [
            {"name": name, "answers": answers, "estimated": share(estimated), "right": share(right)}
            for name, answers, estimated, right in people
        ],
    }


def estimate_matrices(request: Request, noise: Noise, sha256: str, labels_sha256: str) -> dict[str, Any] | None:
    """Transition matrices by two estimators and how they were had, for labels that nobody knows to be clean.

    None for other noise, and where the images can't be read: a note then says why. Cached by data and labels.
    """
    from datasets.interface import DataError

    if noise.is_known:
        return None
    seed = request.noise_seed or 0

    def measure() -> dict[str, Any]:
        from datasets.noise.estimation import anchor_points, confident_joint
        from datasets.quick_model import cross_fitted

        options = replace(data_facts.data_options(request), stream=True)
        data = registry.open_data_set(request.dataset, options).load(seed)
        labels = data.train.labels
        found = cross_fitted(data.train.images, labels, len(data.description.classes))
        return {
            "anchor_points": anchor_points(found.probabilities).tolist(),
            "confident_joint": confident_joint(found.probabilities, labels[found.index]).tolist(),
            "agreement": found.agreement,
            "by": found.describe(),
        }

    try:
        question = [ESTIMATE_VERSION, sha256, labels_sha256, request.image_size]
        return dict(cached_json("noise-estimates", question, measure, newest=256))
    except DataError as error:
        print_note(f"note: without the images no matrix can be estimated: {quote_reason(error)}")
        return None
