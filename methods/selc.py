"""Self-ensemble label correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Generator, Tensor, full

from methods._published import OTHER_SCALE, cifar_training, keyed, on_cifar10, published
from methods.interface import Method, Parameter, Pass, Phase, Recipe, Search, Setting, Step, Steps, Task
from methods.losses import soft_cross_entropy
from methods.pieces.lengths import epochs_of
from methods.pieces.mixing import one_hot

CODE = "SELC, official code (MacLLL/SELC)"

TRAINING = cifar_training("resnet34-default", 200, 0.02, 1e-3, "step:40,80@0.1")
_LARGE = {key: value for key, value in TRAINING.items() if key != "augmentation"} | {"learning_rate": 0.01}
_CLOTHING = _LARGE | {"model": "timm:resnet50", "epochs": 40, "batch_size": 64, "schedule": "step:10,20@0.1"}
_WEBVISION = _LARGE | {"model": "timm:inception_resnet_v2", "epochs": 100, "batch_size": 32, "weight_decay": 5e-4}


def _turning_points(data_set: str, by_rate: Mapping[float, int], asym: int) -> tuple[Recipe, ...]:
    """Recipes of the code's table of turning points, in epochs of 200: by rate of symmetric noise, and asym 0.4."""
    cells = [("sym-incl", rate, epochs) for rate, epochs in by_rate.items()] + [("asym", 0.4, asym)]
    deviation = on_cifar10(data_set, OTHER_SCALE)
    plain = {"turning_point": by_rate[0.4] / 200}
    return published(data_set, plain, f"{CODE}, symmetric noise 0.4", training=TRAINING, deviation=deviation), *(
        keyed(data_set, {"turning_point": epochs / 200}, CODE, noise, rate, TRAINING, deviation=deviation)
        for noise, rate, epochs in cells
    )


CIFAR_RECIPES = (
    *_turning_points("cifar10", {0.2: 40, 0.4: 30, 0.6: 30, 0.8: 40}, asym=40),
    *_turning_points("cifar100", {0.2: 30, 0.4: 20, 0.6: 30, 0.8: 40}, asym=20),
)


class SelfEnsembleLabelCorrection(Method):
    """Self-ensemble label correction: cross-entropy at first, then targets that drift from labels to predictions.

    q_i begins as the given label, one-hot. After the turning point T_e, at each visit of sample i,
    q_i <- momentum q_i + (1 - momentum) p_i without gradient, and L = -<q_i, ln p_i>; before it, L = -ln p_y. After k
    such visits the given label weighs momentum^k. With momentum 1 it is `ce`, with 0 self-training.

    T_e is a share of the training, one value for each noise and rate in the code's table, which makes those recipes
    informed; the plain setting is that of symmetric noise 0.4. The paper estimates T_e; neither its estimator nor how
    the table came about is in the code. The momentum is per visit and doesn't scale: in a short training the
    targets move less.

    clean_probability is q's weight on the given label, selected where q's largest class is the given label
    (ASSUMPTION: the paper scores no sample; it reports the accuracy of argmax q). Deviation from the code: ln p is a
    log-softmax, finite where its logarithm of a softmax isn't. The code's class-balanced batches of Clothing1M are left
    out, as is Animal-10N's training (flips only).

    Source: Lu and He, IJCAI 2022, arXiv 2205.01156, and its official code (MacLLL/SELC), whose symmetric noise includes
    the true class.
    """

    name = "selc"
    summary = "cross-entropy, then soft targets that average the network's own predictions over the visits"
    source = "Lu and He, IJCAI 2022, arXiv 2205.01156"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter(
            "momentum",
            0.9,
            "momentum of the soft targets, per visit",
            "paper and official code",
            low=0.0,
            high=1.0,
            search=Search("uniform", 0.5, 0.99),
        ),
        Parameter(
            "turning_point",
            30 / 200,
            "share of the training that is plain cross-entropy first (at least 1 epoch; 0: none)",
            "official code, CIFAR-10, symmetric noise 0.4: 30 of 200 epochs",
            low=0.0,
            high=1.0,
            search=Search("uniform", 0.02, 0.5),
        ),
    )
    recipes = (
        *CIFAR_RECIPES,
        published("clothing1m", {"momentum": 0.8, "turning_point": 5 / 40}, CODE, training=_CLOTHING),
        published("webvision", {"turning_point": 40 / 100}, CODE, training=_WEBVISION),
        published("animal10n", {"turning_point": 40 / 100}, CODE),
    )
    momentum: float
    turning_point: float

    def unsuitable(self, setting: Setting) -> str | None:
        """A single epoch has no room for a turning point."""
        if setting.epochs > 1 or self.turning_point == 0:
            return None
        return f"{self.name} trains by cross-entropy before it corrects and needs 2 epochs: type --epochs 2 or more"

    def start(self, task: Task) -> None:
        """The targets (samples, K) begin as the given labels."""
        super().start(task)
        self.targets = task.state("targets", one_hot(task.labels, task.classes))
        self.effective = {"turning_point": epochs_of(self.turning_point, task.epochs)}

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over everything; targets stand still until the turning point."""
        return (Pass(draws=partial(self._momenta, epoch)),)

    def _momenta(self, epoch: int, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """`momentum` (steps,): 1, by which the loss is cross-entropy, until the turning point."""
        return {"momentum": full((steps.count,), self.momentum if epoch >= self.effective["turning_point"] else 1.0)}

    def loss(self, step: Step) -> Tensor:
        """The batch mean of -<q, ln p>, after the batch's targets took their step."""
        logits, momentum = step.logits(), step.draws["momentum"]
        with torch.no_grad():
            targets = momentum * self.targets[step.index] + (1 - momentum) * logits.softmax(dim=1)
            self.targets.index_copy_(0, step.index, targets)
        return soft_cross_entropy(logits, targets).mean()

    def clean_probability(self) -> Tensor:
        """The weight (samples,) of each target on the given label."""
        return self.targets.gather(1, self.task.labels.unsqueeze(1)).squeeze(1)

    def selected(self) -> Tensor:
        """Where the target's largest class is the given label."""
        return self.targets.argmax(dim=1) == self.task.labels

    def soft_targets(self) -> Tensor:
        """The targets; one-hot before the turning point."""
        return self.targets
