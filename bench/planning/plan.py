"""A request and its facts -> the runs that it asks for. Pure: everything looked up arrives as `Facts`.

Read `make_plan` first; `bench.planning.resolve_run` makes the spec of one method under one noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.planning import recipe_choice
from bench.planning.facts import Facts, PlannedNoise
from bench.planning.paper_protocol import paper_notes
from bench.planning.request import Request
from bench.planning.resolve_run import (
    Refused,
    choose_recipe,
    data_fields,
    replicate_seeds,
    resolve_run,
    training_fields,
)
from bench.spec import RESERVED_SEEDS, RunSpec
from bench.system.errors import UsageError, list_offenders


@dataclass(frozen=True)
class LeftOut:
    """A method that a glob or `all` selected and that can't run under a noise, with the reason."""

    method: str
    reason: str
    noise: str | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Plan:
    """The runs of a request, each once, the methods left out, and notes for the user."""

    specs: tuple[RunSpec, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()


def make_plan(request: Request, facts: Facts) -> Plan:
    """The runs of a request, noise by noise and replicate by replicate, so that the first to finish can be compared.

    Raises UsageError where a method named outright can't run, or where no method can.
    """
    refuse_lonely_batch_norm(request, facts)
    facts, notes = recipes_in_force(request, facts)
    specs: list[RunSpec] = []
    recipes: dict[str, Mapping[str, Any]] = {}
    sources: dict[str, str | None] = {}
    left_out: dict[LeftOut, None] = {}
    for noise, rate in noise_settings(request, facts):
        firsts: dict[str, RunSpec] = {}  # by run id: an alias and its name make one run
        for method in facts.requested:
            name = method.selected.name
            try:
                spec = resolve_run(request, facts, method, noise, rate)
            except Refused as refused:
                if method.selected.outright:
                    raise UsageError(f"{name} can't run here: {refused}. Leave it out of --methods") from None
                left_out[LeftOut(name, str(refused), noise.name, rate)] = None
            else:
                firsts.setdefault(spec.run_id, spec)
                if request.is_paper:
                    choice = choose_recipe(request, facts, method.declaration, noise.name, rate)
                    recipes[spec.method], sources[spec.method] = choice.recipe or {}, spec.recipe_source
        for seed in request.seeds:
            seeds = replicate_seeds(request, seed)
            specs += [spec.model_copy(update=seeds) for spec in firsts.values()]
    notes = (*notes, *note_left_out(left_out))
    if not specs:
        reasons = [f"{item.method}: {item.reason}" for item in left_out]
        raise UsageError(
            "none of the methods can run here. Try --methods all, or another --noise\n" + list_offenders(reasons)
        )
    if facts.grid is not None:
        notes = (*notes, *recipe_choice.note_older_versions(facts.grid.file, specs))
    notes = (*notes, *paper_notes(recipes, sources))
    if any(seed >= RESERVED_SEEDS for seed in request.seeds):
        notes = (*notes, f"seeds from {RESERVED_SEEDS:,} up are for choosing: their runs stand on no board")
    return Plan(tuple(specs), tuple(left_out), notes)


def note_left_out(left_out: Iterable[LeftOut]) -> list[str]:
    """A sentence with the number of methods that a glob or `all` brought in and that can't run, and the first one."""
    reasons = {item.method: item.reason for item in reversed(list(left_out))}
    if not reasons:
        return []
    method, reason = list(reasons.items())[-1]
    which = (
        f"1 method is left out: {method}"
        if len(reasons) == 1
        else f"{len(reasons)} methods are left out, such as {method}"
    )
    return [f"{which} ({reason})"]


def recipes_in_force(request: Request, facts: Facts) -> tuple[Facts, tuple[str, ...]]:
    """The facts without recipe files that don't apply to this request, and notes on a grid that doesn't.

    Raises UsageError where a file that `--recipes` names doesn't apply.
    """
    if (facts.grid is None and facts.study is None) or request.is_paper:
        return replace(facts, grid=None, study=None), ()
    fields = training_fields(request, facts, recipe_choice.RecipeChoice(None))
    example = RunSpec(method="-", noise="-", **data_fields(request, facts), **fields)
    # Beside a study, the grid's file only decides which table the runs stand in: it needs values for no method.
    outright = [method.declaration for method in facts.requested if method.selected.outright and facts.study is None]
    grid, notes = recipe_choice.applicable_grid(facts.grid, example, request, outright)
    return replace(facts, grid=grid, study=recipe_choice.applicable_study(facts.study, example)), notes


def refuse_lonely_batch_norm(request: Request, facts: Facts) -> None:
    """Raise UsageError where batch statistics can't be shared: on a CPU, or within a single process."""
    if not request.sync_batch_norm:
        return
    if not facts.device.startswith("cuda"):
        raise UsageError("--sync-batch-norm: PyTorch shares batch statistics between CUDA devices only. Leave it out")
    if facts.processes == 1:
        raise UsageError(
            "--sync-batch-norm: one process sees the whole batch anyway. Leave it out, or train on several: "
            "torchrun --nproc-per-node 2 -m bench run ... --sync-batch-norm"
        )


def noise_settings(request: Request, facts: Facts) -> Iterator[tuple[PlannedNoise, float | None]]:
    """Every noise with every rate, each pair once; a noise without a rate once, with None."""
    seen = set()
    for noise in facts.noises:
        for rate in request.rate if noise.takes_rate else (None,):
            key = (noise.name, noise.sha256, rate)
            if key not in seen:
                seen.add(key)
                yield noise, rate
