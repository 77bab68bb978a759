"""The search on the shared grid: plan it, train it rung by rung, and choose for every method.

Read in order: `plan_grid`, `train_grid`, `choose_settings`, `write_choices`. The grid's runs are ordinary ones in the
ordinary store, and every function looks there: a search that was stopped goes on, and a repeated one trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.execution.study import StudyOutcome
from bench.planning.facts import Facts
from bench.planning.plan import Plan, make_plan
from bench.planning.recipe_files import FileChoice
from bench.planning.request import Request
from bench.records import origin
from bench.records.store import Store
from bench.spec import RunSpec
from bench.stats.holdout_choice import ENOUGH_HELD_OUT, count_last_epochs, count_needed_splits
from bench.system.console import print_note
from bench.system.errors import UsageError
from bench.system.text import join_words
from bench.training.outcome import DIVERGED
from bench.tuning.grid import grid_file, successive_halving
from bench.tuning.grid.candidates import FIRST_SEED, MOST_SPLITS, TRIED, MethodCandidates, plan_candidates
from bench.tuning.grid.successive_halving import CandidateStanding, GridChoice, GridResult, recipe_entry
from bench.tuning.study.definition import count_held_out_labels

Record = Mapping[str, Any]


@dataclass(frozen=True)
class GridPlan:
    """The methods' candidates, the plan of their runs with default values, and the size of a hold-out."""

    request: Request
    facts: Facts
    candidates: tuple[MethodCandidates, ...]
    planned: Plan
    held_out: int
    """Held-out labels of one split."""

    @property
    def splits(self) -> int:
        """Splits of a setting that is never dropped."""
        return len(self.request.seeds)

    @property
    def labels(self) -> int:
        """Held-out labels of all splits together."""
        return self.held_out * self.splits

    @property
    def settings(self) -> int:
        """Settings of all methods together."""
        return sum(len(candidates.points) for candidates in self.candidates)

    @property
    def rungs(self) -> tuple[int, ...]:
        """The numbers of splits after which the better half of each method's settings goes on."""
        return successive_halving.halving_rungs(self.splits, self.held_out)

    def expected_runs(self, standings: Sequence[CandidateStanding]) -> tuple[list[RunSpec], list[RunSpec]]:
        """(the runs of all methods that are certain by now, as many runs as may follow after these at most)."""
        pairs = list(zip(self.candidates, standings, strict=True))
        certain = [run for pair in pairs for run in successive_halving.certain_runs(*pair)]
        return certain, [run for pair in pairs for run in successive_halving.possible_runs(*pair, self.rungs)]


def plan_grid(request: Request, facts: Facts, splits: int | None) -> GridPlan:
    """The plan of a search on `splits` splits, None: as many as hold enough labels out.

    Raises UsageError where nothing is held out, or nothing can run.
    """
    held_out = count_held_out_labels(request, facts.samples)
    needed = count_needed_splits(held_out)
    if splits is None and needed > MOST_SPLITS:
        raise UsageError(
            f"{held_out} held-out labels a split would take {needed:,} splits for {ENOUGH_HELD_OUT:,}: give a larger "
            "--hold-out, or a number of --seeds"
        )
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + (splits or needed)))
    request = request.model_copy(update={"seeds": seeds})
    planned = make_plan(request, facts)
    return GridPlan(request, facts, tuple(plan_candidates(planned.specs, facts.methods)), planned, held_out)


def describe_grid(plan: GridPlan) -> str:
    """One line on what is tried, and on how many labels a choice will rest."""
    enough = "" if plan.labels >= ENOUGH_HELD_OUT else f", fewer than the {ENOUGH_HELD_OUT:,} that a board wants"
    return (
        f"{len(plan.candidates)} methods, {plan.settings} settings, {plan.splits} splits"
        f"{_describe_halving(plan)}: {plan.labels:,} held-out labels in all{enough}"
    )


def _describe_halving(plan: GridPlan) -> str:
    if not plan.rungs:
        return " each"
    return f" (after {join_words([*map(str, plan.rungs)])} of them the better half of a method's settings goes on)"


