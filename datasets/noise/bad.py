"""An adversary's labels: the least plausible ones."""

from __future__ import annotations

import numpy as np

from datasets.interface import Labels
from datasets.noise.interface import DrawnImages, NoiseFacts
from datasets.noise.posterior import FromPosterior, flip_first


class BadLabels(FromPosterior):
    """The images get the labels that a network found least plausible, so that loss can't tell wrong from right.

    Zhang et al. 2024 (BadLabel): a network learns from clean labels, and the log-probabilities of each training image
    are added up over the epochs. An image's target is the wrong class with the smallest sum; the floor(rate * N) images
    with the smallest sums get theirs. The rate is exact, wrong labels are nested in it, and no seed changes anything.

    An adversary who knows the clean labels, nothing that happens by itself: boards show it under a heading of its own.
    Exact with a file that holds log-probabilities, summed or averaged; with mean probabilities, an approximation in
    which classes of probability 0 tie.
    """

    name = "bad"
    aliases = ("badlabel",)
    summary = "an adversary: the images with the least plausible wrong class, each labelled as it"
    source = "Zhang et al. 2024 (BadLabel, arXiv 2305.18377)"
    needs_logarithms = True
    is_adversary = True

    def convention(self, facts: NoiseFacts) -> str:
        return "by image (an adversary: the least plausible class of a network)"

    def assign(self, images: DrawnImages) -> Labels:
        self.check(images)
        scores = self.drawn_scores(images)
        scores[np.arange(len(scores)), images.clean] = np.inf
        return flip_first(images, self.checked_rate(images.rate), scores.argmin(axis=1), scores.min(axis=1))
