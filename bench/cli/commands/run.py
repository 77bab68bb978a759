"""`run`: request -> facts -> plan -> study -> boards. Wrong requests are refused before anything is trained or written.

`run_command` is the whole flow; the functions below it are its steps, in order.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import registry
from bench.execution import compute_waves
from bench.execution.backends import note_image_placement, open_backend
from bench.execution.progress import gather_facts_with_display, open_display
from bench.execution.study import StudyOutcome, run_study, split_by_stored
from bench.planning.compute_budget import parse_budget
from bench.planning.cost import DeclaredCosts
from bench.planning.facts import Facts
from bench.planning.paper_protocol import usual_precision
from bench.planning.plan import Plan, make_plan
from bench.planning.request import Request
from bench.planning.shards import Shard, parse_shard, plan_name
from bench.planning.validate import validate_request, with_registered_names
from bench.records.origin import note_other_revisions
from bench.records.store import Store
from bench.registry.method_code import note_changed_methods
from bench.spec import RunSpec
from bench.system.console import check_folder, print_note
from bench.system.errors import UsageError
from bench.system.text import list_first


def run_command(options: Mapping[str, Any]) -> int:
    """Carry out a request as typed; returns the exit code.

    Under torchrun every process calls this function: the main one does all of it, the others only train along.
    """
    request = Request.typed(**options)
    shard = None if request.shard is None else parse_shard(request.shard, os.environ)
    with open_backend(request) as backend:
        if backend.is_follower:
            return backend.follow()
        request = with_registered_names(request)
        validated = validate_request(request)
        request = validated.request
        store = open_store(request)
        facts = gather_facts_with_display(validated, backend.find_hardware())
        facts = replace(facts, processes=backend.processes)
        note_image_placement(request, facts)
        costs = DeclaredCosts(facts.methods, registry.models())
        planned = plan_runs(request, facts, costs)
        specs = planned.specs if shard is None else shard.of(planned.specs, costs.work)
        todo, stored = split_by_stored(specs, store, request.when)
        # Later waves of a budget hold more runs than the first: then the machine is shared for as many as it has cores.
        runs = len(specs) if request.budget is None else max(len(specs), facts.cores)
        limits = backend.limit_jobs(todo, facts, runs, at_most=None if request.budget else len(todo))
        if request.dry_run:
            from bench.cli.commands.dry_run import compare_with_store, show_dry_run

            backend.close()  # first, since nothing reaches standard output while Ray is connected
            comparison = compare_with_store(planned, specs, shard, store, request.when, facts, costs, limits.jobs)
            if request.budget is not None:
                comparison = replace(comparison, later=compute_waves.foresee_waves(request, facts, planned, costs))
            show_dry_run(comparison, request.format)
            return 0
        refuse_empty_report(planned, store, request)
        note_shard(request, facts, planned, specs, shard)
        note_changes(store, stored, todo, request)
        runtimes = backend.start(facts, store, limits, runs)

        def run_wave(wave: Sequence[RunSpec]) -> StudyOutcome:
            display = open_display()
            return run_study(wave, runtimes, store, when=request.when, display=display, executor=backend.make_executor)

        settings = frozenset(spec.setting_id for spec in planned.specs)
        if request.budget is None:
            outcome = run_wave(specs)
        else:
            planned, outcome = compute_waves.run_compute_waves(request, facts, planned, store, run_wave)
            specs = planned.specs
    return publish_outcome(request, options, planned, len(specs), store, outcome, settings)


def open_store(request: Request) -> Store:
    """The store of `--out`. Raises UsageError where a folder of the request can't be written."""
    if not request.dry_run:
        check_folder("--out", Path(request.out))
        check_folder("--boards", Path(request.boards))
    return Store(Path(request.out), on_problem=lambda problem: print_note(f"note: {problem}"))


