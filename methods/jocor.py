"""Joint training with co-regularisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods._co_teaching import (
    CO_TEACHING_DEVIATION,
    GRADUAL,
    JOCOR,
    SMALLER_CNN_TRAINING,
    exponent_parameter,
    gradual_parameter,
)
from methods._published import published
from methods.co_teaching import CoTeaching
from methods.interface import Parameter, Recipe, Search, Step
from methods.losses import cross_entropy
from methods.pieces.judges import JUDGE, judged_logits
from methods.pieces.small_loss import mean_over, smallest, symmetric_divergence

_RAMP = {"gradual": GRADUAL, "exponent": 1.0}


def _recipe(data_set: str, lam: float, noise: str | None = None, rate: float | None = None) -> Recipe:
    """The README's advice for one noise; on CIFAR-100 for all."""
    training = SMALLER_CNN_TRAINING[data_set]
    values = {"lam": lam, **_RAMP}
    return published(
        data_set, values, JOCOR, noise=noise, rate=rate, training=training, deviation=CO_TEACHING_DEVIATION
    )


class JointCoRegularization(CoTeaching):
    """JoCoR: two networks trained as one on the samples with the smallest joint loss.

    l_i = (1 - lam) [CE_1 + CE_2] + lam [KL(p_1 || p_2) + KL(p_2 || p_1)]; L = mean of the int((1 - R) B) smallest l_i
    of the batch. R(e) is that of `co-teaching`, tau the overall share of wrong labels: where the official code halves
    the rate for asymmetric noise it means just that share. Its ramp is as short as that of `co-teaching` in a short
    training, with the same remedy.

    lam: the README's best values by noise (CIFAR-10: 0.9, but 0.65 at rate 0.8; CIFAR-100: 0.85); the plain setting is
    that of symmetric noise at rate 0.5. The command line's default of 0.1 contradicts the same README's advice of 0.5
    to 0.9 and isn't used. The prediction is the mean softmax of both networks; the paper reports each, which the record
    holds as well. Each network's gradient is clipped and stepped by itself, where the code has one Adam for both.
    ASSUMPTION: at least one sample of a batch is kept. Costs twice as much as `ce`.

    Source: Wei et al., CVPR 2020, arXiv 2003.02752, and its official code. Its MLP for MNIST isn't ours.
    """

    name = "jocor"
    aliases = ()
    summary = "two networks that must agree, trained on the smallest joint losses"
    source = "Wei et al., CVPR 2020, arXiv 2003.02752"
    parameters = (
        Parameter(
            "lam",
            0.9,
            "weight of the networks' divergence against their cross-entropies",
            "README of the official code: CIFAR-10, symmetric noise, rate 0.5",
            low=0.0,
            high=1.0,
            search=Search("uniform", 0.1, 0.95),
        ),
        gradual_parameter(JOCOR),
        exponent_parameter(JOCOR),
        JUDGE,
    )
    recipes = (
        _recipe("cifar10", 0.9, "sym", 0.2),
        _recipe("cifar10", 0.9, "sym", 0.5),
        _recipe("cifar10", 0.65, "sym", 0.8),
        _recipe("cifar10", 0.9, "asym", 0.4),
        _recipe("cifar100", 0.85),
    )
    lam: float

    def loss(self, step: Step) -> Tensor:
        """The mean joint loss over the samples in which it is smallest."""
        logits = [step.logits(network=number) for number in (0, 1)]
        judged, joint = judged_logits(self.judges, step, logits), self._joint(logits, step.labels)
        ranked = joint if judged is logits else self._joint(judged, step.labels)
        picks = smallest(ranked, step.draws["keep"][len(step.labels)])
        self._remember(step.index, torch.stack((picks, picks), dim=1))
        return mean_over(joint, picks)

    def _joint(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The joint loss (B,) of two networks' logits (B, K)."""
        first, second = logits
        supervised = cross_entropy(first, labels) + cross_entropy(second, labels)
        return (1 - self.lam) * supervised + self.lam * symmetric_divergence(first, second)
