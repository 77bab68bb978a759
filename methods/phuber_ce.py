"""Partially Huberised cross-entropy."""

from __future__ import annotations

from torch import Tensor

from methods._published import OGC_TRAINING, SOURCES, recipe_row
from methods.interface import Method, Parameter, Search
from methods.losses import partially_huberised_cross_entropy


class PartiallyHuberisedCrossEntropy(Method):
    """Partially Huberised cross-entropy: L = -ln p_y where p_y > 1/tau, else its tangent 1 + ln tau - tau p_y.

    Source: Menon et al., ICLR 2020. The gradient is cross-entropy's times min(1, tau p_y), so samples that the
    network finds unlikely pull less. tau = 1 is mean absolute error, tau -> inf cross-entropy. The default tau = 10
    is the one of later codes (OGC, a6b342a).
    """

    name = "phuber-ce"
    summary = "cross-entropy, linear where the label is unlikely"
    source = "Menon et al., ICLR 2020"
    parameters = (
        Parameter(
            "tau",
            10.0,
            "linear below probability 1/tau",
            "code of OGC (Virusdoll/OGC a6b342a)",
            low=1.0,
            search=Search("log-uniform", 1.5, 100.0),
        ),
    )
    recipes = recipe_row(
        SOURCES["ogc"],
        "unknown",
        {"cifar10": {"tau": 10.0}, "cifar100": {"tau": 10.0}},
        OGC_TRAINING,
    )
    tau: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """-ln p_y, or its tangent where p_y <= 1/tau."""
        return partially_huberised_cross_entropy(logits, labels, tau=self.tau)
