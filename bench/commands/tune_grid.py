"""`tune --grid shared`: learning rate and weight decay of every method, from one grid, by the noisy hold-out.

The grid's runs are ordinary ones in the ordinary store: stopped, it goes on; repeated, it costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import look_up as lookup
from bench import registry, room
from bench.commands import dry_run
from bench.commands.grid_page import as_json, page
from bench.commands.looking import look_up
from bench.commands.output import check_folder, note, write, write_json, write_page
from bench.commands.run import runtimes
from bench.commands.words import command_line
from bench.errors import UsageError
from bench.executors import together
from bench.expected_costs import Costs
from bench.facts import Facts
from bench.forecast import forecast, sample
from bench.job import DIVERGED
from bench.plan import Plan, asked_methods, plan
from bench.progress import duration
from bench.recipe_files import ENOUGH_HELD_OUT, Choice
from bench.request import Request
from bench.spec import RunSpec
from bench.store import Store
from bench.tuning import grid, race, shared_file, trained
from bench.tuning.case import held_out_labels
from bench.tuning.choice import last_epochs, splits_needed
from bench.tuning.grid import Candidates
from bench.tuning.race import Chosen, Standing

if TYPE_CHECKING:
    from bench.study import Outcome

Record = Mapping[str, Any]

FIXED = frozenset(
    {
        "lr",
        "weight_decay",
        "noise",
        "rate",
        "noise_seed",
        "labels",
        "protocol",
        "recipes",
        "draw",
        "members",
        "noise_rate",
    }
)
"""Options of `run` that the grid sets itself."""


@dataclass(frozen=True)
class Grid:
    """What is to be chosen: the methods' candidates, what was left out, and what a choice will rest on."""

    request: Request
    facts: Facts
    candidates: tuple[Candidates, ...]
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
        return race.rungs(self.splits, self.held_out)

    def known_runs(self, stands: Sequence[Standing]) -> list[RunSpec]:
        """The runs of all methods that are certain by now."""
        return [run for each, now in zip(self.candidates, stands, strict=True) for run in race.known_runs(each, now)]

    def later_runs(self, stands: Sequence[Standing]) -> list[RunSpec]:
        """At most as many as follow."""
        pairs = zip(self.candidates, stands, strict=True)
        return [run for each, now in pairs for run in race.later_runs(each, now, self.rungs)]


def grid_command(options: Mapping[str, Any]) -> int:
    """Carry out a request as typed; returns the exit code: 0 where a choice was made for every method."""
    typed = {name: value for name, value in options.items() if name != "grid"}
    refuse_fixed(typed)
    splits = splits_typed(typed.pop("seeds", None))
    request = Request.typed(**typed, protocol="shared-lr", noise=[grid.NOISE], rate=[str(grid.RATE)])
    if together.world().size > 1:
        raise UsageError("tune starts its own processes: leave torchrun out, and type python -m bench tune ...")
    lookup.check_names(request)
    refuse_parameters(request)
    if not request.dry_run:
        check_folder("--out", Path(request.out))
        check_folder("--boards", Path(request.boards))
    found = look(request, splits)
    path = shared_file.path_of(Path(request.boards), found.facts.data_set)
    shared_file.before(path, found.planned.specs[0], found.labels)
    store = Store(Path(request.out), on_problem=lambda problem: note(f"note: {problem}"))
    stands = standings(found, store)
    known, later = found.known_runs(stands), found.later_runs(stands)
    from bench.study import left_to_run

    left = [*left_to_run(known, store, "missing")[0], *later]
    made = room.share(left, found.facts, len(known) + len(later), request.jobs, note, at_most=len(left))
    if request.dry_run:
        show_plan(found, store, known, later, made.jobs)
        return 0
    note(announced(found))
    outcome = train(found, store, made)
    if outcome.interrupted_signal is not None:
        note("Nothing is chosen yet; the same command goes on where it was")
        return outcome.exit_code
    return conclude(
        found, store, outcome, path, command_line({"grid": options["grid"]} | dict(options), command="tune")
    )


def refuse_fixed(options: Mapping[str, Any]) -> None:
    """Raise UsageError for an option whose value is the grid's own."""
    for name in options:
        if name in FIXED or name not in Request.model_fields:
            option = "with" if name == "also" else name.replace("_", "-")
            raise UsageError(
                f"--grid shared tries learning rates and weight decays of its own, under {grid.NOISE} {grid.RATE:g}, "
                f"for every method alike: leave --{option} out"
            )


def splits_typed(text: str | None) -> int | None:
    """How many splits were asked for; None: as many as needed."""
    if text is None:
        return None
    if not text.strip().isdecimal() or not 1 <= int(text) <= grid.MOST_SPLITS:
        raise UsageError(
            f"--seeds {text}: with --grid it is a number of splits, 1 to {grid.MOST_SPLITS:,}; their seeds are set "
            f"apart for choosing ({grid.FIRST_SEED:,} and up)"
        )
    return int(text)


def refuse_parameters(request: Request) -> None:
    """Raise UsageError for a typed parameter: what is chosen is for a method as `--recipes plain` has it."""
    for asked in asked_methods(request, registry.methods()):
        if asked.values:
            name = asked.selected.name
            raise UsageError(f"--grid shared chooses for methods as they are: type {name} without parameters")


def look(request: Request, splits: int | None) -> Grid:
    """Look the facts up, and plan the grid. Raises UsageError where nothing is held out, or nothing can run."""
    facts = look_up(request)
    held_out = held_out_labels(request, facts.samples)
    needed = splits_needed(held_out)
    if splits is None and needed > grid.MOST_SPLITS:
        raise UsageError(
            f"{held_out} held-out labels a split would take {needed:,} splits for {ENOUGH_HELD_OUT:,}: give a larger "
            "--hold-out, or a number of --seeds"
        )
    seeds = tuple(range(grid.FIRST_SEED, grid.FIRST_SEED + (splits or needed)))
    request = request.model_copy(update={"seeds": seeds})
    planned = plan(request, facts)
    return Grid(request, facts, tuple(grid.candidates(planned.specs, facts.methods)), planned, held_out)


