"""Noise from a saved posterior: what each goes by, exact and nested rates, files of other data, broken files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise import ImageSource, Noise, NoiseFacts, NoisyLabels, corrupt
from datasets.noise.bad import BadLabels
from datasets.noise.instance_learned import InstanceLearned
from datasets.noise.interface import DrawnImages
from datasets.noise.pmd import MarginDiminishing, solve_scale
from datasets.noise.posterior import Posterior, read_posterior, write_posterior
from datasets.randomness import normals

DATA = "d" * 64
FACTS = NoiseFacts(tuple("abcde"), data_set="example")
SAMPLES, CLASSES = 2000, 5
CLEAN = np.arange(SAMPLES) % CLASSES
LEARNED, BAD, PMD = InstanceLearned, BadLabels, MarginDiminishing


def probabilities() -> NDArray[np.float64]:
    """A network that is often right, and mostly unsure between two classes where it isn't."""
    logits = 1.5 * normals(0, "logits", SAMPLES * CLASSES).reshape(SAMPLES, CLASSES)
    logits[np.arange(SAMPLES), CLEAN] += 3
    logits[0] = [9000, 0, 0, 0, 0]  # a margin of 1, and log-probabilities far below what exp can tell apart
    logits -= logits.max(axis=1, keepdims=True)
    values = np.exp(logits)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


VALUES = probabilities()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "posterior.npz"
    write_posterior(path, Posterior(VALUES, np.log(np.maximum(VALUES, 1e-300)), "example", DATA))
    return str(path)


def source_of(index: NDArray[np.int64] | None = None, **other: Any) -> ImageSource:
    about: dict[str, Any] = {"total": SAMPLES, "data_sha256": DATA, **other}
    return ImageSource(np.arange(SAMPLES) if index is None else index, **about)


def drawn(noise: Noise, rate: float, seed: int = 0, draw: str = "exact", source: ImageSource | None = None) -> Labels:
    return result(noise, rate, seed, draw, source).labels


def result(
    noise: Noise, rate: float, seed: int = 0, draw: str = "exact", source: ImageSource | None = None
) -> NoisyLabels:
    source = source or source_of()
    return corrupt(noise, CLEAN[source.index], FACTS, rate, seed, draw, source=source)


def test_learned_flips_to_the_most_probable_wrong_class(file: str) -> None:
    labels = drawn(LEARNED(file), 0.4)
    wrong = VALUES.astype(np.float32).astype(np.float64)
    wrong[np.arange(SAMPLES), CLEAN] = -1
    flipped = labels != CLEAN
    assert flipped.sum() == 800
    assert np.array_equal(labels[flipped], wrong.argmax(axis=1)[flipped])
    assert wrong.max(axis=1)[flipped].min() >= wrong.max(axis=1)[~flipped].max()


def test_bad_flips_to_the_least_plausible_class(file: str) -> None:
    labels = drawn(BAD(file), 0.4)
    logarithms = np.log(np.maximum(VALUES, 1e-300)).astype(np.float32)
    logarithms[np.arange(SAMPLES), CLEAN] = 1
    flipped = labels != CLEAN
    assert flipped.sum() == 800
    assert np.array_equal(labels[flipped], logarithms.argmin(axis=1)[flipped])
    assert logarithms.min(axis=1)[flipped].max() <= logarithms.min(axis=1)[~flipped].min()
    assert np.mean(drawn(LEARNED(file), 0.4)[flipped] == labels[flipped]) < 0.05
    assert BAD.is_adversary and not LEARNED.is_adversary


