"""`run --budget equal-compute`: waves of ordinary runs, each planned by the costs of the waves before it.

Read `run_compute_waves` first. The rules of lengths and members are in `bench.planning.compute_budget`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.planning import compute_budget
from bench.planning.compute_budget import ComputeCandidate, RowProgress
from bench.planning.cost import DeclaredCosts
from bench.planning.facts import Facts
from bench.planning.plan import LeftOut, Plan
from bench.planning.request import Request
from bench.planning.resolve_run import Refused, refuse_misfit
from bench.spec import RunSpec
from bench.system.console import print_note
from bench.system.errors import UsageError, list_offenders
from bench.system.text import format_large

if TYPE_CHECKING:
    from bench.execution.study import StudyOutcome
    from bench.records.store import Store


RunWave = Callable[[Sequence[RunSpec]], "StudyOutcome"]
MOST_WAVES = 20
"""More waves than ever follow: a length is corrected downwards two or three times at most."""


def drop_unaffordable(request: Request, planned: Plan, facts: Facts, costs: DeclaredCosts) -> Plan:
    """The plan without methods that a typed allowance can't pay one epoch of, going by declared costs.

    Raises UsageError where one of them was named outright, or where none is left.
    """
    limit = compute_budget.parse_budget(str(request.budget)).units
    if limit is None:
        return planned
    named_outright = {method.selected.name for method in facts.requested if method.selected.outright}
    left_out: dict[LeftOut, None] = {}
    affordable = []
    for spec in planned.specs:
        epoch = costs.units(compute_budget.resize_run(spec, ComputeCandidate(1, 1)))
        if epoch <= limit:
            affordable.append(spec)
            continue
        item = _too_dear(spec, f"about {epoch:.4g}", epoch, limit)
        if spec.method in named_outright:
            raise UsageError(f"{spec.method} can't take part: {item.reason}, or leave it out of --methods")
        left_out[item] = None
    if not affordable:
        raise UsageError(
            f"--budget {request.budget}: none of the methods can take part\n"
            + list_offenders([f"{item.method}: {item.reason}" for item in left_out])
        )
    return replace(planned, specs=tuple(affordable), left_out=(*planned.left_out, *left_out))


def run_compute_waves(
    request: Request, facts: Facts, planned: Plan, store: Store, run_wave: RunWave
) -> tuple[Plan, StudyOutcome]:
    """Carry out a plan, then the candidates that fit into each setting's allowance; returns the whole plan and outcome.

    The first wave is the plan itself, which shows what each method costs. Every further wave is planned from records
    alone, so that a stopped search goes on where it was without a state of its own.
    """
    limit = compute_budget.parse_budget(str(request.budget)).units
    rows = compute_budget.rows_of_plan(planned.specs)
    outcome = run_wave(planned.specs)
    specs = {spec.run_id: spec for spec in planned.specs}
    left_out: dict[LeftOut, None] = {}
    for wave in range(2, MOST_WAVES):
        if outcome.interrupted_signal is not None:
            break
        allowances = _learn_costs(rows, store, limit)
        candidates, unaffordable = _plan_candidates(rows, allowances, facts, request)
        left_out |= dict.fromkeys(unaffordable)
        new_specs = {spec.run_id: spec for spec in candidates if spec.run_id not in specs}
        if not new_specs:
            break
        specs |= new_specs
        units = " and ".join(dict.fromkeys(f"{allowance:.4g}" for allowance in sorted(allowances.values())))
        name = {2: "second", 3: "third"}.get(wave, f"{wave}th")
        print_note(f"equal compute, {name} wave: {len(new_specs):,} runs within {units} units for each training image")
        later = run_wave(list(new_specs.values()))
        outcome = replace(
            later,
            finished=(*outcome.finished, *later.finished),
            failed={**outcome.failed, **later.failed},
            skipped=(*outcome.skipped, *later.skipped),
            left=(*outcome.left, *later.left),
        )
    for item in left_out:
        print_note(f"left out: {item.method} ({item.noise}): {item.reason}")
    return replace(planned, specs=tuple(specs.values()), left_out=(*planned.left_out, *left_out)), outcome


def foresee_waves(request: Request, facts: Facts, planned: Plan, costs: DeclaredCosts) -> str:
    """A sentence on the waves that a dry run can't plan, going by declared costs."""
    limit = compute_budget.parse_budget(str(request.budget)).units
    rows = compute_budget.rows_of_plan(planned.specs)
    for row in rows:
        for epochs in range(1, row.spec.epochs + 1):
            row.costs[epochs] = costs.units(row.spec) * epochs / row.spec.epochs
    allowances = compute_budget.compute_allowances(rows, limit)
    runs, total = 0, 0.0
    for row in rows:
        epoch_units = row.costs[row.spec.epochs] / row.spec.epochs
        allowance = allowances[row.spec.setting_id]
        most = compute_budget.longest_training(row.costs, allowance)
        row.costs |= {epochs: epoch_units * epochs for epochs in range(1, most + 1)}
        candidates = set(compute_budget.compute_candidates(row.costs, row.spec.epochs, allowance))
        candidates.discard(ComputeCandidate(row.spec.epochs, 1))
        runs += len(candidates) * len(row.firsts)
        units = sum(epoch_units * candidate.epochs * candidate.members for candidate in candidates)
        total += units * len(row.firsts)
    images = facts.samples * (1 - planned.specs[0].hold_out)
    return (
        f"this is the first wave of --budget {request.budget}: what further lengths and members are tried depends on "
        f"what these runs cost. By declared costs, about {runs:,} runs and {format_large(total * images)} forward "
        "passes of an image more"
    )


