"""Records -> boards: one for each data set, in it one table for each setting. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.leaderboard import selection
from bench.leaderboard.equal_compute import equal_compute_tables
from bench.leaderboard.model import Board, Record, Report, Row, Table
from bench.leaderboard.notes import describe_caveats, describe_identical_rows
from bench.leaderboard.ranking import add_rank_moves, agreed_label_hashes, rank_rows
from bench.leaderboard.rows import group_runs, row_labels
from bench.leaderboard.selection import SelectionRule
from bench.leaderboard.settings import (
    describe_setting,
    differing_fields,
    record_setting,
    setting_heading,
    setting_order,
)
from bench.planning.compute_budget import Budget
from bench.spec import RESERVED_SEEDS, canonical_json
from bench.stats import summary
from bench.system.text import digest


@dataclass(frozen=True)
class TableNotes:
    """What records don't hold and only the caller of `build_report` has, by setting id."""

    left_out: tuple[Mapping[str, Any], ...]
    commands: Mapping[str, str]
    notes: Mapping[str, Sequence[str]]


def build_report(
    records: Iterable[Record],
    *,
    failures: Iterable[Record] = (),
    left_out: Iterable[Mapping[str, Any]] = (),
    select: str = "last",
    commands: Mapping[str, str] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    budget: Budget | None = None,
) -> Report:
    """The boards of `records`, whatever their order; a run that is there twice counts once.

    `failures` make their rows incomplete. `left_out` holds {"method", "reason", "setting_id"}: what a request left out
    under that setting (without an id: under every one). `select` is a rule of `selection.RULES`. By setting id,
    `commands` gives the command that trains a table again (see `bench.reporting.reproduce`) and `notes` sentences for
    under the table. With a `budget`, boards have tables at equal compute too. Raises UsageError for an unknown rule.
    """
    rule = selection.selection_rule(select)
    aside = TableNotes(tuple(left_out), commands or {}, notes or {})
    finished = _by_setting(records)
    failed = _by_setting(failures)
    boards: dict[str, list[str]] = {}
    for setting_id in sorted({*finished, *failed}):
        any_record = (finished.get(setting_id) or failed[setting_id])[0]
        boards.setdefault(str(any_record["spec"]["data_set"]), []).append(setting_id)
    made = []
    for data_set in sorted(boards):
        settings = {id_: record_setting((finished.get(id_) or failed[id_])[0]) for id_ in boards[data_set]}
        fields = differing_fields(list(settings.values()))
        tables = [
            _table(id_, settings[id_], fields, finished.get(id_, []), failed.get(id_, []), aside, rule)
            for id_ in sorted(settings, key=lambda id_: (setting_order(settings[id_]), id_))
        ]
        equal = None if budget is None else equal_compute_tables(tables, finished, failed, budget, rule, fields)
        made.append(Board(data_set, tuple(add_rank_moves(tables)), equal))
    return Report(rule, tuple(made))


def is_reportable(record: Record) -> bool:
    """Whether a run may stand on a board: its seed isn't one of those for choosing."""
    return int(record["spec"].get("seed", 0)) < RESERVED_SEEDS


def _by_setting(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by setting id, each run once, ordered by run id so that nothing depends on how they came.

    Without the runs on seeds for choosing: values were picked for doing well there.
    """
    found: dict[str, dict[str, Record]] = {}
    for record in filter(is_reportable, records):
        setting_id = digest(canonical_json(record_setting(record)))
        found.setdefault(setting_id, {}).setdefault(record["run_id"], record)
    return {setting_id: [runs[key] for key in sorted(runs)] for setting_id, runs in found.items()}


def _table(
    setting_id: str,
    setting: Mapping[str, Any],
    fields: Sequence[str],
    records: Sequence[Record],
    failures: Sequence[Record],
    aside: TableNotes,
    rule: SelectionRule,
) -> Table:
    groups = group_runs(records, failures)
    rows, reference = rank_rows(groups, rule)
    ordered = [record for each in groups for record in each.ordered]
    ranked = {row.label: row.accuracies for row in rows if row.standing == "ranked"}
    return Table(
        setting_id=setting_id,
        setting=setting,
        heading=setting_heading(setting, fields),
        rows=tuple(rows),
        replicates=reference,
        labels_sha256=agreed_label_hashes(groups),
        description=describe_setting(setting, rows, ordered),
        best_set=_best_set(rows),
        leader=summary.leader(ranked) if ranked else None,
        same=describe_identical_rows(groups, row_labels(groups)),
        caveats=[*aside.notes.get(setting_id, ()), *describe_caveats(setting, rows, ordered, reference, rule)],
        command=aside.commands.get(setting_id, ""),
        left_out=_unsuitable(aside.left_out, setting_id),
    )


def _best_set(rows: Iterable[Row]) -> tuple[str, ...] | None:
    found = tuple(row.label for row in rows if row.may_be_best)
    return found or None


def _unsuitable(left_out: Iterable[Mapping[str, Any]], setting_id: str) -> tuple[Mapping[str, str], ...]:
    found = {
        (str(each["method"]), str(each["reason"])) for each in left_out if each.get("setting_id") in (None, setting_id)
    }
    return tuple({"method": method, "reason": reason} for method, reason in sorted(found))
