"""What a case came to, as JSON-able values: what its page, its recipe and `--format json` are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import TrialState

from bench.leaderboard.stats import Summary, summarise
from bench.spec import Value
from bench.tuning.choice import Score
from bench.tuning.hindsight import Hindsight
from bench.tuning.search import ERROR, Search
from bench.tuning.stages import Finalist, Tuned

PRIVILEGES = {"noisy-val": (), "clean-val": ("clean_validation",)}
"""What a choice by an objective is told beyond noisy labels."""
Z95 = 1.96


def document(tuned: Tuned, search: Search, seen: Hindsight | None) -> dict[str, Any]:
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
        "as_good": as_good(search),
        "finalists": [_finalist(each, right) for each, right in zip(tuned.finalists, clean, strict=True)],
        "importance": importance(search),
        "bought": None if seen is None or seen.bought is None else _difference(seen.bought),
        "regret": None if seen is None else _difference(seen.regret),
        "clean_first": None
        if seen is None or seen.clean_first is None
        else {"trial": seen.clean_first + 1, "of": seen.trials},
        "clean_choice": None if seen is None else tuned.finalists[seen.clean_choice].slot + 1,
    }


def as_good(search: Search) -> dict[str, list[Value]]:
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


def importance(search: Search) -> dict[str, float] | None:
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


def _finalist(one: Finalist, clean: Score | None = None) -> dict[str, Any]:
    return {
        "trial": one.slot + 1,
        "values": dict(one.values),
        "search": _score(one.found),
        "fresh": None if one.score is None else _score(one.score),
        "clean": None if clean is None else _score(clean),
        "failed": one.failed,
    }


def _score(came_to: Score) -> dict[str, Any]:
    """Mean, standard error and the mean's 95 % interval: the wider of Student's over splits and the error's."""
    low, high = came_to.mean - Z95 * came_to.error, came_to.mean + Z95 * came_to.error
    if len(came_to.splits) > 1:
        summary = summarise(came_to.splits)
        if summary.low is not None and summary.high is not None:
            low, high = min(low, summary.low), max(high, summary.high)
    return {"mean": came_to.mean, "standard_error": came_to.error, "low": max(0.0, low), "high": min(1.0, high)}


def _difference(found: Summary) -> dict[str, Any]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def failed(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """The studies in which nothing could be chosen."""
    return [each["study"] for each in documents if each["chosen"] is None]
