"""Several annotators: aggregates, Dawid-Skene on crowds with known truth, and simulated people."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise import NoiseFacts, corrupt
from datasets.noise.aggregation import Answers, any_answer, any_wrong, dawid_skene, describe_answers, majority
from datasets.noise.annotators import Annotators
from datasets.noise.simulated_annotators import accuracies, simulate_answers
from datasets.randomness import uniforms

FACTS = NoiseFacts(classes=("a", "b", "c"), columns=("ann", "bob", "worker1", "worker2"))
CLEAN = np.array([0, 1, 2, 0, 1, 2])
COLUMNS = {
    "ann": np.array([0, 1, 2, 1, -1, -1]),
    "bob": np.array([0, 1, 0, 2, 2, -1]),
    "worker1": np.array([0, 0, 0, -1, -1, -1]),
    "worker2": np.array([1, -1, -1, -1, -1, 2]),
}


def labels(noise: Annotators, seed: int = 0) -> Labels:
    return corrupt(noise, CLEAN, FACTS, None, seed, columns=COLUMNS).labels


def tables() -> st.SearchStrategy[NDArray[np.int64]]:
    """Small tables (N, annotators) of answers of three classes, -1 where there is none."""
    sizes = st.tuples(st.integers(1, 8), st.integers(1, 5))
    return sizes.flatmap(
        lambda size: st.lists(
            st.lists(st.integers(-1, 2), min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0]
        ).map(lambda rows: np.array(rows, dtype=np.int64))
    )


@given(tables(), st.integers(0, 5))
def test_aggregates_choose_among_what_was_answered(table: NDArray[np.int64], seed: int) -> None:
    answers, chance = Answers.of_columns(list(table.T)), uniforms(seed, "chance", len(table))
    assert np.array_equal(answers.columns(), table)
    clean = np.arange(len(table)) % 3
    most, one, worse = majority(answers, 3, chance), any_answer(answers, chance), any_wrong(answers, clean, chance)
    best = dawid_skene(answers, 3).labels(answers, chance)
    for row, true, *chosen in zip(table, clean, most, one, worse, best, strict=True):
        given_ones = row[row >= 0]
        if not len(given_ones):
            assert chosen == [-1, -1, -1, -1]
            continue
        votes = np.bincount(given_ones, minlength=3)
        assert votes[chosen[0]] == votes.max() and votes[chosen[1]] > 0
        wrong = given_ones[given_ones != true]
        assert chosen[2] in wrong if len(wrong) else chosen[2] == true
        assert 0 <= chosen[3] < 3


def test_ties_are_broken_at_random_and_evenly() -> None:
    tied = [np.zeros(9000, dtype=np.int64), np.ones(9000, dtype=np.int64), np.full(9000, 2)]
    answers = Answers.of_columns(tied)
    for seed in range(2):
        chosen = majority(answers, 3, uniforms(seed, "chance", 9000))
        assert (np.abs(np.bincount(chosen) - 3000) < 5 * np.sqrt(9000 * 2 / 9)).all()
    noise = Annotators("ann,bob")
    assert {labels_of(noise, seed)[3] for seed in range(20)} == {1, 2}


def labels_of(noise: Annotators, seed: int) -> Labels:
    """The labels of the images that `noise` has answers for."""
    kept = noise.labelled(COLUMNS)
    kept = np.arange(len(CLEAN)) if kept is None else kept
    columns = {name: values[kept] for name, values in COLUMNS.items()}
    return corrupt(noise, CLEAN[kept], FACTS, None, seed, columns=columns).labels


def test_columns_by_name_and_pattern_and_images_without_an_answer() -> None:
    assert Annotators().labelled(COLUMNS) is None
    assert positions("ann, bob") == [0, 1, 2, 3, 4]
    assert positions("worker*") == [0, 1, 2, 5]
    assert np.array_equal(labels(Annotators())[:2], [0, 1])
    caption = corrupt(Annotators(), CLEAN, FACTS, None, 0, columns=COLUMNS).caption
    assert caption.startswith("majority of 4 annotators (ann, bob, worker1, ...), 0.")
    assert corrupt(Annotators("ann", {"by": "random"}), CLEAN[:3], FACTS, None, 0, columns=three()).realised_rate == 0
    worse = corrupt(Annotators("ann,worker1", {"by": "any-wrong"}), CLEAN[:3], FACTS, None, 0, columns=three())
    assert worse.labels.tolist() == [0, 0, 0]


def positions(names: str) -> list[int]:
    """The images that one of the columns has an answer for, where some have none."""
    kept = Annotators(names).labelled(COLUMNS)
    return [] if kept is None else kept.tolist()


def three() -> dict[str, Labels]:
    return {name: values[:3] for name, values in COLUMNS.items()}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("annn", "There is no label column 'annn'.*ann"),
        ("ann,z*", "There is no label column 'z"),
        ("0", "1 to 1,000 people"),
        ("100000", "1 to 1,000 people"),
    ],
)
def test_columns_that_are_none(typed: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labels(Annotators(typed))


def test_parameters_that_cannot_be() -> None:
    with pytest.raises(DataError, match=r"annotators\[by=majority\]"):
        Annotators(None, {"by": "mean"})
    with pytest.raises(DataError, match="simulated annotators only"):
        Annotators("ann", {"answers": 3})
    with pytest.raises(DataError, match="1 to 5 of 5"):
        Annotators("5", {"answers": 6})
    with pytest.raises(DataError, match="has no further ones"):
        corrupt(Annotators(), CLEAN, NoiseFacts(classes=FACTS.classes), None, 0)


def crowd(seed: int) -> tuple[Answers, Labels]:
    """400 images and 12 people, with gaps: four are good, four guess, four take two classes for each other.

    The true labels are known, so is what every annotator does.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    clean = draw.integers(0, 3, 400)
    good, guess = 0.85 * np.eye(3) + 0.05, np.full((3, 3), 1 / 3)
    swapped = np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    columns = []
    for kind in [good] * 4 + [guess] * 4 + [swapped] * 4:
        said = (draw.random(400)[:, None] > np.cumsum(kind[clean], axis=1)).sum(axis=1)
        columns.append(np.where(draw.random(400) < 0.8, said, -1))
    return Answers.of_columns(columns), clean


