"""What `tune` itself costs per trial: studies whose runs only pretend, so that all the time is the harness's.

    python benchmarks/tuning_overhead.py [--trials 50] [--repeats 5] [--storage sqlite]

Prints the seconds per trial, the median over repeats and their range: asking, claiming, telling, reading curves and
records, and handing runs to a worker that is there already. The target with the journal is 0.2 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME))

from bench.execution.worker import load_file  # noqa: E402

fake: Any = load_file(HOME / "tests/bench/fake_tuning.py")


def seconds_per_trial(trials: int, storage: str) -> float:
    """What a trial adds: of two studies one has so many more; both start a worker and have finalists."""
    return (_seconds(2 * trials, storage) - _seconds(trials, storage)) / trials


def _seconds(trials: int, storage: str) -> float:
    """One study from its first trial to its choice."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"sqlite:///{folder}/studies.db" if storage == "sqlite" else None
        before = time.perf_counter()
        fake.tune(fake.definition_for(splits=1), Path(folder) / "runs", address, trials=trials)
        return time.perf_counter() - before


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--storage", choices=("journal", "sqlite"), default="journal")
    options = parser.parse_args()
    found = [seconds_per_trial(options.trials, options.storage) for _ in range(options.repeats)]
    print(
        f"{options.storage}: {statistics.median(found):.3f} s per trial "
        f"[{min(found):.3f}, {max(found):.3f}], {options.repeats} repeats of {options.trials} trials"
    )


if __name__ == "__main__":
    main()
