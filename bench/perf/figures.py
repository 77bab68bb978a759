"""What surrounds the steps: the machine's matrix peak, evaluation and augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bench.models.flops import flops_per_image
from bench.perf.steps import StepTimes, Workload, time_steps
from bench.perf.timing import Median, median, time_alternately
from bench.training.augmentation import build_augmentation
from bench.training.inference import inference_batch
from bench.training.networks import PassCounter, TrainedNetwork
from bench.training.precision import DTYPES, Precision

MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
PLAIN_BATCH = 128
"""The batch of the evaluation loop that the released codes have."""


def measure_matrix_peak(precision: str, device: torch.device, rounds: int = 5) -> float:
    """Floating-point operations a second of the best of `rounds` square matrix products in this precision."""
    side = MATRIX_SIDE[device.type]
    left = torch.randn(side, side, device=device, dtype=DTYPES[precision])
    right = torch.randn(side, side, device=device, dtype=DTYPES[precision])
    out = torch.empty_like(left)
    seconds = time_alternately({"product": lambda: torch.mm(left, right, out=out)}, rounds, device)["product"]
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
        self.network = TrainedNetwork(module, Precision(work.precision, images.device), PassCounter())
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.size = inference_batch(images.device, (work.size, work.size))

    @torch.inference_mode()
    def __call__(self) -> None:
        for start in range(0, len(self.images), self.size):
            self.network(self.images[start : start + self.size]).argmax(dim=1)


def measure_evaluation(work: Workload, samples: int, rounds: int, device: torch.device) -> tuple[float, Median]:
    """(images a second of the core's evaluation, how many times the plain loop's), over `samples` ready images."""
    images = torch.randn(samples, work.channels, work.size, work.size, device=device)
    loops: dict[str, Callable[[], None]] = {
        "plain": PlainEvaluation(work, images),
        "core": CoreEvaluation(work, images),
    }
    seconds = time_alternately(loops, rounds, device, warm_up=1)
    core = median(seconds["core"])
    return samples / core.value, median(seconds["plain"] / seconds["core"])


def measure_augmentation(work: Workload, name: str, rounds: int, device: torch.device) -> float:
    """Milliseconds that gathering, augmenting by `name` and normalising one batch take."""
    augmentation = build_augmentation(name)
    strong = Workload(work.model, work.size, work.channels, work.batch, name, work.precision)
    store = strong.store(4 * work.batch, device)
    draws = augmentation.draws(work.batch, store.size, torch.Generator().manual_seed(0))
    on_device = {key: values.to(device) for key, values in draws.items()}
    index = torch.randint(len(store), (work.batch,), device=device)
    seconds = time_alternately({name: lambda: augmentation.apply(store, index, on_device)}, rounds, device)[name]
    return median(seconds).value * 1e3


STRONG = "crop4+flip+autoaugment"


@dataclass(frozen=True)
class StepModeFigures:
    """The core's step carried out in one way, against the eager bare step that took turns with it."""

    steps: str
    core_milliseconds: float
    over_bare: Median
    images_per_second: float
    share_of_matrix_peak: float
    compile_seconds: float


