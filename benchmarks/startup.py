"""How long a command takes that trains nothing: help, lists, mistakes, planning again.

    python benchmarks/startup.py

Prints the median and the range of seven whole processes each, milliseconds, after one that warms the caches.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filled_store import fill

from bench.spec import RunSpec

LINES = (
    "--help",
    "run --help",
    "list methods",
    "show method gce",
    "run --methods gcee",
    "run --methods gce[q=2]",
    "run --augment crop4+flop",
    "run --model timm:resnet_18",
    "run --device cuda",
    "run --noise matrix:nowhere.csv",
    "run --methods all --noise asym --dry-run",
    "run --methods all --noise sym,asym --seeds 11 --dry-run",
    "run --methods all --noise sym,asym --seeds 11 --dry-run --out half",
    "run --methods all --noise sym,asym --seeds 11 --dry-run --shard 2/4",
)
HALF = "run --methods all --noise sym,asym --seeds 11 --dry-run --format json"
"""Half of these runs are stored in the folder `half`."""


def milliseconds(line: str, folder: str) -> float:
    """Wall time of one process in an empty folder."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bench", *line.split()], cwd=folder, capture_output=True, check=False)
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench", *HALF.split()]
        planned = json.loads(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)["runs"]
        fill(Path(folder) / "half", [RunSpec.model_validate(run["spec"]) for run in planned[::2]])
        print(f"the plans of 11 seeds have {len(planned):,} runs")
        for line in LINES:
            milliseconds(line, folder)
            times = [milliseconds(line, folder) for _ in range(7)]
            print(f"{line:68} {statistics.median(times):6.0f} ms  [{min(times):.0f}, {max(times):.0f}]")


if __name__ == "__main__":
    main()
