"""`run --budget equal-compute`, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main

DATA = "synthetic[classes=4,size=8,train=80,test=24]"
SMALL = ["--dataset", DATA, "--methods", "ce,ce-ensemble", "--epochs", "1", "--seeds", "1", "--jobs", "1"]
BUDGET = ["--budget", "equal-compute"]


def bench(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = ["--boards", str(out / "boards"), "--out", str(out / "runs")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "bench", *words, *places]
    return subprocess.run(line, capture_output=True, text=True, env=environment, check=False)


def records(out: Path) -> dict[tuple[str, int, int], dict[str, Any]]:
    """The records by method, epochs and members."""
    found = [json.loads(path.read_text()) for path in (out / "runs").glob("*/record.json")]
    return {(each["spec"]["method"], each["spec"]["epochs"], each["spec"].get("members", 1)): each for each in found}


def test_a_search_in_two_waves_and_again_from_its_records(tmp_path: Path) -> None:
    ended = bench(tmp_path, "run", *SMALL, *BUDGET, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    assert "second wave: 2 runs within 6 units" in ended.stderr and "third wave" not in ended.stderr
    runs = records(tmp_path)
    assert set(runs) == {("ce", 1, 1), ("ce-ensemble", 1, 1), ("ce", 1, 2), ("ce", 2, 1)}
    for (_, epochs, _), record in runs.items():
        assert record["measures"]["units_per_sample_epoch"] * epochs <= 6
    (table,) = json.loads(ended.stdout)["equal_compute"]
    assert table["allowance"] == 6 and table["dearest"] == "ce-ensemble [members=2]"
    assert {row["method"]: row["run_units"] for row in table["rows"]}.keys() == {"ce", "ce-ensemble"}
    for row in table["rows"]:
        own = runs[row["method"], row["epochs"], row["members"]]
        assert row["mean"] == own["measures"]["test_accuracy"]
        assert row["noisy_holdout"] == own["measures"]["noisy_holdout_accuracy"]
    # the settings printed are those that were asked for; the file has all of them
    assert [each["epochs"] for each in json.loads(ended.stdout)["settings"]] == [1]
    (board,) = (tmp_path / "boards").iterdir()
    assert "2 epochs" in board.read_text() and "## At equal compute" in board.read_text()
    # an interrupted search goes on from its records: with one gone, one is trained
    gone = runs["ce", 1, 2]
    (tmp_path / "runs" / gone["run_id"] / "record.json").unlink()
    again = bench(tmp_path, "run", *SMALL, *BUDGET, "--format", "json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["equal_compute"] == [table]
    kept = records(tmp_path)
    assert {key: record["provenance"]["finished"] for key, record in kept.items() if key != ("ce", 1, 2)} == {
        key: record["provenance"]["finished"] for key, record in runs.items() if key != ("ce", 1, 2)
    }
    reported = bench(tmp_path, "report", *BUDGET, "--format", "json")
    (without_command,) = [{**each, "command": ""} for each in json.loads(reported.stdout)["equal_compute"]]
    assert without_command == {**table, "command": ""}


def test_a_dry_run_says_that_the_second_wave_depends_on_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *SMALL, *BUDGET, "--dry-run", "--out", str(tmp_path / "runs")]) == 0
    text = capsys.readouterr().out
    assert "2 runs: 0 stored, 2 to train" in text
    assert "this is the first wave of --budget equal-compute" in text
    assert "By declared costs, about 2 runs" in text
    assert main(["run", *SMALL, *BUDGET, "--dry-run", "--format", "json", "--out", str(tmp_path / "runs")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["runs"]) == 2 and "first wave" in found["later"]
    assert main(["run", *SMALL, "--dry-run", "--format", "json", "--out", str(tmp_path / "runs")]) == 0
    assert json.loads(capsys.readouterr().out)["later"] is None
    assert not (tmp_path / "runs").exists()


def test_an_allowance_that_pays_no_epoch_of_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "runs"), "--boards", str(tmp_path / "boards")]
    typed = ["run", *SMALL, *out, "--budget", "equal-compute:5"]
    assert main(typed) == 2
    said = capsys.readouterr().err
    assert "ce-ensemble can't take part" in said and "--budget equal-compute:6 or more" in said
    # a method that a glob brought in is left out
    typed[typed.index("ce,ce-ensemble")] = "ce,ce-ens*"
    assert main([*typed, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "1 runs" in said and "left out: ce-ensemble" in said
    typed[typed.index("ce,ce-ens*")] = "ce-ens*"
    assert main(typed) == 2
    assert "none of the methods can take part" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists() and not (tmp_path / "boards").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--budget", "twice"],
        [*BUDGET, "--protocol", "paper"],
        [*BUDGET, "--hold-out", "0"],
        [*BUDGET, "--members", "2"],
    ],
)
def test_wrong_requests_write_nothing(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, *words, "--out", str(tmp_path / "runs"), "--boards", str(tmp_path / "boards")]) == 2
    assert "--budget" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
