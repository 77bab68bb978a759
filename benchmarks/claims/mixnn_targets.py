"""Do the soft targets of `mixnn` get closer to the truth over training than the given labels are?

    python benchmarks/claims/mixnn_targets.py [--method mixnn] [--dataset digits] [--noise sym,asym] [--rate 0.4]
                                              [--seeds 200:205] [--epochs N] [--threads 1] [--plot FILE.png] [--quick]

That is what the abstract of He and Lu, arXiv 2406.16966, claims. Runs are those that `python -m bench run` would plan;
their seeds were never used to choose anything. Per measured epoch (twenty in a run, and the last), over the training
part: the mean total variation distance of q_i to the truth, 1 - q_i[true class], beside that of the given labels (their
realised noise rate, constant) and the paired difference q - given; of the classes that q favours, the share of wrong
labels that are corrected and of right ones that are damaged. Means over replicates (noise, split, weights and order
drawn anew) with 95 % t-intervals; the difference's is over pairs. The claim holds where it lies below 0.
Prints Markdown; --plot draws the distances where matplotlib is at hand. --quick: two replicates of six epochs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.execution.backends import make_runtimes
from bench.memory.job_limits import JobLimits
from bench.planning.facts import Facts
from bench.planning.gather_facts import gather_facts
from bench.planning.plan import make_plan
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.spec import RunSpec
from bench.stats.summary import Summary, summarise
from bench.training.curves import MEASURED_PER_RUN
from bench.training.noisy_data import build_noisy_data, build_trainer
from bench.training.precision import prepare_process

COLUMNS = ("q to truth", "given to truth", "q - given", "corrected", "damaged")
CPU = torch.device("cpu")

Curve = dict[int, dict[str, float]]
"""Epoch -> column -> value of one run."""


def closeness(targets: NDArray[np.float32], given: NDArray[np.int64], clean: NDArray[np.int64]) -> dict[str, float]:
    """Distances of soft targets (N, K) and given labels to the truth, and what the targets' argmax puts right or wrong.

    Shares in [0, 1]; NaN for what is corrected where no label is wrong, and for what is damaged where none is right.
    """
    # float64, so that one-hot targets are as far from the truth as the labels that they are made of
    to_truth = float((1 - targets[np.arange(len(clean)), clean].astype(np.float64)).mean())
    wrong, right = given != clean, targets.argmax(axis=1) == clean
    return {
        "q to truth": to_truth,
        "given to truth": float(wrong.mean()),
        "q - given": to_truth - float(wrong.mean()),
        "corrected": float(right[wrong].mean()) if wrong.any() else float("nan"),
        "damaged": float((~right[~wrong]).mean()) if not wrong.all() else float("nan"),
    }


def watch(spec: RunSpec, request: Request, facts: Facts, threads: int) -> Curve:
    """Train one run and measure its targets every so many epochs, at the start (0), and at the last."""
    problem = build_noisy_data(spec, make_runtimes(request, facts, JobLimits(1, threads))(spec))
    trainer = build_trainer(problem, spec, CPU)
    assert problem.clean_labels is not None  # the noise is drawn
    given, clean = problem.noisy.labels[problem.train], problem.clean_labels[problem.train]

    def measured() -> dict[str, float]:
        targets = trainer.method.soft_targets()
        if targets is None:
            raise SystemExit(f"{spec.method} has no soft targets to measure; --method takes one that corrects labels")
        return closeness(targets.float().cpu().numpy(), given, clean)

    curve = {0: measured()}
    every = -(-trainer.total_epochs // MEASURED_PER_RUN)
    for done in trainer.epochs():
        if done.last or done.number % every == 0:
            curve[done.number] = measured()
    return curve


def summaries(curves: Sequence[Curve]) -> dict[int, dict[str, Summary]]:
    """Epoch -> column -> mean and interval over the replicates."""
    return {
        epoch: {column: summarise([curve[epoch][column] for curve in curves]) for column in COLUMNS}
        for epoch in curves[0]
    }


def table(rows: Mapping[int, Mapping[str, Summary]]) -> list[str]:
    """A Markdown table, a line an epoch."""
    lines = [f"| epoch | {' | '.join(COLUMNS)} |", f"|---:|{'---:|' * len(COLUMNS)}"]
    for epoch, row in rows.items():
        lines.append(f"| {epoch} | {' | '.join(in_words(row[column]) for column in COLUMNS)} |")
    return lines


def in_words(summary: Summary) -> str:
    """The mean and its interval."""
    if summary.low is None:
        return f"{summary.mean:.3f}"
    return f"{summary.mean:.3f} [{summary.low:.3f}, {summary.high:.3f}]"


def verdict(rows: Mapping[int, Mapping[str, Summary]]) -> str:
    """Whether the last epoch's targets are closer to the truth than the given labels, and from which epoch on."""
    below = [epoch for epoch, row in rows.items() if (high := row["q - given"].high) is not None and high < 0]
    last = max(rows)
    if last not in below:
        return "The targets end no closer to the truth than the given labels: the interval doesn't lie below 0."
    away = [epoch for epoch in rows if epoch not in below]
    first = min(epoch for epoch in below if not away or epoch > max(away))
    return f"From epoch {first} to the last, {last}, the targets are closer to the truth than the given labels."


def draw(results: Mapping[str, Mapping[int, Mapping[str, Summary]]], path: Path) -> None:
    """The distances over the epochs, a panel a noise, bands for the intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(results), 3.5), layout="constrained")
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for panel, (noise, rows) in zip(panels, results.items(), strict=True):
        epochs = list(rows)
        for column in ("q to truth", "given to truth"):
            values = [row[column] for row in rows.values()]
            panel.plot(epochs, [value.mean for value in values], label=column)
            low, high = ([getattr(v, end) or v.mean for v in values] for end in ("low", "high"))
            panel.fill_between(epochs, low, high, alpha=0.2)
        panel.set(title=noise, xlabel="epoch")
    panels[0].set_ylabel("mean total variation")
    panels[0].set_ylim(bottom=0)
    panels[0].legend()
    figure.savefig(path, dpi=150)


def main(typed: Sequence[str] | None = None) -> None:
    """Train, print the tables and verdicts, and draw where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="mixnn")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--noise", default="sym,asym")
    parser.add_argument("--rate", default="0.4")
    parser.add_argument("--seeds", default="200:205")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args(typed)
    if asked.quick:
        asked.seeds, asked.epochs = "200:202", 6
    prepare_process(asked.threads)
    options = {name: getattr(asked, name) for name in ("dataset", "rate", "seeds", "epochs")}
    results = {}
    for noise in asked.noise.split(","):
        request = Request.typed(methods=(asked.method,), noise=(noise,), device="cpu", **options)
        facts = gather_facts(validate_request(request))
        specs = make_plan(request, facts).specs
        rows = summaries([watch(spec, request, facts, asked.threads) for spec in specs])
        results[noise] = rows
        first = specs[0]
        print(f"\n### `{asked.method}`, {first.data_set}, {noise} {asked.rate}, {len(specs)} replicates\n")
        print("\n".join([*table(rows), "", verdict(rows)]), flush=True)
    if asked.plot is not None:
        draw(results, asked.plot)


if __name__ == "__main__":
    main()