def plan_runs(request: Request, facts: Facts, costs: DeclaredCosts) -> Plan:
    """The plan of all shards together, its notes printed; under a budget, without methods that it can't pay."""
    planned = make_plan(request, facts)
    if request.budget is not None:
        planned = compute_waves.drop_unaffordable(request, planned, facts, costs)
    for note in planned.notes:
        print_note(f"note: {note}")
    return planned


def note_changes(store: Store, stored: Sequence[str], todo: Sequence[RunSpec], request: Request) -> None:
    """Print which of the stored runs were trained by other code than there is now."""
    records = list(store.records(stored))
    changed = note_changed_methods(records)
    others = note_other_revisions(records, request.out) if todo else None
    for note in filter(None, (changed, others)):
        print_note(note)


def refuse_empty_report(planned: Plan, store: Store, request: Request) -> None:
    """Raise UsageError where `--when` leaves nothing to run and there is no result to show either."""
    if request.when in ("missing", "always"):
        return
    todo, stored = split_by_stored(planned.specs, store, request.when)
    if not todo and not stored:
        none = f"none of the {len(planned.specs)} runs asked for has a record in {request.out}"
        failed = ", and none has failed" if request.when == "failed" else ""
        raise UsageError(f"--when {request.when}: {none}{failed}, so there is nothing to report. Leave --when out")


def note_shard(request: Request, facts: Facts, planned: Plan, specs: Sequence[RunSpec], shard: Shard | None) -> None:
    """Print which part of which plan a shard is, and what could make another machine plan otherwise."""
    if shard is None:
        return
    print_note(
        f"shard {shard}: {len(specs)} of {len(planned.specs)} runs; plan {plan_name(planned.specs)} on every machine"
    )
    if request.precision == "auto" and usual_precision(request.is_paper, facts.protocol.precision) == "auto":
        print_note(
            f"note: --precision auto is {facts.precision} here; where it is another, other runs are planned. "
            f"Type --precision {facts.precision} if the machines differ"
        )


def publish_outcome(
    request: Request,
    options: Mapping[str, Any],
    planned: Plan,
    runs: int,
    store: Store,
    outcome: StudyOutcome,
    settings: frozenset[str],
) -> int:
    """Write the boards, print the tables of `settings`, and note what of the `runs` of this command is missing.

    The tables show all that the store has of the whole plan, other shards' runs too. Returns the exit code.
    """
    from bench.cli.boards import print_boards
    from bench.reporting.publish import publish_boards

    unwritten = 0
    records: list[dict[str, Any]] = []
    budget = None if request.budget is None else replace(parse_budget(request.budget), settings=settings)
    try:
        records, failures, folder = list(store.records()), list(store.failures()), Path(request.boards)
        published = publish_boards(
            records,
            failures=failures,
            boards=folder,
            select="last",
            budget=budget,
            planned=planned,
            typed=options,
            audited=request.test_labels == "audited",
        )
        if published is not None:
            print_boards(published, request.format, settings)
    except UsageError as error:  # too late to refuse the request: the runs are done
        unwritten = 1
        print_note(str(error))
    for run_id, reason in list(outcome.failed.items())[:10]:
        print_note(f"failed: {run_id}: {reason}")
    if len(outcome.failed) > 10:
        print_note(f"  ... and {len(outcome.failed) - 10} more")
    traced = [run_id for run_id in outcome.failed if (store.read_failure(run_id) or {}).get("traceback")]
    if traced:
        out = "" if "out" not in options else f" --out {shlex.quote(request.out)}"
        print_note(f"note: python -m bench show run {traced[0]}{out} prints the traceback of the first one")
    unread = sorted({*outcome.finished, *outcome.skipped} - {record["run_id"] for record in records})
    if unread:
        unwritten = 1
        print_note(
            f"{len(unread)} of {runs} runs have a record that can't be read, or that is gone: {list_first(unread, 3)}"
        )
    if outcome.left:
        advice = "the same command goes on with them" if request.when == "missing" else "leave --when out to train them"
        print_note(f"{len(outcome.left)} of {runs} runs are left; {advice}")
    return outcome.exit_code or unwritten
