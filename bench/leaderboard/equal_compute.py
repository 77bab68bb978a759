"""Records -> the tables at equal compute: for each method the epochs and members that do best within one allowance.

Everything is read off records: whatever they hold of other lengths and numbers of members is a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from bench.leaderboard.model import ComputeChoice, EqualCompute, Record, Replicate, Table
from bench.leaderboard.ranking import rank_rows
from bench.leaderboard.rows import RunGroup, group_runs, row_labels
from bench.leaderboard.selection import SelectionRule, finite_number
from bench.leaderboard.settings import Setting, setting_heading, setting_order
from bench.planning import compute_budget
from bench.planning.compute_budget import Budget, ComputeCandidate
from bench.spec import canonical_json, schedules
from bench.stats import summary
from bench.stats.holdout_choice import ENOUGH_HELD_OUT, HoldoutScore, score_splits

LEAST_REPLICATES = summary.LEAST_REPLICATES
LENGTH = ("epochs", "schedule")
"""What settings may differ in and still be joined."""
Runs = Mapping[str, Sequence[Record]]
"""Runs by setting id."""


@dataclass
class ComputeContender:
    """One row's candidates: the runs of each length and number of members."""

    spec: Mapping[str, Any]
    groups: dict[ComputeCandidate, RunGroup] = field(default_factory=dict)

    def units(self, candidate: ComputeCandidate) -> float | None:
        """What a run of a candidate cost; the mean over replicates."""
        group = self.groups.get(candidate)
        known = (
            [units for each in group.ordered if (units := compute_budget.run_units(each)) is not None] if group else []
        )
        return fmean(known) if known else None


def equal_compute_tables(
    tables: Sequence[Table], finished: Runs, failed: Runs, asked: Budget, rule: SelectionRule, fields: Sequence[str]
) -> tuple[EqualCompute, ...]:
    """The tables at equal compute among the settings of one data set.

    Settings that differ in their epochs alone (the schedule keeps its shape) are joined around the one whose epochs
    are the methods' own: those of `asked.settings`, or else of each family the one that most rows were trained in with
    one member, of several the longest. A family in which no row has anything to choose from has no table.
    """
    own = {table.setting_id: table for table in tables}
    found = []
    for base, family in _families({id_: table.setting for id_, table in own.items()}, finished, asked):
        records = [record for id_ in family for record in finished.get(id_, ())]
        failures = [failure for id_ in family for failure in failed.get(id_, ())]
        contenders = _contenders(records, failures)
        if any(len(each.groups) > 1 for each in contenders):
            found.append(_table(own[base], contenders, asked.units, rule, fields))
    return tuple(each for each in found if each is not None)


def _families(settings: Mapping[str, Setting], finished: Runs, asked: Budget) -> Iterable[tuple[str, list[str]]]:
    """(the setting with the methods' own epochs, all settings joined around it), each setting in one family."""
    left = dict(sorted(settings.items(), key=lambda item: (setting_order(item[1]), item[0])))
    while left:
        named = [id_ for id_ in left if asked.settings is not None and id_ in asked.settings]
        if asked.settings is not None and not named:
            return
        first = (named or list(left))[0]
        alike = [id_ for id_ in left if _core(left[id_]) == _core(left[first])]
        base = first if named else max(alike, key=lambda id_: (_rows(finished.get(id_, ())), left[id_]["epochs"]))
        family = [id_ for id_ in alike if _joins(left[base], left[id_])]
        yield base, family
        for id_ in family:
            del left[id_]


def _core(setting: Setting) -> str:
    """A setting but for its length."""
    return canonical_json({name: value for name, value in setting.items() if name not in LENGTH})


def _joins(base: Setting, other: Setting) -> bool:
    """Whether another setting is the base's with other epochs."""
    shape = str(base.get("schedule", "cosine"))
    return schedules.scale_schedule(shape, base["epochs"], other["epochs"]) == str(other.get("schedule", "cosine"))


def _rows(records: Iterable[Record]) -> int:
    """How many rows have runs of one member."""
    return len({_row_key(record["spec"]) for record in records if record["spec"].get("members", 1) == 1})


def _row_key(spec: Mapping[str, Any]) -> str:
    names = ("method", "method_version", "parameters", "privileges", "learning_rate", "weight_decay")
    return canonical_json([spec.get(name) for name in names])


