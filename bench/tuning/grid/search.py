"""Train the grid's settings and choose among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.execution.progress import gather_facts_with_display
from bench.execution.runtimes import make_runtimes
from bench.memory import job_limits
from bench.planning.facts import Facts
from bench.planning.plan import Plan, make_plan
from bench.planning.recipe_files import FileChoice
from bench.planning.request import Request
from bench.planning.validate import ValidatedRequest
from bench.records import origin
from bench.records.store import Store
from bench.spec import RunSpec
from bench.stats.holdout_choice import ENOUGH_HELD_OUT, count_last_epochs, count_needed_splits
from bench.system.console import print_note, write_json, write_page, write_text
from bench.system.errors import UsageError
from bench.training.outcome import DIVERGED
from bench.tuning.grid import grid_file, successive_halving
from bench.tuning.grid.candidates import FIRST_SEED, MOST_SPLITS, TRIED, MethodCandidates, plan_candidates
from bench.tuning.grid.grid_page import grid_document, grid_table
from bench.tuning.grid.successive_halving import CandidateStanding, GridChoice
from bench.tuning.study.definition import count_held_out_labels

if TYPE_CHECKING:
    from bench.execution.study import StudyOutcome


Record = Mapping[str, Any]


@dataclass(frozen=True)
class GridPlan:
    """What is to be chosen: the methods' candidates, what was left out, and what a choice will rest on."""

    request: Request
    facts: Facts
    candidates: tuple[MethodCandidates, ...]
    planned: Plan
    held_out: int
    """Held-out labels of a split."""

    @property
    def splits(self) -> int:
        """Splits of a setting that is never dropped."""
        return len(self.request.seeds)

    @property
    def labels(self) -> int:
        """Held-out labels of all splits together."""
        return self.held_out * self.splits

    @property
    def rungs(self) -> tuple[int, ...]:
        """After how many splits the better half of each method's settings goes on."""
        return successive_halving.halving_rungs(self.splits, self.held_out)

    def known_runs(self, stands: Sequence[CandidateStanding]) -> list[RunSpec]:
        """The runs of all methods that are certain by now."""
        return [
            run
            for each, now in zip(self.candidates, stands, strict=True)
            for run in successive_halving.certain_runs(each, now)
        ]

    def later_runs(self, stands: Sequence[CandidateStanding]) -> list[RunSpec]:
        """At most as many as follow."""
        pairs = zip(self.candidates, stands, strict=True)
        return [run for each, now in pairs for run in successive_halving.possible_runs(each, now, self.rungs)]


def plan_grid(validated: ValidatedRequest, splits: int | None) -> GridPlan:
    """Look the facts up, and plan the grid. Raises UsageError where nothing is held out, or nothing can run."""
    request, facts = validated.request, gather_facts_with_display(validated)
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


def describe_grid(found: GridPlan) -> str:
    """One line on what is tried, and on what a choice will rest."""
    settings = sum(len(each.points) for each in found.candidates)
    enough = "" if found.labels >= ENOUGH_HELD_OUT else f", fewer than the {ENOUGH_HELD_OUT:,} that a board wants"
    return (
        f"{len(found.candidates)} methods, {settings} settings, {found.splits} splits"
        f"{describe_halving(found)}: {found.labels:,} held-out labels in all{enough}"
    )


def describe_halving(found: GridPlan) -> str:
    """What becomes of settings on the way, in words; nothing where none is dropped."""
    if not found.rungs:
        return " each"
    *first, last = map(str, found.rungs)
    after = f"{', '.join(first)} and {last}" if first else last
    return f" (after {after} of them the better half of a method's settings goes on)"


def train_grid(found: GridPlan, store: Store, made: job_limits.JobLimits) -> StudyOutcome:
    """Carry out what is missing, rung by rung, for as many methods as come through; the outcome of all of it.

    A setting that diverged, now or before, isn't tried again: it would once more.
    """
    from bench.execution.progress import open_display
    from bench.execution.study import StudyOutcome, run_study

    runtime = make_runtimes(found.request, found.facts, made)
    outcome, tried = StudyOutcome(), set[str]()
    while True:
        stands = candidate_standings(found, store)
        # what was tried and is wanted still has failed: its method goes no further
        wanted = [run for each in stands if not tried & {run.run_id for run in each.wanted} for run in each.wanted]
        if not wanted:
            return outcome
        if outcome.finished:
            going = sum(len(each.going) for each in stands)
            print_note(f"{going} of {sum(len(each.points) for each in found.candidates)} settings go on")
        tried |= {run.run_id for run in wanted}
        now = run_study(wanted, runtime, store, jobs=made.jobs, when="missing", display=open_display())
        outcome = StudyOutcome(
            finished=(*outcome.finished, *now.finished),
            failed={**outcome.failed, **now.failed},
            interrupted_signal=now.interrupted_signal,
        )
        if now.interrupted_signal is not None:
            return outcome


