"""What selection by losses costs beside the passes that it can't do without.

    python benchmarks/selection.py [--settings cnn-small-32,cnn8] [--rounds 12] [--batches 10] [--threads 2]

An epoch of `dividemix` after its warm-up runs as it does in every run: splitting, gathering, augmenting two views,
guessing and refining labels, mixing, the loss, backward, clip, update, inference of both networks and the fits of their
mixtures. Beside it, in the same process and taking turns, the bare passes: the same networks' forwards and backwards of
as many images in the same batches, updates and clips, and inference, on tensors that lie ready. Half of the images
count as labelled. Reported: the median ratio of the epochs with its 95 % interval, and the seconds that a mixture takes
on 50,000 losses. An epoch should cost under 1.05 of its passes, a fit under 0.2 s.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.perf.step_times import CLASSES, Workload
from bench.perf.timing import median, time_alternately
from bench.system.hardware import cpu_name
from bench.training.inference import inference_batch
from bench.training.method_task import TrainingPart
from bench.training.optimizers import clip_gradient_norm, make_optimizer
from bench.training.precision import prepare_process
from bench.training.trainer import Trainer
from methods.dividemix import DivideMix
from methods.pieces.mixtures import beta_clean_probability, gaussian_clean_probability, normalised

SETTINGS = {
    "cnn-small": Workload("cnn-small", size=8, channels=1, batch=64, augmentation="none"),
    "cnn-small-32": Workload("cnn-small"),
    "cnn8": Workload("cnn8"),
    "preact-resnet18": Workload("preact-resnet18"),
}
EPOCHS = 30
LOSSES = 50_000


class Epoch:
    """One epoch after warm-up by the core, always on the same split."""

    def __init__(self, work: Workload, samples: int, device: torch.device) -> None:
        store = work.store(samples, device)
        labels = torch.randint(CLASSES, (samples,), device=device)
        part = TrainingPart(store, labels, CLASSES, store, labels)
        self.trainer = Trainer(DivideMix(), work.spec(EPOCHS), part, device)
        self.phase = self.trainer.phases[0]
        self.trainer._begin_phase(self.phase)
        self.trainer._epoch = EPOCHS - 1
        half = (torch.arange(samples, device=device) % 2 == 0).float()
        self.half = half.expand(2, samples)

    def __call__(self) -> None:
        self.trainer.task.states["clean"].copy_(self.half)
        self.trainer._train_epoch(self.phase)


class Bare:
    """The passes of such an epoch on tensors that lie ready."""

    def __init__(self, work: Workload, samples: int, device: torch.device) -> None:
        spec = work.spec()
        self.networks = [work.build_network(device) for _ in range(2)]
        self.weights = [list(network.parameters()) for network in self.networks]
        self.optimizer = make_optimizer(
            spec.optimizer,
            [weight for weights in self.weights for weight in weights],
            spec.learning_rate,
            spec.weight_decay,
            spec.momentum,
            spec.nesterov,
        )
        images, _ = work.batch_of(device)
        self.view = images[: work.batch // 2].contiguous(memory_format=torch.channels_last)
        self.mixed = torch.cat([images, images])
        self.targets = torch.full((len(self.mixed), CLASSES), 1 / CLASSES, device=device)
        count = min(samples, inference_batch(device, (work.size, work.size)))
        self.inferred = images.repeat(-(-count // len(images)), 1, 1, 1)[:count]
        self.inferences = samples / count
        self.steps = samples // 2 // (work.batch // 2)
        self.clip = spec.gradient_clip

    def __call__(self) -> None:
        for number, network in enumerate(self.networks):
            network.train()
            self.networks[1 - number].eval()
            for _ in range(self.steps):
                self._step(number)
        for network in self.networks:
            network.eval()
            with torch.inference_mode():
                for _ in range(round(self.inferences)):
                    network(self.inferred)

    def _step(self, number: int) -> None:
        own, other = self.networks[number], self.networks[1 - number]
        with torch.no_grad():
            for network, passes in ((own, 4), (other, 2)):
                for _ in range(passes):
                    network(self.view)
        loss = nn.functional.cross_entropy(own(self.mixed), self.targets)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.clip is not None:
            clip_gradient_norm(self.weights[number], self.clip)
        self.optimizer.step()


def losses(device: torch.device) -> Tensor:
    """Small losses of clean labels and large ones of wrong labels, overlapping."""
    generator = torch.Generator().manual_seed(0)
    small = torch.randn(LOSSES * 3 // 5, generator=generator).abs()
    large = (4 + 2 * torch.randn(LOSSES * 2 // 5, generator=generator)).abs()
    return torch.cat([small, large]).to(device)


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", default="cnn-small-32", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batches", type=int, default=10, help="labelled batches of an epoch")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    prepare_process(asked.threads)
    device = torch.device(asked.device)
    print(f"{cpu_name()}, {asked.threads} threads, torch {torch.__version__}, {device}")
    results: dict[str, Any] = {"threads": asked.threads, "torch": torch.__version__, "device": str(device)}
    for name in asked.settings.split(","):
        work = SETTINGS[name]
        samples = asked.batches * work.batch
        things: dict[str, Callable[[], object]] = {
            "epoch": Epoch(work, samples, device),
            "bare": Bare(work, samples, device),
        }
        seconds = time_alternately(things, asked.rounds, device)
        ratio = median(seconds["epoch"] / seconds["bare"])
        milliseconds = {each: median(values).value * 1e3 for each, values in seconds.items()}
        print(
            f"{name:16} {samples} images: epoch {milliseconds['epoch']:.0f} ms, passes {milliseconds['bare']:.0f} ms, "
            f"ratio {ratio}"
        )
        results[name] = {"samples": samples, "milliseconds": milliseconds, "epoch over passes": asdict(ratio)}
    values = losses(device)
    fits: dict[str, Callable[[], object]] = {
        "gaussian": partial(gaussian_clean_probability, normalised(values)),
        "beta": partial(beta_clean_probability, values),
    }
    for name, taken in time_alternately(fits, 20, device).items():
        print(f"{name:16} mixture on {LOSSES} losses: {median(taken)} s")
        results[name] = asdict(median(taken))
    if asked.json is not None:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
