"""Active passive loss: normalised focal loss plus reverse cross-entropy."""

from __future__ import annotations

from torch import Tensor

from methods._published import APL_MNIST_TRAINING, ROBUST_LOSS_TRAINING, SOURCES, recipe_row
from methods._weights import term_weight
from methods.interface import Method, Parameter, Search
from methods.losses import normalized_focal, reverse_cross_entropy


class NormalizedFocalAndReverse(Method):
    """Active passive loss: L = alpha NFL + beta RCE, NFL = f_y / sum_k f_k, f_k = -(1 - p_k)^gamma ln p_k.

    Source: Ma et al., ICML 2020, arXiv 2006.13554. RCE = 9.21 (1 - p_y); the modulators (1 - p_k)^gamma carry
    no gradient, as in every code; gamma = 0 is `nce+rce`. Over the classes L sums to alpha + 9.21 beta (K - 1).
    MNIST's training is the APL code's. ResNet-34 on CIFAR-100 is the later codes'; APL's own configurations
    name a ResNet-50.
    """

    name = "nfl+rce"
    summary = "active passive loss: normalised focal loss plus reverse cross-entropy"
    source = "Ma et al., ICML 2020, arXiv 2006.13554"
    parameters = (
        term_weight("alpha", 1.0, "normalised focal loss", 0.1, 50.0),
        term_weight("beta", 1.0, "reverse cross-entropy", 0.01, 10.0),
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
            "APL and ANL official codes",
            "unknown",
            {
                "mnist": {"alpha": 1.0, "beta": 10.0},
                "cifar10": {"alpha": 1.0, "beta": 1.0},
                "cifar100": {"alpha": 10.0, "beta": 0.1},
                "webvision": {"alpha": 50.0, "beta": 0.1},
            },
            {**ROBUST_LOSS_TRAINING, "mnist": APL_MNIST_TRAINING},
        ),
        *recipe_row(
            SOURCES["alf"],
            "unknown",
            {
                "mnist": {"alpha": 1.0, "beta": 100.0},
                "cifar10": {"alpha": 1.0, "beta": 1.0},
                "cifar100": {"alpha": 10.0, "beta": 1.0},
            },
        ),
    )
    alpha: float
    beta: float
    gamma: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """alpha NFL + beta RCE."""
        active = normalized_focal(logits, labels, gamma=self.gamma)
        return self.alpha * active + self.beta * reverse_cross_entropy(logits, labels)
