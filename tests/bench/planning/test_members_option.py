"""`--members`: from the command line to the rows of a board and the commands under it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.cli.main import main
from bench.execution.worker import load_file
from bench.leaderboard import tables
from bench.leaderboard.render import markdown, structured
from bench.reporting.explicit_command import explicit_command
from bench.spec import RunSpec

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
several, only_table, by_label = fake.several, fake.only_table, fake.by_label
FIVE, LOWER = fake.FIVE, fake.LOWER


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """What a command would train."""
    capsys.readouterr()
    assert main(["run", *words, "--dry-run", "--format", "json"]) == 0
    runs: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["runs"]
    return runs


def test_members_are_part_of_a_runs_identity_but_not_of_its_setting(capsys: pytest.CaptureFixture[str]) -> None:
    (plain,) = planned(capsys, "--methods", "ce", "--seeds", "1")
    (one,) = planned(capsys, "--methods", "ce", "--seeds", "1", "--members", "1")
    (three,) = planned(capsys, "--methods", "ce", "--seeds", "1", "--members", "3")
    assert plain == one and "members" not in plain["spec"]
    assert three["spec"] == plain["spec"] | {"members": 3}
    assert three["run_id"] != plain["run_id"]
    assert RunSpec(**three["spec"]).setting_id == RunSpec(**plain["spec"]).setting_id


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "two"])
def test_fewer_than_one_member_is_a_wrong_request(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--methods", "ce", f"--members={typed}"]) == 2
    assert f"--members {typed}" in capsys.readouterr().err


def test_a_row_says_how_many_members_it_has() -> None:
    records = [*several("ce", LOWER), *several("ce", FIVE, members=3), *several("gce", LOWER, parameters={"q": 0.7})]
    table = only_table(tables.build_report(records))
    rows = by_label(table)
    assert set(rows) == {"ce", "ce (3 members)", "gce [q=0.7]", "ce @ noisy hold-out epoch"}
    assert rows["ce (3 members)"].name == "ce (3 members)" and rows["ce (3 members)"].members == 3
    assert table.leader == "ce (3 members)"
    assert "ce (3 members)" in markdown.report_as_markdown(tables.build_report(records))
    (setting,) = structured.report_as_json(tables.build_report(records))["settings"]
    assert {row["label"]: row["members"] for row in setting["rows"]}["ce (3 members)"] == 3


def test_commands_under_a_board_ask_for_members(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Both the command that is checked by planning it and the one that is made from records alone."""
    words = ["--methods", "ce,gce", "--seeds", "2", "--epochs", "3"]
    runs = [*planned(capsys, *words), *planned(capsys, *words, "--members", "2")]
    records = [fake.of(RunSpec(**run["spec"]), 0.5) for run in runs]
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    capsys.readouterr()
    line = ["report", "--records", str(path), "--boards", str(tmp_path / "boards"), "--format", "json"]
    assert main(line) == 0
    (setting,) = json.loads(capsys.readouterr().out)["settings"]
    made = explicit_command(records)
    for command in (setting["command"], made):
        lines = command.splitlines()
        assert len(lines) == 2
        found = {run["run_id"] for text in lines for run in planned(capsys, *shlex.split(text)[4:])}
        assert found == {run["run_id"] for run in runs}
