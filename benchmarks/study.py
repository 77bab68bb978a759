"""What a study costs beside the training of its runs, and how two jobs of one thread compare with one job of two.

    python benchmarks/study.py [--what overhead,jobs] [--rounds 5] [--runs 12] [--epochs 3] [--json FILE]

`overhead`: ordinary runs of cross-entropy on digits go one after another through one worker, which is started once;
from one run's end to the next one's, less the seconds that the run's record counts for training, evaluation and
measures, is what claim, data, networks, record and messages take together. Reported: the median over the runs but the
first, with its 95 % interval. `jobs`: the same runs (cross-entropy on `synthetic`, images of 32 x 32) as two jobs of
one thread each and as one job of two, in turn; counted are the runs that end after every worker has one behind it.
Reported: how many times as many runs a second two jobs finish, median of the rounds with its interval (their range with
fewer than six).
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.execution.backends import make_runtimes
from bench.execution.display import Display
from bench.execution.study import run_study
from bench.memory.job_limits import JobLimits
from bench.perf.timing import Median, median
from bench.planning.gather_facts import gather_facts
from bench.planning.plan import make_plan
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.records.store import Store
from bench.system.hardware import cpu_name


class Times(Display):
    """Notes when each run ended."""

    def __init__(self) -> None:
        self.ended: dict[str, float] = {}

    def finished(self, run_id: str, name: str, seconds: float | None) -> None:
        """The run's record is there."""
        self.ended[run_id] = time.perf_counter()


def study(request: Request, folder: Path, jobs: int, threads: int) -> tuple[Times, Store]:
    """Carry out the request's runs from nothing."""
    facts = gather_facts(validate_request(request))
    store, times = Store(folder), Times()
    outcome = run_study(
        make_plan(request, facts).specs,
        make_runtimes(request, facts, JobLimits(jobs, threads)),
        store,
        jobs,
        display=times,
    )
    if outcome.exit_code:
        raise SystemExit(f"not every run ended well: {outcome}")
    return times, store


def overhead(runs: int, epochs: int) -> Median:
    """Seconds that a run takes beside what its record counts."""
    request = Request.typed(methods="ce", dataset="digits", seeds=str(runs), epochs=epochs)
    with tempfile.TemporaryDirectory() as folder:
        times, store = study(request, Path(folder), jobs=1, threads=1)
        ended = sorted(times.ended.items(), key=lambda item: item[1])
        found = []
        for (_, before), (run_id, after) in itertools.pairwise(ended):
            record = store.read(run_id)
            assert record is not None
            counted = record["provenance"]["seconds"]
            found.append(after - before - sum(counted[name] for name in ("train", "evaluate", "measure")))
    return median(np.array(found))


def pace(jobs: int, threads: int, runs: int, epochs: int) -> float:
    """Runs a second, once every worker has one behind it."""
    data_set = "synthetic[train=2000,test=500,size=32]"
    request = Request.typed(methods="ce", dataset=data_set, seeds=str(runs), epochs=epochs)
    with tempfile.TemporaryDirectory() as folder:
        ended = sorted(study(request, Path(folder), jobs, threads)[0].ended.values())
    return (runs - jobs) / (ended[-1] - ended[jobs - 1])


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", default="overhead,jobs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    print(cpu_name())
    results: dict[str, Any] = {}
    if "overhead" in asked.what.split(","):
        found = overhead(asked.runs, asked.epochs)
        print(f"a run beside its training, evaluation and measures: {found} s")
        results["overhead"] = asdict(found)
    if "jobs" in asked.what.split(","):
        rounds = []
        for number in range(asked.rounds):
            sides = [(2, 1), (1, 2)] if number % 2 else [(1, 2), (2, 1)]
            found_pace = {side: pace(*side, asked.runs, asked.epochs) for side in sides}
            rounds.append(found_pace[2, 1] / found_pace[1, 2])
        found = median(np.array(rounds))
        print(f"runs a second of two jobs of one thread over one job of two: {found}")
        results["jobs"] = asdict(found)
    if asked.json is not None:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
