"""What a choice came to, seen afterwards: on the test set, and beside the choice that clean labels would have made.

Nothing is chosen by any of it. It answers what people ask of tuning under noise: what did it buy, and how much is lost
by looking at noisy labels? Regret compares settings that were run again on fresh seeds; whether noisy labels let the
right ones that far is told by which of all trials clean labels put first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from bench.leaderboard.selection import RULES, selected_accuracy
from bench.records.store import Store
from bench.spec import RunSpec, Value
from bench.stats.holdout_choice import HoldoutScore, choose_among_known, record_criterion, score_splits
from bench.stats.summary import Summary, summarise
from bench.tuning.study.definition import StudyCase
from bench.tuning.study.optuna_study import ERROR, OptunaStudy
from bench.tuning.study.search_space import Values
from bench.tuning.study.stages import Finalist, StudyResult


@dataclass(frozen=True)
class ChoiceHindsight:
    """Differences of test accuracy at the last epoch, shares of 1, paired over the fresh seeds."""

    clean: tuple[HoldoutScore | None, ...]
    """Each finalist's accuracy on the hold-outs' clean labels."""
    clean_choice: int
    """The finalist that the same rule chooses by them."""
    bought: Summary | None
    """Chosen - own values; None where the own ones couldn't be trained."""
    regret: Summary
    """The clean labels' choice - chosen."""
    trials: int
    """Trials that completed on every search seed, with clean labels known."""
    clean_first: int | None
    """The slot of the one among them with the highest accuracy on the hold-outs' clean labels; None without any."""


def judge_in_hindsight(tuned: StudyResult, store: Store, completed: Mapping[int, Values]) -> ChoiceHindsight | None:
    """What is known afterwards; None where nothing was chosen, or where clean labels aren't known.

    `completed`: the values of the trials that completed, by slot.
    """
    if tuned.decision is None:
        return None
    case = tuned.case
    clean: list[HoldoutScore | None] = []
    tests: list[list[float] | None] = []
    for each in tuned.finalists:
        records = _records(each.specs, store)
        held_out = None if each.score is None else _clean(records, case)
        clean.append(held_out)
        tested = _known([selected_accuracy(record, RULES["last"]) for record in records])
        tests.append(None if held_out is None else tested)
    own = next((number for number, each in enumerate(tuned.finalists) if each.slot == 0), None)
    decision = choose_among_known(clean, own)
    chosen = tests[tuned.decision.chosen]
    if decision is None or chosen is None or (best := tests[decision.chosen]) is None:
        return None
    mine = None if own is None else tests[own]
    searched = {
        slot: _clean(_records(case.search_runs(values), store), case) for slot, values in sorted(completed.items())
    }
    right = {slot: found.mean for slot, found in searched.items() if found is not None}
    return ChoiceHindsight(
        clean=tuple(clean),
        clean_choice=decision.chosen,
        bought=None if mine is None else _over(chosen, mine),
        regret=_over(best, chosen),
        trials=len(right),
        clean_first=max(right, key=lambda slot: (right[slot], -slot), default=None),
    )


def _records(specs: Sequence[RunSpec], store: Store) -> Sequence[Mapping[str, Any]]:
    """The records of a setting's runs; none where one is missing."""
    found = [store.read(spec.run_id) for spec in specs]
    known = [record for record in found if record is not None]
    return known if len(known) == len(specs) else []


def _clean(records: Sequence[Mapping[str, Any]], case: StudyCase) -> HoldoutScore | None:
    """A setting's accuracy on the hold-outs' clean labels."""
    known = _known([record_criterion(record, case.last_epochs, "clean-val") for record in records])
    return None if known is None else score_splits(known, case.labels)


def _known(values: Sequence[float | None]) -> list[float] | None:
    """The values, if there are any and none is missing."""
    known = [value for value in values if value is not None]
    return known if known and len(known) == len(values) else None


def _over(these: list[float], those: list[float]) -> Summary:
    return summarise([round(this - that, 12) for this, that in zip(these, those, strict=True)])


PRIVILEGES = {"noisy-val": (), "clean-val": ("clean_validation",)}
"""What a choice by an objective is told beyond noisy labels."""
Z95 = 1.96


