"""One spec, start to record: the story of a run, read top to bottom."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench import measures, provenance
from bench.core import checkpoint
from bench.core.augment import pipeline
from bench.core.evaluate import EvaluationSet, log_probabilities, single_predictions, uncounted
from bench.core.images import ImageStore
from bench.core.precision import prepare_process
from bench.core.trainer import EpochDone, Trainer, TrainingPart, never
from bench.job import Diverged, Interrupted, Report
from bench.privileges import told_noise_rate
from bench.registry import load_method, load_plugins, open_data_set, open_noise
from bench.spec import RunSpec, Runtime
from bench.store import SCHEMA, Store
from datasets.draw import draw_indices, hold_out
from datasets.interface import Data, Labels, Options
from datasets.noise import NoiseFacts, NoisyLabels, corrupt
from datasets.noise.labels import load_labels
from datasets.splits import split_name
from methods.interface import Method, Phase

__all__ = ["Diverged", "Interrupted", "run"]

MEASURED_PER_RUN = 20
"""Training-set measures are taken every ceil(epochs / 20) epochs, and at the last."""

FINDING = ("auroc", "average_precision", "precision", "recall", "corrected", "damaged")
"""What of `measures.selector_quality` has a curve, as `selector_auroc` and so on."""


@dataclass(frozen=True)
class Problem:
    """What one run is about: a draw of the data, its noisy labels, and the split into training part and hold-out."""

    data: Data
    drawn: NDArray[np.int64]
    clean: Labels
    noisy: NoisyLabels
    train: NDArray[np.int64]
    hold_out: NDArray[np.int64]


def run(spec: RunSpec, runtime: Runtime, store: Store, report: Report, should_stop: Callable[[], bool] = never) -> None:
    """Carry out `spec` and write its record to `store`; `report(done, total)` is called after every epoch.

    Raises Diverged, or Interrupted once `should_stop()` is true; a checkpoint then lets the next call continue.
    """
    prepare_process(runtime.threads)
    load_plugins(runtime.plugins)
    device = torch.device(runtime.device)
    clock = provenance.Clock(device)
    problem = pose(spec, runtime)
    trainer = make_trainer(problem, spec, device, should_stop)
    observer = Observer(problem, trainer)
    path = store.checkpoint_path(spec.run_id)
    resume(path, trainer, observer, clock)
    report(trainer.epochs_done, trainer.total_epochs)
    saved = time.monotonic()
    for done in trainer.epochs():
        observer.epoch_done(done)
        report(done.number, trainer.total_epochs)
        if not done.last and time.monotonic() - saved >= runtime.checkpoint_seconds:
            save(path, trainer, observer, clock)
            saved = time.monotonic()
    store.write_record(
        {
            "schema": SCHEMA,
            "run_id": spec.run_id,
            "spec": spec.model_dump(mode="json"),
            "curves": observer.curves,
            "measures": observer.measures(spec),
            "provenance": provenance.collect(clock, trainer, observer.seconds, runtime),
        }
    )
    store.discard_checkpoint(spec.run_id)


def pose(spec: RunSpec, runtime: Runtime) -> Problem:
    """Draw, then noise over the whole draw, then the hold-out: the same for every method and every machine."""
    data = load(runtime.data_source, runtime, spec.image_size, spec.split_seed)
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
    return Problem(data, drawn, clean, noisy, train, held)


@functools.lru_cache(maxsize=2)
def _load(source: str, options: Options, split_seed: int) -> Data:
    return open_data_set(source, options).load(split_seed)


def load(source: str, runtime: Runtime, image_size: int | None, split_seed: int) -> Data:
    """A data set's images; a worker keeps the last two, since its next run likely wants the same."""
    options = Options(
        root=None if runtime.data_root is None else Path(runtime.data_root),
        download=runtime.download,
        image_size=image_size,
        cache=None if runtime.cache is None else Path(runtime.cache),
    )
    return _load(source, options, split_seed)


def image_store(
    images: NDArray[np.uint8], data: Data, device: torch.device, augmentations: tuple[str, ...] = ()
) -> ImageStore:
    """Images on the device, padded as far as the augmentations crop."""
    pad = max((pipeline(name).pad for name in augmentations), default=0)
    # a copy: the array may be a read-only memory map
    return ImageStore(torch.from_numpy(np.array(images)).to(device), data.mean, data.std, pad)


