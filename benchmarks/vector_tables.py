"""How long the first and a later plan on a large table of numbers take, and the memory at their peak.

    python benchmarks/vector_tables.py [--rows 200000] [--columns 30]

Writes a CSV and a .npz file of random numbers, plans a run on each in a process of its own, twice, with a cache of its
own, and prints wall and processor seconds and the peak of resident memory beside the size of the vectors as float32.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PLAN = """
import resource, sys
from bench.cli.main import main
code = main(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
sys.exit(code)
"""


def write_files(folder: Path, rows: int, columns: int) -> list[str]:
    """The data sets of both kinds of files."""
    draw = np.random.Generator(np.random.PCG64(0))
    features, labels = draw.normal(size=(rows, columns)).astype(np.float32), draw.integers(10, size=rows)
    np.savez(folder / "own.npz", features=features, labels=labels)
    names = ",".join(f"f{number}" for number in range(columns))
    table = np.column_stack([features, labels])
    np.savetxt(
        folder / "own.csv", table, fmt=["%.6g"] * columns + ["%d"], delimiter=",", header=f"{names},label", comments=""
    )
    return [f"features:{folder / 'own.npz'}", f"table:{folder / 'own.csv'}"]


def plan(data: str, folder: Path) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak MiB of a dry run."""
    words = [
        "run",
        "--methods",
        "ce,gce",
        "--dataset",
        data,
        "--noise",
        "sym",
        "--dry-run",
        "--out",
        str(folder / "runs"),
    ]
    environment = {**os.environ, "LNL_BENCH_CACHE": str(folder / "cache")}
    began = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", PLAN, str(folder / "peak"), *words], check=True, capture_output=True, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, used, int((folder / "peak").read_text()) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=30)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data_sets = write_files(folder, asked.rows, asked.columns)
        plan("digits", folder)  # the declarations of methods are read once for all
        size = asked.rows * asked.columns * 4 / 2**20
        print(f"{asked.rows:,} rows of {asked.columns} numbers, {size:.0f} MiB as float32")
        print(f"{'plan':24} {'wall s':>7} {'CPU s':>7} {'peak MiB':>9}")
        for data in data_sets:
            for when in ("first", "later"):
                wall, used, peak = plan(data, folder)
                print(f"{Path(data).suffix + ', ' + when:24} {wall:7.2f} {used:7.2f} {peak:9.0f}")


if __name__ == "__main__":
    main()
