"""From records to rows: one table per setting, one row per method as it ran, and what keeps a row from a rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.errors import UsageError, nearest
from bench.leaderboard.statistics import Summary, may_be_best, mean_of, summarise
from bench.spec import CHOSEN_BY_METHOD, SEEDS, canonical_json, digest

Record = Mapping[str, Any]
Replicate = tuple[int, ...]

SELECTIONS: dict[str, tuple[str, str]] = {
    "last": ("test_accuracy", "the last epoch"),
    "last10": ("last10_test_accuracy", "the mean of the last ten epochs"),
    "holdout": ("holdout_test_accuracy", "the epoch with the best noisy hold-out accuracy"),
    "best-test": ("best_test_accuracy", "the best epoch on the clean test set, an oracle that nobody has"),
}
"""What ranks: the measure, and its name in words."""

CHOSEN_ON_HOLD_OUT = "ce at its noisy-hold-out epoch"


@dataclass
class Row:
    """One method as it ran in one setting. Accuracies and shares are fractions; `scores` are what ranks."""

    method: str
    parameters: Mapping[str, Any]
    privileges: tuple[str, ...]
    assumes: tuple[str, ...]
    control: bool
    scores: dict[Replicate, float]
    summary: Summary | None
    measures: dict[str, float | None]
    spec: Mapping[str, Any]
    rank: int | None = None
    may_be_best: bool = False
    reason: str | None = None
    same_as: list[str] = field(default_factory=list)
    fingerprint: str = ""

    @property
    def informed(self) -> bool:
        """Whether it was told more than noisy labels."""
        return bool(self.privileges)


@dataclass
class Setting:
    """One table: rows by score, the incomplete ones, what was left out, and where its labels came from."""

    id: str
    fields: Mapping[str, Any]
    ranked: list[Row]
    informed: list[Row]
    incomplete: list[Row]
    left_out: list[tuple[str, str]]
    labels: dict[int, str]
    captions: list[str]
    realised_rate: float | None
    replicates: list[Replicate]
    best_known: bool
    command: str | None
    samples: Mapping[str, int]

    @property
    def rows(self) -> list[Row]:
        """Every row that has a mean, as it stands in the table."""
        return [*self.ranked, *self.informed, *self.incomplete]


@dataclass(frozen=True)
class Report:
    """All settings, in the order in which they are printed, under one rule of selection."""

    select: str
    settings: tuple[Setting, ...]


def build(
    records: Iterable[Record],
    failures: Iterable[Record] = (),
    select: str = "last",
    left_out: Iterable[Mapping[str, str]] = (),
    commands: Mapping[str, str] | None = None,
) -> Report:
    """Settings and rows of `records`. Raises UsageError for an unknown `select`.

    `left_out` are {"setting_id", "method", "reason"}; `commands` say by setting id what reproduces it.
    """
    if select not in SELECTIONS:
        guess = nearest(select, SELECTIONS)
        hint = f"did you mean {guess[0]}?" if guess else f"there are {', '.join(SELECTIONS)}"
        raise UsageError(f"--select {select}: {hint}")
    by_setting: dict[str, list[Record]] = defaultdict(list)
    failed: dict[str, list[Record]] = defaultdict(list)
    omitted: dict[str, list[tuple[str, str]]] = defaultdict(list)
    seen: set[str] = set()
    for record in records:
        if record["run_id"] not in seen:
            seen.add(record["run_id"])
            by_setting[setting_id(record["spec"])].append(record)
    for failure in failures:
        if failure["run_id"] not in seen:
            failed[setting_id(failure["spec"])].append(failure)
    for entry in left_out:
        omitted[entry["setting_id"]].append((entry["method"], entry["reason"]))
    settings = [
        _setting(key, by_setting[key], failed[key], select, omitted[key], (commands or {}).get(key))
        for key in by_setting
    ]
    return Report(select, tuple(sorted(settings, key=_place)))


def setting_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a spec but the method, what the protocol lets it choose, and the seeds."""
    return {name: value for name, value in spec.items() if name not in CHOSEN_BY_METHOD and name not in SEEDS}


def setting_id(spec: Mapping[str, Any]) -> str:
    """The id of a spec's setting, as `RunSpec.setting_id` gives it."""
    return digest(canonical_json(setting_of(spec)))


def _place(setting: Setting) -> tuple[str, ...]:
    fields = setting.fields
    rate = fields["rate"]
    return (
        fields["data_set"],
        fields["protocol"],
        fields["noise"],
        f"{-1 if rate is None else rate:09.4f}",
        setting.id,
    )


def _replicate(spec: Mapping[str, Any]) -> Replicate:
    return (spec["noise_seed"], spec["split_seed"], spec["seed"])


def _row_key(spec: Mapping[str, Any]) -> str:
    return canonical_json({name: spec[name] for name in sorted(CHOSEN_BY_METHOD)})


