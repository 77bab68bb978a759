"""Boards as JSON and CSV: fractions in [0, 1] throughout."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bench.leaderboard.model import EqualCompute, Report, Row, Table
from bench.leaderboard.rows import COSTS, ON_THE_MACHINE, SELECTOR, SOURCES
from bench.spec import canonical_json

SCHEMA = 1
ASKED_BY = ("noise", "rate", "model", "epochs", "protocol")
"""Fields of a setting that stand at the head of a table's JSON, beside the data set."""
IN_CSV = (*SOURCES, *SELECTOR, "std", "rank")


def report_as_json(report: Report, asked: Collection[str] | None = None) -> dict[str, Any]:
    """The tables of the settings in `asked` (ids; None: all) as JSON-able values; None for what isn't known.

    {"schema", "select", "settings": [{"dataset", "noise", "rate", "model", "epochs", "protocol", "labels_sha256",
    "command", "rows": [...], "left_out": [...], ...}]}. `rows` are all rows: `rank` is null for those that aren't
    ranked, `complete` false with a `reason` for those that aren't compared. `labels_sha256` goes with `replicates`.
    "equal_compute" holds the tables at equal compute, where these were asked for.
    """
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "select": report.rule.name,
        "settings": [_setting(data_set, table) for data_set, table in _tables(report, asked)],
    }
    if any(board.equal_compute is not None for board in report.boards):
        found["equal_compute"] = [_equal(data_set, table) for data_set, table in _equal_tables(report, asked)]
    return found


def report_as_csv(report: Report, asked: Collection[str] | None = None) -> str:
    """One line a row of the tables in `asked` (ids; None: all); empty cells for what isn't known.

    Rows of tables at equal compute have an `allowance`, after the others.
    """
    lines = [
        _line(_setting(data_set, table), row)
        for data_set, table in _tables(report, asked)
        for row in map(_row, table.rows)
    ]
    equal = [
        _line(found, row)
        for found in (_equal(data_set, table) for data_set, table in _equal_tables(report, asked))
        for row in found["rows"]
    ]
    if not lines:
        return ""
    names = dict.fromkeys(name for line in [lines[0], *equal[:1]] for name in line)
    writer = csv.DictWriter(text := io.StringIO(), list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*lines, *equal])
    return text.getvalue()


