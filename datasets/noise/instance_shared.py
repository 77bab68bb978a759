"""Instance-dependent noise: one matrix of random weights for all classes."""

from __future__ import annotations

from datasets.noise.by_image import ByImage


class InstanceDependentShared(ByImage):
    """As `instance`, but all classes have the same weights: scores x W, W (d, K), and the true class is left out.

    Cheng et al. 2021: images that look alike are mislabelled alike, whatever they are. For scale and size see
    `instance`.
    """

    name = "instance-shared"
    summary = "each label wrong at the rate, to a class that the same random weights for all choose by the pixels"
    source = "Cheng et al. 2021 (CORES, arXiv 2010.02347)"
    shared = True
