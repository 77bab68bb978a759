"""Noise that depends on the image: what decides a label, at what rate, exactly the same everywhere, read once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise import ImageSource, NoiseFacts, NoisyLabels, corrupt
from datasets.noise.by_image import ByImage, box_means
from datasets.noise.flip_rates import flip_rate_quantiles, solve_location
from datasets.noise.instance import InstanceDependent
from datasets.noise.instance_shared import InstanceDependentShared
from datasets.noise.sym import Symmetric
from datasets.randomness import normal_quantiles, normals, uniforms

BOTH = (InstanceDependent, InstanceDependentShared)
TEN = NoiseFacts(tuple(f"class {each}" for each in range(10)))


def photographs(count: int, side: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    """Images (count, side, side, 3) that differ in brightness much more than in detail, as photographs do."""
    brightness = 40 + 150 * uniforms(seed, "brightness", count)[:, None, None, None]
    detail = 50 * (uniforms(seed, "detail", count * side * side * 3).reshape(count, side, side, 3) - 0.5)
    return np.clip(brightness + detail, 0, 255).astype(np.uint8)


def source_of(pixels: NDArray[Any], cache: Path | None = None) -> ImageSource:
    values = pixels / 255 if pixels.dtype == np.uint8 else pixels.astype(np.float64)
    mean, std = (tuple(map(float, each)) for each in (values.mean(axis=(0, 1, 2)), values.std(axis=(0, 1, 2))))
    return ImageSource(np.arange(len(pixels)), len(pixels), "d" * 64, None, pixels, mean, std, cache)


def drawn(
    noise: ByImage, clean: Labels, source: ImageSource, rate: float = 0.4, seed: int = 0, draw: str = "exact"
) -> NoisyLabels:
    return corrupt(noise, clean, TEN, rate, seed, draw, source=source)


def commonest(clean: Labels, labels: Labels) -> float:
    """Of a class's wrong labels the share that goes to its commonest one, the median over classes."""
    counts = np.bincount(clean * 10 + labels, minlength=100).reshape(10, 10)
    np.fill_diagonal(counts, 0)
    return float(np.median(counts.max(axis=1) / counts.sum(axis=1)))


@pytest.mark.parametrize(
    ("rate", "location"), [(0.05, -0.1131), (0.1, 0.0481), (0.2, 0.1937), (0.4, 0.4), (0.8, 0.8063)]
)
def test_location_gives_the_mean_asked_for(rate: float, location: float) -> None:
    assert solve_location(rate) == pytest.approx(location, abs=1e-4)
    flip_rates = np.linspace(0, 1, 100_001)
    below = flip_rate_quantiles(rate, flip_rates)
    assert np.mean(1 - below) == pytest.approx(rate, abs=1e-4)  # the mean of what lies in [0, 1]


@settings(deadline=None, max_examples=25)
@given(low=st.floats(0, 1), high=st.floats(0, 1))
def test_flip_rates_rise_with_the_rate(low: float, high: float) -> None:
    flip_rates = np.linspace(0, 1, 101)
    less, more = (flip_rate_quantiles(rate, flip_rates) for rate in sorted((low, high)))
    assert (more <= less + 1e-9).all()


def test_weights_are_standard_normal_and_exact() -> None:
    values = normal_quantiles()
    assert len(values) == 65536 and (np.diff(values) >= 0).all() and np.array_equal(values, -values[::-1])
    assert np.array_equal(values * 2.0**14, np.rint(values * 2.0**14))
    assert values.std() == pytest.approx(1, abs=2e-5) and np.mean(values**4) == pytest.approx(3, abs=2e-3)
    assert normals(3, "weights", 5).tolist() == normals(3, "weights", 9)[:5].tolist()
    assert len(set(normals(3, "weights", 40).tolist())) > 35


@pytest.mark.parametrize("cls", BOTH)
def test_labels_depend_on_the_image_within_a_class(cls: type[ByImage]) -> None:
    """As measured on CIFAR-10: raw pixels leave about three quarters to one class, standardised ones far less."""
    clean = np.arange(4000) % 10
    source = source_of(photographs(len(clean)))
    shares = {
        scale: np.mean([commonest(clean, drawn(cls(None, {"scale": scale}), clean, source, 1.0, seed).labels)
                        for seed in range(3)])
        for scale in ("raw", "standardised", "soft")
    }  # fmt: skip
    assert shares["raw"] > 0.5 > shares["standardised"] + 0.05
    assert shares["soft"] < shares["standardised"]