def study_document(tuned: StudyResult, search: OptunaStudy, seen: ChoiceHindsight | None) -> dict[str, Any]:
    """Everything that is known of a case's outcome; shares from 0 to 1."""
    case, base = tuned.case, tuned.case.base
    decision = tuned.decision
    chosen = None if decision is None else tuned.finalists[decision.chosen]
    best = None if decision is None else tuned.finalists[decision.best]
    clean = [None] * len(tuned.finalists) if seen is None else seen.clean
    return {
        "study": case.name,
        "method": case.method,
        "data_set": base.data_set,
        "noise": base.noise,
        "rate": base.rate,
        "model": base.model,
        "epochs": base.epochs,
        "objective": case.objective,
        "privileges": sorted({*base.privileges, *PRIVILEGES[case.objective]}),
        "last_epochs": case.last_epochs,
        "dimensions": len(case.space.dimensions),
        "space": case.space.declaration(),
        "trials": search.budget,
        "ended": tuned.states,
        "splits": len(case.search_seeds),
        "held_out_labels": case.labels,
        "search_seeds": [each["seed"] for each in case.search_seeds],
        "final_seeds": [each["seed"] for each in case.final_seeds],
        "study_seed": case.study_seed,
        "runs": tuned.runs,
        "own": next((_finalist(each) for each in tuned.finalists if each.slot == 0), None),
        "best": None if best is None else _finalist(best),
        "chosen": None if chosen is None else _finalist(chosen),
        "kept": None if decision is None else decision.kept,
        "as_good": values_as_good(search),
        "finalists": [_finalist(each, right) for each, right in zip(tuned.finalists, clean, strict=True)],
        "importance": dimension_importance(search),
        "bought": None if seen is None or seen.bought is None else _difference(seen.bought),
        "regret": None if seen is None else _difference(seen.regret),
        "clean_first": None
        if seen is None or seen.clean_first is None
        else {"trial": seen.clean_first + 1, "of": seen.trials},
        "clean_choice": None if seen is None else tuned.finalists[seen.clean_choice].slot + 1,
    }


def values_as_good(search: OptunaStudy) -> dict[str, list[Value]]:
    """For each dimension the values of the completed trials within one standard error of the best: from, to.

    Among choices: all of them that occur.
    """
    done = [slot for slot in search.slots().values() if slot.last.state == TrialState.COMPLETE]
    if not done:
        return {}
    best = max(done, key=lambda slot: (slot.last.value or 0.0, -slot.number))
    least = (best.last.value or 0.0) - float(best.last.user_attrs.get(ERROR, 0.0))
    near = [search.values_of(slot) for slot in done if (slot.last.value or 0.0) >= least]
    found: dict[str, list[Value]] = {}
    for dimension in search.case.space.dimensions:
        values = [each[dimension.name] for each in near]
        if dimension.kind == "choice":
            found[dimension.name] = list(dict.fromkeys(values))
        else:
            found[dimension.name] = [min(values, key=float), max(values, key=float)]
    return found


def dimension_importance(search: OptunaStudy) -> dict[str, float] | None:
    """How much each dimension matters to being among the best trials: PED-ANOVA (Watanabe et al. 2023), summing to 1.

    None where too few trials completed to tell.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    if len(search.case.space.dimensions) == 1:
        return {search.case.space.dimensions[0].name: 1.0}
    try:
        found = get_param_importances(search.study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):
        return None
    return dict(found) or None


def _finalist(one: Finalist, clean: HoldoutScore | None = None) -> dict[str, Any]:
    return {
        "trial": one.slot + 1,
        "values": dict(one.values),
        "search": _score(one.found),
        "fresh": None if one.score is None else _score(one.score),
        "clean": None if clean is None else _score(clean),
        "failed": one.failed,
    }


def _score(came_to: HoldoutScore) -> dict[str, Any]:
    """Mean, standard error and the mean's 95 % interval: the wider of Student's over splits and the error's."""
    low, high = came_to.mean - Z95 * came_to.error, came_to.mean + Z95 * came_to.error
    if len(came_to.splits) > 1:
        summary = summarise(came_to.splits)
        if summary.low is not None and summary.high is not None:
            low, high = min(low, summary.low), max(high, summary.high)
    return {"mean": came_to.mean, "standard_error": came_to.error, "low": max(0.0, low), "high": min(1.0, high)}


def _difference(found: Summary) -> dict[str, Any]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def failed_studies(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """The studies in which nothing could be chosen."""
    return [each["study"] for each in documents if each["chosen"] is None]
