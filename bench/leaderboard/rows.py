"""Records -> rows: one for each method with its parameters, learning rate and weight decay in a setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.leaderboard.formatting import format_value
from bench.leaderboard.model import Record, Replicate, Row
from bench.leaderboard.selection import RULES, SelectionRule, finite_number, selected_accuracy
from bench.spec import canonical_json
from bench.stats.summary import mean_of_known, summarise

EARLY_STOPPED = "ce @ noisy hold-out epoch"
"""The control that is read off the runs of `ce`: cross-entropy stopped where the noisy hold-out says."""

SHARES = {
    "best_test": "best_test_accuracy",
    "memorised": "memorised",
    "learnt": "learnt",
    "corrected": "corrected",
    "worst_class": "worst_class_accuracy",
    "balanced": "balanced_accuracy",
    "negative_log_likelihood": "negative_log_likelihood",
    "calibration_error": "expected_calibration_error",
    "networks": "networks",
    "views": "views",
    "units": "units_per_sample_epoch",
    "forward": "forward_per_sample_epoch",
    "backward": "backward_per_sample_epoch",
    "flops_forward": "flops_forward",
    "flops_forward_backward": "flops_forward_backward",
}
COSTS = ("units", "forward", "backward", "flops_forward", "flops_forward_backward")
ON_THE_MACHINE = ("images_per_second", "peak_memory_bytes")
"""What a run's provenance says of its cost, beside the seconds."""
SELECTOR = (
    "auroc",
    "average_precision",
    "precision",
    "recall",
    "corrected",
    "damaged",
    "auroc_noisy_classes",
    "average_precision_noisy_classes",
)
SOURCES = ("source", "kept_source", "corrected_source")


@dataclass
class RunGroup:
    """The runs of one row: its records by replicate, and its failures."""

    spec: Mapping[str, Any]
    records: dict[Replicate, Record] = field(default_factory=dict)
    failures: dict[Replicate, Record] = field(default_factory=dict)

    @property
    def ordered(self) -> list[Record]:
        """The records by replicate."""
        return [self.records[replicate] for replicate in sorted(self.records)]


def replicate_of(spec: Mapping[str, Any]) -> Replicate:
    """The replicate that a spec belongs to."""
    return Replicate(spec.get("noise_seed", 0), spec.get("split_seed", 0), spec.get("seed", 0))


def group_runs(records: Iterable[Record], failures: Iterable[Record]) -> list[RunGroup]:
    """The runs of one setting by row, in an order that doesn't depend on theirs."""
    groups: dict[str, RunGroup] = {}
    for record in records:
        _group_of(groups, record["spec"]).records.setdefault(replicate_of(record["spec"]), record)
    for failure in failures:
        replicate, own = replicate_of(failure["spec"]), _group_of(groups, failure["spec"])
        if replicate not in own.records:
            own.failures.setdefault(replicate, failure)
    return [groups[key] for key in sorted(groups)]


def _group_of(groups: dict[str, RunGroup], spec: Mapping[str, Any]) -> RunGroup:
    key = canonical_json(
        [
            spec["method"],
            spec.get("method_version", 1),
            spec.get("parameters", {}),
            list(spec.get("privileges", ())),
            spec.get("learning_rate"),
            spec.get("weight_decay"),
            spec.get("members", 1),
        ]
    )
    return groups.setdefault(key, RunGroup(spec))


def row_labels(groups: Sequence[RunGroup]) -> list[str]:
    """A name for each row that no other row of the table has: parameters always, the rest where it tells rows apart."""
    plain = [_name(each.spec) for each in groups]
    names = list(plain)
    extra = (
        ("learning_rate", "lr"),
        ("weight_decay", "weight decay"),
        ("privileges", "told"),
        ("method_version", "v"),
    )
    for twice in [name for name, count in Counter(plain).items() if count > 1]:
        alike = [index for index, name in enumerate(plain) if name == twice]
        for key, word in extra:
            values = [format_value(groups[index].spec.get(key)) for index in alike]
            if len(set(values)) > 1:
                for index, value in zip(alike, values, strict=True):
                    names[index] += f" ({word} {value})"
    return names


def short_name(row: Row, others: Iterable[Row]) -> str:
    """The method's name, with those parameters alone that tell the row from the `others` of its table."""
    alike = [other for other in others if other.method == row.method and other.derived == row.derived]
    told = [name for name in row.parameters if len({repr(other.parameters.get(name)) for other in alike}) > 1]
    # what the label says beyond parameters, it says because rows differ in it
    beyond = row.label.removeprefix(method_call(row.method, row.parameters))
    return method_call(row.method, {name: row.parameters[name] for name in told}) + beyond


def method_call(method: str, parameters: Mapping[str, Any]) -> str:
    """A method with its parameters, such as "gce [q=0.7]"."""
    values = [f"{name}={format_value(value)}" for name, value in sorted(parameters.items())]
    return f"{method} [{', '.join(values)}]" if values else method


