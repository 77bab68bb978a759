"""`tune --grid shared`: learning rate and weight decay of every method, from one grid, by the noisy hold-out.

The grid's runs are ordinary ones in the ordinary store: stopped, it goes on; repeated, it costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import registry
from bench.cli.commands import dry_run
from bench.memory import job_limits
from bench.planning import validate
from bench.planning.cost import DeclaredCosts, forecast_seconds, sample_records
from bench.planning.facts import ResolvedMethod
from bench.planning.plan import Plan
from bench.planning.request import OPTIONS, Request
from bench.records.store import Store
from bench.reporting.command_line import command_line
from bench.spec import RunSpec
from bench.system import processes
from bench.system.console import check_folder, print_note
from bench.system.errors import UsageError
from bench.system.text import format_duration
from bench.tuning.grid import candidates, grid_file
from bench.tuning.grid.search import GridPlan, candidate_standings, conclude_grid, describe_grid, plan_grid, train_grid


def grid_command(options: Mapping[str, Any]) -> int:
    """Carry out a request as typed; returns the exit code: 0 where a choice was made for every method."""
    typed = {name: value for name, value in options.items() if name != "grid"}
    refuse_fixed_options(typed)
    splits = parse_splits(typed.pop("seeds", None))
    request = Request.typed(**typed, protocol="shared-lr", noise=[candidates.NOISE], rate=[str(candidates.RATE)])
    if processes.torchrun_world().size > 1:
        raise UsageError("tune starts its own processes: leave torchrun out, and type python -m bench tune ...")
    validated = validate.validate_request(request)
    refuse_parameters(validated.methods)
    if not request.dry_run:
        check_folder("--out", Path(request.out))
        check_folder("--boards", Path(request.boards))
    found = plan_grid(validated, splits)
    path = grid_file.grid_file_path(Path(request.boards), found.facts.data_set)
    grid_file.previous_grid_file(path, found.planned.specs[0], found.labels)
    store = Store(Path(request.out), on_problem=lambda problem: print_note(f"note: {problem}"))
    stands = candidate_standings(found, store)
    known, later = found.known_runs(stands), found.later_runs(stands)
    from bench.execution.study import split_by_stored

    left = [*split_by_stored(known, store, "missing")[0], *later]
    made = job_limits.limit_jobs(
        left, found.facts, len(known) + len(later), request.jobs, print_note, at_most=len(left)
    )
    if request.dry_run:
        show_grid_plan(found, store, known, later, made.jobs)
        return 0
    print_note(describe_grid(found))
    outcome = train_grid(found, store, made)
    if outcome.interrupted_signal is not None:
        print_note("Nothing is chosen yet; the same command goes on where it was")
        return outcome.exit_code
    return conclude_grid(
        found, store, outcome, path, command_line({"grid": options["grid"]} | dict(options), command="tune")
    )


def refuse_fixed_options(options: Mapping[str, Any]) -> None:
    """Raise UsageError for an option whose value is the grid's own."""
    for name in options:
        if name not in OPTIONS or OPTIONS[name].set_by_grid:
            option = "with" if name == "also" else name.replace("_", "-")
            raise UsageError(
                f"--grid shared tries learning rates and weight decays of its own, under {candidates.NOISE} "
                f"{candidates.RATE:g}, for every method alike: leave --{option} out"
            )


def parse_splits(text: str | None) -> int | None:
    """How many splits were asked for; None: as many as needed."""
    if text is None:
        return None
    if not text.strip().isdecimal() or not 1 <= int(text) <= candidates.MOST_SPLITS:
        raise UsageError(
            f"--seeds {text}: with --grid it is a number of splits, 1 to {candidates.MOST_SPLITS:,}; their seeds "
            f"are set apart for choosing ({candidates.FIRST_SEED:,} and up)"
        )
    return int(text)


def refuse_parameters(methods: Sequence[ResolvedMethod]) -> None:
    """Raise UsageError for a typed parameter: what is chosen is for a method as `--recipes plain` has it."""
    for asked in methods:
        if asked.values:
            name = asked.selected.name
            raise UsageError(f"--grid shared chooses for methods as they are: type {name} without parameters")


def show_grid_plan(found: GridPlan, store: Store, known: list[RunSpec], later: list[RunSpec], jobs: int) -> None:
    """Print what would be trained now, and how much may follow. Trains and writes nothing."""
    costs = DeclaredCosts(found.facts.methods, registry.models())
    planned = Plan(tuple(known), found.planned.left_out)
    shown = dry_run.compare_with_store(planned, known, None, store, "missing", found.facts, costs, jobs)
    if later:
        wall = forecast_seconds(later, sample_records(planned.specs, shown.stored, store), costs).wall(jobs)
        about = "" if wall is None else f", about {format_duration(wall)}"
        words = f"then the better half of each method's settings goes on: at most {len(later):,} runs more{about}"
        shown = replace(shown, later=words)
    dry_run.show_dry_run(shown, found.request.format)
