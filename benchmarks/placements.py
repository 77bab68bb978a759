"""How fast images come from the device, from memory and from disk, against what training takes.

    python benchmarks/placements.py [--count 640] [--size 160] [--image-size 64] [--model cnn8] [--device cpu]

Writes a table of JPEG files (`--count` of `--size` x `--size` pixels), and trains cross-entropy on it with its images
in each placement. For each placement, in turns, as often as `--rounds` says:

    come      images a second that the batch loader makes ready batches of (read, copied, augmented, normalised), when
              nothing is trained
    trained   images a second of a whole epoch of training

"ready" is training on batches that lie ready: what training takes by itself. A placement keeps up where "trained" is
as large as the device's. Medians over the rounds, and their range. The disk's workers share the cores with
training on a CPU, so there both figures are bounded by the cores; beside a GPU the cores are theirs.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.registry import open_data_set
from bench.spec import RunSpec, Runtime
from bench.system.hardware import cpu_name
from bench.training.noisy_data import build_noisy_data, build_trainer, count_decoders
from bench.training.precision import prepare_process
from bench.training.trainer import Trainer
from datasets.interface import Options

PLACEMENTS = ("device", "host", "disk")
CLASSES = 4


def write_table(folder: Path, count: int, size: int) -> Path:
    """JPEG files of smooth noise, as large as photographs of this size, and their table."""
    random = np.random.Generator(np.random.PCG64(0))
    rows = []
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (size // 4 + 1, size // 4 + 1, 3), dtype=np.uint8))
        small.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)
        rows.append([f"{number}.jpg", f"class {number % CLASSES}", "test" if number % 10 == 9 else "train"])
    path = folder / "index.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "label", "split"], *rows])
    return path


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def per_second(work: Callable[[], int], device: torch.device) -> float:
    """Images a second of `work`, which returns how many it went through."""
    wait(device)
    began = time.perf_counter()
    images = work()
    wait(device)
    return images / (time.perf_counter() - began)


def come(trainer: Trainer, epoch: int) -> int:
    """Go through an epoch's steps without training."""
    (work,) = trainer.method.passes(trainer.phases[0], 0)
    return sum(len(step.index) for step in trainer.batch_loader.steps(work, trainer.networks, "train", (0, epoch, 0)))


def trained(epochs: Any, samples: int) -> int:
    """Train one epoch."""
    next(epochs)
    return samples


def serve_ready(trainer: Trainer) -> None:
    """Let every epoch be made of the same batches, which lie ready: what training takes by itself."""
    (work,) = trainer.method.passes(trainer.phases[0], 0)
    ready = list(trainer.batch_loader.steps(work, trainer.networks, "train", (0, 0, 0)))
    trainer.batch_loader.steps = lambda *given: iter(ready)  # type: ignore[method-assign]


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=640)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--model", default="cnn8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    prepare_process(asked.threads)
    device = torch.device(asked.device)
    with tempfile.TemporaryDirectory() as name, ExitStack() as open_images:
        folder = Path(name)
        source = f"table:{write_table(folder, asked.count, asked.size)}"
        data = open_data_set(source, Options(cache=folder / "cache", image_size=asked.image_size))
        spec = RunSpec(
            method="ce",
            data_set=source,
            data_sha256=data.content_hash(),
            image_size=asked.image_size,
            noise="sym",
            rate=0.4,
            model=asked.model,
            augmentation=f"crop{asked.image_size // 8}+flip",
            epochs=asked.rounds + 2,
            batch_size=asked.batch,
            learning_rate=0.01,
            hold_out=0.0,
            precision=asked.precision,
        )
        common = Runtime(
            data_source=source,
            noise_source="sym",
            cache=str(folder / "cache"),
            device=asked.device,
            threads=asked.threads,
        )
        work: dict[str, Callable[[], int]] = {}
        for place in (*PLACEMENTS, "ready"):
            where = "device" if place == "ready" else place
            problem = build_noisy_data(spec, common.model_copy(update={"images": where}))
            open_images.enter_context(closing(problem.images))
            trainer = build_trainer(problem, spec, device)
            if place == "ready":
                serve_ready(trainer)
            epochs = trainer.epochs()
            # the first of each starts processes and fills caches
            next(epochs)
            come(trainer, 0)
            work[f"{place} come"] = partial(come, trainer, 1)
            work[f"{place} trained"] = partial(trained, epochs, len(problem.train))
        rates: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(asked.rounds):
            for name, each in work.items():
                rates[name].append(per_second(each, device))
        workers = count_decoders(common)
    print(
        f"{cpu_name()}, {asked.threads} threads, {workers} of the disk's workers, torch {torch.__version__}, "
        f"{device}, {asked.precision}\n{asked.count} JPEG files of {asked.size} x {asked.size}, brought to "
        f"{asked.image_size} x {asked.image_size}; {asked.model}, batches of {asked.batch}, {asked.rounds} rounds; "
        "images a second\n"
    )
    print(f"{'':8} {'come':>8} {'range':>17} {'trained':>8} {'range':>17} {'of the device':>13}")
    base = statistics.median(rates["device trained"])
    for place in (*PLACEMENTS, "ready"):
        first, second = rates[f"{place} come"], rates[f"{place} trained"]
        share = statistics.median(second) / base
        print(f"{place:8} {in_words(first) if place != 'ready' else '':26} {in_words(second)} {share:13.2f}")
    if asked.json is not None:
        environment = {"threads": asked.threads, "torch": torch.__version__, "device": str(device), "workers": workers}
        asked.json.write_text(json.dumps({**environment, "images_per_second": rates}, indent=1) + "\n")


def in_words(rates: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(rates):8.0f} {f'{min(rates):.0f} to {max(rates):.0f}':>17}"


if __name__ == "__main__":
    main()