@pytest.mark.parametrize("scale", ["standardised", "raw"])
def test_shared_weights_make_alike_images_alike(scale: str) -> None:
    """One image under every class: with shared weights nearly all are called the same, else they aren't."""
    clean = np.arange(500) % 10
    pixels = np.repeat(photographs(50), 10, axis=0)
    source = source_of(pixels)
    alike = {}
    for cls in BOTH:
        labels = drawn(cls(None, {"scale": scale}), clean, source, 1.0).labels.reshape(50, 10)
        alike[cls.name] = np.mean([np.bincount(row).max() for row in labels])
    assert alike["instance-shared"] > 7 > 5 > alike["instance"]


@pytest.mark.parametrize("cls", BOTH)
def test_an_image_is_mislabelled_for_itself(cls: type[ByImage]) -> None:
    """Other images in other places change nothing, whatever the rate; another image in its place does."""
    clean = np.arange(600) % 10
    pixels = photographs(600)
    before = drawn(cls(), clean, source_of(pixels), 1.0).labels
    scaling = source_of(pixels)
    others = pixels.copy()
    others[::2] = photographs(300, seed=9)
    after = drawn(cls(), clean, replace(scaling, pixels=others), 1.0).labels
    assert np.array_equal(before[1::2], after[1::2])
    assert np.mean(before[::2] != after[::2]) > 0.3


@pytest.mark.parametrize("cls", BOTH)
def test_an_exact_draw_flips_the_images_that_other_noise_flips(cls: type[ByImage]) -> None:
    clean = np.repeat(np.arange(10), np.arange(55, 65))
    source = source_of(photographs(len(clean)))
    by_image = drawn(cls(), clean, source, 0.3, seed=2).labels
    assert np.array_equal(by_image != clean, corrupt(Symmetric(), clean, TEN, 0.3, 2).labels != clean)


def test_independent_draws_have_the_rate_on_average() -> None:
    clean = np.arange(2000) % 10
    source = source_of(photographs(2000, side=2))
    for rate in (0.05, 0.2, 0.5):
        often = [
            drawn(InstanceDependent(), clean, source, rate, seed, "multinomial").realised_rate or 0.0
            for seed in range(20)
        ]
        deviation = (rate * (1 - rate) / 40_000) ** 0.5
        assert abs(np.mean(often) - rate) < 4.9 * deviation  # a sound generator fails for one seed in a million
        assert len(set(often)) > 5


