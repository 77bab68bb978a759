"""Noise that looks at images, as typed: a posterior of our own, labels, records, boards, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.cli.main import main
from bench.leaderboard.settings import ADVERSARIES, noise_words, setting_order

Captured = pytest.CaptureFixture[str]
SHORT = ["--seeds", "1", "--jobs", "1", "--epochs", "1", "--model", "cnn-small"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a posterior of digits."""
    import torch

    folder, threads = tmp_path_factory.mktemp("posterior"), torch.get_num_threads()
    assert main(["posterior", "--save", str(folder / "p.npz"), "--epochs", "1", "--model", "cnn-small"]) == 0
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(autouse=True)
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def answer(capsys: Captured, *typed: str) -> dict[str, object]:
    capsys.readouterr()
    assert main([*typed, "--format", "json"]) == 0
    value: dict[str, object] = json.loads(capsys.readouterr().out)
    return value


def test_a_posterior_says_what_it_is_of(capsys: Captured) -> None:
    with np.load("p.npz", allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        assert file["posterior"].shape == file["log_posterior"].shape == (1400, 10)
        assert np.abs(file["posterior"].sum(axis=1) - 1).max() < 1e-5
    assert (about["data_set"], about["split"], about["averaged_over_epochs"]) == ("digits", "seed 0", 1)
    assert about["spec"]["method"] == "ce" and about["spec"]["noise"] == "none" and about["spec"]["hold_out"] == 0
    shown = answer(capsys, "show", "noise", "instance-learned:p.npz", "--rate", "0.3")
    assert shown["realised_rate"] == 0.3 and shown["matrix"] is None
    matrix = np.array(shown["realised_matrix"])
    assert np.allclose(matrix.sum(axis=1), 1) and np.diag(matrix).min() < 0.7


def test_runs_record_the_labels_and_their_file(capsys: Captured) -> None:
    noises = ["instance[scale=raw]", "bad:p.npz"]
    typed = [text for noise in noises for text in ("--noise", noise)]
    assert main(["run", "--methods", "ce", *SHORT, "--rate", "0.3", *typed]) == 0
    capsys.readouterr()
    records = [json.loads(path.read_text(encoding="utf-8")) for path in Path("runs").glob("*/record.json")]
    found = {record["spec"]["noise"]: record for record in records}
    assert set(found) == set(noises)
    assert len({record["measures"]["labels_sha256"] for record in records}) == 2
    for noise, record in found.items():
        assert record["measures"]["realised_rate"] == pytest.approx(0.3, abs=0.002)
        assert (record["spec"]["noise_sha256"] is None) == noise.startswith("instance")
    (board,) = Path("leaderboards").glob("*.md")
    headings = [line for line in board.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    assert headings[0].startswith("## instance[scale=raw] 0.3") and headings[1].startswith(
        "## Adversary: bad:p.npz 0.3"
    )
    assert "--noise bad:p.npz" in board.read_text(encoding="utf-8").replace("'", "")


def test_methods_that_need_a_matrix_are_refused(capsys: Captured) -> None:
    assert main(["run", "--methods", "forward", "--noise", "instance", *SHORT]) == 2
    assert "it needs transition_matrix, which the noise instance can't give" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["run", "--noise", "bad:p.npz"], "training split seed 0, and this is seed 1"),
        (["run", "--noise", "bad:p.npz", "--dataset", "synthetic", *SHORT], "is of other data (digits, content"),
        (["show", "noise", "bad:p.npz", "--dataset", "synthetic"], "is of other data (digits, content"),
        (["run", "--noise", "instance[scale=bytes]", *SHORT], "instance[scale=raw]"),
        (["run", "--noise", "instance[size=3]", *SHORT], "the noise instance has no parameter 'size'"),
        (["run", "--noise", "pmd[type=4]:p.npz", *SHORT], "has no type 4"),
        (["run", "--noise", "pmd:nowhere.npz", *SHORT], "There is no file nowhere.npz"),
        (["posterior", "--save", "p.csv"], "Type --save p.npz"),
        (["posterior", "--save", "q.npz", "--seed", "-1"], "--seed -1: must be a whole number"),
        (["posterior", "--save", "q.npz", "--dataset", "digit"], "unknown data set 'digit'"),
    ],
)
def test_what_is_refused(capsys: Captured, typed: list[str], words: str) -> None:
    capsys.readouterr()
    methods = ["--methods", "ce"] if typed[0] == "run" else []
    assert main([*typed, *methods]) == 2
    assert words in capsys.readouterr().err
    assert not Path("q.npz").exists()


def test_adversaries_stand_apart(capsys: Captured) -> None:
    assert {name for name, entry in registry.noises().items() if entry["is_adversary"]} == ADVERSARIES
    assert main(["list", "noises"]) == 0
    before, after = capsys.readouterr().out.split("Adversaries: ")
    assert "bad:FILE" in after and "bad:FILE" not in before and "instance-learned:FILE" in before
    for protocol in ("shared-grid", "shared", "paper"):
        bad, sym = ({"noise": noise, "rate": 0.4, "protocol": protocol} for noise in ("bad:p.npz", "sym"))
        assert setting_order(sym) < setting_order(bad | {"protocol": "shared-grid"})
        assert noise_words(bad) == "Adversary: bad:p.npz 0.4" and noise_words(sym) == "sym 0.4"