@given(low=st.floats(0, 1), high=st.floats(0, 1), samples=st.integers(1, SAMPLES))
def test_learned_and_bad_are_exact_and_nested(
    tmp_path_factory: pytest.TempPathFactory, low: float, high: float, samples: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "nested.npz"
    if not path.exists():
        write_posterior(path, Posterior(VALUES, np.log(np.maximum(VALUES, 1e-300)), "example", DATA))
    source, clean = source_of(np.arange(samples)), CLEAN[:samples]
    for noise in (LEARNED(str(path)), BAD(str(path))):
        less, more = (drawn(noise, rate, source=source) for rate in sorted((low, high)))
        assert (less != clean).sum() == int(np.floor(np.round(min(low, high) * samples, 6)))
        assert np.array_equal(more[less != clean], less[less != clean])


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_pmd_swaps_the_two_most_probable_classes_and_vanishes_at_margin_one(file: str, kind: int) -> None:
    order = np.argsort(-VALUES.astype(np.float32), axis=1, kind="stable")
    margin = np.sort(VALUES, axis=1)[:, -1] - np.sort(VALUES, axis=1)[:, -2]
    able = (order[:, :2] == CLEAN[:, None]).any(axis=1)
    often = np.zeros(SAMPLES)
    for seed in range(40):
        labels = drawn(PMD(file, {"type": kind}), 0.25, seed, "multinomial")
        flipped = labels != CLEAN
        often += flipped
        assert not flipped[~able].any() and not flipped[0]
        other = np.where(order[:, 0] == CLEAN, order[:, 1], order[:, 0])
        assert np.array_equal(labels[flipped], other[flipped])
    shares = [often[able & (margin >= low) & (margin < low + 0.25)].mean() / 40 for low in (0, 0.25, 0.5, 0.75)]
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1] + 0.15
    assert often.mean() / 40 == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_pmd_is_exact_and_nested(file: str, kind: int) -> None:
    for draw in ("exact", "multinomial"):
        before = CLEAN
        for rate in np.linspace(0, 0.7, 15):
            labels = drawn(PMD(file, {"type": kind}), float(rate), 3, draw)
            assert np.array_equal(labels[before != CLEAN], before[before != CLEAN])
            if draw == "exact":
                assert (labels != CLEAN).sum() == round(rate * SAMPLES)
            before = labels


@given(
    fall=st.lists(st.sampled_from([0.0, 1e-6, 0.1, 0.25, 0.5, 0.99, 1.0]), min_size=1, max_size=40),
    share=st.floats(0, 1),
)
def test_scale_gives_the_number_wanted(fall: list[float], share: float) -> None:
    values = np.array(fall)
    able = int((values > 0).sum())
    scale = solve_scale(values, share * able)
    expected = np.where(values > 0, np.minimum(1, scale * np.maximum(values, 1e-300)), 0)
    assert expected.sum() == pytest.approx(share * able, abs=1e-6)


def test_pmd_as_published_keeps_noise_at_margin_one(tmp_path: Path) -> None:
    """The trap: 1 - 1 / factor of the surest labels are wrong, and the clean label plays no part."""
    path = tmp_path / "sure.npy"
    np.save(path, np.eye(CLASSES)[(CLEAN + 1) % CLASSES])
    for rate, factor in ((0.35, 1.43), (0.7, 3.4)):
        noise = PMD(str(path), {"form": "as-published"})
        labels = drawn(noise, rate, 1, "multinomial")
        assert set(np.unique((labels - CLEAN) % CLASSES)) <= {0, 1, 2, 3, 4}
        first = labels == (CLEAN + 1) % CLASSES
        assert 1 - first.mean() == pytest.approx(1 - 1 / factor, abs=0.04)
        assert (result(noise, rate, 1, "multinomial").realised_rate or 0) > 0.65
    with pytest.raises(DataError, match="can't reach a rate"):
        drawn(PMD(str(path)), 0.1)
    with pytest.raises(DataError, match=r"--rate 0\.35 or --rate 0\.7"):
        drawn(PMD(str(path), {"form": "as-published"}), 0.4, draw="multinomial")
    with pytest.raises(DataError, match="--draw multinomial"):
        drawn(PMD(str(path), {"form": "as-published"}), 0.35)


def test_rows_follow_the_draw(file: str) -> None:
    """A part of the data has its own rows, whatever else was drawn."""
    index = np.arange(0, SAMPLES, 3)
    whole, part = drawn(LEARNED(file), 1.0), drawn(LEARNED(file), 1.0, source=source_of(index))
    assert np.array_equal(whole[index], part)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"data_sha256": "e" * 64}, "is of other data"),
        ({"total": SAMPLES + 1}, "2000 rows, and example has 2001"),
        ({"split": "seed 4"}, r"split seed 3, and this is seed 4.*--seeds 3:4"),
    ],
)
@pytest.mark.parametrize("cls", [LEARNED, BAD, PMD])
def test_other_data_is_refused(tmp_path: Path, cls: type[Noise], other: dict[str, Any], words: str) -> None:
    path = tmp_path / "posterior.npz"
    write_posterior(path, Posterior(VALUES, None, "example", DATA, "seed 3"))
    noise, source = cls(str(path)), source_of(**other)
    with pytest.raises(DataError, match=words):
        noise.check(DrawnImages(CLEAN, FACTS, 0.2, 0, source=source))
    with pytest.raises(DataError, match=words):
        drawn(noise, 0.2, source=source)


