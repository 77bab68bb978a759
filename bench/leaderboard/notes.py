"""What a reader of one table must know before believing it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.leaderboard.model import Record, Replicate, Row
from bench.leaderboard.rows import RunGroup, method_call
from bench.leaderboard.selection import SelectionRule, finite_number
from bench.records.origin import record_revisions
from bench.spec import canonical_json
from bench.stats.summary import LEAST_REPLICATES
from bench.system.text import join_words

ENOUGH_HELD_OUT = 2000
"""Held-out labels that a choice should rest on."""
COARSE = 0.001
"""One test image that is worth more than this is worth a mention."""


def describe_caveats(
    setting: Mapping[str, Any],
    rows: Sequence[Row],
    records: Sequence[Record],
    replicates: Sequence[Replicate],
    rule: SelectionRule,
) -> list[str]:
    """Sentences under a table, the gravest first."""
    found = [
        _oracle(rule),
        _few(replicates, rows),
        _held_out(records, rule),
        _balance(setting, rows),
        _resolution(records),
        _machines(records),
        _code(records),
    ]
    return [sentence for sentence in found if sentence]


def _oracle(rule: SelectionRule) -> str:
    if not rule.oracle:
        return ""
    return "Ranked by an oracle: the epoch was chosen on the clean test labels, which nobody has when it matters."


def _few(replicates: Sequence[Replicate], rows: Sequence[Row]) -> str:
    if len(replicates) >= LEAST_REPLICATES or not any(row.rank for row in rows):
        return ""
    return (
        f"Fewer than {LEAST_REPLICATES} replicates: no bold. So few ({len(replicates)}) can't tell which row is best."
    )


def _held_out(records: Sequence[Record], rule: SelectionRule) -> str:
    """Held-out labels, all replicates together, and the standard error of one replicate's hold-out accuracy."""
    if rule.name != "holdout":
        return ""
    sizes: dict[Any, int] = {}
    for record in records:
        samples, spec = record["measures"].get("samples") or {}, record["spec"]
        if samples.get("holdout"):
            sizes[spec.get("split_seed"), spec.get("noise_seed")] = samples["holdout"]
    if not sizes:
        return ""
    total, smallest = sum(sizes.values()), min(sizes.values())
    error = 50 / math.sqrt(smallest)
    enough = "" if total >= ENOUGH_HELD_OUT else f", fewer than {ENOUGH_HELD_OUT:,}"
    return (
        f"Epochs were chosen on {smallest:,} held-out noisy labels a replicate, {total:,} in all{enough}; a hold-out "
        f"accuracy has a standard error of up to {error:.1f} points."
    )


def _balance(setting: Mapping[str, Any], rows: Sequence[Row]) -> str:
    names = sorted(row.name for row in rows if "balanced_classes" in row.assumes)
    if not names or setting.get("imbalance") in (None, 1, 1.0):
        return ""
    verb = "assumes" if len(names) == 1 else "assume"
    return (
        f"Classes are unbalanced here ({setting['imbalance']}), and {join_words(names)} {verb} that they are balanced."
    )


def _resolution(records: Sequence[Record]) -> str:
    sizes = {size for record in records if (size := (record["measures"].get("samples") or {}).get("test"))}
    if not sizes or 1 / min(sizes) <= COARSE:
        return ""
    return f"The test set has {min(sizes):,} images: one of them is {100 / min(sizes):.2f} points of a single run."


def _machines(records: Sequence[Record]) -> str:
    kinds = {(own.get("device"), own.get("threads")) for own in _provenances(records)} - {(None, None)}
    if len(kinds) < 2:
        return ""
    said = join_words(
        sorted(f"{device or 'an unnamed device'} with {threads or 'unknown'} threads" for device, threads in kinds)
    )
    return f"Seconds come from {said}: compare them with care."


def _code(records: Sequence[Record]) -> str:
    own = _provenances(records)
    revisions = record_revisions(records)
    dirty = sum(each.get("git_dirty") is True for each in own)
    parts = [f"{len(revisions)} revisions of the code trained these runs"] if len(revisions) > 1 else []
    parts += [f"{dirty} of {len(own)} runs come from a working tree with uncommitted changes"] if dirty else []
    return f"{'; '.join(parts)}." if parts else ""


