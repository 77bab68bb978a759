"""Estimated memory of runs against the most that they took: each run alone, in a process of its own.

    python benchmarks/memory.py [--cases cnn8:128:ce,cnn8:128:dividemix] [--device cpu] [--precision fp32]

Prints a table: the estimate and its parts, the record's `peak_memory_bytes`, and estimate / peak. The last column is
what the simplest other estimate would give: the peak in the record of the first run on the same network and batch,
divided by this run's peak ("none" for that first run, which no record precedes).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.memory.estimate import estimate_footprint
from bench.memory.footprint import GPU_CONTEXT, MEBIBYTE, DataSizes
from bench.spec import RunSpec

CASES = (
    "cnn-small:64:ce,cnn-small:2048:ce,cnn8:128:ce,cnn8:128:co-teaching,cnn8:128:sop+,cnn8:128:dividemix,"
    "preact-resnet18:128:ce,preact-resnet18:64:flsc,resnet34:64:elr+"
)
PARTS = ("process", "networks", "at work", "estimate", "peak")
COLUMNS = ("network", "batch", "method", *PARTS, "estimate / peak", "record / peak")
TRAIN, TEST, SIDE, CLASSES, EPOCHS = 256, 512, 32, 4, 2


def train(case: str, device: str, precision: str, folder: Path) -> dict[str, Any]:
    """The record of a case's run, MODEL:BATCH:METHOD, by the command that a user would type."""
    model, batch, method = case.split(":")
    samples = max(TRAIN, 2 * int(batch))
    data = f"synthetic[classes={CLASSES},size={SIDE},train={samples},test={TEST}]"
    line = f"run --methods {method} --dataset {data} --model {model} --batch-size {batch} --epochs {EPOCHS} --seeds 1"
    line += f" --jobs 1 --device {device} --precision {precision} --out {folder}/runs --boards {folder}/boards"
    subprocess.run([sys.executable, "-m", "bench", *line.split()], capture_output=True, check=True)
    (path,) = (folder / "runs").glob("*/record.json")
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=CASES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    first_peaks: dict[tuple[str, int], int] = {}
    for case in options.cases.split(","):
        with tempfile.TemporaryDirectory() as folder:
            record = train(case, options.device, options.precision, Path(folder))
        spec = RunSpec(**record["spec"])
        counts = record["measures"]["samples"]
        drawn = counts["train"] + counts["holdout"]
        sizes = DataSizes(CLASSES, (SIDE, SIDE, 3), drawn + counts["test"], drawn, counts["test"])
        footprint = estimate_footprint(spec, sizes, options.device)
        cuda = options.device.startswith("cuda")
        # A record's peak on a GPU counts tensors only; on the CPU it counts shared pages too.
        estimate = footprint.on_gpu - GPU_CONTEXT if cuda else footprint.on_cpu + footprint.shared
        peak = record["provenance"]["peak_memory_bytes"]
        parts = [
            0 if cuda else footprint.process + footprint.shared,
            footprint.networks,
            footprint.work,
            estimate,
            peak,
        ]
        cells = " | ".join(f"{part / MEBIBYTE:,.0f} MiB" for part in parts)
        before = first_peaks.get((spec.model, spec.batch_size))
        first_peaks.setdefault((spec.model, spec.batch_size), peak)
        ratios = f"{estimate / peak:.2f} | {'none' if before is None else f'{before / peak:.2f}'}"
        print(f"| `{spec.model}` | {spec.batch_size} | {spec.method} | {cells} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
