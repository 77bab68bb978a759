"""The status and rank of each row of a setting, and how far rows moved under the shared grid.

`rank_rows` is where to begin: it builds the rows, excludes what isn't comparable, ranks the rest by accuracy and by
noise detection. `add_rank_moves` compares the finished tables of the shared grid and of shared-lr.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bench.leaderboard.cells import describe_move
from bench.leaderboard.model import FAR, RankStatus, Replicate, Row, Table
from bench.leaderboard.rows import RunGroup, build_row, early_stopped_row, row_labels, short_name
from bench.leaderboard.selection import SelectionRule
from bench.leaderboard.settings import Setting
from bench.spec import SHARED_GRID, SHARED_LR, canonical_json
from bench.stats import summary
from bench.system.text import join_words, list_first

SAME_TO = 12
"""Decimals to which means are equal: what lies below is only rounding error."""


def rank_rows(groups: Sequence[RunGroup], rule: SelectionRule) -> tuple[list[Row], tuple[Replicate, ...]]:
    """Every row of one setting, ranked where it may be, and the replicates of a complete row."""
    built: list[tuple[Row, RunGroup]] = []
    for group, label in zip(groups, row_labels(groups), strict=True):
        built.append((build_row(group, label, rule), group))
        if stopped := early_stopped_row(group, label):
            built.append((stopped, group))
    hashes, newest = agreed_label_hashes(groups), _newest_versions(row for row, _ in built)
    reasons = [_older_version(row, newest) or _other_labels(group, hashes) for row, group in built]
    replicates = _common_replicates(row for (row, _), reason in zip(built, reasons, strict=True) if not reason)
    rows = []
    for (row, group), reason in zip(built, reasons, strict=True):
        reason = reason or _missing_replicates(row, group, replicates)
        status: RankStatus = (
            "excluded" if reason else "privileged" if row.needs else "reference" if row.derived else "ranked"
        )
        rows.append(replace(row, name=short_name(row, (other for other, _ in built)), status=status, reason=reason))
    return sorted(_rank_detection(_rank_accuracy(rows)), key=_order), replicates


def agreed_label_hashes(groups: Iterable[RunGroup]) -> dict[Replicate, str]:
    """The noisy labels' hash at each replicate: the one that most rows have."""
    votes: dict[Replicate, Counter[str]] = {}
    for group in groups:
        for replicate, record in group.records.items():
            if record["measures"].get("labels_sha256"):
                votes.setdefault(replicate, Counter())[record["measures"]["labels_sha256"]] += 1
    return {
        replicate: min(votes[replicate], key=lambda sha: (-votes[replicate][sha], sha)) for replicate in sorted(votes)
    }


def _newest_versions(rows: Iterable[Row]) -> dict[str, int]:
    """The newest version of each method."""
    newest: dict[str, int] = {}
    for row in rows:
        newest[row.method] = max(row.version, newest.get(row.method, row.version))
    return newest


def _older_version(row: Row, newest: Mapping[str, int]) -> str:
    """The reason to exclude a row of an older version: it computes something else by the same name."""
    if row.version == newest[row.method]:
        return ""
    return f"version {row.version} of the method; version {newest[row.method]} has runs too"


def _other_labels(group: RunGroup, hashes: Mapping[Replicate, str]) -> str:
    """The reason to exclude a row that learnt from other noisy labels than the rest; else an empty text."""
    others = [
        str(replicate)
        for replicate, record in sorted(group.records.items())
        if record["measures"].get("labels_sha256") not in (None, hashes.get(replicate))
    ]
    return f"learnt from other noisy labels than the rest at replicate {join_words(others)}" if others else ""


def _common_replicates(rows: Iterable[Row]) -> tuple[Replicate, ...]:
    """The replicates of the row that has most; of several such lists the commonest, then the first."""
    lists = Counter(tuple(sorted(row.accuracies)) for row in rows if not row.derived)
    return min(lists, key=lambda replicates: (-len(replicates), -lists[replicates], replicates), default=())


def _missing_replicates(row: Row, group: RunGroup, replicates: Sequence[Replicate]) -> str:
    """The reason why a row is incomplete; else an empty text."""
    failed = [
        f"replicate {replicate} failed"
        + (f" at epoch {failure['epoch']}" if failure.get("epoch") else "")
        + f" ({failure['reason']})"
        for replicate, failure in sorted(group.failures.items())
    ]
    lacking = [seeds for seeds in replicates if seeds not in row.accuracies and seeds not in group.failures]
    without_accuracy = [str(seeds) for seeds in lacking if seeds in group.records]
    absent = [str(seeds) for seeds in lacking if seeds not in group.records]
    if not row.accuracies and group.records and not failed and not absent:
        return "its records hold no accuracy by this rule (nothing was held out, or it isn't finite)"
    parts = [*failed[:3], *([f"{len(failed) - 3} more failed"] if len(failed) > 3 else [])]
    parts += [f"{list_first(without_accuracy, 10)} without a finite accuracy"] if without_accuracy else []
    parts += [f"{list_first(absent, 10)} not run yet"] if absent else []
    if not parts:
        return ""
    present = sum(seeds in row.accuracies for seeds in replicates)
    return f"{present} of {max(len(replicates), present)} replicates: {'; '.join(parts)}"


