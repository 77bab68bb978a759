"""The settings of the shared grid that go on from split to split, and the one that a method trains with at last. Pure.

Most of a grid's settings are far from the best, and a few splits show which. So the better half of a method's settings
goes on after a fifth of the splits, the better half of these after a third, and of these after two thirds: successive
halving (Jamieson and Talwalkar 2016, arXiv 1502.07943), with splits for its resource instead of epochs, since methods
that resist noise cross over late in a training. All settings meet the same splits, so they are compared in pairs. The
method's default values always go on: whether they stay is the question.

What goes on depends on the records alone, however many runs were trained at a time and wherever. Read first
`candidate_standing`, then `choose_point`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bench.planning.recipe_files import MethodRecipe
from bench.spec import RunSpec
from bench.stats import holdout_choice
from bench.stats.holdout_choice import HoldoutChoice, HoldoutScore
from bench.tuning.grid.candidates import MethodCandidates, round_value

SHARES = (Fraction(1, 5), Fraction(1, 3), Fraction(2, 3))
"""The better half goes on after these shares of the splits, rounded up."""
ENOUGH_TO_DROP = holdout_choice.ENOUGH_HELD_OUT // 5
"""Held-out labels, all splits together, without which no setting is dropped."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class CandidateStanding:
    """The progress of a method's settings; settings are numbered as in its candidates."""

    going: tuple[int, ...]
    """The settings that haven't been dropped."""
    judged: tuple[int, ...]
    """The number of splits that each setting was last judged on; 0 if it diverged or its runs are missing."""
    splits: int
    """The number of splits for the next judgement, or for the last one where no run is wanted."""
    wanted: tuple[RunSpec, ...]
    """Runs that the next judgement waits for; none: there is no further one."""


@dataclass(frozen=True)
class GridChoice:
    """The choice for a method: a score of each setting over the splits that it was judged on, and the decision.

    A score is None where the setting diverged or has none. Only settings that were judged on every split can be
    chosen; the decision is None where runs are missing, or no setting could be trained.
    """

    candidates: MethodCandidates
    standing: CandidateStanding
    scores: tuple[HoldoutScore | None, ...]
    decision: HoldoutChoice | None

    @property
    def runs(self) -> list[RunSpec]:
        """The runs that the choice rests on."""
        return _first_runs(self.candidates, self.standing.judged)


@dataclass(frozen=True)
class GridResult:
    """The choices, and by method the reason where none was possible and the settings that diverged.

    `records` are those of the runs that the choices rest on.
    """

    choices: list[GridChoice]
    undecided: dict[str, str]
    diverged: dict[str, set[int]]
    records: list[Record]


def halving_rungs(splits: int, held_out: int) -> tuple[int, ...]:
    """The numbers of splits, of `held_out` labels each, after which the better half of the settings goes on."""
    rungs = dict.fromkeys(math.ceil(share * splits) for share in SHARES)
    return tuple(rung for rung in rungs if rung < splits and rung * held_out >= ENOUGH_TO_DROP)


def candidate_standing(
    candidates: MethodCandidates, rungs: Sequence[int], records: Mapping[str, Record], diverged: Collection[int] = ()
) -> CandidateStanding:
    """The standing of a method by the records of its runs, by run id. `diverged`: the settings that did."""
    total = len(candidates.splits)
    going = [number for number in range(len(candidates.points)) if number not in diverged]
    judged = [0] * len(candidates.points)
    for splits in (*rungs, total):
        runs = {number: candidates.runs(candidates.points[number])[:splits] for number in going}
        wanted = tuple(run for setting in runs.values() for run in setting if run.run_id not in records)
        if wanted:
            return CandidateStanding(tuple(going), tuple(judged), splits, wanted)
        for number in going:
            judged[number] = splits
        if splits < total:
            going = better_half({number: _score(setting, records) for number, setting in runs.items()})
    return CandidateStanding(tuple(going), tuple(judged), total, ())


