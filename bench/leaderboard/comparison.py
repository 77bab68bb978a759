"""Every row against one method: paired differences with intervals. Each interval holds for itself, not for all.

`compare_rows` computes the comparisons; the three `comparison_as_*` print them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.leaderboard.cells import method_label, privileges_cell
from bench.leaderboard.columns import interval_value
from bench.leaderboard.formatting import format_difference, format_mean_and_std
from bench.leaderboard.model import Replicate, Report, Row, Table
from bench.leaderboard.render.markdown import escape_markdown, markdown_table
from bench.leaderboard.render.structured import write_csv
from bench.leaderboard.selection import RULES
from bench.stats.summary import Summary, paired_differences, summarise
from bench.system.errors import UsageError, list_offenders, nearest_names

SCHEMA = 1
STATUS_IN_JSON = {"ranked": "ranked", "reference": "yardstick", "privileged": "informed", "excluded": "apart"}


@dataclass(frozen=True)
class PairedDifference:
    """A row minus the reference row, over the replicates that both have."""

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
    """One setting's rows against one of them.

    `best_epoch` is the reference row's best epoch on the clean test set (an oracle) minus what the rule chose,
    replicate by replicate; None where records don't hold it.
    """

    data_set: str
    table: Table
    reference: Row
    best_epoch: PairedDifference | None
    differences: tuple[PairedDifference, ...]


def compare_rows(report: Report, name: str, oracle: Report | None = None) -> list[Comparison]:
    """The rows of every table that has a row of this name, against it, best first.

    `name` is a method ("ce"), or a row as boards print it ("gce [q=0.7]", blanks aside) where a method has several.
    `oracle` is the report of the same records by the rule "best-test", for `best_epoch`. Raises UsageError where no
    table has such a row, or where a table has several.
    """
    best_rows = {
        (table.setting_id, row.label): row for _, table in (oracle.tables if oracle else ()) for row in table.rows
    }
    comparisons = []
    for data_set, table in report.tables:
        reference = _reference_row(table, name)
        if reference is None:
            continue
        best = best_rows.get((table.setting_id, reference.label))
        best_epoch = None if best is None else _subtract(best, reference.accuracies)
        pairs = [_subtract(row, reference.accuracies) for row in table.rows if row is not reference]
        differences = sorted(filter(None, pairs), key=lambda entry: (-round(entry.summary.mean, 12), entry.row.label))
        comparisons.append(Comparison(data_set, table, reference, best_epoch, tuple(differences)))
    if not comparisons:
        methods = sorted({row.method for _, table in report.tables for row in table.rows})
        near = " or ".join(f"--compare {shlex.quote(method)}" for method in nearest_names(name, methods))
        raise UsageError(f"no record is of {name!r}. " + (f"Type {near}" if near else "Any method of a board will do"))
    return comparisons


def _reference_row(table: Table, name: str) -> Row | None:
    """The row that a name stands for; one that has runs of its own before one that is read off them."""
    wanted = "".join(name.split())
    candidates = (
        [row for row in table.rows if "".join(row.label.split()) == wanted],
        [row for row in table.rows if "".join(row.name.split()) == wanted],
        [row for row in table.rows if row.method == name],
    )
    rows: list[Row] = next(filter(None, candidates), [])
    if len(rows) > 1:
        lines = [f"--compare {shlex.quote(row.name)}" for row in rows]
        raise UsageError(f"{name!r} has {len(rows)} rows under {table.heading!r}. Type one:\n" + list_offenders(lines))
    return rows[0] if rows else None


def _subtract(row: Row, reference: Mapping[Replicate, float]) -> PairedDifference | None:
    pairs = paired_differences(row.accuracies, reference)
    if not pairs:
        return None
    return PairedDifference(row, summarise(pairs), wins=sum(pair > 0 for pair in pairs), ties=pairs.count(0))


def comparison_as_json(comparisons: Sequence[Comparison], select: str) -> dict[str, Any]:
    """The comparisons as JSON-able values, fractions in [-1, 1]; None for what isn't known."""
    return {
        "schema": SCHEMA,
        "select": select,
        "settings": [
            {
                "dataset": comparison.data_set,
                "heading": comparison.table.heading,
                "setting_id": comparison.table.setting_id,
                "compared_to": comparison.reference.label,
                "own_best": None if comparison.best_epoch is None else _difference_as_json(comparison.best_epoch),
                "rows": [
                    {
                        "method": difference.row.method,
                        "label": difference.row.label,
                        "parameters": dict(difference.row.parameters),
                        "needs": list(difference.row.needs),
                        "standing": STATUS_IN_JSON[difference.row.status],
                        **_difference_as_json(difference),
                    }
                    for difference in comparison.differences
                ],
            }
            for comparison in comparisons
        ],
    }


def _difference_as_json(difference: PairedDifference) -> dict[str, Any]:
    return {
        "difference": difference.summary.mean,
        "interval": interval_value(difference.summary),
        "n": difference.summary.n,
        "wins": difference.wins,
        "ties": difference.ties,
        "losses": difference.losses,
    }


def comparison_as_csv(comparisons: Sequence[Comparison], select: str) -> str:
    """One line a row of every setting."""
    lines = []
    for setting in comparison_as_json(comparisons, select)["settings"]:
        for row in setting["rows"]:
            low, high = row["interval"] or ("", "")
            lines.append(
                {name: setting[name] for name in ("dataset", "heading", "setting_id", "compared_to")}
                | {"method": row["label"], "needs": ";".join(row["needs"]), "standing": row["standing"]}
                | {name: row[name] for name in ("difference", "n", "wins", "ties", "losses")}
                | {"low": low, "high": high}
            )
    return write_csv(lines)


def comparison_as_markdown(comparisons: Sequence[Comparison], select: str, short_names: bool = False) -> str:
    """The comparisons as Markdown, in points of accuracy.

    `short_names` leaves parameters out where a method has one row.
    """
    parts = [
        f"Accuracy at {RULES[select].words}, minus that of the method named, replicate by replicate: mean, 95 % "
        "t-interval, and the replicates won, tied and lost. Each interval holds for itself: of twenty, one misses."
    ]
    for comparison in comparisons:
        row, table = comparison.reference, comparison.table
        name = escape_markdown(method_label(row))
        parts.append(f"## {escape_markdown(comparison.data_set)} · {escape_markdown(table.heading)}: against {name}")
        accuracy = f"{name}: {format_mean_and_std(row.accuracy)}, n = {len(row.accuracies)}."
        if comparison.best_epoch is not None:
            accuracy += f" Its own best epoch on the clean test set: {_signed(comparison.best_epoch.summary)}."
        parts.append(accuracy)
        lines = [
            [
                escape_markdown(difference.row.name if short_names else method_label(difference.row)),
                _signed(difference.summary),
                str(difference.summary.n),
                f"{difference.wins}/{difference.ties}/{difference.losses}",
                privileges_cell(table, difference.row),
            ]
            for difference in comparison.differences
        ]
        titles = ["method", "difference", "n", "won/tied/lost", "told"]
        parts.append(
            markdown_table(titles, lines, left={"method", "told"}) if lines else "Nothing to compare with yet."
        )
    return "\n\n".join(parts) + "\n"


def _signed(summary: Summary) -> str:
    text = format_difference(summary)
    gained = summary.mean > 0 and text.split()[0].strip("0.") != ""
    return f"+{text}" if gained else text
