"""The data of one run: a draw of the data set, its noisy labels, the hold-out, and the part that a method may see.

`build_noisy_data` makes it in this order: draw, noise, hold-out. `build_training_part` then hides the clean labels, and
`build_trainer` puts the spec's method on it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.models.weights import WeightsFile
from bench.registry import facts_for, load_method, noise_hash, open_data_set, open_noise
from bench.spec import RunSpec, Runtime
from bench.spec.privileges import given_matrix, given_noise_rate
from bench.system.files import file_hash
from bench.training.augmentation import padding_and_flips
from bench.training.content_check import check_data, check_matrix, check_noise
from bench.training.distributed import SINGLE_PROCESS, ProcessGroup
from bench.training.ensemble import Ensemble
from bench.training.images.image_sets import ImageSets
from bench.training.images.image_store import Images
from bench.training.method_task import TrainingPart
from bench.training.pretrained import in_place_of_images
from bench.training.trainer import Trainer, never_stop
from datasets.draw import draw_indices, hold_out
from datasets.interface import Data, Findings, Labels, Options
from datasets.label_columns import take
from datasets.noise import ImageSource, Noise, NoiseFacts, NoisyLabels, corrupt
from datasets.noise.labels import load_labels
from datasets.samples import Pixels
from datasets.selected import select
from datasets.splits import split_name
from methods.interface import Method


@dataclass(frozen=True)
class NoisyData:
    """The data of one run: the indices `drawn` from the data set, their labels, and the split of the draw.

    `train` and `hold_out` are positions in the draw. `images` holds the parts "train", "held" and "test", and "second"
    where there is a second test set; close it at the end, since it may have worker processes.
    """

    data: Data
    drawn: NDArray[np.int64]
    clean_labels: Labels | None
    """None where nobody knows which labels are wrong."""
    noisy: NoisyLabels
    train: NDArray[np.int64]
    hold_out: NDArray[np.int64]
    images: ImageSets
    given_matrix: NDArray[np.float64] | None = None
    """The transition matrix from the user's file, for a method that needs one."""
    findings: Findings | None = None
    """What people found of the labels of the draw, RIGHT, WRONG or UNSEEN each; None where none of them was looked at,
    or where noise changes labels."""

    def on(self, data: Data) -> NoisyData:
        """The same draw, labels and split with the images of `data`."""
        return replace(self, data=data, images=build_image_sets(data, self.drawn, self.train, self.hold_out))


def build_noisy_data(spec: RunSpec, runtime: Runtime) -> NoisyData:
    """Draw, then add noise to the whole draw, then hold out: the same for every method and every machine.

    Raises DataError where a file isn't the one that the run was planned for.
    """
    data, data_sha256 = load_data(spec, runtime)
    check_data(spec, runtime, data_sha256)
    classes = len(data.description.classes)
    noise = None if runtime.labels_source is not None else open_noise(runtime.noise_source)
    eligible = None if noise is None else noise.labelled(data.columns)
    drawn = draw_indices(data.train.labels, classes, spec.train_size, spec.imbalance, spec.split_seed, eligible)
    clean_labels = data.train.labels[drawn]
    columns = take(data.columns, drawn)
    split = split_name(data.description.seeded_split, spec.split_seed)
    if noise is None:
        path = Path(str(runtime.labels_source))
        noisy = load_labels(path, classes, spec.data_sha256, clean_labels, drawn, len(data.train), split)
        check_noise(spec, runtime, file_hash(path))
    else:
        facts = facts_for(noise, data.description, runtime.data_source, data_options(spec, runtime))
        check_noise(spec, runtime, noise_hash(noise, facts, data_options(spec, runtime)))
        cache = None if runtime.cache is None else Path(runtime.cache)
        source = ImageSource.of(data, drawn, data_sha256, split, cache)
        noisy = corrupt(noise, clean_labels, facts, spec.rate, spec.noise_seed, spec.draw, columns, source)
    given = read_given_matrix(spec, runtime, data)
    data = in_place_of_images(data, spec, runtime)
    if noise is not None and noisy.clean is not None:
        clean_labels = noisy.clean
        data = noise.changed_data(data, drawn, clean_labels < 0, read_donor(noise, spec, runtime), spec.noise_seed)
    train, held = hold_out(noisy.labels, spec.hold_out, spec.split_seed)
    images = build_image_sets(data, drawn, train, held, runtime.images, count_decoders(runtime))
    known = None if noisy.realised_rate is None else clean_labels
    verified = data.verified if noise is not None and not noise.is_known else None
    findings = None if verified is None else verified.findings[drawn]
    return NoisyData(data, drawn, known, noisy, train, held, images, given, findings)


def read_donor(noise: Noise, spec: RunSpec, runtime: Runtime) -> Pixels | None:
    """The images that take the place of some, of another data set's training part; None where none do."""
    if not noise.donor:
        return None
    options = data_options(spec, runtime)
    return _load(noise.donor, replace(options, skip_unreadable=False), spec.split_seed)[0].train.images


