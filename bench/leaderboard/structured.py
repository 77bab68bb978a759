"""A report as JSON and CSV: fractions, and null (or an empty cell) for what isn't known."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from typing import Any

from bench.leaderboard.rows import Report, Row, Setting

SCHEMA = 1


def chosen(report: Report, asked: Collection[str] | None) -> list[Setting]:
    """The settings in `asked` (ids; None: all)."""
    return [setting for setting in report.settings if asked is None or setting.id in asked]


def as_json(report: Report, asked: Collection[str] | None = None) -> dict[str, Any]:
    """The report as one JSON-able document; see the design of `report --format json`."""
    return {
        "schema": SCHEMA,
        "select": report.select,
        "settings": [
            {
                "id": setting.id,
                "dataset": setting.fields["data_set"],
                "noise": setting.fields["noise"],
                "rate": setting.fields["rate"],
                "model": setting.fields["model"],
                "epochs": setting.fields["epochs"],
                "protocol": setting.fields["protocol"],
                "realised_rate": setting.realised_rate,
                "labels_sha256": list(setting.labels.values()),
                "command": setting.command,
                "setting": dict(setting.fields),
                "rows": [_row(row) for row in setting.rows],
                "left_out": [{"method": method, "reason": reason} for method, reason in setting.left_out],
            }
            for setting in chosen(report, asked)
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    summary = row.summary
    return {
        "method": row.method,
        "rank": row.rank,
        "may_be_best": row.may_be_best,
        "parameters": dict(row.parameters),
        "learning_rate": row.spec["learning_rate"],
        "weight_decay": row.spec["weight_decay"],
        "needs": list(row.privileges),
        "assumes": list(row.assumes),
        "control": row.control,
        "n": summary.n if summary else 0,
        "mean": summary.mean if summary else None,
        "std": summary.std if summary else None,
        "interval": [summary.low, summary.high] if summary else [None, None],
        **row.measures,
        "same_as": row.same_as,
        "incomplete": row.reason,
    }


def as_csv(report: Report, asked: Collection[str] | None = None) -> str:
    """One line a row of every setting, with a header."""
    names = ["dataset", "noise", "rate", "model", "epochs", "protocol", "setting", "select"]
    lines = []
    for setting in as_json(report, asked)["settings"]:
        for row in setting["rows"]:
            low, high = row.pop("interval")
            flat = {key: _cell(value) for key, value in row.items()} | {"low": _cell(low), "high": _cell(high)}
            head = {name: _cell(setting.get(name)) for name in names}
            lines.append(head | {"setting": setting["id"], "select": report.select} | flat)
    text = io.StringIO()
    if lines:
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ";".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list):
        return ";".join(map(str, value))
    return str(value)