def _name(spec: Mapping[str, Any]) -> str:
    members = spec.get("members", 1)
    name = method_call(str(spec["method"]), spec.get("parameters", {}))
    return name if members == 1 else f"{name} ({members} members)"


def build_row(group: RunGroup, label: str, rule: SelectionRule) -> Row:
    """A row's numbers; where it stands is decided when all rows are there."""
    records = group.ordered
    found = {replicate: selected_accuracy(group.records[replicate], rule) for replicate in sorted(group.records)}
    accuracies = {replicate: value for replicate, value in found.items() if value is not None}
    spec = group.spec
    means = {
        name: mean_of_known([finite_number(record["measures"].get(key)) for record in records])
        for name, key in SHARES.items()
    }
    means["seconds"] = mean_of_known([_seconds(record) for record in records])
    means |= {
        name: mean_of_known([finite_number(record["provenance"].get(name)) for record in records])
        for name in ON_THE_MACHINE
    }
    means["flops"] = mean_of_known([_flops(record) for record in records])
    means |= _singles(records)
    return Row(
        method=str(spec["method"]),
        label=label,
        parameters=dict(sorted(spec.get("parameters", {}).items())),
        needs=tuple(sorted(spec.get("privileges", ()))),
        assumes=tuple(sorted({name for record in records for name in record["measures"].get("assumes") or ()})),
        control=any(record["measures"].get("control") is True for record in records),
        version=spec.get("method_version", 1),
        learning_rate=spec["learning_rate"],
        weight_decay=spec.get("weight_decay", 0.0),
        members=spec.get("members", 1),
        accuracies=accuracies,
        accuracy=summarise(list(accuracies.values())) if accuracies else None,
        means=means,
        selector=_selector(records),
        aurocs=_aurocs(group),
    )


def early_stopped_row(group: RunGroup, label: str) -> Row | None:
    """The control row that `ce`'s records hold, or None where nothing was held out."""
    if group.spec["method"] != "ce" or group.spec.get("privileges") or group.spec.get("members", 1) > 1:
        return None
    base = build_row(group, label.replace("ce", EARLY_STOPPED, 1), RULES["holdout"])
    if not base.accuracies:
        return None
    # Training images were measured at the last epoch and every so many, not at the one chosen here.
    kept = {
        name: base.means[name]
        for name in ("best_test", "networks", "views", "seconds", "flops", *COSTS, *ON_THE_MACHINE)
    }
    return Row(
        **{name: value for name, value in vars(base).items() if name not in {"method", "means", "selector", "aurocs"}}
        | {"control": True, "derived": True},
        method=EARLY_STOPPED,
        means=dict.fromkeys(base.means) | kept,
        selector={},
    )


def _seconds(record: Record) -> float | None:
    """Seconds of a whole run; where only parts were kept, their sum."""
    seconds = record["provenance"].get("seconds") or {}
    total = finite_number(seconds.get("total"))
    parts = [
        value for part in ("train", "evaluate", "measure") if (value := finite_number(seconds.get(part))) is not None
    ]
    return total if total is not None else (sum(parts) if parts else None)


def _flops(record: Record) -> float | None:
    """Operations of a whole run's training: its passes, each with those of its backbone."""
    measures, epochs = record["measures"], int(record["spec"]["epochs"])
    names = ("forward_per_sample_epoch", "backward_per_sample_epoch", "flops_forward", "flops_forward_backward")
    found = [finite_number(each) for each in (*map(measures.get, names), (measures.get("samples") or {}).get("train"))]
    known = [value for value in found if value is not None]
    if len(known) < len(found):
        return None
    forward, backward, once, both, samples = known
    return (forward * once + backward * (both - once)) * samples * epochs


def _selector(records: Sequence[Record]) -> dict[str, Any]:
    """Means of what is known of the selector; empty if nothing is."""
    known = [record["measures"].get("selector") or {} for record in records]
    means: dict[str, Any] = {
        name: mean_of_known([finite_number(each.get(name)) for each in known]) for name in SELECTOR
    }
    if all(value is None for value in means.values()):
        return {}
    return {name: next((each[name] for each in known if each.get(name)), None) for name in SOURCES} | means


def _aurocs(group: RunGroup) -> dict[Replicate, float]:
    """The AUROC of each replicate that has one."""
    found = {
        replicate: finite_number((group.records[replicate]["measures"].get("selector") or {}).get("auroc"))
        for replicate in sorted(group.records)
    }
    return {replicate: value for replicate, value in found.items() if value is not None}


def _singles(records: Sequence[Record]) -> dict[str, float | None]:
    """Single networks' accuracy and the spread (largest minus smallest) among those of a run, means over the runs.

    None for methods of one network.
    """
    known = [
        [
            value
            for each in record["measures"].get("network_test_accuracies") or ()
            if (value := finite_number(each)) is not None
        ]
        for record in records
    ]
    several = [each for each in known if len(each) > 1]
    return {
        "single_networks": mean_of_known([mean_of_known(each) for each in several]),
        "network_spread": mean_of_known([max(each) - min(each) for each in several]),
    }
