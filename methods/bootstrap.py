"""Soft bootstrapping."""

from __future__ import annotations

from torch import Tensor

from methods._co_teaching import compared_by_co_teaching
from methods._published import SOURCES, recipe_row
from methods.interface import Method, Parameter, Search
from methods.losses import soft_bootstrap

_BETA = {"mnist": {"beta": 0.95}, "cifar10": {"beta": 0.95}, "cifar100": {"beta": 0.95}}


class SoftBootstrap(Method):
    """Soft bootstrapping: cross-entropy against the target beta e_y + (1 - beta) p, with the gradient through p.

    Source: Reed et al., ICLR 2015 workshop, arXiv 1412.6596. beta = 0.95 in the code of Patrini et al. 2017 for
    every data set; that code's networks aren't ours, so recipes train as Co-teaching's paper did. beta = 1 is
    cross-entropy. The GJS code writes t = 1 - beta.
    """

    name = "bootstrap"
    aliases = ("soft-bootstrap",)
    summary = "labels mixed with the network's own prediction"
    source = "Reed et al., ICLR 2015 workshop, arXiv 1412.6596"
    parameters = (
        Parameter(
            "beta",
            0.95,
            "share of the given label in the target",
            "code of Patrini et al. 2017",
            low=0.0,
            high=1.0,
            search=Search("uniform", 0.5, 1.0),
        ),
    )
    recipes = (
        *recipe_row(SOURCES["forward"], "unknown", _BETA, trainings={}),
        *compared_by_co_teaching(
            _BETA, "soft targets with the beta of Forward's code, where those tables have hard ones"
        ),
    )
    beta: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy against beta e_y + (1 - beta) p."""
        return soft_bootstrap(logits, labels, beta=self.beta)
