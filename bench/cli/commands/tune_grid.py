"""`tune --grid shared`: request -> facts -> grid -> choices -> recipe file and page.

`grid_command` is the whole flow, and the functions below it are its steps; `bench.tuning.grid.search` has the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import registry
from bench.cli.commands.run import open_store
from bench.cli.commands.tune import note_held_label_users
from bench.execution.backends import open_backend
from bench.execution.progress import gather_facts_with_display, open_display
from bench.execution.study import StudyOutcome, run_study, split_by_stored
from bench.planning.cost import DeclaredCosts, forecast_seconds, sample_records
from bench.planning.facts import ResolvedMethod
from bench.planning.plan import Plan
from bench.planning.request import OPTIONS, Request
from bench.planning.validate import validate_request, with_registered_names
from bench.records.store import Store
from bench.registry.method_code import note_changed_methods
from bench.reporting.command_line import command_line
from bench.spec import RunSpec
from bench.stats.holdout_choice import ENOUGH_HELD_OUT
from bench.system.console import print_note, write_json, write_page, write_text
from bench.system.errors import UsageError
from bench.system.processes import torchrun_world
from bench.system.text import format_duration
from bench.tuning.grid import grid_page, search
from bench.tuning.grid.candidates import FIRST_SEED, MOST_SPLITS, NOISE, RATE
from bench.tuning.grid.grid_file import grid_file_path, previous_grid_file
from bench.tuning.grid.search import GridPlan
from bench.tuning.grid.successive_halving import GridResult


def grid_command(options: Mapping[str, Any]) -> int:
    """Carry out a request as typed; returns the exit code: 0 where a choice was made for every method."""
    request, splits = read_options(options)
    with open_backend(request) as backend:
        request = with_registered_names(request)
        validated = validate_request(request)
        request = validated.request
        refuse_parameters(validated.methods)
        store = open_store(request)
        facts = gather_facts_with_display(validated, backend.find_hardware())
        plan = search.plan_grid(request, facts, splits)
        path = grid_file_path(
            Path(request.boards), facts.data_set, None if facts.features is None else facts.features.settings.backbone
        )
        # Read for its errors, before anything is trained; it is read again when the choices are added.
        previous_grid_file(path, plan.planned.specs[0], plan.labels)
        certain, possible = plan.expected_runs(search.candidate_standings(plan, store))
        todo = [*split_by_stored(certain, store, "missing")[0], *possible]
        runs = len(certain) + len(possible)
        limits = backend.limit_jobs(todo, facts, runs, at_most=len(todo))
        if request.dry_run:
            # Ray writes to standard output while it is connected, so `close` comes before any result is printed.
            backend.close()
            return show_plan(plan, store, certain, possible, limits.jobs)
        print_note(search.describe_grid(plan))
        note_held_label_users((candidates.method for candidates in plan.candidates), facts.methods)
        changed = note_changed_methods(search.stored_records(plan, store).values(), train_anew="give another --out")
        if changed is not None:
            print_note(changed)
        runtimes = backend.start(facts, store, limits, runs)

        def train(rung: Sequence[RunSpec]) -> StudyOutcome:
            return run_study(rung, runtimes, store, display=open_display(), executor=backend.make_executor)

        outcome = search.train_grid(plan, store, train)
    if outcome.interrupted_signal is not None:
        print_note("Nothing is chosen yet; the same command goes on where it was")
        return outcome.exit_code
    command = command_line({"grid": options["grid"]} | dict(options), command="tune")
    return publish_choices(plan, search.choose_settings(plan, store, outcome), path, command)


def read_options(options: Mapping[str, Any]) -> tuple[Request, int | None]:
    """The request, and the number of splits (None: as many as needed). Raises UsageError for mistaken options."""
    typed = {name: value for name, value in options.items() if name not in ("grid", "seeds")}
    refuse_fixed_options(typed)
    splits = parse_splits(options.get("seeds"))
    request = Request.typed(**typed, protocol="shared-lr", noise=[NOISE], rate=[str(RATE)])
    if torchrun_world().size > 1:
        raise UsageError("tune starts its own processes: leave torchrun out, and type python -m bench tune ...")
    return request, splits


def refuse_fixed_options(options: Mapping[str, Any]) -> None:
    """Raise UsageError for an option whose value is the grid's own."""
    for name in options:
        if name not in OPTIONS or OPTIONS[name].set_by_grid:
            option = "with" if name == "also" else name.replace("_", "-")
            raise UsageError(
                f"--grid shared tries learning rates and weight decays of its own, under {NOISE} {RATE:g}, for every "
                f"method alike: leave --{option} out"
            )


def parse_splits(text: str | None) -> int | None:
    """The number of splits that was typed; None: none was. Raises UsageError where it isn't one."""
    if text is None:
        return None
    if not text.strip().isdecimal() or not 1 <= int(text) <= MOST_SPLITS:
        raise UsageError(
            f"--seeds {text}: with --grid it is a number of splits, 1 to {MOST_SPLITS:,}; their seeds are set apart "
            f"for choosing ({FIRST_SEED:,} and up)"
        )
    return int(text)


def refuse_parameters(methods: Sequence[ResolvedMethod]) -> None:
    """Raise UsageError for a typed parameter: what is chosen is for a method as `--recipes plain` has it."""
    for method in methods:
        if method.values:
            name = method.selected.name
            raise UsageError(f"--grid shared chooses for methods as they are: type {name} without parameters")


def show_plan(plan: GridPlan, store: Store, certain: list[RunSpec], possible: list[RunSpec], jobs: int) -> int:
    """Print what would be trained now, and how much may follow; returns the exit code."""
    from bench.cli.commands import dry_run

    costs = DeclaredCosts(plan.facts.methods, registry.models())
    planned = Plan(tuple(certain), plan.planned.left_out)
    comparison = dry_run.compare_with_store(planned, certain, None, store, "missing", plan.facts, costs, jobs)
    if possible:
        records = sample_records(planned.specs, comparison.stored, store)
        seconds = forecast_seconds(possible, records, costs).wall(jobs)
        duration = "" if seconds is None else f", about {format_duration(seconds)}"
        later = f"then the better half of each method's settings goes on: at most {len(possible):,} runs more{duration}"
        comparison = replace(comparison, later=later)
    dry_run.show_dry_run(comparison, plan.request.format)
    return 0


def publish_choices(plan: GridPlan, result: GridResult, path: Path, command: str) -> int:
    """Write the file and its page, and print the choices and their cost; returns the exit code."""
    document = grid_page.grid_document(result, plan.planned.left_out, command)
    if result.choices:
        search.write_choices(plan, result, path, command)
        document["file"] = str(path)
    if plan.request.format == "json":
        write_json(document)
    else:
        table, lines = grid_page.grid_table(document)
        if result.choices:
            write_page(table)
        write_text("\n" + "\n".join(lines))
    if result.choices:
        print_note(f"wrote {path} and {path.with_suffix('.md').name}")
        if plan.labels < ENOUGH_HELD_OUT:
            print_note("boards won't take it: leave --seeds out for one that they do")
    return 1 if result.undecided else 0
