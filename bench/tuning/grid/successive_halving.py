"""Which settings of the shared grid go on, split by split, and which of them a method trains with at last. Pure.

Most of a grid's settings are far from the best, and a few splits show which. So the better half of a method's settings
goes on after a fifth of the splits, the better half of these after a third, and of these after two thirds: successive
halving (Jamieson and Talwalkar 2016, arXiv 1502.07943), with splits for its resource instead of epochs, since methods
that resist noise cross over late in a training. All settings meet the same splits, so they are compared in pairs. The
method's own values always go on: whether they stay is what is decided.

What goes on depends on the records alone, however many runs were trained at a time and wherever.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bench.planning.recipe_files import MethodRecipe
from bench.spec import RunSpec
from bench.stats.holdout_choice import (
    ENOUGH_HELD_OUT,
    HoldoutChoice,
    HoldoutScore,
    choose_setting,
    count_last_epochs,
    record_criterion,
    score_splits,
)
from bench.tuning.grid.candidates import GridPoint, MethodCandidates, round_value

SHARES = (Fraction(1, 5), Fraction(1, 3), Fraction(2, 3))
"""The better half goes on after these shares of the splits, rounded up."""
ENOUGH_TO_DROP = ENOUGH_HELD_OUT // 5
"""Held-out labels, all splits together, without which no setting is dropped."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class CandidateStanding:
    """How far a method's settings have come."""

    going: tuple[int, ...]
    """Numbers of the settings that are still in."""
    judged: tuple[int, ...]
    """On how many splits each setting was judged last; 0: on none, since it diverged or its runs are missing."""
    splits: int
    """On how many they are judged next, or were judged last where nothing is wanted."""
    wanted: tuple[RunSpec, ...]
    """Runs without which it doesn't go on; none: it is over."""


@dataclass(frozen=True)
class GridChoice:
    """What became of a method: a score for each of its points over the splits that it was judged on, and the decision.

    A score is None where the point diverged, or has none. Only those that were judged on every split can be chosen;
    the decision is None where runs are missing, or nothing could be trained.
    """

    candidates: MethodCandidates
    standing: CandidateStanding
    scores: tuple[HoldoutScore | None, ...]
    decision: HoldoutChoice | None

    @property
    def point(self) -> GridPoint | None:
        """The setting that it trains with from now on."""
        return None if self.decision is None else self.candidates.points[self.decision.chosen]

    @property
    def runs(self) -> list[RunSpec]:
        """The runs that the choice rests on."""
        points = zip(self.candidates.points, self.standing.judged, strict=True)
        return [run for point, judged in points for run in self.candidates.runs(point)[:judged]]


def halving_rungs(splits: int, held_out: int) -> tuple[int, ...]:
    """After how many of the splits, of `held_out` labels each, the better half of the settings goes on."""
    after = dict.fromkeys(math.ceil(share * splits) for share in SHARES)
    return tuple(each for each in after if each < splits and each * held_out >= ENOUGH_TO_DROP)


def candidate_standing(
    own: MethodCandidates, rungs: Sequence[int], records: Mapping[str, Record], diverged: Collection[int] = ()
) -> CandidateStanding:
    """Where a method stands, given the records of its runs by run id, and the numbers of the points that diverged."""
    going = [number for number in range(len(own.points)) if number not in diverged]
    judged = [0] * len(own.points)
    for splits in (*rungs, len(own.splits)):
        runs = {number: own.runs(own.points[number])[:splits] for number in going}
        wanted = tuple(run for each in runs.values() for run in each if run.run_id not in records)
        if wanted:
            return CandidateStanding(tuple(going), tuple(judged), splits, wanted)
        for number in going:
            judged[number] = splits
        if splits < len(own.splits):
            going = better_half({number: _score(each, records) for number, each in runs.items()})
    return CandidateStanding(tuple(going), tuple(judged), len(own.splits), ())


def better_half(scores: Mapping[int, HoldoutScore | None]) -> list[int]:
    """The numbers of the better half of some settings, rounded up, and number 0, the method's own, in any case.

    Of equal ones the first is the better.
    """
    ranked = sorted(scores, key=lambda number: (-_mean(scores[number]), number))
    kept = set(ranked[: -(-len(ranked) // 2)])
    return sorted(kept | ({0} & scores.keys()))


def certain_runs(own: MethodCandidates, standing: CandidateStanding) -> list[RunSpec]:
    """The runs of a method that are certain by now: those that were judged, and those that are judged next."""
    splits = [standing.splits if number in standing.going else done for number, done in enumerate(standing.judged)]
    return [run for point, count in zip(own.points, splits, strict=True) for run in own.runs(point)[:count]]


def possible_runs(own: MethodCandidates, standing: CandidateStanding, rungs: Sequence[int]) -> list[RunSpec]:
    """As many runs as may follow after the known ones, at most: those of the first settings stand in for the better."""
    found: list[RunSpec] = []
    going, done = list(standing.going), standing.splits
    for splits in [each for each in (*rungs, len(own.splits)) if each > done]:
        beside = 0 in going
        going = going[: min(len(going), -(-len(going) // 2) + beside)]
        found += [run for number in going for run in own.runs(own.points[number])[done:splits]]
        done = splits
    return found


def _mean(one: HoldoutScore | None) -> float:
    return -math.inf if one is None else one.mean


def choose_point(
    own: MethodCandidates, rungs: Sequence[int], records: Mapping[str, Record], diverged: Collection[int] = ()
) -> GridChoice:
    """What is chosen for a method, given the records of its runs by run id; nothing where it still wants some."""
    standing = candidate_standing(own, rungs, records, diverged)
    scores = tuple(
        _score(own.runs(point)[:judged], records) if judged else None
        for point, judged in zip(own.points, standing.judged, strict=True)
    )
    if standing.wanted:
        return GridChoice(own, standing, scores, None)
    final = [each if number in standing.going else None for number, each in enumerate(scores)]
    return GridChoice(own, standing, scores, choose_setting(final, own=0))


def _score(runs: Sequence[RunSpec], records: Mapping[str, Record]) -> HoldoutScore | None:
    """A setting's score over runs that have their records; None where the last epochs of one have no accuracy."""
    found = [records[run.run_id] for run in runs]
    criteria = [record_criterion(each, count_last_epochs(each["spec"]["epochs"])) for each in found]
    known = [value for value in criteria if value is not None]
    if len(known) < len(found):
        return None
    return score_splits(known, sum(each["measures"]["samples"]["holdout"] for each in found))


def recipe_entry(chosen: GridChoice, choice: str) -> MethodRecipe | None:
    """A method's entry in the recipe file; None where nothing could be chosen for it."""
    if chosen.decision is None:
        return None
    point, came_to = chosen.candidates.points[chosen.decision.chosen], chosen.scores[chosen.decision.chosen]
    own, before, best = chosen.candidates, chosen.scores[0], chosen.scores[chosen.decision.best]
    assert came_to is not None and best is not None
    return MethodRecipe(
        method=own.method,
        method_version=own.declaration["version"],
        choice=choice,
        learning_rate=point.learning_rate,
        weight_decay=point.weight_decay,
        parameters=dict(point.parameters),
        criterion=round_value(came_to.mean),
        standard_error=round_value(came_to.error),
        own_criterion=None if before is None else round_value(before.mean),
        best_criterion=round_value(best.mean),
        kept=chosen.decision.kept,
        runs=len(chosen.runs),
    )
