"""How long instance-dependent noise takes on as many images as CIFAR-10 has, beside the bare matrix product.

    python benchmarks/instance_noise.py

Draws 50,000 labels of 10 classes for random images of 32 x 32 x 3 and prints, for each noise, seconds of the processor
and how many times those of one product (50,000, 3,072) x (3,072, 10) in float64, medians of five taken in turn. Also
100 and 200 classes, whose weights are many: 31 and 123 million numbers.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from datasets.noise import ImageSource, NoiseFacts, corrupt
from datasets.noise.instance import InstanceDependent
from datasets.noise.instance_shared import InstanceDependentShared

IMAGES, SIDE = 50_000, 32


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of a call, all threads together."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Print the table."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    source = ImageSource(np.arange(IMAGES), IMAGES, "", None, pixels, (0.5,) * 3, (0.29,) * 3)
    values = pixels.reshape(IMAGES, -1).astype(np.float64)
    for classes in (10, 100, 200):
        weights, facts = generator.random((values.shape[1], classes)), NoiseFacts(tuple(map(str, range(classes))))
        clean = np.arange(IMAGES, dtype=np.int64) % classes
        works: dict[str, Callable[[], object]] = {"product": partial(np.matmul, values, weights)}
        for noise in (InstanceDependent(), InstanceDependentShared()):
            works[noise.name] = partial(corrupt, noise, clean, facts, 0.4, 0, source=source)
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(5 if classes == 10 else 1):
            for name, work in works.items():
                times[name].append(seconds(work))
        bare = statistics.median(times["product"])
        for name, taken in times.items():
            middle = statistics.median(taken)
            print(f"{classes:4} classes  {name:16} {middle:7.2f} s  {middle / bare:6.1f} x")


if __name__ == "__main__":
    main()
