"""Sentences under a table: what its reader must know before believing it.

`describe_caveats` finds what is missing or mixed in the records, `describe_identical_rows` rows that are one method,
`describe_disabled_terms` rows whose parameters switch off a part of their method.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.leaderboard.measurements import Record, finite_number
from bench.leaderboard.model import Replicate, Row
from bench.leaderboard.real_noise_notes import note_labels_as_given, note_second_test
from bench.leaderboard.rows import RunGroup, differing_parameters, method_call
from bench.leaderboard.selection import SelectionRule
from bench.leaderboard.settings import Setting, sample_name
from bench.records.origin import record_revisions
from bench.spec import canonical_json
from bench.stats.holdout_choice import ENOUGH_HELD_OUT
from bench.stats.summary import LEAST_REPLICATES
from bench.system.text import join_words
from datasets.data_report import COPIES, COPIES_IN_TEST, MISSING

COARSE = 0.001
"""One test image that is worth more than this is worth a mention."""
COMPARED_MEASURES = (
    "test_accuracy",
    "best_test_accuracy",
    "worst_class_accuracy",
    "negative_log_likelihood",
    "expected_calibration_error",
    "memorised",
    "learnt",
)
"""Measures by which runs count as identical."""
DIGITS = 6
"""Significant digits, as many as committed records hold."""
WEIGHT = re.compile(r"weight of (?:the )?(?P<term>[^;]+)$")
"""A parameter's meaning where it is a term's weight. A meaning with a semicolon says itself what 0 does."""

MEMORISABLE = {
    COPIES_IN_TEST: "what was memorised counts as accuracy there",
    COPIES: "a split by a seed may put them into both parts, where what was memorised counts as accuracy",
}

Spec = Mapping[str, Any]


def describe_caveats(
    setting: Setting,
    rows: Sequence[Row],
    records: Sequence[Record],
    replicates: Sequence[Replicate],
    rule: SelectionRule,
) -> list[str]:
    """Sentences about a table, the gravest first."""
    notes = [
        "Ranked by an oracle: the epoch was chosen on the clean test labels, which nobody has when it matters."
        if rule.oracle
        else "",
        note_labels_as_given(setting, records),
        note_second_test(records),
        note_few_replicates(replicates) if any(row.rank for row in rows) else "",
        _note_held_out_labels(records, rule),
        _note_imbalance(setting, rows),
        _note_test_set(records),
        _note_copies(records),
        _note_missing(records),
        _note_machines(records),
        _note_revisions(records),
    ]
    return [note for note in notes if note]


def note_few_replicates(replicates: Sequence[Replicate]) -> str:
    """A sentence where replicates are too few to tell rows apart; else an empty text."""
    if len(replicates) >= LEAST_REPLICATES:
        return ""
    return (
        f"Fewer than {LEAST_REPLICATES} replicates: no bold. So few ({len(replicates)}) can't tell which row is best."
    )


def held_out_labels(records: Iterable[Record]) -> dict[tuple[Any, Any], int]:
    """The number of held-out labels of each split, by its seed and that of the noise; without those that hold none."""
    return {
        (record["spec"].get("split_seed"), record["spec"].get("noise_seed")): size
        for record in records
        if (size := (record["measures"].get("samples") or {}).get("holdout"))
    }


def _note_held_out_labels(records: Sequence[Record], rule: SelectionRule) -> str:
    """Held-out labels, all replicates together, and the standard error of one replicate's hold-out accuracy."""
    sizes = held_out_labels(records).values()
    if rule.name != "holdout" or not sizes:
        return ""
    total, smallest = sum(sizes), min(sizes)
    error = 50 / math.sqrt(smallest)
    few = "" if total >= ENOUGH_HELD_OUT else f", fewer than {ENOUGH_HELD_OUT:,}"
    return (
        f"Epochs were chosen on {smallest:,} held-out noisy labels a replicate, {total:,} in all{few}; a hold-out "
        f"accuracy has a standard error of up to {error:.1f} points."
    )


