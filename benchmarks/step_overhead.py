"""What the training core adds to a step: its own loop against the bare forward, backward and update.

    python benchmarks/step_overhead.py [--settings cnn8,cnn-small] [--pairs 300] [--threads 2] [--json FILE]

The core's loop runs as it does in every run (gathering, augmenting, normalising, forward, the method's loss, backward,
gradient clip, update, running total). Between two of its steps, in the same process, the same network trains one step
on a batch that lies ready, twice: "bare" is forward, loss, backward and update and nothing else, "with clip in both"
has the gradient clip as well, since the clip is part of the protocol and not of the harness. All three have the same
precision, memory format, optimiser and batch; the bare steps autocast the classifier too, which the core runs in
float32, and take PyTorch's own cross-entropy, `zero_grad()` and `step()`, so what these cost or save counts as the
core's. Whatever slows the machine down slows all alike. Reported: the median ratio over the pairs with its 95 %
interval (order statistics of a binomial, whatever the distribution, for independent pairs), and the ratio of the sums,
which counts the set-up of each epoch but the first.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from bench.perf.step_times import Workload, time_steps
from bench.system.hardware import cpu_name
from bench.training.precision import prepare_process

SETTINGS = {
    "cnn8": Workload("cnn8"),
    "preact-resnet18": Workload("preact-resnet18"),
    "cnn-small-32": Workload("cnn-small"),
    "cnn-small": Workload("cnn-small", size=8, channels=1, batch=64, augmentation="none"),
    "mlp": Workload("mlp", size=1, channels=1280, augmentation="none", views=1),
    "mlp-views": Workload("mlp", size=1, channels=1280, augmentation="view", views=4),
    "mlp-table": Workload("mlp", size=1, channels=30, augmentation="none", views=1),
}


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", default="cnn8,cnn-small", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    prepare_process(asked.threads)
    device = torch.device(asked.device)
    print(f"{cpu_name()}, {asked.threads} threads, torch {torch.__version__}, {device}, {asked.precision}")
    print(f"{'setting':16} {'pairs':>5} {'bare ms':>8} {'core ms':>8}  {'core / bare':21}  {'clip in both':21}   sums")
    results: list[dict[str, Any]] = []
    for name in asked.settings.split(","):
        times = time_steps(replace(SETTINGS[name], precision=asked.precision), asked.pairs, device)
        bare, clipped = times.over("bare"), times.over("bare with clip")
        sums = float(times.seconds["core"].sum() / times.seconds["bare"].sum())
        print(
            f"{name:16} {asked.pairs:5} {times.milliseconds('bare'):8.2f} {times.milliseconds('core'):8.2f}  "
            f"{bare!s:21}  {clipped!s:21}  {sums:5.3f}"
        )
        ratios = {"core over bare": asdict(bare), "core over bare with clip": asdict(clipped), "sums": sums}
        medians = {each: times.milliseconds(each) for each in times.seconds}
        results.append({"workload": asdict(times.workload), "milliseconds": medians, **ratios})
    if asked.json is not None:
        environment = {"threads": asked.threads, "torch": torch.__version__, "device": str(device)}
        asked.json.write_text(json.dumps({**environment, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