def make_trainer(
    problem: Problem, spec: RunSpec, device: torch.device, should_stop: Callable[[], bool] = never
) -> Trainer:
    """The spec's method, ready to train on its part of the problem."""
    method = load_method(spec.method)(**spec.parameters)
    return Trainer(method, spec, training_part(problem, method, spec, device), device, should_stop)


def training_part(problem: Problem, method: Method, spec: RunSpec, device: torch.device) -> TrainingPart:
    """The training part as the method may see it, with the privileges that it declared and no clean label else."""
    given, clean = problem.noisy.labels[problem.train], problem.clean[problem.train]
    privileges: dict[str, Any] = {}
    if "noise_rate" in method.needs:
        told = told_noise_rate(spec.privileges)
        privileges["noise_rate"] = float(np.mean(given != clean)) if told is None else told
    if "transition_matrix" in method.needs:
        if problem.noisy.matrix is None:
            raise ValueError(f"{method.name} needs a transition matrix, which {spec.noise} can't give")
        privileges["transition_matrix"] = torch.tensor(problem.noisy.matrix, dtype=torch.float32, device=device)
    if "clean_labels" in method.needs:
        privileges["clean_labels"] = torch.from_numpy(clean).to(device)
    images = problem.data.train.images[problem.drawn[problem.train]]
    store = image_store(images, problem.data, device, (spec.augmentation, spec.strong_augmentation))
    classes = len(problem.data.description.classes)
    held_images = problem.data.train.images[problem.drawn[problem.hold_out]]
    held_labels = torch.from_numpy(problem.noisy.labels[problem.hold_out]).to(device)
    return TrainingPart(
        images=store,
        labels=torch.from_numpy(given).to(device),
        classes=classes,
        held_images=image_store(held_images, problem.data, device),
        held_labels=held_labels,
        privileges=privileges,
    )


