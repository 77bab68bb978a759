"""Asymmetric noise along a quick model's confusions: its pairs, its identity, and what it asks for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.registry import confusions
from datasets.interface import AsymmetricPairs, DataError
from datasets.noise import NoiseFacts, corrupt
from datasets.noise.asym import Asymmetric
from datasets.quick_model import confused_pairs, cross_fitted

Captured = pytest.CaptureFixture[str]
LEVELS = {"black": 20, "dark": 45, "bright": 210, "white": 235}


@pytest.fixture
def greys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of grey images whose classes are two close pairs."""
    monkeypatch.chdir(tmp_path)
    draw, rows = np.random.Generator(np.random.PCG64(0)), []
    for number in range(160):
        name = list(LEVELS)[number % 4]
        pixels = np.clip(LEVELS[name] + draw.normal(0, 25, (8, 8)) + draw.normal(0, 12), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(f"{number}.png")
        rows.append([f"{number}.png", name, "test" if number >= 120 else "train"])
    with Path("index.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "label", "split"], *rows])
    return "table:index.csv"


def test_each_class_goes_to_the_one_it_is_taken_for() -> None:
    draw = np.random.Generator(np.random.PCG64(1))
    centres = np.array([[0.0, 0], [1.5, 0], [9, 0], [9, 1.5], [0, 1.9]])
    labels = np.arange(1000) % 5
    vectors = (centres[labels] + draw.normal(0, 0.7, (1000, 2)))[:, None, :]
    assert confused_pairs(cross_fitted(vectors, labels, 6), labels) == [(0, 1), (1, 0), (2, 3), (3, 2), (4, 0)]


def test_pairs_make_the_matrix_the_caption_and_the_hash() -> None:
    facts = NoiseFacts(classes=("a", "b", "c"), confusable=AsymmetricPairs(((0, 2), (1, 0), (2, 1)), "a model"))
    noise, clean = Asymmetric("confusable"), np.arange(300) % 3
    noisy = corrupt(noise, clean, facts, 0.2, 0)
    assert noisy.pairs == ((0, 2), (1, 0), (2, 1)) and noisy.source == "a model"
    assert "takes it for: a -> c, b -> a, c -> b" in noisy.caption and noisy.realised_rate == pytest.approx(0.2)
    other = NoiseFacts(classes=facts.classes, confusable=AsymmetricPairs(((0, 1), (1, 0), (2, 1)), "a model"))
    assert noise.source_hash(facts) != noise.source_hash(other)
    assert Asymmetric().source_hash(facts) is None
    with pytest.raises(DataError, match="needs the images"):
        noise.matrix(NoiseFacts(classes=facts.classes), 0.2)
    with pytest.raises(DataError, match=r"a rate is typed as --rate 0\.4"):
        Asymmetric("0.4")


def test_shown_once_it_is_read_from_the_cache(
    greys: str, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confusions, "CONFUSIONS_VERSION", str(tmp_path))  # what no earlier run of the test has kept
    typed = ["show", "noise", "asym:confusable", "--dataset", greys, "--labels-are-clean", "--rate", "0.25"]
    assert main([*typed, "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {tuple(pair) for pair in shown["pairs"]} == {
        *[("black", "dark"), ("dark", "black"), ("bright", "white"), ("white", "bright")]
    }
    assert shown["noise"] == "asym:confusable" and shown["realised_rate"] == pytest.approx(0.25, abs=0.02)
    assert "cross-fitted" in shown["source"]
    monkeypatch.setattr("datasets.quick_model.cross_fitted", None)
    assert main([*typed, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == shown


def test_a_run_holds_the_pairs_in_its_identity(greys: str, capsys: Captured) -> None:
    short = ["--methods", "ce,forward", "--seeds", "1", "--jobs", "1", "--epochs", "1", "--model", "cnn-small"]
    run = ["run", *short, "--dataset", greys, "--labels-are-clean", "--noise", "asym:confusable", "--rate", "0.25"]
    assert main(run) == 0
    records = [json.loads(path.read_text(encoding="utf-8")) for path in Path("runs").glob("*/record.json")]
    assert len(records) == 2
    for record in records:
        assert record["spec"]["noise"] == "asym:confusable" and len(record["spec"]["noise_sha256"]) == 64
        assert "black -> dark" in record["measures"]["noise_caption"]
    capsys.readouterr()


def test_labels_that_nobody_vouches_for_are_refused(greys: str, capsys: Captured) -> None:
    assert main(["run", "--methods", "ce", "--dataset", greys, "--noise", "asym:confusable"]) == 2
    err = capsys.readouterr().err
    assert "--labels-are-clean" in err and not Path("runs").exists()
    assert main(["show", "noise", "asym:confusing", "--dataset", greys]) == 2
    assert "asym:confusable" in capsys.readouterr().err