def _contenders(records: Sequence[Record], failures: Sequence[Record]) -> list[ComputeContender]:
    """The runs by row and candidate."""
    found: dict[str, ComputeContender] = {}
    by_epochs: dict[int, tuple[list[Record], list[Record]]] = {}
    for place, runs in enumerate((records, failures)):
        for run in runs:
            by_epochs.setdefault(int(run["spec"]["epochs"]), ([], []))[place].append(run)
    for epochs, (ended, failed) in sorted(by_epochs.items()):
        for each in group_runs(ended, failed):
            members = int(each.spec.get("members", 1))
            alone = {name: value for name, value in each.spec.items() if name != "members"}
            contender = found.setdefault(_row_key(each.spec), ComputeContender(alone))
            contender.groups[ComputeCandidate(epochs, members)] = replace(each, spec=alone)
    return [found[key] for key in sorted(found)]


def _table(
    base: Table, contenders: Sequence[ComputeContender], units: float | None, rule: SelectionRule, fields: Sequence[str]
) -> EqualCompute | None:
    """One table; None where no row's cost at the methods' own epochs is known and no allowance was typed."""
    own = ComputeCandidate(int(base.setting["epochs"]), 1)
    costs = {index: cost for index, each in enumerate(contenders) if (cost := each.units(own)) is not None}
    if units is None and not costs:
        return None
    dearest = max(costs, key=lambda index: costs[index]) if units is None else None
    allowance = costs[dearest] if dearest is not None else float(units or 0)
    reference = _reference(contenders, own)
    names = row_labels([RunGroup(each.spec) for each in contenders])
    picked: list[tuple[ComputeChoice, RunGroup]] = []
    left_out = []
    for name, contender in zip(names, contenders, strict=True):
        pick = _choose(contender, allowance, reference)
        if pick is None:
            left_out.append({"method": name, "reason": _why_none(contender, allowance)})
        else:
            picked.append(pick)
    groups = [runs for _, runs in picked]
    judged, replicates = rank_rows(groups, rule)
    rows = tuple(row for row in judged if row.standing != "apart" and not row.derived)
    left_out += [{"method": row.label, "reason": row.reason} for row in judged if row.standing == "apart"]
    choices = dict(zip(row_labels(groups), (choice for choice, _ in picked), strict=True))
    ranked = {row.label: row.accuracies for row in rows if row.standing == "ranked"}
    return EqualCompute(
        setting_id=base.setting_id,
        setting=base.setting,
        heading=setting_heading(base.setting, [name for name in fields if name not in LENGTH]),
        allowance=allowance,
        dearest=None if dearest is None else names[dearest],
        rows=rows,
        choices=choices,
        replicates=replicates,
        leader=summary.leader(ranked) if ranked else None,
        best_set=tuple(row.label for row in rows if row.may_be_best) or None,
        description=_description(
            allowance, None if dearest is None else _short(names, dearest, contenders), own.epochs
        ),
        notes=_notes([choices[row.label] for row in rows], replicates),
        left_out=left_out,
        command=_command(base.command, units, allowance),
    )


def _short(names: Sequence[str], index: int, contenders: Sequence[ComputeContender]) -> str:
    """A contender's method, or its whole name where there are several of the method."""
    method = str(contenders[index].spec["method"])
    return method if sum(each.spec["method"] == method for each in contenders) == 1 else names[index]


def _reference(contenders: Sequence[ComputeContender], own: ComputeCandidate) -> tuple[Replicate, ...]:
    """The replicates of the row that has most at the methods' own epochs."""
    lists = [tuple(sorted(each.groups[own].records)) for each in contenders if own in each.groups]
    return max(lists, key=len, default=())


def _choose(
    contender: ComputeContender, allowance: float, reference: Sequence[Replicate]
) -> tuple[ComputeChoice, RunGroup] | None:
    """A row's choice and its runs, or None where it has nothing to choose from.

    The candidate with the best mean accuracy on noisy held-out labels, or the cheapest of those that lie within its
    standard error.
    """
    judged: list[tuple[ComputeCandidate, HoldoutScore, float]] = []
    beyond = unfinished = 0
    for candidate, runs in contender.groups.items():
        units, found = contender.units(candidate), held_out_score(runs, reference)
        if units is None or found is None:
            unfinished += 1
        elif not compute_budget.is_within(units, allowance):
            beyond += 1
        else:
            judged.append((candidate, found, units))
    if not judged:
        return None
    chosen, own, units = choose_cheapest(judged)
    choice = ComputeChoice(
        epochs=chosen.epochs,
        members=chosen.members,
        units=units,
        score=own,
        tried=len(judged),
        beyond=beyond,
        unfinished=unfinished,
        search=sum(contender.units(each) or 0.0 for each in contender.groups),
    )
    runs = contender.groups[chosen]
    return choice, replace(runs, records={each: runs.records[each] for each in reference}, failures={})


