"""Active passive loss: normalised focal loss plus mean absolute error."""

from __future__ import annotations

from torch import Tensor

from methods._published import APL_MNIST_TRAINING, ROBUST_LOSS_TRAINING, SOURCES, recipe_row
from methods._weights import term_weight
from methods.interface import Method, Parameter, Search
from methods.losses import mean_absolute_error, normalized_focal


class NormalizedFocalAndAbsolute(Method):
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
        term_weight("alpha", 1.0, "normalised focal loss", 0.1, 50.0),
        term_weight("beta", 1.0, "mean absolute error", 0.01, 10.0),
        Parameter(
            "gamma",
            0.5,
            "focusing of the focal term, its modulators without gradient",
            "APL, ANL and ALFs codes",
            low=0.0,
            search=Search("uniform", 0.0, 3.0),
        ),
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
            {**ROBUST_LOSS_TRAINING, "mnist": APL_MNIST_TRAINING},
        ),
    )
    alpha: float
    beta: float
    gamma: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """alpha NFL + beta (1 - p_y)."""
        active = normalized_focal(logits, labels, gamma=self.gamma)
        return self.alpha * active + self.beta * mean_absolute_error(logits, labels)
