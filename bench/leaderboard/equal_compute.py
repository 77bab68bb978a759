"""Records -> the tables at equal compute: for each method the epochs and members that do best within one allowance.

Everything is read off records: whatever they hold of other lengths and numbers of members is a candidate. Read
`equal_compute_tables` first, then `_choose` for the rule of the choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, NamedTuple

from bench.leaderboard.measurements import Record, finite_number
from bench.leaderboard.model import ComputeChoice, EqualComputeTable, Replicate, Table
from bench.leaderboard.notes import held_out_labels, note_few_replicates
from bench.leaderboard.ranking import rank_rows
from bench.leaderboard.rows import RunGroup, group_runs, row_key, row_labels
from bench.leaderboard.selection import SelectionRule
from bench.leaderboard.settings import Setting, setting_heading, setting_order
from bench.planning import compute_budget
from bench.planning.compute_budget import Budget, ComputeCandidate
from bench.spec import canonical_json, schedules
from bench.stats.holdout_choice import ENOUGH_HELD_OUT, HoldoutScore, score_splits

LENGTH = ("epochs", "schedule")
"""Fields in which settings may differ and still be joined."""
Runs = Mapping[str, Sequence[Record]]
"""Runs by setting id."""


class ScoredCandidate(NamedTuple):
    """A candidate with its accuracy on noisy held-out labels, and its cost in units for each training image."""

    candidate: ComputeCandidate
    score: HoldoutScore
    units: float


@dataclass
class ComputeContender:
    """One row's candidates: the runs of each length and number of members."""

    spec: Mapping[str, Any]
    groups: dict[ComputeCandidate, RunGroup] = field(default_factory=dict)

    def units(self, candidate: ComputeCandidate) -> float | None:
        """The cost of a run of a candidate, the mean over replicates; None where no run knows it."""
        records = self.groups[candidate].ordered if candidate in self.groups else []
        costs = [units for record in records if (units := compute_budget.run_units(record)) is not None]
        return fmean(costs) if costs else None


def equal_compute_tables(
    tables: Sequence[Table], finished: Runs, failed: Runs, budget: Budget, rule: SelectionRule, fields: Sequence[str]
) -> tuple[EqualComputeTable, ...]:
    """The tables at equal compute among the settings of one data set.

    Settings that differ in their epochs alone (the schedule keeps its shape) are joined around the one whose epochs
    are the methods' default: those of `budget.settings`, or else of each family the one that most rows were trained in
    with one member, of several the longest. A family in which no row has anything to choose from has no table.
    """
    by_id = {table.setting_id: table for table in tables}
    equal_compute = []
    for base, family in _families({id_: table.setting for id_, table in by_id.items()}, finished, budget):
        records = [record for id_ in family for record in finished.get(id_, ())]
        failures = [failure for id_ in family for failure in failed.get(id_, ())]
        contenders = _contenders(records, failures)
        if any(len(contender.groups) > 1 for contender in contenders) and (
            table := _table(by_id[base], contenders, budget.units, rule, fields)
        ):
            equal_compute.append(table)
    return tuple(equal_compute)


def _families(settings: Mapping[str, Setting], finished: Runs, budget: Budget) -> Iterable[tuple[str, list[str]]]:
    """(the setting with the default epochs, all settings joined around it), each setting in one family."""
    left = dict(sorted(settings.items(), key=lambda item: (setting_order(item[1]), item[0])))
    while left:
        named = [id_ for id_ in left if budget.settings is not None and id_ in budget.settings]
        if budget.settings is not None and not named:
            return
        first = (named or list(left))[0]
        alike = [id_ for id_ in left if _without_length(left[id_]) == _without_length(left[first])]
        rows = {
            id_: {row_key(run["spec"]) for run in finished.get(id_, ()) if run["spec"].get("members", 1) == 1}
            for id_ in alike
        }
        base = first if named else max(alike, key=lambda id_: (len(rows[id_]), left[id_]["epochs"]))
        family = [id_ for id_ in alike if _same_schedule(left[base], left[id_])]
        yield base, family
        for id_ in family:
            del left[id_]


def _without_length(setting: Setting) -> str:
    return canonical_json({name: value for name, value in setting.items() if name not in LENGTH})


def _same_schedule(base: Setting, other: Setting) -> bool:
    """Whether another setting's schedule is the base's, scaled to the other's epochs."""
    shape = str(base.get("schedule", "cosine"))
    return schedules.scale_schedule(shape, base["epochs"], other["epochs"]) == str(other.get("schedule", "cosine"))


