"""`run`: plan, study, boards. The request is judged whole before anything is trained or written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import budget, machine, registry, room, shards
from bench import look_up as lookup
from bench.commands import equal_compute
from bench.commands.looking import look_up
from bench.commands.output import check_folder, note
from bench.commands.words import command_line
from bench.errors import UsageError
from bench.executors import Executor, KeptOpen, together
from bench.expected_costs import Costs
from bench.facts import Facts
from bench.plan import Plan, plan
from bench.request import Request
from bench.spec import RunSpec, Runtime

if TYPE_CHECKING:
    from bench.executors.cluster.nodes import Cluster
    from bench.store import Store
    from bench.study import Outcome


def run_command(options: Mapping[str, Any]) -> int:
    """Carry out a request as typed; returns the exit code.

    Under torchrun every process calls this: the first leads, the others train along and print nothing.
    """
    request = Request.typed(**options)
    shard = None if request.shard is None else shards.parse(request.shard, os.environ)
    here = together.world()
    if here.size > 1 and request.executor == "ray":
        raise UsageError("--executor ray: not under torchrun, whose processes train one run together. Leave one out")
    if here.number > 0:
        if not request.dry_run:
            together.follow(Path(request.out), together.join(here, machine.resolve_device(request.device)), here)
        return 0
    from bench.store import Store

    lookup.check_names(request)
    store = Store(Path(request.out), on_problem=lambda problem: note(f"note: {problem}"))
    if not request.dry_run:
        check_folder("--out", Path(request.out))
        check_folder("--boards", Path(request.boards))
    with ExitStack() as held:
        cluster = _cluster_to_join(request)
        if cluster is not None:
            held.callback(cluster.close)
        return _carry_out(request, options, shard, here, store, cluster)


def _cluster_to_join(request: Request) -> Cluster | None:
    """A connection to the cluster that the request names, since what its nodes are is one of the plan's facts.

    None where there is none: a cluster of this machine alone is started when there is something to run.
    """
    if request.executor == "local":
        return None
    from bench.executors.cluster import address, nodes

    address.check_installed()
    return None if address.is_own(request.ray_address) else nodes.connect(request, registry.plugins())


def _carry_out(
    request: Request,
    options: Mapping[str, Any],
    shard: shards.Shard | None,
    here: together.World,
    store: Store,
    cluster: Cluster | None,
) -> int:
    """Look up, plan, run what is missing, and write the boards."""
    from bench.study import left_to_run

    facts = replace(look_up(request, None if cluster is None else cluster.hardware), processes=here.size)
    note_placement(request, facts)
    planned = plan(request, facts)
    costs = Costs(facts.methods, registry.models())
    if request.budget is not None:
        planned = equal_compute.affordable(request, planned, facts, costs)
    specs = planned.specs if shard is None else shard.of(planned.specs, costs.work)
    for each in planned.notes:
        note(f"note: {each}")
    if here.size > 1 and request.jobs not in (None, 1):
        raise UsageError(f"--jobs {request.jobs}: under torchrun the processes train one run at a time. Leave it out")
    runs = here.local_size if here.size > 1 else len(specs)
    if request.budget is not None:  # later waves hold more
        runs = max(runs, facts.cores)
    left, have = left_to_run(specs, store, request.when)
    made = _room(request, facts, here, left, runs)
    if request.dry_run:
        jobs = made.jobs if cluster is None else cluster.share(runs)[0]
        return _show_plan(request, facts, planned, specs, shard, store, costs, jobs)
    _refuse_an_empty_report(planned, store, request)
    if shard is not None:
        _say_shard(shard, planned, specs, request, facts)
    _say_revisions(left, have, store, request)
    from bench.progress import open_display
    from bench.study import run_study

    with ExitStack() as held:
        facts, make = _executor(request, facts, here, cluster, runs, store, held)

        def carry_out(wave: Sequence[RunSpec]) -> Outcome:
            return run_study(
                wave,
                runtimes(request, facts, made),
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
            planned, outcome = equal_compute.search(request, facts, planned, store, carry_out)
            specs = planned.specs
    return _conclude(request, options, planned, len(specs), store, outcome, here.size, first)


def _room(request: Request, facts: Facts, here: together.World, left: Sequence[RunSpec], runs: int) -> room.Room:
    """How many runs at a time, and what each may take. A cluster's nodes and torchrun's processes see to themselves."""
    if here.size > 1 or request.executor != "local":
        at_once = here.local_size if here.size > 1 else request.jobs
        return room.Room(*machine.share(facts.cores, runs, facts.device, at_once))
    return room.share(left, facts, runs, request.jobs, note, at_most=None if request.budget else len(left))


def _show_plan(
    request: Request,
    facts: Facts,
    planned: Plan,
    specs: Sequence[RunSpec],
    shard: shards.Shard | None,
    store: Store,
    costs: Costs,
    jobs: int,
) -> int:
    """Print what would be run, and what it would cost; returns the exit code."""
    from bench.commands import dry_run

    found = dry_run.look(planned, specs, shard, store, request.when, facts, costs, jobs)
    if request.budget is not None:
        found = replace(found, later=equal_compute.foreseen(request, facts, planned, costs))
    dry_run.show(found, request.format)
    return 0


def _executor(
    request: Request,
    facts: Facts,
    here: together.World,
    cluster: Cluster | None,
    runs: int,
    store: Store,
    held: ExitStack,
) -> tuple[Facts, Callable[[], Executor] | None]:
    """What carries runs out (None: workers of this machine), and the facts with the device that is this process's.

    What is opened is closed when `held` ends; a cluster of Ray's is joined once there is something to run.
    """
    if here.size > 1:
        facts = replace(facts, device=together.join(here, facts.device))
        leader = together.TogetherExecutor(store.root, store.lease)
        held.callback(leader.close)
        return facts, partial(KeptOpen, leader)
    if request.executor == "ray":
        on_ray = cache(partial(_on_ray, cluster, request, facts, runs, store, held))
        return facts, lambda: KeptOpen(on_ray())
    return facts, None


def _on_ray(
    joined: Cluster | None, request: Request, facts: Facts, runs: int, store: Store, held: ExitStack
) -> Executor:
    """Workers on the cluster that was joined, or on one of this machine alone; both are left when `held` ends."""
    from bench.executors.cluster import executor, nodes

    cluster = joined or nodes.connect(request, registry.plugins())
    held.callback(cluster.close)
    noises = ((noise.typed, noise.sha256) for noise in facts.noises)
    cluster.admit_for(request, facts.data_sha256, noises, stream=facts.images == "disk")
    made = executor.RayExecutor(cluster, store, cluster.share(runs)[1])
    held.callback(made.close)
    return made


def _say_shard(shard: shards.Shard, planned: Plan, specs: Sequence[RunSpec], request: Request, facts: Facts) -> None:
    """Say which part of which plan this is, and what could make another machine plan otherwise."""
    whole = len(planned.specs)
    note(f"shard {shard}: {len(specs)} of {whole} runs; plan {shards.name_of_plan(planned.specs)} on every machine")
    if request.precision == "auto" and facts.protocol.precision == "auto":
        note(
            f"note: --precision auto is {facts.precision} here; where it is another, other runs are planned. "
            f"Type --precision {facts.precision} if the machines differ"
        )


def _say_revisions(left: Sequence[RunSpec], have: Sequence[str], store: Store, request: Request) -> None:
    """Say which other revisions of the code have trained a part of what is asked for, if there is more to train."""
    from bench.commands.revisions import other_revisions

    said = other_revisions(store.records(have), request.out) if left and have else None
    if said is not None:
        note(said)


def note_placement(request: Request, facts: Facts) -> None:
    """Say where images are kept and why, where nobody asked for it and it isn't the device."""
    if request.images == "auto" and facts.images != "device":
        where = {"host": "in memory", "disk": "on disk"}[facts.images]
        note(f"note: images stay {where} and go to the device a batch at a time: {facts.images_why}")