def train_grid(plan: GridPlan, store: Store, train: Callable[[Sequence[RunSpec]], StudyOutcome]) -> StudyOutcome:
    """Train what is missing, rung by rung, for as many methods as come through; the outcome of all rungs together.

    `train` carries out some runs. A setting that diverged, now or earlier, isn't tried again: it would diverge again.
    """
    outcome, tried = StudyOutcome(), set[str]()
    while True:
        standings = candidate_standings(plan, store)
        # A run that was tried and is still wanted has failed: its method goes no further.
        open_methods = [standing for standing in standings if not tried & {run.run_id for run in standing.wanted}]
        wanted = [run for standing in open_methods for run in standing.wanted]
        if not wanted:
            return outcome
        if outcome.finished:
            going = sum(len(standing.going) for standing in standings)
            print_note(f"{going} of {plan.settings} settings go on")
        tried |= {run.run_id for run in wanted}
        rung = train(wanted)
        finished, failed = (*outcome.finished, *rung.finished), {**outcome.failed, **rung.failed}
        outcome = StudyOutcome(finished, failed, interrupted_signal=rung.interrupted_signal)
        if rung.interrupted_signal is not None:
            return outcome


def candidate_standings(plan: GridPlan, store: Store) -> list[CandidateStanding]:
    """The standing of every method by what is stored."""
    records, diverged = stored_records(plan, store), diverged_points(plan, store)
    return [
        successive_halving.candidate_standing(candidates, plan.rungs, records, diverged[candidates.method])
        for candidates in plan.candidates
    ]


def stored_records(plan: GridPlan, store: Store) -> dict[str, Record]:
    """The stored records of the grid's runs, by run id."""
    run_ids = [run.run_id for candidates in plan.candidates for run in candidates.all_runs]
    return {record["run_id"]: record for record in store.records(run_ids)}


def diverged_points(plan: GridPlan, store: Store) -> dict[str, set[int]]:
    """For each method the numbers of the settings of which a run diverged."""
    settings = {
        run.run_id: (candidates.method, number)
        for candidates in plan.candidates
        for number, point in enumerate(candidates.points)
        for run in candidates.runs(point)
    }
    diverged: dict[str, set[int]] = {candidates.method: set() for candidates in plan.candidates}
    for run_id in store.failed(settings):
        failure = store.read_failure(run_id)
        if failure and failure["reason"].startswith(DIVERGED):
            method, number = settings[run_id]
            diverged[method].add(number)
    return diverged


def choose_settings(plan: GridPlan, store: Store, outcome: StudyOutcome) -> GridResult:
    """The choice for every method that has all its runs; `outcome` has the reasons of runs that failed."""
    records, diverged = stored_records(plan, store), diverged_points(plan, store)
    choices: list[GridChoice] = []
    undecided: dict[str, str] = {}
    for candidates in plan.candidates:
        choice = successive_halving.choose_point(candidates, plan.rungs, records, diverged[candidates.method])
        if missing := choice.standing.wanted:
            reason = next((outcome.failed[run.run_id] for run in missing if run.run_id in outcome.failed), None)
            undecided[candidates.method] = (
                f"{len(missing)} of its runs are missing ({reason or 'another process had them'}); the same command "
                "tries again"
            )
        elif choice.decision is None:
            undecided[candidates.method] = "it diverged in every setting"
        else:
            choices.append(choice)
    used = [records[run.run_id] for choice in choices for run in choice.runs]
    return GridResult(choices, undecided, diverged, used)


def write_choices(plan: GridPlan, result: GridResult, path: Path, command: str) -> None:
    """Add the choices to the data set's recipe file, and write the page beside it."""
    spec = plan.planned.specs[0]
    file_choice = FileChoice(
        kind="grid",
        **spec.model_dump(include={"noise", "rate", "hold_out"}),
        seeds=plan.request.seeds,
        held_out_labels=plan.labels,
        last_epochs=count_last_epochs(spec.epochs),
        trials=max(len(choice.candidates.points) for choice in result.choices),
        tried=TRIED | {"splits": f"{plan.splits}{_describe_halving(plan)}"},
        command=command,
        revision=origin.training_revisions(result.records),
        date=origin.last_training_day(result.records),
    )
    recipes = [recipe for choice in result.choices if (recipe := recipe_entry(choice, grid_file.NAME)) is not None]
    previous = grid_file.previous_grid_file(path, spec, plan.labels)
    merged = grid_file.merge_grid_files(previous, spec, file_choice, recipes)
    grid_file.write_grid_file(merged, path, plan.facts.methods)
