"""The curves of a run over its epochs, and the measures at its end. Clean labels are used nowhere else in training.

Read `CurveRecorder.record_epoch` first, then `CurveRecorder.measures`; `compute_cost` counts passes and operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.models.flops import cached_flops
from bench.training import metrics
from bench.training.inference import EvaluationSet, log_probabilities, single_predictions, without_counting
from bench.training.noisy_data import NoisyData
from bench.training.provenance import Stopwatch
from bench.training.trainer import EpochResult, Trainer
from datasets.samples import VectorShape
from methods.interface import Method, Phase

MEASURED_PER_RUN = 20
"""Training-set measures are taken every ceil(epochs / 20) epochs, and at the last."""
FIT_CURVES = ("memorised", "corrected", "learnt")
DETECTION_CURVES = ("auroc", "average_precision", "precision", "recall", "corrected", "damaged")
"""The entries of `metrics.selector_quality` that have a curve, as `selector_auroc` and so on."""


class CurveRecorder:
    """Records one run: `curves` after every epoch, and measures after the last one."""

    def __init__(self, noisy_data: NoisyData, trainer: Trainer) -> None:
        self.noisy_data = noisy_data
        self.trainer = trainer
        self.noisy_labels = noisy_data.noisy.labels[noisy_data.train]
        self.clean_labels = None if noisy_data.clean_labels is None else noisy_data.clean_labels[noisy_data.train]
        self.findings = None if noisy_data.findings is None else noisy_data.findings[noisy_data.train]
        chunk_size = trainer.task.chunk_size
        self.train = EvaluationSet(trainer.part.images, trainer.group, chunk_size)
        self.held = EvaluationSet(trainer.part.held_images, trainer.group, chunk_size)
        self.test = EvaluationSet(noisy_data.images.store("test", trainer.device), trainer.group, chunk_size)
        names = ("epoch", "phase", "train_loss", "test_accuracy", "noisy_holdout_accuracy", "clean_holdout_accuracy")
        measured = ("measured_epoch", *FIT_CURVES, *(f"selector_{name}" for name in DETECTION_CURVES))
        self.curves: dict[str, list[Any]] = {name: [] for name in (*names, *measured)}
        self.selector: dict[str, Any] = {}
        self.stopwatch = Stopwatch("evaluate", "measure")
        self._log_probabilities: NDArray[np.float32] = np.zeros((0, 1), np.float32)

    def record_epoch(self, epoch: EpochResult) -> None:
        """Evaluate on the test set and the hold-out; after every few epochs measure the training part too."""
        method, networks, noisy_data = self.trainer.method, self.trainer.networks, self.noisy_data
        with self.stopwatch.measure("evaluate"):
            self._log_probabilities = log_probabilities(method, networks, self.test)
            held = log_probabilities(method, networks, self.held).argmax(axis=1)
            test_labels = noisy_data.data.test.labels
            self._append(
                epoch=epoch.number,
                phase=epoch.phase,
                train_loss=epoch.train_loss,
                test_accuracy=metrics.accuracy(self._log_probabilities.argmax(axis=1), test_labels),
                noisy_holdout_accuracy=metrics.accuracy(held, noisy_data.noisy.labels[noisy_data.hold_out]),
                clean_holdout_accuracy=(
                    None
                    if noisy_data.clean_labels is None
                    else metrics.accuracy_inside(held, noisy_data.clean_labels[noisy_data.hold_out])
                ),
            )
        due = epoch.last or epoch.number % -(-self.trainer.total_epochs // MEASURED_PER_RUN) == 0
        if due and (self.clean_labels is not None or self.findings is not None):
            with self.stopwatch.measure("measure"):
                self._measure(epoch.number)

    def _measure(self, epoch: int) -> None:
        """Measure how the training part's labels fare, and how well the method detects the wrong ones.

        Where only a verification tells right from wrong, the latter on the labels that were looked at.
        """
        method, noisy_labels, clean_labels = self.trainer.method, self.noisy_labels, self.clean_labels
        scores = log_probabilities(method, self.trainer.networks, self.train)
        with without_counting(self.trainer.networks):
            clean_probability, selected, targets = (
                None if values is None else values.detach().float().cpu().numpy()
                for values in (method.clean_probability(), method.selected(), method.soft_targets())
            )
        label_loss = -scores[np.arange(len(noisy_labels)), noisy_labels]
        suspicion = label_loss if clean_probability is None else 1 - clean_probability
        kept = None if selected is None else selected.astype(bool)
        fit: dict[str, float | None] = dict.fromkeys(FIT_CURVES)
        about = {
            "source": "loss" if clean_probability is None else "clean_probability",
            "kept_source": "lowest" if selected is None else "selected",
            "corrected_source": "prediction" if targets is None else "soft_targets",
        }
        if clean_labels is not None:
            corrected = (scores if targets is None else targets).argmax(axis=1)
            quality = metrics.selector_quality(suspicion, kept, corrected, noisy_labels, clean_labels)
            fit = metrics.training_fit(scores.argmax(axis=1), noisy_labels, clean_labels)
        else:
            assert self.findings is not None and self.noisy_data.data.verified is not None
            quality = metrics.verified_quality(suspicion, kept, self.findings)
            about["verified_meaning"] = self.noisy_data.data.verified.meaning
        self.selector = about | quality
        self._append(measured_epoch=epoch, **{f"selector_{name}": quality[name] for name in DETECTION_CURVES}, **fit)

    def state(self) -> dict[str, list[Any]]:
        """The curves so far."""
        return self.curves

    def load_state(self, state: dict[str, list[Any]]) -> None:
        """Continue the curves of an earlier attempt."""
        self.curves = state

    def _append(self, **values: Any) -> None:
        for name, value in values.items():
            self.curves[name].append(value)

    def measures(self) -> dict[str, Any]:
        """The measures of the last epoch, and of the epochs that other selections would have taken."""
        method, networks, noisy_data = self.trainer.method, self.trainer.networks, self.noisy_data
        noisy, train, hold_out = noisy_data.noisy, noisy_data.train, noisy_data.hold_out
        curve = self.curves["test_accuracy"]
        best = int(np.argmax(curve))
        noisy_holdout = self.curves["noisy_holdout_accuracy"]
        chosen = None if noisy_holdout[0] is None else int(np.argmax(noisy_holdout))
        labels = noisy_data.data.test.labels
        singles = single_predictions(networks, self.test) if len(networks) > 1 else []
        return {
            **metrics.test_measures(self._log_probabilities, labels),
            **self._peoples_measures(),
            "best_test_accuracy": curve[best],
            "best_test_epoch": best + 1,
            "holdout_epoch": None if chosen is None else chosen + 1,
            "holdout_test_accuracy": None if chosen is None else curve[chosen],
            "noisy_holdout_accuracy": noisy_holdout[-1],
            "last10_test_accuracy": float(np.mean(curve[-10:])),
            **{name: (self.curves[name] or [None])[-1] for name in FIT_CURVES},
            "selector": self.selector,
            "network_test_accuracies": [metrics.accuracy(single, labels) for single in singles] or [curve[-1]],
            "networks": len(networks),
            "views": count_views(method, self.trainer.phases),
            "labels_sha256": noisy.sha256,
            "realised_rate": noisy.realised_rate,
            "noise_caption": noisy.caption,
            "samples": {"train": len(train), "holdout": len(hold_out), "test": len(labels)},
            **vector_measures(noisy_data.data.description.vectors),
            "classes": len(noisy_data.data.description.classes),
            "assumes": list(method.assumes),
            "control": method.control,
            "effective": dict(method.effective),
            "test_predictions": metrics.pack_predictions(self._log_probabilities.argmax(axis=1)),
            **self._second_test(),
        }

    def _peoples_measures(self) -> dict[str, Any]:
        """Measures by what people said of the test images, where anybody knows; no key for what nobody knows."""
        scores, found = self._log_probabilities, dict[str, Any]()
        if (audited := self.noisy_data.data.audited) is not None:
            accuracy = metrics.audited_accuracy(scores.argmax(axis=1), audited.labels)
            found["audited"] = {
                "test_accuracy": accuracy,
                "corrected": audited.corrected,
                "dropped": audited.dropped,
            }
        if (opinions := self.noisy_data.data.opinions) is not None:
            found["people"] = metrics.people_measures(scores, opinions.counts) | {"sha256": opinions.sha256}
        return found

    def _second_test(self) -> dict[str, Any]:
        """The measures of the second test set at the last epoch; empty where there is none."""
        second, trainer = self.noisy_data.data.second_test, self.trainer
        if second is None:
            return {}
        store = self.noisy_data.images.store("second", trainer.device)
        images = EvaluationSet(store, trainer.group, trainer.task.chunk_size)
        scores = log_probabilities(trainer.method, trainer.networks, images)
        measured = metrics.test_measures(scores, second.part.labels)
        return {"second_test": {"name": second.name, "images": len(second.part), **measured}}


def vector_measures(vectors: VectorShape | None) -> dict[str, dict[str, int]]:
    """The entry of a run whose samples were vectors: how many numbers each has, and stored views of a training one."""
    return {} if vectors is None else {"vectors": {"length": vectors.length, "views": vectors.views}}


def count_views(method: Method, phases: Sequence[Phase]) -> int:
    """The most views of an image in a step, in any phase's last epoch: by then every warm-up is over."""
    streams = [
        stream
        for phase in phases
        if phase.epochs
        for training_pass in method.passes(phase, phase.epochs - 1)
        for stream in training_pass.streams.values()
    ]
    return max((len(stream.views) for stream in streams), default=0)


def compute_cost(trainer: Trainer, cache: Path | None) -> dict[str, float]:
    """The cost of a finished run, for its record, per image of the training part.

    `forward_per_sample_epoch` and `backward_per_sample_epoch` are passes of all networks, and
    `units_per_sample_epoch` their sum, in which a backward pass counts twice: over all phases, divided by the epochs of
    the spec. Work in inner layers counts in forward passes, its backward part included. `flops_forward` and
    `flops_forward_backward` are operations of one network. Measuring isn't counted. `cache` is the folder in which
    operations are cached.
    """
    counter, part, spec = trainer.pass_counter, trainer.part, trainer.spec
    counts = [counter.forward, counter.backward, counter.units]
    passes = torch.tensor(counts, dtype=torch.float64, device=trainer.device)
    forward, backward, units = (trainer.group.all_reduce(passes) / (spec.epochs * len(part.labels))).tolist()
    operations = cached_flops(spec.model, part.images.size, part.images.channels, part.classes, cache)
    return {
        "forward_per_sample_epoch": forward,
        "backward_per_sample_epoch": backward,
        "units_per_sample_epoch": units,
        "flops_forward": operations[0],
        "flops_forward_backward": operations[1],
    }
