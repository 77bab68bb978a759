"""Does a faster way to compute give the same results? Two one-sided tests on paired runs.

    python benchmarks/parity.py --out FOLDER [--compare precision|steps] [--dataset digits] [--methods ce,gce,anl-ce]
                                [--margin 1] [--seeds 40] [--train-size N] [--model NAME] [--epochs N] [--data-root DIR]
                                [--jobs N] [--json FILE]

`--compare precision` trains every method and replicate in fp32 and in bf16, `--compare steps` eagerly and compiled
(both in the data set's own precision), under symmetric noise of 0.4 and else as `python -m bench run` does; replicates
are paired: noise, split, first weights, order and crops are the same in both. What is compared is the test accuracy at
the last epoch. Faster and plain are called equivalent where the 90 % t-interval of the mean paired difference lies
within the margin (points of accuracy), which is two one-sided tests at 5 % each; the number of replicates is fixed
beforehand. Where it doesn't, nothing is shown, neither a difference nor its absence. Runs are kept in FOLDER: the same
command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.execution.backends import make_runtimes
from bench.execution.progress import open_display
from bench.execution.study import run_study
from bench.memory.job_limits import JobLimits
from bench.planning.gather_facts import gather_facts
from bench.planning.plan import make_plan
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.records.store import Store
from bench.stats.summary import paired_differences
from bench.system import hardware

SIDES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "precision": {"fp32": {"precision": "fp32"}, "bf16": {"precision": "bf16"}},
    "steps": {"eager": {"steps": "eager"}, "compiled": {"steps": "compiled"}},
}
"""What is compared: the plain way first, then the faster one, and the options that ask for each."""

Accuracies = dict[str, dict[int, float]]
"""Method -> seed -> test accuracy at the last epoch."""


@dataclass(frozen=True)
class Parity:
    """One method's paired comparison, in points of accuracy; `low` and `high` bound the 90 % interval."""

    method: str
    pairs: int
    plain: float
    faster: float
    difference: float
    low: float
    high: float
    equivalent: bool


def judge(method: str, plain: Mapping[int, float], faster: Mapping[int, float], margin: float) -> Parity:
    """Two one-sided t-tests on paired accuracies (fractions), at least two; `margin` > 0 in points."""
    from scipy.stats import t

    paired = [100 * value for value in paired_differences(faster, plain)]
    n, mean = len(paired), math.fsum(paired) / len(paired)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in paired) / (n - 1))
    half = float(t.ppf(0.95, n - 1)) * deviation / math.sqrt(n)
    common = [seed for seed in plain if seed in faster]
    first, second = (100 * math.fsum(side[seed] for seed in common) / n for side in (plain, faster))
    low, high = mean - half, mean + half
    return Parity(method, n, first, second, mean, low, high, -margin < low and high < margin)


def train(asked: argparse.Namespace, side: str, options: Mapping[str, str]) -> Accuracies:
    """Every run of one side; what its folder has isn't trained again."""
    request = Request.typed(
        methods=asked.methods,
        dataset=asked.dataset,
        noise="sym",
        rate="0.4",
        seeds=asked.seeds,
        train_size=asked.train_size,
        model=asked.model,
        epochs=asked.epochs,
        data_root=asked.data_root,
        **options,
    )
    facts = gather_facts(validate_request(request))
    specs = make_plan(request, facts).specs
    jobs, threads = hardware.share_cores(facts.cores, len(specs), facts.device, asked.jobs)
    store = Store(asked.out / side)
    outcome = run_study(
        specs, make_runtimes(request, facts, JobLimits(jobs, threads)), store, jobs=jobs, display=open_display()
    )
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)
    found: Accuracies = {}
    for spec in specs:
        record = store.read(spec.run_id)
        assert record is not None
        found.setdefault(spec.method, {})[spec.seed] = record["measures"]["test_accuracy"]
    return found


def table(found: Sequence[Parity], sides: Sequence[str], margin: float) -> str:
    """The comparisons as a Markdown table."""
    from tabulate import tabulate

    rows = [
        (
            f"`{each.method}`",
            each.pairs,
            f"{each.plain:.1f}",
            f"{each.faster:.1f}",
            f"{each.difference:+.2f} [{each.low:+.2f}, {each.high:+.2f}]",
            "yes" if each.equivalent else "not shown",
        )
        for each in found
    ]
    head = ("method", "pairs", *sides, f"{sides[1]} - {sides[0]}, 90 % interval", f"within ± {margin:g}")
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Train what is missing, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--compare", choices=sorted(SIDES), default="precision")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--methods", default="ce,gce,anl-ce")
    parser.add_argument("--margin", type=float, default=1.0)
    parser.add_argument("--seeds", default="40")
    parser.add_argument("--train-size", type=int)
    parser.add_argument("--model")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--data-root")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    sides = SIDES[asked.compare]
    plain, faster = (train(asked, side, options) for side, options in sides.items())
    found = [judge(method, plain[method], faster[method], asked.margin) for method in plain]
    print(f"{asked.dataset}, sym 0.4, test accuracy at the last epoch in per cent, {hardware.cpu_name()}")
    print(table(found, list(sides), asked.margin))
    if asked.json is not None:
        result: dict[str, Any] = {"dataset": asked.dataset, "margin": asked.margin, "sides": list(sides)}
        asked.json.write_text(json.dumps({**result, "methods": [asdict(each) for each in found]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
