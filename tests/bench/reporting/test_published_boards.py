"""The committed boards: nobody edits a published number by hand, and the commands under them hold."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.cli.main import main
from bench.leaderboard.settings import record_setting
from bench.planning import recipe_files
from bench.records.compact import MOST_BYTES, read_jsonl
from bench.records.seal import is_sealed, seal
from bench.tuning.grid import grid_page

PUBLISHED = Path(__file__).resolve().parents[3] / "leaderboards" / "published"
FILES = sorted((PUBLISHED / "records").glob("*.jsonl"))
BOARDS = sorted(path for path in PUBLISHED.glob("*.md") if path.name != "README.md")

needs_records = pytest.mark.skipif(
    not FILES, reason="the published records are in the repository, not in the source distribution"
)
COMMAND = re.compile(r"```sh\n(.*?)\n```", re.DOTALL)


def without_commands(text: str) -> str:
    """A board but for its commands: a method that is new since changes what `all` stands for, and no number."""
    return COMMAND.sub("", text)


@needs_records
def test_boards_are_what_their_records_give(tmp_path: Path) -> None:
    if (PUBLISHED / "tuning").exists():
        shutil.copytree(PUBLISHED / "tuning", tmp_path / "tuning")
    line = ["report", "--records", *map(str, FILES), "--boards", str(tmp_path), "--format", "json"]
    assert main(line) == 0
    written = {path.name: without_commands(path.read_text()) for path in tmp_path.glob("*.md")}
    committed = {path.name: without_commands(path.read_text()) for path in BOARDS}
    assert sorted(written) == sorted(committed)
    for name, text in written.items():
        assert text == committed[name], (
            f"{name} isn't what its records give. Type: python -m bench report "
            "--records leaderboards/published/records/*.jsonl --boards leaderboards/published"
        )


def test_no_board_is_committed_without_its_records() -> None:
    assert bool(BOARDS) == bool(FILES)


@needs_records
def test_the_published_grid_is_the_one_in_force_and_its_page_what_it_gives() -> None:
    for path in sorted(recipe_files.SHARED_FOLDER.glob("*.toml")):
        published = PUBLISHED / "tuning" / f"shared-{path.name}"
        assert published.read_bytes() == path.read_bytes()
        page = grid_page.shared_grid_page(recipe_files.read_recipe_file(published), registry.methods(), published.name)
        assert published.with_suffix(".md").read_text() == page


@needs_records
def test_records_are_short_and_in_the_file_of_their_data_set(tmp_path: Path) -> None:
    from bench.records.compact import export_records, records_file_name

    for file in FILES:
        assert max(map(len, file.read_bytes().splitlines(keepends=True))) <= MOST_BYTES
        records = read_jsonl(file)
        assert {records_file_name(record["spec"]["data_set"]) for record in records} == {file.name}
        (again,) = export_records(records, tmp_path)
        lines = [line if is_sealed(line) else seal(line) for line in file.read_bytes().splitlines(keepends=True)]
        assert again.read_bytes() == b"".join(lines), "exporting the records again gives other bytes"


@needs_records
@pytest.mark.slow
def test_commands_under_boards_of_data_made_here_ask_for_their_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the data that needs neither files nor downloads, every committed run is one that its board's command plans.

    But for runs of a method's older version, which today's code can't train.
    """
    monkeypatch.chdir(PUBLISHED.parents[1])  # commands name recipe files from there
    recorded: dict[str, set[str]] = {}
    for record in (record for file in FILES for record in read_jsonl(file)):
        spec = record["spec"]
        current = spec.get("method_version", 1) == registry.methods()[spec["method"]]["version"]
        if current and spec["data_set"].startswith(("digits", "synthetic")):
            recorded.setdefault(json.dumps(record_setting(record)), set()).add(record["run_id"])
    typed = [text for board in BOARDS for text in COMMAND.findall(board.read_text())]
    offline = [text for text in typed if "--dataset digits" in text or "synthetic[" in text]
    planned = [{run["run_id"] for line in text.splitlines() for run in dry(line, capsys)} for text in offline]
    for runs in recorded.values():
        assert any(runs <= runs_of_command for runs_of_command in planned)


def dry(line: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What a command would train."""
    capsys.readouterr()
    assert main([*shlex.split(line)[3:], "--dry-run", "--format", "json"]) == 0
    runs: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["runs"]
    return runs
