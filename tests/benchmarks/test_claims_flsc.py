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
    for name, overall in (("synthetic-asym", 0.2), ("synthetic-hard", 0.39), ("cifar10-asym", 0.2)):
        written, kept = tmp_path / f"{name}.csv", CLAIMS / f"{name}.csv"
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


# ---- The confirmatory run -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def confirm(claims: dict[str, ModuleType]) -> dict[str, ModuleType]:
    """The modules of the confirmatory run."""
    return {name: importlib.import_module(f"flsc_{name}") for name in ("confirm", "hypotheses", "scores", "arms")}


def judged(confirm: dict[str, ModuleType], own: torch.Tensor, kept: torch.Tensor) -> Any:
    """A judgement whose losses are `own` by the image and `kept` by the foreground, and of no use by the placebo."""
    chance = (-own).exp()
    logits = torch.stack([chance, 1 - chance], dim=1).log()
    return confirm["scores"].Judgement(
        logits, kept, own, torch.rand(len(own)), torch.zeros(len(own), dtype=torch.int64)
    )


def test_a_foreground_that_knows_is_seen_in_every_number(confirm: dict[str, ModuleType]) -> None:
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(1000, generator=generator) < 0.4
    own = torch.rand(1000, generator=generator) + 0.3 * wrong
    found = confirm["scores"].judged_numbers(judged(confirm, own, 20.0 * wrong + own), wrong.numpy())
    assert found["IR"]["AUROC"] == found["IR, g=1"]["AUROC"] == 1 > found["loss"]["AUROC"] > 0.6
    assert found["placebo"] == found["loss"]
    assert found["IR"]["wrong at equal size"] < found["loss"]["wrong at equal size"]
    assert found["IR"]["wrong among selected"] == 0 and found["IR"]["found"] == 1
    assert found["loss"]["wrong at equal size"] == pytest.approx(found["loss"]["wrong among selected"])
    bounds = confirm["scores"].bounds(judged(confirm, own, 20.0 * wrong + own), wrong.numpy(), 0)
    assert bounds["foreground"] > 0.99 > bounds["loss"]
    assert abs(bounds["shuffled"] - bounds["loss"]) < 0.03


def test_hypotheses_hold_where_their_differences_do_and_parts_decide_no_more_easily(
    confirm: dict[str, ModuleType],
) -> None:
    hypotheses = confirm["hypotheses"]

    def seeds(gain: float, outcome: str = "AUROC") -> list[dict[tuple[str, str], float]]:
        return [
            {("last: IR", outcome): 0.8 + gain + 0.001 * seed, ("last: loss", outcome): 0.8 - 0.001 * (seed % 3)}
            for seed in range(10)
        ]

    def line(text: str, name: str) -> str:
        return next(row for row in text.splitlines() if row.startswith(f"| **{name}**"))

    gains = hypotheses.decision_table(dict.fromkeys(hypotheses.SCENES, seeds(0.05)))
    assert "**holds**" in line(gains, "1a") and "7 of 7" in line(gains, "1a")
    assert "**not shown**" in line(gains, "1b") and "**not shown**" in line(gains, "2")
    part = hypotheses.decision_table(dict.fromkeys(hypotheses.SCENES[:4], seeds(0.05)))
    assert "4 of 7" in line(part, "1a") and "**not shown**" in line(part, "1a")
    harmless = hypotheses.decision_table(dict.fromkeys(hypotheses.NULLS, seeds(-0.005)))
    assert "**holds**" in line(harmless, "2")
    harmful = hypotheses.decision_table(dict.fromkeys(hypotheses.NULLS, seeds(-0.05)))
    assert "**not shown**" in line(harmful, "2")
    fewer = hypotheses.decision_table(dict.fromkeys(hypotheses.SCENES, seeds(-0.05, "wrong at equal size")))
    assert "**holds**" in line(fewer, "1c")


def test_every_hypothesis_names_what_is_measured(confirm: dict[str, ModuleType]) -> None:
    names = {case.name for case in confirm["confirm"].CASES}
    scores = {f"{judge}: {score}" for judge in confirm["scores"].JUDGES for score in confirm["scores"].SCORES}
    for each in confirm["hypotheses"].HYPOTHESES:
        assert set(each.settings) <= names and 0 < each.needed <= len(each.settings)
        assert {each.first, each.second} <= scores | set(confirm["arms"].ARMS)


def test_the_plan_names_every_setting_arm_and_hypothesis(confirm: dict[str, ModuleType]) -> None:
    text = (CLAIMS.parents[1] / "docs" / "claims" / "flsc-plan.md").read_text()
    named = [case.name for case in confirm["confirm"].CASES] + list(confirm["arms"].ARMS)
    named += [f"| {each.name} |" for each in confirm["hypotheses"].HYPOTHESES]
    assert [name for name in named if name not in text] == []
    assert confirm["confirm"].SEEDS in text


