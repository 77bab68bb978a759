"""What an exact search for nearest neighbours costs: the whole of `methods.pieces.neighbours.nearest`.

    python benchmarks/neighbours.py [--samples 50000] [--features 512] [--count 10] [--threads 2] [--repeats 3]
                                    [--metric cosine,euclidean] [--device cpu] [--json FILE]

Every sample of a random set looks for its neighbours in the set. Reported: the median of the repeats in seconds, beside
the bare matrix product of the same size in the same blocks (nothing can be quicker that computes all similarities), and
on how many rows a plain sort of float64 distances disagrees, over 200 rows.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from bench.perf.timing import median, time_alternately
from bench.system.hardware import cpu_name
from methods.pieces.neighbours import BLOCK, Metric, nearest

CHECKED = 200


def products(bank: Tensor) -> None:
    """The matrix products alone, block by block."""
    rows = max(1, BLOCK // len(bank))
    block = bank.new_empty(rows, len(bank))
    for start in range(0, len(bank), rows):
        part = bank[start : start + rows]
        torch.mm(part, bank.T, out=block[: len(part)])


def disagreements(bank: Tensor, found: Tensor, metric: Metric) -> int:
    """Rows of the first few on which a sort of float64 distances finds other neighbours, or another order."""
    exact, count = bank.double(), found.shape[1]
    if metric == "cosine":
        exact = exact / exact.norm(dim=1, keepdim=True)
    distance = torch.cdist(exact[:CHECKED], exact, compute_mode="donot_use_mm_for_euclid_dist")
    distance.fill_diagonal_(torch.inf)
    expected = distance.sort(dim=1, stable=True).indices[:, :count]
    return int((expected != found[:CHECKED]).any(dim=1).sum())


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--metric", default=",".join(get_args(Metric)))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    bank = torch.randn(asked.samples, asked.features, generator=torch.Generator().manual_seed(0)).to(device)
    everyone = torch.arange(asked.samples, device=device)
    print(f"{cpu_name()}, {asked.threads} threads, torch {torch.__version__}, {device}")
    print(f"top {asked.count} of {asked.samples:,} x {asked.features}")
    print(f"{'metric':10} {'seconds':>8} {'products':>9} {'rows that float64 orders otherwise':>35}")
    results: list[dict[str, Any]] = []
    for metric in get_args(Metric):
        if metric not in asked.metric.split(","):
            continue
        found = nearest(bank, bank, asked.count, metric, everyone)
        search = partial(nearest, bank, bank, asked.count, metric, everyone)
        seconds = time_alternately(
            {"search": search, "products": partial(products, bank)}, asked.repeats, device, warm_up=0
        )
        took, bare = (median(seconds[name]).value for name in ("search", "products"))
        wrong = disagreements(bank, found, metric)
        print(f"{metric:10} {took:8.2f} {bare:9.2f} {wrong:>24} of {min(CHECKED, asked.samples):7}")
        results.append({"metric": metric, "seconds": took, "products": bare, "otherwise": wrong})
    if asked.json is not None:
        settings = {name: getattr(asked, name) for name in ("samples", "features", "count", "threads", "device")}
        asked.json.write_text(json.dumps({**settings, "torch": torch.__version__, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
