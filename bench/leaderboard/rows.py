"""Records -> rows: one for each method with its parameters, learning rate and weight decay in a setting.

`group_runs` finds the runs of a row, `row_labels` names the rows of a table, `build_row` computes a row's numbers: the
means of what the columns read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.leaderboard.columns import BOARD, Column
from bench.leaderboard.detail_columns import COSTS, DETECTION
from bench.leaderboard.formatting import format_value
from bench.leaderboard.measurements import Reader, Record, measure
from bench.leaderboard.model import Replicate, Row
from bench.leaderboard.selection import RULES, SelectionRule, selected_accuracy
from bench.spec import canonical_json
from bench.stats.summary import mean_of_known, summarise

EARLY_STOPPED = "ce @ noisy hold-out epoch"
"""The control that is read off the runs of `ce`: cross-entropy stopped where the noisy hold-out says."""

SOURCES = ("source", "kept_source", "corrected_source")
"""Keys of a record's selector that name the basis of its measures."""


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
        replicate, group = replicate_of(failure["spec"]), _group_of(groups, failure["spec"])
        if replicate not in group.records:
            group.failures.setdefault(replicate, failure)
    return [groups[key] for key in sorted(groups)]


def _group_of(groups: dict[str, RunGroup], spec: Mapping[str, Any]) -> RunGroup:
    return groups.setdefault(row_key(spec, spec.get("members", 1)), RunGroup(spec))


def row_key(spec: Mapping[str, Any], *members: int) -> str:
    """A text that is equal for the specs of one row; without `members`, for those of all numbers of members."""
    names = ("learning_rate", "weight_decay")
    method = [spec["method"], spec.get("method_version", 1), spec.get("parameters", {})]
    source = [] if spec.get("recipe_source") is None else [{"recipe_source": spec["recipe_source"]}]
    return canonical_json([*method, list(spec.get("privileges", ())), *map(spec.get, names), *members, *source])


def row_labels(groups: Sequence[RunGroup]) -> list[str]:
    """A unique name for each row: the parameters always, the rest where rows of the same name differ in it."""
    names = [_name(group.spec) for group in groups]
    labels = list(names)
    extra = (
        *(("learning_rate", "lr"), ("weight_decay", "weight decay"), ("privileges", "told"), ("method_version", "v")),
        ("recipe_source", "recipe of"),
    )
    for shared_name in [name for name, count in Counter(names).items() if count > 1]:
        alike = [index for index, name in enumerate(names) if name == shared_name]
        for key, word in extra:
            values = [format_value(groups[index].spec.get(key)) for index in alike]
            if len(set(values)) > 1:
                for index, value in zip(alike, values, strict=True):
                    labels[index] += f" ({word} {value})"
    return labels


def short_name(row: Row, others: Iterable[Row]) -> str:
    """The method's name, with those parameters alone that tell the row from the `others` of its table."""
    alike = [other.parameters for other in others if other.method == row.method and other.derived == row.derived]
    # The rest of the label is there because rows differ in it.
    rest = row.label.removeprefix(method_call(row.method, row.parameters))
    return method_call(row.method, differing_parameters(row.parameters, alike)) + rest


def differing_parameters(values: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of one row in which the rows of its method, `alike`, differ."""
    return {name: value for name, value in values.items() if len({repr(other.get(name)) for other in alike}) > 1}


def method_call(method: str, parameters: Mapping[str, Any]) -> str:
    """A method with its parameters, such as "gce [q=0.7]"."""
    values = [f"{name}={format_value(value)}" for name, value in sorted(parameters.items())]
    return f"{method} [{', '.join(values)}]" if values else method


def _name(spec: Mapping[str, Any]) -> str:
    members = spec.get("members", 1)
    name = method_call(str(spec["method"]), spec.get("parameters", {}))
    return name if members == 1 else f"{name} ({members} members)"


def build_row(group: RunGroup, label: str, rule: SelectionRule) -> Row:
    """A row with its numbers; `ranking` adds status and rank once all rows are there."""
    records = group.ordered
    accuracies = _by_replicate(group, lambda record: selected_accuracy(record, rule))
    spec = group.spec
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
        recipe_source=spec.get("recipe_source"),
        accuracies=accuracies,
        accuracy=summarise(list(accuracies.values())) if accuracies else None,
        means=_column_means((*BOARD, *COSTS), records),
        selector=_selector(records),
        aurocs=_by_replicate(group, measure("selector", "auroc")),
    )


def early_stopped_row(group: RunGroup, label: str) -> Row | None:
    """The control row that `ce`'s records hold, or None where nothing was held out."""
    if group.spec["method"] != "ce" or group.spec.get("privileges") or group.spec.get("members", 1) > 1:
        return None
    row = build_row(group, label.replace("ce", EARLY_STOPPED, 1), RULES["holdout"])
    if not row.accuracies:
        return None
    # Training images were measured at the last epoch and every so many, not at the epoch chosen by this rule.
    of_run = {column.key for column in (*BOARD, *COSTS) if column.of_run}
    means = {key: mean if key in of_run else None for key, mean in row.means.items()}
    return replace(row, method=EARLY_STOPPED, means=means, selector={}, aurocs={}, control=True, derived=True)


def _by_replicate(group: RunGroup, read: Reader) -> dict[Replicate, float]:
    """The number of each replicate that has one."""
    numbers = {replicate: read(group.records[replicate]) for replicate in sorted(group.records)}
    return {replicate: number for replicate, number in numbers.items() if number is not None}


def _column_means(columns: Iterable[Column], records: Sequence[Record]) -> dict[str, float | None]:
    """The mean over records of every column that reads a number, by key."""
    return {
        column.key: mean_of_known([column.read(record) for record in records])
        for column in columns
        if column.read is not None
    }


def _selector(records: Sequence[Record]) -> dict[str, Any]:
    """Means of the measures of noise detection, and their sources; empty if no measure is known."""
    means = {key.removeprefix("selector."): mean for key, mean in _column_means(DETECTION, records).items()}
    if all(mean is None for mean in means.values()):
        return {}
    selectors = [record["measures"].get("selector") or {} for record in records]
    sources = {name: next((selector[name] for selector in selectors if selector.get(name)), None) for name in SOURCES}
    return sources | means