def read_given_matrix(spec: RunSpec, runtime: Runtime, data: Data) -> NDArray[np.float64] | None:
    """The matrix of `--transition-matrix`, float64 (K, K), if the spec's method is told it."""
    if (stated := given_matrix(spec.privileges)) is None:
        return None
    noise = open_noise(f"matrix:{runtime.matrix_source}")
    check_matrix(runtime, stated, noise.file_hash())
    return noise.matrix(NoiseFacts.of(data.description), None)


def build_image_sets(
    data: Data,
    drawn: NDArray[np.int64],
    train: NDArray[np.int64],
    held: NDArray[np.int64],
    placement: str = "device",
    workers: int = 1,
) -> ImageSets:
    """The images of a run by part; `train` and `held` are positions in the draw."""
    parts = {
        "train": select(data.train.images, drawn[train]),
        "held": select(data.train.images, drawn[held]),
        "test": data.test.images,
        **({} if data.second_test is None else {"second": data.second_test.part.images}),
    }
    return ImageSets(parts, data.mean, data.std, placement, workers)


def count_decoders(runtime: Runtime) -> int:
    """The number of processes that read images from disk: every core for a GPU, half of them if the CPU trains too."""
    return runtime.threads if runtime.device.startswith("cuda") else -(-runtime.threads // 2)


@functools.lru_cache(maxsize=2)
def _load(source: str, options: Options, split_seed: int) -> tuple[Data, str]:
    data_set = open_data_set(source, options)
    return data_set.load(split_seed), data_set.content_hash()


def load_data(spec: RunSpec, runtime: Runtime) -> tuple[Data, str]:
    """A run's data set with its images, and its content hash.

    A worker process keeps the last two, since its next run likely needs the same.
    """
    return _load(runtime.data_source, data_options(spec, runtime), spec.split_seed)


def data_options(spec: RunSpec, runtime: Runtime) -> Options:
    """Where a run's data lies, and how it is read."""
    return Options(
        root=None if runtime.data_root is None else Path(runtime.data_root),
        download=runtime.download,
        image_size=spec.image_size,
        skip_unreadable=spec.unreadable_skipped > 0,
        cache=None if runtime.cache is None else Path(runtime.cache),
        stream=runtime.images == "disk" or runtime.stream,
    )


def store_images(images: Pixels, data: Data, device: torch.device, augmentations: tuple[str, ...] = ()) -> Images:
    """A store of further images of a data set on the device, with the padding that these augmentations need."""
    return ImageSets({"own": images}, data.mean, data.std).store("own", device, *padding_and_flips(*augmentations))


def build_trainer(
    noisy_data: NoisyData,
    spec: RunSpec,
    device: torch.device,
    should_stop: Callable[[], bool] = never_stop,
    group: ProcessGroup = SINGLE_PROCESS,
    steps: str = "auto",
    weights: WeightsFile | None = None,
) -> Trainer:
    """The spec's method, ready to train on its part of the data, from `weights` if any.

    `steps` is the step mode to ask for; see `bench.training.step_modes.choose_step_mode`.
    """
    method = build_method(spec)
    part = build_training_part(noisy_data, method, spec, device)
    return Trainer(method, spec, part, device, should_stop, group, steps, weights)


def build_method(spec: RunSpec) -> Method:
    """The spec's method, or an ensemble of as many copies as the spec has members."""
    make = load_method(spec.method)
    method: Method = make(**spec.parameters)
    if spec.members > 1:
        method = Ensemble([method, *(make(**spec.parameters) for _ in range(spec.members - 1))])
    return method


def build_training_part(noisy_data: NoisyData, method: Method, spec: RunSpec, device: torch.device) -> TrainingPart:
    """The training part as the method may see it: with the privileges that it declared, else without clean labels."""
    images, noisy = noisy_data.images, noisy_data.noisy
    noisy_labels = noisy.labels[noisy_data.train]
    clean_labels = None if noisy_data.clean_labels is None else noisy_data.clean_labels[noisy_data.train]
    privileges: dict[str, Any] = {}
    if "noise_rate" in method.needs:
        rate = given_noise_rate(spec.privileges)
        if rate is None and clean_labels is not None:
            rate = float(np.mean(noisy_labels != clean_labels))
        privileges["noise_rate"] = rate
    if "transition_matrix" in method.needs:
        matrix = noisy.matrix if noisy_data.given_matrix is None else noisy_data.given_matrix
        privileges["transition_matrix"] = (
            None if matrix is None else torch.tensor(matrix, dtype=torch.float32, device=device)
        )
    if "clean_labels" in method.needs:
        privileges["clean_labels"] = None if clean_labels is None else torch.from_numpy(clean_labels).to(device)
    unknown = [name for name, value in privileges.items() if value is None]
    if unknown:
        raise ValueError(f"{method.name} needs {' and '.join(unknown)}, which the noise {spec.noise} can't give")
    return TrainingPart(
        images=images.store("train", device, *padding_and_flips(spec.augmentation, spec.strong_augmentation)),
        labels=torch.from_numpy(noisy_labels).to(device),
        classes=len(noisy_data.data.description.classes),
        held_images=images.store("held", device),
        held_labels=torch.from_numpy(noisy.labels[noisy_data.hold_out]).to(device),
        privileges=privileges,
    )