def test_files_of_others(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", VALUES.astype(np.float16))
    np.save(tmp_path / "log.npy", np.log(np.maximum(VALUES, 1e-300)) * 12)
    assert drawn(LEARNED(str(tmp_path / "p.npy")), 0.3).shape == (SAMPLES,)
    assert "which data" in LEARNED(str(tmp_path / "p.npy")).notes(FACTS)[0]
    assert "adds up log-probabilities" in BAD(str(tmp_path / "p.npy")).notes(FACTS)[1]
    assert len(BAD(str(tmp_path / "log.npy")).notes(FACTS)) == 1
    assert drawn(BAD(str(tmp_path / "log.npy")), 0.3).shape == (SAMPLES,)
    with pytest.raises(DataError, match="needs probabilities"):
        LEARNED(str(tmp_path / "log.npy")).matrix(FACTS, 0.3)
    with pytest.raises(DataError, match="columns for 5 classes; example has 2"):
        LEARNED(str(tmp_path / "p.npy")).matrix(NoiseFacts(("a", "b"), data_set="example"), 0.3)


def test_files_that_are_no_posterior(tmp_path: Path) -> None:
    def refused(name: str, words: str) -> None:
        with pytest.raises(DataError, match=words):
            read_posterior(tmp_path / name)

    (tmp_path / "words.npz").write_text("0.1,0.9\n")
    refused("words.npz", "is no posterior")
    refused("none.npz", "There is no file")
    (tmp_path / "empty.npz").write_bytes(b"")
    refused("empty.npz", "is empty")
    write_posterior(tmp_path / "whole.npz", Posterior(VALUES, None))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-40])
    refused("cut.npz", "no complete npz")
    broken = bytearray((tmp_path / "whole.npz").read_bytes())
    broken[len(broken) // 2] ^= 255
    (tmp_path / "broken.npz").write_bytes(bytes(broken))
    refused("broken.npz", "no complete npz")
    np.savez(tmp_path / "other.npz", probs=VALUES)
    refused("other.npz", "no array called posterior")
    np.savez(tmp_path / "objects.npz", posterior=np.array([[{}]], dtype=object))
    refused("objects.npz", "pickled")
    np.savez(tmp_path / "logits.npz", posterior=VALUES * 3)
    refused("logits.npz", "aren't probabilities")
    np.savez(tmp_path / "log.npz", log_posterior=VALUES)
    refused("log.npz", "numbers above 0")
    np.savez(tmp_path / "shapes.npz", posterior=VALUES, log_posterior=-VALUES[:5])
    refused("shapes.npz", "different shapes")
    np.savez(tmp_path / "about.npz", posterior=VALUES, about=np.array("no JSON"))
    refused("about.npz", "no JSON object")
    for name, values in {"axes": VALUES[0], "whole": np.ones((3, 2), int), "nan": VALUES * np.nan}.items():
        np.save(tmp_path / f"{name}.npy", values)
        refused(f"{name}.npy", "finite" if name == "nan" else "A posterior is")
    np.save(tmp_path / "logits.npy", VALUES * 3)
    refused("logits.npy", "neither probabilities")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "posterior.npz"
    write_posterior(path, Posterior(VALUES, -VALUES, "example", DATA, "seed 1", {"epochs": 3}))
    kept = read_posterior(path)
    assert kept.probabilities is not None and kept.log_probabilities is not None
    assert np.array_equal(kept.probabilities, VALUES.astype(np.float32))
    assert (kept.data_set, kept.data_sha256, kept.split, kept.about["epochs"]) == ("example", DATA, "seed 1", 3)
    before = path.read_bytes()
    write_posterior(path, Posterior(VALUES, -VALUES, "example", DATA, "seed 1", {"epochs": 3}))
    assert path.read_bytes() == before
