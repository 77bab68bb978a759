"""Where each row of a setting stands: ranked, told more, or apart with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bench.leaderboard import stats
from bench.leaderboard.choose import Rule
from bench.leaderboard.model import Replicate, Row, Standing
from bench.leaderboard.rows import Group, early_stopped, labels_of, row, short_name
from bench.leaderboard.settings import listed

Judged = tuple[Row, Group]


def judge(groups: Sequence[Group], rule: Rule) -> tuple[list[Row], tuple[Replicate, ...]]:
    """Every row of one setting, ranked where it may be, and the replicates that a complete row has."""
    made: list[Judged] = []
    for group, label in zip(groups, labels_of(groups), strict=True):
        made.append((row(group, label, rule), group))
        stopped = early_stopped(group, label)
        if stopped is not None:
            made.append((stopped, group))
    usual, newest = label_hashes(groups), _newest(made)
    barred = [_older(own, newest) or _other_labels(group, usual) for own, group in made]
    reference = _reference(own for (own, _), why in zip(made, barred, strict=True) if not why)
    rows = []
    for (own, group), why in zip(made, barred, strict=True):
        reason = why or _missing(own, group, reference)
        standing: Standing = (
            "apart" if reason else "informed" if own.needs else "yardstick" if own.derived else "ranked"
        )
        name = short_name(own, (other for other, _ in made))
        rows.append(replace(own, name=name, standing=standing, reason=reason))
    return _ordered(_finders_ranked(_ranked(rows))), reference


def label_hashes(groups: Iterable[Group]) -> dict[Replicate, str]:
    """The noisy labels' hash at each replicate: the one that most rows have."""
    votes: dict[Replicate, Counter[str]] = {}
    for group in groups:
        for replicate, record in group.records.items():
            if record["measures"].get("labels_sha256"):
                votes.setdefault(replicate, Counter())[record["measures"]["labels_sha256"]] += 1
    return {each: min(votes[each], key=lambda sha: (-votes[each][sha], sha)) for each in sorted(votes)}


def _other_labels(group: Group, usual: Mapping[Replicate, str]) -> str:
    """Why a row that learnt from other noisy labels than the rest isn't compared; an empty text for the others."""
    odd = [
        str(replicate)
        for replicate, record in sorted(group.records.items())
        if record["measures"].get("labels_sha256") not in (None, usual.get(replicate))
    ]
    return f"learnt from other noisy labels than the rest at replicate {listed(odd)}" if odd else ""


def _newest(made: Iterable[Judged]) -> dict[str, int]:
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


def _missing(own: Row, group: Group, reference: Sequence[Replicate]) -> str:
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
    parts += [f"{_seeds(unchosen)} without a finite accuracy"] if unchosen else []
    parts += [f"{_seeds(absent)} not run yet"] if absent else []
    if not parts:
        return ""
    there = sum(each in own.accuracies for each in reference)
    return f"{there} of {max(len(reference), there)} replicates: {'; '.join(parts)}"


def _seeds(replicates: Sequence[Replicate], most: int = 10) -> str:
    more = f" and {len(replicates) - most} more" if len(replicates) > most else ""
    return ", ".join(str(each) for each in replicates[:most]) + more


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Ranks (equal means share one), paired differences to the leader, and who may be the best."""
    ranked = {own.label: own.accuracies for own in rows if own.standing == "ranked"}
    if not ranked:
        return list(rows)
    best = stats.leader(ranked)
    candidates = stats.may_be_best(ranked) or frozenset()
    means = {label: round(_mean(own), 12) for own in rows if (label := own.label) in ranked}
    placed = []
    for own in rows:
        if own.standing != "apart" and own.label != best:
            pairs = stats.differences(own.accuracies, ranked[best])
            own = replace(own, behind=stats.summarise(pairs) if pairs else None)
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
    candidates = stats.may_be_best(whole) or frozenset()
    means = {label: round(stats.summarise(list(aurocs.values())).mean, 12) for label, aurocs in whole.items()}
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
    places: dict[Standing, int] = {"ranked": 0, "yardstick": 0, "informed": 1, "apart": 2}
    return sorted(
        rows,
        key=lambda own: (
            places[own.standing],
            own.label if own.standing == "apart" else "",
            -round(_mean(own), 12),
            own.label,
        ),
    )
