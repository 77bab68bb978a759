"""Symmetric cross-entropy."""

from __future__ import annotations

from torch import Tensor

from methods._published import APL_DEVIATIONS, APL_TRAINING, SOURCES, recipe_row
from methods.interface import Method, Parameter, Search
from methods.losses import symmetric_cross_entropy

_SHARED = {
    "mnist": {"alpha": 0.01, "beta": 1.0},
    "cifar10": {"alpha": 0.1, "beta": 1.0},
    "cifar100": {"alpha": 6.0, "beta": 0.1},
}
"""The same in the codes of APL, ANL and eps-softmax."""


class SymmetricCrossEntropy(Method):
    """Symmetric cross-entropy: L = alpha CE + beta RCE, RCE = -ln(1e-4) (1 - p_y) = 9.21 (1 - p_y).

    Source: Wang et al., ICCV 2019, arXiv 1908.06112. The reverse term is robust, the forward one learns fast. The
    logarithm of 1e-4 is the natural one, as in every code (the papers' A = -4 is the decimal one).
    """

    name = "sce"
    aliases = ("sl",)
    summary = "cross-entropy plus its reverse"
    source = "Wang et al., ICCV 2019, arXiv 1908.06112"
    parameters = (
        Parameter(
            "alpha",
            0.1,
            "weight of cross-entropy",
            "APL, ANL and eps-softmax codes, CIFAR-10",
            low=0.0,
            search=Search("log-uniform", 0.01, 10.0),
        ),
        Parameter(
            "beta",
            1.0,
            "weight of reverse cross-entropy",
            "APL, ANL and eps-softmax codes, CIFAR-10",
            low=0.0,
            search=Search("log-uniform", 0.1, 10.0),
        ),
    )
    recipes = (
        *recipe_row(
            SOURCES["anl"] + "; the same in eps-softmax's",
            "unknown",
            _SHARED | {"webvision": {"alpha": 10.0, "beta": 1.0}},
        ),
        *recipe_row(SOURCES["apl"], "unknown", _SHARED, APL_TRAINING, deviations=APL_DEVIATIONS),
        *recipe_row(SOURCES["sce"], "best on the clean test set", {"cifar100": {"alpha": 6.0, "beta": 1.0}}, {}),
        *recipe_row(
            SOURCES["alf"],
            "left at the code's defaults",
            {
                "mnist": {"alpha": 1.0, "beta": 1.0},
                "cifar10": {"alpha": 1.0, "beta": 1.0},
                "cifar100": {"alpha": 1.0, "beta": 1.0},
            },
        ),
    )
    alpha: float
    beta: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """alpha CE + beta RCE."""
        return symmetric_cross_entropy(logits, labels, alpha=self.alpha, beta=self.beta)
