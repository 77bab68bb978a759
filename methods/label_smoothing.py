"""Label smoothing, negative rates included."""

from __future__ import annotations

from torch import Tensor

from methods import losses
from methods._published import cifar_training, published
from methods.interface import Method, Parameter, Search


class LabelSmoothing(Method):
    """Label smoothing: L = (1 - r) (-ln p_y) + r mean_k (-ln p_k), cross-entropy against (1 - r) e_y + r / K.

    Source: Szegedy et al., CVPR 2016, arXiv 1512.00567; for label noise Lukasik et al., ICML 2020, arXiv 2003.02819.
    A negative r is negative label smoothing (Wei et al., ICML 2022, arXiv 2106.04149), unbounded below; its authors
    search r in {0.8, 0.6, ..., -1, -2, -4, -6, -8} by noise, so no single rate is published: the recipe holds their
    training only. r = 0 is cross-entropy. ASSUMPTION: the default 0.1 of the first source, and CIFAR-10 as what
    the negative rates' protocol is for. At high noise they start from a network warmed up with cross-entropy, which
    this method doesn't.
    """

    name = "label-smoothing"
    aliases = ("ls", "nls")
    summary = "cross-entropy against smoothed labels; a negative rate sharpens them beyond one-hot"
    source = "Szegedy et al., CVPR 2016, arXiv 1512.00567; Wei et al., ICML 2022, arXiv 2106.04149"
    parameters = (
        Parameter(
            "rate",
            0.1,
            "share of the label spread over all classes; may be negative",
            "Szegedy et al. 2016",
            low=-8.0,
            high=1.0,
            open_high=True,
            search=Search("uniform", -1.0, 0.8),
        ),
    )
    recipes = (
        published(
            "cifar10",
            {},
            "negative label smoothing, official code (UCSC-REAL/negative-label-smoothing 05078f6)",
            "rate not fixed by the source",
            training=cifar_training("resnet34", 200, 0.1, 1e-4, "step:100,150@0.1") | {"nesterov": True},
            deviation="for high noise the code starts from a network that cross-entropy has warmed up",
        ),
    )
    rate: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(1 - rate) CE + rate mean_k (-ln p_k)."""
        return losses.label_smoothing(logits, labels, rate=self.rate)
