"""What surrounds the steps: the machine's matrix peak, evaluation and augmentation."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.core.augment import pipeline
from bench.core.networks import CoreNetwork, Meter
from bench.core.precision import DTYPES, Precision
from bench.core.task import inference_batch
from bench.perf.steps import Workload
from bench.perf.timing import Median, alternate, median

MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
PLAIN_BATCH = 128
"""The batch of the evaluation loop that the released codes have."""


def matrix_peak(precision: str, device: torch.device, rounds: int = 5) -> float:
    """Floating-point operations a second of the best of `rounds` square matrix products in this precision."""
    side = MATRIX_SIDE[device.type]
    left = torch.randn(side, side, device=device, dtype=DTYPES[precision])
    right = torch.randn(side, side, device=device, dtype=DTYPES[precision])
    out = torch.empty_like(left)
    seconds = alternate({"product": lambda: torch.mm(left, right, out=out)}, rounds, device)["product"]
    return float(2 * side**3 / seconds.min())


class PlainEvaluation:
    """Evaluation as released codes do it: gradients off, batches of 128, fp32, NCHW."""

    def __init__(self, work: Workload, images: torch.Tensor) -> None:
        self.network = work.network(images.device).to(memory_format=torch.contiguous_format).eval()
        self.images = images.contiguous()

    @torch.no_grad()
    def __call__(self) -> None:
        for start in range(0, len(self.images), PLAIN_BATCH):
            self.network(self.images[start : start + PLAIN_BATCH]).argmax(dim=1)


class CoreEvaluation:
    """Evaluation as the core does it: inference mode, large batches, the run's precision, channels_last."""

    def __init__(self, work: Workload, images: torch.Tensor) -> None:
        module = work.network(images.device).eval()
        self.network = CoreNetwork(module, Precision(work.precision, images.device), Meter())
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.size = inference_batch(images.device, (work.size, work.size))

    @torch.inference_mode()
    def __call__(self) -> None:
        for start in range(0, len(self.images), self.size):
            self.network(self.images[start : start + self.size]).argmax(dim=1)


def evaluation(work: Workload, samples: int, rounds: int, device: torch.device) -> tuple[float, Median]:
    """(images a second of the core's evaluation, how many times the plain loop's), over `samples` ready images."""
    images = torch.randn(samples, work.channels, work.size, work.size, device=device)
    loops: dict[str, Callable[[], None]] = {
        "plain": PlainEvaluation(work, images),
        "core": CoreEvaluation(work, images),
    }
    seconds = alternate(loops, rounds, device, warm_up=1)
    core = median(seconds["core"])
    return samples / core.value, median(seconds["plain"] / seconds["core"])


def augmentation_milliseconds(work: Workload, name: str, rounds: int, device: torch.device) -> float:
    """Milliseconds that gathering, augmenting by `name` and normalising one batch take."""
    augmentation = pipeline(name)
    strong = Workload(work.model, work.size, work.channels, work.batch, name, work.precision)
    store = strong.store(4 * work.batch, device)
    draws = augmentation.draws(work.batch, store.size, torch.Generator().manual_seed(0))
    on_device = {key: values.to(device) for key, values in draws.items()}
    index = torch.randint(len(store), (work.batch,), device=device)
    seconds = alternate({name: lambda: augmentation.apply(store, index, on_device)}, rounds, device)[name]
    return median(seconds).value * 1e3
