"""Transition matrices estimated without clean labels, against matrices that are known; the quick model behind them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from datasets import quick_model
from datasets.interface import Labels
from datasets.noise.drawing import draw_exact
from datasets.noise.estimation import anchor_points, confident_joint
from datasets.noise.interface import Matrix
from datasets.noise.matrices import flipped, symmetric
from datasets.quick_model import cross_fitted, reduce_images, softmax

KNOWN = {"sym": symmetric(4, 0.3), "pairs": flipped(4, ((0, 1), (2, 3)), 0.35), "none": symmetric(4, 0.0)}


def blobs(samples: int, seed: int, apart: float = 4.0) -> tuple[NDArray[np.float64], Labels, NDArray[np.float64]]:
    """Vectors (N, 1, 6) of four classes as Gaussian clouds, their classes, and the true P(class | vector)."""
    draw = np.random.Generator(np.random.PCG64(seed))
    clean = np.arange(samples) % 4
    centres = apart * np.eye(4, 6)
    vectors = centres[clean] + draw.normal(size=(samples, 6))
    return vectors[:, None, :], clean, softmax(-0.5 * ((vectors[:, None, :] - centres) ** 2).sum(axis=2))


def error(estimated: Matrix, known: Matrix) -> float:
    """The mean over rows of the probability that stands in the wrong place."""
    return float(np.abs(estimated - known).sum(axis=1).mean() / 2)


@pytest.mark.parametrize("name", KNOWN)
def test_both_find_a_known_matrix_from_true_probabilities(name: str) -> None:
    _, clean, posterior = blobs(4000, seed=0)
    given_labels = draw_exact(clean, KNOWN[name], 1)
    assert error(anchor_points(posterior @ KNOWN[name]), KNOWN[name]) < 0.01
    assert error(confident_joint(posterior @ KNOWN[name], given_labels), KNOWN[name]) < 0.03


@pytest.mark.parametrize("name", KNOWN)
def test_both_come_close_by_the_quick_model(name: str) -> None:
    vectors, clean, _ = blobs(1200, seed=0)
    given_labels = draw_exact(clean, KNOWN[name], 1)
    found = cross_fitted(vectors, given_labels, 4)
    right = float((given_labels == clean).mean())
    assert found.agreement == pytest.approx(right, abs=0.04)
    assert error(anchor_points(found.probabilities), KNOWN[name]) < 0.13
    assert error(confident_joint(found.probabilities, given_labels), KNOWN[name]) < 0.06


@given(
    st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=1, max_size=20),
    st.integers(0, 2**30),
)
def test_estimates_are_matrices_whatever_the_model_says(rows: list[list[float]], seed: int) -> None:
    probabilities = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    labels = (np.arange(len(rows)) + seed) % 3
    for matrix in (anchor_points(probabilities), confident_joint(probabilities, labels)):
        assert matrix.shape == (3, 3) and (matrix >= 0).all()
        assert np.abs(matrix.sum(axis=1) - 1).max() < 1e-9


def test_a_class_that_nothing_is_known_of_keeps_its_labels() -> None:
    probabilities = np.tile([0.7, 0.2, 0.1], (5, 1))
    assert anchor_points(probabilities)[2].tolist() == [0, 0, 1]
    assert confident_joint(probabilities, np.array([0, 0, 0, 1, 1]))[2].tolist() == [0, 0, 1]


def test_no_image_is_predicted_by_a_model_that_saw_its_label() -> None:
    """Labels without any sense can't be guessed: a model that had seen them would agree."""
    draw = np.random.Generator(np.random.PCG64(0))
    images = draw.integers(0, 256, (600, 6, 6, 3), dtype=np.uint8)
    found = cross_fitted(images, draw.integers(0, 4, 600), 4)
    assert found.agreement < 0.35
    assert np.array_equal(found.probabilities, cross_fitted(images, draw_again(), 4).probabilities)
    assert np.abs(found.probabilities.sum(axis=1) - 1).max() < 1e-9


def draw_again() -> Labels:
    """The labels of the test above."""
    draw = np.random.Generator(np.random.PCG64(0))
    draw.integers(0, 256, (600, 6, 6, 3), dtype=np.uint8)
    return draw.integers(0, 4, 600)


@pytest.mark.parametrize("samples", [0, 1, 2, 4])
def test_few_samples_are_no_error(samples: int) -> None:
    found = cross_fitted(np.zeros((samples, 5, 5, 1), np.uint8), np.zeros(samples, np.int64), 3)
    assert found.probabilities.shape == (samples, 3)


def test_large_sets_are_sampled_and_images_reduced_to_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_model, "MOST_SAMPLES", 300)
    samples = 1100
    images = np.broadcast_to(np.arange(samples, dtype=np.uint8)[:, None, None, None] % 2 * 200, (samples, 1, 1, 1))
    found = cross_fitted(images, np.arange(samples) % 2, 2)
    assert len(found.index) == 300 and found.agreement > 0.99
    assert "300 of 1,100 images" in found.describe()
    large = np.arange(30 * 25 * 2, dtype=np.float64).reshape(1, 30, 25, 2)
    rows = reduce_images(large)
    assert rows.shape == (1, 12 * 12 * 2) and rows[0, 0] == large[0, :2, :2, 0].mean()
