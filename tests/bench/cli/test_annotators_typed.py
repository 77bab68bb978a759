"""Noise of several annotators as typed: columns with commas, gaps, simulated people, records, and mistakes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.planning.request import Request
from bench.planning.validate import with_joined_columns

Captured = pytest.CaptureFixture[str]
SHORT = ["--methods", "ce", "--seeds", "1", "--jobs", "1", "--epochs", "1", "--model", "cnn-small"]


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of 40 training images of two classes with three annotators; nobody answered the first two."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for number in range(50):
        Image.fromarray(np.full((8, 8, 3), 20 + 200 * (number % 2) - number % 7, np.uint8)).save(f"{number}.png")
        right, wrong = ("cat", "dog")[number % 2], ("dog", "cat")[number % 2]
        answers = ["", "", ""] if number < 2 else [right, wrong if number % 5 == 0 else "", wrong]
        rows.append([f"{number}.png", right, "test" if number >= 40 else "train", *answers])
    with Path("index.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "label", "split", "ann", "bob", "sym"], *rows])
    return "table:index.csv"


def test_names_with_commas_are_one_noise() -> None:
    def noises(*texts: str) -> tuple[str, ...]:
        return with_joined_columns(Request.typed(noise=list(texts))).noise

    assert noises("annotators:a,b,c*") == ("annotators:a,b,c*",)
    assert noises("sym,annotators[by=random]:a,b,asym,pairflip") == (
        *("sym", "annotators[by=random]:a,b", "asym", "pairflip"),
    )
    assert noises("annotators:a,b", "sym,asym") == ("annotators:a,b", "sym", "asym")
    assert noises("annotators,sym") == ("annotators", "sym")
    assert noises("column:a,annotators[by=random],annotators:5") == (
        *("column:a", "annotators[by=random]", "annotators:5"),
    )
    assert noises("crowd:a,b,matrix:x.csv") == ("crowd:a,b", "matrix:x.csv")


def test_columns_are_aggregated_and_recorded(crowd: str, capsys: Captured) -> None:
    names = ["annotators[by=any-wrong]", "annotators:ann,bob", "annotators:3"]
    typed = [text for name in names for text in ("--noise", name)]
    assert main(["run", *SHORT, "--dataset", crowd, *typed, "--labels-are-clean"]) == 0
    found = {}
    for path in Path("runs").glob("*/record.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[record["spec"]["noise"]] = record["measures"]
    assert set(found) == set(names)
    parts = {name: measures["samples"] for name, measures in found.items()}
    assert all(each["train"] + each["holdout"] == (40 if "3" in name else 38) for name, each in parts.items())
    assert found["annotators[by=any-wrong]"]["realised_rate"] == 1.0
    assert found["annotators:ann,bob"]["noise_caption"].startswith("majority of 2 annotators (ann, bob), 0.")
    assert "3 simulated annotators" in found["annotators:3"]["noise_caption"]
    boards = [path.read_text(encoding="utf-8") for path in Path("leaderboards").rglob("*.md")]
    assert any("--noise annotators:ann,bob" in board for board in boards)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("annotators:an,nobody", "There is no label column 'an'"),
        ("annotators[by=mean]", "annotators[by=majority]"),
        ("annotators[way=mean]", "has no parameter 'way'"),
        ("annotators[answers=3]:ann", "simulated annotators only"),
        ("annotators:", "type annotators or annotators:NAMES"),
    ],
)
def test_mistakes_are_told_in_a_line(crowd: str, capsys: Captured, noise: str, message: str) -> None:
    assert main(["run", *SHORT, "--dataset", crowd, "--noise", noise]) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err
    assert not Path("runs").exists()


def test_a_data_set_without_columns_says_what_to_type(capsys: Captured) -> None:
    assert main(["show", "noise", "annotators", "--dataset", "digits"]) == 2
    assert "annotators:5" in capsys.readouterr().err
    assert main(["show", "noise", "annotators:5", "--dataset", "digits", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["noise"] == "annotators:5" and 0.03 < shown["realised_rate"] < 0.15


def test_show_tells_who_answered_and_how_well(crowd: str, capsys: Captured) -> None:
    typed = ["show", "noise", "annotators", "--dataset", crowd, "--labels-are-clean"]
    assert main([*typed, "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    found = shown["annotators"]
    assert found["answers"] == {"0": 2, "2": 31, "3": 7} and found["agreement"] == pytest.approx(7 / 52)
    assert [(each["name"], each["answers"], each["right"]) for each in found["people"]] == [
        ("ann", 38, 1.0),
        ("bob", 7, 0.0),
        ("sym", 38, 0.0),
    ]
    assert shown["matrix"] is None and np.array(shown["realised_matrix"]).shape == (2, 2)
    assert main(typed) == 0
    out = capsys.readouterr().out
    assert "0 in 2, 2 in 31, 3 in 7 images" in out and "accuracy by Dawid-Skene" in out


def test_show_prints_the_realised_matrix_of_a_column(crowd: str, capsys: Captured) -> None:
    assert main(["show", "noise", "column:sym", "--dataset", crowd, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["realised_matrix"] == [[0.0, 1.0], [1.0, 0.0]]


def test_show_estimates_a_matrix_where_no_label_is_known_to_be_clean(crowd: str, capsys: Captured) -> None:
    typed = ["show", "noise", "as-given", "--dataset", crowd]
    assert main([*typed, "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["realised_matrix"] is None and shown["realised_rate"] is None
    estimates = shown["estimated_matrices"]
    for name in ("confident_joint", "anchor_points"):
        assert np.allclose(np.sum(estimates[name], axis=1), 1)
    assert estimates["agreement"] > 0.9 and "cross-fitted" in estimates["by"]
    assert main(typed) == 0
    assert "by anchor points" in capsys.readouterr().out
    assert main(["show", "noise", "as-given", "--dataset", "digits", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["estimated_matrices"]["anchor_points"]) == 10