def _line(table: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """One line of CSV: what a table is about, and a row of it with nothing nested."""
    about = {name: table[name] for name in ("dataset", *ASKED_BY)}
    line = dict(row)
    low, high = line.pop("interval") or (None, None)
    selector = line.pop("selector") or {}
    behind = line.pop("behind_leader") or {}
    line |= {"parameters": canonical_json(line["parameters"])}
    line |= {name: ";".join(line[name]) for name in ("needs", "assumes")}
    line |= {"low": low, "high": high}
    line |= {f"selector_{name}": selector.get(name) for name in IN_CSV}
    line |= {
        "behind_leader": behind.get("mean"),
        "setting_id": table["setting_id"],
        "heading": table["heading"],
    }
    return about | line


def _tables(report: Report, asked: Collection[str] | None) -> Iterator[tuple[str, Table]]:
    for board in report.boards:
        for table in board.tables:
            if asked is None or table.setting_id in asked:
                yield board.data_set, table


def _equal_tables(report: Report, asked: Collection[str] | None) -> Iterator[tuple[str, EqualCompute]]:
    for board in report.boards:
        for table in board.equal_compute or ():
            if asked is None or table.setting_id in asked:
                yield board.data_set, table


def _about(data_set: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    """What a table is about, as it is asked for."""
    return {"dataset": data_set} | {name: setting.get(name) for name in ASKED_BY}


def _equal(data_set: str, table: EqualCompute) -> dict[str, Any]:
    """A table at equal compute; its rows are those of any table, and what was chosen for them."""
    return {
        **_about(data_set, table.setting),
        "heading": table.heading,
        "setting_id": table.setting_id,
        "allowance": table.allowance,
        "dearest": table.dearest,
        "leader": table.leader,
        "may_be_best": None if table.best_set is None else list(table.best_set),
        "replicates": [each._asdict() for each in table.replicates],
        "rows": [_row(row) | _choice(table, row) for row in table.rows],
        "left_out": [dict(each) for each in table.left_out],
        "notes": list(table.notes),
        "command": table.command,
    }


def _choice(table: EqualCompute, row: Row) -> dict[str, Any]:
    choice = table.choices[row.label]
    return {
        "epochs": choice.epochs,
        "members": choice.members,
        "run_units": choice.units,
        "allowance": table.allowance,
        "unused": table.unused(row),
        "noisy_holdout": choice.score.mean,
        "noisy_holdout_error": choice.score.error,
        "noisy_holdout_labels": choice.score.labels,
        "tried": choice.tried,
        "beyond_allowance": choice.beyond,
        "unfinished": choice.unfinished,
        "search_units": choice.search,
    }


def _setting(data_set: str, table: Table) -> dict[str, Any]:
    hashes = table.labels_sha256
    return {
        **_about(data_set, table.setting),
        "labels_sha256": list(hashes.values()),
        "command": table.command,
        "rows": [_row(row) for row in table.rows],
        "left_out": [dict(each) for each in table.left_out],
        "replicates": [each._asdict() for each in hashes],
        "complete_replicates": len(table.replicates),
        "heading": table.heading,
        "setting_id": table.setting_id,
        "setting": dict(table.setting),
        "leader": table.leader,
        "may_be_best": None if table.best_set is None else list(table.best_set),
        "cost_frontier": [row.label for row in table.frontier],
        "same": list(table.same),
        "caveats": list(table.caveats),
    }


def _row(row: Row) -> dict[str, Any]:
    accuracy, means = row.accuracy, row.means
    return {
        "method": row.method,
        "parameters": dict(row.parameters),
        "needs": list(row.needs),
        "assumes": list(row.assumes),
        "n": len(row.accuracies),
        "mean": None if accuracy is None else accuracy.mean,
        "std": None if accuracy is None else accuracy.std,
        "best_test": means.get("best_test"),
        "gap": row.gap,
        "memorised": means.get("memorised"),
        "seconds": means.get("seconds"),
        "selector": _selector(row),
        "label": row.label,
        "interval": None if accuracy is None or accuracy.low is None else [accuracy.low, accuracy.high],
        "rank": row.rank,
        "moved": row.moved,
        "may_be_best": row.may_be_best,
        "behind_leader": None
        if row.behind is None
        else {"mean": row.behind.mean, "low": row.behind.low, "high": row.behind.high},
        "informed": bool(row.needs),
        "control": row.control,
        "derived": row.derived,
        "complete": row.standing != "apart",
        "reason": row.reason or None,
        "learnt": means.get("learnt"),
        "corrected": means.get("corrected"),
        "worst_class": means.get("worst_class"),
        "balanced": means.get("balanced"),
        "negative_log_likelihood": means.get("negative_log_likelihood"),
        "calibration_error": means.get("calibration_error"),
        "selector_auroc": row.selector.get("auroc"),
        "single_networks": means.get("single_networks"),
        "network_spread": means.get("network_spread"),
        "networks": means.get("networks"),
        "views": means.get("views"),
        "units": means.get("units"),
        **{name: means.get(name) for name in (*COSTS[1:], "flops", *ON_THE_MACHINE)},
        "method_version": row.version,
        "learning_rate": row.learning_rate,
        "weight_decay": row.weight_decay,
        "members": row.members,
    }


def _selector(row: Row) -> dict[str, Any] | None:
    """What a row's finding of wrong labels came to: means of its measures, and its AUROC's spread and rank."""
    if not row.selector:
        return None
    auroc = row.auroc
    return dict(row.selector) | {
        "n": len(row.aurocs),
        "std": None if auroc is None else auroc.std,
        "interval": None if auroc is None or auroc.low is None else [auroc.low, auroc.high],
        "rank": row.finder_rank,
        "may_be_best": row.may_find_best,
    }