def test_it_goes_on_where_it_was_stopped_and_prints_what_is_there(
    confirm: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = confirm["confirm"]
    done: list[tuple[str, int]] = []

    def measure(case: Any, seed: int, asked: Any) -> list[tuple[str, str, float]]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append((case.name, seed))
        return [("last: loss", "AUROC", 0.5 + seed / 1000), ("last: IR", "AUROC", 0.75)]

    monkeypatch.setattr(program, "work", measure)
    line = ["--settings", "small-hard,pool-hard", "--seeds", "1:4", "--out", str(tmp_path), "--threads", "1"]
    with pytest.raises(KeyboardInterrupt):
        program.main(line)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pool-hard-1.csv",
        "small-hard-1.csv",
        "small-hard-2.csv",
    ]
    first = list(done)
    done.clear()
    capsys.readouterr()
    with pytest.raises(KeyboardInterrupt):
        done += [("stop", 0)] * 3
        program.main(line)
    program.main([*line, "--tables"])
    text = capsys.readouterr().out
    assert "small-hard (2)" in text and "pool-hard (1)" in text and "+0.249" in text
    done.clear()
    program.main(line)
    assert sorted(first + done) == sorted((name, seed) for name in ("small-hard", "pool-hard") for seed in (1, 2, 3))


def test_what_it_cannot_run_it_says(
    confirm: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = confirm["confirm"]
    cases = program.chosen(program.CASES, "all", None)
    assert {case.name for case in program.CASES} - {case.name for case in cases} >= {"pool-worse", "pool-comp"}
    assert "--table FILE" in capsys.readouterr().err
    for names, words in (
        ("pool-hart", "no setting 'pool-hart'; there are: small-asym"),
        ("pool-worse", "--table FILE"),
    ):
        with pytest.raises(SystemExit, match=words):
            program.chosen(program.CASES, names, None)
    with pytest.raises(SystemExit, match="200:220"):
        program.seeds_of("200")
    for name in ("pool-sym", "pool-comp"):
        line = ["--settings", name, "--seeds", "1:2", "--table", str(tmp_path / "none.csv"), "--out", str(tmp_path)]
        with pytest.raises(SystemExit, match=f"{name} can't be measured: .*none.csv"):
            program.main(line)
    assert list(tmp_path.iterdir()) == []


def test_items_are_pasted_whole_on_scenes_that_follow_the_given_label(claims: dict[str, ModuleType]) -> None:
    composed = importlib.import_module("flsc_composed")
    items = np.full((4, 28, 28, 1), 255, dtype=np.uint8)
    scenes = np.full((4, 32, 32, 3), 10, dtype=np.uint8)
    found = composed.pasted(items, scenes, 0, "train")
    assert ((found == 255).all(axis=-1).sum(axis=(1, 2)) == 400).all() and ((found == 10) | (found == 255)).all()
    assert len({tuple(np.argwhere(image[..., 0] == 255)[0]) for image in found}) > 1
    labels = np.repeat(np.arange(3), 5)
    wanted = np.array([0, 2, 2, 0, 1])
    sources = composed.chosen_scenes(wanted, labels, 0, "train")
    assert np.array_equal(labels[sources], wanted) and len(set(sources)) == 5


@pytest.mark.slow
def test_reading_and_training_run_in_miniature(
    confirm: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--quick", "--seeds", "900:902", "--out", str(tmp_path), "--threads", "1"]
    confirm["confirm"].main([*line, "--settings", "small-cued,train-pool-cued"])
    text = capsys.readouterr().out
    for expected in ("small-cued (2)", "ema", "+ foreground", "train-pool-cued, 2 seed(s)", "swapped", "### Decisions"):
        assert expected in text
    assert sorted(path.name for path in tmp_path.iterdir())[0] == "quick-small-cued-900.csv"


def test_the_placebo_cuts_by_another_images_attention(
    claims: dict[str, ModuleType], confirm: dict[str, ModuleType]
) -> None:
    setup, arms = claims["setup"], confirm["arms"]
    data = "synthetic[size=8,train=80,test=20]"
    spec, problem = next(setup.problems("flsc[warm_up=0.33]", data, setup.NOISES["hard"], "0:1", epochs=3))
    real, placebo = (arms.make_arm(arm, spec, problem) for arm in ("stage 1", arms.PLACEBO))
    for trainer in (real, placebo):
        next(trainer.epochs())
    # the warm-up is the same, and what its end says of the foreground isn't
    weights = [[weight for network in each.networks for weight in network.parameters()] for each in (real, placebo)]
    assert all(torch.equal(one, two) for one, two in zip(*weights, strict=True))
    assert not torch.allclose(real.method.reductions, placebo.method.reductions, atol=1e-3)
    labels = real.task.labels
    own = torch.cat([labels.unsqueeze(1).float(), real.task.infer(0, output=arms.attention_of)], dim=1)
    whole, kept = real.task.infer(0, output=arms.losses_under, along=own).unbind(1)
    torch.testing.assert_close(kept - whole, real.method.reductions[0], rtol=1e-4, atol=1e-4)
