"""The result of a study as JSON-able values, from which its page, its recipe and `--format json` are made.

Read first `study_document`. `judge_in_hindsight` looks at the test set and at the hold-outs' clean labels, and nothing
is chosen by it. It answers two questions about tuning under noise: how much did it gain, and how much is lost by
choosing on noisy labels? Regret compares settings that ran again on fresh seeds; whether noisy labels let the right
settings come so far shows in the trial that clean labels put first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.leaderboard.selection import RULES, selected_accuracy
from bench.records.store import Store
from bench.spec import RunSpec, Value
from bench.stats.holdout_choice import HoldoutScore, choose_among_known, record_criterion, score_splits
from bench.stats.summary import Summary, summarise
from bench.tuning.study.definition import StudyDefinition
from bench.tuning.study.optuna_study import ERROR, OptunaStudy
from bench.tuning.study.search_space import Values
from bench.tuning.study.stages import Finalist, StudyResult

Item = TypeVar("Item")

PRIVILEGES = {"noisy-val": (), "clean-val": ("clean_validation",)}
"""The privileges of a choice by an objective, beyond those of its runs."""
Z95 = 1.96


@dataclass(frozen=True)
class ChoiceHindsight:
    """Differences of test accuracy at the last epoch, shares of 1, paired over the fresh seeds."""

    clean_scores: tuple[HoldoutScore | None, ...]
    """Each finalist's accuracy on the hold-outs' clean labels."""
    clean_choice: int
    """The finalist that the same rule chooses by them."""
    gain: Summary | None
    """Chosen - default values; None where the default values couldn't be trained."""
    regret: Summary
    """The clean labels' choice - chosen."""
    trials: int
    """Trials that completed on every search seed, with clean labels known."""
    clean_first: int | None
    """The slot of the one among them with the highest accuracy on the hold-outs' clean labels; None without any."""


def judge_in_hindsight(result: StudyResult, store: Store, completed: Mapping[int, Values]) -> ChoiceHindsight | None:
    """A choice compared with the default values and with the clean labels' choice.

    `completed`: the values of the trials that completed, by slot. None where nothing was chosen, or clean labels aren't
    known.
    """
    if result.decision is None:
        return None
    definition = result.definition
    clean_scores: list[HoldoutScore | None] = []
    tests: list[list[float] | None] = []
    for finalist in result.finalists:
        records = _read_all(finalist.specs, store)
        score = None if finalist.fresh_score is None else _clean_score(records, definition)
        clean_scores.append(score)
        accuracies = _complete([selected_accuracy(record, RULES["last"]) for record in records])
        tests.append(None if score is None else accuracies)
    defaults = next((number for number, finalist in enumerate(result.finalists) if finalist.slot == 0), None)
    decision = choose_among_known(clean_scores, defaults)
    chosen = tests[result.decision.chosen]
    if decision is None or chosen is None or (clean := tests[decision.chosen]) is None:
        return None
    default = None if defaults is None else tests[defaults]
    by_slot = {
        slot: _clean_score(_read_all(definition.search_runs(values), store), definition)
        for slot, values in sorted(completed.items())
    }
    means = {slot: score.mean for slot, score in by_slot.items() if score is not None}
    return ChoiceHindsight(
        clean_scores=tuple(clean_scores),
        clean_choice=decision.chosen,
        gain=None if default is None else _paired_difference(chosen, default),
        regret=_paired_difference(clean, chosen),
        trials=len(means),
        clean_first=max(means, key=lambda slot: (means[slot], -slot), default=None),
    )


def _read_all(specs: Sequence[RunSpec], store: Store) -> Sequence[Mapping[str, Any]]:
    """The records of a setting's runs; none where one is missing."""
    return _complete([store.read(spec.run_id) for spec in specs]) or []


def _clean_score(records: Sequence[Mapping[str, Any]], definition: StudyDefinition) -> HoldoutScore | None:
    """A setting's accuracy on the hold-outs' clean labels."""
    criteria = _complete([record_criterion(record, definition.last_epochs, "clean-val") for record in records])
    return None if criteria is None else score_splits(criteria, definition.labels)


def _complete(items: Sequence[Item | None]) -> list[Item] | None:
    """The items, if there are any and none is missing."""
    present = [item for item in items if item is not None]
    return present if present and len(present) == len(items) else None


def _paired_difference(accuracies: list[float], others: list[float]) -> Summary:
    return summarise([round(this - other, 12) for this, other in zip(accuracies, others, strict=True)])


