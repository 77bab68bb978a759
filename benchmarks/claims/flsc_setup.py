"""What the two evaluations of FLSC share: runs as the command line would plan them, label noises, paired intervals."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.execution.backends import make_runtimes
from bench.memory.job_limits import JobLimits
from bench.planning.gather_facts import gather_facts
from bench.planning.plan import make_plan
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.registry import open_data_set
from bench.spec import RunSpec
from bench.stats.summary import Summary, summarise
from bench.system.hardware import cpu_name
from bench.training.images.image_store import Images as StoredImages
from bench.training.noisy_data import NoisyData, build_noisy_data, build_trainer
from bench.training.precision import prepare_process
from bench.training.trainer import Trainer
from datasets.backgrounds import swap_backgrounds, tint
from datasets.interface import Options, Part
from datasets.randomness import order, uniforms
from datasets.synthetic import Synthetic

HERE = Path(__file__).parent
NOISES = {
    "asym": f"matrix:{HERE / 'synthetic-asym.csv'}",
    "hard": f"matrix:{HERE / 'synthetic-hard.csv'}",
    "cifar10-asym": f"matrix:{HERE / 'cifar10-asym.csv'}",
}
"""Noises for the ten classes of `synthetic`, and for a table of CIFAR-10, which document no class pairs of their own.

asym: the five striped classes are labelled as the plain class of the same colour at 0.4 (0.20 overall), as CIFAR-10's
pairs are one-way for three of five. hard: every class has three confusions (the class of the same colour, the next two
by id) in proportions 5 : 3 : 2, and a rate of its own from 0.2 to 0.6 (0.39 overall). cifar10-asym: CIFAR-10's own
pairs at 0.4 (0.20 overall), its classes in the order of their names, which is CIFAR-10's.
"""

CUE_SHARE = 0.9
CUE_STRENGTH = 0.35
"""Share of images whose background is tinted as their given label says, and the tint's share of a pixel."""

Images = NDArray[np.uint8]


def hard_matrix() -> NDArray[np.float64]:
    """The matrix of synthetic-hard.csv, (10, 10), rows clean classes."""
    matrix = np.zeros((10, 10))
    for clean, rate in enumerate((0.5, 0.3, 0.4, 0.2, 0.5, 0.3, 0.6, 0.2, 0.4, 0.5)):
        for step, share in ((5, 0.5), (1, 0.3), (2, 0.2)):
            matrix[clean, (clean + step) % 10] = rate * share
        matrix[clean, clean] = 1 - rate
    return matrix


def asym_matrix() -> NDArray[np.float64]:
    """The matrix of synthetic-asym.csv, (10, 10), rows clean classes."""
    matrix = np.eye(10)
    for clean in range(5, 10):
        matrix[clean, clean], matrix[clean, clean - 5] = 0.6, 0.4
    return matrix


def cifar10_asym_matrix() -> NDArray[np.float64]:
    """The matrix of cifar10-asym.csv, (10, 10): truck to automobile, bird to airplane, deer to horse, cat and dog."""
    matrix = np.eye(10)
    for clean, other in ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)):
        matrix[clean, clean], matrix[clean, other] = 0.6, 0.4
    return matrix


def write_matrices(folder: Path = HERE) -> None:
    """Write all matrices as `--noise matrix:FILE` reads them."""
    matrices = {"synthetic-asym": asym_matrix(), "synthetic-hard": hard_matrix(), "cifar10-asym": cifar10_asym_matrix()}
    for name, matrix in matrices.items():
        np.savetxt(folder / f"{name}.csv", matrix, fmt="%.4g", delimiter=",")


Change = Callable[[RunSpec, NoisyData], NoisyData]
"""What replaces the images of a problem before anything is trained."""


def problems(
    method: str, data_set: str, noise: str, seeds: str, change: Change | None = None, **options: Any
) -> Iterator[tuple[RunSpec, NoisyData]]:
    """A spec and its problem for each seed, planned as `python -m bench run` would; `options` as typed."""
    request = Request.typed(methods=(method,), dataset=data_set, noise=(noise,), seeds=seeds, device="cpu", **options)
    facts = gather_facts(validate_request(request))
    runtime = make_runtimes(request, facts, JobLimits(1, torch.get_num_threads()))
    for spec in make_plan(request, facts).specs:
        problem = build_noisy_data(spec, runtime(spec))
        yield spec, problem if change is None else change(spec, problem)


