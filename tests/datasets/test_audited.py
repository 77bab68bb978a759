"""Audited test labels and people's opinions on test images: what counts, and whose they aren't."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from datasets.audited import DROPPED, FOLDER, _read, audited_labels, audited_where_it_fits
from datasets.cifar10 import Cifar10
from datasets.cifar100 import Cifar100
from datasets.interface import DataError, Labels, Options
from datasets.mnist import Mnist
from datasets.opinions import read_opinions

CHANGED = {"mnist": (10, 18), "cifar10": (18, 36), "cifar100": (318, 267)}
"""Corrected and dropped labels: with more than half of the votes, for CIFAR the counts of the audits' own page."""


def official_labels(audit: str) -> Labels:
    """Test labels that agree with the audit where it says something."""
    index, given, _ = _read(audit)
    labels = np.arange(10000, dtype=np.int64) % (100 if audit == "cifar100" else 10)
    labels[index] = given
    return labels


@pytest.mark.parametrize("audit", sorted(CHANGED))
def test_labels_change_where_people_said_so(audit: str) -> None:
    labels = official_labels(audit)
    untouched = labels.copy()
    audited = audited_labels(audit, labels, audit)
    assert (audited.corrected, audited.dropped) == CHANGED[audit]
    assert np.array_equal(labels, untouched)
    assert int((audited.labels == DROPPED).sum()) == audited.dropped
    assert int((audited.labels != labels).sum()) == audited.corrected + audited.dropped
    assert set(np.unique(audited.labels)) <= {DROPPED, *np.unique(labels)}


@pytest.mark.parametrize("audit", sorted(CHANGED))
@drawn(st.data())
def test_one_other_label_or_place_is_refused(audit: str, data: st.DataObject) -> None:
    labels, index = official_labels(audit), _read(audit)[0]
    place = index[data.draw(st.integers(0, len(index) - 1))]
    labels[place] = (labels[place] + 1) % 10
    with pytest.raises(DataError, match=rf"1 of {len(index):,} given labels differ \(first: test image {place}"):
        audited_labels(audit, labels, audit)
    assert audited_where_it_fits(audit, labels) is None


def test_another_order_and_a_shorter_test_set_are_refused() -> None:
    labels = official_labels("cifar10")
    for other in (labels[::-1], labels[:100]):
        with pytest.raises(DataError, match="leave out --test-labels"):
            audited_labels("cifar10", other, "cifar10")
        assert audited_where_it_fits("cifar10", other) is None
    assert audited_where_it_fits(None, labels) is None


def test_which_data_sets_have_an_audit(options: Options, cifar10_files: Path) -> None:
    coarse = Cifar100(options, None, {"coarse": True})
    audits = [data_set.audit for data_set in (Mnist(options), Cifar10(options), Cifar100(options), coarse)]
    assert audits == ["mnist", "cifar10", "cifar100", None]  # people voted on the fine classes
    assert Cifar10(options).load(0).audited is None  # ten test images aren't the official test set


def test_source_and_licence_lie_beside_the_votes() -> None:
    assert "Apache License" in (FOLDER / "LICENSE").read_text()
    assert "cleanlab/label-errors" in (FOLDER / "README.md").read_text()


def counts_of(labels: Labels) -> np.ndarray:
    counts = np.ones((len(labels), 10), dtype=np.int64)
    counts[np.arange(len(labels)), labels] = 40
    return counts


@pytest.mark.parametrize("folder", [".", "data", "cifar-10h/data"])
def test_opinions_lie_beside_the_data(folder: str, options: Options, cifar10_files: Path) -> None:
    assert options.root is not None
    assert Cifar10(options).load(0).opinions is None and Cifar10(options).notes() == ()
    target = options.root / folder / "cifar10h-counts.npy"
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target, counts_of(np.arange(10)))
    data_set = Cifar10(options)
    opinions = data_set.load(0).opinions
    assert opinions is not None and opinions.counts[3, 3] == 40 and len(opinions.sha256) == 64
    assert data_set.notes() == ()


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (counts_of(np.arange(10)[::-1]), "in another order: the commonest answer is the label of only 0%"),
        (counts_of(np.arange(9)), "9 x 10, and not how many people chose each class for each test image"),
        (counts_of(np.arange(10)) / 49, "float64 values"),
        (-counts_of(np.arange(10)), "int64 values"),
        (np.zeros((10, 10), np.int64), "some in each row"),
        (np.array([{"pickled": 1}], dtype=object), "may run any code"),
    ],
)
def test_other_counts_are_left_unused_with_the_reason(
    counts: np.ndarray, reason: str, options: Options, cifar10_files: Path
) -> None:
    assert options.root is not None
    np.save(options.root / "cifar10h-counts.npy", counts)
    assert Cifar10(options).load(0).opinions is None
    (note,) = Cifar10(options).notes()
    assert reason in note and note.startswith("people's opinions on test images are left unused: ")
    with pytest.raises(DataError):
        read_opinions(options.root / "cifar10h-counts.npy", np.arange(10), 10)
