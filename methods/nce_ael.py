"""Normalised cross-entropy plus asymmetric exponential loss."""

from __future__ import annotations

from torch import Tensor

from methods._normalised import NormalizedCrossEntropyAndSecond, asymmetric_parameter, term_weights
from methods._published import SOURCES, recipe_row
from methods.interface import Search
from methods.losses import asymmetric_exponential


class NormalizedAndAsymmetricExponential(NormalizedCrossEntropyAndSecond):
    """L = alpha NCE + beta AEL, AEL = exp(-p_y / a), NCE = ln p_y / sum_k ln p_k.

    Source: Zhou et al., ICML 2021, arXiv 2106.03110. Published for MNIST with alpha = 0, where it is AEL alone.
    AEL isn't 0 at p_y = 1; for large a, a (1 - AEL) -> p_y.
    """

    name = "nce+ael"
    summary = "normalised cross-entropy plus asymmetric exponential loss"
    source = "Zhou et al., ICML 2021, arXiv 2106.03110"
    parameters = (
        *term_weights("normalised cross-entropy", "the asymmetric loss", beta=4.0),
        asymmetric_parameter("a", 5.0, "scale of the probability", 0.0, Search("log-uniform", 0.5, 10.0)),
    )
    recipes = recipe_row(
        SOURCES["alf"] + "; the same in ANL's and eps-softmax's",
        "unknown",
        {
            "mnist": {"alpha": 0.0, "beta": 1.0, "a": 3.5},
            "cifar10": {"alpha": 1.0, "beta": 4.0, "a": 5.0},
            "cifar100": {"alpha": 10.0, "beta": 0.1, "a": 1.5},
        },
    )
    a: float

    def second(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Asymmetric exponential loss (B,)."""
        return asymmetric_exponential(logits, labels, a=self.a)
