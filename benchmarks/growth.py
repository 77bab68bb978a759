"""How cost grows with the number of images: an epoch of cross-entropy, one of DivideMix, and a search for neighbours.

    python benchmarks/growth.py [--what ce,dividemix,neighbours] [--rounds 5] [--threads 2] [--device cpu] [--json FILE]

`ce`: an epoch of the small network on 5,000, 50,000 and 500,000 random images of 32 x 32 x 3, augmented. `dividemix`:
a whole epoch after its warm-up (splitting, both networks, inference, mixtures) on 2,000, 8,000 and 32,000 of them,
half of which count as labelled. `neighbours`: the exact ten nearest of 5,000, 20,000 and 50,000 random features (512
each). Sizes take turns; in every round a straight line is fitted to log seconds over log images, and reported are the
seconds for each thousand images (medians) and the mean slope with its 95 % t-interval over rounds. 1 is linear growth,
2 quadratic; the slope of an exact search lies near 2, since every image meets every other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from selection import Epoch

from bench.perf.step_times import CLASSES, Workload
from bench.perf.timing import Seconds, median, time_alternately
from bench.registry import load_method
from bench.stats.summary import Summary, summarise
from bench.system.hardware import cpu_name, resolve_precision
from bench.training.method_task import TrainingPart
from bench.training.precision import prepare_process
from bench.training.trainer import EpochResult, Trainer
from methods.pieces.neighbours import nearest

SIZES = {"ce": (5_000, 50_000, 500_000), "dividemix": (2_000, 8_000, 32_000), "neighbours": (5_000, 20_000, 50_000)}
FEATURES, COUNT = 512, 10
ENDLESS = 1_000_000
"""More epochs than anyone times."""


def ce_epochs(work: Workload, samples: int, device: torch.device) -> Iterator[EpochResult]:
    """Epochs of cross-entropy, one for each `next`."""
    store, labels = work.store(samples, device), torch.arange(samples, device=device) % CLASSES
    part = TrainingPart(store, labels, CLASSES, store, labels)
    return Trainer(load_method("ce")(), work.spec(ENDLESS), part, device).epochs()


def search(samples: int, device: torch.device) -> Callable[[], object]:
    """An exact search for every sample's neighbours."""
    bank = torch.randn(samples, FEATURES, generator=torch.Generator().manual_seed(0)).to(device)
    return partial(nearest, bank, bank, COUNT, "cosine", torch.arange(samples, device=device))


def task(what: str, samples: int, precision: str, device: torch.device) -> Callable[[], object]:
    """What is timed, for one size."""
    work = Workload("cnn-small", precision=precision)
    if what == "ce":
        return partial(next, ce_epochs(work, samples, device))
    if what == "dividemix":
        return Epoch(work, samples, device)
    return search(samples, device)


def slope(seconds: Mapping[str, Seconds], sizes: tuple[int, ...]) -> Summary:
    """Slopes of log seconds over log size, one of every round, summarised."""
    log_size = np.log(sizes)
    rounds = np.log(np.stack([seconds[str(size)] for size in sizes], axis=1))
    return summarise([float(np.polyfit(log_size, each, 1)[0]) for each in rounds])


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", default=",".join(SIZES), help=f"of {', '.join(SIZES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    prepare_process(asked.threads)
    device, precision = torch.device(asked.device), resolve_precision("auto", asked.device, "auto")
    print(f"{cpu_name()}, {asked.threads} threads, torch {torch.__version__}, {device}, {precision}")
    results: dict[str, Any] = {"threads": asked.threads, "torch": torch.__version__, "device": str(device)}
    for what in asked.what.split(","):
        sizes = SIZES[what]
        tasks = {str(size): task(what, size, precision, device) for size in sizes}
        seconds = time_alternately(tasks, asked.rounds, device, warm_up=1)
        found = slope(seconds, sizes)
        thousand = {size: median(seconds[str(size)]).value / size * 1e3 for size in sizes}
        each = ", ".join(f"{size:,}: {1e3 * taken:.1f}" for size, taken in thousand.items())
        print(
            f"{what:10} ms for each thousand images: {each}; slope {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
        )
        results[what] = {"seconds_per_thousand": thousand, "slope": asdict(found)}
    if asked.json is not None:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
