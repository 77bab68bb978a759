"""Test labels as people left them who looked at the doubtful ones again; the votes are in `datasets/audits/`.

Northcutt et al. 2021 (arXiv 2103.14749) had people vote on suspected test labels of MNIST, CIFAR-10 and CIFAR-100. What
wasn't suspected was never looked at: audited labels are better ones, not clean ones.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from datasets.interface import DataError, Labels

FOLDER = Path(__file__).parent / "audits"
DROPPED = -1
VOTES = ("votes_given", "votes_guessed", "votes_neither", "votes_both")


@dataclass(frozen=True, eq=False)
class AuditedLabels:
    """The test labels (N,) after an audit, DROPPED for images that have no label any more, and how many changed."""

    labels: Labels
    corrected: int
    dropped: int


def audited_labels(audit: str, labels: Labels, data_set: str) -> AuditedLabels:
    """The test labels (N,) after the audit of this name, such as "mnist".

    A label stays where more than half of the votes are for it, becomes the guessed one where more than half are for
    that, and is dropped where neither is: so people rejected it without agreeing on another.

    Raises DataError where the audit's given labels aren't these: it is of other images, or of another order.
    """
    index, given, audited = _read(audit)
    inside = index < len(labels)
    wrong = ~inside
    wrong[inside] = labels[index[inside]] != given[inside]
    if wrong.any():
        first = np.flatnonzero(wrong)[0]
        here = int(labels[index[first]]) if inside[first] else "no image"
        raise DataError(
            f"The audit of {audit}'s test labels isn't one of {data_set} as it lies here: {int(wrong.sum()):,} of "
            f"{len(index):,} given labels differ (first: test image {index[first]}, {given[first]} there, {here} "
            "here). The test set must be the official one in its order; leave out --test-labels."
        )
    changed = labels.copy()
    changed[index] = audited
    return AuditedLabels(changed, int(((audited != given) & (audited >= 0)).sum()), int((audited == DROPPED).sum()))


def audited_where_it_fits(audit: str | None, labels: Labels) -> AuditedLabels | None:
    """The audited test labels; None without an audit, and of a test set that isn't the audited one."""
    if audit is None:
        return None
    try:
        return audited_labels(audit, labels, "this data set")
    except DataError:
        return None


@lru_cache(maxsize=4)
def _read(audit: str) -> tuple[Labels, Labels, Labels]:
    """(places in the test set, given labels, audited labels or DROPPED) of the images that were voted on."""
    with (FOLDER / f"{audit}.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    votes = np.array([[int(row[name] or 0) for name in VOTES] for row in rows], dtype=np.int64)
    index, given, guessed = (np.array([int(row[key]) for row in rows]) for key in ("index", "given", "guessed"))
    for_given, for_guessed = (votes[:, :2] * 2 > votes.sum(axis=1, keepdims=True)).T
    return index, given, np.where(for_given, given, np.where(for_guessed, guessed, DROPPED))
