"""Transition matrices estimated from probabilities of the *given* labels, where no clean label is known. NumPy only.

Both estimators take probabilities (N, K) of models that weren't fitted on the image itself, such as
`datasets.quick_model.cross_fitted` gives. Neither can be better than that model. The methods `forward-estimated` and
`confident-learning` do the same with a network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasets.interface import Labels
from datasets.noise.interface import Matrix

ANCHOR_QUANTILE = 0.97
"""ASSUMPTION: an anchor is the image at this quantile of confidence among those predicted as its class; Patrini et al.
take it among all images, which with many classes is one of another class."""


def anchor_points(probabilities: NDArray[np.float64]) -> Matrix:
    """T (K, K), row i the probabilities of the given labels of an image that is surely of class i.

    Patrini et al. 2017 (arXiv 1609.03683), section 4: an image that is of class i for certain, an anchor, has
    P(given j | image) = T_ij. A class that no image is predicted as keeps its labels.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    matrix = np.eye(classes)
    for each in range(classes):
        members = np.flatnonzero(predicted == each)
        if len(members):
            ordered = members[np.argsort(probabilities[members, each], kind="stable")]
            matrix[each] = probabilities[ordered[round(ANCHOR_QUANTILE * (len(ordered) - 1))]]
    matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix


def confident_joint(probabilities: NDArray[np.float64], labels: Labels) -> Matrix:
    """T (K, K) from counts of given labels (N,) by confidently predicted classes.

    Northcutt et al. 2021 (arXiv 1911.00068), section 3: an image counts as of class j where its probability of j is at
    least the mean of j among images labelled j; of several such classes it is the likeliest. Counts of a given label
    are then scaled to the number of images that have it. A class that nothing counts for keeps its labels.
    """
    classes = probabilities.shape[1]
    given = np.bincount(labels, minlength=classes)
    own = np.bincount(labels, probabilities[np.arange(len(labels)), labels], classes)
    thresholds = np.where(given > 0, own / np.maximum(given, 1), np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    true, sure = confident.argmax(axis=1), confident.max(axis=1) >= 0
    counts = np.bincount(labels[sure] * classes + true[sure], minlength=classes**2).reshape(classes, classes)
    seen = counts.sum(axis=1, keepdims=True)
    joint = counts / np.maximum(seen, 1) * given[:, None]
    sums = joint.sum(axis=0)
    return np.where(sums[:, None] > 0, joint.T / np.where(sums > 0, sums, 1.0)[:, None], np.eye(classes))
