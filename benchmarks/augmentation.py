"""What augmenting a batch costs, by name, and what torchvision takes for the same images one by one.

"mirrored" where the store keeps images' mirror images, as runs on a CPU do.

python benchmarks/augmentation.py [--batch 128] [--size 32] [--channels 3] [--threads 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torchvision.transforms import v2

from bench.training.augmentation import build_augmentation
from bench.training.images.image_store import ImageStore
from bench.training.precision import prepare_process

NAMES = (
    "none",
    "crop1",
    "crop4",
    "crop4+flip",
    "crop4+flip+rotate20",
    "crop4+flip+cutout",
    "crop4+flip+autoaugment",
    "crop4+flip+randaugment",
    "crop4+flip+randaugment+cutout",
)


def median_milliseconds(work: Callable[[], object], wait: Callable[[], None], repeats: int) -> float:
    """The median of `repeats` timed calls after three that warm up."""
    taken = []
    for _ in range(repeats + 3):
        wait()
        began = time.perf_counter()
        work()
        wait()
        taken.append(time.perf_counter() - began)
    return sorted(taken[3:])[repeats // 2] * 1e3


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    prepare_process(asked.threads)
    device = torch.device(asked.device)
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    generator = torch.Generator().manual_seed(0)
    shape = (20 * asked.batch, asked.size, asked.size, asked.channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    mean, std = [0.5] * asked.channels, [0.25] * asked.channels
    plain, mirrored = (ImageStore(images.to(device), mean, std, 4, mirrored=both) for both in (False, True))
    index = torch.randperm(len(images), generator=generator)[: asked.batch].to(device)
    milliseconds = {}
    kinds = [(name, plain) for name in NAMES] + [(name, mirrored) for name in NAMES if "flip" in name]
    for name, kept in kinds:
        augmentation = build_augmentation(name)
        draws = {
            key: values.to(device) for key, values in augmentation.draws(asked.batch, kept.size, generator).items()
        }
        milliseconds[f"{name}, mirrored" if kept.mirrored else name] = median_milliseconds(
            partial(augmentation.apply, kept, index, draws), wait, asked.repeats
        )
    crop_and_flip = v2.Compose(
        [
            v2.RandomCrop(asked.size, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    originals = list(images[: asked.batch].permute(0, 3, 1, 2).contiguous())
    milliseconds["torchvision crop4+flip, image by image"] = median_milliseconds(
        lambda: torch.stack([crop_and_flip(image) for image in originals]), lambda: None, max(asked.repeats // 20, 3)
    )
    print(f"batch {asked.batch} of {asked.size} x {asked.size} x {asked.channels}, {asked.threads} threads, {device}")
    for name, taken in milliseconds.items():
        print(f"{name:40} {taken:8.3f} ms {asked.batch / taken * 1e3:12,.0f} images/s")
    if asked.json is not None:
        asked.json.write_text(json.dumps({**vars(asked), "json": None, "milliseconds": milliseconds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
