"""What the shared grid loses by letting only the better half of a method's settings go on, and what it saves.

    python benchmarks/race.py --out FOLDER [--methods ce,gce,anl-ce,nce+rce,elr] [--dataset digits] [--orders 200]

Every setting of the methods is trained on every split, as if none were dropped; runs that FOLDER has (from `tune --grid
shared --out FOLDER`) cost nothing. Then the race is held over them: in the splits' own order, and in random orders of
them. Printed for each method: whether the own order leads to the full grid's choice; the share of random orders that
do; and how far the race's choice lies below the full grid's by the criterion over all splits, in points, mean and
largest. That criterion is the one that the full grid chose by, so the loss is, if anything, overstated.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.execution.backends import make_runtimes
from bench.execution.progress import gather_facts_with_display, open_display
from bench.execution.study import run_study, split_by_stored
from bench.memory import job_limits
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.records.store import Store
from bench.system.console import print_note
from bench.tuning.grid import search, successive_halving
from bench.tuning.grid.candidates import NOISE, RATE, MethodCandidates

Records = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Result:
    """What the race makes of one method; losses in shares of 1 for each random order of the splits."""

    method: str
    same: bool
    """Whether it chooses what the full grid chooses, in the splits' own order."""
    runs: tuple[int, int]
    """Runs of the race and of the full grid."""
    agreed: float
    """The share of random orders that lead to the full grid's choice."""
    losses: Sequence[float]


def hold(candidates: MethodCandidates, rungs: Sequence[int], records: Records, orders: int) -> Result:
    """The race of one method whose every run has a record, and none of which diverged."""
    full = successive_halving.choose_point(candidates, (), records)
    shown = successive_halving.choose_point(candidates, rungs, records)
    assert full.decision is not None and shown.decision is not None
    means = [score.mean for score in full.scores if score is not None]
    random = np.random.Generator(np.random.Philox(0))
    chosen = []
    for _ in range(orders):
        order = random.permutation(len(candidates.splits))
        shuffled = replace(candidates, splits=tuple(candidates.splits[place] for place in order))
        decision = successive_halving.choose_point(shuffled, rungs, records).decision
        assert decision is not None
        chosen.append(decision.chosen)
    return Result(
        candidates.method,
        shown.decision.chosen == full.decision.chosen,
        (len(shown.runs), len(full.runs)),
        chosen.count(full.decision.chosen) / orders,
        [means[full.decision.chosen] - means[number] for number in chosen],
    )


def main() -> None:
    """Train what is missing, hold the races, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="ce,gce,anl-ce,nce+rce,elr")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--jobs", type=int)
    options = parser.parse_args()
    request = Request.typed(
        methods=options.methods.split(","),
        dataset=[options.dataset],
        out=str(options.out),
        jobs=options.jobs,
        protocol="shared-lr",
        noise=[NOISE],
        rate=[str(RATE)],
    )
    plan = search.plan_grid(request, gather_facts_with_display(validate_request(request)), None)
    runs = [run for candidates in plan.candidates for run in candidates.all_runs]
    store = Store(options.out)
    limits = job_limits.limit_jobs(
        split_by_stored(runs, store)[0], plan.facts, len(runs), options.jobs, print_note, at_most=len(runs)
    )
    run_study(runs, make_runtimes(request, plan.facts, limits), store, jobs=limits.jobs, display=open_display())
    records = search.stored_records(plan, store)
    print(f"{plan.splits} splits, rungs after {', '.join(map(str, plan.rungs))}; {options.orders} random orders")
    print(f"{'method':20} {'runs':>9}  {'the same':>8}  {'agreed':>6}  loss, points: mean, largest")
    for candidates in plan.candidates:
        result = hold(candidates, plan.rungs, records, options.orders)
        losses = 100 * np.array(result.losses)
        print(
            f"{result.method:20} {result.runs[0]:4}/{result.runs[1]:4}  {'yes' if result.same else 'no':>8}  "
            f"{result.agreed:6.0%}  {losses.mean():.2f}, {losses.max():.2f}"
        )


if __name__ == "__main__":
    main()
