"""Records -> boards: one for each data set, in it one table for each setting. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.budget import Budget
from bench.leaderboard import choose, stats
from bench.leaderboard.caveats import caveats
from bench.leaderboard.choose import Rule
from bench.leaderboard.commands import reproduce
from bench.leaderboard.equal_compute import equal_compute
from bench.leaderboard.model import Board, Record, Replicate, Report, Row, Table
from bench.leaderboard.moves import with_moves
from bench.leaderboard.rows import group, labels_of
from bench.leaderboard.same import same_runs
from bench.leaderboard.settings import describe, differing, heading, order, setting_of
from bench.leaderboard.standing import judge, label_hashes
from bench.spec import RESERVED_SEEDS, canonical_json, digest


@dataclass(frozen=True)
class Aside:
    """What records don't hold and only the caller of `build` knows, by setting id."""

    left_out: tuple[Mapping[str, Any], ...]
    commands: Mapping[str, str]
    checked: Mapping[str, str]
    notes: Mapping[str, Sequence[str]]


def build(
    records: Iterable[Record],
    *,
    failures: Iterable[Record] = (),
    left_out: Iterable[Mapping[str, Any]] = (),
    select: str = "last",
    commands: Mapping[str, str] | None = None,
    checked: Mapping[str, str] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    budget: Budget | None = None,
) -> Report:
    """The boards of `records`, whatever their order; a run that is there twice counts once.

    `failures` make their rows incomplete. `left_out` holds {"method", "reason", "setting_id"}: what a request left out
    under that setting (without an id: under every one). `select` is a rule of `choose.RULES`. `commands` gives what
    was typed, by setting id; it is shown where it seems to ask for every row of the table. `checked` gives commands
    that are known to, which are shown as they are; `notes` sentences for under the table. With a `budget`, boards have
    tables at equal compute too. Raises UsageError for an unknown rule.
    """
    rule = choose.rule(select)
    aside = Aside(tuple(left_out), commands or {}, checked or {}, notes or {})
    finished = _by_setting(records)
    failed = _by_setting(failures)
    boards: dict[str, list[str]] = {}
    for setting_id in sorted({*finished, *failed}):
        any_record = (finished.get(setting_id) or failed[setting_id])[0]
        boards.setdefault(str(any_record["spec"]["data_set"]), []).append(setting_id)
    made = []
    for data_set in sorted(boards):
        settings = {id_: setting_of((finished.get(id_) or failed[id_])[0]) for id_ in boards[data_set]}
        fields = differing(list(settings.values()))
        tables = [
            _table(id_, settings[id_], fields, finished.get(id_, []), failed.get(id_, []), aside, rule)
            for id_ in sorted(settings, key=lambda id_: (order(settings[id_]), id_))
        ]
        equal = None if budget is None else equal_compute(tables, finished, failed, budget, rule, fields)
        made.append(Board(data_set, tuple(with_moves(tables)), equal))
    return Report(rule, tuple(made))


def reportable(record: Record) -> bool:
    """Whether a run may stand on a board: its seed isn't one of those for choosing."""
    return int(record["spec"].get("seed", 0)) < RESERVED_SEEDS


def _by_setting(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by setting id, each run once, ordered by run id so that nothing depends on how they came.

    Without the runs on seeds for choosing: values were picked for doing well there.
    """
    found: dict[str, dict[str, Record]] = {}
    for record in filter(reportable, records):
        setting_id = digest(canonical_json(setting_of(record)))
        found.setdefault(setting_id, {}).setdefault(record["run_id"], record)
    return {setting_id: [runs[key] for key in sorted(runs)] for setting_id, runs in found.items()}


def _table(
    setting_id: str,
    setting: Mapping[str, Any],
    fields: Sequence[str],
    records: Sequence[Record],
    failures: Sequence[Record],
    aside: Aside,
    rule: Rule,
) -> Table:
    groups = group(records, failures)
    rows, reference = judge(groups, rule)
    ordered = [record for each in groups for record in each.ordered]
    ranked = {row.label: row.accuracies for row in rows if row.standing == "ranked"}
    return Table(
        setting_id=setting_id,
        setting=setting,
        heading=heading(setting, fields),
        rows=tuple(rows),
        replicates=reference,
        labels_sha256=label_hashes(groups),
        description=describe(setting, rows, ordered),
        best_set=_best_set(rows),
        leader=stats.leader(ranked) if ranked else None,
        same=same_runs(groups, labels_of(groups)),
        caveats=[*aside.notes.get(setting_id, ()), *caveats(setting, rows, ordered, reference, rule)],
        command=aside.checked.get(setting_id)
        or reproduce(setting, _current(rows), _replicates(groups), aside.commands.get(setting_id)),
        left_out=_unsuitable(aside.left_out, setting_id),
    )


def _best_set(rows: Iterable[Row]) -> tuple[str, ...] | None:
    found = tuple(row.label for row in rows if row.may_be_best)
    return found or None


def _current(rows: Iterable[Row]) -> list[Row]:
    """Rows that today's code can train: an older version of a method it can't."""
    newest: dict[str, int] = {}
    kept = list(rows)
    for row in kept:
        newest[row.method] = max(row.version, newest.get(row.method, row.version))
    return [row for row in kept if row.version == newest[row.method]]


def _replicates(groups: Iterable[Any]) -> set[Replicate]:
    return {replicate for each in groups for replicate in (*each.records, *each.failures)}


def _unsuitable(left_out: Iterable[Mapping[str, Any]], setting_id: str) -> tuple[Mapping[str, str], ...]:
    found = {
        (str(each["method"]), str(each["reason"])) for each in left_out if each.get("setting_id") in (None, setting_id)
    }
    return tuple({"method": method, "reason": reason} for method, reason in sorted(found))