def choose_cheapest(
    judged: Sequence[tuple[ComputeCandidate, HoldoutScore, float]],
) -> tuple[ComputeCandidate, HoldoutScore, float]:
    """The cheapest of those (candidate, score, units) that lie within the best's standard error of the best.

    Of equally cheap ones the better, then the shorter.
    """
    best = max(judged, key=lambda each: (each[1].mean, -each[2]))[1]
    near = [each for each in judged if each[1].mean >= best.mean - best.error]
    return min(near, key=lambda each: (each[2], -each[1].mean, each[0]))


def held_out_score(runs: RunGroup, replicates: Sequence[Replicate]) -> HoldoutScore | None:
    """Accuracy on noisy held-out labels at the last epoch, over the replicates; None where one of them has none."""
    records = [runs.records.get(each) for each in replicates]
    found = [None if record is None else noisy_accuracy(record) for record in records]
    known = [value for value in found if value is not None]
    if not known or len(known) < len(found):
        return None
    return score_splits(known, count_held_out(record for record in records if record is not None))


def noisy_accuracy(record: Record) -> float | None:
    """A run's accuracy on noisy held-out labels at its last epoch; older records have it in their curve alone."""
    curve = record["curves"].get("noisy_holdout_accuracy") or [None]
    return finite_number(record["measures"].get("noisy_holdout_accuracy", curve[-1]))


def count_held_out(records: Iterable[Record]) -> int:
    """Held-out labels of all splits together."""
    sizes = {
        (record["spec"].get("split_seed"), record["spec"].get("noise_seed")): (
            (record["measures"].get("samples") or {}).get("holdout") or 0
        )
        for record in records
    }
    return max(1, sum(sizes.values()))


def _why_none(contender: ComputeContender, allowance: float) -> str:
    known = [cost for each in contender.groups if (cost := contender.units(each)) is not None]
    if known and not compute_budget.is_within(min(known), allowance):
        return f"its cheapest run costs {min(known):.4g} units for each training image, more than the allowance"
    return "none of its lengths has every replicate, with an accuracy on held-out labels"


def _description(allowance: float, dearest: str | None, epochs: int) -> list[str]:
    """What the allowance is, and what was chosen by what."""
    whence = "as was typed" if dearest is None else f"what {dearest} needs for {epochs} epoch{'s' * (epochs > 1)}"
    return [
        f"Allowance: {allowance:.4g} units for each training image and run (a forward pass 1, a backward pass 2), "
        f"{whence}.",
        "Chosen for each row, within the allowance: epochs and members, by the mean accuracy on noisy held-out labels "
        "at the last epoch; of what lies within one standard error of the best, the cheapest. Test labels had no say.",
    ]


def _notes(choices: Sequence[ComputeChoice], replicates: Sequence[Replicate]) -> list[str]:
    """What a reader must know before believing the table."""
    if not choices:
        return []
    labels, errors = min(each.score.labels for each in choices), [each.score.error for each in choices]
    few = labels < ENOUGH_HELD_OUT
    spread = sorted({f"{100 * error:.1f}" for error in errors}, key=float)
    told = (
        f"Choices rest on {labels:,} held-out noisy labels{f', fewer than {ENOUGH_HELD_OUT:,}' if few else ''}, with "
        f"standard errors of {' to '.join(dict.fromkeys((spread[0], spread[-1])))} points"
        f"{': so few lean to what is cheap, and more seeds would make them surer' if few else ''}."
    )
    search = sum(each.search for each in choices)
    spent = sum(each.units for each in choices)
    cost = (
        f"The search itself cost {search:,.0f} units for each training image and replicate, {search / spent:.1f} times "
        "what the chosen runs did."
    )
    beyond, unfinished = sum(each.beyond for each in choices), sum(each.unfinished for each in choices)
    passed = [
        f"{beyond} came out above the allowance" if beyond else "",
        f"{unfinished} lack replicates" if unfinished else "",
    ]
    passed = [each for each in passed if each]
    found = [
        f"Fewer than {LEAST_REPLICATES} replicates: no bold. So few ({len(replicates)}) can't tell which row is best."
        if len(replicates) < LEAST_REPLICATES
        else "",
        told,
        cost,
        f"Candidates passed over: {' and '.join(passed)}." if passed else "",
    ]
    return [each for each in found if each]


def _command(command: str, units: float | None, allowance: float) -> str:
    """How to ask for the table again: the methods' own epochs and one member, and the budget."""
    lines = [line for line in command.splitlines() if " --members " not in line]
    if not lines or all(" --budget " in line for line in lines):
        return command
    # several commands would each find a dearest method of their own
    typed = f":{units:g}" if units is not None else f":{allowance!r}" if len(lines) > 1 else ""
    return "\n".join(f"{line} --budget {compute_budget.EQUAL_COMPUTE}{typed}" for line in lines)
