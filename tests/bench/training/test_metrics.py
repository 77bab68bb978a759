"""Measures against scikit-learn and against what they are defined to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from bench.training import metrics


@given(
    arrays(np.float64, 40, elements=st.integers(0, 8).map(float)),
    arrays(np.bool_, 40).filter(lambda wrong: 0 < wrong.sum() < 40),
)
def test_ranks_agree_with_scikit_learn_ties_included(scores: np.ndarray, wrong: np.ndarray) -> None:
    assert metrics.area_under_roc(scores, wrong) == pytest.approx(roc_auc_score(wrong, scores))
    assert metrics.average_precision(scores, wrong) == pytest.approx(average_precision_score(wrong, scores))


@pytest.mark.parametrize("wrong", [np.zeros(5, bool), np.ones(5, bool)])
def test_ranks_are_undefined_without_both_kinds(wrong: np.ndarray) -> None:
    scores = np.arange(5.0)
    assert metrics.area_under_roc(scores, wrong) is None
    assert metrics.average_precision(scores, wrong) is None


def test_training_fit_counts_each_kind_among_its_own() -> None:
    clean = np.array([0, 0, 1, 1, 2, 2])
    given_labels = np.array([0, 1, 1, 2, 0, 1])
    predictions = np.array([0, 1, 1, 1, 2, 0])
    fit = metrics.training_fit(predictions, given_labels, clean)
    # wrong: positions 1, 3, 4, 5; predicted as given: 1; as the truth: 3, 4; right: positions 0, 2
    assert fit == {"memorised": 1 / 4, "corrected": 2 / 4, "learnt": 1.0}


def test_outsiders_can_be_memorised_and_never_corrected() -> None:
    clean = np.array([-1, -1, 0, 0, 1, 1])
    given_labels = np.array([0, 1, 0, 1, 1, 0])
    predictions = np.array([0, 0, 0, 0, 1, 0])
    fit = metrics.training_fit(predictions, given_labels, clean)
    # wrong: both outsiders, 3 and 5; memorised: 0 and 5; of 3 and 5, which have a truth, 3 is corrected
    assert fit == {"memorised": 2 / 4, "corrected": 1 / 2, "learnt": 1.0}
    assert metrics.accuracy_inside(predictions, clean) == 3 / 4
    suspicion = np.array([0.9, 0.8, 0.1, 0.7, 0.2, 0.6])
    quality = metrics.selector_quality(suspicion, None, predictions, given_labels, clean)
    assert quality["auroc"] == quality["precision"] == quality["recall"] == 1.0
    assert quality["corrected"] == 1 / 2 and quality["damaged"] == 0.0
    only_open = metrics.training_fit(np.array([0, 1]), np.array([0, 1]), np.array([-1, 1]))
    assert only_open == {"memorised": 1.0, "corrected": None, "learnt": 1.0}


def test_training_fit_without_noise_has_nothing_to_memorise() -> None:
    labels = np.array([0, 1, 2])
    assert metrics.training_fit(labels, labels, labels) == {"memorised": None, "corrected": None, "learnt": 1.0}


@given(st.integers(0, 2**32 - 1))
def test_balanced_accuracy_agrees_with_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(4), generator.integers(0, 4, 30)])
    log_probabilities = np.log(generator.dirichlet(np.ones(4), len(labels))).astype(np.float32)
    found = metrics.test_measures(log_probabilities, labels)
    predictions = log_probabilities.argmax(axis=1)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predictions))
    assert found["worst_class_accuracy"] == pytest.approx(min(np.mean(predictions[labels == k] == k) for k in range(4)))
    assert found["negative_log_likelihood"] == pytest.approx(
        -np.mean(log_probabilities[np.arange(len(labels)), labels]), rel=1e-5
    )


def test_calibration_error_of_always_sure_and_half_right() -> None:
    log_probabilities = np.log(np.tile([1 - 1e-9, 1e-9], (30, 1)))
    labels = np.tile([0, 1], 15)
    # each equal-mass bin of two holds one right and one wrong prediction, all at confidence 1
    assert metrics.calibration_error(log_probabilities, labels) == pytest.approx(0.5, abs=1e-6)


def test_calibration_error_of_a_calibrated_forecast_is_small() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 20_000)
    labels = (generator.uniform(size=20_000) > confidence).astype(np.int64)
    log_probabilities = np.log(np.stack([confidence, 1 - confidence], axis=1))
    assert metrics.calibration_error(log_probabilities, labels) < 0.02


Labels = tuple[np.ndarray, np.ndarray]


def labels(least: int = 0, most: int = 40) -> st.SearchStrategy[Labels]:
    """Given and clean labels of four classes."""
    pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=least, max_size=most)
    return pairs.map(lambda found: (np.array([g for g, _ in found], int), np.array([c for _, c in found], int)))


def test_selector_quality_of_a_perfect_selector() -> None:
    clean, given_labels = np.array([0, 1, 2, 0]), np.array([0, 1, 0, 0])
    suspicion = np.array([0.1, 0.2, 0.9, 0.0])
    found = metrics.selector_quality(suspicion, given_labels == clean, clean, given_labels, clean)
    assert found == {
        "auroc": 1.0,
        "average_precision": 1.0,
        "auroc_noisy_classes": 1.0,  # class 1 neither gives nor gets wrong labels
        "average_precision_noisy_classes": 1.0,
        "precision": 1.0,
        "recall": 1.0,
        "corrected": 1.0,
        "damaged": 0.0,
    }


def test_what_is_corrected_and_damaged_is_counted_among_its_own() -> None:
    clean = np.array([0, 0, 0, 1, 1, 2])
    given_labels = np.array([0, 1, 1, 1, 1, 0])  # wrong: 1, 2, 5
    corrected = np.array([2, 0, 1, 1, 2, 2])  # of the wrong ones 1 and 5 put right, of the right ones 0 and 4 put wrong
    found = metrics.selector_quality(np.zeros(6), np.array([1, 1, 0, 1, 0, 0], bool), corrected, given_labels, clean)
    assert (found["corrected"], found["damaged"]) == (2 / 3, 2 / 3)
    assert (found["precision"], found["recall"]) == (2 / 3, 2 / 3)
    assert found["auroc"] == 0.5


@given(labels(), st.randoms(use_true_random=False))
def test_selector_quality_is_a_share_or_nothing_and_scores_without_a_set_keep_as_many_as_are_right(
    both: Labels, random: object
) -> None:
    given_labels, clean = both
    generator = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    suspicion = generator.integers(0, 5, len(clean)).astype(float)
    found = metrics.selector_quality(suspicion, None, generator.integers(0, 4, len(clean)), given_labels, clean)
    assert all(value is None or 0 <= value <= 1 for value in found.values())
    noise = np.mean(given_labels != clean) if len(clean) else 0
    undefined = {"auroc", "average_precision", "precision", "recall"}
    assert all((found[name] is None) == (noise in (0, 1)) for name in undefined)
    assert found["precision"] == found["recall"]
    if noise not in (0, 1):
        # what any set of this size keeps at least: all but the wrong ones, as far as they go
        kept = metrics.lowest_suspicion(suspicion, int((given_labels == clean).sum()))
        assert kept.sum() == (given_labels == clean).sum()
        assert not kept.any() or suspicion[kept].max() <= suspicion[~kept].min()


@given(labels(least=1))
def test_noisy_classes_hold_every_wrong_label_and_none_that_only_looks_away(both: Labels) -> None:
    given_labels, clean = both
    inside, wrong = metrics.in_noisy_classes(given_labels, clean), given_labels != clean
    assert inside[wrong].all()
    quiet = set(given_labels[~inside])
    assert not quiet & (set(given_labels[wrong]) | set(clean[wrong]))


def test_ranks_within_noisy_classes_are_those_of_their_samples_alone() -> None:
    clean = np.array([0, 0, 0, 1, 1, 2, 2])
    given_labels = np.array([0, 0, 1, 1, 1, 2, 2])  # 0 gives to 1; class 2 keeps to itself
    suspicion = np.array([0.1, 0.8, 0.7, 0.2, 0.3, 0.0, 0.0])
    found = metrics.selector_quality(suspicion, None, clean, given_labels, clean)
    part = clean != 2
    assert found["auroc_noisy_classes"] == pytest.approx(
        roc_auc_score(given_labels[part] != clean[part], suspicion[part])
    )
    assert found["auroc_noisy_classes"] < found["auroc"]
    everywhere = metrics.selector_quality(suspicion[:5], None, clean[:5], given_labels[:5], clean[:5])
    assert everywhere["auroc_noisy_classes"] is None


@given(arrays(np.int64, st.integers(0, 200), elements=st.integers(0, 999)))
def test_predictions_survive_packing(predictions: np.ndarray) -> None:
    assert (metrics.unpack_predictions(metrics.pack_predictions(predictions)) == predictions).all()


def test_only_verified_labels_count_where_no_truth_is_known() -> None:
    suspicion = np.array([0.9, 0.1, 0.8, 0.2, 0.5, 0.4])
    findings = np.array([0, 1, 0, 1, -1, -1], dtype=np.int8)
    found = metrics.verified_quality(suspicion, None, findings)
    assert (found["auroc"], found["average_precision"], found["precision"], found["recall"]) == (1, 1, 1, 1)
    assert (found["verified"], found["verified_wrong"]) == (4, 2)
    assert [found[name] for name in ("corrected", "damaged", "auroc_noisy_classes")] == [None] * 3
    assert found.keys() > metrics.selector_quality(suspicion, None, *[np.zeros(6, np.int64)] * 3).keys()
    # whatever is said of labels that nobody looked at changes nothing
    other = metrics.verified_quality(np.where(findings < 0, 9.0, suspicion), None, findings)
    assert other == found
    kept = metrics.verified_quality(suspicion, np.array([1, 1, 0, 0, 1, 1], bool), findings)
    assert (kept["precision"], kept["recall"]) == (0.5, 0.5)
    assert metrics.verified_quality(suspicion, None, np.full(6, -1, np.int8))["auroc"] is None


def test_audited_accuracy_leaves_dropped_labels_out() -> None:
    assert metrics.audited_accuracy(np.array([1, 2, 3, 4]), np.array([1, -1, 3, 0])) == 2 / 3
    assert metrics.audited_accuracy(np.array([1]), np.array([-1])) is None


@given(arrays(np.int64, (6, 4), elements=st.integers(0, 9)), st.integers(0, 2**32))
def test_nobody_is_nearer_to_people_than_their_own_shares(counts: np.ndarray, seed: int) -> None:
    """Cross-entropy is least, and the distance 0, for a prediction that is the people's answer."""
    counts = counts + np.eye(4, dtype=np.int64)[[0, 1, 2, 3, 0, 1]]
    shares = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        own = metrics.people_measures(np.log(shares), counts)
    others = np.random.Generator(np.random.PCG64(seed)).dirichlet(np.ones(4), 6)
    other = metrics.people_measures(np.log(others), counts)
    assert own["total_variation"] == pytest.approx(0, abs=1e-12)
    assert own["cross_entropy"] <= other["cross_entropy"] + 1e-12
    assert 0 <= other["total_variation"] <= 1


def test_people_measures_by_hand() -> None:
    found = metrics.people_measures(np.log(np.array([[0.5, 0.5], [0.25, 0.75]])), np.array([[4, 0], [2, 2]]))
    assert found["cross_entropy"] == pytest.approx((np.log(2) + np.log(16 / 3) / 2) / 2)
    assert found["total_variation"] == pytest.approx((0.5 + 0.25) / 2)
    assert metrics.people_measures(np.zeros((0, 2)), np.zeros((0, 2))) == {
        "cross_entropy": None,
        "total_variation": None,
    }
