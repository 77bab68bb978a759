"""One list of columns: each is explained, and stands in every form of a report."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.execution.worker import load_file
from bench.leaderboard import columns, rows, sections
from bench.leaderboard.columns import BOARD, Column
from bench.leaderboard.detail_columns import COSTS, DETECTION, EQUAL_COMPUTE, EXCLUDED, ROW_COLUMNS
from bench.leaderboard.measurements import measure
from bench.leaderboard.model import TableNotes
from bench.leaderboard.render import legend, markdown, structured, terminal
from bench.leaderboard.selection import RULES
from bench.leaderboard.tables import build_report

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")

EXPLAINED_ELSEWHERE = {
    "n": "over n replicates",
    "AUROC in noisy classes": "**in noisy classes**",
    "AP in noisy classes": "**in noisy classes**",
    "its own": "*Its own* names",
    "why it stands here": "",
}
"""Titles that the legend doesn't repeat in bold, and the words that explain them."""


@pytest.mark.parametrize(
    "column", [*BOARD, *DETECTION, *COSTS, *EQUAL_COMPUTE, *EXCLUDED], ids=lambda column: column.key or column.title
)
def test_every_column_is_explained_and_has_a_key(column: Column) -> None:
    text = " ".join(legend.write_legend(RULES["last"], equal_compute=True).split())
    if column.title:
        assert EXPLAINED_ELSEWHERE.get(column.title, f"**{column.title}**") in text
    # a difference between two rows of one table isn't a value of either
    assert column.key or column.title == "over the row above"
    if column.hint:
        assert f"{column.short_title}: {column.hint}" in fake.report_as_text(build_report([]), width=10**6)


def full_board() -> list[dict[str, Any]]:
    """A board on which every column has something to show."""
    records = [
        record
        for method, accuracies, units in (("ce", fake.LOWER, 3.0), ("gce", fake.FIVE, 6.0), ("forward", fake.FIVE, 3.0))
        for record in fake.several(method, accuracies, privileges=("noise_kind",) if method == "forward" else ())
        if not record["measures"].update({"units_per_sample_epoch": units})
    ]
    selector = {"source": "clean_probability", **dict.fromkeys(("kept_source", "corrected_source"), "x")}
    for record in records:
        record["measures"]["selector"] = selector | {
            column.key.removeprefix("selector."): 0.5 for column in DETECTION if column.read
        }
        record["measures"] |= {"network_test_accuracies": [0.5, 0.6], "assumes": ["balanced_classes"]}
        record["measures"] |= {"audited": {"test_accuracy": 0.5, "corrected": 18, "dropped": 36}}
        record["measures"] |= {"people": {"cross_entropy": 1.5, "total_variation": 0.5}}
        names = ("forward_per_sample_epoch", "backward_per_sample_epoch", "flops_forward", "flops_forward_backward")
        record["measures"] |= dict.fromkeys(names, 2.0)
        record["provenance"]["images_per_second"] = 100.0
    return [*records, *fake.several("sce", fake.FIVE[:3])]


def test_every_column_shows_in_all_four_forms() -> None:
    report = build_report(full_board(), beside=TableNotes(audited=True))
    text, lines = markdown.report_as_markdown(report), fake.report_as_text(report, width=10**6)
    row = structured.report_as_json(report)["settings"][0]["rows"][0]
    (header, *_) = csv.reader(io.StringIO(structured.report_as_csv(report)))
    table = report.boards[0].tables[0]
    drawn = {column for section in sections.table_sections(table) for column in section.columns}
    assert {column.key for column in drawn} == {column.key for column in ROW_COLUMNS}
    for column in drawn:
        if column.key != "moved":  # only beside a table of the shared grid
            assert f" {column.title} " in text
            assert column.key in ("reason", "gap", "learnt", "assumes") or column.short_title in lines
        if column.key:
            nested, key = column.key.startswith("selector."), column.key.removeprefix("selector.")
            assert key in (row["selector"] if nested else row)
            flat = column.key.replace(".", "_")
            is_interval = key in ("interval", "n", "may_be_best")
            assert flat in header or is_interval


def test_a_new_entry_is_all_that_a_new_column_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing but an entry the measure is averaged, shown, exported and explained."""
    entry = Column(
        "loss_of_trust",
        "loss of trust",
        read=measure("negative_log_likelihood"),
        short="trust",
        hint="trust that was lost",
        explained="- **loss of trust** is an example.",
    )
    board = (*BOARD, entry)
    for module in (columns, rows, sections, legend, terminal):
        monkeypatch.setattr(module, "BOARD", board)
    monkeypatch.setattr(structured, "ROW_COLUMNS", (*board, *DETECTION, *COSTS, *EXCLUDED))
    report = build_report(fake.small_board())
    assert "loss of trust |" in markdown.report_as_markdown(report)
    assert " trust" in fake.report_as_text(report, width=300)
    assert "trust: trust that was lost" in fake.report_as_text(report, width=300)
    row = structured.report_as_json(report)["settings"][0]["rows"][0]
    assert list(row)[-1] == "loss_of_trust" and 0 < row["loss_of_trust"] < 1
    assert "loss_of_trust" in structured.report_as_csv(report).splitlines()[0]
    assert "- **loss of trust** is an example." in legend.write_legend(report.rule)


def test_lists_hold_no_key_twice_under_different_values() -> None:
    report = build_report(full_board())
    for row in report.boards[0].tables[0].rows:
        values: dict[str, Any] = {}
        for column in ROW_COLUMNS:
            if column.key:
                assert values.setdefault(column.key, column.value_of(row)) == column.value_of(row)


def test_audited_labels_are_shown_where_they_are_asked_for() -> None:
    records = full_board()
    plain, audited = build_report(records), build_report(records, beside=TableNotes(audited=True))
    assert "| audited |" not in markdown.report_as_markdown(plain)
    text = markdown.report_as_markdown(audited)
    assert "| audited |" in text and "dropped or corrected (36 dropped, 18 corrected)" in text
    ranks = [[row.rank for _, table in report.tables for row in table.rows] for report in (plain, audited)]
    assert ranks[0] == ranks[1]
    for record in records:
        record["measures"].pop("audited", None)
    unmeasured = markdown.report_as_markdown(build_report(records, beside=TableNotes(audited=True)))
    assert "no run of this table has been measured by any" in unmeasured and "| audited |" not in unmeasured


def test_the_legend_explains_seldom_columns_where_they_are(tmp_path: Path) -> None:
    records = full_board()
    (with_people,) = markdown.write_boards(build_report(records), tmp_path / "with")
    assert "**people, nats**" in with_people.read_text() and "**audited**" not in with_people.read_text()
    for record in records:
        record["measures"].pop("people", None)
    (without,) = markdown.write_boards(build_report(records), tmp_path / "without")
    assert "people, nats" not in without.read_text()
