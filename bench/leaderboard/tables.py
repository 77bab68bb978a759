"""Records -> boards: one for each data set, in it one table for each setting. Pure. Begin at `build_report`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.leaderboard import selection
from bench.leaderboard.equal_compute import equal_compute_tables
from bench.leaderboard.measurements import Record
from bench.leaderboard.model import Board, Report, Table
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
    finished, failed = _by_setting(records), _by_setting(failures)
    left_out = list(left_out)
    settings = {id_: record_setting((finished.get(id_) or failed[id_])[0]) for id_ in sorted({*finished, *failed})}
    boards = []
    for data_set in sorted({str(setting["data_set"]) for setting in settings.values()}):
        of_data_set = {id_: setting for id_, setting in settings.items() if str(setting["data_set"]) == data_set}
        fields = differing_fields(list(of_data_set.values()))
        tables = [
            _build_table(
                id_,
                of_data_set[id_],
                heading=setting_heading(of_data_set[id_], fields),
                records=finished.get(id_, []),
                failures=failed.get(id_, []),
                rule=rule,
                notes=(notes or {}).get(id_, ()),
                command=(commands or {}).get(id_, ""),
                left_out=[entry for entry in left_out if entry.get("setting_id") in (None, id_)],
            )
            for id_ in sorted(of_data_set, key=lambda id_: (setting_order(of_data_set[id_]), id_))
        ]
        equal = None if budget is None else equal_compute_tables(tables, finished, failed, budget, rule, fields)
        boards.append(Board(data_set, tuple(add_rank_moves(tables)), equal))
    return Report(rule, tuple(boards))


def is_reportable(record: Record) -> bool:
    """Whether a run may stand on a board: its seed isn't one of those for choosing."""
    return int(record["spec"].get("seed", 0)) < RESERVED_SEEDS


def _by_setting(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by setting id, each run once, ordered by run id so that nothing depends on how they came.

    Without the runs on seeds for choosing: values were picked for doing well there.
    """
    settings: dict[str, dict[str, Record]] = {}
    for record in filter(is_reportable, records):
        setting_id = digest(canonical_json(record_setting(record)))
        settings.setdefault(setting_id, {}).setdefault(record["run_id"], record)
    return {setting_id: [runs[run_id] for run_id in sorted(runs)] for setting_id, runs in settings.items()}


def _build_table(
    setting_id: str,
    setting: Mapping[str, Any],
    *,
    heading: str,
    records: Sequence[Record],
    failures: Sequence[Record],
    rule: SelectionRule,
    notes: Sequence[str],
    command: str,
    left_out: Iterable[Mapping[str, Any]],
) -> Table:
    groups = group_runs(records, failures)
    rows, replicates = rank_rows(groups, rule)
    ordered = [record for group in groups for record in group.ordered]
    accuracies = {row.label: row.accuracies for row in rows if row.status == "ranked"}
    reasons = sorted({(str(entry["method"]), str(entry["reason"])) for entry in left_out})
    return Table(
        setting_id=setting_id,
        setting=setting,
        heading=heading,
        rows=tuple(rows),
        replicates=replicates,
        labels_sha256=agreed_label_hashes(groups),
        description=describe_setting(setting, rows, ordered),
        best_set=tuple(row.label for row in rows if row.may_be_best) or None,
        leader=summary.leader(accuracies) if accuracies else None,
        identical=describe_identical_rows(groups, row_labels(groups)),
        caveats=[*notes, *describe_caveats(setting, rows, ordered, replicates, rule)],
        command=command,
        left_out=tuple({"method": method, "reason": reason} for method, reason in reasons),
    )
