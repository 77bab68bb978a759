"""FLSC trained end to end, each stage apart, with its controls: what of it shows in accuracy and in selection."""

from __future__ import annotations

from functools import partial

import flsc_setup as setup
import numpy as np
import torch
from flsc_scores import STAGE, THRESHOLD, kept_logits, selection_numbers
from flsc_signal import exchanged
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.spec import RunSpec
from bench.training.inference import EvaluationSet, log_probabilities
from bench.training.metrics import accuracy
from bench.training.noisy_data import NoisyData, build_training_part, store_images
from bench.training.trainer import Trainer
from methods.flsc import ForegroundLocalisation
from methods.losses import cross_entropy
from methods.pieces.activation_maps import class_scores, feature_maps
from methods.pieces.foreground import attention_weights, fostered_losses

BASE = "dividemix"
PLACEBO = "stage 1, placebo"
ARMS: dict[str, dict[str, float | str]] = {
    BASE: {"localisation": 0.0, "erasing": 0.0},
    "stage 1": {"erasing": 0.0},
    PLACEBO: {"erasing": 0.0},
    "both": {},
    "both, elsewhere": {"erase": "random"},
    "both, area": {"erase": "area"},
    "dividemix, ema": {"localisation": 0.0, "erasing": 0.0, "judge": "ema"},
}
"""Parameters of `flsc` in each arm, beside the setting's."""

LAST = 3
"""Accuracy is the mean of so many last epochs."""


def attention_of(module: nn.Module, images: Tensor) -> Tensor:
    """The attention of images as rows (B, H W)."""
    return attention_weights(feature_maps(module, images, STAGE)).flatten(1)


def losses_under(module: nn.Module, images: Tensor, rows: Tensor) -> Tensor:
    """(B, 2): losses of the whole, and of what attention keeps; `rows` (B, 1 + H W) are labels beside attention."""
    labels, features = rows[:, 0].long(), feature_maps(module, images, STAGE)
    weights = rows[:, 1:].view(len(features), *features.shape[2:])
    kept = kept_logits(module, features, weights)
    whole, _ = class_scores(module, features, STAGE)
    return torch.stack([cross_entropy(whole, labels), cross_entropy(kept, labels)], dim=1)


class PlaceboLocalisation(ForegroundLocalisation):
    """FLSC whose foreground is cut out by the attention of another image of the same given label."""

    name = "flsc-placebo"
    seed = 0

    def infer_losses(self, network: int) -> Tensor:
        """As `flsc`, with exchanged attention."""
        labels = self.task.labels
        attention = self.task.infer(network, output=attention_of)
        partner = torch.from_numpy(exchanged(labels.numpy(), self.seed))
        rows = torch.cat([labels.unsqueeze(1).float(), attention[partner]], dim=1)
        whole, kept = self.task.infer(network, output=losses_under, along=rows).unbind(1)
        self.reductions[network].copy_(kept - whole)
        return fostered_losses(whole, kept, self.localisation)


def make_arm(arm: str, spec: RunSpec, problem: NoisyData) -> Trainer:
    """The trainer of an arm on the problem of `spec`, whose parameters hold for all arms."""
    make = PlaceboLocalisation if arm == PLACEBO else ForegroundLocalisation
    method, device = make(**spec.parameters | ARMS[arm]), torch.device("cpu")
    if isinstance(method, PlaceboLocalisation):
        method.seed = spec.seed
    return Trainer(method, spec, build_training_part(problem, method, spec, device), device)


def trained_numbers(arm: str, spec: RunSpec, problem: NoisyData, cued: bool, size: int | None) -> dict[str, float]:
    """Outcomes of one arm; `size`: of DivideMix's labelled set at the end, None where this is DivideMix itself.

    Accuracy on clean test images (mean of the last epochs), and with every object on another test image's background
    where the data have their own; the numbers of the first split, and of the last.
    """
    assert problem.clean_labels is not None
    trainer = make_arm(arm, spec, problem)
    wrong = problem.noisy.labels[problem.train] != problem.clean_labels[problem.train]
    store = partial(store_images, data=problem.data, device=trainer.device)
    test, labels = EvaluationSet(store(problem.data.test.images)), problem.data.test.labels
    accuracies: list[float] = []
    first: dict[str, float] = {}
    warm_up = int(trainer.method.effective["warm_up"])
    for done in trainer.epochs():
        if done.number == warm_up:
            first = split_numbers(trainer, wrong, None)
        if done.number > trainer.total_epochs - LAST:
            accuracies.append(tested(trainer, test, labels))
    numbers = {"accuracy": float(np.mean(accuracies)), "accuracy, last epoch": accuracies[-1]}
    if setup.has_backgrounds(spec):
        swapped = EvaluationSet(store(setup.swapped_test(spec, problem, cued)))
        numbers["accuracy, swapped backgrounds"] = tested(trainer, swapped, labels)
    last = split_numbers(trainer, wrong, size)
    return numbers | {f"first {name}": value for name, value in first.items()} | last


def split_numbers(trainer: Trainer, wrong: NDArray[np.bool_], size: int | None) -> dict[str, float]:
    """The numbers of the present split, and its size."""
    clean = trainer.method.clean_probability()
    assert clean is not None
    doubt = -clean.double().numpy()
    selected = -doubt > THRESHOLD
    return selection_numbers(doubt, selected, int(selected.sum()) if size is None else size, wrong)


def tested(trainer: Trainer, images: EvaluationSet, labels: NDArray[np.int64]) -> float:
    """Accuracy of the method's own prediction."""
    return accuracy(log_probabilities(trainer.method, trainer.networks, images).argmax(axis=1), labels) or 0.0