def test_dawid_skene_finds_who_confuses_what_where_a_majority_fails() -> None:
    answers, clean = crowd(1)
    chance = uniforms(0, "chance", 400)
    found = dawid_skene(answers, 3)
    by_vote = float((majority(answers, 3, chance) == clean).mean())
    by_model = float((found.labels(answers, chance) == clean).mean())
    assert by_vote < 0.8 and by_model > 0.97
    assert np.allclose(found.confusions.sum(axis=2), 1) and np.allclose(found.posterior.sum(axis=1), 1)
    assert np.abs(np.diagonal(found.confusions[:4], axis1=1, axis2=2) - 0.9).max() < 0.12
    assert (found.confusions[8:, 0, 1] > 0.65).all()
    quality = describe_answers(answers, 3, clean)
    assert quality.right is not None and np.abs(quality.estimated - quality.right).max() < 0.06


def test_agreement_and_answers_are_counted() -> None:
    answers = Answers.of_columns(list(COLUMNS.values()))
    quality = describe_answers(answers, 3)
    assert quality.answers == {1: 2, 2: 1, 3: 2, 4: 1}
    pairs = [
        row[first] == row[second]
        for row in answers.columns()
        for first, second in combinations(range(4), 2)
        if min(row[first], row[second]) >= 0
    ]
    assert quality.agreement == pytest.approx(np.mean(pairs))
    assert quality.given.tolist() == [4, 5, 3, 2] and quality.right is None


def test_simulated_people_are_as_good_as_those_of_cifar10n_and_images_hard_for_all() -> None:
    """Marginal accuracies, and the three-way agreement of people (0.598) rather than of independent errors (0.558)."""
    clean = np.arange(20000) % 10
    answers = simulate_answers(clean, 10, 40, 3, seed=1)
    assert (answers.counts() == 3).all()
    right = answers.label == clean[answers.image]
    assert float(right.mean()) == pytest.approx(0.8237, abs=0.012)
    wrong = 3 - np.bincount(answers.image, right).astype(int)
    assert np.bincount(wrong) / 20000 == pytest.approx([0.598, 0.296, 0.085, 0.021], abs=0.015)
    share = np.bincount(answers.annotator, right) / np.bincount(answers.annotator)
    assert np.abs(share - accuracies(40, 1)).max() < 0.03
    columns = answers.columns()
    assert columns.shape == (20000, 40) and ((columns >= 0).sum(axis=1) == 3).all()


def test_simulated_accuracies_have_the_quantiles_of_people() -> None:
    drawn = accuracies(500, seed=3)
    assert np.quantile(drawn, [0.05, 0.25, 0.5, 0.75, 0.95]) == pytest.approx(
        [0.767, 0.808, 0.823, 0.84, 0.88], abs=2e-3
    )
    assert drawn.mean() == pytest.approx(accuracies(5, seed=0).mean(), abs=0.01)


def test_batches_of_ten_are_answered_by_the_same_people() -> None:
    table = simulate_answers(np.arange(1000) % 4, 4, 30, 2, seed=0).columns() >= 0
    _, sizes = np.unique(table, axis=0, return_counts=True)
    assert (sizes % 10 == 0).all() and len(sizes) > 50


GOLDEN = {
    "majority": "f9e7b1592aea6b07",
    "dawid-skene": "f9de6f43244d3f67",
    "random": "0a43450ea536d720",
    "any-wrong": "700d215bd9d4e6b7",
}


@pytest.mark.parametrize("by", GOLDEN)
def test_golden_label_hashes(by: str) -> None:
    clean = np.arange(600) % 10
    facts = NoiseFacts(classes=tuple("abcdefghij"))
    assert corrupt(Annotators("7", {"by": by}), clean, facts, None, 4).sha256[:16] == GOLDEN[by]
