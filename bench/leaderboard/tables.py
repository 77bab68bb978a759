"""Records -> boards: one for each data set, in it one table for each setting. Pure. Begin at `build_report`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.leaderboard import selection, settings
from bench.leaderboard.equal_compute import equal_compute_tables
from bench.leaderboard.measurements import Record
from bench.leaderboard.model import Board, Report, Table, TableNotes
from bench.leaderboard.notes import describe_caveats, describe_identical_rows, note_audit
from bench.leaderboard.ranking import add_rank_moves, agreed_label_hashes, rank_rows
from bench.leaderboard.rows import RunGroup, group_runs, row_labels
from bench.leaderboard.selection import SelectionRule
from bench.leaderboard.settings import Setting, record_setting
from bench.planning.compute_budget import Budget
from bench.spec import RESERVED_SEEDS, canonical_json
from bench.system.text import digest


def build_report(
    records: Iterable[Record],
    *,
    failures: Iterable[Record] = (),
    select: str = "last",
    beside: TableNotes | None = None,
    budget: Budget | None = None,
) -> Report:
    """The boards of `records`, whatever their order; a run that is there twice counts once.

    `failures` make their rows incomplete. `select` is a rule of `selection.RULES`. `beside` holds what stands beside
    the rows (see `bench.reporting.publish`). With a `budget`, boards have tables at equal compute too. Raises
    UsageError for an unknown rule.
    """
    rule, beside = selection.selection_rule(select), beside or TableNotes()
    finished, failed = runs_by_setting(records), runs_by_setting(failures)
    recorded = {id_: record_setting((finished.get(id_) or failed[id_])[0]) for id_ in {*finished, *failed}}
    in_order = sorted(recorded.items(), key=lambda item: (settings.setting_order(item[1]), item[0]))
    boards = []
    for data_set in sorted({str(setting["data_set"]) for setting in recorded.values()}):
        of_data_set = {id_: setting for id_, setting in in_order if str(setting["data_set"]) == data_set}
        fields = settings.differing_fields([of_data_set[id_] for id_ in sorted(of_data_set)])
        tables = []
        for id_, setting in of_data_set.items():
            groups = group_runs(finished.get(id_, ()), failed.get(id_, ()))
            sources = {str(group.spec["recipe_source"]) for group in groups if group.spec.get("recipe_source")}
            heading = settings.setting_heading(setting, fields, sources)
            tables.append(_build_table(id_, setting, heading, groups, rule, beside))
        equal = None if budget is None else equal_compute_tables(tables, finished, failed, budget, rule, fields)
        boards.append(Board(data_set, tuple(add_rank_moves(tables)), equal))
    return Report(rule, tuple(boards))


def is_reportable(record: Record) -> bool:
    """Whether a run may stand on a board: its seed isn't one of those for choosing."""
    return int(record["spec"].get("seed", 0)) < RESERVED_SEEDS


def runs_by_setting(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by setting id, each run once, ordered by run id so that nothing depends on how they came.

    Without the runs on seeds for choosing: values were picked for doing well there.
    """
    by_setting: dict[str, dict[str, Record]] = {}
    for record in filter(is_reportable, records):
        setting_id = digest(canonical_json(record_setting(record)))
        by_setting.setdefault(setting_id, {}).setdefault(record["run_id"], record)
    return {setting_id: [runs[run_id] for run_id in sorted(runs)] for setting_id, runs in by_setting.items()}


def _build_table(
    setting_id: str, setting: Setting, heading: str, groups: Sequence[RunGroup], rule: SelectionRule, beside: TableNotes
) -> Table:
    rows, replicates = rank_rows(groups, rule)
    records = [record for group in groups for record in group.ordered]
    left_out = [entry for entry in beside.left_out if entry.get("setting_id") in (None, setting_id)]
    reasons = sorted({(str(entry["method"]), str(entry["reason"])) for entry in left_out})
    caveats = describe_caveats(setting, rows, records, replicates, rule)
    return Table(
        setting_id=setting_id,
        setting=setting,
        heading=heading,
        rows=tuple(rows),
        replicates=replicates,
        labels_sha256=agreed_label_hashes(groups),
        description=settings.describe_setting(setting, rows, records),
        identical=describe_identical_rows(groups, row_labels(groups)),
        caveats=[*beside.notes.get(setting_id, ()), *([note_audit(records)] if beside.audited else []), *caveats],
        audited=beside.audited,
        command=beside.commands.get(setting_id, ""),
        tests_as_given=settings.are_tests_as_given(setting, records),
        left_out=tuple({"method": method, "reason": reason} for method, reason in reasons),
    )
