"""Normalised cross-entropy plus asymmetric unhinged loss."""

from __future__ import annotations

from torch import Tensor

from methods._normalised import NormalizedCrossEntropyAndSecond, asymmetric_parameter, term_weights
from methods._published import SOURCES, recipe_row
from methods.interface import Search
from methods.losses import asymmetric_unhinged


class NormalizedAndAsymmetricUnhinged(NormalizedCrossEntropyAndSecond):
    """L = alpha NCE + beta AUL, AUL = ((a - p_y)^q - (a - 1)^q) / q, NCE = ln p_y / sum_k ln p_k.

    Source: Zhou et al., ICML 2021, arXiv 2106.03110. Published for MNIST with alpha = 0, where it is AUL alone.
    q = 1 makes AUL mean absolute error.
    """

    name = "nce+aul"
    summary = "normalised cross-entropy plus asymmetric unhinged loss"
    source = "Zhou et al., ICML 2021, arXiv 2106.03110"
    parameters = (
        *term_weights("normalised cross-entropy", "the asymmetric loss", beta=4.0),
        asymmetric_parameter("a", 6.3, "shift of the probability", 1.0, Search("log-uniform", 1.5, 10.0)),
        asymmetric_parameter("q", 1.5, "power", 0.0, Search("uniform", 0.1, 3.0)),
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
    a: float
    q: float

    def second(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Asymmetric unhinged loss (B,)."""
        return asymmetric_unhinged(logits, labels, a=self.a, q=self.q)
