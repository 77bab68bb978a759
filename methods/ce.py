"""Cross-entropy, the baseline of every board."""

from __future__ import annotations

from torch import Tensor

from methods._published import APL_DEVIATIONS, APL_TRAINING, SOURCES, recipe_row
from methods.interface import Method
from methods.losses import cross_entropy


class CrossEntropy(Method):
    """Cross-entropy on the labels as given: L = -ln p_y, p = softmax(z).

    Source: the standard loss; what the literature compares with. Not robust: L isn't symmetric, so with capacity
    enough the labels are memorised. The recipes are the training settings of the robust-loss codes (ANL's
    configurations for CIFAR-10, CIFAR-100 and WebVision; its siblings' for MNIST and Clothing1M), which set no
    parameter.
    """

    name = "ce"
    summary = "cross-entropy on the labels as given"
    source = "standard; as run in the ANL code (NeurIPS 2023)"
    recipes = (
        *recipe_row(SOURCES["anl"], "no parameters", {"mnist": {}, "cifar10": {}, "cifar100": {}, "webvision": {}}),
        *recipe_row(
            SOURCES["apl"],
            "no parameters",
            {"mnist": {}, "cifar10": {}, "cifar100": {}},
            APL_TRAINING,
            deviations=APL_DEVIATIONS,
        ),
        *recipe_row(SOURCES["eps"], "no parameters", {"clothing1m": {}}),
    )

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """-ln p_y."""
        return cross_entropy(logits, labels)
