"""What dividing a plan costs on one machine: one command with as many jobs as cores, against four shards at once.

    python benchmarks/shards.py                       # 3 repeats of each, about 5 minutes on two cores
    python benchmarks/shards.py --repeats 5 --seeds 4

Each repeat trains the same runs into an empty store: once by `run`, once by four `run --shard K/4` that begin together,
with --jobs as it is when left out, which is runs of one thread. (`--jobs 1` gives a run all cores, and its threads wait
for each other while another command has them: `--jobs-of-a-shard 1` shows what that costs.) Printed for both: wall
seconds, processor seconds of all processes together, and the share of cores x wall that the processors were busy.
Shards lose nothing to each other where the busy share is the same; what they take beyond is the start of more
processes, each of which imports torch: it shows in the processor seconds.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.system.hardware import count_cores

METHODS = "ce,gce,mae,elr,sop,mixup,co-teaching,dividemix"
SHARDS = 4


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs-of-a-shard", type=int, default=count_cores())
    typed = parser.parse_args()
    here, each = count_cores(), typed.jobs_of_a_shard
    line = ["run", "--methods", METHODS, "--seeds", str(typed.seeds), "--precision", "fp32", "--format", "csv"]
    ways = {
        f"1 command, --jobs {here}": [[*line, "--jobs", str(here)]],
        f"{SHARDS} shards, --jobs {each}": [
            [*line, "--shard", f"{k}/{SHARDS}", "--jobs", str(each)] for k in range(1, SHARDS + 1)
        ],
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for repeat in range(typed.repeats):
        for name in list(ways) if repeat % 2 == 0 else list(ways)[::-1]:
            found[name].append(timed(ways[name]))
    runs = len(METHODS.split(",")) * typed.seeds
    print(f"{runs} runs on {here} cores, {typed.repeats} repeats; medians [range]")
    for name, values in found.items():
        wall, busy = zip(*values, strict=True)
        share = [100 * used / (here * seconds) for seconds, used in values]
        print(f"{name:20} {spread(wall)} s wall, {spread(busy)} s of processors, {statistics.median(share):.0f} % busy")
    one, four = (statistics.median([seconds for seconds, _ in values]) for values in found.values())
    extra = [statistics.median([used for _, used in values]) for values in found.values()]
    print(f"wall, shards over one command: {four / one:.3f}")
    print(
        f"explained by {extra[1] - extra[0]:.1f} more processor seconds on {here} cores: "
        f"{1 + (extra[1] - extra[0]) / here / one:.3f}"
    )


def timed(commands: Sequence[Sequence[str]]) -> tuple[float, float]:
    """(wall, processor) seconds of these commands, begun together in an empty folder, their workers included."""
    with tempfile.TemporaryDirectory() as folder:
        before, began = used_by_children(), time.perf_counter()
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench", *command],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for command in commands
        ]
        for process in processes:
            _, said = process.communicate()
            if process.returncode:
                sys.exit(said)
        return time.perf_counter() - began, used_by_children() - before


def used_by_children() -> float:
    """Processor seconds of all ended children and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


if __name__ == "__main__":
    main()