def _rank_accuracy(rows: Sequence[Row]) -> list[Row]:
    """The rows with ranks (equal means share one), paired differences to the leader, and which may be the best."""
    accuracies = {row.label: row.accuracies for row in rows if row.status == "ranked"}
    if not accuracies:
        return list(rows)
    leader = summary.leader(accuracies)
    candidates = summary.may_be_best(accuracies) or frozenset()
    places = _places({row.label: _mean(row) for row in rows if row.label in accuracies})
    ranked = []
    for row in rows:
        if row.status != "excluded" and row.label != leader:
            pairs = summary.paired_differences(row.accuracies, accuracies[leader])
            row = replace(row, difference_to_leader=summary.summarise(pairs) if pairs else None)
        if row.label in accuracies:
            row = replace(row, rank=places[row.label], may_be_best=row.label in candidates)
        ranked.append(row)
    return ranked


def _rank_detection(rows: Sequence[Row]) -> list[Row]:
    """The rows with ranks by AUROC, and which may be the best at it: ranked ones whose every replicate has one."""
    by_label = {row.label: row.aurocs for row in rows if row.status == "ranked" and row.aurocs}
    replicates = max(by_label.values(), key=len, default={}).keys()
    complete = {label: aurocs for label, aurocs in by_label.items() if aurocs.keys() == replicates}
    candidates = summary.may_be_best(complete) or frozenset()
    places = _places({label: summary.summarise(list(aurocs.values())).mean for label, aurocs in complete.items()})
    return [
        replace(row, detection_rank=places[row.label], may_detect_best=row.label in candidates)
        if row.label in places
        else row
        for row in rows
    ]


def _places(means: Mapping[str, float]) -> dict[str, int]:
    """Each label's place by its mean, from 1; equal means share one."""
    rounded = {label: round(mean, SAME_TO) for label, mean in means.items()}
    return {label: 1 + sum(other > mean for other in rounded.values()) for label, mean in rounded.items()}


def _mean(row: Row) -> float:
    return -1.0 if row.accuracy is None else row.accuracy.mean


def _order(row: Row) -> tuple[int, str, float, str]:
    """The key that sorts the rows of a table."""
    groups: dict[RankStatus, int] = {"ranked": 0, "reference": 0, "privileged": 1, "excluded": 2}
    first = row.label if row.status == "excluded" else ""
    return groups[row.status], first, -round(_mean(row), SAME_TO), row.label


def add_rank_moves(tables: Sequence[Table]) -> list[Table]:
    """The tables of a board; those of the shared grid state how far each row moved against shared-lr, if that is there.

    Places are counted among the rows that both tables rank, each with its own learning rates and replicates.
    """
    shared_lr = {
        _without_protocol(table.setting): table for table in tables if table.setting.get("protocol") == SHARED_LR
    }
    return [
        _add_moves(table, shared_lr[key])
        if table.setting.get("protocol") == SHARED_GRID and (key := _without_protocol(table.setting)) in shared_lr
        else table
        for table in tables
    ]


def _without_protocol(setting: Setting) -> str:
    return canonical_json({name: value for name, value in setting.items() if name != "protocol"})


def _add_moves(table: Table, other: Table) -> Table:
    pairs = _row_pairs(_rows_with_accuracy(table), _rows_with_accuracy(other))
    places = _places({row.label: _mean(row) for row, _ in pairs})
    other_places = _places({twin.label: _mean(twin) for _, twin in pairs})
    moved = {row.label: other_places[twin.label] - places[row.label] for row, twin in pairs}
    rows = tuple(replace(row, moved=moved.get(row.label)) for row in table.rows)
    if len(pairs) < 2:
        return replace(table, rows=rows)
    far = ", ".join(f"{row.name} {describe_move(row)}" for row in rows if row.moved_far)
    moves = f"moved by more than {FAR} places: {far}" if far else f"none moved by more than {FAR} places"
    sentence = f"Against shared-lr, among the {len(pairs)} rows ranked in both: {moves}."
    return replace(table, rows=rows, caveats=[*table.caveats, sentence])


def _rows_with_accuracy(table: Table) -> list[Row]:
    return [row for row in table.rows_with("ranked") if row.accuracy is not None]


def _row_pairs(rows: Sequence[Row], others: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Rows of one method in both tables: by its parameters, or else its only row, whose own penalty may differ."""
    exact = {(row.method, canonical_json(row.parameters)): row for row in others}
    pairs = []
    for row in rows:
        twin = exact.get((row.method, canonical_json(row.parameters)))
        if twin is None and _only_row(row.method, rows):
            twin = _only_row(row.method, others)
        if twin is not None:
            pairs.append((row, twin))
    # Of several rows that found the same twin the first keeps it.
    first = {twin.label: row.label for row, twin in reversed(pairs)}
    return [(row, twin) for row, twin in pairs if first[twin.label] == row.label]


def _only_row(method: str, rows: Iterable[Row]) -> Row | None:
    of_method = [row for row in rows if row.method == method]
    return of_method[0] if len(of_method) == 1 else None
