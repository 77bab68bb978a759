"""Rows that turn out to be one method here, by what they say or by what their runs did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.leaderboard.choose import number
from bench.leaderboard.model import Record, Replicate
from bench.leaderboard.rows import Group
from bench.leaderboard.settings import listed
from bench.spec import canonical_json

TELLING = (
    "test_accuracy",
    "best_test_accuracy",
    "worst_class_accuracy",
    "negative_log_likelihood",
    "expected_calibration_error",
    "memorised",
    "learnt",
)
DIGITS = 6
"""Significant digits, as many as committed records keep."""


def same_runs(groups: Sequence[Group], labels: Sequence[str]) -> list[str]:
    """Sentences about rows that are the same method by their parameters, or whose runs were identical.

    An inherited setting can make two methods one (a weight of 0), which no reader should take for two results that
    agree. Runs are identical where all of `TELLING` agree to six digits in every replicate.
    """
    found = []
    for group, label in zip(groups, labels, strict=True):
        names = {name for record in group.ordered for name in record["measures"].get("same_as") or ()}
        if names:
            found.append(f"{label} is the same method as {listed(sorted(names))} by its parameters here.")
    alike: dict[str, list[str]] = {}
    for group, label in zip(groups, labels, strict=True):
        trace = _trace(group.records)
        if trace is not None:
            alike.setdefault(trace, []).append(label)
    twins = [listed(sorted(names)) for names in alike.values() if len(names) > 1]
    return sorted([*found, *(f"{names} gave identical runs: here they are one method." for names in twins)])


def _trace(records: Mapping[Replicate, Record]) -> str | None:
    """What a row's runs came to, as text; None where a record holds too little to tell by.

    Not the curves: committed records have lost some of theirs, and of each other ones.
    """
    traces = []
    for replicate in sorted(records):
        measures = records[replicate]["measures"]
        if number(measures.get("negative_log_likelihood")) is None:
            return None
        traces.append([list(replicate), *(_digits(measures.get(name)) for name in TELLING)])
    return canonical_json(traces) if traces else None


def _digits(value: object) -> str:
    known = number(value)
    return "" if known is None else f"{known:.{DIGITS}g}"
