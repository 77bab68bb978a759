"""Boards that have both the shared grid and shared-lr say which rows moved far."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.execution.worker import load_file
from bench.leaderboard.model import Table
from bench.leaderboard.render import markdown
from bench.leaderboard.tables import build_report
from bench.spec import SHARED_GRID

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
make = fake.make
METHODS = "abcdefg"


def records(order: str, **fields: Any) -> list[dict[str, Any]]:
    """Two replicates of each method, those earlier in `order` with the higher accuracy."""
    return [make(method, seed, 0.9 - 0.05 * place, **fields) for place, method in enumerate(order) for seed in range(2)]


def tables(*groups: list[dict[str, Any]]) -> list[Table]:
    (board,) = build_report([record for group in groups for record in group]).boards
    return list(board.tables)


def test_places_are_counted_among_rows_of_both_tables_and_far_moves_are_marked() -> None:
    # e climbs from the fifth place to the first; x and y stand in one table each, and count for nothing
    grid = records("exabcdfg", protocol=SHARED_GRID, learning_rate=0.15)
    shared, without = tables(grid, records("yabcdefg"))
    assert (shared.heading, without.heading) == ("sym 0.4 · shared", "sym 0.4 · shared-lr")
    moved = {row.method: row.moved for row in shared.rows}
    assert moved == {"e": 4, "x": None, "a": -1, "b": -1, "c": -1, "d": -1, "f": 0, "g": 0}
    assert all(row.moved is None for row in without.rows)
    sentence = "Against shared-lr, among the 7 rows ranked in both: moved by more than 3 places: e up 4."
    assert sentence in shared.caveats and not any("Against shared-lr" in caveat for caveat in without.caveats)
    text = markdown.report_as_markdown(build_report([*grid, *records("yabcdefg")]))
    assert "| against shared-lr |" in text and "up 4" in text and text.count("against shared-lr |") == 1


def test_no_far_move_is_said_in_a_sentence_and_takes_no_column() -> None:
    report = build_report([*records("bacdefg", protocol=SHARED_GRID), *records("abcdefg")])
    (shared, _) = report.boards[0].tables
    assert any(caveat.endswith("none moved by more than 3 places.") for caveat in shared.caveats)
    assert "against shared-lr |" not in markdown.report_as_markdown(report)


def test_a_row_is_found_again_though_its_own_penalty_was_chosen_anew() -> None:
    grid = [*records("bcdefg", protocol=SHARED_GRID), *records("a", protocol=SHARED_GRID, parameters={"delta": 1e-5})]
    shared, _ = tables(grid, [*records("bcdefg"), *records("a", parameters={"delta": 1e-6})])
    assert {row.method: row.moved for row in shared.rows}["a"] == 0


def test_of_several_rows_of_a_method_each_meets_its_like() -> None:
    def rows(high: float, low: float, **fields: Any) -> list[dict[str, Any]]:
        both = [("q", 0.3, high), ("q", 0.7, low)]
        return [
            make("gce", seed, accuracy, parameters={name: value}, **fields)
            for name, value, accuracy in both
            for seed in range(2)
        ]

    shared, _ = tables(rows(0.9, 0.8, protocol=SHARED_GRID), rows(0.8, 0.9))
    assert {row.parameters["q"]: row.moved for row in shared.rows} == {0.3: 1, 0.7: -1}


@pytest.mark.parametrize("change", [{"noise": "asym"}, {"epochs": 3}, {"precision": "bf16"}])
def test_other_settings_are_not_compared(change: dict[str, Any]) -> None:
    shared, *_ = tables(records("ab", protocol=SHARED_GRID, **change), records("ab"))
    assert all(row.moved is None for row in shared.rows)
