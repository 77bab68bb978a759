"""Active negative loss from focal loss."""

from __future__ import annotations

from torch import Tensor

from methods._penalties import weight_magnitude
from methods._published import SOURCES, recipe_row
from methods.anl_ce import ActiveNegativeCrossEntropy
from methods.interface import Method, Parameter, Search, Step
from methods.losses import normalized_focal, normalized_negative_focal


class ActiveNegativeFocal(Method):
    """Active negative loss from focal loss: L = alpha NFL + beta NNFL + delta sum |w|.

    f(p) = -(1 - p)^gamma ln p, its modulator without gradient; NFL = f(p_y) / sum_k f(p_k); NNFL = 1 - s_y /
    sum_k s_k with s_k = f(min_prob) - f(max(p_k, min_prob)). gamma = 0 is `anl-ce`; the L1 term is as there.

    Source: Ye et al., NeurIPS 2023; extended arXiv 2412.02373; official code 0c50009. None is published for
    WebVision. Clothing1M's setting (JAL and eps-softmax codes) has an L2 of 1e-3 in place of the L1 and runs
    here with neither.
    """

    name = "anl-fl"
    summary = "active negative loss from focal loss, with an L1 penalty"
    source = "Ye et al., NeurIPS 2023; extended arXiv 2412.02373"
    weight_decay = 0.0
    own_penalty = "delta"
    parameters = (
        *ActiveNegativeCrossEntropy.parameters,
        Parameter(
            "gamma",
            0.5,
            "focusing of both terms, their modulators without gradient",
            "official code",
            low=0.0,
            search=Search("uniform", 0.0, 3.0),
        ),
    )
    recipes = recipe_row(
        SOURCES["anl"],
        "clean validation",
        {
            "mnist": {"alpha": 1.0, "beta": 1.0, "delta": 1e-6, "min_prob": 1e-7, "gamma": 0.5},
            "cifar10": {"alpha": 5.0, "beta": 5.0, "delta": 5e-5, "min_prob": 1e-7, "gamma": 0.5},
            "cifar100": {"alpha": 10.0, "beta": 1.0, "delta": 5e-7, "min_prob": 1e-7, "gamma": 0.5},
        },
        change={"weight_decay": 0.0},
    ) + recipe_row(
        "JAL and eps-softmax official codes",
        "unknown",
        {"clothing1m": {"alpha": 5.0, "beta": 0.1, "delta": 0.0, "min_prob": 1e-8, "gamma": 0.5}},
    )
    alpha: float
    beta: float
    delta: float
    min_prob: float
    gamma: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """alpha NFL + beta NNFL."""
        negative = normalized_negative_focal(logits, labels, gamma=self.gamma, min_prob=self.min_prob)
        return self.alpha * normalized_focal(logits, labels, gamma=self.gamma) + self.beta * negative

    def loss(self, step: Step) -> Tensor:
        """The batch mean of `losses`, plus the L1 penalty."""
        return super().loss(step) + self.delta * weight_magnitude(step)