def _contenders(records: Sequence[Record], failures: Sequence[Record]) -> list[ComputeContender]:
    """The runs by row and candidate."""
    by_epochs: dict[int, tuple[list[Record], list[Record]]] = {}
    for place, runs in enumerate((records, failures)):
        for run in runs:
            by_epochs.setdefault(int(run["spec"]["epochs"]), ([], []))[place].append(run)
    contenders: dict[str, ComputeContender] = {}
    for epochs, (finished, failed) in sorted(by_epochs.items()):
        for group in group_runs(finished, failed):
            candidate = ComputeCandidate(epochs, int(group.spec.get("members", 1)))
            spec = {name: value for name, value in group.spec.items() if name != "members"}
            contender = contenders.setdefault(row_key(spec), ComputeContender(spec))
            contender.groups[candidate] = replace(group, spec=spec)
    return [contenders[key] for key in sorted(contenders)]


def _table(
    base: Table, contenders: Sequence[ComputeContender], units: float | None, rule: SelectionRule, fields: Sequence[str]
) -> EqualComputeTable | None:
    """One table; None where no row's cost at the default epochs is known and no allowance was typed."""
    default = ComputeCandidate(int(base.setting["epochs"]), 1)
    labels = row_labels([RunGroup(contender.spec) for contender in contenders])
    methods = [str(contender.spec["method"]) for contender in contenders]
    short_labels = [
        method if methods.count(method) == 1 else label for method, label in zip(methods, labels, strict=True)
    ]
    dearest, allowance = None, units
    if allowance is None:
        costs = {
            index: cost for index, contender in enumerate(contenders) if (cost := contender.units(default)) is not None
        }
        if not costs:
            return None
        dearest = max(costs, key=lambda index: costs[index])
        allowance = costs[dearest]
    at_default = [sorted(contender.groups[default].records) for contender in contenders if default in contender.groups]
    common: list[Replicate] = max(at_default, key=len, default=[])
    choices: list[ComputeChoice] = []
    groups: list[RunGroup] = []
    left_out = []
    for label, contender in zip(labels, contenders, strict=True):
        if chosen := _choose(contender, allowance, common):
            choices.append(chosen[0])
            groups.append(chosen[1])
        else:
            left_out.append({"method": label, "reason": _why_none(contender, allowance)})
    ranked, replicates = rank_rows(groups, rule)
    by_label = dict(zip(row_labels(groups), choices, strict=True))
    rows = tuple(
        replace(row, choice=by_label[row.label]) for row in ranked if row.status != "excluded" and not row.derived
    )
    left_out += [{"method": row.label, "reason": row.reason} for row in ranked if row.status == "excluded"]
    return EqualComputeTable(
        setting_id=base.setting_id,
        setting=base.setting,
        heading=setting_heading(base.setting, [name for name in fields if name not in LENGTH]),
        allowance=allowance,
        dearest=None if dearest is None else labels[dearest],
        rows=rows,
        replicates=replicates,
        description=_description(allowance, short_labels[dearest] if dearest is not None else None, default.epochs),
        caveats=_notes([by_label[row.label] for row in rows], replicates),
        left_out=left_out,
        command=_command(base.command, units, allowance),
    )


def _choose(
    contender: ComputeContender, allowance: float, replicates: Sequence[Replicate]
) -> tuple[ComputeChoice, RunGroup] | None:
    """A row's choice and its runs, or None where it has nothing to choose from.

    The candidate with the best mean accuracy on noisy held-out labels, or the cheapest of those that lie within its
    standard error.
    """
    scored: list[ScoredCandidate] = []
    beyond = unfinished = 0
    for candidate, runs in contender.groups.items():
        units, score = contender.units(candidate), held_out_score(runs, replicates)
        if units is None or score is None:
            unfinished += 1
        elif not compute_budget.is_within(units, allowance):
            beyond += 1
        else:
            scored.append(ScoredCandidate(candidate, score, units))
    if not scored:
        return None
    chosen = choose_cheapest(scored)
    choice = ComputeChoice(
        epochs=chosen.candidate.epochs,
        members=chosen.candidate.members,
        units=chosen.units,
        allowance=allowance,
        score=chosen.score,
        tried=len(scored),
        beyond=beyond,
        unfinished=unfinished,
        search=sum(contender.units(candidate) or 0.0 for candidate in contender.groups),
    )
    runs = contender.groups[chosen.candidate]
    return choice, replace(runs, records={seeds: runs.records[seeds] for seeds in replicates}, failures={})