@dataclass(frozen=True)
class ModelFigures:
    """What was measured of one backbone. Milliseconds are of one batch; `over_*` are ratios of paired steps.

    The figures of the core's step are those of the first of `ways`.
    """

    model: str
    precision: str
    batch: int
    pairs: int
    bare_milliseconds: float
    core_milliseconds: float
    over_bare: Median
    over_bare_with_clip: Median
    images_per_second: float
    training_megaflops_per_image: float
    share_of_matrix_peak: float
    evaluation_images_per_second: float
    evaluation_over_plain: Median
    weak_milliseconds: float
    strong_milliseconds: float
    ways: tuple[StepModeFigures, ...]

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON-able values; shares are fractions."""
        return asdict(self)


def measure_model(
    work: Workload, pairs: int, device: torch.device, peak: float, ways: Sequence[str] = ("eager",)
) -> ModelFigures:
    """Time one backbone, its steps in each of `ways`; `peak` is the machine's matrix peak in this precision, FLOP/s."""
    timed = [time_steps(work, pairs, device, steps=way) for way in ways]
    steps = timed[0]
    flops = flops_per_image(work.model, (work.size, work.size), work.channels, 10)[1]

    def of_way(times: StepTimes) -> StepModeFigures:
        milliseconds = times.milliseconds("core")
        rate = work.batch / milliseconds * 1e3
        return StepModeFigures(
            times.way, milliseconds, times.over("bare"), rate, rate * flops / peak, times.compile_seconds
        )

    found = tuple(map(of_way, timed))
    rounds = 5
    evaluated, over_plain = measure_evaluation(work, 1024, rounds, device)
    return ModelFigures(
        model=work.model,
        precision=work.precision,
        batch=work.batch,
        pairs=pairs,
        bare_milliseconds=steps.milliseconds("bare"),
        core_milliseconds=found[0].core_milliseconds,
        over_bare=found[0].over_bare,
        over_bare_with_clip=steps.over("bare with clip"),
        images_per_second=found[0].images_per_second,
        training_megaflops_per_image=flops / 1e6,
        share_of_matrix_peak=found[0].share_of_matrix_peak,
        evaluation_images_per_second=evaluated,
        evaluation_over_plain=over_plain,
        weak_milliseconds=measure_augmentation(work, work.augmentation, 4 * rounds, device),
        strong_milliseconds=measure_augmentation(work, STRONG, 4 * rounds, device),
        ways=found,
    )


COLUMNS = (
    ("backbone", lambda f: f.model),
    ("bare ms", lambda f: f"{f.bare_milliseconds:.2f}"),
    ("core ms", lambda f: f"{f.core_milliseconds:.2f}"),
    ("core / bare", lambda f: str(f.over_bare)),
    ("with clip in both", lambda f: str(f.over_bare_with_clip)),
    ("images/s", lambda f: f"{f.images_per_second:,.0f}"),
    ("MFLOP/image", lambda f: f"{f.training_megaflops_per_image:,.0f}"),
    ("of peak", lambda f: f"{100 * f.share_of_matrix_peak:.0f} %"),
    ("eval images/s", lambda f: f"{f.evaluation_images_per_second:,.0f}"),
    ("eval / plain loop", lambda f: str(f.evaluation_over_plain)),
    ("weak view", lambda f: f"{100 * f.weak_milliseconds / f.core_milliseconds:.1f} %"),
    ("strong view", lambda f: f"{100 * f.strong_milliseconds / f.core_milliseconds:.1f} %"),
)
"""What the table shows; views are shares of the core's step."""


def figures_table(figures: Sequence[ModelFigures]) -> str:
    """The figures as a Markdown table."""
    from tabulate import tabulate

    rows = [[cell(figure) for _, cell in COLUMNS] for figure in figures]
    return tabulate(rows, [name for name, _ in COLUMNS], tablefmt="github", disable_numparse=True)


STEP_MODE_COLUMNS = (
    ("backbone", lambda f, way: f.model),
    ("steps", lambda f, way: way.steps),
    ("core ms", lambda f, way: f"{way.core_milliseconds:.2f}"),
    ("core / bare eager", lambda f, way: str(way.over_bare)),
    ("images/s", lambda f, way: f"{way.images_per_second:,.0f}"),
    ("of peak", lambda f, way: f"{100 * way.share_of_matrix_peak:.0f} %"),
    ("once, s", lambda f, way: f"{way.compile_seconds:.1f}"),
)
"""What the table of several ways shows; "once" is what compiling and recording took."""


def step_modes_table(figures: Sequence[ModelFigures]) -> str:
    """The core's step in each way that was asked for, as a Markdown table."""
    from tabulate import tabulate

    rows = [[cell(figure, way) for _, cell in STEP_MODE_COLUMNS] for figure in figures for way in figure.ways]
    return tabulate(rows, [name for name, _ in STEP_MODE_COLUMNS], tablefmt="github", disable_numparse=True)
