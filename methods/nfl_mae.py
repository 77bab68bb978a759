"""Active passive loss: normalised focal loss plus mean absolute error."""

from __future__ import annotations

from torch import Tensor

from methods._normalised import FOCUSING, NormalizedFocalAndSecond, term_weights
from methods._published import APL_DEVIATIONS, APL_TRAINING, SOURCES, recipe_row
from methods.losses import mean_absolute_error


class NormalizedFocalAndAbsolute(NormalizedFocalAndSecond):
    """Active passive loss: L = alpha NFL + beta (1 - p_y), NFL = f_y / sum_k f_k, f_k = -(1 - p_k)^gamma ln
    p_k.

    Source: Ma et al., ICML 2020, arXiv 2006.13554. The modulators (1 - p_k)^gamma carry no gradient, as in
    every code; gamma = 0 is `nce+mae`. Over the classes L sums to alpha + beta (K - 1). MNIST's training is the
    APL code's. ResNet-34 on CIFAR-100 is the later codes'; APL's own configurations name a ResNet-50.
    """

    name = "nfl+mae"
    summary = "active passive loss: normalised focal loss plus mean absolute error"
    source = "Ma et al., ICML 2020, arXiv 2006.13554"
    parameters = (
        *term_weights("normalised focal loss", "mean absolute error"),
        FOCUSING,
    )
    recipes = (
        *recipe_row(
            SOURCES["apl"],
            "unknown",
            {
                "mnist": {"alpha": 1.0, "beta": 10.0},
                "cifar10": {"alpha": 1.0, "beta": 1.0},
                "cifar100": {"alpha": 10.0, "beta": 1.0},
                "webvision": {"alpha": 50.0, "beta": 1.0},
            },
            APL_TRAINING,
            deviations=APL_DEVIATIONS,
        ),
    )

    def second(self, logits: Tensor, labels: Tensor) -> Tensor:
        """1 - p_y (B,)."""
        return mean_absolute_error(logits, labels)
