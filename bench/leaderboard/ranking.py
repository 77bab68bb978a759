"""Where each row of a setting stands: ranked, told more, or apart with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.leaderboard.model import RankStatus, Replicate, Row, Table
from bench.leaderboard.rows import RunGroup, build_row, early_stopped_row, row_labels, short_name
from bench.leaderboard.selection import SelectionRule
from bench.spec import SHARED_GRID, SHARED_LR, canonical_json
from bench.stats import summary
from bench.system.text import join_words, list_first

RankedRows = tuple[Row, RunGroup]


def rank_rows(groups: Sequence[RunGroup], rule: SelectionRule) -> tuple[list[Row], tuple[Replicate, ...]]:
    """Every row of one setting, ranked where it may be, and the replicates that a complete row has."""
    made: list[RankedRows] = []
    for group, label in zip(groups, row_labels(groups), strict=True):
        made.append((build_row(group, label, rule), group))
        stopped = early_stopped_row(group, label)
        if stopped is not None:
            made.append((stopped, group))
    usual, newest = agreed_label_hashes(groups), _newest(made)
    barred = [_older(own, newest) or _other_labels(group, usual) for own, group in made]
    reference = _reference(own for (own, _), why in zip(made, barred, strict=True) if not why)
    rows = []
    for (own, group), why in zip(made, barred, strict=True):
        reason = why or _missing(own, group, reference)
        standing: RankStatus = (
            "apart" if reason else "informed" if own.needs else "yardstick" if own.derived else "ranked"
        )
        name = short_name(own, (other for other, _ in made))
        rows.append(replace(own, name=name, standing=standing, reason=reason))
    return _ordered(_finders_ranked(_ranked(rows))), reference


def agreed_label_hashes(groups: Iterable[RunGroup]) -> dict[Replicate, str]:
    """The noisy labels' hash at each replicate: the one that most rows have."""
    votes: dict[Replicate, Counter[str]] = {}
    for group in groups:
        for replicate, record in group.records.items():
            if record["measures"].get("labels_sha256"):
                votes.setdefault(replicate, Counter())[record["measures"]["labels_sha256"]] += 1
    return {each: min(votes[each], key=lambda sha: (-votes[each][sha], sha)) for each in sorted(votes)}


def _other_labels(group: RunGroup, usual: Mapping[Replicate, str]) -> str:
    """Why a row that learnt from other noisy labels than the rest isn't compared; an empty text for the others."""
    odd = [
        str(replicate)
        for replicate, record in sorted(group.records.items())
        if record["measures"].get("labels_sha256") not in (None, usual.get(replicate))
    ]
    return f"learnt from other noisy labels than the rest at replicate {join_words(odd)}" if odd else ""


