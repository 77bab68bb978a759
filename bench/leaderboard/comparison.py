"""Every row against one method: paired differences with intervals. Each interval holds for itself, not for all."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.leaderboard import formatting
from bench.leaderboard.columns import method_cell, privileges_cell
from bench.leaderboard.model import Replicate, Report, Row, Table
from bench.leaderboard.render.markdown import escape_markdown, markdown_table
from bench.leaderboard.selection import RULES
from bench.stats.summary import Summary, paired_differences, summarise
from bench.system.errors import UsageError, list_offenders, nearest_names

SCHEMA = 1


@dataclass(frozen=True)
class PairedDifference:
    """A row minus the method that it is compared to, over the replicates that both have."""

    row: Row
    summary: Summary
    wins: int
    ties: int

    @property
    def losses(self) -> int:
        """Replicates in which the row did worse."""
        return self.summary.n - self.wins - self.ties


@dataclass(frozen=True)
class Comparison:
    """One setting's rows against one of its own.

    `own_best` is that row's best epoch on the clean test set (an oracle) minus what the rule chose, replicate by
    replicate; None where records don't hold it.
    """

    data_set: str
    table: Table
    to: Row
    own_best: PairedDifference | None
    differences: tuple[PairedDifference, ...]


def compare_rows(report: Report, name: str, oracle: Report | None = None) -> list[Comparison]:
    """The rows of every table that has a row of this name, against it, best first.

    `name` is a method ("ce"), or a row as boards print it ("gce [q=0.7]", blanks aside) where a method has several.
    `oracle` is the report of the same records by the rule "best-test", for `own_best`. Raises UsageError where no
    table has such a row, or where a table has several.
    """
    best = {row_key(table, row): row for _, table in _tables(oracle) for row in table.rows}
    found = []
    for data_set, table in _tables(report):
        to = _one(table, name)
        if to is None:
            continue
        pairs = [_difference(row, to.accuracies) for row in table.rows if row is not to]
        stopped = best.get(row_key(table, to))
        found.append(
            Comparison(
                data_set,
                table,
                to,
                None if stopped is None else _difference(stopped, to.accuracies),
                tuple(sorted(filter(None, pairs), key=lambda each: (-round(each.summary.mean, 12), each.row.label))),
            )
        )
    if not found:
        methods = sorted({row.method for _, table in _tables(report) for row in table.rows})
        near = " or ".join(f"--compare {shlex.quote(each)}" for each in nearest_names(name, methods))
        raise UsageError(f"no record is of {name!r}. " + (f"Type {near}" if near else "Any method of a board will do"))
    return found


def row_key(table: Table, row: Row) -> tuple[str, str]:
    """What names a row among all tables."""
    return table.setting_id, row.label


def _tables(report: Report | None) -> Iterator[tuple[str, Table]]:
    for board in () if report is None else report.boards:
        for table in board.tables:
            yield board.data_set, table


def _one(table: Table, name: str) -> Row | None:
    """The row that a name stands for; one that has runs of its own before one that is read off them."""
    wanted = "".join(name.split())
    exact = [row for row in table.rows if "".join(row.label.split()) == wanted]
    named = exact or [row for row in table.rows if "".join(row.name.split()) == wanted]
    rows = named or [row for row in table.rows if row.method == name]
    if len(rows) > 1:
        lines = [f"--compare {shlex.quote(row.name)}" for row in rows]
        raise UsageError(f"{name!r} has {len(rows)} rows under {table.heading!r}. Type one:\n" + list_offenders(lines))
    return rows[0] if rows else None


def _difference(row: Row, to: Mapping[Replicate, float]) -> PairedDifference | None:
    pairs = paired_differences(row.accuracies, to)
    if not pairs:
        return None
    return PairedDifference(
        row, summarise(pairs), sum(value > 0 for value in pairs), sum(value == 0 for value in pairs)
    )


def comparison_as_json(found: Sequence[Comparison], select: str) -> dict[str, Any]:
    """The comparisons as JSON-able values, fractions in [-1, 1]; None for what isn't known."""
    return {
        "schema": SCHEMA,
        "select": select,
        "settings": [
            {
                "dataset": each.data_set,
                "heading": each.table.heading,
                "setting_id": each.table.setting_id,
                "compared_to": each.to.label,
                "own_best": None if each.own_best is None else _numbers(each.own_best),
                "rows": [
                    {
                        "method": one.row.method,
                        "label": one.row.label,
                        "parameters": dict(one.row.parameters),
                        "needs": list(one.row.needs),
                        "standing": one.row.standing,
                        **_numbers(one),
                    }
                    for one in each.differences
                ],
            }
            for each in found
        ],
    }


def _numbers(one: PairedDifference) -> dict[str, Any]:
    own = one.summary
    return {
        "difference": own.mean,
        "interval": None if own.low is None else [own.low, own.high],
        "n": own.n,
        "wins": one.wins,
        "ties": one.ties,
        "losses": one.losses,
    }


def comparison_as_csv(found: Sequence[Comparison], select: str) -> str:
    """One line a row of every setting."""
    lines = []
    for setting in comparison_as_json(found, select)["settings"]:
        about = {name: setting[name] for name in ("dataset", "heading", "setting_id", "compared_to")}
        for row in setting["rows"]:
            low, high = row.pop("interval") or ("", "")
            plain = {"method": row["label"], "needs": ";".join(row["needs"]), "standing": row["standing"]}
            lines.append(
                about
                | plain
                | {name: row[name] for name in ("difference", "n", "wins", "ties", "losses")}
                | {"low": low, "high": high}
            )
    text = io.StringIO()
    if lines:
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue()


def comparison_as_markdown(found: Sequence[Comparison], select: str, short_names: bool = False) -> str:
    """The comparisons as Markdown, in points of accuracy.

    `short_names` leaves parameters out where a method has one row.
    """
    parts = [
        f"Accuracy at {RULES[select].words}, minus that of the method named, replicate by replicate: mean, 95 % "
        "t-interval, and the replicates won, tied and lost. Each interval holds for itself: of twenty, one misses."
    ]
    for each in found:
        reference = escape_markdown(method_cell(each.to))
        parts.append(
            f"## {escape_markdown(each.data_set)} · {escape_markdown(each.table.heading)}: against {reference}"
        )
        accuracy = f"{reference}: {formatting.format_mean_and_std(each.to.accuracy)}, n = {len(each.to.accuracies)}."
        if each.own_best is not None:
            accuracy += f" Its own best epoch on the clean test set: {_signed(each.own_best.summary)}."
        parts.append(accuracy)
        lines = [
            [
                escape_markdown(one.row.name if short_names else method_cell(one.row)),
                _signed(one.summary),
                str(one.summary.n),
                f"{one.wins}/{one.ties}/{one.losses}",
                privileges_cell(one.row),
            ]
            for one in each.differences
        ]
        titles = ["method", "difference", "n", "won/tied/lost", "told"]
        parts.append(
            markdown_table(titles, lines, left={"method", "told"}) if lines else "Nothing to compare with yet."
        )
    return "\n\n".join(parts) + "\n"


def _signed(summary: Summary) -> str:
    text = formatting.format_difference(summary)
    gained = summary.mean > 0 and text.split()[0].strip("0.") != ""
    return f"+{text}" if gained else text
