"""`run`: plan, study, boards. The request is judged whole before anything is trained or written."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import facts as lookup
from bench import machine, registry
from bench.commands.output import check_folder, note, write, write_json, write_page
from bench.commands.words import command_line
from bench.errors import UsageError
from bench.executors import together
from bench.plan import Facts, Plan, plan
from bench.request import Request
from bench.spec import RunSpec, Runtime

if TYPE_CHECKING:
    from bench.store import Store
    from bench.study import Outcome


def run_command(options: Mapping[str, Any]) -> int:
    """Carry out a request as typed; returns the exit code.

    Under torchrun every process calls this: the first leads, the others train along and print nothing.
    """
    request = Request.typed(**options)
    here = together.world()
    if here.number > 0:
        if not request.dry_run:
            together.follow(Path(request.out), together.join(here, machine.resolve_device(request.device)))
        return 0
    from bench.progress import open_display
    from bench.store import Store

    lookup.check_names(request)
    store = Store(Path(request.out), on_problem=lambda problem: note(f"note: {problem}"))
    if not request.dry_run:
        check_folder("--out", Path(request.out))
        check_folder("--boards", Path(request.boards))
    display = open_display()
    try:
        facts = lookup.look_up(request, display.decoding)
    finally:
        display.end()
    facts = replace(facts, processes=here.size)
    planned = plan(request, facts)
    if here.size > 1 and request.jobs not in (None, 1):
        raise UsageError(f"--jobs {request.jobs}: under torchrun the processes train one run at a time. Leave it out")
    at_once = here.local_size if here.size > 1 else request.jobs
    runs = here.local_size if here.size > 1 else len(planned.specs)
    jobs, threads = machine.share(facts.cores, runs, facts.device, at_once)
    if request.dry_run:
        _print_plan(planned, request.format)
        return 0
    _refuse_an_empty_report(planned, store, request)
    from bench.study import run_study

    executor: together.TogetherExecutor | None = None
    if here.size > 1:
        facts = replace(facts, device=together.join(here, facts.device))
        executor = together.TogetherExecutor(store.root, store.lease)
    try:
        outcome = run_study(
            planned.specs,
            runtimes(request, facts, threads),
            store,
            jobs=jobs,
            when=request.when,
            display=open_display(),
            executor=executor,
        )
    finally:
        if executor is not None:
            executor.close()
    return _conclude(request, options, planned, store, outcome, here.size)


def runtimes(request: Request, facts: Facts, threads: int) -> Callable[[RunSpec], Runtime]:
    """How each run is carried out: all alike, but for the noise's own path."""
    typed = {(noise.name, noise.sha256): noise.typed for noise in facts.noises}
    common = {
        "data_source": request.dataset,
        "labels_source": request.labels,
        "data_root": request.data_root,
        "download": request.download,
        "cache": str(registry.cache_folder()),
        "device": facts.device,
        "threads": threads,
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
    request: Request, options: Mapping[str, Any], planned: Plan, store: Store, outcome: Outcome, processes: int
) -> int:
    """Write the boards, print the tables of what was asked for, and say what is missing."""
    from bench.commands.report import publish

    unwritten = 0
    try:
        publish(
            list(store.records()),
            failures=list(store.failures()),
            asked={spec.setting_id for spec in planned.specs},
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
        note(f"{len(outcome.left)} of {len(planned.specs)} runs are left; {ever}")
    return outcome.exit_code or unwritten


def _print_plan(planned: Plan, form: str) -> None:
    if form == "json":
        write_json(
            {
                "runs": [{"run_id": spec.run_id, "spec": spec.model_dump(mode="json")} for spec in planned.specs],
                "left_out": [
                    {"method": each.method, "noise": each.noise, "rate": each.rate, "reason": each.reason}
                    for each in planned.left_out
                ],
            }
        )
        return
    rows = _plan_rows(planned)
    if form == "csv":
        table = csv.DictWriter(text := io.StringIO(), list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write(text.getvalue())
        return
    from rich.table import Table

    from bench.show import escape_all

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        drawn.add_column(name, overflow="fold")
    for row in rows:
        drawn.add_row(*escape_all(row.values()))
    write_page(drawn)
    write(f"\n{len(planned.specs)} runs")
    for each in planned.left_out:
        where = "" if each.noise is None else f" ({each.noise}{'' if each.rate is None else f' {each.rate:g}'})"
        write(f"left out: {each.method}{where}: {each.reason}")


def _plan_rows(planned: Plan) -> list[dict[str, str]]:
    """One row for each method, parameters, noise and rate."""
    groups: dict[str, list[RunSpec]] = {}
    for spec in planned.specs:
        groups.setdefault(f"{spec.setting_id} {spec.method} {sorted(spec.parameters.items())}", []).append(spec)
    return [
        {
            "method": specs[0].method,
            "parameters": ", ".join(f"{name}={value}" for name, value in specs[0].parameters.items()),
            "data set": specs[0].data_set,
            "noise": specs[0].noise,
            "rate": "" if specs[0].rate is None else f"{specs[0].rate:g}",
            "model": specs[0].model,
            "epochs": str(specs[0].epochs),
            "lr": f"{specs[0].learning_rate:g}",
            "weight decay": f"{specs[0].weight_decay:g}",
            "told": ", ".join(specs[0].privileges),
            "seeds": _spans([spec.seed for spec in specs]),
        }
        for specs in groups.values()
    ]


def _spans(seeds: list[int]) -> str:
    """0, 1, 2, 3, 7 -> "0-3, 7"."""
    spans: list[list[int]] = []
    for seed in sorted(seeds):
        if spans and seed == spans[-1][1] + 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
