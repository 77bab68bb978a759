"""Taylor cross-entropy."""

from __future__ import annotations

from torch import Tensor

from methods._published import OGC_TRAINING, SOURCES, recipe_row
from methods.interface import Method, Parameter, Search
from methods.losses import taylor_cross_entropy


class TaylorCrossEntropy(Method):
    """Taylor cross-entropy: L = sum_{i=1..t} (1 - p_y)^i / i, the first t terms of -ln p_y around p_y = 1.

    Source: Feng et al., IJCAI 2020. t = 1 is mean absolute error, t -> inf cross-entropy. ASSUMPTION: the default
    order 2, since no published setting was at hand; the source chooses t by data set.
    """

    name = "taylor-ce"
    summary = "the first terms of cross-entropy's Taylor series"
    source = "Feng et al., IJCAI 2020"
    parameters = (
        Parameter(
            "order",
            2,
            "terms of the series; 1: mean absolute error",
            "ASSUMPTION",
            low=1,
            high=1000,
            search=Search("integer", 1, 20),
        ),
    )
    recipes = recipe_row(
        SOURCES["ogc"],
        "unknown",
        {"cifar10": {"order": 2}, "cifar100": {"order": 2}},
        OGC_TRAINING,
        deviations=dict.fromkeys(("cifar10", "cifar100"), "ASSUMPTION: order 2, since the code gives no default value"),
    )
    order: int

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """sum_{i=1..order} (1 - p_y)^i / i."""
        return taylor_cross_entropy(logits, labels, order=self.order)
