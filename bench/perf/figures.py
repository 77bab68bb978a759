"""The figures of `perf`: steps against the machine's matrix peak, evaluation and augmentation, as tables.

Read `measure_model` first: it takes all measurements of one backbone. The tables are at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bench.models.flops import flops_per_image
from bench.perf.step_times import WARM_UP, StepTimes, Workload, time_steps
from bench.perf.timing import Median, PairProgress, median, time_alternately
from bench.training.augmentation import build_augmentation
from bench.training.inference import inference_batch
from bench.training.networks import PassCounter, TrainedNetwork
from bench.training.precision import DTYPES, Precision

MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
EVALUATED, ROUNDS = 1024, 5
"""Images that are evaluated, and rounds of that."""
PLAIN_BATCH = 128
"""The batch size of the evaluation loop in released codes."""


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

    def __init__(self, workload: Workload, images: torch.Tensor) -> None:
        self.network = workload.build_network(images.device).to(memory_format=torch.contiguous_format).eval()
        self.images = images.contiguous()

    @torch.no_grad()
    def __call__(self) -> None:
        for start in range(0, len(self.images), PLAIN_BATCH):
            self.network(self.images[start : start + PLAIN_BATCH]).argmax(dim=1)


class CoreEvaluation:
    """Evaluation as the core does it: inference mode, large batches, the run's precision, channels_last."""

    def __init__(self, workload: Workload, images: torch.Tensor) -> None:
        module = workload.build_network(images.device).eval()
        self.network = TrainedNetwork(module, Precision(workload.precision, images.device), PassCounter())
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.size = inference_batch(images.device, (workload.size, workload.size))

    @torch.inference_mode()
    def __call__(self) -> None:
        for start in range(0, len(self.images), self.size):
            self.network(self.images[start : start + self.size]).argmax(dim=1)


def measure_evaluation(workload: Workload, samples: int, rounds: int, device: torch.device) -> tuple[float, Median]:
    """(images a second of the core's evaluation, how many times the plain loop's), over `samples` ready images."""
    images = torch.randn(samples, workload.channels, workload.size, workload.size, device=device)
    loops: dict[str, Callable[[], None]] = {
        "plain": PlainEvaluation(workload, images),
        "core": CoreEvaluation(workload, images),
    }
    seconds = time_alternately(loops, rounds, device, warm_up=1)
    core = median(seconds["core"])
    return samples / core.value, median(seconds["plain"] / seconds["core"])


def measure_augmentation(workload: Workload, name: str, rounds: int, device: torch.device) -> float:
    """Milliseconds that gathering, augmenting by `name` and normalising one batch take."""
    augmentation = build_augmentation(name)
    store = replace(workload, augmentation=name).store(4 * workload.batch, device)
    draws = augmentation.draws(workload.batch, store.size, torch.Generator().manual_seed(0))
    on_device = {key: values.to(device) for key, values in draws.items()}
    index = torch.randint(len(store), (workload.batch,), device=device)
    seconds = time_alternately({name: lambda: augmentation.apply(store, index, on_device)}, rounds, device)[name]
    return median(seconds).value * 1e3


STRONG = "crop4+flip+autoaugment"


@dataclass(frozen=True)
class StepModeFigures:
    """The core's step in one step mode, against the eager bare step that took turns with it."""

    steps: str
    core_milliseconds: float
    over_bare: Median
    images_per_second: float
    share_of_matrix_peak: float
    compile_seconds: float