def _provenances(records: Sequence[Record]) -> list[Mapping[str, Any]]:
    return [record.get("provenance") or {} for record in records]


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


def describe_identical_rows(groups: Sequence[RunGroup], labels: Sequence[str]) -> list[str]:
    """Sentences about rows that are the same method by their parameters, or whose runs were identical.

    An inherited setting can make two methods one (a weight of 0), which no reader should take for two results that
    agree. Runs are identical where all of `TELLING` agree to six digits in every replicate.
    """
    found = []
    for group, label in zip(groups, labels, strict=True):
        names = {name for record in group.ordered for name in record["measures"].get("same_as") or ()}
        if names:
            found.append(f"{label} is the same method as {join_words(sorted(names))} by its parameters here.")
    alike: dict[str, list[str]] = {}
    for group, label in zip(groups, labels, strict=True):
        trace = _trace(group.records)
        if trace is not None:
            alike.setdefault(trace, []).append(label)
    twins = [join_words(sorted(names)) for names in alike.values() if len(names) > 1]
    return sorted([*found, *(f"{names} gave identical runs: here they are one method." for names in twins)])


def _trace(records: Mapping[Replicate, Record]) -> str | None:
    """What a row's runs came to, as text; None where a record holds too little to tell by.

    Not the curves: committed records have lost some of theirs, and of each other ones.
    """
    traces = []
    for replicate in sorted(records):
        measures = records[replicate]["measures"]
        if finite_number(measures.get("negative_log_likelihood")) is None:
            return None
        traces.append([list(replicate), *(_digits(measures.get(name)) for name in TELLING)])
    return canonical_json(traces) if traces else None


def _digits(value: object) -> str:
    known = finite_number(value)
    return "" if known is None else f"{known:.{DIGITS}g}"


Spec = Mapping[str, Any]

WEIGHT = re.compile(r"weight of (?:the )?(?P<term>[^;]+)$")
"""A parameter's meaning where it is a term's weight. One that goes on after a semicolon says itself what 0 does."""


def describe_disabled_terms(specs: Iterable[Spec], methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about rows of one setting whose parameters hold a weight of 0, which makes them another method.

    `methods` are the catalogue's declarations; methods that it doesn't hold are passed over.
    """
    rows = {(str(spec["method"]), repr(sorted(spec.get("parameters", {}).items()))): spec for spec in specs}
    found: dict[tuple[str, str, str], list[str]] = {}
    for (name, _), spec in sorted(rows.items()):
        declared = methods.get(name, {})
        values = spec.get("parameters", {})
        for parameter in declared.get("parameters", ()):
            weight = WEIGHT.match(str(parameter.get("meaning", "")))
            if weight and values.get(parameter["name"]) == 0:
                whence = _source(spec, parameter["name"], declared.get("recipes", ()))
                alike = [other.get("parameters", {}) for (method, _), other in rows.items() if method == name]
                label = method_call(name, distinguishing_parameters(values, alike, always=parameter["name"]))
                names = found.setdefault((parameter["name"], whence, weight["term"]), [])
                names += [label] if label not in names else []
    return [
        f"{join_words(labels)}: {parameter} = 0{whence}, so {term} is no part of "
        f"{'it' if len(labels) == 1 else 'them'}."
        for (parameter, whence, term), labels in found.items()
    ]


def distinguishing_parameters(
    values: Mapping[str, Any], alike: Sequence[Mapping[str, Any]], always: str
) -> dict[str, Any]:
    """Of a row's parameters those that tell rows of its method (`alike`) apart, where these differ in `always`."""
    if len({repr(other.get(always)) for other in alike}) == 1:
        return {}
    return {name: value for name, value in values.items() if len({repr(other.get(name)) for other in alike}) > 1}


def _source(spec: Spec, parameter: str, recipes: Sequence[Mapping[str, Any]]) -> str:
    """The published setting that gives a parameter the value 0, if the row's parameters are that setting's."""
    values = spec.get("parameters", {})
    for recipe in recipes:
        own = recipe["values"]
        if own.get(parameter) == 0 and all(values.get(name) == value for name, value in own.items()):
            data_set = recipe["data_set"]
            if data_set == str(spec["data_set"]).partition("[")[0]:
                return " in the published setting"
            return f" in the setting inherited from {data_set}"
    return ""
