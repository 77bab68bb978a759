"""What the harness costs beside the training: planning, dividing, comparing with a store, generating images.

    python benchmarks/harness.py

Prints the median of several repeats, in milliseconds.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from filled_store import fill

from bench import registry
from bench.cli.commands.dry_run import compare_with_store
from bench.execution.study import split_by_stored
from bench.planning.cost import DeclaredCosts
from bench.planning.facts import Facts
from bench.planning.gather_facts import gather_facts
from bench.planning.plan import make_plan
from bench.planning.request import Request
from bench.planning.shards import split_plan
from bench.planning.validate import validate_request
from bench.records.store import Store
from bench.registry import open_data_set
from datasets.interface import Options


def median_ms(action: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of `action`, milliseconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def plan_and_compare(request: Request, facts: Facts, store: Store) -> None:
    """What every command does first."""
    split_by_stored(make_plan(request, facts).specs, store)


def main() -> None:
    """Print the table."""
    request = Request.typed(methods=("all",), noise=("sym",), rate="0.2,0.4", seeds="105")
    facts = gather_facts(validate_request(request))
    costs = DeclaredCosts(facts.methods, registry.models())
    specs = make_plan(request, facts).specs
    runs = f"{len(specs):,}"
    rows = [
        (f"plan {runs} runs", median_ms(lambda: make_plan(request, facts))),
        (f"divide {runs} runs into 4 shards", median_ms(lambda: split_plan(specs, costs.work, 4))),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for part, stored in (("half", specs[::2]), ("all", specs)):
            store = fill(Path(folder) / part, stored)
            compared = f"compare them with a store of {len(stored):,}"
            rows.append((compared, median_ms(partial(split_by_stored, specs, store))))
            rows.append((f"plan and {compared}", median_ms(partial(plan_and_compare, request, facts, store))))
        some = [spec.run_id for spec in specs[:1200]]
        rows.append(("read 1,200 records", median_ms(lambda: list(store.records(some)))))
        looked = median_ms(
            lambda: compare_with_store(make_plan(request, facts), specs, None, store, "always", facts, costs, 2)
        )
        rows.append((f"dry run of {runs} runs, all stored", looked))
    images = "synthetic[train=2000,test=500]"
    rows.append(("generate 2,500 images of 32 x 32", median_ms(lambda: open_data_set(images, Options()).load(0))))
    for name, milliseconds in rows:
        print(f"{name:50} {milliseconds:8.0f} ms")


if __name__ == "__main__":
    main()
