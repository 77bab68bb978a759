"""Normalised cross-entropy plus asymmetric generalised cross-entropy."""

from __future__ import annotations

from torch import Tensor

from methods._normalised import NormalizedCrossEntropyAndSecond, asymmetric_parameter, term_weights
from methods._published import SOURCES, recipe_row
from methods.interface import Search
from methods.losses import asymmetric_generalized_cross_entropy


class NormalizedAndAsymmetricGeneralized(NormalizedCrossEntropyAndSecond):
    """L = alpha NCE + beta AGCE, AGCE = ((a + 1)^q - (a + p_y)^q) / q, NCE = ln p_y / sum_k ln p_k.

    Source: Zhou et al., ICML 2021, arXiv 2106.03110. Published for MNIST with alpha = 0, where it is AGCE
    alone. q = 1 makes AGCE mean absolute error.
    """

    name = "nce+agce"
    summary = "normalised cross-entropy plus asymmetric generalised cross-entropy"
    source = "Zhou et al., ICML 2021, arXiv 2106.03110"
    parameters = (
        *term_weights("normalised cross-entropy", "the asymmetric loss", beta=4.0),
        asymmetric_parameter("a", 6.0, "shift of the probability", 0.0, Search("log-uniform", 0.1, 10.0)),
        asymmetric_parameter("q", 1.5, "power", 0.0, Search("uniform", 0.1, 3.0)),
    )
    recipes = recipe_row(
        SOURCES["alf"] + "; the same in ANL's and eps-softmax's",
        "unknown",
        {
            "mnist": {"alpha": 0.0, "beta": 1.0, "a": 4.0, "q": 0.2},
            "cifar10": {"alpha": 1.0, "beta": 4.0, "a": 6.0, "q": 1.5},
            "cifar100": {"alpha": 10.0, "beta": 0.1, "a": 1.8, "q": 3.0},
            "webvision": {"alpha": 50.0, "beta": 0.1, "a": 2.5, "q": 3.0},
            "clothing1m": {"alpha": 50.0, "beta": 0.1, "a": 2.5, "q": 3.0},
        },
    )
    a: float
    q: float

    def second(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Asymmetric generalised cross-entropy (B,)."""
        return asymmetric_generalized_cross_entropy(logits, labels, a=self.a, q=self.q)