def replicates(
    method: str, data_set: str, noise: str, seeds: str, change: Change | None = None, **options: Any
) -> Iterator[tuple[RunSpec, NoisyData, Trainer]]:
    """The same, each with the trainer of its method."""
    for spec, problem in problems(method, data_set, noise, seeds, change, **options):
        yield spec, problem, build_trainer(problem, spec, torch.device("cpu"))


def cue_backgrounds(spec: RunSpec, problem: NoisyData) -> NoisyData:
    """The same problem with training backgrounds tinted by the GIVEN label, test backgrounds by a random one.

    A share of the training images keeps a tint drawn at random, so that the cue is strong and not certain. Objects
    aren't touched.
    """
    data, classes = problem.data, len(problem.data.description.classes)
    source = generator(spec)
    assert data.train.masks is not None and data.test.masks is not None
    cues = random_cues("train", len(data.train), classes)
    told = uniforms(0, "flsc/cue/told", len(cues))[problem.drawn] < CUE_SHARE
    cues[problem.drawn] = np.where(told, problem.noisy.labels, cues[problem.drawn])
    train = recoloured(pixels(data.train), data.train.masks, source.backgrounds("train"), cues, classes)
    elsewhere = random_cues("test", len(data.test), classes)
    test = recoloured(pixels(data.test), data.test.masks, source.backgrounds("test"), elsewhere, classes)
    return problem.on(replace(data, train=replace(data.train, images=train), test=replace(data.test, images=test)))


def pixels(part: Part) -> Images:
    """A part's images in memory."""
    return part.images[np.arange(len(part))]


def plain(images: StoredImages, index: Tensor) -> Tensor:
    """The images `index` (B,) of a store unaugmented and normalised, (B, C, H, W)."""
    ((store, places),) = images.prefetch([index])
    return store.plain(places)


def random_cues(part: str, count: int, classes: int) -> NDArray[np.int64]:
    """A tint for each image, whatever its label."""
    return (uniforms(0, f"flsc/cue/{part}", count) * classes).astype(np.int64)


def recoloured(
    images: Images, masks: NDArray[np.bool_], backgrounds: Images, cues: NDArray[np.int64], classes: int
) -> Images:
    """The objects as they are, on their own backgrounds in the tint of `cues`."""
    tinted = tint(backgrounds, cues, classes, CUE_STRENGTH)
    return swap_backgrounds(images, masks, tinted, np.arange(len(images)))


def swapped_test(spec: RunSpec, problem: NoisyData, cued: bool) -> Images:
    """Test images with the background of another test image; with `cued`, in that image's tint."""
    test, classes = problem.data.test, len(problem.data.description.classes)
    backgrounds = generator(spec).backgrounds("test")
    if cued:
        backgrounds = tint(backgrounds, random_cues("test", len(test), classes), classes, CUE_STRENGTH)
    assert test.masks is not None
    shuffled = order(0, "flsc/swap", len(test))
    # each image gets the background of the next one along a random ring, so none keeps its own
    sources = np.empty_like(shuffled)
    sources[shuffled] = np.roll(shuffled, 1)
    return swap_backgrounds(pixels(test), test.masks, backgrounds, sources)


def generator(spec: RunSpec) -> Synthetic:
    """The generator behind a spec's images. Raises TypeError where they are from elsewhere."""
    if not has_backgrounds(spec):
        raise TypeError(f"{spec.data_set} has no backgrounds of its own; only synthetic has")
    found = open_data_set(spec.data_set, Options(image_size=spec.image_size))
    assert isinstance(found, Synthetic)
    return found


def has_backgrounds(spec: RunSpec) -> bool:
    """Whether a spec's images are generated, so that objects can stand before other backgrounds."""
    return spec.data_set.partition("[")[0] == Synthetic.name


def interval(values: Sequence[float], signed: bool = False, digits: int = 3) -> str:
    """Mean and 95 % t-interval, such as "+0.012 [+0.001, +0.023]"."""
    found = summarise([float(value) for value in values])
    return text_of(found, signed, digits)


def text_of(found: Summary, signed: bool = False, digits: int = 3) -> str:
    """A summary in the form of `interval`; "–" where there is no number."""
    form = f"{{:{'+' if signed else ''}.{digits}f}}"
    if not math.isfinite(found.mean):
        return "–"
    if found.low is None or found.high is None:
        return form.format(found.mean)
    return f"{form.format(found.mean)} [{form.format(found.low)}, {form.format(found.high)}]"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def announce(threads: int) -> None:
    """Prepare the process, and say what was typed and where it runs."""
    prepare_process(threads)
    typed = " ".join([f"benchmarks/claims/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    print(f"`python {typed}`")
    print(f"\n{cpu_name()}, {threads} thread(s), torch {torch.__version__}\n")


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)
