"""Confident learning by cleanlab: folds, which labels to prune, and what pruning does to the classes.

Northcutt et al., "Confident learning", JAIR 2021, arXiv 1911.00068. `labels` int64 (N,) are the given ones,
`probabilities` float (N, K) out-of-sample predictions.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)
"""cleanlab's ways to choose what is pruned."""


def stratified_folds(labels: Tensor, folds: int) -> Tensor:
    """The fold 0..folds-1 of each sample, int64 (N,): every folds-th sample of a class, class after class.

    Folds differ by one sample at most, in all and in each class. It is the same wherever the labels are.
    """
    place = torch.empty_like(labels)
    place[labels.argsort(stable=True)] = torch.arange(len(labels), device=labels.device)
    return place % folds


def self_confidence(labels: Tensor, probabilities: Tensor) -> Tensor:
    """The out-of-sample probability of each given label, (N,): cleanlab's label quality score."""
    return probabilities.gather(1, labels[:, None]).squeeze(1)


def kept_labels(labels: Tensor, probabilities: Tensor, filter_by: str) -> Tensor:
    """Which labels cleanlab leaves standing, bool (N,) on the device of `labels`; `filter_by` one of FILTERS.

    No class loses its last sample: where a filter would take all, the one with the highest self-confidence stays.
    With a single given class nothing is pruned, since nothing says what else a sample could be.
    """
    if not (labels != labels[0]).any():
        return torch.ones_like(labels, dtype=torch.bool)
    from cleanlab.filter import find_label_issues

    exact = probabilities.double()
    exact = exact / exact.sum(dim=1, keepdim=True)
    with warnings.catch_warnings():
        # it warns of every class of one sample, which it leaves alone
        warnings.simplefilter("ignore", UserWarning)
        # one job: its worker processes would be forked within a run's own
        issues = find_label_issues(labels.cpu().numpy(), exact.cpu().numpy(), filter_by=filter_by, n_jobs=1)
    kept = torch.as_tensor(~issues, device=labels.device)
    return kept | _last_of_its_class(labels, self_confidence(labels, probabilities), kept)


def _last_of_its_class(labels: Tensor, quality: Tensor, kept: Tensor) -> Tensor:
    """The first sample of the highest quality in each class that has lost all its samples, bool (N,)."""
    classes = int(labels.max()) + 1
    emptied = torch.bincount(labels[kept], minlength=classes) == 0
    highest = torch.full((classes,), -torch.inf, device=labels.device).scatter_reduce(
        0, labels, quality.float(), "amax"
    )
    place = torch.arange(len(labels), device=labels.device)
    candidates = torch.where(quality.float() == highest[labels], place, len(labels))
    first = torch.full((classes,), len(labels), device=labels.device).scatter_reduce(0, labels, candidates, "amin")
    return emptied[labels] & (place == first[labels])


def class_weights(labels: Tensor, kept: Tensor, classes: int) -> Tensor:
    """n_k / (kept samples of k), float32 (K,), 1 or more; 1 for a class without samples.

    So that a class that lost many samples weighs what it did: the official code's stand-in for 1 / p(given = k, true =
    k) relative to p(true = k).
    """
    before = torch.bincount(labels, minlength=classes)
    after = torch.bincount(labels[kept], minlength=classes)
    return torch.where(after > 0, before / after.clamp(min=1), 1.0).float()
