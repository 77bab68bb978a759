"""Digits, and generated images."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from datasets.digits import Digits
from datasets.interface import Data, DataError, Options
from datasets.synthetic import MOST_CLASSES, Synthetic, appearance, class_name

GOLDEN = ["db2cf6b4deabccac", "ba56646a30535da0"]
GOLDEN_MASKS = "bfb41f6b2b576538"


def generated(**values: float) -> Data:
    return Synthetic(Options(), None, values).load(0)


def test_digits_values_are_scaled_exactly() -> None:
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    data = Digits(Options()).load(0)
    images = np.concatenate([data.train.images, data.test.images]).reshape(-1, 64)
    assert (len(data.train), len(data.test)) == (1400, 397)
    expected = np.floor(values * 255 / 16 + 0.5).astype(np.uint8)
    assert np.array_equal(np.sort(images, axis=0), np.sort(expected, axis=0))
    assert set(np.unique(images)) == {(v * 255 * 2 + 16) // 32 for v in range(17)}
    counts = np.bincount(labels.astype(np.int64))
    assert np.array_equal(np.bincount(data.train.labels) + np.bincount(data.test.labels), counts)
    assert np.all(np.abs(np.bincount(data.test.labels) - 397 * counts / 1797) < 1)


def test_digits_mean_and_std_are_the_declared() -> None:
    data = Digits(Options()).load(0)
    scaled = np.concatenate([data.train.images, data.test.images]) / 255
    assert data.mean == pytest.approx([scaled.mean()], abs=1e-4)
    assert data.std == pytest.approx([scaled.std()], abs=1e-4)


def test_digits_hash_is_that_of_the_table() -> None:
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    rows = np.column_stack([values, labels]).astype(np.uint8).tobytes()
    assert Digits(Options()).content_hash() == hashlib.sha256(b"digits 1\n" + rows).hexdigest()
    # on every machine and with every release of scikit-learn
    assert Digits(Options()).content_hash().startswith("8943b49984798fa0")


def test_digits_without_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Digits(Options())._rows
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert np.array_equal(Digits(Options())._rows, expected)


def test_synthetic_pixels_are_the_same_everywhere() -> None:
    data = generated(classes=20, size=16, train=40, test=20)
    found = [hashlib.sha256(part.images.tobytes()).hexdigest()[:16] for part in (data.train, data.test)]
    assert found == GOLDEN
    assert hashlib.sha256(data.train.masks.tobytes()).hexdigest()[:16] == GOLDEN_MASKS  # type: ignore[union-attr]


def test_synthetic_is_balanced_and_nested() -> None:
    small, large = generated(train=64 * 3 + 5), generated(train=64 * 5)
    assert np.array_equal(small.train.images, large.train.images[: len(small.train)])
    assert np.ptp(np.bincount(generated(classes=7, train=100).train.labels)) <= 1
    assert not np.array_equal(large.train.images[:10], large.test.images[:10])


def test_synthetic_object_stands_where_the_mask_says() -> None:
    clean = generated(clutter=0.0, train=200)
    assert clean.train.masks is not None
    share = clean.train.masks.mean(axis=(1, 2))
    assert share.min() > 0.03 and share.max() < 0.3
    large = generated(object=1.0, train=200).train.masks
    assert large is not None and large.mean() > 2.5 * share.mean()
    # the pixels on both sides of the outline differ more than elsewhere
    images, masks = clean.train.images.astype(int), clean.train.masks
    edge = masks[:, :, 1:] != masks[:, :, :-1]
    jump = np.abs(np.diff(images, axis=2)).sum(axis=-1)
    assert jump[edge].mean() > 2 * jump[~edge].mean()


def test_synthetic_clutter() -> None:
    def busy(clutter: float) -> float:
        data = generated(clutter=clutter, train=100)
        return float(np.abs(np.diff(data.train.images.astype(int), axis=2)).mean())

    assert busy(0.0) < busy(0.5) < busy(1.0)


def test_every_class_looks_different() -> None:
    looks = np.stack(appearance(np.arange(MOST_CLASSES)), axis=1)
    assert len(np.unique(looks, axis=0)) == MOST_CLASSES
    assert len({class_name(number) for number in range(MOST_CLASSES)}) == MOST_CLASSES


def test_synthetic_names_and_hashes_follow_what_is_changed() -> None:
    def of(**values: float) -> Synthetic:
        return Synthetic(Options(), None, values)

    assert of(classes=10).describe().name == "synthetic"
    assert of(size=16, classes=20).describe().name == "synthetic[classes=20,size=16]"
    assert of(clutter=1).content_hash() == of(clutter=1.0).content_hash() != of().content_hash()
    assert of(classes=49).describe().protocol.recipes_from == "cifar10"
    assert of(classes=50).describe().protocol.recipes_from == "cifar100"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"classes": 1}, r"classes=1\] is out of bounds. Type a classes from 2 to 200"),
        ({"classes": 201}, "out of bounds"),
        ({"size": 7}, "out of bounds"),
        ({"clutter": 1.5}, "clutter from 0 to 1"),
        ({"clutter": float("nan")}, "out of bounds"),
        ({"object": 0.0}, "object from 0.2 to 1"),
        ({"test": 0}, "out of bounds"),
        ({"classes": 20, "train": 10}, "Type train=20 or more"),
        ({"colour": 1}, "has no parameter colour"),
    ],
)
def test_bad_parameters(values: dict[str, float], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        Synthetic(Options(), None, values)


def test_synthetic_is_learnable_by_its_nearest_colours() -> None:
    # a linear view of masked colour alone separates colours; a network has shape and texture besides
    data = generated(classes=5, clutter=0.0, train=200, test=100)
    assert data.train.masks is not None and data.test.masks is not None

    def colours(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
        totals = (images * masks[..., None]).sum(axis=(1, 2)) / masks.sum(axis=(1, 2))[:, None]
        return totals / np.linalg.norm(totals, axis=1, keepdims=True)

    train, test = colours(data.train.images, data.train.masks), colours(data.test.images, data.test.masks)
    centres = np.stack([train[data.train.labels == number].mean(axis=0) for number in range(5)])
    guess = ((test[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1)
    assert (guess == data.test.labels).mean() > 0.9
