"""Active passive loss: normalised focal loss plus reverse cross-entropy."""

from __future__ import annotations

from torch import Tensor

from methods._normalised import FOCUSING, NormalizedFocalAndSecond, term_weights
from methods._published import APL_MNIST_TRAINING, ROBUST_LOSS_TRAINING, SOURCES, recipe_row
from methods.losses import reverse_cross_entropy


class NormalizedFocalAndReverse(NormalizedFocalAndSecond):
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
        *term_weights("normalised focal loss", "reverse cross-entropy"),
        FOCUSING,
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

    def second(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Reverse cross-entropy (B,)."""
        return reverse_cross_entropy(logits, labels)
