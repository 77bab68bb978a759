"""Generalised cross-entropy."""

from __future__ import annotations

from torch import Tensor

from methods._published import APL_DEVIATIONS, APL_TRAINING, ROBUST_LOSS_TRAINING, SOURCES, keyed, recipe_row
from methods.interface import Method, Parameter, Search
from methods.losses import generalized_cross_entropy

_CIFAR100 = ROBUST_LOSS_TRAINING["cifar100"]
_SHARED = {"mnist": {"q": 0.7}, "cifar10": {"q": 0.7}, "cifar100": {"q": 0.7}}
"""The same in the codes of ANL and APL."""


class GeneralizedCrossEntropy(Method):
    """Generalised cross-entropy: L = (1 - p_y^q) / q, p_y clamped to [1e-7, 1].

    Source: Zhang and Sabuncu, NeurIPS 2018, arXiv 1805.07836. Between cross-entropy (q -> 0) and mean absolute
    error (q = 1). The eps-softmax paper chose q by noise rate on CIFAR-100, though its released configuration has a
    single 0.7: those recipes are keyed.
    """

    name = "gce"
    summary = "generalised cross-entropy, between cross-entropy and mean absolute error"
    source = "Zhang and Sabuncu, NeurIPS 2018, arXiv 1805.07836"
    parameters = (
        Parameter(
            "q",
            0.7,
            "0: cross-entropy, 1: mean absolute error",
            "paper; ANL and eps-softmax codes",
            low=0.0,
            open_low=True,
            high=1.0,
            search=Search("uniform", 0.1, 1.0),
        ),
    )
    recipes = (
        *recipe_row(SOURCES["anl"], "unknown", _SHARED | {"webvision": {"q": 0.7}}),
        *recipe_row(SOURCES["apl"], "unknown", _SHARED, APL_TRAINING, deviations=APL_DEVIATIONS),
        *recipe_row(SOURCES["eps"], "unknown", {"clothing1m": {"q": 0.6}}),
        *recipe_row(SOURCES["jal"], "unknown", {"webvision": {"q": 0.6}}, change={"batch_size": 256}),
        keyed("cifar100", {"q": 0.5}, SOURCES["eps"], "none", training=_CIFAR100),
        keyed("cifar100", {"q": 0.5}, SOURCES["eps"], "sym", 0.2, _CIFAR100),
        keyed("cifar100", {"q": 0.7}, SOURCES["eps"], "sym", 0.4, _CIFAR100),
        keyed("cifar100", {"q": 0.7}, SOURCES["eps"], "sym", 0.6, _CIFAR100),
        keyed("cifar100", {"q": 0.9}, SOURCES["eps"], "sym", 0.8, _CIFAR100),
        keyed("cifar100", {"q": 0.7}, SOURCES["eps"], "asym", training=_CIFAR100),
    )
    q: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(1 - p_y^q) / q."""
        return generalized_cross_entropy(logits, labels, q=self.q)