def announced(found: Grid) -> str:
    """One line on what is tried, and on what a choice will rest."""
    settings = sum(len(each.points) for each in found.candidates)
    enough = "" if found.labels >= ENOUGH_HELD_OUT else f", fewer than the {ENOUGH_HELD_OUT:,} that a board wants"
    return (
        f"{len(found.candidates)} methods, {settings} settings, {found.splits} splits"
        f"{halving(found)}: {found.labels:,} held-out labels in all{enough}"
    )


def halving(found: Grid) -> str:
    """What becomes of settings on the way, in words; nothing where none is dropped."""
    if not found.rungs:
        return " each"
    *first, last = map(str, found.rungs)
    after = f"{', '.join(first)} and {last}" if first else last
    return f" (after {after} of them the better half of a method's settings goes on)"


def show_plan(found: Grid, store: Store, known: list[RunSpec], later: list[RunSpec], jobs: int) -> None:
    """Print what would be trained now, and how much may follow. Trains and writes nothing."""
    costs = Costs(found.facts.methods, registry.models())
    planned = Plan(tuple(known), found.planned.left_out)
    shown = dry_run.look(planned, known, None, store, "missing", found.facts, costs, jobs)
    if later:
        wall = forecast(later, sample(planned.specs, shown.stored, store), costs).wall(jobs)
        about = "" if wall is None else f", about {duration(wall)}"
        words = f"then the better half of each method's settings goes on: at most {len(later):,} runs more{about}"
        shown = replace(shown, later=words)
    dry_run.show(shown, found.request.format)


def train(found: Grid, store: Store, made: room.Room) -> Outcome:
    """Carry out what is missing, rung by rung, for as many methods as come through; the outcome of all of it.

    A setting that diverged, now or before, isn't tried again: it would once more.
    """
    from bench.progress import open_display
    from bench.study import Outcome, run_study

    runtime = runtimes(found.request, found.facts, made)
    outcome, tried = Outcome(), set[str]()
    while True:
        stands = standings(found, store)
        # what was tried and is wanted still has failed: its method goes no further
        wanted = [run for each in stands if not tried & {run.run_id for run in each.wanted} for run in each.wanted]
        if not wanted:
            return outcome
        if outcome.finished:
            going = sum(len(each.going) for each in stands)
            note(f"{going} of {sum(len(each.points) for each in found.candidates)} settings go on")
        tried |= {run.run_id for run in wanted}
        now = run_study(wanted, runtime, store, jobs=made.jobs, when="missing", display=open_display())
        outcome = Outcome(
            finished=(*outcome.finished, *now.finished),
            failed={**outcome.failed, **now.failed},
            interrupted_signal=now.interrupted_signal,
        )
        if now.interrupted_signal is not None:
            return outcome


def standings(found: Grid, store: Store) -> list[Standing]:
    """Where every method stands by what is stored."""
    records, diverged = stored(found, store), diverged_in(found, store)
    return [race.stand(each, found.rungs, records, diverged[each.method]) for each in found.candidates]


def stored(found: Grid, store: Store) -> dict[str, Record]:
    """The records of the grid's runs that there are, by run id."""
    every = [run.run_id for each in found.candidates for run in each.every_run]
    return {record["run_id"]: record for record in store.records(every)}


def diverged_in(found: Grid, store: Store) -> dict[str, set[int]]:
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


def conclude(found: Grid, store: Store, outcome: Outcome, path: Path, command: str) -> int:
    """Choose, write the file, and print what was chosen and what it cost."""
    stored_now, diverged = stored(found, store), diverged_in(found, store)
    chosen: list[Chosen] = []
    undecided: dict[str, str] = {}
    for each in found.candidates:
        own = race.decide(each, found.rungs, stored_now, diverged[each.method])
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
    document = as_json(chosen, undecided, diverged, records, found.planned.left_out, command)
    if chosen:
        write_file(found, chosen, records, path, command)
        document["file"] = str(path)
    if found.request.format == "json":
        write_json(document)
    else:
        table, lines = page(document)
        if chosen:
            write_page(table)
        write("\n" + "\n".join(lines))
    if chosen:
        note(f"wrote {path} and {path.with_suffix('.md').name}")
        if found.labels < ENOUGH_HELD_OUT:
            note("boards won't take it: leave --seeds out for one that they do")
    return 1 if undecided else 0


def write_file(found: Grid, chosen: Sequence[Chosen], records: Sequence[Record], path: Path, command: str) -> None:
    """Add what was chosen to the data set's file, and write the page beside it."""
    spec = found.planned.specs[0]
    choice = Choice(
        kind="grid",
        noise=spec.noise,
        rate=spec.rate,
        seeds=found.request.seeds,
        hold_out=spec.hold_out,
        held_out_labels=found.labels,
        last_epochs=last_epochs(spec.epochs),
        trials=max(len(each.candidates.points) for each in chosen),
        tried=grid.TRIED | {"splits": f"{found.splits}{halving(found)}"},
        command=command,
        revision=trained.revisions(records),
        date=trained.last_day(records),
    )
    recipes = [recipe for each in chosen if (recipe := race.recipe(each, shared_file.NAME)) is not None]
    before = shared_file.before(path, spec, found.labels)
    shared_file.write(shared_file.joined(before, spec, choice, recipes), path, found.facts.methods)