def study_document(result: StudyResult, study: OptunaStudy, store: Store) -> dict[str, Any]:
    """Everything about a study's result; shares from 0 to 1. The keys are public: `--format json` prints them."""
    completed = {slot.number: study.values_of(slot) for slot in study.completed_slots()}
    hindsight = judge_in_hindsight(result, store, completed)
    definition, base, decision, finalists = result.definition, result.definition.base, result.decision, result.finalists
    clean_scores = [None] * len(finalists) if hindsight is None else hindsight.clean_scores
    first = None if hindsight is None else hindsight.clean_first
    return {
        "study": definition.name,
        **{field: getattr(base, field) for field in ("method", "data_set", "noise", "rate", "model", "epochs")},
        "objective": definition.objective,
        "privileges": sorted({*base.privileges, *PRIVILEGES[definition.objective]}),
        "last_epochs": definition.last_epochs,
        "dimensions": len(definition.space.dimensions),
        "space": definition.space.declaration(),
        "trials": study.budget,
        "ended": result.states,
        "splits": len(definition.search_seeds),
        "held_out_labels": definition.labels,
        "search_seeds": [split["seed"] for split in definition.search_seeds],
        "final_seeds": [split["seed"] for split in definition.final_seeds],
        "study_seed": definition.study_seed,
        "runs": result.runs,
        "own": next((_finalist_document(finalist) for finalist in finalists if finalist.slot == 0), None),
        "best": None if decision is None else _finalist_document(finalists[decision.best]),
        "chosen": None if decision is None else _finalist_document(finalists[decision.chosen]),
        "kept": None if decision is None else decision.kept,
        "as_good": values_as_good(study),
        "finalists": [_finalist_document(*pair) for pair in zip(finalists, clean_scores, strict=True)],
        "importance": dimension_importance(study),
        "bought": None if hindsight is None else _difference_document(hindsight.gain),
        "regret": None if hindsight is None else _difference_document(hindsight.regret),
        "clean_first": None if hindsight is None or first is None else {"trial": first + 1, "of": hindsight.trials},
        "clean_choice": None if hindsight is None else finalists[hindsight.clean_choice].slot + 1,
    }


def values_as_good(study: OptunaStudy) -> dict[str, list[Value]]:
    """For each dimension [lowest, highest] of the completed trials within one standard error of the best.

    For choices: all of them that occur.
    """
    completed = study.completed_slots()
    if not completed:
        return {}
    best = max(completed, key=lambda slot: (slot.trial.value or 0.0, -slot.number)).trial
    least = (best.value or 0.0) - float(best.user_attrs.get(ERROR, 0.0))
    near = [study.values_of(slot) for slot in completed if (slot.trial.value or 0.0) >= least]
    as_good: dict[str, list[Value]] = {}
    for dimension in study.definition.space.dimensions:
        values = [setting[dimension.name] for setting in near]
        if dimension.kind == "choice":
            as_good[dimension.name] = list(dict.fromkeys(values))
        else:
            as_good[dimension.name] = [min(values, key=float), max(values, key=float)]
    return as_good


def dimension_importance(study: OptunaStudy) -> dict[str, float] | None:
    """The share of each dimension in being among the best trials: PED-ANOVA (Watanabe et al. 2023), summing to 1.

    None where too few trials completed.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    if len(study.definition.space.dimensions) == 1:
        return {study.definition.space.dimensions[0].name: 1.0}
    try:
        importance = get_param_importances(study.study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):
        return None
    return dict(importance) or None


def _finalist_document(finalist: Finalist, clean: HoldoutScore | None = None) -> dict[str, Any]:
    return {
        "trial": finalist.slot + 1,
        "values": dict(finalist.values),
        "search": _score_document(finalist.search_score),
        "fresh": _score_document(finalist.fresh_score),
        "clean": _score_document(clean),
        "failed": finalist.failure,
    }


def _score_document(score: HoldoutScore | None) -> dict[str, Any] | None:
    """Mean, standard error and the mean's 95 % interval: the wider of Student's over splits and the error's."""
    if score is None:
        return None
    low, high = score.mean - Z95 * score.error, score.mean + Z95 * score.error
    if len(score.splits) > 1:
        summary = summarise(score.splits)
        if summary.low is not None and summary.high is not None:
            low, high = min(low, summary.low), max(high, summary.high)
    return {"mean": score.mean, "standard_error": score.error, "low": max(0.0, low), "high": min(1.0, high)}


def _difference_document(difference: Summary | None) -> dict[str, Any] | None:
    return None if difference is None else {"mean": difference.mean, "low": difference.low, "high": difference.high}
