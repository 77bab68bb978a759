"""Active negative loss from cross-entropy."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods._penalties import weight_magnitude
from methods._published import SOURCES, recipe_row
from methods._weights import term_weight
from methods.interface import Method, Parameter, Search, Step
from methods.losses import normalized_cross_entropy, normalized_negative_cross_entropy

_NO_DECAY = {"weight_decay": 0.0}


class ActiveNegativeCrossEntropy(Method):
    """Active negative loss: L = alpha NCE + beta NNCE + delta sum |w|.

    NCE = ln p_y / sum_k ln p_k; NNCE = 1 - s_y / sum_k s_k with s_k = ln(max(p_k, min_prob) / min_prob). The
    last term runs over all parameters, biases and normalisation included, replaces weight decay under every
    protocol, and is part of the loss, so inside the gradient clip. Without it L sums to alpha + beta (K - 1)
    over the classes.

    Source: Ye et al., NeurIPS 2023; extended arXiv 2412.02373; official code 0c50009, settings chosen on clean
    validation labels. Its pull on a weight is delta * sum(learning rates) / (1 - momentum): next to nothing in
    short runs; it isn't rescaled. Clothing1M's setting is from the JAL and eps-softmax codes and has an L2 of
    1e-3 in place of the L1; since this method's weight decay is 0 always, it runs here with neither.
    """

    name = "anl-ce"
    aliases: ClassVar[tuple[str, ...]] = ("anl",)
    summary = "active negative loss: normalised cross-entropy, its negative, and an L1 penalty"
    source = "Ye et al., NeurIPS 2023; extended arXiv 2412.02373"
    weight_decay = 0.0
    own_penalty = "delta"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        term_weight("alpha", 5.0, "the active term", 0.1, 50.0),
        term_weight("beta", 5.0, "the negative term", 0.1, 10.0),
        term_weight("delta", 5e-5, "the L1 penalty on all parameters", 1e-7, 1e-3),
        Parameter(
            "min_prob",
            1e-7,
            "probabilities are clamped here; towards 0 the negative term is constant",
            "official code",
            low=0.0,
            open_low=True,
            high=0.01,
            search=Search("log-uniform", 1e-9, 1e-3),
        ),
    )
    recipes = recipe_row(
        SOURCES["anl"],
        "clean validation",
        {
            "mnist": {"alpha": 1.0, "beta": 1.0, "delta": 1e-6, "min_prob": 1e-7},
            "cifar10": {"alpha": 5.0, "beta": 5.0, "delta": 5e-5, "min_prob": 1e-7},
            "cifar100": {"alpha": 10.0, "beta": 1.0, "delta": 5e-7, "min_prob": 1e-7},
            "webvision": {"alpha": 20.0, "beta": 1.0, "delta": 5e-6, "min_prob": 1e-7},
        },
        change=_NO_DECAY,
    ) + recipe_row(
        "JAL and eps-softmax official codes",
        "unknown",
        {"clothing1m": {"alpha": 5.0, "beta": 0.1, "delta": 0.0, "min_prob": 1e-8}},
    )
    alpha: float
    beta: float
    delta: float
    min_prob: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """alpha NCE + beta NNCE."""
        negative = normalized_negative_cross_entropy(logits, labels, min_prob=self.min_prob)
        return self.alpha * normalized_cross_entropy(logits, labels) + self.beta * negative

    def loss(self, step: Step) -> Tensor:
        """The batch mean of `losses`, plus the L1 penalty."""
        return super().loss(step) + self.delta * weight_magnitude(step)