@dataclass(frozen=True)
class ModelFigures:
    """The measurements of one backbone. Milliseconds are of one batch; `over_*` are ratios of paired steps.

    `ways` has figures of the core's step for each step mode; the other figures of it are those of the first mode.
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


def measure_model(
    workload: Workload,
    pairs: int,
    device: torch.device,
    peak: float,
    step_modes: Sequence[str] = ("eager",),
    limit: float = math.inf,
    say: Callable[[str], None] = lambda text: None,
) -> ModelFigures:
    """Time one backbone, its steps in each mode; `peak` is the machine's matrix peak in this precision, FLOP/s.

    The pairs of a mode end after `limit` seconds. `say` gets a line on the progress now and then.
    """
    flops = flops_per_image(workload.model, (workload.size, workload.size), workload.channels, 10)[1]
    timed = []
    for number, mode in enumerate(step_modes, start=1):
        name = workload.model if len(step_modes) == 1 else f"{workload.model} ({mode} steps)"
        # a turn passes forwards and backwards three times, which costs nine forward passes
        more = EVALUATED * 2 * (ROUNDS + 2) / (9 * workload.batch) if number == len(step_modes) else 0.0
        progress = PairProgress(name, pairs + WARM_UP, more, say)
        progress.limit = limit
        timed.append(time_steps(workload, pairs, device, mode, limit, progress))
    say(f"perf: {workload.model}, evaluation and augmentation")
    ways = tuple(step_mode_figures(times, flops / peak) for times in timed)
    evaluated, over_plain = measure_evaluation(workload, EVALUATED, ROUNDS, device)
    return ModelFigures(
        model=workload.model,
        precision=workload.precision,
        batch=workload.batch,
        pairs=len(timed[0].seconds["core"]),
        bare_milliseconds=timed[0].milliseconds("bare"),
        core_milliseconds=ways[0].core_milliseconds,
        over_bare=ways[0].over_bare,
        over_bare_with_clip=timed[0].over("bare with clip"),
        images_per_second=ways[0].images_per_second,
        training_megaflops_per_image=flops / 1e6,
        share_of_matrix_peak=ways[0].share_of_matrix_peak,
        evaluation_images_per_second=evaluated,
        evaluation_over_plain=over_plain,
        weak_milliseconds=measure_augmentation(workload, workload.augmentation, 4 * ROUNDS, device),
        strong_milliseconds=measure_augmentation(workload, STRONG, 4 * ROUNDS, device),
        ways=ways,
    )


def step_mode_figures(times: StepTimes, flops_over_peak: float) -> StepModeFigures:
    """The figures of one step mode; `flops_over_peak`: operations of training on one image over those of a second."""
    milliseconds = times.milliseconds("core")
    rate = times.workload.batch / milliseconds * 1e3
    return StepModeFigures(
        times.step_mode, milliseconds, times.over("bare"), rate, rate * flops_over_peak, times.compile_seconds
    )


Columns = Sequence[tuple[str, Callable[..., str]]]
COLUMNS: Columns = (
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
"""The columns of the table; views are shares of the core's step."""


def figures_table(figures: Sequence[ModelFigures]) -> str:
    """The figures as a Markdown table."""
    return _table(COLUMNS, [(figure,) for figure in figures])


STEP_MODE_COLUMNS: Columns = (
    ("backbone", lambda f, way: f.model),
    ("steps", lambda f, way: way.steps),
    ("core ms", lambda f, way: f"{way.core_milliseconds:.2f}"),
    ("core / bare eager", lambda f, way: str(way.over_bare)),
    ("images/s", lambda f, way: f"{way.images_per_second:,.0f}"),
    ("of peak", lambda f, way: f"{100 * way.share_of_matrix_peak:.0f} %"),
    ("once, s", lambda f, way: f"{way.compile_seconds:.1f}"),
)
"""The columns of the table of several step modes; "once" is the time of compiling and recording."""


def step_modes_table(figures: Sequence[ModelFigures]) -> str:
    """The core's step in each step mode, as a Markdown table."""
    return _table(STEP_MODE_COLUMNS, [(figure, way) for figure in figures for way in figure.ways])


def _table(columns: Columns, rows: Sequence[tuple[Any, ...]]) -> str:
    from tabulate import tabulate

    cells = [[cell(*row) for _, cell in columns] for row in rows]
    return tabulate(cells, [name for name, _ in columns], tablefmt="github", disable_numparse=True)
