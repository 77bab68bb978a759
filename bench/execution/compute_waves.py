"""`run --budget equal-compute`: waves of ordinary runs, each planned by what those before it cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
"""More waves than any method's costs can ask for: lengths are corrected downwards, two or three times."""


def drop_unaffordable(request: Request, planned: Plan, facts: Facts, costs: DeclaredCosts) -> Plan:
    """The plan without methods that a typed allowance can't pay one epoch of, going by declared costs.

    Raises UsageError where one of them was named outright, or where none is left.
    """
    limit = compute_budget.parse_budget(str(request.budget)).units
    if limit is None:
        return planned
    outright = {asked.selected.name for asked in facts.requested if asked.selected.outright}
    dear: dict[LeftOut, None] = {}
    kept = []
    for spec in planned.specs:
        epoch = costs.units(compute_budget.resize_run(spec, ComputeCandidate(1, 1)))
        if epoch <= limit:
            kept.append(spec)
            continue
        reason = _too_dear(f"about {epoch:.4g}", epoch, limit)
        if spec.method in outright:
            raise UsageError(f"{spec.method} can't take part: {reason}, or leave it out of --methods")
        dear[LeftOut(spec.method, reason, spec.noise, spec.rate)] = None
    if not kept:
        raise UsageError(
            f"--budget {request.budget}: none of the methods can take part\n"
            + list_offenders([f"{each.method}: {each.reason}" for each in dear])
        )
    return replace(planned, specs=tuple(kept), left_out=(*planned.left_out, *dear))


def run_compute_waves(
    request: Request, facts: Facts, planned: Plan, store: Store, carry_out: RunWave
) -> tuple[Plan, StudyOutcome]:
    """Carry out a plan, then whatever else fits into each setting's allowance; returns all that was planned, and what
    became of it.

    The first wave is the plan itself: it says what each method costs. Every further wave is planned from records alone,
    so that a search that was stopped goes on where it was, with no state of its own.
    """
    limit = compute_budget.parse_budget(str(request.budget)).units
    tried = compute_budget.rows_of_plan(planned.specs)
    outcome = carry_out(planned.specs)
    specs = {spec.run_id: spec for spec in planned.specs}
    refused: dict[LeftOut, None] = {}
    for wave in range(2, MOST_WAVES):
        if outcome.interrupted_signal is not None:
            break
        allowances = _learn(tried, store, limit)
        wanted, too_dear = _further(tried, allowances, facts, request)
        refused |= dict.fromkeys(too_dear)
        further = {spec.run_id: spec for spec in wanted if spec.run_id not in specs}
        if not further:
            break
        specs |= further
        print_note(_announced(wave, len(further), allowances.values()))
        outcome = _joined(outcome, carry_out(list(further.values())))
    for each in refused:
        print_note(f"left out: {each.method} ({each.noise}): {each.reason}")
    return replace(planned, specs=tuple(specs.values()), left_out=(*planned.left_out, *refused)), outcome


def foresee_waves(request: Request, facts: Facts, planned: Plan, costs: DeclaredCosts) -> str:
    """What a dry run says of the waves that it can't plan, going by declared costs."""
    limit = compute_budget.parse_budget(str(request.budget)).units
    tried = compute_budget.rows_of_plan(planned.specs)
    for row in tried:
        for epochs in range(1, row.spec.epochs + 1):
            row.costs[epochs] = costs.units(row.spec) * epochs / row.spec.epochs
    allowances = compute_budget.compute_allowances(tried, limit)
    runs, total = 0, 0.0
    for row in tried:
        each = row.costs[row.spec.epochs] / row.spec.epochs
        allowance = allowances[row.spec.setting_id]
        most = compute_budget.longest_training(row.costs, allowance)
        row.costs |= {epochs: each * epochs for epochs in range(1, most + 1)}
        found = set(compute_budget.compute_candidates(row.costs, row.spec.epochs, allowance)) - {
            ComputeCandidate(row.spec.epochs, 1)
        }
        runs += len(found) * len(row.firsts)
        total += sum(each * one.epochs * one.members for one in found) * len(row.firsts)
    images = facts.samples * (1 - planned.specs[0].hold_out)
    return (
        f"this is the first wave of --budget {request.budget}: what further lengths and members are tried depends on "
        f"what these runs cost. By declared costs, about {runs:,} runs and {format_large(total * images)} forward "
        "passes of an image more"
    )


def _learn(tried: Iterable[RowProgress], store: Store, limit: float | None) -> dict[str, float]:
    """What the store's records say each row cost; returns each setting's allowance."""
    rows = list(tried)
    for row in rows:
        for epochs in {row.spec.epochs, *(candidate.epochs for candidate in row.candidates)}:
            runs = row.runs(ComputeCandidate(epochs, 1))
            records = {spec.run_id: record for spec in runs if (record := store.read(spec.run_id)) is not None}
            row.learn(records, epochs)
    return compute_budget.compute_allowances(rows, limit)


def _further(
    tried: Iterable[RowProgress], allowances: Mapping[str, float], facts: Facts, request: Request
) -> tuple[list[RunSpec], list[LeftOut]]:
    """What is wanted by what is known so far, and the methods of which no epoch fits."""
    found: list[RunSpec] = []
    too_dear = []
    for row in tried:
        spec, allowance = row.spec, allowances.get(row.spec.setting_id)
        if allowance is None or not row.costs:
            continue
        wanted = compute_budget.compute_candidates(row.costs, spec.epochs, allowance)
        if not wanted:
            epoch = max(units / epochs for epochs, units in row.costs.items())
            reason = _too_dear(f"{epoch:.4g}", epoch, allowance)
            too_dear.append(LeftOut(spec.method, reason, spec.noise, spec.rate))
        for candidate in wanted:
            if _refused(compute_budget.resize_run(spec, candidate), facts, request) is None:
                row.candidates.add(candidate)
                found += row.runs(candidate)
    return found, too_dear


def _too_dear(said: str, epoch: float, allowance: float) -> str:
    """Why a method has no place within an allowance: what an epoch costs, in words and in units."""
    return (
        f"an epoch of it costs {said} units for each training image, more than the {allowance:.4g} of a whole run; "
        f"type --budget {compute_budget.EQUAL_COMPUTE}:{math.ceil(epoch)} or more"
    )


def _refused(spec: RunSpec, facts: Facts, request: Request) -> str | None:
    """Why a method can't train at this length, or None."""
    noise = next(each for each in facts.noises if (each.name, each.sha256) == (spec.noise, spec.noise_sha256))
    try:
        refuse_misfit(request, facts, noise, spec)
    except Refused as refused:
        return refused.reason
    return None


def _announced(wave: int, runs: int, allowances: Iterable[float]) -> str:
    """How much a wave holds, and under which allowances."""
    said = " and ".join(dict.fromkeys(f"{each:.4g}" for each in sorted(allowances)))
    name = {2: "second", 3: "third"}.get(wave, f"{wave}th")
    return f"equal compute, {name} wave: {runs:,} runs within {said} units for each training image"


def _joined(first: StudyOutcome, second: StudyOutcome) -> StudyOutcome:
    """What became of two studies' runs, none of which is in both."""
    return replace(
        second,
        finished=(*first.finished, *second.finished),
        failed={**first.failed, **second.failed},
        skipped=(*first.skipped, *second.skipped),
        left=(*first.left, *second.left),
    )