def _newest(made: Iterable[RankedRows]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for own, _ in made:
        newest[own.method] = max(own.version, newest.get(own.method, own.version))
    return newest


def _older(own: Row, newest: Mapping[str, int]) -> str:
    """Why a row of an older version isn't compared: it computes something else by the same name."""
    if own.version == newest[own.method]:
        return ""
    return f"version {own.version} of the method; version {newest[own.method]} has runs too"


def _reference(rows: Iterable[Row]) -> tuple[Replicate, ...]:
    """The replicates of the row that has most; of several such lists the commonest, then the first."""
    lists = Counter(tuple(sorted(own.accuracies)) for own in rows if not own.derived)
    return min(lists, key=lambda each: (-len(each), -lists[each], each), default=())


def _missing(own: Row, group: RunGroup, reference: Sequence[Replicate]) -> str:
    """Why a row is incomplete, or an empty text."""
    failed = [
        f"replicate {each} failed"
        + (f" at epoch {failure['epoch']}" if failure.get("epoch") else "")
        + f" ({failure['reason']})"
        for each, failure in sorted(group.failures.items())
    ]
    lacking = [each for each in reference if each not in own.accuracies and each not in group.failures]
    unchosen = [each for each in lacking if each in group.records]
    absent = [each for each in lacking if each not in group.records]
    if not own.accuracies and group.records and not failed and not absent:
        return "its records hold no accuracy by this rule (nothing was held out, or it isn't finite)"
    parts = [*failed[:3], *([f"{len(failed) - 3} more failed"] if len(failed) > 3 else [])]
    parts += [f"{list_first(map(str, unchosen), 10)} without a finite accuracy"] if unchosen else []
    parts += [f"{list_first(map(str, absent), 10)} not run yet"] if absent else []
    if not parts:
        return ""
    there = sum(each in own.accuracies for each in reference)
    return f"{there} of {max(len(reference), there)} replicates: {'; '.join(parts)}"


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Ranks (equal means share one), paired differences to the leader, and who may be the best."""
    ranked = {own.label: own.accuracies for own in rows if own.standing == "ranked"}
    if not ranked:
        return list(rows)
    best = summary.leader(ranked)
    candidates = summary.may_be_best(ranked) or frozenset()
    means = {label: round(_mean(own), 12) for own in rows if (label := own.label) in ranked}
    placed = []
    for own in rows:
        if own.standing != "apart" and own.label != best:
            pairs = summary.paired_differences(own.accuracies, ranked[best])
            own = replace(own, behind=summary.summarise(pairs) if pairs else None)
        if own.label in ranked:
            above = sum(mean > means[own.label] for mean in means.values())
            own = replace(own, rank=1 + above, may_be_best=own.label in candidates)
        placed.append(own)
    return placed


def _finders_ranked(rows: Sequence[Row]) -> list[Row]:
    """Ranks by AUROC, and who may be the best at it, of the ranked rows whose every replicate has one."""
    known = {own.label: own.aurocs for own in rows if own.standing == "ranked" and own.aurocs}
    reference = max(known.values(), key=len, default={})
    whole = {label: aurocs for label, aurocs in known.items() if aurocs.keys() == reference.keys()}
    candidates = summary.may_be_best(whole) or frozenset()
    means = {label: round(summary.summarise(list(aurocs.values())).mean, 12) for label, aurocs in whole.items()}
    return [
        replace(
            own,
            finder_rank=1 + sum(mean > means[own.label] for mean in means.values()),
            may_find_best=own.label in candidates,
        )
        if own.label in means
        else own
        for own in rows
    ]


def _mean(own: Row) -> float:
    return -1.0 if own.accuracy is None else own.accuracy.mean


def _ordered(rows: Iterable[Row]) -> list[Row]:
    places: dict[RankStatus, int] = {"ranked": 0, "yardstick": 0, "informed": 1, "apart": 2}
    return sorted(
        rows,
        key=lambda own: (
            places[own.standing],
            own.label if own.standing == "apart" else "",
            -round(_mean(own), 12),
            own.label,
        ),
    )


FAR = 3
"""Places that a row may move without a word."""


def add_rank_moves(tables: Sequence[Table]) -> list[Table]:
    """The tables of a board; those of the shared grid say how far each row moved against shared-lr, if that is there.

    Places are counted among the rows that both tables rank, each with its own learning rates and replicates.
    """
    without = {_rest(table.setting): table for table in tables if table.setting.get("protocol") == SHARED_LR}
    return [
        _against(table, without[_rest(table.setting)])
        if table.setting.get("protocol") == SHARED_GRID and _rest(table.setting) in without
        else table
        for table in tables
    ]


def moved_far(row: Row) -> bool:
    """Whether a row moved by more than `FAR` places."""
    return row.moved is not None and abs(row.moved) > FAR


def describe_move(moved: int) -> str:
    """ "up 5", "down 4"."""
    return f"{'up' if moved > 0 else 'down'} {abs(moved)}"


def _rest(setting: Mapping[str, Any]) -> str:
    return canonical_json({name: value for name, value in setting.items() if name != "protocol"})


def _against(table: Table, other: Table) -> Table:
    here, there = _ranked_rows(table), _ranked_rows(other)
    pairs = _pairs(here, there)
    now, then = _places(row for row, _ in pairs), _places(row for _, row in pairs)
    moved = {row.label: then[before.label] - now[row.label] for row, before in pairs}
    rows = tuple(replace(row, moved=moved.get(row.label)) for row in table.rows)
    gone = [f"{row.name} {describe_move(row.moved)}" for row in rows if moved_far(row) and row.moved is not None]
    which = f"moved by more than {FAR} places: {', '.join(gone)}" if gone else f"none moved by more than {FAR} places"
    sentence = f"Against shared-lr, among the {len(pairs)} rows ranked in both: {which}."
    return replace(table, rows=rows, caveats=[*table.caveats, sentence] if len(pairs) > 1 else table.caveats)


def _ranked_rows(table: Table) -> list[Row]:
    return [row for row in table.standing("ranked") if row.accuracy is not None]


def _pairs(here: Sequence[Row], there: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Rows of one method in both tables: by its parameters, or else its only row, whose own penalty may differ."""
    exact = {(row.method, canonical_json(row.parameters)): row for row in there}
    found = []
    for row in here:
        twin = exact.get((row.method, canonical_json(row.parameters)))
        if twin is None and _only(row.method, here):
            twin = _only(row.method, there)
        if twin is not None:
            found.append((row, twin))
    once = {before.label: row.label for row, before in reversed(found)}
    return [(row, before) for row, before in found if once[before.label] == row.label]


def _only(method: str, rows: Iterable[Row]) -> Row | None:
    own = [row for row in rows if row.method == method]
    return own[0] if len(own) == 1 else None


def _places(rows: Iterable[Row]) -> dict[str, int]:
    """Each label's place by mean accuracy; equal means share one."""
    means = {row.label: round(row.accuracy.mean, 12) for row in rows if row.accuracy is not None}
    return {label: 1 + sum(other > mean for other in means.values()) for label, mean in means.items()}
