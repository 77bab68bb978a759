"""What one run is about: a draw of the data, its noisy labels, the hold-out, and what of it a method may see."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.registry import load_method, open_data_set, open_noise
from bench.spec import RunSpec, Runtime
from bench.spec.privileges import given_noise_rate
from bench.training.augmentation import build_augmentation
from bench.training.distributed import SINGLE_PROCESS, ProcessGroup
from bench.training.ensemble import Ensemble
from bench.training.images.image_sets import ImageSets
from bench.training.images.image_store import Images
from bench.training.trainer import Trainer, TrainingPart, never_stop
from datasets.draw import draw_indices, hold_out
from datasets.interface import Data, Labels, Options, Pixels
from datasets.noise import NoiseFacts, NoisyLabels, corrupt
from datasets.noise.labels import load_labels
from datasets.selected import select
from datasets.splits import split_name
from methods.interface import Method


@dataclass(frozen=True)
class NoisyData:
    """What one run is about: a draw of the data, its noisy labels, and the split into training part and hold-out.

    `images` keeps the parts "train", "held" and "test"; close it where reading them may have taken processes.
    """

    data: Data
    drawn: NDArray[np.int64]
    clean: Labels
    noisy: NoisyLabels
    train: NDArray[np.int64]
    hold_out: NDArray[np.int64]
    images: ImageSets

    def on(self, data: Data) -> NoisyData:
        """The same draw, labels and split on other images, `data`'s."""
        return replace(self, data=data, images=build_image_sets(data, self.drawn, self.train, self.hold_out))


def build_noisy_data(spec: RunSpec, runtime: Runtime) -> NoisyData:
    """Draw, then noise over the whole draw, then the hold-out: the same for every method and every machine."""
    data = load_data(runtime.data_source, runtime, spec.image_size, spec.split_seed)
    classes = len(data.description.classes)
    drawn = draw_indices(data.train.labels, classes, spec.train_size, spec.imbalance, spec.split_seed)
    clean = data.train.labels[drawn]
    columns = {name: values[drawn] for name, values in data.columns.items()}
    if runtime.labels_source is not None:
        split = split_name(data.description.seeded_split, spec.split_seed)
        noisy = load_labels(
            Path(runtime.labels_source), classes, spec.data_sha256, clean, drawn, len(data.train), split
        )
    else:
        facts = NoiseFacts.of(data.description)
        noise = open_noise(runtime.noise_source)
        noisy = corrupt(noise, clean, facts, spec.rate, spec.noise_seed, spec.draw, columns)
    train, held = hold_out(noisy.labels, spec.hold_out, spec.split_seed)
    images = build_image_sets(data, drawn, train, held, runtime.images, count_decoders(runtime))
    return NoisyData(data, drawn, clean, noisy, train, held, images)


def build_image_sets(
    data: Data,
    drawn: NDArray[np.int64],
    train: NDArray[np.int64],
    held: NDArray[np.int64],
    placement: str = "device",
    workers: int = 1,
) -> ImageSets:
    """The parts of a problem's images; `train` and `held` are positions among the `drawn`."""
    parts = {
        "train": select(data.train.images, drawn[train]),
        "held": select(data.train.images, drawn[held]),
        "test": data.test.images,
    }
    return ImageSets(parts, data.mean, data.std, placement, workers)


def count_decoders(runtime: Runtime) -> int:
    """How many processes read images from disk: a card leaves the cores to them, a processor needs half of its own."""
    return runtime.threads if runtime.device.startswith("cuda") else -(-runtime.threads // 2)


@functools.lru_cache(maxsize=2)
def _load(source: str, options: Options, split_seed: int) -> Data:
    return open_data_set(source, options).load(split_seed)


def load_data(source: str, runtime: Runtime, image_size: int | None, split_seed: int) -> Data:
    """A data set's images; a worker keeps the last two, since its next run likely wants the same."""
    options = Options(
        root=None if runtime.data_root is None else Path(runtime.data_root),
        download=runtime.download,
        image_size=image_size,
        cache=None if runtime.cache is None else Path(runtime.cache),
        stream=runtime.images == "disk",
    )
    return _load(source, options, split_seed)


def store_images(images: Pixels, data: Data, device: torch.device, augmentations: tuple[str, ...] = ()) -> Images:
    """Images of a data set that no part of a run holds, on the device, as these augmentations want them."""
    return ImageSets({"own": images}, data.mean, data.std).store(
        "own", device, list(map(build_augmentation, augmentations))
    )


def build_trainer(
    problem: NoisyData,
    spec: RunSpec,
    device: torch.device,
    should_stop: Callable[[], bool] = never_stop,
    ranks: ProcessGroup = SINGLE_PROCESS,
    steps: str = "auto",
) -> Trainer:
    """The spec's method, ready to train on its part of the problem.

    `steps` is how they are to be carried out; see `bench.training.step_modes.choose_step_mode`.
    """
    method = build_method(spec)
    return Trainer(method, spec, build_training_part(problem, method, spec, device), device, should_stop, ranks, steps)


def build_method(spec: RunSpec) -> Method:
    """The spec's method, or as many copies of it as the spec has members."""
    make = load_method(spec.method)
    method: Method = make(**spec.parameters)
    if spec.members > 1:
        method = Ensemble([method, *(make(**spec.parameters) for _ in range(spec.members - 1))])
    return method


def build_training_part(problem: NoisyData, method: Method, spec: RunSpec, device: torch.device) -> TrainingPart:
    """The training part as the method may see it, with the privileges that it declared and no clean label else."""
    given, clean = problem.noisy.labels[problem.train], problem.clean[problem.train]
    privileges: dict[str, Any] = {}
    if "noise_rate" in method.needs:
        told = given_noise_rate(spec.privileges)
        privileges["noise_rate"] = float(np.mean(given != clean)) if told is None else told
    if "transition_matrix" in method.needs:
        if problem.noisy.matrix is None:
            raise ValueError(f"{method.name} needs a transition matrix, which {spec.noise} can't give")
        privileges["transition_matrix"] = torch.tensor(problem.noisy.matrix, dtype=torch.float32, device=device)
    if "clean_labels" in method.needs:
        privileges["clean_labels"] = torch.from_numpy(clean).to(device)
    return TrainingPart(
        images=problem.images.store(
            "train", device, list(map(build_augmentation, (spec.augmentation, spec.strong_augmentation)))
        ),
        labels=torch.from_numpy(given).to(device),
        classes=len(problem.data.description.classes),
        held_images=problem.images.store("held", device),
        held_labels=torch.from_numpy(problem.noisy.labels[problem.hold_out]).to(device),
        privileges=privileges,
    )
