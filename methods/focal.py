"""Focal loss as the label-noise codes write it."""

from __future__ import annotations

from torch import Tensor

from methods import losses
from methods._published import APL_DEVIATIONS, APL_TRAINING, SOURCES, recipe_row
from methods.interface import Method, Parameter, Search

_GAMMA = {"mnist": {"gamma": 0.5}, "cifar10": {"gamma": 0.5}, "cifar100": {"gamma": 0.5}}


class Focal(Method):
    """Focal loss: L = -(1 - p_y)^gamma ln p_y, with no gradient through the modulator (1 - p_y)^gamma.

    Source: Lin et al. 2017, arXiv 1708.02002. The detached modulator and gamma = 0.5 are those of the APL, ANL,
    asymmetric-loss and eps-softmax codes; a focal loss with its full gradient is another one. gamma = 0 is
    cross-entropy.
    """

    name = "focal"
    aliases = ("fl",)
    summary = "focal loss, its modulator without gradient"
    source = "Lin et al., ICCV 2017, arXiv 1708.02002"
    parameters = (
        Parameter(
            "gamma",
            0.5,
            "how fast well-fitted samples lose weight",
            "APL, ANL, ALFs and eps-softmax codes",
            low=0.0,
            search=Search("uniform", 0.0, 3.0),
        ),
    )
    recipes = (
        *recipe_row(SOURCES["anl"], "unknown", _GAMMA),
        *recipe_row(SOURCES["apl"], "unknown", _GAMMA, APL_TRAINING, deviations=APL_DEVIATIONS),
    )
    gamma: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """-(1 - p_y)^gamma ln p_y."""
        return losses.focal(logits, labels, gamma=self.gamma)
