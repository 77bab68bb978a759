"""What users' machines do to commands: names, encodings, unreadable records. Each answer is one message and a code."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from bench.cli.main import LONGEST_LINE, main
from bench.planning.recipe_files import parse_recipe_file
from bench.records.store import Store
from bench.system.errors import UsageError
from tests.bench import fake_records

RUN = [
    "run",
    "--methods",
    "ce",
    "--epochs",
    "1",
    "--train-size",
    "200",
    "--model",
    "cnn-small",
    "--seeds",
    "1",
    "--jobs",
    "1",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_name_that_is_too_long_is_a_wrong_request(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([*RUN, "--out", "o" * 300], ["report", "--out", "o" * 300], ["report", "--boards", "b" * 300]):
        assert main(command) == 2
        said = capsys.readouterr().err
        said = said.splitlines()[-1]
        assert said.startswith("error: ") and "too long" in said and len(said) < 600
    assert list(here.iterdir()) == []


def test_lines_of_messages_are_not_endless(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--methods", "x" * 50_000]) == 2
    assert max(map(len, capsys.readouterr().err.splitlines())) < LONGEST_LINE + 20


@pytest.mark.parametrize("text", ["x = " + "[" * 3000, "x = " + "9" * 5000, "x = {" * 3000])
def test_toml_that_no_parser_ends_is_no_toml(text: str) -> None:
    with pytest.raises(UsageError, match="recipes: this is no TOML") as error:
        parse_recipe_file(text, "recipes")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("form", ["md", "csv", "json"])
def test_letters_that_a_terminal_lacks_lose_no_result(form: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for record in fake_records.several("gce", (0.5, 0.6), data_set="table:Zähne.csv"):
        Store(here / "o").write_record(record)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["report", "--out", "o", "--format", form]) == 0
    sys.stdout.flush()
    text = written.getvalue().decode("ascii")
    assert "gce" in text
    if form == "json":
        assert json.loads(text)["settings"][0]["dataset"] == "table:Zähne.csv"


def test_a_pipe_is_no_record(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = fake_records.several("gce", (0.5, 0.6))
    Store(here / "o").write_record(first)
    (here / "o" / second["run_id"]).mkdir()
    os.mkfifo(here / "o" / second["run_id"] / "record.json")
    assert main(["report", "--out", "o"]) == 0
    assert "record.json: can't be read: it isn't a regular file" in capsys.readouterr().err


def test_a_record_that_cannot_be_read_counts_as_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(RUN) == 0
    (record,) = Path("runs").glob("*/record.json")
    record.unlink()
    record.mkdir()
    assert main(RUN) == 1
    said = capsys.readouterr().err
    assert f"1 of 1 runs have a record that can't be read, or that is gone: {record.parent.name}" in said
