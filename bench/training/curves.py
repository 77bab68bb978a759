"""What is seen of a run from outside: curves over its epochs, and what is measured at its end."""

from __future__ import annotations

import time
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
from bench.training.trainer import EpochDone, Trainer
from methods.interface import Method, Phase

MEASURED_PER_RUN = 20
"""Training-set measures are taken every ceil(epochs / 20) epochs, and at the last."""
FINDING = ("auroc", "average_precision", "precision", "recall", "corrected", "damaged")
"""What of `measures.selector_quality` has a curve, as `selector_auroc` and so on."""


class CurveRecorder:
    """Watches a run: curves over its epochs, and what is measured at its end. Clean labels live here only."""

    def __init__(self, problem: NoisyData, trainer: Trainer) -> None:
        self.problem = problem
        self.trainer = trainer
        self.given = problem.noisy.labels[problem.train]
        self.clean = problem.clean[problem.train]
        pieces = trainer.task.pieces
        self.train = EvaluationSet(trainer.part.images, trainer.ranks, pieces)
        self.held = EvaluationSet(trainer.part.held_images, trainer.ranks, pieces)
        self.test = EvaluationSet(problem.images.store("test", trainer.device), trainer.ranks, pieces)
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
            test_accuracy=metrics.accuracy(self._log_probabilities.argmax(axis=1), self.problem.data.test.labels),
            noisy_holdout_accuracy=metrics.accuracy(held, self.problem.noisy.labels[self.problem.hold_out]),
            clean_holdout_accuracy=metrics.accuracy(held, self.problem.clean[self.problem.hold_out]),
        )
        middle = time.perf_counter()
        self.seconds["evaluate"] += middle - began
        if done.last or done.number % -(-self.trainer.total_epochs // MEASURED_PER_RUN) == 0:
            self._measure(done.number)
            self.seconds["measure"] += time.perf_counter() - middle

    def _measure(self, epoch: int) -> None:
        method = self.trainer.method
        scores = log_probabilities(method, self.trainer.networks, self.train)
        fit = metrics.training_fit(scores.argmax(axis=1), self.given, self.clean)
        with without_counting(self.trainer.networks):
            believed, kept, targets = (
                None if values is None else values.detach().float().cpu().numpy()
                for values in (method.clean_probability(), method.selected(), method.soft_targets())
            )
        quality = metrics.selector_quality(
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

    def measures(self) -> dict[str, Any]:
        """What the last epoch is worth, and what choosing another epoch would have given."""
        method, networks, problem = self.trainer.method, self.trainer.networks, self.problem
        curve = self.curves["test_accuracy"]
        best = int(np.argmax(curve))
        noisy = self.curves["noisy_holdout_accuracy"]
        chosen = None if noisy[0] is None else int(np.argmax(noisy))
        labels = problem.data.test.labels
        singles = single_predictions(networks, self.test) if len(networks) > 1 else []
        return {
            **metrics.test_measures(self._log_probabilities, labels),
            "best_test_accuracy": curve[best],
            "best_test_epoch": best + 1,
            "holdout_epoch": None if chosen is None else chosen + 1,
            "holdout_test_accuracy": None if chosen is None else curve[chosen],
            "noisy_holdout_accuracy": noisy[-1],
            "last10_test_accuracy": float(np.mean(curve[-10:])),
            **{name: self.curves[name][-1] for name in ("memorised", "corrected", "learnt")},
            "selector": self.selector,
            "network_test_accuracies": [metrics.accuracy(single, labels) for single in singles] or [curve[-1]],
            "networks": len(networks),
            "views": count_views(method, self.trainer.phases),
            "labels_sha256": problem.noisy.sha256,
            "realised_rate": problem.noisy.realised_rate,
            "noise_caption": problem.noisy.caption,
            "samples": {"train": len(problem.train), "holdout": len(problem.hold_out), "test": len(labels)},
            "classes": len(problem.data.description.classes),
            "assumes": list(method.assumes),
            "control": method.control,
            "effective": dict(method.effective),
            "test_predictions": metrics.pack_predictions(self._log_probabilities.argmax(axis=1)),
        }


def count_views(method: Method, phases: Sequence[Phase]) -> int:
    """The most views of an image in a step, in any phase's last epoch: by then every warm-up is over."""
    passes = [each for phase in phases if phase.epochs for each in method.passes(phase, phase.epochs - 1)]
    return max((len(stream.views) for each in passes for stream in each.streams.values()), default=0)


def compute_cost(trainer: Trainer, cache: Path | None) -> dict[str, float]:
    """What a finished run cost, for its record; everything is for one image of the training part.

    `forward_per_sample_epoch` and `backward_per_sample_epoch` are passes of all networks, and
    `units_per_sample_epoch` their sum, in which a backward pass counts twice: over all phases, divided by the epochs of
    the spec. Work in inner layers counts in forward passes, its backward part included. `flops_forward` and
    `flops_forward_backward` are operations of one network. What measuring took isn't counted. `cache` is the folder
    that keeps operations.
    """
    meter, part, spec = trainer.meter, trainer.part, trainer.spec
    passes = torch.tensor([meter.forward, meter.backward, meter.units], dtype=torch.float64, device=trainer.device)
    forward, backward, units = (trainer.ranks.sum(passes) / (spec.epochs * len(part.labels))).tolist()
    operations = cached_flops(spec.model, part.images.size, part.images.channels, part.classes, cache)
    return {
        "forward_per_sample_epoch": forward,
        "backward_per_sample_epoch": backward,
        "units_per_sample_epoch": units,
        "flops_forward": operations[0],
        "flops_forward_backward": operations[1],
    }
