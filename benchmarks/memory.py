"""What runs are estimated to take, against the most that they took: each run alone, in a process of its own.

    python benchmarks/memory.py [--cases cnn8:128:ce,cnn8:128:dividemix] [--device cpu] [--precision fp32]

Prints a table: estimate, its parts, the record's `peak_memory_bytes`, and estimate / peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import registry
from bench.memory.estimate import estimate_footprint
from bench.memory.footprint import CARD_CONTEXT, MEBIBYTE, DataSizes
from bench.spec import RunSpec

CASES = (
    "cnn-small:64:ce,cnn-small:2048:ce,cnn8:128:ce,cnn8:128:co-teaching,cnn8:128:sop+,cnn8:128:dividemix,"
    "preact-resnet18:128:ce,preact-resnet18:64:flsc,resnet34:64:elr+"
)
TRAIN, TEST, SIDE, CLASSES, EPOCHS = 256, 512, 32, 4, 2


def train(case: str, device: str, precision: str, folder: Path) -> dict[str, Any]:
    """The record of a case's run, MODEL:BATCH:METHOD, as a user would type it."""
    model, batch, method = case.split(":")
    samples = max(TRAIN, 2 * int(batch))
    data = f"synthetic[classes={CLASSES},size={SIDE},train={samples},test={TEST}]"
    line = f"run --methods {method} --dataset {data} --model {model} --batch-size {batch} --epochs {EPOCHS} --seeds 1"
    line += f" --jobs 1 --device {device} --precision {precision} --out {folder}/runs --boards {folder}/boards"
    subprocess.run([sys.executable, "-m", "bench", *line.split()], capture_output=True, check=True)
    (record,) = (folder / "runs").glob("*/record.json")
    found: dict[str, Any] = json.loads(record.read_text())
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=CASES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    asked = parser.parse_args()
    registry.load_plugins(())
    print("| network | batch | method | process | networks | at work | estimate | peak | estimate / peak |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in asked.cases.split(","):
        with tempfile.TemporaryDirectory() as folder:
            record = train(case, asked.device, asked.precision, Path(folder))
        spec = RunSpec(**record["spec"])
        counts = record["measures"]["samples"]
        drawn = counts["train"] + counts["holdout"]
        sizes = DataSizes(CLASSES, (SIDE, SIDE, 3), drawn + counts["test"], drawn, counts["test"])
        taken = estimate_footprint(spec, sizes, asked.device)
        cuda = asked.device.startswith("cuda")
        # a record's peak on a card counts tensors only; on the processor it counts shared pages too
        estimate = taken.on_card - CARD_CONTEXT if cuda else taken.on_processor + taken.shared
        peak = record["provenance"]["peak_memory_bytes"]
        parts = [0 if cuda else taken.process + taken.shared, taken.networks, taken.work, estimate, peak]
        cells = " | ".join(f"{part / MEBIBYTE:,.0f} MiB" for part in parts)
        print(f"| `{spec.model}` | {spec.batch_size} | {spec.method} | {cells} | {estimate / peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
