"""Boards as JSON and CSV: fractions in [0, 1] throughout.

Read `report_as_json` and `report_as_csv`. Keys come from the lists of columns; the two lists here only fix the order of
those that earlier releases wrote.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bench.leaderboard.columns import Column
from bench.leaderboard.detail_columns import EQUAL_COMPUTE, ROW_COLUMNS
from bench.leaderboard.model import EqualComputeTable, Report, Row, Table
from bench.leaderboard.sections import selected_tables
from bench.spec import canonical_json

SCHEMA = 1
REQUEST_FIELDS = ("noise", "rate", "model", "epochs", "protocol")
"""Fields of a setting that stand at the head of a table's JSON, beside the data set."""
NESTED = "selector."
"""Prefix of the columns whose values JSON nests in `selector`."""
# Files that people keep have their columns in this order; keys that aren't named here follow in the columns' order.
ROW_KEYS = (
    *("method", "parameters", "needs", "assumes", "n", "mean", "std", "best_test", "gap", "memorised", "seconds"),
    *("selector", "label", "interval", "rank", "moved", "may_be_best", "behind_leader", "informed", "control"),
    *("derived", "complete", "reason", "learnt", "corrected", "worst_class", "balanced", "negative_log_likelihood"),
    *("calibration_error", "selector_auroc", "single_networks", "network_spread", "networks", "views", "units"),
    *("forward", "backward", "flops_forward", "flops_forward_backward", "flops", "images_per_second"),
    *("peak_memory_bytes", "method_version", "learning_rate", "weight_decay", "members", "recipe_source"),
)
SELECTOR_KEYS = (
    *("source", "kept_source", "corrected_source", "auroc", "average_precision", "precision", "recall"),
    *("corrected", "damaged", "auroc_noisy_classes", "average_precision_noisy_classes", "n", "std", "interval"),
    *("rank", "may_be_best"),
)
ATTRIBUTES = (
    *("label", "may_be_best", "control", "derived", "learning_rate", "weight_decay", "members"),
    "recipe_source",
)
"""Attributes of a row that stand under their own names."""
NOT_IN_CSV = ("n", "interval", "may_be_best")
"""Keys of the selector that only JSON has."""


def report_as_json(report: Report, setting_ids: Collection[str] | None = None) -> dict[str, Any]:
    """The tables of the settings in `setting_ids` (None: all) as JSON-able values; None for what isn't known.

    {"schema", "select", "settings": [{"dataset", "noise", "rate", "model", "epochs", "protocol", "labels_sha256",
    "command", "rows": [...], "left_out": [...], ...}]}. `rows` are all rows: `rank` is null for those that aren't
    ranked, `complete` false with a `reason` for those that aren't compared. `labels_sha256` goes with `replicates`.
    "equal_compute" holds the tables at equal compute, where these were requested.
    """
    settings, equal = _tables_as_json(report, setting_ids)
    document: dict[str, Any] = {"schema": SCHEMA, "select": report.rule.name, "settings": settings}
    if any(board.equal_compute is not None for board in report.boards):
        document["equal_compute"] = equal
    return document


def report_as_csv(report: Report, setting_ids: Collection[str] | None = None) -> str:
    """One line a row of the tables in `setting_ids` (None: all); empty cells for what isn't known.

    Rows of tables at equal compute have an `allowance`, after the others.
    """
    settings, equal = _tables_as_json(report, setting_ids)
    lines = [_csv_line(table, row) for table in settings for row in table["rows"]]
    lines_at_equal_compute = [_csv_line(table, row) for table in equal for row in table["rows"]]
    return write_csv([*lines, *lines_at_equal_compute]) if lines else ""


def write_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines as CSV with a header of all their keys; an empty text for none."""
    text = io.StringIO()
    if lines:
        writer = csv.DictWriter(text, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue()


def _csv_line(table: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """One line of CSV: the table's head, and a row of it with nothing nested."""
    line = {name: table[name] for name in ("dataset", *REQUEST_FIELDS)} | row
    low, high = line.pop("interval") or (None, None)
    selector = dict.fromkeys(SELECTOR_KEYS) | (line.pop("selector") or {})
    difference = line.pop("behind_leader") or {}
    return (
        line
        | {name: ";".join(line[name]) for name in ("needs", "assumes")}
        | {"parameters": canonical_json(line["parameters"]), "low": low, "high": high}
        | {f"selector_{key}": value for key, value in selector.items() if key not in NOT_IN_CSV}
        | {"behind_leader": difference.get("mean"), "setting_id": table["setting_id"], "heading": table["heading"]}
    )


def _tables_as_json(
    report: Report, setting_ids: Collection[str] | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(the tables of settings, those at equal compute)."""
    settings, equal = [], []
    for data_set, table in selected_tables(report, setting_ids):
        if isinstance(table, EqualComputeTable):
            equal.append(_equal_compute_as_json(data_set, table))
        else:
            settings.append(_setting_as_json(data_set, table))
    return settings, equal


def _head(data_set: str, table: Table) -> dict[str, Any]:
    """The fields by which a table is requested."""
    return {"dataset": data_set} | {name: table.setting.get(name) for name in REQUEST_FIELDS}


def _setting_as_json(data_set: str, table: Table) -> dict[str, Any]:
    hashes = table.labels_sha256
    return {
        **_head(data_set, table),
        "labels_sha256": list(hashes.values()),
        "command": table.command,
        "rows": [_row_as_json(row) for row in table.rows],
        "left_out": [dict(entry) for entry in table.left_out],
        "replicates": [replicate._asdict() for replicate in hashes],
        "complete_replicates": len(table.replicates),
        "heading": table.heading,
        "setting_id": table.setting_id,
        "setting": dict(table.setting),
        "leader": table.leader,
        "may_be_best": table.best_set,
        "cost_frontier": [row.label for row in table.frontier],
        "same": list(table.identical),
        "caveats": list(table.caveats),
    }


def _equal_compute_as_json(data_set: str, table: EqualComputeTable) -> dict[str, Any]:
    """A table at equal compute; its rows are those of any table, with what was chosen for them."""
    return {
        **_head(data_set, table),
        "heading": table.heading,
        "setting_id": table.setting_id,
        "allowance": table.allowance,
        "dearest": table.dearest,
        "leader": table.leader,
        "may_be_best": table.best_set,
        "replicates": [replicate._asdict() for replicate in table.replicates],
        "rows": [_row_as_json(row) | _column_values(EQUAL_COMPUTE, row) for row in table.rows],
        "left_out": [dict(entry) for entry in table.left_out],
        "notes": list(table.caveats),
        "command": table.command,
    }


def _row_as_json(row: Row) -> dict[str, Any]:
    values = _column_values(ROW_COLUMNS, row)
    nested = {key.removeprefix(NESTED): values.pop(key) for key in list(values) if key.startswith(NESTED)}
    selector = dict.fromkeys(SELECTOR_KEYS) | nested
    return (
        dict.fromkeys(ROW_KEYS)
        | values
        | {name: getattr(row, name) for name in ATTRIBUTES}
        | {
            "parameters": dict(row.parameters),
            "std": None if row.accuracy is None else row.accuracy.std,
            "selector": selector if row.selector else None,
            "informed": bool(row.needs),
            "complete": row.status != "excluded",
            "selector_auroc": row.selector.get("auroc"),
            "method_version": row.version,
        }
    )


def _column_values(columns: Sequence[Column], row: Row) -> dict[str, Any]:
    return {column.key: column.value_of(row) for column in columns if column.key}
