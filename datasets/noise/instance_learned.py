"""Instance-dependent noise that a network's doubts decide."""

from __future__ import annotations

import numpy as np

from datasets.interface import Labels
from datasets.noise.interface import DrawnImages, NoiseFacts
from datasets.noise.posterior import FromPosterior, flip_first


class InstanceLearned(FromPosterior):
    """The images that a network was most ready to take for another class get that class's label.

    Chen et al. 2021 (SEAL): a network learns from clean labels, and its probabilities of each training image are
    averaged over the epochs. An image's candidate is its most probable wrong class; the floor(rate * N) images with the
    most probable candidates get them. So the rate is exact, wrong labels are nested in it, each image has one wrong
    label that it can have, and no seed changes anything. Tables of BadLabel call this noise IDN, and others `instance`.
    """

    name = "instance-learned"
    aliases = ("seal",)
    summary = "the images that a network doubted most, each labelled as its most probable wrong class"
    source = "Chen et al. 2021 (SEAL, arXiv 2012.05458)"

    def convention(self, facts: NoiseFacts) -> str:
        return "by image (the most probable wrong class of a network)"

    def assign(self, images: DrawnImages) -> Labels:
        self.check(images)
        scores = self.drawn_scores(images)
        scores[np.arange(len(scores)), images.clean] = -np.inf
        return flip_first(images, self.checked_rate(images.rate), scores.argmax(axis=1), -scores.max(axis=1))
