"""Open-set noise in its three conventions: who is outside, what labels say, what is left of the data."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.interface import Data, DataError, Labels, Options
from datasets.noise import NoiseFacts, NoisyLabels, corrupt
from datasets.noise.open_set import OpenSet
from datasets.replaced import ReplacedImages, fit_images
from datasets.selected import select
from datasets.synthetic import Synthetic

CLASSES = 10
FACTS = NoiseFacts(classes=tuple("abcdefghij"))
CLEAN = np.arange(2000) % CLASSES
BY = {"by": "synthetic"}


def noisy(noise: OpenSet, rate: float, seed: int = 0, draw: str = "exact", clean: Labels = CLEAN) -> NoisyLabels:
    return corrupt(noise, clean, FACTS, rate, seed, draw)


def outside(result: NoisyLabels) -> Labels:
    assert result.clean is not None
    return np.flatnonzero(result.clean < 0)


@pytest.mark.parametrize("draw", ["exact", "multinomial"])
def test_held_out_classes_are_labelled_evenly_among_the_others(draw: str) -> None:
    result = noisy(OpenSet(), 0.3, draw=draw)
    assert np.array_equal(outside(result), np.flatnonzero(CLEAN >= 8))
    assert result.labels.max() == 7
    counts = np.bincount(result.labels[CLEAN >= 8], minlength=8)
    assert (np.abs(counts - 50) < 30).all()
    inside = CLEAN < 8
    assert np.mean(result.labels[inside] != CLEAN[inside]) == pytest.approx(0.3, abs=0 if draw == "exact" else 0.04)
    assert result.realised_rate == pytest.approx(0.2 + 0.8 * 0.3, abs=0.03)
    assert "the last 2 of 10 are outside" in result.caption and "of it 0.20 open and 0.2" in result.caption


def test_replaced_pixels_leave_labels_and_the_rest_is_redrawn_over_all_classes() -> None:
    clean = np.arange(20000) % CLASSES
    result = noisy(OpenSet(None, {"convention": "pixels", "share": 0.25, **BY}), 0.3, clean=clean)
    gone = outside(result)
    assert len(gone) / 20000 == pytest.approx(0.25, abs=0.015)
    assert np.array_equal(result.labels[gone], clean[gone])
    inside = np.setdiff1d(np.arange(20000), gone)
    closed = np.mean(result.labels[inside] != clean[inside])
    assert closed == pytest.approx(0.3 / 0.75 * 0.9, abs=0.001)
    assert result.realised_rate == pytest.approx(0.25 + 0.3 * 0.9, abs=0.01)


def test_replaced_images_are_as_many_as_the_rate_says() -> None:
    noise = OpenSet(None, {"convention": "images", **BY})
    for rate in (0.0, 0.1234, 0.5, 1.0):
        result = noisy(noise, rate)
        assert len(outside(result)) == round(rate * 2000)
        assert np.array_equal(result.labels, CLEAN) and result.realised_rate == pytest.approx(rate, abs=1e-3)
    assert "0.50 open and 0.00 closed" in noisy(noise, 0.5).caption


@pytest.mark.parametrize("parameters", [{}, {"convention": "pixels", **BY}, {"convention": "images", **BY}])
def test_rates_nest(parameters: dict[str, str]) -> None:
    noise = OpenSet(None, parameters)
    before = noisy(noise, 0.0, seed=3)
    for rate in (0.05, 0.2, 0.45, 0.8):
        after = noisy(noise, rate, seed=3)
        assert before.clean is not None and after.clean is not None
        assert np.isin(outside(before), outside(after)).all()
        wrong = before.labels != before.clean
        assert np.array_equal(after.labels[wrong], before.labels[wrong])
        before = after


GOLDEN = {"classes": "6ae2ae1c723f401400", "pixels": "c86bdc928e52395614", "images": "c24692bd6ac1817522"}


@pytest.mark.parametrize("convention", GOLDEN)
def test_golden_label_hashes(convention: str) -> None:
    noise = OpenSet(None, {"convention": convention, **({} if convention == "classes" else BY)})
    result = noisy(noise, 0.4, seed=5)
    assert result.clean is not None
    assert (result.sha256[:12] + str(int(np.flatnonzero(result.clean < 0).sum()))) == GOLDEN[convention]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"share": 0.0}, "above 0 and below 1"),
        ({"share": 1.0}, "above 0 and below 1"),
        ({"convention": "pixels"}, "needs by=DATASET"),
        ({"by": "synthetic"}, "takes no by="),
        ({"convention": "images", "share": 0.3, **BY}, "takes its share by --rate"),
        ({"convention": "svhn"}, "has no convention 'svhn'"),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        OpenSet(None, parameters)


def test_rates_and_classes_that_cannot_be() -> None:
    with pytest.raises(DataError, match=r"--rate 0\.8 or less"):
        noisy(OpenSet(None, {"convention": "pixels", **BY}), 0.9)
    with pytest.raises(DataError, match="fewer than two stay"):
        corrupt(OpenSet(), CLEAN % 2, NoiseFacts(classes=("a", "b")), 0.1, 0)


def test_records_name_no_folder() -> None:
    named = OpenSet(None, {"convention": "images", "by": "folder:/home/me/photos"}).recorded_name()
    assert named == "open-set[by=folder:photos,convention=images]"
    assert OpenSet().recorded_name() == "open-set"


def loaded(**parameters: int) -> Data:
    return Synthetic(Options(), parameters={"classes": 5, "size": 8, "train": 50, "test": 40, **parameters}).load(0)


def test_the_test_set_keeps_the_other_classes_alone() -> None:
    data = loaded()
    drawn = np.arange(50)
    left = OpenSet().changed_data(data, drawn, data.train.labels >= 4, None, 0)
    assert left.description.classes == data.description.classes[:4]
    kept = np.flatnonzero(data.test.labels < 4)
    assert np.array_equal(left.test.labels, data.test.labels[kept])
    assert np.array_equal(np.asarray(left.test.images), np.asarray(data.test.images[kept]))


def test_images_are_replaced_and_no_other_is_touched() -> None:
    data, donor = loaded(), loaded(size=12, train=6)
    drawn, gone = np.arange(10, 30), np.arange(20) % 2 == 0
    noise = OpenSet(None, {"convention": "images", **BY})
    left = noise.changed_data(data, drawn, gone, donor.train.images, 1)
    before, after = np.asarray(data.train.images[np.arange(50)]), left.train.images[np.arange(50)]
    changed = np.flatnonzero((before != after).any(axis=(1, 2, 3)))
    assert np.array_equal(changed, drawn[gone])
    fitted = fit_images(np.asarray(donor.train.images[np.arange(6)]), before.shape[1:])
    assert all((after[place] == fitted).all(axis=(1, 2, 3)).any() for place in changed)
    chosen = select(left.train.images, drawn)
    assert np.array_equal(np.asarray(chosen), after[drawn]) and chosen.dtype == np.uint8
    with pytest.raises(DataError, match="vectors"):
        ReplacedImages(np.zeros((3, 1, 5), np.float32), donor.train.images, drawn[:0], drawn[:0])


def test_other_sizes_and_channels_are_fitted() -> None:
    images = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    assert np.array_equal(fit_images(images, (4, 6, 3)), images)
    grey = fit_images(images, (2, 3, 1))
    assert grey.shape == (2, 2, 3, 1) and grey[0, 0, 0, 0] == round(images[0, 0, 0].mean())
    assert fit_images(grey, (8, 8, 3)).shape == (2, 8, 8, 3)
