"""Rows that turn out to be one method here, by what they say or by what their runs did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.leaderboard.model import Replicate
from bench.leaderboard.rows import Group
from bench.leaderboard.settings import listed
from bench.spec import canonical_json


def same_runs(groups: Sequence[Group], labels: Sequence[str]) -> list[str]:
    """Sentences about rows that are the same method by their parameters, or whose runs were identical.

    An inherited setting can make two methods one (a weight of 0), which no reader should take for two results that
    agree. Runs are identical where test accuracies and training losses agree at every epoch of every replicate.
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


def _trace(records: Mapping[Replicate, Mapping[str, object]]) -> str | None:
    """What a row's runs did, as text; None where the records hold no curves to tell by."""
    traces = []
    for replicate in sorted(records):
        curves = records[replicate].get("curves")
        if not isinstance(curves, Mapping) or not (curves.get("train_loss") and curves.get("test_accuracy")):
            return None
        # repr, since a loss may be NaN, which canonical JSON refuses
        traces.append([list(replicate), repr(curves["test_accuracy"]), repr(curves["train_loss"])])
    return canonical_json(traces) if traces else None
