"""The measures of a run, each with one definition, in NumPy: the one module that compares with clean labels.

`test_measures`, `training_fit` and `selector_quality` return entries of the record. Throughout: `log_probabilities`
float (n, K), `predictions`, `noisy_labels` and `clean_labels` int (n,). Shares are in [0, 1], and None of no samples.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BINS = 15
"""Equal-mass bins of the calibration error."""


def share_of_true(hits: Array) -> float | None:
    """The share of true entries, or None of an empty array."""
    return float(np.mean(hits)) if len(hits) else None


def accuracy(predictions: Array, labels: Array) -> float | None:
    """Share of predictions that equal the labels."""
    return share_of_true(predictions == labels)


def accuracy_inside(predictions: Array, clean_labels: Array) -> float | None:
    """Accuracy by clean labels, outsiders (-1), which no prediction is right on, left out."""
    inside = clean_labels >= 0
    return accuracy(predictions[inside], clean_labels[inside])


def training_fit(predictions: Array, noisy_labels: Array, clean_labels: Array) -> dict[str, float | None]:
    """Shares of training labels by their prediction, from eval-mode predictions on unaugmented training images.

    memorised: share of wrongly labelled images that are predicted as their noisy label;
    corrected: share of wrongly labelled images that are predicted as the truth, outsiders left out;
    learnt: share of rightly labelled images that are predicted right.

    An outsider (clean label -1) is of no class. Its label is wrong, so it may be memorised; it has no truth.
    """
    wrong = noisy_labels != clean_labels
    closed = wrong & (clean_labels >= 0)
    return {
        "memorised": share_of_true(predictions[wrong] == noisy_labels[wrong]),
        "corrected": share_of_true(predictions[closed] == clean_labels[closed]),
        "learnt": share_of_true(predictions[~wrong] == clean_labels[~wrong]),
    }


def class_accuracies(predictions: Array, labels: Array, classes: int) -> Array:
    """Accuracy of each class that has test images, float64 (<= K,)."""
    counts = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels[predictions == labels], minlength=classes)
    return hits[counts > 0] / counts[counts > 0]


def calibration_error(log_probabilities: Array, labels: Array) -> float | None:
    """Expected calibration error over 15 bins of equal mass, ordered by confidence.

    Equal mass, not equal width: most predictions of a trained network lie above 0.9, where equal widths have one bin.
    """
    if not len(labels):
        return None
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    right = log_probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(order, min(BINS, len(order)))
    return float(sum(abs(confidence[members].sum() - right[members].sum()) for members in bins) / len(order))


def test_measures(log_probabilities: Array, labels: Array) -> dict[str, float | None]:
    """Accuracies (all, balanced, worst class), negative log-likelihood (nats) and calibration on the clean test set."""
    predictions = log_probabilities.argmax(axis=1)
    by_class = class_accuracies(predictions, labels, log_probabilities.shape[1])
    return {
        "test_accuracy": accuracy(predictions, labels),
        "worst_class_accuracy": float(by_class.min()) if len(by_class) else None,
        "balanced_accuracy": float(by_class.mean()) if len(by_class) else None,
        "negative_log_likelihood": (
            float(-log_probabilities[np.arange(len(labels)), labels].astype(np.float64).mean()) if len(labels) else None
        ),
        "expected_calibration_error": calibration_error(log_probabilities, labels),
    }


def audited_accuracy(predictions: Array, audited_labels: Array) -> float | None:
    """Accuracy by test labels that people looked at again; those that are -1 by now count neither way."""
    kept = audited_labels >= 0
    return accuracy(predictions[kept], audited_labels[kept])


def people_measures(log_probabilities: Array, counts: Array) -> dict[str, float | None]:
    """How far a prediction is from what people said of the same test images: `counts` int (n, K), the answers.

    cross_entropy: -sum_k q_k log p_k in nats, for the people's shares q; at the least their entropy (Peterson et al.
    2019, arXiv 1908.07086, section 4). total_variation: sum_k |p_k - q_k| / 2, in [0, 1]. Both are means over images.
    """
    if not len(counts):
        return {"cross_entropy": None, "total_variation": None}
    logs = log_probabilities.astype(np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    chosen = np.where(counts > 0, logs, 0.0)  # what nobody chose adds nothing, even where the prediction excludes it
    return {
        "cross_entropy": float(-(shares * chosen).sum(axis=1).mean()),
        "total_variation": float(np.abs(np.exp(logs) - shares).sum(axis=1).mean() / 2),
    }


def area_under_roc(scores: Array, positive: Array) -> float | None:
    """Chance that a positive scores above a negative, ties counting half; None without both kinds."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: Array, positive: Array) -> float | None:
    """Precision averaged over the recall gained at each distinct score, from the top; None without both kinds."""
    positives = int(positive.sum())
    if not positives or positives == len(positive):
        return None
    _, inverse, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    hits = np.cumsum(np.bincount(inverse, weights=positive, minlength=len(counts)))
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / np.cumsum(counts)).sum() / positives)


