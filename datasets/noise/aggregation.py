"""Answers of several annotators made one label an image: pure functions of `Answers`. NumPy only.

Whatever is left to chance takes one number of [0, 1) for each image, so labels depend on these and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.interface import Labels

Numbers = NDArray[np.float64]
EQUAL = 9
"""Posterior probabilities that agree to so many decimals are a tie."""
MOST_ROUNDS = 200
SETTLED = 1e-6
"""The rounds of Dawid-Skene end when no posterior probability moves by more."""
LEAST_COUNT = 0.01
"""Answers of each kind that every annotator counts as having given, so that what nobody saw isn't impossible."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers (A,) of `annotators` people to `samples` images, each image's after one another.

    `image`, `annotator` and `label` are int64 (A,).
    """

    image: Labels
    annotator: Labels
    label: Labels
    samples: int
    annotators: int

    @classmethod
    def of_columns(cls, columns: Sequence[Labels]) -> Answers:
        """From a column (N,) for each annotator, -1 where they gave no answer."""
        table = np.stack(columns, axis=1)
        image, annotator = np.nonzero(table >= 0)
        return cls(image.astype(np.int64), annotator.astype(np.int64), table[image, annotator], *table.shape)

    def columns(self) -> NDArray[np.int64]:
        """A row (N, annotators) for each image, -1 where an annotator gave no answer."""
        table = np.full((self.samples, self.annotators), -1, dtype=np.int64)
        table[self.image, self.annotator] = self.label
        return table

    def counts(self) -> NDArray[np.int64]:
        """The number of answers (N,) of each image."""
        return np.bincount(self.image, minlength=self.samples)


def majority(answers: Answers, classes: int, chance: Numbers) -> Labels:
    """The commonest answer (N,) of each image; among equally common ones each as likely. -1 without an answer."""
    image, label, votes = _votes(answers, classes)
    most = np.zeros(answers.samples, dtype=np.int64)
    np.maximum.at(most, image, votes)
    first = votes == most[image]
    return _choose(image[first], label[first], chance)


def any_answer(answers: Answers, chance: Numbers) -> Labels:
    """One answer (N,) of each image, each as likely; -1 without an answer."""
    return _choose(answers.image, answers.label, chance)


def any_wrong(answers: Answers, clean: Labels, chance: Numbers) -> Labels:
    """A wrong answer (N,) where an image has one, each wrong one as likely; else the right one. -1 without an answer.

    What CIFAR-10N calls "worse" (Wei et al. 2022, arXiv 2110.12088). Needs the clean labels (N,).
    """
    wrong = answers.label != clean[answers.image]
    chosen = _choose(answers.image[wrong], answers.label[wrong], chance)
    return np.where(chosen >= 0, chosen, np.where(answers.counts() > 0, clean, -1))


@dataclass(frozen=True, eq=False)
class Consensus:
    """What Dawid-Skene finds: posteriors (N, K), and each annotator's matrix (annotators, K, K), row the true class."""

    posterior: Numbers
    confusions: Numbers

    def labels(self, answers: Answers, chance: Numbers) -> Labels:
        """The likeliest class (N,) of each image, ties at random; -1 without an answer."""
        rounded = np.round(self.posterior, EQUAL)
        rounded[answers.counts() == 0] = np.nan
        image, label = np.nonzero(rounded == rounded.max(axis=1, keepdims=True))
        return _choose(image, label, chance)


def dawid_skene(answers: Answers, classes: int) -> Consensus:
    """Weigh annotators by what they confuse, without any true label: expectation and maximisation in turn.

    Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied Statistics
    28 (1979). Each annotator has a matrix P(answer | true class), and answers are independent given the true class. It
    starts from the shares of votes. ASSUMPTION: every annotator has given `LEAST_COUNT` answers of each kind besides.
    """
    image, label, votes = _votes(answers, classes)
    posterior = np.zeros((answers.samples, classes))
    posterior[image, label] = votes / answers.counts()[image]
    known = answers.counts() > 0
    given = answers.annotator * classes + answers.label
    confusions = np.empty((answers.annotators, classes, classes))
    for _ in range(MOST_ROUNDS):
        for true in range(classes):
            seen = np.bincount(given, posterior[answers.image, true], answers.annotators * classes)
            confusions[:, true, :] = seen.reshape(answers.annotators, classes) + LEAST_COUNT
        confusions /= confusions.sum(axis=2, keepdims=True)
        prior = posterior[known].mean(axis=0) if known.any() else np.full(classes, 1 / classes)
        with np.errstate(divide="ignore"):
            scores = np.tile(np.log(prior), (answers.samples, 1))
        logs = np.log(confusions)
        for true in range(classes):
            said = logs[answers.annotator, true, answers.label]
            scores[:, true] += np.bincount(answers.image, said, answers.samples)
        scores -= scores.max(axis=1, keepdims=True)
        updated = np.exp(scores)
        updated /= updated.sum(axis=1, keepdims=True)
        updated[~known] = 0.0
        moved = float(np.abs(updated - posterior).max(initial=0.0))
        posterior = updated
        if moved < SETTLED:
            break
    return Consensus(posterior, confusions)


@dataclass(frozen=True, eq=False)
class Quality:
    """What answers say about themselves, and what clean labels say about them where these are known.

    `answers` counts those of an image: {answers: images}. `agreement` is the share of pairs of answers to one image
    that are equal (None without a pair). By annotator: `given` answers, `estimated` accuracy by Dawid-Skene, `right`
    share by the clean labels (NaN without an answer; None where no label is known to be clean).
    """

    answers: Mapping[int, int]
    agreement: float | None
    given: NDArray[np.int64]
    estimated: Numbers
    right: Numbers | None


def describe_answers(answers: Answers, classes: int, clean: Labels | None = None) -> Quality:
    """How many answers images have, how far they agree, how good each annotator is."""
    counts = answers.counts()
    sizes, images = np.unique(counts, return_counts=True)
    _, _, votes = _votes(answers, classes)
    pairs = int((counts * (counts - 1)).sum())
    posterior = dawid_skene(answers, classes).posterior
    given = np.bincount(answers.annotator, minlength=answers.annotators)

    def share(of_answers: Numbers) -> Numbers:
        sums = np.bincount(answers.annotator, of_answers, answers.annotators)
        return np.where(given > 0, sums / np.maximum(given, 1), np.nan)

    right = None if clean is None else share((answers.label == clean[answers.image]).astype(np.float64))
    return Quality(
        answers=dict(zip(sizes.tolist(), images.tolist(), strict=True)),
        agreement=float((votes * (votes - 1)).sum() / pairs) if pairs else None,
        given=given,
        estimated=share(posterior[answers.image, answers.label]),
        right=right,
    )


def _votes(answers: Answers, classes: int) -> tuple[Labels, Labels, NDArray[np.int64]]:
    """(image, class, votes) of every class that an image was given, by image and then by class."""
    pairs, votes = np.unique(answers.image * classes + answers.label, return_counts=True)
    return pairs // classes, pairs % classes, votes


def _choose(image: Labels, label: Labels, chance: Numbers) -> Labels:
    """One of the labels (C,) of each image (C,), rising, each as likely by `chance` (N,); -1 (N,) where it has none."""
    counts = np.bincount(image, minlength=len(chance))
    starts = np.cumsum(counts) - counts
    chosen = np.full(len(chance), -1, dtype=np.int64)
    has = counts > 0
    chosen[has] = label[(starts + np.floor(chance * counts).astype(np.int64))[has]]
    return chosen
