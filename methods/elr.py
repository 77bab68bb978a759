"""Early-learning regularisation."""

from __future__ import annotations

import torch
from torch import Tensor

from methods._published import OTHER_SCALE, SOURCES, cifar_training, keyed, recipe_row
from methods.interface import Method, Parameter, Search, Step, Task
from methods.losses import cross_entropy
from methods.pieces.early_learning import CLAMP, as_distributions, early_learning_regularizer

_RESTARTS = cifar_training("resnet34-default", 150, 0.02, 1e-3, "cosine-restarts:10")
_ASYMMETRIC = _RESTARTS | {"schedule": "step:40,80@0.01", "epochs": 120}
_CIFAR100 = _RESTARTS | {"schedule": "step:80,120@0.01"}


class EarlyLearningRegularization(Method):
    """Early-learning regularisation: L = CE + lam mean_i ln(1 - <t_i, p_i>), t_i a running average of
    predictions.

    At each visit of sample i, t_i <- beta t_i + (1 - beta) p_i / sum_k p_ik, without gradient, from 0; p is
    clamped to [1e-4, 1 - 1e-4] in both. The term is at most 0 and pulls p_i towards what the network said early
    on, before it memorised. beta is per visit, so it isn't scaled with the length of the training.

    Source: Liu et al., NeurIPS 2020, arXiv 2007.00151, and its official code 934af53, keyed by noise on
    CIFAR-10 (its symmetric noise includes the true class); the plain setting is that of symmetric noise.
    """

    name = "elr"
    summary = "cross-entropy plus a pull towards each sample's early predictions"
    source = "Liu et al., NeurIPS 2020, arXiv 2007.00151"
    parameters = (
        Parameter(
            "lam",
            3.0,
            "weight of the regulariser",
            "official code, CIFAR-10, symmetric noise",
            low=0.0,
            search=Search("log-uniform", 0.1, 10.0),
        ),
        Parameter(
            "beta",
            0.7,
            "momentum of the targets, per visit",
            "official code, CIFAR-10, symmetric noise",
            low=0.0,
            high=1.0,
            open_high=True,
            search=Search("uniform", 0.5, 0.99),
        ),
    )
    recipes = (
        keyed(
            "cifar10", {"lam": 3.0, "beta": 0.7}, SOURCES["elr"], "sym-incl", training=_RESTARTS, deviation=OTHER_SCALE
        ),
        keyed(
            "cifar10", {"lam": 1.0, "beta": 0.9}, SOURCES["elr"], "asym", training=_ASYMMETRIC, deviation=OTHER_SCALE
        ),
        *recipe_row(
            SOURCES["elr"], "unknown", {"cifar100": {"lam": 7.0, "beta": 0.9}}, trainings={"cifar100": _CIFAR100}
        ),
    )
    lam: float
    beta: float

    def start(self, task: Task) -> None:
        """The targets (samples, K) begin at 0."""
        super().start(task)
        self.targets = task.state("targets", torch.zeros(task.samples, task.classes))

    def loss(self, step: Step) -> Tensor:
        """CE + lam mean ln(1 - <t, p>), after the batch's targets took their step."""
        logits = step.logits()
        probabilities = logits.softmax(dim=1).clamp(CLAMP, 1 - CLAMP)
        with torch.no_grad():
            latest = probabilities / probabilities.sum(dim=1, keepdim=True)
            targets = self.beta * self.targets[step.index] + (1 - self.beta) * latest
            self.targets.index_copy_(0, step.index, targets)
        regularizer = early_learning_regularizer(probabilities, targets)
        return cross_entropy(logits, step.labels).mean() + self.lam * regularizer

    def soft_targets(self) -> Tensor | None:
        """The targets, scaled to sum 1; uniform for a sample that was never visited."""
        return as_distributions(self.targets)