def lowest_suspicion(suspicion: Array, count: int) -> Array:
    """The `count` samples of lowest suspicion, bool (n,); of equal ones the first."""
    kept = np.zeros(len(suspicion), bool)
    kept[np.argsort(suspicion, kind="stable")[:count]] = True
    return kept


def in_noisy_classes(noisy_labels: Array, clean_labels: Array) -> Array:
    """Whether each sample's noisy label is a class that wrong labels come from or go to, bool (n,).

    Every wrong label is among them; under asymmetric noise the rightly labelled samples of the other classes aren't,
    which their class alone tells from wrong ones.
    """
    wrong = noisy_labels != clean_labels
    return np.isin(noisy_labels, np.union1d(noisy_labels[wrong], clean_labels[wrong]))


def selector_quality(
    suspicion: Array, kept: Array | None, corrected: Array, noisy_labels: Array, clean_labels: Array
) -> dict[str, float | None]:
    """The quality of noise detection by `suspicion` (n,) (1 - clean probability, or the loss), and of its consequences.

    auroc, average_precision: of wrong labels against suspicion; with `_noisy_classes` the same among the samples of
    `in_noisy_classes`, None where those are all samples.
    precision: share of `kept` samples that are rightly labelled; recall: share of rightly labelled samples that are
    kept. `kept` None stands for as many samples of lowest suspicion as there are right labels, so that both are equal.
    corrected: share of wrongly labelled samples whose corrected label `corrected` int (n,) is the truth; damaged: share
    of rightly labelled ones whose corrected label isn't. Outsiders (clean label -1) are wrongly labelled; corrected
    leaves them out, since no label of theirs would be the truth.

    All but the last two are undefined (None) at 0 % and 100 % noise; corrected is at 0 %, damaged at 100 %.
    """
    wrong = noisy_labels != clean_labels
    closed = wrong & (clean_labels >= 0)
    noisy = in_noisy_classes(noisy_labels, clean_labels)
    part = not noisy.all()
    return {
        **detection_quality(suspicion, kept, wrong),
        "auroc_noisy_classes": area_under_roc(suspicion[noisy], wrong[noisy]) if part else None,
        "average_precision_noisy_classes": average_precision(suspicion[noisy], wrong[noisy]) if part else None,
        "corrected": share_of_true(corrected[closed] == clean_labels[closed]),
        "damaged": share_of_true(corrected[~wrong] != clean_labels[~wrong]),
    }


def detection_quality(suspicion: Array, kept: Array | None, wrong: Array) -> dict[str, float | None]:
    """The part of `selector_quality` that needs only to know which labels are `wrong`, bool (n,), and not the truth."""
    both = 0 < wrong.sum() < len(wrong)
    kept = lowest_suspicion(suspicion, int((~wrong).sum())) if kept is None else kept
    return {
        "auroc": area_under_roc(suspicion, wrong),
        "average_precision": average_precision(suspicion, wrong),
        "precision": share_of_true(~wrong[kept]) if both else None,
        "recall": share_of_true(kept[~wrong]) if both else None,
    }


def verified_quality(suspicion: Array, kept: Array | None, findings: Array) -> dict[str, float | None]:
    """The entries of `selector_quality` on the labels that people looked at again, and how many these are.

    `findings` int8 (n,): 1 for a label that was found right, 0 for a wrong one, below 0 where nobody looked. What needs
    the true class or all labels is None.
    """
    seen = findings >= 0
    return {
        **dict.fromkeys(("auroc_noisy_classes", "average_precision_noisy_classes", "corrected", "damaged")),
        **detection_quality(suspicion[seen], None if kept is None else kept[seen], findings[seen] == 0),
        "verified": int(seen.sum()),
        "verified_wrong": int((findings == 0).sum()),
    }


def pack_predictions(predictions: Array) -> str:
    """Predicted classes as base64 of compressed little-endian uint16."""
    return base64.b64encode(zlib.compress(predictions.astype("<u2").tobytes(), 9)).decode("ascii")


def unpack_predictions(text: str) -> NDArray[np.uint16]:
    """The inverse of `pack_predictions`."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<u2")
