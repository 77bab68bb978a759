"""The class that each class is most often taken for, for noise that goes by it (`asym:confusable`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.registry.lookup import open_data_set
from bench.system.cache import cached_json

if TYPE_CHECKING:
    from datasets.interface import AsymmetricPairs, Description, Options
    from datasets.noise import Noise, NoiseFacts

CONFUSIONS_VERSION = 1
"""Raised whenever the same data would give other pairs."""


def facts_for(noise: Noise, description: Description, data_set: str, options: Options) -> NoiseFacts:
    """What a noise may know of a data set (as typed); the pairs of confused classes only if it goes by them.

    They are then read from the cache, or found by a quick model, which reads images. Raises DataError where these can't
    be had.
    """
    from datasets.noise import NoiseFacts

    facts = NoiseFacts.of(description)
    if not noise.reads_confusions:
        return facts
    return replace(facts, confusable=find_confusions(data_set, options))


def find_confusions(data_set: str, options: Options) -> AsymmetricPairs:
    """(class, the class that it is most often taken for) of every class that has images, by cross-fitted predictions.

    Goes by the labels of the whole training set, of the first split where a data set has several, so that all
    replicates of a table have the same pairs.
    """
    from datasets.interface import AsymmetricPairs

    opened = open_data_set(data_set, replace(options, stream=True))

    def measure() -> dict[str, Any]:
        from datasets.quick_model import confused_pairs, cross_fitted

        data = opened.load(0)
        found = cross_fitted(data.train.images, data.train.labels, len(data.description.classes))
        return {"pairs": confused_pairs(found, data.train.labels), "by": found.describe()}

    question = [CONFUSIONS_VERSION, opened.content_hash(), options.image_size]
    stored = cached_json("confusions", question, measure, newest=256)
    return AsymmetricPairs(tuple((clean, noisy) for clean, noisy in stored["pairs"]), stored["by"])
