"""One epoch of the core against the same training as released codes feed it: torchvision, PIL and a DataLoader.

    python benchmarks/peers.py [--models cnn8,cnn-small,preact-resnet18] [--rounds 5] [--threads 2] [--json FILE]

The peer is the loop that official repositories share: images through PIL, RandomCrop, RandomHorizontalFlip, ToTensor
and Normalize one by one in the workers of a DataLoader (kept alive over epochs), batches of 128 in fp32 and NCHW, the
same network, loss, optimiser and gradient clip, `loss.item()` each step as their logging does. The core runs as in
every run, in the precision that "auto" gives here. Each has a process of its own, so that neither has the other's
allocator settings; they take turns, an epoch each, and the one that isn't asked sleeps. Reported: the median of the
ratios of paired epochs, with its interval (their range with fewer than six rounds).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bench.models import build
from bench.perf.step_times import CLASSES, Workload
from bench.perf.timing import median
from bench.registry import load_method
from bench.system.hardware import cpu_name, resolve_precision
from bench.training.method_task import TrainingPart
from bench.training.precision import prepare_process
from bench.training.trainer import Trainer

IMAGES = {"cnn-small": 12_800, "cnn8": 2_560, "preact-resnet18": 768}
"""Images in an epoch, so that an epoch of the peer takes seconds, not minutes."""


class PilImages(Dataset[tuple[torch.Tensor, int]]):
    """CIFAR-like arrays, made PIL images and transformed one at a time, as torchvision's CIFAR10 does."""

    def __init__(self, count: int) -> None:
        self.images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        self.labels = [number % CLASSES for number in range(count)]
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[position])), self.labels[position]


def peer_epochs(model: str, workers: int) -> Iterator[None]:
    """Epochs of the released codes' loop, one for each `next`."""
    loader = DataLoader(PilImages(IMAGES[model]), 128, shuffle=True, num_workers=workers, persistent_workers=True)
    network = build(model, num_classes=CLASSES, in_chans=3, image_size=32, seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    while True:
        total = 0.0
        for images, labels in loader:
            loss = nn.functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
        yield


def core_epochs(model: str, precision: str) -> Iterator[None]:
    """Epochs of the core's loop, one for each `next`."""
    work = Workload(model, precision=precision)
    store, labels = work.store(IMAGES[model], torch.device("cpu")), torch.arange(IMAGES[model]) % CLASSES
    part = TrainingPart(store, labels, CLASSES, store, labels)
    trainer = Trainer(load_method("ce")(), work.spec(10_000), part, torch.device("cpu"))
    for _ in trainer.epochs():
        yield


def serve(side: str, model: str, threads: int, workers: int, precision: str) -> None:
    """Train an epoch for each line read, and answer with its seconds."""
    if side == "peer":
        torch.set_num_threads(threads)
        epochs = peer_epochs(model, workers)
    else:
        prepare_process(threads)
        epochs = core_epochs(model, precision)
    for _ in sys.stdin:
        began = time.perf_counter()
        next(epochs)
        print(time.perf_counter() - began, flush=True)


def compare(model: str, rounds: int, threads: int, workers: int, precision: str) -> dict[str, list[float]]:
    """Seconds of each side's epochs, in turn, after one epoch each that isn't counted."""
    options = ["--models", model, "--threads", str(threads), "--workers", str(workers), "--precision", precision]
    sides = {
        side: subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--serve", side, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for side in ("peer", "core")
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds + 1):
        for side, process in sides.items():
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("epoch\n")
            process.stdin.flush()
            seconds[side].append(float(process.stdout.readline()))
    for process in sides.values():
        process.communicate()
    return {side: values[1:] for side, values in seconds.items()}


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(IMAGES), help=f"of {', '.join(IMAGES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", choices=("peer", "core"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    precision = resolve_precision(asked.precision, "cpu", "auto")
    if asked.serve:
        serve(asked.serve, asked.models, asked.threads, asked.workers, precision)
        return
    print(f"{cpu_name()}, {asked.threads} threads, {asked.workers} loader workers, torch {torch.__version__}")
    print(f"{'model':16} {'images':>7} {'peer images/s':>14} {f'core images/s ({precision})':>22}  core / peer")
    results = []
    for model in asked.models.split(","):
        seconds = compare(model, asked.rounds, asked.threads, asked.workers, precision)
        ratio = median(np.array(seconds["peer"]) / np.array(seconds["core"]))
        rates = {side: IMAGES[model] / float(np.median(values)) for side, values in seconds.items()}
        print(f"{model:16} {IMAGES[model]:7} {rates['peer']:14,.0f} {rates['core']:22,.0f}  {ratio}")
        results.append({"model": model, "seconds": seconds, "ratio": asdict(ratio)})
    if asked.json is not None:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
