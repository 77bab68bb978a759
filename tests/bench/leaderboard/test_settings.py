"""Settings never mix: tables, headings and files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.execution.worker import load_file
from bench.leaderboard import tables
from bench.leaderboard.render import markdown
from bench.leaderboard.settings import record_setting
from bench.spec import ADDED_LATER, CHOSEN_BY_METHOD, RESERVED_SEEDS, SEEDS, RunSpec
from bench.system.errors import UsageError
from bench.system.files import file_names

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
make = fake.make
several = fake.several
small_board = fake.small_board
FIVE = fake.FIVE
LOWER = fake.LOWER

CHANGES: dict[str, Any] = {
    "identity": 2,
    "protocol": "paper",
    "data_sha256": "other",
    "train_size": 100,
    "imbalance": 0.1,
    "image_size": 16,
    "noise": "asym",
    "rate": 0.2,
    "draw": "multinomial",
    "noise_sha256": "f" * 64,
    "model": "cnn4",
    "weights_sha256": "e" * 64,
    "augmentation": "crop4+flip",
    "strong_augmentation": "crop4",
    "epochs": 3,
    "batch_size": 32,
    "optimizer": "adam",
    "momentum": 0.8,
    "nesterov": True,
    "schedule": "constant",
    "gradient_clip": None,
    "hold_out": 0.2,
    "precision": "bf16",
    "world_size": 2,
    "sync_batch_norm": True,
    "unreadable_skipped": 3,
    "rounding": "total",
    "features": "timm:resnet18",
    "feature_size": 64,
    "feature_views": 3,
    "feature_components": 16,
    "feature_precision": "bf16",
}


# Settings ------------------------------------------------------------------------------------------------------------


def test_every_field_of_a_setting_is_changed_below() -> None:
    assert set(CHANGES) | {"data_set"} == set(RunSpec.model_fields) - CHOSEN_BY_METHOD - SEEDS
    # what came later is written only where it says something
    assert set(CHANGES) | {"data_set"} == set(record_setting(make("ce", 0, 0.5))) | (
        set(ADDED_LATER) - CHOSEN_BY_METHOD
    )


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_settings_never_share_a_table_and_headings_say_what_differs(field: str) -> None:
    report = tables.build_report([*several("a", FIVE), *several("a", LOWER, **{field: CHANGES[field]})])
    (board,) = report.boards
    first, second = board.tables
    assert [len(table.rows) for table in board.tables] == [1, 1]
    assert first.heading != second.heading
    assert all(row.rank == 1 for table in board.tables for row in table.rows)


def test_a_heading_names_only_noise_protocol_and_what_differs() -> None:
    (board,) = tables.build_report([*several("a", FIVE), *several("a", FIVE, epochs=3)]).boards
    headings = [table.heading for table in board.tables]
    assert headings == ["sym 0.4 · shared-lr · 3 epochs", "sym 0.4 · shared-lr · 30 epochs"]


def test_a_board_is_called_shared_where_a_grid_chose_learning_rates_and_comes_first() -> None:
    report = tables.build_report(
        [*several("a", FIVE), *several("a", LOWER, protocol="shared-grid", learning_rate=0.15)]
    )
    headings = [table.heading for table in report.boards[0].tables]
    assert headings == ["sym 0.4 · shared", "sym 0.4 · shared-lr"]


def test_no_board_shows_runs_on_seeds_for_choosing() -> None:
    chosen_on = [make("a", RESERVED_SEEDS + number, 0.9) for number in range(3)]
    report = tables.build_report([*several("a", FIVE), *chosen_on], failures=[make("b", RESERVED_SEEDS, None)])
    (table,) = report.boards[0].tables
    assert [(row.method, len(row.accuracies)) for row in table.rows] == [("a", len(FIVE))]
    assert tables.build_report(chosen_on).boards == ()


def test_data_sets_have_files_of_their_own(tmp_path: Path) -> None:
    names = ["digits", "table:a b.csv", "table:a/b.csv", "synthetic[classes=100]", "../up"]
    report = tables.build_report([record for name in names for record in several("ce", FIVE, data_set=name)])
    paths = markdown.write_boards(report, tmp_path)
    assert len({path.name.lower() for path in paths}) == len(names)
    assert {path.parent for path in paths} == {tmp_path}
    assert all(re.fullmatch(r"[\w.=+-]+\.md", path.name) for path in paths)


@given(st.lists(st.text(max_size=200), unique=True, max_size=5))
def test_file_names_are_safe_and_tell_data_sets_apart(names: list[str]) -> None:
    files = file_names(names)
    assert len({name.lower() for name in files.values()}) == len(names)
    for name in files.values():
        assert re.fullmatch(r"[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*\.md", name) and len(name) < 120


# Files ---------------------------------------------------------------------------------------------------------------


def test_a_board_that_can_not_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tables.build_report(small_board())
    (path,) = markdown.write_boards(report, tmp_path)
    before = path.read_bytes()

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UsageError, match="No space left"):
        markdown.write_boards(tables.build_report(several("ce", FIVE)), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_imports_nothing_heavy() -> None:
    code = (
        "import json, sys; from bench.leaderboard.tables import build_report; "
        "from bench.leaderboard.render import markdown, structured, terminal; r = build_report(json.load(sys.stdin)); "
        "structured.report_as_json(r), structured.report_as_csv(r); "
        "markdown.report_as_markdown(r), terminal.report_as_lines(r, None, 80); "
        "print({'torch', 'torchvision', 'timm', 'sklearn', 'pandas', 'scipy.stats'} & set(sys.modules))"
    )
    root, records = Path(__file__).resolve().parents[3], json.dumps(small_board())
    done = subprocess.run(
        [sys.executable, "-c", code], input=records, cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout.strip()) == ("", "set()")


# Sources of papers' recipes ------------------------------------------------------------------------------------------


def test_a_board_of_the_paper_protocol_names_the_sources_of_its_recipes() -> None:
    paper = {"protocol": "paper"}
    records = [*several("ce", FIVE, **paper, recipe_source="anl"), *several("js", LOWER, **paper, recipe_source="gjs")]
    report = tables.build_report([*records, *several("gce", LOWER, **paper, recipe_source="anl")])
    ((table,),) = [board.tables for board in report.boards]
    assert table.heading == "sym 0.4 · paper (anl and gjs)"
    assert "Recipes: anl for ce and gce; gjs for js." in table.description
    assert {row.method: row.recipe_source for row in table.rows if not row.derived} == {
        "ce": "anl",
        "gce": "anl",
        "js": "gjs",
    }


def test_rows_that_differ_in_the_source_alone_say_which() -> None:
    records = [
        *several("ce", FIVE, protocol="paper", recipe_source="anl"),
        *several("ce", FIVE, protocol="paper", recipe_source="apl"),
    ]
    ((table,),) = [board.tables for board in tables.build_report(records).boards]
    labels = sorted(row.label for row in table.rows if not row.derived)
    assert labels == ["ce (recipe of anl)", "ce (recipe of apl)"]


def test_records_from_before_sources_had_names_keep_their_heading() -> None:
    ((table,),) = [board.tables for board in tables.build_report(several("ce", FIVE, protocol="paper")).boards]
    assert table.heading == "sym 0.4 · paper"
    assert not any(line.startswith("Recipes:") for line in table.description)