def candidate_standings(found: GridPlan, store: Store) -> list[CandidateStanding]:
    """Where every method stands by what is stored."""
    records, diverged = stored_records(found, store), diverged_points(found, store)
    return [
        successive_halving.candidate_standing(each, found.rungs, records, diverged[each.method])
        for each in found.candidates
    ]


def stored_records(found: GridPlan, store: Store) -> dict[str, Record]:
    """The records of the grid's runs that there are, by run id."""
    every = [run.run_id for each in found.candidates for run in each.every_run]
    return {record["run_id"]: record for record in store.records(every)}


def diverged_points(found: GridPlan, store: Store) -> dict[str, set[int]]:
    """The numbers of each method's settings of which a run diverged."""
    runs = {
        run.run_id: (each.method, number)
        for each in found.candidates
        for number, point in enumerate(each.points)
        for run in each.runs(point)
    }
    diverged: dict[str, set[int]] = {each.method: set() for each in found.candidates}
    for run_id in store.failed(runs):
        failure = store.read_failure(run_id)
        if failure and failure["reason"].startswith(DIVERGED):
            method, number = runs[run_id]
            diverged[method].add(number)
    return diverged


def conclude_grid(found: GridPlan, store: Store, outcome: StudyOutcome, path: Path, command: str) -> int:
    """Choose, write the file, and print what was chosen and what it cost."""
    stored_now, diverged = stored_records(found, store), diverged_points(found, store)
    chosen: list[GridChoice] = []
    undecided: dict[str, str] = {}
    for each in found.candidates:
        own = successive_halving.choose_point(each, found.rungs, stored_now, diverged[each.method])
        if lacking := own.standing.wanted:
            reason = next((outcome.failed[run.run_id] for run in lacking if run.run_id in outcome.failed), None)
            undecided[each.method] = (
                f"{len(lacking)} of its runs are missing ({reason or 'another process had them'}); the same command "
                "tries again"
            )
        elif own.decision is None:
            undecided[each.method] = "it diverged in every setting"
        else:
            chosen.append(own)
    records = [stored_now[run.run_id] for each in chosen for run in each.runs]
    document = grid_document(chosen, undecided, diverged, records, found.planned.left_out, command)
    if chosen:
        write_grid_file(found, chosen, records, path, command)
        document["file"] = str(path)
    if found.request.format == "json":
        write_json(document)
    else:
        table, lines = grid_table(document)
        if chosen:
            write_page(table)
        write_text("\n" + "\n".join(lines))
    if chosen:
        print_note(f"wrote {path} and {path.with_suffix('.md').name}")
        if found.labels < ENOUGH_HELD_OUT:
            print_note("boards won't take it: leave --seeds out for one that they do")
    return 1 if undecided else 0


def write_grid_file(
    found: GridPlan, chosen: Sequence[GridChoice], records: Sequence[Record], path: Path, command: str
) -> None:
    """Add what was chosen to the data set's file, and write the page beside it."""
    spec = found.planned.specs[0]
    choice = FileChoice(
        kind="grid",
        noise=spec.noise,
        rate=spec.rate,
        seeds=found.request.seeds,
        hold_out=spec.hold_out,
        held_out_labels=found.labels,
        last_epochs=count_last_epochs(spec.epochs),
        trials=max(len(each.candidates.points) for each in chosen),
        tried=TRIED | {"splits": f"{found.splits}{describe_halving(found)}"},
        command=command,
        revision=origin.training_revisions(records),
        date=origin.last_training_day(records),
    )
    recipes = [
        recipe for each in chosen if (recipe := successive_halving.recipe_entry(each, grid_file.NAME)) is not None
    ]
    before = grid_file.previous_grid_file(path, spec, found.labels)
    grid_file.write_shared_file(grid_file.merge_grid_files(before, spec, choice, recipes), path, found.facts.methods)