def describe_held_label_users(names: Iterable[str], methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence, for where held-out labels choose, on the methods among `names` that use these labels in training.

    `methods` are the catalogue's declarations; methods that it doesn't hold are passed over.
    """
    users = sorted({name for name in names if methods.get(name, {}).get("uses_held_labels")})
    if not users:
        return []
    verb, pronoun = ("chooses", "it") if len(users) == 1 else ("choose", "them")
    return [
        f"{join_words(users)} {verb} an epoch within training by the hold-out's noisy labels, so for {pronoun} "
        "accuracy on these isn't quite unseen."
    ]


def _note_imbalance(setting: Setting, rows: Sequence[Row]) -> str:
    names = sorted(row.name for row in rows if "balanced_classes" in row.assumes)
    if not names or setting.get("imbalance") in (None, 1, 1.0):
        return ""
    verb = "assumes" if len(names) == 1 else "assume"
    return (
        f"Classes are unbalanced here ({setting['imbalance']}), and {join_words(names)} {verb} that they are balanced."
    )


def _note_test_set(records: Sequence[Record]) -> str:
    sizes = {size for record in records if (size := (record["measures"].get("samples") or {}).get("test"))}
    if not sizes or 1 / min(sizes) <= COARSE:
        return ""
    name = sample_name(records[0]["measures"])
    return f"The test set has {min(sizes):,} {name}s: one of them is {100 / min(sizes):.2f} points of a single run."


def note_audit(records: Sequence[Record]) -> str:
    """How the audited test labels differ from the given ones, or why nothing is shown by them."""
    audits = [(audit, record) for record in records if (audit := record["measures"].get("audited"))]
    if not audits:
        return "Audited test labels: no run of this table has been measured by any. Train it again by --when always."
    audit, record = audits[0]
    corrected, dropped = audit.get("corrected") or 0, audit.get("dropped") or 0
    images = (record["measures"].get("samples") or {}).get("test")
    of_all = f" of {images:,}" if images else ""
    return (
        f"Audited test labels: {corrected + dropped:,}{of_all} dropped or corrected ({dropped:,} dropped, "
        f"{corrected:,} corrected), as people voted on labels that a model had suspected; the others were never looked "
        "at. Ranks go by the given labels."
    )


def _note_copies(records: Sequence[Record]) -> str:
    """What the report on a user's own data says of images that are in both parts, or may be."""
    reports = [(record.get("provenance") or {}).get("data_report") or {} for record in records]
    counts = {name: count for report in reports for name, count in report.get("left_out", {}).items()}
    parts = [f"{counts[what]:,} {what}: {why}" for what, why in MEMORISABLE.items() if what in counts]
    return f"The data has {' and '.join(parts)}." if parts else ""


def _note_missing(records: Sequence[Record]) -> str:
    """How many images of a published set this copy lacks, where it can be used without them."""
    reports = [(record.get("provenance") or {}).get("data_report") or {} for record in records]
    missing = max((report.get("left_out", {}).get(MISSING, 0) for report in reports), default=0)
    if not missing:
        return ""
    lacks = "1 image of the published set is" if missing == 1 else f"{missing:,} images of the published set are"
    return f"{lacks} missing in this copy: compare with runs on the same copy only (the data's hash says which)."


def _note_machines(records: Sequence[Record]) -> str:
    provenances = [record.get("provenance") or {} for record in records]
    machines = {(provenance.get("device"), provenance.get("threads")) for provenance in provenances} - {(None, None)}
    if len(machines) < 2:
        return ""
    names = [f"{device or 'an unnamed device'} with {threads or 'unknown'} threads" for device, threads in machines]
    return f"Seconds come from {join_words(sorted(names))}: compare them with care."


def _note_revisions(records: Sequence[Record]) -> str:
    revisions = record_revisions(records)
    changed = sum((record.get("provenance") or {}).get("git_dirty") is True for record in records)
    parts = [f"{len(revisions)} revisions of the code trained these runs"] if len(revisions) > 1 else []
    parts += [f"{changed} of {len(records)} runs come from a working tree with uncommitted changes"] if changed else []
    return f"{'; '.join(parts)}." if parts else ""


def describe_identical_rows(groups: Sequence[RunGroup], labels: Sequence[str]) -> list[str]:
    """Sentences about rows that are the same method by their parameters, or whose runs were identical.

    An inherited setting can make two methods one (a weight of 0), which no reader should take for two results that
    agree. Runs are identical where all of `COMPARED_MEASURES` agree to six digits in every replicate.
    """
    sentences = []
    rows_by_trace: dict[str, list[str]] = {}
    for group, label in zip(groups, labels, strict=True):
        names = {name for record in group.ordered for name in record["measures"].get("same_as") or ()}
        if names:
            sentences.append(f"{label} is the same method as {join_words(sorted(names))} by its parameters here.")
        trace = _trace(group.records)
        if trace is not None:
            rows_by_trace.setdefault(trace, []).append(label)
    twins = [join_words(sorted(names)) for names in rows_by_trace.values() if len(names) > 1]
    return sorted([*sentences, *(f"{names} gave identical runs: here they are one method." for names in twins)])


def _trace(records: Mapping[Replicate, Record]) -> str | None:
    """The measures of a row's runs as text; None where a record holds too little to tell by.

    Not the curves: committed records have lost some of theirs, and of each other ones.
    """
    traces = []
    for replicate in sorted(records):
        measures = records[replicate]["measures"]
        if finite_number(measures.get("negative_log_likelihood")) is None:
            return None
        numbers = [finite_number(measures.get(name)) for name in COMPARED_MEASURES]
        traces.append([list(replicate), *("" if number is None else f"{number:.{DIGITS}g}" for number in numbers)])
    return canonical_json(traces) if traces else None


def describe_disabled_terms(specs: Iterable[Spec], methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about rows of one setting whose parameters hold a weight of 0, which makes them another method.

    `methods` are the catalogue's declarations; methods that it doesn't hold are passed over.
    """
    rows = {(str(spec["method"]), repr(sorted(spec.get("parameters", {}).items()))): spec for spec in specs}
    labels_by_term: dict[tuple[str, str, str], list[str]] = {}
    for (name, _), spec in sorted(rows.items()):
        declared = methods.get(name, {})
        values = spec.get("parameters", {})
        for parameter in declared.get("parameters", ()):
            weight = WEIGHT.match(str(parameter.get("meaning", "")))
            if weight and values.get(parameter["name"]) == 0:
                source = _zero_source(spec, parameter["name"], declared.get("recipes", ()))
                alike = [other.get("parameters", {}) for (method, _), other in rows.items() if method == name]
                differing = differing_parameters(values, alike)
                label = method_call(name, differing if parameter["name"] in differing else {})
                labels = labels_by_term.setdefault((parameter["name"], source, weight["term"]), [])
                labels += [label] if label not in labels else []
    return [
        f"{join_words(labels)}: {parameter} = 0{source}, so {term} is no part of "
        f"{'it' if len(labels) == 1 else 'them'}."
        for (parameter, source, term), labels in labels_by_term.items()
    ]


def _zero_source(spec: Spec, parameter: str, recipes: Sequence[Mapping[str, Any]]) -> str:
    """The published setting that gives a parameter the value 0, if the row's parameters are that setting's."""
    values = spec.get("parameters", {})
    for recipe in recipes:
        published = recipe["values"]
        if published.get(parameter) == 0 and all(values.get(name) == value for name, value in published.items()):
            data_set = recipe["data_set"]
            if data_set == str(spec["data_set"]).partition("[")[0]:
                return " in the published setting"
            return f" in the setting inherited from {data_set}"
    return ""
