"""`run --dry-run`: the plan, what is stored of it, and the expected cost of the rest. Trains and writes nothing.

`compare_with_store` makes a `DryRun`, and `show_dry_run` prints it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.execution.study import When, split_by_stored
from bench.planning.cost import DeclaredCosts, TimeForecast, forecast_seconds, sample_records
from bench.planning.facts import Facts
from bench.planning.plan import Plan
from bench.planning.shards import Shard, plan_name
from bench.records.store import Store
from bench.spec import SEEDS, RunSpec
from bench.system.console import write_json, write_page, write_text
from bench.system.text import format_duration, format_large, number_spans

NOT_SEEDS = tuple(name for name in RunSpec.model_fields if name not in SEEDS)


@dataclass(frozen=True)
class DryRun:
    """A study before it runs: its part of the plan, the stored runs of that part, and the expected cost of the rest."""

    planned: Plan
    shard: Shard | None
    specs: tuple[RunSpec, ...]
    """The shard's part of the plan; all of it without a shard."""
    stored: frozenset[str]
    failed: frozenset[str]
    todo: tuple[RunSpec, ...]
    jobs: int
    passes: float
    """Forward passes of a training image that `todo` amounts to, a backward pass counting as two."""
    forecast: TimeForecast
    later: str | None = None
    """A sentence on the part of the study that can't be planned before these runs are there."""
    features: str | None = None
    """A sentence on the features that have to be made of images first."""


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
    records = sample_records(planned.specs, stored, store) if todo else ()
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
        forecast=forecast_seconds(todo, records, costs),
        features=None if facts.features is None else facts.features.describe(),
    )


def show_dry_run(dry: DryRun, form: str) -> None:
    """Print a dry run to standard output."""
    if form == "json":
        write_json(_as_json(dry))
    elif form == "csv":
        rows = _rows(dry)
        table = csv.DictWriter(text := io.StringIO(), list(rows[0]) if rows else [], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(text.getvalue())
    else:
        _print_page(dry)


def _as_json(dry: DryRun) -> Mapping[str, Any]:
    todo = {spec.run_id for spec in dry.todo}
    return {
        "plan": plan_name(dry.planned.specs),
        "shard": None if dry.shard is None else asdict(dry.shard),
        "runs": [
            {
                "run_id": spec.run_id,
                "stored": spec.run_id in dry.stored,
                "to_train": spec.run_id in todo,
                "spec": spec.model_dump(mode="json"),
            }
            for spec in dry.specs
        ],
        "stored": len(dry.stored),
        "failed": len(dry.failed),
        "to_train": len(todo),
        "expected": {
            "forward_passes": dry.passes,
            "seconds": dry.forecast.seconds if dry.forecast.wall(1) is not None else None,
            "jobs": dry.jobs,
            "seconds_with_jobs": dry.forecast.wall(dry.jobs),
            "runs_by_own_method": dry.forecast.by_method,
            "runs_by_other_methods": dry.forecast.by_others,
            "runs_unknown": dry.forecast.unknown,
        },
        "later": dry.later,
        "features": dry.features,
        "left_out": [
            {"method": left.method, "noise": left.noise, "rate": left.rate, "reason": left.reason}
            for left in dry.planned.left_out
        ],
    }


def _print_page(dry: DryRun) -> None:
    from bench.cli.pages import table

    rows = _rows(dry)
    if rows:
        write_page(table(list(rows[0]), [list(row.values()) for row in rows], fold=True))
    write_text("\n" + "\n".join(summarise_dry_run(dry)))
    for left in dry.planned.left_out:
        rate = "" if left.rate is None else f" {left.rate:g}"
        name = left.method if left.noise is None else f"{left.method} ({left.noise}{rate})"
        write_text(f"left out: {name}: {left.reason}")


def summarise_dry_run(dry: DryRun) -> list[str]:
    """Lines on the number of runs, on their cost and on their time."""
    count = len(dry.specs)
    lines = [f"{count} runs: {len(dry.stored)} stored, {len(dry.todo)} to train"]
    if dry.failed:
        lines[0] += f"; {len(dry.failed)} failed before"
    if dry.shard is not None:
        lines[0] = f"shard {dry.shard} of {len(dry.planned.specs)} runs: {lines[0]}"
    lines[0] += f" (plan {plan_name(dry.planned.specs)})"
    if dry.todo:
        lines.append(f"expected cost: {format_large(dry.passes)} forward passes of an image (a backward pass is two)")
        lines.append(f"expected time: {_describe_time(dry)}")
    if dry.features is not None:
        lines.append(dry.features)
    if dry.later is not None:
        lines.append(dry.later)
    return lines


def _describe_time(dry: DryRun) -> str:
    """The expected time in words, and the records that it rests on."""
    expected, wall = dry.forecast, dry.forecast.wall(dry.jobs)
    if wall is None:
        return "unknown, since no record in the output folder is of comparable runs"
    at_once = f"{dry.jobs} at a time" if dry.jobs > 1 else "one after another"
    grounds = []
    if expected.by_method:
        grounds.append(f"the same method ({expected.by_method} runs)")
    if expected.by_others:
        grounds.append(f"other methods, scaled by cost ({expected.by_others} runs)")
    words = f"{format_duration(wall)}, {at_once}, going by records of {' and of '.join(grounds)}"
    return f"{words}; beside it {expected.unknown} runs of unknown time" if expected.unknown else words


def _rows(dry: DryRun) -> list[dict[str, str]]:
    """One row for each method, parameters, noise and rate."""
    groups: dict[str, list[RunSpec]] = {}
    for spec in dry.specs:
        groups.setdefault(repr([getattr(spec, name) for name in NOT_SEEDS]), []).append(spec)
    papers = any(spec.recipe_source for spec in dry.specs)
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
            **({"recipe of": specs[0].recipe_source or ""} if papers else {}),
            "told": ", ".join(specs[0].privileges),
            "seeds": _format_seeds([spec.seed for spec in specs]),
            "stored": f"{sum(spec.run_id in dry.stored for spec in specs)} of {len(specs)}",
        }
        for specs in groups.values()
    ]


def _format_seeds(seeds: Sequence[int]) -> str:
    """Spans of seeds: 0, 1, 2, 3, 7 -> "0-3, 7"."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in number_spans(seeds))