def better_half(scores: Mapping[int, HoldoutScore | None]) -> list[int]:
    """The better half of some settings, rounded up, and always number 0, the default values, if it is one of them.

    Of equal settings the first is the better.
    """
    means = {number: -math.inf if score is None else score.mean for number, score in scores.items()}
    ranked = sorted(scores, key=lambda number: (-means[number], number))
    return sorted({*ranked[: math.ceil(len(ranked) / 2)]} | ({0} & scores.keys()))


def certain_runs(candidates: MethodCandidates, standing: CandidateStanding) -> list[RunSpec]:
    """The runs of a method that are certain by now: those that were judged, and those that are judged next."""
    going, numbered = standing.going, enumerate(standing.judged)
    return _first_runs(candidates, [standing.splits if number in going else judged for number, judged in numbered])


def possible_runs(candidates: MethodCandidates, standing: CandidateStanding, rungs: Sequence[int]) -> list[RunSpec]:
    """As many runs as may follow after the certain ones, at most: the first settings stand in for the better ones."""
    runs: list[RunSpec] = []
    going, done = list(standing.going), standing.splits
    for splits in [rung for rung in (*rungs, len(candidates.splits)) if rung > done]:
        going = going[: min(len(going), math.ceil(len(going) / 2) + (0 in going))]
        runs += [run for number in going for run in candidates.runs(candidates.points[number])[done:splits]]
        done = splits
    return runs


def _first_runs(candidates: MethodCandidates, splits: Sequence[int]) -> list[RunSpec]:
    """The runs of each setting on its first splits, as many as `splits` says for it."""
    settings = zip(candidates.points, splits, strict=True)
    return [run for point, count in settings for run in candidates.runs(point)[:count]]


def choose_point(
    candidates: MethodCandidates, rungs: Sequence[int], records: Mapping[str, Record], diverged: Collection[int] = ()
) -> GridChoice:
    """The choice for a method; parameters as in `candidate_standing`. No decision while runs are missing."""
    standing = candidate_standing(candidates, rungs, records, diverged)
    scores = tuple(
        _score(candidates.runs(point)[:judged], records) if judged else None
        for point, judged in zip(candidates.points, standing.judged, strict=True)
    )
    final = [score if number in standing.going else None for number, score in enumerate(scores)]
    decision = None if standing.wanted else holdout_choice.choose_setting(final, 0)
    return GridChoice(candidates, standing, scores, decision)


def _score(runs: Sequence[RunSpec], records: Mapping[str, Record]) -> HoldoutScore | None:
    """A setting's score over runs that have their records; None where the last epochs of one have no accuracy."""
    of_runs = [records[run.run_id] for run in runs]
    last_epochs = [holdout_choice.count_last_epochs(record["spec"]["epochs"]) for record in of_runs]
    criteria = [holdout_choice.record_criterion(*pair) for pair in zip(of_runs, last_epochs, strict=True)]
    present = [criterion for criterion in criteria if criterion is not None]
    if len(present) < len(criteria):
        return None
    return holdout_choice.score_splits(present, sum(record["measures"]["samples"]["holdout"] for record in of_runs))


def recipe_entry(choice: GridChoice, name: str) -> MethodRecipe | None:
    """A method's entry in the recipe file, under the choice `name`; None where nothing could be chosen for it."""
    if choice.decision is None:
        return None
    spec = choice.candidates.points[choice.decision.chosen].apply(choice.candidates.splits[0])
    default, score, best = (choice.scores[number] for number in (0, choice.decision.chosen, choice.decision.best))
    assert score is not None and best is not None
    return MethodRecipe(
        **spec.model_dump(include={"method", "learning_rate", "weight_decay", "parameters"}),
        method_version=choice.candidates.declaration["version"],
        choice=name,
        criterion=round_value(score.mean),
        standard_error=round_value(score.error),
        own_criterion=None if default is None else round_value(default.mean),
        best_criterion=round_value(best.mean),
        kept=choice.decision.kept,
        runs=len(choice.runs),
    )