def choose_cheapest(scored: Sequence[ScoredCandidate]) -> ScoredCandidate:
    """The cheapest of the candidates that lie within the best's standard error of the best.

    Of equally cheap ones the better, then the shorter.
    """
    best = max(scored, key=lambda entry: (entry.score.mean, -entry.units)).score
    near = [entry for entry in scored if entry.score.mean >= best.mean - best.error]
    return min(near, key=lambda entry: (entry.units, -entry.score.mean, entry.candidate))


def held_out_score(runs: RunGroup, replicates: Sequence[Replicate]) -> HoldoutScore | None:
    """Accuracy on noisy held-out labels at the last epoch, over the replicates; None where one of them has none."""
    records = [runs.records[seeds] for seeds in replicates if seeds in runs.records]
    accuracies = [accuracy for record in records if (accuracy := noisy_accuracy(record)) is not None]
    if not accuracies or len(accuracies) < len(replicates):
        return None
    return score_splits(accuracies, max(1, sum(held_out_labels(records).values())))


def noisy_accuracy(record: Record) -> float | None:
    """A run's accuracy on noisy held-out labels at its last epoch; older records have it in their curve alone."""
    curve = record["curves"].get("noisy_holdout_accuracy") or [None]
    return finite_number(record["measures"].get("noisy_holdout_accuracy", curve[-1]))


def _why_none(contender: ComputeContender, allowance: float) -> str:
    costs = [cost for candidate in contender.groups if (cost := contender.units(candidate)) is not None]
    if costs and not compute_budget.is_within(min(costs), allowance):
        return f"its cheapest run costs {min(costs):.4g} units for each training image, more than the allowance"
    return "none of its lengths has every replicate, with an accuracy on held-out labels"


def _description(allowance: float, dearest: str | None, epochs: int) -> list[str]:
    """The allowance and its source, and the rule of the choice."""
    source = "as was typed" if dearest is None else f"what {dearest} needs for {epochs} epoch{'s' * (epochs > 1)}"
    units = f"{allowance:.4g} units for each training image and run (a forward pass 1, a backward pass 2)"
    return [
        f"Allowance: {units}, {source}.",
        "Chosen for each row, within the allowance: epochs and members, by the mean accuracy on noisy held-out labels "
        "at the last epoch; of what lies within one standard error of the best, the cheapest. Test labels had no say.",
    ]


def _notes(choices: Sequence[ComputeChoice], replicates: Sequence[Replicate]) -> list[str]:
    """Sentences that a reader must know before believing the table."""
    if not choices:
        return []
    labels = min(choice.score.labels for choice in choices)
    few = labels < ENOUGH_HELD_OUT
    errors = sorted({f"{100 * choice.score.error:.1f}" for choice in choices}, key=float)
    search, spent = sum(choice.search for choice in choices), sum(choice.units for choice in choices)
    beyond, unfinished = sum(choice.beyond for choice in choices), sum(choice.unfinished for choice in choices)
    passed_over = [f"{beyond} came out above the allowance"] if beyond else []
    passed_over += [f"{unfinished} lack replicates"] if unfinished else []
    notes = [
        note_few_replicates(replicates),
        f"Choices rest on {labels:,} held-out noisy labels{f', fewer than {ENOUGH_HELD_OUT:,}' if few else ''}, with "
        f"standard errors of {' to '.join(dict.fromkeys((errors[0], errors[-1])))} points"
        f"{': so few lean to what is cheap, and more seeds would make them surer' if few else ''}.",
        f"The search itself cost {search:,.0f} units for each training image and replicate, {search / spent:.1f} times "
        "what the chosen runs did.",
        f"Candidates passed over: {' and '.join(passed_over)}." if passed_over else "",
    ]
    return [note for note in notes if note]


def _command(command: str, units: float | None, allowance: float) -> str:
    """The table's command: the default epochs and one member, and the budget."""
    lines = [line for line in command.splitlines() if " --members " not in line]
    if not lines or all(" --budget " in line for line in lines):
        return command
    # Of several commands each would find a dearest method for itself, so they get the allowance as a number.
    typed = f":{units:g}" if units is not None else f":{allowance!r}" if len(lines) > 1 else ""
    return "\n".join(f"{line} --budget {compute_budget.EQUAL_COMPUTE}{typed}" for line in lines)