def runtimes(request: Request, facts: Facts, made: room.Room) -> Callable[[RunSpec], Runtime]:
    """How each run is carried out: all alike, but for the noise's own path."""
    typed = {(noise.name, noise.sha256): noise.typed for noise in facts.noises}
    common = {
        "data_source": request.dataset,
        "labels_source": request.labels,
        "data_root": request.data_root,
        "download": request.download,
        "cache": str(registry.cache_folder()),
        "device": facts.device,
        "threads": made.threads,
        "steps": request.steps,
        "images": facts.images,
        "card_bytes": made.card_bytes,
        "plugins": registry.plugins(),
    }
    by_noise = {key: Runtime(noise_source=text, **common) for key, text in typed.items()}
    return lambda spec: by_noise[spec.noise, spec.noise_sha256]


def _refuse_an_empty_report(planned: Plan, store: Store, request: Request) -> None:
    """Raise UsageError where `--when` leaves nothing to run and there is no result to show either."""
    from bench.study import left_to_run

    if request.when in ("missing", "always"):
        return
    todo, have = left_to_run(planned.specs, store, request.when)
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
    outcome: Outcome,
    processes: int,
    asked: frozenset[str],
) -> int:
    """Write the boards, print the tables of the settings `asked` for, and say what of the `runs` seen to is missing.

    The tables show all that the store has of the whole plan, other shards' runs too.
    """
    from bench.commands.report import publish

    unwritten = 0
    try:
        publish(
            list(store.records()),
            failures=list(store.failures()),
            asked=asked,
            budget=None if request.budget is None else replace(budget.parse(request.budget), settings=asked),
            planned=planned,
            command=command_line(options, processes),
            boards=Path(request.boards),
            select="last",
            form=request.format,
        )
    except UsageError as error:  # too late for a wrong request: the runs are done
        unwritten = 1
        note(str(error))
    for run_id, reason in list(outcome.failed.items())[:10]:
        note(f"failed: {run_id}: {reason}")
    if len(outcome.failed) > 10:
        note(f"  ... and {len(outcome.failed) - 10} more")
    if outcome.left:
        ever = "the same command goes on with them" if request.when == "missing" else "leave --when out to train them"
        note(f"{len(outcome.left)} of {runs} runs are left; {ever}")
    return outcome.exit_code or unwritten
