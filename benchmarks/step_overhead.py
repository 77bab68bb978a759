"""What the training core adds to a step: its own loop against the bare forward, backward and update.

    python benchmarks/step_overhead.py [--settings cnn8,cnn-small] [--pairs 300] [--threads 2] [--json FILE]

The core's loop runs as it does in every run (gathering, augmenting, normalising, forward, the method's loss, backward,
gradient clip, update, running total). Between two of its steps, in the same process, the same network trains one step
on a batch that lies ready, twice: "bare" is forward, loss, backward and update and nothing else, "with clip in both"
has the gradient clip as well, since the clip is part of the protocol and not of the harness. All three have the same
precision, memory format, optimiser and batch; the bare steps autocast the classifier too, which the core runs in
float32, and take PyTorch's fused cross-entropy, so what these cost counts as the core's. Whatever slows the machine
down slows all alike. Reported: the median ratio over the pairs with its 95 % interval (order statistics of a binomial,
whatever the distribution, for independent pairs), and the ratio of the sums, which counts the set-up of each epoch but
the first. "core / bare" is the ratio that is to stay under 1.05 on cnn8 at batch 128.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor, nn

from bench.core.augment import pipeline
from bench.core.images import ImageStore
from bench.core.optimizers import make_optimizer
from bench.core.precision import Precision, prepare_process
from bench.core.trainer import Trainer, TrainingPart
from bench.models import build
from bench.registry import load_method
from bench.spec import RunSpec


@dataclass(frozen=True)
class Case:
    """One network with the images, batch and augmentation that it is used with."""

    size: int
    channels: int
    batch: int
    augmentation: str


CASES = {"cnn8": Case(32, 3, 128, "crop4+flip"), "cnn-small": Case(8, 1, 64, "none")}
CLASSES = 10


def make_spec(model: str, case: Case, precision: str, epochs: int) -> RunSpec:
    """A run of cross-entropy under the shared protocol's optimiser."""
    return RunSpec(
        method="ce",
        data_set="random",
        data_sha256="0" * 64,
        noise="none",
        model=model,
        augmentation=case.augmentation,
        epochs=epochs,
        batch_size=case.batch,
        learning_rate=0.01,
        precision=precision,
    )


class BareStep:
    """Forward, backward and update of one network on one batch that lies ready; `clip` clips the gradient's norm."""

    def __init__(self, spec: RunSpec, case: Case, device: torch.device, clip: bool) -> None:
        size, channels = case.size, case.channels
        network = build(spec.model, num_classes=CLASSES, in_chans=channels, image_size=size, seed=0)
        self.network = network.to(device=device, memory_format=torch.channels_last)
        images = torch.randn(case.batch, channels, size, size, device=device)
        self.images = images.to(memory_format=torch.channels_last)
        self.labels = torch.randint(CLASSES, (case.batch,), device=device)
        self.precision = Precision(spec.precision, device)
        self.clip = spec.gradient_clip if clip else None
        weights = list(self.network.parameters())
        self.optimizer = make_optimizer(
            spec.optimizer, weights, spec.learning_rate, spec.weight_decay, spec.momentum, spec.nesterov
        )

    def __call__(self) -> None:
        with self.precision.autocast():
            logits: Tensor = self.network(self.images)
        loss = nn.functional.cross_entropy(logits.float(), self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()


@dataclass
class Alternation:
    """Handed to the core as `should_stop`, which its loop asks before every step: takes turns with the bare steps."""

    steps: dict[str, Callable[[], None]]
    wait: Callable[[], None]
    began: float = field(default_factory=time.perf_counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"core": []})

    def __call__(self) -> bool:
        self.wait()
        self.seconds["core"].append(time.perf_counter() - self.began)
        names = list(self.steps)
        # Neither of the bare steps always follows the core's.
        turn = len(self.seconds["core"]) % len(names)
        for name in names[turn:] + names[:turn]:
            before = time.perf_counter()
            self.steps[name]()
            self.wait()
            self.seconds.setdefault(name, []).append(time.perf_counter() - before)
        self.began = time.perf_counter()
        return False


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The median with its 95 % interval from order statistics."""
    ordered = np.sort(values)
    low = max(int(binom.ppf(0.025, len(ordered), 0.5)) - 1, 0)
    high = min(int(binom.ppf(0.975, len(ordered), 0.5)) + 1, len(ordered) - 1)
    return float(np.median(ordered)), float(ordered[low]), float(ordered[high])


def measure(model: str, case: Case, precision: str, pairs: int, device: torch.device) -> dict[str, Any]:
    """Time the core's loop and the bare steps in turn, until there are `pairs` of them."""
    warm_up = 10
    samples = min(pairs + warm_up, 391) * case.batch
    epochs = -(-(pairs + warm_up) * case.batch // samples)
    spec = make_spec(model, case, precision, epochs)
    generator = torch.Generator().manual_seed(0)
    shape = (samples, case.size, case.size, case.channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)
    labels = torch.randint(CLASSES, (samples,), generator=generator).to(device)
    store = ImageStore(images, [0.5] * case.channels, [0.25] * case.channels, pipeline(case.augmentation).pad)
    turns = Alternation(
        {name: BareStep(spec, case, device, clip) for name, clip in (("bare", False), ("bare with clip", True))},
        torch.cuda.synchronize if device.type == "cuda" else lambda: None,
    )
    trainer = Trainer(load_method("ce")(), spec, TrainingPart(store, labels, CLASSES, store, labels), device, turns)
    for done in trainer.epochs():
        assert done.train_loss > 0
    # What ends with a call is the step before it, so the bare steps of that call are its pair.
    seconds = {name: np.array(values[warm_up:]) for name, values in turns.seconds.items()}
    result: dict[str, Any] = {
        "model": model,
        "batch": case.batch,
        "image": [case.size, case.size, case.channels],
        "augmentation": case.augmentation,
        "precision": precision,
        "pairs": len(seconds["core"]),
        "milliseconds": {name: float(np.median(values)) * 1e3 for name, values in seconds.items()},
    }
    for name in ("bare", "bare with clip"):
        median, low, high = median_interval(seconds["core"] / seconds[name])
        total = float(seconds["core"].sum() / seconds[name].sum())
        result[f"core over {name}"] = {"median": median, "low": low, "high": high, "sums": total}
    return result


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    prepare_process(asked.threads)
    device = torch.device(asked.device)
    print(f"{platform.processor() or platform.machine()}, {asked.threads} threads, torch {torch.__version__}, {device}")
    columns = ("model", "batch", "pairs", "bare ms", "core ms", "core / bare [95 %]", "with clip in both", "sums")
    print("{:10} {:>5} {:>5} {:>8} {:>8}  {:21}  {:21}  {:>5}".format(*columns))
    results = []
    for model in asked.settings.split(","):
        result = measure(model, CASES[model], asked.precision, asked.pairs, device)
        results.append(result)
        ratios = [
            "{median:.3f} [{low:.3f}, {high:.3f}]".format(**result[f"core over {name}"])
            for name in ("bare", "bare with clip")
        ]
        times = result["milliseconds"]
        print(
            f"{model:10} {result['batch']:5} {result['pairs']:5} {times['bare']:8.2f} {times['core']:8.2f}  "
            f"{ratios[0]:21}  {ratios[1]:21}  {result['core over bare']['sums']:5.3f}"
        )
    if asked.json is not None:
        environment = {"threads": asked.threads, "torch": torch.__version__, "device": str(device)}
        asked.json.write_text(json.dumps({**environment, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
