"""Normalised cross-entropy plus asymmetric unhinged loss."""

from __future__ import annotations

from torch import Tensor

from methods._published import SOURCES, recipe_row
from methods._weights import term_weight
from methods.interface import Method, Parameter, Search
from methods.losses import asymmetric_unhinged, normalized_cross_entropy


class NormalizedAndAsymmetricUnhinged(Method):
    """L = alpha NCE + beta AUL, AUL = ((a - p_y)^q - (a - 1)^q) / q, NCE = ln p_y / sum_k ln p_k.

    Source: Zhou et al., ICML 2021, arXiv 2106.03110. Published for MNIST with alpha = 0, where it is AUL alone.
    q = 1 makes AUL mean absolute error.
    """

    name = "nce+aul"
    summary = "normalised cross-entropy plus asymmetric unhinged loss"
    source = "Zhou et al., ICML 2021, arXiv 2106.03110"
    parameters = (
        term_weight("alpha", 1.0, "normalised cross-entropy", 0.1, 50.0),
        term_weight("beta", 4.0, "the asymmetric loss", 0.01, 10.0),
        Parameter(
            "a",
            6.3,
            "shift of the probability",
            "official code's CIFAR-10 setting",
            low=1.0,
            open_low=True,
            search=Search("log-uniform", 1.5, 10.0),
        ),
        Parameter(
            "q",
            1.5,
            "power",
            "official code's CIFAR-10 setting",
            low=0.0,
            open_low=True,
            search=Search("uniform", 0.1, 3.0),
        ),
    )
    recipes = recipe_row(
        SOURCES["alf"] + "; the same in ANL's and eps-softmax's",
        "unknown",
        {
            "mnist": {"alpha": 0.0, "beta": 1.0, "a": 3.0, "q": 0.1},
            "cifar10": {"alpha": 1.0, "beta": 4.0, "a": 6.3, "q": 1.5},
            "cifar100": {"alpha": 10.0, "beta": 0.015, "a": 6.0, "q": 3.0},
        },
    )
    alpha: float
    beta: float
    a: float
    q: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """alpha NCE + beta AUL."""
        asymmetric = asymmetric_unhinged(logits, labels, a=self.a, q=self.q)
        return self.alpha * normalized_cross_entropy(logits, labels) + self.beta * asymmetric
