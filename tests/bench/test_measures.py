"""Measures against scikit-learn and against what they are defined to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from bench import measures


@given(
    arrays(np.float64, 40, elements=st.integers(0, 8).map(float)),
    arrays(np.bool_, 40).filter(lambda wrong: 0 < wrong.sum() < 40),
)
def test_ranks_agree_with_scikit_learn_ties_included(scores: np.ndarray, wrong: np.ndarray) -> None:
    assert measures.area_under_roc(scores, wrong) == pytest.approx(roc_auc_score(wrong, scores))
    assert measures.average_precision(scores, wrong) == pytest.approx(average_precision_score(wrong, scores))


@pytest.mark.parametrize("wrong", [np.zeros(5, bool), np.ones(5, bool)])
def test_ranks_are_undefined_without_both_kinds(wrong: np.ndarray) -> None:
    scores = np.arange(5.0)
    assert measures.area_under_roc(scores, wrong) is None
    assert measures.average_precision(scores, wrong) is None


def test_training_fit_counts_each_kind_among_its_own() -> None:
    clean = np.array([0, 0, 1, 1, 2, 2])
    given_labels = np.array([0, 1, 1, 2, 0, 1])
    predictions = np.array([0, 1, 1, 1, 2, 0])
    fit = measures.training_fit(predictions, given_labels, clean)
    # wrong: positions 1, 3, 4, 5; predicted as given: 1; as the truth: 3, 4; right: positions 0, 2
    assert fit == {"memorised": 1 / 4, "corrected": 2 / 4, "learnt": 1.0}


def test_training_fit_without_noise_has_nothing_to_memorise() -> None:
    labels = np.array([0, 1, 2])
    assert measures.training_fit(labels, labels, labels) == {"memorised": None, "corrected": None, "learnt": 1.0}


@given(st.integers(0, 2**32 - 1))
def test_balanced_accuracy_agrees_with_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(4), generator.integers(0, 4, 30)])
    log_probabilities = np.log(generator.dirichlet(np.ones(4), len(labels))).astype(np.float32)
    found = measures.test_measures(log_probabilities, labels)
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
    assert measures.calibration_error(log_probabilities, labels) == pytest.approx(0.5, abs=1e-6)


def test_calibration_error_of_a_calibrated_forecast_is_small() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 20_000)
    labels = (generator.uniform(size=20_000) > confidence).astype(np.int64)
    log_probabilities = np.log(np.stack([confidence, 1 - confidence], axis=1))
    assert measures.calibration_error(log_probabilities, labels) < 0.02


def test_selector_quality_of_a_perfect_selector() -> None:
    clean, given_labels = np.array([0, 1, 2, 0]), np.array([0, 1, 0, 0])
    found = measures.selector_quality(np.array([0.1, 0.2, 0.9, 0.0]), given_labels == clean, given_labels, clean)
    assert found == {"auroc": 1.0, "average_precision": 1.0, "precision": 1.0, "recall": 1.0}


@given(arrays(np.int64, st.integers(0, 200), elements=st.integers(0, 999)))
def test_predictions_survive_packing(predictions: np.ndarray) -> None:
    assert (measures.unpack_predictions(measures.pack_predictions(predictions)) == predictions).all()