def _setting(
    key: str,
    records: list[Record],
    failures: list[Record],
    select: str,
    left_out: list[tuple[str, str]],
    command: str | None,
) -> Setting:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: _replicate(record["spec"])):
        groups[_row_key(record["spec"])].append(record)
    rows = {name: _row(group, SELECTIONS[select][0]) for name, group in groups.items()}
    if select == "last":
        rows |= {
            f"{name} hold-out": _row(group, "holdout_test_accuracy", CHOSEN_ON_HOLD_OUT)
            for name, group in groups.items()
            if group[0]["spec"]["method"] == "ce" and not group[0]["spec"]["privileges"]
        }
    broken: dict[str, list[Record]] = defaultdict(list)
    for failure in failures:
        broken[_row_key(failure["spec"])].append(failure)
    for name, group in broken.items():
        if name not in rows:
            rows[name] = _row([], select, spec=group[0]["spec"])
    wanted = {replicate for row in rows.values() for replicate in row.scores} | {
        _replicate(failure["spec"]) for failure in failures
    }
    for name, row in rows.items():
        if len(row.scores) < len(wanted):
            row.reason = _why_incomplete(row, len(wanted), broken.get(name, []))
    complete = sorted((row for row in rows.values() if row.reason is None), key=_by_mean)
    ranked = [row for row in complete if not row.informed]
    _rank(ranked)
    candidates = {str(number): row.scores for number, row in enumerate(ranked) if row.rank is not None}
    best = may_be_best(candidates)
    for number, row in enumerate(ranked):
        row.may_be_best = best is not None and str(number) in best
    _find_twins(list(rows.values()))
    first = records[0]
    return Setting(
        id=key,
        fields=setting_of(first["spec"]),
        ranked=ranked,
        informed=[row for row in complete if row.informed],
        incomplete=sorted((row for row in rows.values() if row.reason is not None), key=_by_mean),
        left_out=sorted(left_out),
        labels={record["spec"]["noise_seed"]: record["measures"]["labels_sha256"] for record in records},
        captions=sorted({record["measures"]["noise_caption"] for record in records}),
        realised_rate=mean_of([record["measures"]["realised_rate"] for record in records]),
        replicates=sorted(wanted),
        best_known=best is not None,
        command=command,
        samples=first["measures"]["samples"],
    )


def _row(group: Sequence[Record], measure: str, name: str | None = None, spec: Mapping[str, Any] | None = None) -> Row:
    spec = group[0]["spec"] if spec is None else spec
    found = [(record, record["measures"]) for record in group]
    scores = {_replicate(record["spec"]): m[measure] for record, m in found if m.get(measure) is not None}
    best = mean_of([m["best_test_accuracy"] for _, m in found])
    summary = summarise(list(scores.values()))
    derived = name is not None
    curves = [(record["measures"]["test_accuracy"], record["curves"].get("train_loss")) for record in group]

    def average(read: Callable[[Record], float | None]) -> float | None:
        # at another epoch than the last these were not measured
        return None if derived else mean_of([read(record) for record in group])

    return Row(
        method=name or spec["method"],
        parameters=spec["parameters"],
        privileges=tuple(spec["privileges"]),
        assumes=tuple(found[0][1].get("assumes", ())) if found else (),
        control=derived or bool(found and found[0][1].get("control")),
        scores=scores,
        summary=summary,
        measures={
            "best_test": best,
            "gap": None if best is None or summary is None else best - summary.mean,
            "memorised": average(lambda record: record["measures"]["memorised"]),
            "learnt": average(lambda record: record["measures"]["learnt"]),
            "worst_class": average(lambda record: record["measures"]["worst_class_accuracy"]),
            "selector": average(lambda record: (record["measures"].get("selector") or {}).get("auroc")),
            "networks": average(lambda record: record["measures"]["networks"]),
            "views": average(lambda record: record["measures"]["views"]),
            "units": average(lambda record: record["measures"]["units_per_sample_epoch"]),
            "seconds": average(lambda record: record["provenance"]["seconds"]["total"]),
        },
        spec=spec,
        fingerprint="" if derived or not group else digest(canonical_json(curves)),
    )


def _why_incomplete(row: Row, wanted: int, failures: Sequence[Record]) -> str:
    text = f"{len(row.scores)} of {wanted} replicates"
    if failures:
        text += f"; {len(failures)} failed, the first: {failures[0]['reason']}"
    return text


def _by_mean(row: Row) -> tuple[float, str]:
    return (-row.summary.mean if row.summary else 1.0, row.method)


def _rank(rows: Sequence[Row]) -> None:
    """Ranks by mean, equal means sharing the better one. A row at another epoch than the rest has none."""
    ranked = [row for row in rows if row.method != CHOSEN_ON_HOLD_OUT]
    means = [row.summary.mean if row.summary else None for row in ranked]
    for row, mean in zip(ranked, means, strict=True):
        row.rank = means.index(mean) + 1


def _find_twins(rows: Sequence[Row]) -> None:
    """Mark rows whose runs are the same to the last digit: inherited settings can make two names one method."""
    for row in rows:
        if row.fingerprint:
            twins = [other for other in rows if other is not row and other.fingerprint == row.fingerprint]
            row.same_as = sorted(other.method for other in twins)