class Observer:
    """Watches a run: curves over its epochs, and what is measured at its end. Clean labels live here only."""

    def __init__(self, problem: Problem, trainer: Trainer) -> None:
        self.problem = problem
        self.trainer = trainer
        self.given = problem.noisy.labels[problem.train]
        self.clean = problem.clean[problem.train]
        self.train = EvaluationSet(trainer.part.images)
        self.held = EvaluationSet(trainer.part.held_images)
        self.test = EvaluationSet(image_store(problem.data.test.images, problem.data, trainer.device))
        names = ("epoch", "phase", "train_loss", "test_accuracy", "noisy_holdout_accuracy", "clean_holdout_accuracy")
        further = ("measured_epoch", "memorised", "corrected", "learnt", *(f"selector_{name}" for name in FINDING))
        self.curves: dict[str, list[Any]] = {name: [] for name in (*names, *further)}
        self.selector: dict[str, Any] = {}
        self.seconds = {"evaluate": 0.0, "measure": 0.0}
        self._log_probabilities: NDArray[np.float32] = np.zeros((0, 1), np.float32)

    def epoch_done(self, done: EpochDone) -> None:
        """Evaluate on the test set and the hold-out; every so many epochs on the training part too."""
        began = time.perf_counter()
        method, networks = self.trainer.method, self.trainer.networks
        self._log_probabilities = log_probabilities(method, networks, self.test)
        held = log_probabilities(method, networks, self.held).argmax(axis=1)
        self._append(
            epoch=done.number,
            phase=done.phase,
            train_loss=done.train_loss,
            test_accuracy=measures.accuracy(self._log_probabilities.argmax(axis=1), self.problem.data.test.labels),
            noisy_holdout_accuracy=measures.accuracy(held, self.problem.noisy.labels[self.problem.hold_out]),
            clean_holdout_accuracy=measures.accuracy(held, self.problem.clean[self.problem.hold_out]),
        )
        middle = time.perf_counter()
        self.seconds["evaluate"] += middle - began
        if done.last or done.number % -(-self.trainer.total_epochs // MEASURED_PER_RUN) == 0:
            self._measure(done.number)
            self.seconds["measure"] += time.perf_counter() - middle

    def _measure(self, epoch: int) -> None:
        method = self.trainer.method
        scores = log_probabilities(method, self.trainer.networks, self.train)
        fit = measures.training_fit(scores.argmax(axis=1), self.given, self.clean)
        with uncounted(self.trainer.networks):
            believed, kept, targets = (
                None if values is None else values.detach().float().cpu().numpy()
                for values in (method.clean_probability(), method.selected(), method.soft_targets())
            )
        quality = measures.selector_quality(
            -scores[np.arange(len(self.given)), self.given] if believed is None else 1 - believed,
            None if kept is None else kept.astype(bool),
            (scores if targets is None else targets).argmax(axis=1),
            self.given,
            self.clean,
        )
        self.selector = {
            "source": "loss" if believed is None else "clean_probability",
            "kept_source": "lowest" if kept is None else "selected",
            "corrected_source": "prediction" if targets is None else "soft_targets",
            **quality,
        }
        self._append(measured_epoch=epoch, **{f"selector_{name}": quality[name] for name in FINDING}, **fit)

    def _append(self, **values: Any) -> None:
        for name, value in values.items():
            self.curves[name].append(value)

    def measures(self, spec: RunSpec) -> dict[str, Any]:
        """What the last epoch is worth, and what choosing another epoch would have given."""
        method, networks, problem = self.trainer.method, self.trainer.networks, self.problem
        curve = self.curves["test_accuracy"]
        best = int(np.argmax(curve))
        noisy = self.curves["noisy_holdout_accuracy"]
        chosen = None if noisy[0] is None else int(np.argmax(noisy))
        labels = problem.data.test.labels
        singles = single_predictions(networks, self.test) if len(networks) > 1 else []
        epochs = spec.epochs * len(self.given)
        return {
            **measures.test_measures(self._log_probabilities, labels),
            "best_test_accuracy": curve[best],
            "best_test_epoch": best + 1,
            "holdout_epoch": None if chosen is None else chosen + 1,
            "holdout_test_accuracy": None if chosen is None else curve[chosen],
            "last10_test_accuracy": float(np.mean(curve[-10:])),
            **{name: self.curves[name][-1] for name in ("memorised", "corrected", "learnt")},
            "selector": self.selector,
            "network_test_accuracies": [measures.accuracy(single, labels) for single in singles] or [curve[-1]],
            "networks": len(networks),
            "views": views(method, self.trainer.phases),
            "units_per_sample_epoch": self.trainer.meter.units / epochs,
            "labels_sha256": problem.noisy.sha256,
            "realised_rate": problem.noisy.realised_rate,
            "noise_caption": problem.noisy.caption,
            "samples": {"train": len(problem.train), "holdout": len(problem.hold_out), "test": len(labels)},
            "classes": len(problem.data.description.classes),
            "assumes": list(method.assumes),
            "control": method.control,
            "effective": dict(method.effective),
            "test_predictions": measures.pack_predictions(self._log_probabilities.argmax(axis=1)),
        }


def views(method: Method, phases: Sequence[Phase]) -> int:
    """The most views of an image in a step, in any phase's last epoch: by then every warm-up is over."""
    passes = [each for phase in phases if phase.epochs for each in method.passes(phase, phase.epochs - 1)]
    return max((len(stream.views) for each in passes for stream in each.streams.values()), default=0)


def save(path: Path, trainer: Trainer, observer: Observer, clock: provenance.Clock) -> None:
    """Write a checkpoint: the training, the curves so far, and the time spent."""
    checkpoint.save(
        path,
        {
            "trainer": trainer.state(),
            "curves": observer.curves,
            "seconds": observer.seconds,
            "clock": clock.state(),
            "threads": torch.get_num_threads(),
        },
    )


def resume(path: Path, trainer: Trainer, observer: Observer, clock: provenance.Clock) -> None:
    """Continue from a checkpoint if there is one, with its number of threads: sums depend on it in the last bit."""
    saved = checkpoint.load(path)
    if saved is None:
        return
    torch.set_num_threads(saved["threads"])
    trainer.load_state(saved["trainer"])
    observer.curves = saved["curves"]
    observer.seconds = saved["seconds"]
    clock.load_state(saved["clock"])
