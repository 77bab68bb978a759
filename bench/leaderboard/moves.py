"""How ranks under the shared grid differ from those with one learning rate for all, where a board has both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.leaderboard.model import Row, Table
from bench.spec import SHARED_GRID, SHARED_LR, canonical_json

FAR = 3
"""Places that a row may move without a word."""


def with_moves(tables: Sequence[Table]) -> list[Table]:
    """The tables of a board; those of the shared grid say how far each row moved against shared-lr, if that is there.

    Places are counted among the rows that both tables rank, each with its own learning rates and replicates.
    """
    without = {_rest(table.setting): table for table in tables if table.setting.get("protocol") == SHARED_LR}
    return [
        _against(table, without[_rest(table.setting)])
        if table.setting.get("protocol") == SHARED_GRID and _rest(table.setting) in without
        else table
        for table in tables
    ]


def far(row: Row) -> bool:
    """Whether a row moved by more than `FAR` places."""
    return row.moved is not None and abs(row.moved) > FAR


def said(moved: int) -> str:
    """ "up 5", "down 4"."""
    return f"{'up' if moved > 0 else 'down'} {abs(moved)}"


def _rest(setting: Mapping[str, Any]) -> str:
    return canonical_json({name: value for name, value in setting.items() if name != "protocol"})


def _against(table: Table, other: Table) -> Table:
    here, there = _ranked(table), _ranked(other)
    pairs = _pairs(here, there)
    now, then = _places(row for row, _ in pairs), _places(row for _, row in pairs)
    moved = {row.label: then[before.label] - now[row.label] for row, before in pairs}
    rows = tuple(replace(row, moved=moved.get(row.label)) for row in table.rows)
    gone = [f"{row.name} {said(row.moved)}" for row in rows if far(row) and row.moved is not None]
    which = f"moved by more than {FAR} places: {', '.join(gone)}" if gone else f"none moved by more than {FAR} places"
    sentence = f"Against shared-lr, among the {len(pairs)} rows ranked in both: {which}."
    return replace(table, rows=rows, caveats=[*table.caveats, sentence] if len(pairs) > 1 else table.caveats)


def _ranked(table: Table) -> list[Row]:
    return [row for row in table.standing("ranked") if row.accuracy is not None]


def _pairs(here: Sequence[Row], there: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Rows of one method in both tables: by its parameters, or else its only row, whose own penalty may differ."""
    exact = {(row.method, canonical_json(row.parameters)): row for row in there}
    found = []
    for row in here:
        twin = exact.get((row.method, canonical_json(row.parameters)))
        if twin is None and _only(row.method, here):
            twin = _only(row.method, there)
        if twin is not None:
            found.append((row, twin))
    once = {before.label: row.label for row, before in reversed(found)}
    return [(row, before) for row, before in found if once[before.label] == row.label]


def _only(method: str, rows: Iterable[Row]) -> Row | None:
    own = [row for row in rows if row.method == method]
    return own[0] if len(own) == 1 else None


def _places(rows: Iterable[Row]) -> dict[str, int]:
    """Each label's place by mean accuracy; equal means share one."""
    means = {row.label: round(row.accuracy.mean, 12) for row in rows if row.accuracy is not None}
    return {label: 1 + sum(other > mean for other in means.values()) for label, mean in means.items()}
