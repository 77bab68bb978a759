"""One backbone's figures, and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bench.models.flops import flops_per_image
from bench.perf.parts import augmentation_milliseconds, evaluation
from bench.perf.steps import StepTimes, Workload, time_steps
from bench.perf.timing import Median

STRONG = "crop4+flip+autoaugment"


@dataclass(frozen=True)
class WayFigures:
    """The core's step carried out in one way, against the eager bare step that took turns with it."""

    steps: str
    core_milliseconds: float
    over_bare: Median
    images_per_second: float
    share_of_matrix_peak: float
    compile_seconds: float


@dataclass(frozen=True)
class Figures:
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
    ways: tuple[WayFigures, ...]

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON-able values; shares are fractions."""
        return asdict(self)


def measure(work: Workload, pairs: int, device: torch.device, peak: float, ways: Sequence[str] = ("eager",)) -> Figures:
    """Time one backbone, its steps in each of `ways`; `peak` is the machine's matrix peak in this precision, FLOP/s."""
    timed = [time_steps(work, pairs, device, steps=way) for way in ways]
    steps = timed[0]
    flops = flops_per_image(work.model, (work.size, work.size), work.channels, 10)[1]

    def of_way(times: StepTimes) -> WayFigures:
        milliseconds = times.milliseconds("core")
        rate = work.batch / milliseconds * 1e3
        return WayFigures(times.way, milliseconds, times.over("bare"), rate, rate * flops / peak, times.compile_seconds)

    found = tuple(map(of_way, timed))
    rounds = 5
    evaluated, over_plain = evaluation(work, 1024, rounds, device)
    return Figures(
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
        weak_milliseconds=augmentation_milliseconds(work, work.augmentation, 4 * rounds, device),
        strong_milliseconds=augmentation_milliseconds(work, STRONG, 4 * rounds, device),
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


def table(figures: Sequence[Figures]) -> str:
    """The figures as a Markdown table."""
    from tabulate import tabulate

    rows = [[cell(figure) for _, cell in COLUMNS] for figure in figures]
    return tabulate(rows, [name for name, _ in COLUMNS], tablefmt="github", disable_numparse=True)


WAY_COLUMNS = (
    ("backbone", lambda f, way: f.model),
    ("steps", lambda f, way: way.steps),
    ("core ms", lambda f, way: f"{way.core_milliseconds:.2f}"),
    ("core / bare eager", lambda f, way: str(way.over_bare)),
    ("images/s", lambda f, way: f"{way.images_per_second:,.0f}"),
    ("of peak", lambda f, way: f"{100 * way.share_of_matrix_peak:.0f} %"),
    ("once, s", lambda f, way: f"{way.compile_seconds:.1f}"),
)
"""What the table of several ways shows; "once" is what compiling and recording took."""


def table_of_ways(figures: Sequence[Figures]) -> str:
    """The core's step in each way that was asked for, as a Markdown table."""
    from tabulate import tabulate

    rows = [[cell(figure, way) for _, cell in WAY_COLUMNS] for figure in figures for way in figure.ways]
    return tabulate(rows, [name for name, _ in WAY_COLUMNS], tablefmt="github", disable_numparse=True)
