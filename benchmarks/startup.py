"""How long a command takes that trains nothing: help, lists, mistakes, planning again.

    python benchmarks/startup.py

Prints the median and the range of seven whole processes each, milliseconds, after one that warms the caches.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

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
)


def milliseconds(line: str, folder: str) -> float:
    """Wall time of one process in an empty folder."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bench", *line.split()], cwd=folder, capture_output=True, check=False)
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        for line in LINES:
            milliseconds(line, folder)
            times = [milliseconds(line, folder) for _ in range(7)]
            print(f"{line:45} {statistics.median(times):6.0f} ms  [{min(times):.0f}, {max(times):.0f}]")


if __name__ == "__main__":
    main()
