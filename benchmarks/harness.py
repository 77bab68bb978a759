"""What the harness costs beside the training: planning, comparing with a store, reading it, generating images.

    python benchmarks/harness.py

Prints the median of several repeats, in milliseconds.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.facts import look_up
from bench.plan import plan
from bench.registry import open_data_set
from bench.request import Request
from bench.store import Store
from datasets.interface import Options


def median_ms(action: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of `action`, milliseconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    request = Request.typed(methods=("all",), noise=("sym",), rate="0.2,0.4", seeds="160")
    facts = look_up(request)
    specs = plan(request, facts).specs
    rows = [(f"plan {len(specs):,} runs", median_ms(lambda: plan(request, facts)))]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        curves = {name: [0.5] * 30 for name in ("epoch", "train_loss", "test_accuracy", "noisy_holdout_accuracy")}
        for spec in specs[:1200]:
            record = {
                "schema": 1,
                "run_id": spec.run_id,
                "spec": spec.model_dump(mode="json"),
                "curves": curves,
                "measures": {},
                "provenance": {},
            }
            store.folder(spec.run_id).mkdir()
            (store.folder(spec.run_id) / "record.json").write_text(json.dumps(record))
        wanted = [spec.run_id for spec in specs]
        rows.append((f"compare {len(wanted):,} runs with a store of 1,200", median_ms(lambda: store.finished(wanted))))
        rows.append(("read 1,200 records", median_ms(lambda: list(store.records()))))
    images = "synthetic[train=2000,test=500]"
    rows.append(("generate 2,500 images of 32 x 32", median_ms(lambda: open_data_set(images, Options()).load(0))))
    for name, milliseconds in rows:
        print(f"{name:45} {milliseconds:8.0f} ms")


if __name__ == "__main__":
    main()
