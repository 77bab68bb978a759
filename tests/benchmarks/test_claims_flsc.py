"""FLSC's evaluations on tiny data: what their numbers mean, and that every part runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

CLAIMS = Path(__file__).parents[2] / "benchmarks" / "claims"


@pytest.fixture(scope="module")
def claims() -> Iterator[dict[str, ModuleType]]:
    """The scripts' modules, imported as they import each other."""
    sys.path.insert(0, str(CLAIMS))
    yield {name: importlib.import_module(f"flsc_{name}") for name in ("setup", "signal", "erasing")}
    sys.path.remove(str(CLAIMS))


def problem_of(claims: dict[str, ModuleType], cued: bool) -> tuple[Any, Any, Any]:
    setup = claims["setup"]
    change = setup.cue_backgrounds if cued else None
    found = setup.replicates("ce", "synthetic[size=8,train=200,test=20]", setup.NOISES["hard"], "0:1", change, epochs=1)
    spec, problem, trainer = next(found)
    return spec, problem, trainer


def test_matrices_are_those_of_the_files(claims: dict[str, ModuleType], tmp_path: Path) -> None:
    setup = claims["setup"]
    setup.write_matrices(tmp_path)
    for name, overall in (("asym", 0.2), ("hard", 0.39)):
        written, kept = tmp_path / f"synthetic-{name}.csv", CLAIMS / f"synthetic-{name}.csv"
        assert written.read_bytes() == kept.read_bytes()
        matrix = np.loadtxt(kept, delimiter=",")
        assert np.allclose(matrix.sum(axis=1), 1)
        assert 1 - matrix.diagonal().mean() == pytest.approx(overall)
        # the truth stays the likeliest label of every class, so that learning is possible
        assert (matrix.argmax(axis=1) == np.arange(10)).all()


def test_training_and_testing_see_the_cued_images(claims: dict[str, ModuleType]) -> None:
    _, cued, trainer = problem_of(claims, True)
    device, everything = torch.device("cpu"), lambda images: claims["setup"].plain(images, torch.arange(len(images)))
    chosen = cued.data.train.images[cued.drawn[cued.train]]
    wanted = claims["erasing"].store_images(chosen, cued.data, device)
    assert torch.equal(everything(trainer.part.images), everything(wanted))
    tested = claims["erasing"].store_images(cued.data.test.images, cued.data, device)
    assert torch.equal(everything(cued.images.store("test", device)), everything(tested))


def test_cued_backgrounds_tell_the_given_label_and_objects_stay(claims: dict[str, ModuleType]) -> None:
    setup = claims["setup"]
    (_, plain, _), (spec, cued, _) = problem_of(claims, False), problem_of(claims, True)
    assert np.array_equal(plain.noisy.labels, cued.noisy.labels)
    masks = plain.data.train.masks
    assert np.array_equal(plain.data.train.images[masks], cued.data.train.images[masks])
    before, after = plain.data.train.images.astype(float), cued.data.train.images.astype(float)
    # the colour that was added to each background names its cue
    added = np.stack([(after - 0.65 * before)[i][~masks[i]].mean(axis=0) / 0.35 for i in range(len(before))])
    wheel = setup.tint(np.zeros((10, 1, 1, 3), dtype=np.uint8), np.arange(10), 10, 1.0).reshape(10, 3)
    cues = np.abs(added[:, None] - wheel).sum(axis=-1).argmin(axis=1)
    told = (cues == plain.noisy.labels).mean()
    assert 0.8 < told < 1
    wrong = plain.noisy.labels != plain.clean_labels
    assert (cues == plain.clean_labels)[wrong].mean() < 0.2
    test = (cued.data.test.images != plain.data.test.images).any(axis=-1)
    assert not test[plain.data.test.masks].any() and test.any()
    swapped = setup.swapped_test(spec, cued, True)
    assert np.array_equal(swapped[plain.data.test.masks], plain.data.test.images[plain.data.test.masks])
    assert (swapped != cued.data.test.images).any(axis=(1, 2, 3)).all()


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), seed=st.integers(0, 9))
def test_exchanged_maps_come_from_other_images_of_the_same_label(
    claims: dict[str, ModuleType], labels: list[int], seed: int
) -> None:
    given_labels = np.array(labels)
    partner = claims["signal"].exchanged(given_labels, seed)
    assert sorted(partner) == list(range(len(labels)))
    assert np.array_equal(given_labels[partner], given_labels)
    alone = np.bincount(given_labels)[given_labels] == 1
    assert np.array_equal(partner == np.arange(len(labels)), alone)


def reading(claims: dict[str, ModuleType], loss: torch.Tensor, reduction: torch.Tensor, wrong: torch.Tensor) -> Any:
    given_labels = torch.arange(len(loss)) % 2
    return claims["signal"].Reading(wrong.numpy(), given_labels, 2, loss, reduction, None, None)


def test_numbers_of_a_reduction_that_knows_and_of_one_that_repeats_the_loss(claims: dict[str, ModuleType]) -> None:
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(2000, generator=generator) < 0.4
    loss = torch.randn(2000, generator=generator).abs() + wrong
    knows = reading(claims, loss, wrong + 0.1 * torch.rand(2000, generator=generator), wrong).numbers()
    assert knows["d"] == knows["d within strata"] == 1
    assert knows["joined - loss"] > 0.05 and knows["joined - w_loss"] > 0.05
    assert knows["g=0.3 - loss"] == knows["joined - loss"]
    assert np.isnan(knows["oracle"]) and np.isnan(knows["placebo d"])
    repeats = reading(claims, loss, loss / 10, wrong).numbers()
    assert repeats["d"] == repeats["loss"] > 0.7
    assert repeats["d within strata"] == repeats["loss within strata"] < 0.65
    chance = reading(claims, loss, torch.rand(2000, generator=generator), wrong).numbers()
    assert abs(chance["d within strata"] - 0.5) < 0.07


def test_intervals_and_tables(claims: dict[str, ModuleType]) -> None:
    setup = claims["setup"]
    assert setup.interval([0.1, 0.2, 0.3], True) == "+0.200 [-0.048, +0.448]"
    assert setup.interval([float("nan"), 0.5]) == "–"
    assert setup.markdown(("a", "b"), [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_focus_is_zero_for_even_maps_and_positive_for_the_object(
    claims: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    erasing = claims["erasing"]
    _, problem, trainer = problem_of(claims, False)
    masks = torch.from_numpy(problem.data.test.masks).float()
    area = float(masks.mean())

    def found(maps: torch.Tensor) -> float:
        from methods.pieces.activation_maps import Attention

        monkeypatch.setattr(erasing, "attend", lambda *_: Attention(maps, maps, maps))
        return float(erasing.focus(trainer, problem))

    assert found(torch.ones_like(masks)) == pytest.approx(0, abs=1e-6)
    assert found(torch.zeros_like(masks)) == pytest.approx(0, abs=1e-6)
    assert found(masks) == pytest.approx(1 - area, abs=1e-6)
    assert found(1 - masks) == pytest.approx(-area, abs=1e-6)


@pytest.mark.slow
def test_every_part_runs(claims: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    claims["signal"].main(["--quick", "--only", "develop,main", "--seeds", "0:2", "--threads", "1"])
    text = capsys.readouterr().out
    for expected in ("on development seeds", "entropy-rank, before-last", "joined - w_loss", "placebo within strata"):
        assert expected in text
    claims["erasing"].main(["--quick", "--seeds", "0:1", "--data", "cued", "--arms", "off, off;localisation, erasing"])
    text = capsys.readouterr().out
    assert "(localisation, erasing) - (off, off)" in text and "nan" not in text
