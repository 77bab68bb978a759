"""What the user typed -> the runs it asks for. Pure: everything looked up arrives as `Facts`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.planning import recipe_choice
from bench.planning.facts import Facts, PlannedNoise
from bench.planning.request import Request
from bench.planning.resolve_run import (
    Refused,
    data_fields,
    noise_seed,
    resolve_run,
    split_seed,
    training_fields,
)
from bench.spec import RESERVED_SEEDS, RunSpec
from bench.system.errors import UsageError, list_offenders


@dataclass(frozen=True)
class LeftOut:
    """A method that a glob or `all` brought in and that can't run: why, and for which noise (None: for none)."""

    method: str
    reason: str
    noise: str | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Plan:
    """The runs asked for, each once, what was left out, and what the user should know of them."""

    specs: tuple[RunSpec, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()


def make_plan(request: Request, facts: Facts) -> Plan:
    """The runs of a request, replicate by replicate, so that whatever is finished first can be compared.

    Raises UsageError where a method named outright can't run, or where nothing can.
    """
    refuse_lonely_batch_norm(request, facts)
    facts, notes = recipes_in_force(request, facts)
    specs: list[RunSpec] = []
    left_out: dict[LeftOut, None] = {}
    for noise, rate in noise_settings(request, facts):
        firsts: dict[str, RunSpec] = {}
        for method in facts.requested:
            try:
                spec = resolve_run(request, facts, method, noise, rate)
            except Refused as refused:
                if method.selected.outright:
                    raise UsageError(
                        f"{method.selected.name} can't run here: {refused.reason}. Leave it out of --methods"
                    ) from None
                left_out[LeftOut(method.selected.name, refused.reason, noise.name, rate)] = None
            else:
                firsts.setdefault(spec.run_id, spec)
        for seed in request.seeds:
            seeds = {"seed": seed, "split_seed": split_seed(request, seed), "noise_seed": noise_seed(request, seed)}
            specs += [spec.model_copy(update=seeds) for spec in firsts.values()]
    if not specs:
        reasons = [f"{each.method}: {each.reason}" for each in left_out]
        raise UsageError(
            "none of the methods can run here. Try --methods all, or another --noise\n" + list_offenders(reasons)
        )
    if any(seed >= RESERVED_SEEDS for seed in request.seeds):
        notes = (*notes, f"seeds from {RESERVED_SEEDS:,} up are for choosing: their runs stand on no board")
    return Plan(tuple(specs), tuple(left_out), notes)


def recipes_in_force(request: Request, facts: Facts) -> tuple[Facts, tuple[str, ...]]:
    """The facts with those recipe files alone that hold for this request, and notes on one that doesn't.

    Raises UsageError where a file that `--recipes` names doesn't hold.
    """
    if (facts.grid is None and facts.study is None) or request.protocol == "paper":
        return replace(facts, grid=None, study=None), ()
    fields = training_fields(request, facts, recipe_choice.RecipeChoice(None))
    probe = RunSpec(method="-", noise="-", **data_fields(request, facts), **fields)
    # a study's values are its own: the grid's file then says no more than which table they stand in
    outright = [each.declaration for each in facts.requested if each.selected.outright and facts.study is None]
    grid, notes = recipe_choice.applicable_grid(facts.grid, probe, request, outright)
    return replace(facts, grid=grid, study=recipe_choice.applicable_study(facts.study, probe)), notes


def refuse_lonely_batch_norm(request: Request, facts: Facts) -> None:
    """Raise UsageError where batch statistics can't be shared: on processors, or with nobody to share them."""
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
    """Every noise with every rate, each once; a noise without a rate takes part once."""
    seen = set()
    for noise in facts.noises:
        for rate in dict.fromkeys(request.rate) if noise.takes_rate else (None,):
            key = (noise.name, noise.sha256, rate)
            if key not in seen:
                seen.add(key)
                yield noise, rate
