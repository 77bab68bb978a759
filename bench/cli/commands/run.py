"""`run`: plan, study, boards. The request is judged whole before anything is trained or written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.execution import compute_waves, torchrun
from bench.execution.backends import (
    _choose_executor,
    _cluster_to_join,
    _job_limits,
    make_runtimes,
    note_image_placement,
)
from bench.execution.progress import gather_facts_with_display
from bench.planning import compute_budget, shards, validate
from bench.planning.cost import DeclaredCosts
from bench.planning.facts import Facts
from bench.planning.plan import Plan, make_plan
from bench.planning.request import Request
from bench.reporting.command_line import command_line
from bench.spec import RunSpec
from bench.system import hardware
from bench.system.console import check_folder, print_note
from bench.system.errors import UsageError
from bench.system.processes import TorchrunWorld, torchrun_world

if TYPE_CHECKING:
    from bench.execution.ray.cluster import RayCluster
    from bench.execution.study import StudyOutcome
    from bench.records.store import Store


def run_command(options: Mapping[str, Any]) -> int:
    """Carry out a request as typed; returns the exit code.

    Under torchrun every process calls this: the first leads, the others train along and print nothing.
    """
    request = Request.typed(**options)
    shard = None if request.shard is None else shards.parse_shard(request.shard, os.environ)
    here = torchrun_world()
    if here.size > 1 and request.executor == "ray":
        raise UsageError("--executor ray: not under torchrun, whose processes train one run together. Leave one out")
    if here.number > 0:
        if not request.dry_run:
            torchrun.follow_leader(
                Path(request.out), torchrun.join_process_group(here, hardware.resolve_device(request.device)), here
            )
        return 0
    from bench.records.store import Store

    validated = validate.validate_request(request)
    store = Store(Path(request.out), on_problem=lambda problem: print_note(f"note: {problem}"))
    if not request.dry_run:
        check_folder("--out", Path(request.out))
        check_folder("--boards", Path(request.boards))
    with ExitStack() as held:
        cluster = _cluster_to_join(request)
        if cluster is not None:
            held.callback(cluster.close)
        return _carry_out(validated, options, shard, here, store, cluster)


def _carry_out(
    validated: validate.ValidatedRequest,
    options: Mapping[str, Any],
    shard: shards.Shard | None,
    here: TorchrunWorld,
    store: Store,
    cluster: RayCluster | None,
) -> int:
    """Look up, plan, run what is missing, and write the boards."""
    from bench.execution.study import split_by_stored

    request = validated.request
    facts = replace(
        gather_facts_with_display(validated, None if cluster is None else cluster.hardware), processes=here.size
    )
    note_image_placement(request, facts)
    planned = make_plan(request, facts)
    costs = DeclaredCosts(facts.methods, registry.models())
    if request.budget is not None:
        planned = compute_waves.drop_unaffordable(request, planned, facts, costs)
    specs = planned.specs if shard is None else shard.of(planned.specs, costs.work)
    for each in planned.notes:
        print_note(f"note: {each}")
    if here.size > 1 and request.jobs not in (None, 1):
        raise UsageError(f"--jobs {request.jobs}: under torchrun the processes train one run at a time. Leave it out")
    runs = here.local_size if here.size > 1 else len(specs)
    if request.budget is not None:  # later waves hold more
        runs = max(runs, facts.cores)
    left, have = split_by_stored(specs, store, request.when)
    made = _job_limits(request, facts, here, left, runs)
    if request.dry_run:
        jobs = made.jobs if cluster is None else cluster.share(runs)[0]
        return _show_plan(request, facts, planned, specs, shard, store, costs, jobs)
    _refuse_an_empty_report(planned, store, request)
    if shard is not None:
        _say_shard(shard, planned, specs, request, facts)
    _say_revisions(left, have, store, request)
    from bench.execution.progress import open_display
    from bench.execution.study import run_study

    with ExitStack() as held:
        facts, make = _choose_executor(request, facts, here, cluster, runs, store, held)

        def carry_out(wave: Sequence[RunSpec]) -> StudyOutcome:
            return run_study(
                wave,
                make_runtimes(request, facts, made),
                store,
                jobs=made.jobs,
                when=request.when,
                display=open_display(),
                executor=make,
            )

        first = frozenset(spec.setting_id for spec in planned.specs)
        if request.budget is None:
            outcome = carry_out(specs)
        else:
            planned, outcome = compute_waves.run_compute_waves(request, facts, planned, store, carry_out)
            specs = planned.specs
    return _conclude(request, options, planned, len(specs), store, outcome, here.size, first)


def _show_plan(
    request: Request,
    facts: Facts,
    planned: Plan,
    specs: Sequence[RunSpec],
    shard: shards.Shard | None,
    store: Store,
    costs: DeclaredCosts,
    jobs: int,
) -> int:
    """Print what would be run, and what it would cost; returns the exit code."""
    from bench.cli.commands import dry_run

    found = dry_run.compare_with_store(planned, specs, shard, store, request.when, facts, costs, jobs)
    if request.budget is not None:
        found = replace(found, later=compute_waves.foresee_waves(request, facts, planned, costs))
    dry_run.show_dry_run(found, request.format)
    return 0


def _say_shard(shard: shards.Shard, planned: Plan, specs: Sequence[RunSpec], request: Request, facts: Facts) -> None:
    """Say which part of which plan this is, and what could make another machine plan otherwise."""
    whole = len(planned.specs)
    print_note(f"shard {shard}: {len(specs)} of {whole} runs; plan {shards.plan_name(planned.specs)} on every machine")
    if request.precision == "auto" and facts.protocol.precision == "auto":
        print_note(
            f"note: --precision auto is {facts.precision} here; where it is another, other runs are planned. "
            f"Type --precision {facts.precision} if the machines differ"
        )


def _say_revisions(left: Sequence[RunSpec], have: Sequence[str], store: Store, request: Request) -> None:
    """Say which other revisions of the code have trained a part of what is asked for, if there is more to train."""
    from bench.records.origin import note_other_revisions

    said = note_other_revisions(store.records(have), request.out) if left and have else None
    if said is not None:
        print_note(said)


def _refuse_an_empty_report(planned: Plan, store: Store, request: Request) -> None:
    """Raise UsageError where `--when` leaves nothing to run and there is no result to show either."""
    from bench.execution.study import split_by_stored

    if request.when in ("missing", "always"):
        return
    todo, have = split_by_stored(planned.specs, store, request.when)
    if not todo and not have:
        none = f"none of the {len(planned.specs)} runs asked for has a record in {request.out}"
        failed = ", and none has failed" if request.when == "failed" else ""
        raise UsageError(f"--when {request.when}: {none}{failed}, so there is nothing to report. Leave --when out")


def _conclude(
    request: Request,
    options: Mapping[str, Any],
    planned: Plan,
    runs: int,
    store: Store,
    outcome: StudyOutcome,
    processes: int,
    asked: frozenset[str],
) -> int:
    """Write the boards, print the tables of the settings `asked` for, and say what of the `runs` seen to is missing.

    The tables show all that the store has of the whole plan, other shards' runs too.
    """
    from bench.reporting.publish import publish_boards

    unwritten = 0
    try:
        publish_boards(
            list(store.records()),
            failures=list(store.failures()),
            asked=asked,
            budget=None
            if request.budget is None
            else replace(compute_budget.parse_budget(request.budget), settings=asked),
            planned=planned,
            command=command_line(options, processes),
            boards=Path(request.boards),
            select="last",
            form=request.format,
        )
    except UsageError as error:  # too late for a wrong request: the runs are done
        unwritten = 1
        print_note(str(error))
    for run_id, reason in list(outcome.failed.items())[:10]:
        print_note(f"failed: {run_id}: {reason}")
    if len(outcome.failed) > 10:
        print_note(f"  ... and {len(outcome.failed) - 10} more")
    if outcome.left:
        ever = "the same command goes on with them" if request.when == "missing" else "leave --when out to train them"
        print_note(f"{len(outcome.left)} of {runs} runs are left; {ever}")
    return outcome.exit_code or unwritten