def _learn_costs(rows: Sequence[RowProgress], store: Store, limit: float | None) -> dict[str, float]:
    """Take each row's costs from the store's records; returns each setting's allowance."""
    for row in rows:
        for epochs in {row.spec.epochs, *(candidate.epochs for candidate in row.candidates)}:
            runs = row.runs(ComputeCandidate(epochs, 1))
            records = {spec.run_id: record for spec in runs if (record := store.read(spec.run_id)) is not None}
            row.learn(records, epochs)
    return compute_budget.compute_allowances(rows, limit)


def _plan_candidates(
    rows: Iterable[RowProgress], allowances: Mapping[str, float], facts: Facts, request: Request
) -> tuple[list[RunSpec], list[LeftOut]]:
    """The runs of all candidates that the costs so far call for, and the methods of which no epoch fits."""
    noises = {(noise.name, noise.sha256): noise for noise in facts.noises}
    specs: list[RunSpec] = []
    unaffordable = []
    for row in rows:
        spec, noise = row.spec, noises[row.spec.noise, row.spec.noise_sha256]
        allowance = allowances.get(row.spec.setting_id)
        if allowance is None or not row.costs:
            continue
        candidates = compute_budget.compute_candidates(row.costs, spec.epochs, allowance)
        if not candidates:
            epoch = max(units / epochs for epochs, units in row.costs.items())
            unaffordable.append(_too_dear(spec, f"{epoch:.4g}", epoch, allowance))
        for candidate in candidates:
            with suppress(Refused):  # the method can't train at this length
                refuse_misfit(request, facts, noise, compute_budget.resize_run(spec, candidate))
                row.candidates.add(candidate)
                specs += row.runs(candidate)
    return specs, unaffordable


def _too_dear(spec: RunSpec, cost: str, epoch: float, allowance: float) -> LeftOut:
    """A method that can't take part, since an epoch costs more than the allowance. `cost` is `epoch` in words."""
    reason = (
        f"an epoch of it costs {cost} units for each training image, more than the {allowance:.4g} of a whole run; "
        f"type --budget {compute_budget.EQUAL_COMPUTE}:{math.ceil(epoch)} or more"
    )
    return LeftOut(spec.method, reason, spec.noise, spec.rate)