@pytest.mark.parametrize("cls", BOTH)
def test_scores_are_exact_in_any_order(cls: type[ByImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same labels whatever the size of blocks, and with pixels in float64 added up in another order."""
    from datasets.noise import by_image

    clean, pixels = np.arange(120) % 10, photographs(120, side=32)
    scores: list[NDArray[np.float64]] = []
    draw_targets = by_image.draw_targets

    def remember(values: NDArray[np.float64], true: Labels, numbers: NDArray[np.float64]) -> Labels:
        scores.append(values.copy())
        return draw_targets(values, true, numbers)

    monkeypatch.setattr(by_image, "draw_targets", remember)
    before = drawn(cls(), clean, source_of(pixels)).sha256
    whole = np.concatenate(scores)
    scores.clear()
    monkeypatch.setattr(by_image, "VALUES_AT_ONCE", 3 * 3072)
    assert drawn(cls(), clean, source_of(pixels)).sha256 == before
    assert np.array_equal(np.concatenate(scores), whole)


def test_large_images_are_scored_at_means_of_boxes() -> None:
    clean, pixels = np.arange(60) % 10, photographs(60, side=16)
    small = np.repeat(np.repeat(pixels, 2, axis=1), 2, axis=2)
    large = np.repeat(np.repeat(small, 3, axis=1), 2, axis=2)
    assert np.array_equal(box_means(large), small.astype(np.float64))
    scaling = source_of(small)
    labels = [drawn(InstanceDependent(), clean, replace(scaling, pixels=each)) for each in (small, large)]
    assert labels[0].sha256 == labels[1].sha256
    assert [each.caption for each in labels] == [
        "0.4 by image (pixels standardised), 0.40 overall",
        "0.4 by image (pixels standardised, scored at 32 x 32), 0.40 overall",
    ]
    odd = photographs(2, side=45)
    boxes = box_means(odd)
    assert boxes.shape == (2, 32, 32, 3) and boxes[0, 0, 0, 0] == odd[0, 0, 0, 0]
    assert boxes.min() >= odd.min() and boxes.max() <= odd.max()


def test_vectors_are_flat_numbers() -> None:
    """Standardised for each number: a number in other units changes nothing, constants are no error."""
    clean = np.arange(400) % 10
    numbers = np.concatenate([normals(1, "vectors", 400 * 12).reshape(400, 12), np.ones((400, 1))], axis=1)
    vectors = np.round(numbers, 2).astype(np.float32)[:, None, None, :]
    units = np.array([2.0**each for each in range(13)], dtype=np.float32)
    one, other = (drawn(InstanceDependent(), clean, source_of(each)) for each in (vectors, vectors * units))
    assert np.mean(one.labels == other.labels) > 0.99  # the constant number's standard deviation is rounding
    assert commonest(clean, one.labels) < 0.6
    assert one.caption == "0.4 by image (numbers standardised), 0.40 overall"
    assert drawn(InstanceDependent(), clean, source_of(vectors.astype(np.float16))).realised_rate == 0.4


class Counted:
    """Images that count how often each is read."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels, self.read = pixels, np.zeros(len(pixels), dtype=np.int64)
        self.shape = pixels.shape

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        np.add.at(self.read, index, 1)
        return self.pixels[index]


@pytest.mark.parametrize("cls", BOTH)
def test_images_are_read_once_for_all_rates_and_draws(cls: type[ByImage], tmp_path: Path) -> None:
    clean, pixels = np.arange(500) % 10, photographs(500)
    counted = Counted(pixels)
    source = replace(source_of(pixels, tmp_path), pixels=counted)
    cached = [
        drawn(cls(), clean, source, rate, draw=draw).sha256 for rate in (0.2, 0.4) for draw in ("exact", "multinomial")
    ]
    assert (counted.read == 1).all()
    assert cached == [
        drawn(cls(), clean, source_of(pixels), rate, draw=draw).sha256
        for rate in (0.2, 0.4)
        for draw in ("exact", "multinomial")
    ]
    drawn(cls(), clean, source, 0.0, seed=5)
    assert (counted.read == 1).all()  # nothing is wrong, so nothing is asked
    (kept,) = (tmp_path / "noise").iterdir()
    kept.write_bytes(kept.read_bytes()[:-30])
    assert drawn(cls(), clean, source).sha256 == cached[2]
    assert (counted.read == 2).all()


def test_what_is_kept_is_of_this_draw(tmp_path: Path) -> None:
    """Another seed, scale, data, draw of the data or split asks anew."""
    clean, pixels = np.arange(100) % 10, photographs(100)
    source = source_of(pixels, tmp_path)
    first, noise = drawn(InstanceDependent(), clean, source, 1.0).sha256, InstanceDependent()
    drawn(noise, clean, source, 1.0, seed=1)
    drawn(InstanceDependent(None, {"scale": "soft"}), clean, source, 1.0)
    drawn(InstanceDependentShared(), clean, source, 1.0)
    drawn(noise, clean, replace(source, data_sha256="e" * 64), 1.0)
    drawn(noise, clean, replace(source, split="seed 1"), 1.0)
    drawn(noise, clean, replace(source, index=np.arange(100)[::-1], pixels=pixels[::-1]), 1.0)
    drawn(noise, clean[::-1], source, 1.0)
    drawn(noise, clean, replace(source, mean=(0.1, 0.2, 0.3)), 1.0)
    assert len(list((tmp_path / "noise").iterdir())) == 9
    assert drawn(noise, clean, source, 1.0).sha256 == first


def test_what_cannot_be() -> None:
    clean = np.arange(20) % 10
    with pytest.raises(DataError, match=r"instance\[scale=standardised\] or .*raw"):
        InstanceDependent(None, {"scale": "bytes"})
    with pytest.raises(DataError, match="reads the images"):
        corrupt(InstanceDependent(), clean, TEN, 0.4, 0)
    with pytest.raises(DataError, match="--noise none"):
        InstanceDependent().matrix(NoiseFacts(("only",)), 0.4)
