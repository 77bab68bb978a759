"""Active negative loss with entropy regularisation."""

from __future__ import annotations

from torch import Tensor

from methods._penalties import weight_magnitude
from methods._published import SOURCES, recipe_row
from methods._weights import term_weight
from methods.anl_ce import ActiveNegativeCrossEntropy
from methods.interface import Step
from methods.losses import entropy_regularizer


class ActiveNegativeEntropyRegularized(ActiveNegativeCrossEntropy):
    """`anl-ce` plus lam R, R = ln K + sum_k r_k ln r_k, r the batch's mean prediction: KL(r || uniform).

    R pulls the predictions of a batch towards equal shares of the classes, against labels that the noise made
    unbalanced; so it assumes that the clean classes are balanced. In batches smaller than K it can't reach 0
    with confident predictions.

    Source: extended arXiv 2412.02373; official code 0c50009, whose configurations for CIFAR-10 and CIFAR-100
    are all that is published (that code path lacks a branch and can't run as released). lam is constant, as
    there. NNCE clamps at min_prob below only, as in `anl-ce`; the released one clamps at 1 - min_prob too.
    """

    name = "anl-ce-er"
    aliases = ()
    summary = "active negative loss that also balances the predictions of a batch"
    source = "Ye et al., extended arXiv 2412.02373"
    assumes = ("balanced_classes",)
    parameters = (
        *ActiveNegativeCrossEntropy.parameters,
        term_weight("lam", 2.0, "the entropy regulariser", 1e-3, 10.0),
    )
    recipes = recipe_row(
        SOURCES["anl"],
        "clean validation",
        {
            "cifar10": {"alpha": 5.0, "beta": 5.0, "delta": 5e-5, "min_prob": 1e-7, "lam": 2.0},
            "cifar100": {"alpha": 10.0, "beta": 1.0, "delta": 5e-7, "min_prob": 1e-7, "lam": 0.01},
        },
        change={"weight_decay": 0.0},
    )
    lam: float

    def loss(self, step: Step) -> Tensor:
        """The batch mean of `losses`, the entropy regulariser of the batch, and the L1 penalty."""
        logits = step.logits()
        balance = entropy_regularizer(logits, min_prob=self.min_prob)
        return self.losses(logits, step.labels).mean() + self.lam * balance + self.delta * weight_magnitude(step)
