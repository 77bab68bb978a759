"""`run --dry-run`: the plan, what is stored of it, and what the rest is expected to cost. Trains and writes nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.execution.study import When, split_by_stored
from bench.planning.cost import DeclaredCosts, TimeForecast, forecast_seconds, sample_records
from bench.planning.facts import Facts
from bench.planning.plan import LeftOut, Plan
from bench.planning.shards import Shard, plan_name
from bench.records.store import Store
from bench.spec import SEEDS, RunSpec
from bench.system.console import write_json, write_page, write_text
from bench.system.text import format_duration, format_large, number_spans

NOT_SEEDS = tuple(name for name in RunSpec.model_fields if name not in SEEDS)


@dataclass(frozen=True)
class DryRun:
    """What a study would do: its part of the plan, what of it the store has, and the rest's expected cost."""

    planned: Plan
    shard: Shard | None
    specs: tuple[RunSpec, ...]
    """The part that this command would see to; all of the plan without a shard."""
    stored: frozenset[str]
    failed: frozenset[str]
    todo: tuple[RunSpec, ...]
    jobs: int
    passes: float
    """Forward passes of a training image that `todo` amounts to, a backward pass counting as two."""
    forecast: TimeForecast
    later: str | None = None
    """What of the study can't be planned before these runs are there."""


def compare_with_store(
    planned: Plan,
    specs: Sequence[RunSpec],
    shard: Shard | None,
    store: Store,
    when: When,
    facts: Facts,
    costs: DeclaredCosts,
    jobs: int,
) -> DryRun:
    """Compare a plan with a store. Opens at most `bench.planning.cost.MOST_READ` records."""
    ids = [spec.run_id for spec in specs]
    stored = store.finished(ids)
    todo, _ = split_by_stored(specs, store, when)
    images = {spec.hold_out: facts.samples * (1 - spec.hold_out) for spec in specs}
    return DryRun(
        planned=planned,
        shard=shard,
        specs=tuple(specs),
        stored=frozenset(stored),
        failed=frozenset(store.failed(ids)),
        todo=tuple(todo),
        jobs=max(1, min(jobs, len(todo))),
        passes=sum(costs.units(spec) * images[spec.hold_out] for spec in todo),
        forecast=forecast_seconds(todo, sample_records(planned.specs, stored, store), costs)
        if todo
        else TimeForecast(),
    )


def show_dry_run(found: DryRun, form: str) -> None:
    """Print a dry run to standard output."""
    if form == "json":
        write_json(_as_json(found))
    elif form == "csv":
        rows = _rows(found)
        table = csv.DictWriter(text := io.StringIO(), list(rows[0]) if rows else [], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(text.getvalue())
    else:
        _print_page(found)


def _as_json(found: DryRun) -> Mapping[str, Any]:
    todo = {spec.run_id for spec in found.todo}
    return {
        "plan": plan_name(found.planned.specs),
        "shard": None if found.shard is None else asdict(found.shard),
        "runs": [
            {
                "run_id": spec.run_id,
                "stored": spec.run_id in found.stored,
                "to_train": spec.run_id in todo,
                "spec": spec.model_dump(mode="json"),
            }
            for spec in found.specs
        ],
        "stored": len(found.stored),
        "failed": len(found.failed),
        "to_train": len(todo),
        "expected": {
            "forward_passes": found.passes,
            "seconds": found.forecast.seconds if found.forecast.wall(1) is not None else None,
            "jobs": found.jobs,
            "seconds_with_jobs": found.forecast.wall(found.jobs),
            "runs_by_own_method": found.forecast.by_method,
            "runs_by_other_methods": found.forecast.by_others,
            "runs_unknown": found.forecast.unknown,
        },
        "later": found.later,
        "left_out": [
            {"method": each.method, "noise": each.noise, "rate": each.rate, "reason": each.reason}
            for each in found.planned.left_out
        ],
    }


def _print_page(found: DryRun) -> None:
    from rich.table import Table

    from bench.cli.pages import escape_markup

    rows = _rows(found)
    if rows:
        drawn = Table(box=None, pad_edge=False, header_style="bold")
        for name in rows[0]:
            drawn.add_column(name, overflow="fold")
        for row in rows:
            drawn.add_row(*escape_markup(row.values()))
        write_page(drawn)
    write_text("\n" + "\n".join(summarise_dry_run(found)))
    for each in found.planned.left_out:
        write_text(f"left out: {_named(each)}: {each.reason}")


def summarise_dry_run(found: DryRun) -> list[str]:
    """What there is to do, what it costs, how long it takes; a line each."""
    count = len(found.specs)
    lines = [f"{count} runs: {len(found.stored)} stored, {len(found.todo)} to train"]
    if found.failed:
        lines[0] += f"; {len(found.failed)} failed before"
    if found.shard is not None:
        lines[0] = f"shard {found.shard} of {len(found.planned.specs)} runs: {lines[0]}"
    lines[0] += f" (plan {plan_name(found.planned.specs)})"
    if found.todo:
        lines.append(f"expected cost: {format_large(found.passes)} forward passes of an image (a backward pass is two)")
        lines.append(f"expected time: {_time(found)}")
    if found.later is not None:
        lines.append(found.later)
    return lines


def _time(found: DryRun) -> str:
    """Seconds in words, and what they rest on."""
    expected, wall = found.forecast, found.forecast.wall(found.jobs)
    if wall is None:
        return "unknown, since no record in the output folder is of comparable runs"
    at_once = f"{found.jobs} at a time" if found.jobs > 1 else "one after another"
    grounds = []
    if expected.by_method:
        grounds.append(f"the same method ({expected.by_method} runs)")
    if expected.by_others:
        grounds.append(f"other methods, scaled by cost ({expected.by_others} runs)")
    words = f"{format_duration(wall)}, {at_once}, going by records of {' and of '.join(grounds)}"
    return f"{words}; beside it {expected.unknown} runs of unknown time" if expected.unknown else words


def _named(each: LeftOut) -> str:
    if each.noise is None:
        return each.method
    return f"{each.method} ({each.noise}{'' if each.rate is None else f' {each.rate:g}'})"


def _rows(found: DryRun) -> list[dict[str, str]]:
    """One row for each method, parameters, noise and rate."""
    groups: dict[str, list[RunSpec]] = {}
    for spec in found.specs:
        groups.setdefault(repr([getattr(spec, name) for name in NOT_SEEDS]), []).append(spec)
    return [
        {
            "method": specs[0].method,
            "parameters": ", ".join(f"{name}={value}" for name, value in specs[0].parameters.items()),
            "data set": specs[0].data_set,
            "noise": specs[0].noise,
            "rate": "" if specs[0].rate is None else f"{specs[0].rate:g}",
            "model": specs[0].model,
            "members": str(specs[0].members),
            "epochs": str(specs[0].epochs),
            "lr": f"{specs[0].learning_rate:g}",
            "weight decay": f"{specs[0].weight_decay:g}",
            "told": ", ".join(specs[0].privileges),
            "seeds": _spans([spec.seed for spec in specs]),
            "stored": f"{sum(spec.run_id in found.stored for spec in specs)} of {len(specs)}",
        }
        for specs in groups.values()
    ]


def _spans(seeds: Sequence[int]) -> str:
    """0, 1, 2, 3, 7 -> "0-3, 7"."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in number_spans(seeds))
