"""Active passive loss: normalised cross-entropy plus mean absolute error."""

from __future__ import annotations

from torch import Tensor

from methods._normalised import NormalizedCrossEntropyAndSecond, term_weights
from methods._published import APL_DEVIATIONS, APL_TRAINING, SOURCES, recipe_row
from methods.losses import mean_absolute_error


class NormalizedAndAbsolute(NormalizedCrossEntropyAndSecond):
    """Active passive loss: L = alpha NCE + beta (1 - p_y), NCE = ln p_y / sum_k ln p_k.

    Source: Ma et al., ICML 2020, arXiv 2006.13554. Over the classes L sums to alpha + beta (K - 1). The codes
    disagree on CIFAR-100 (beta 1 in APL and ALFs, 0.1 in ANL) and on MNIST (10, and 100 in ALFs): the method's
    authors come first. Under `--protocol paper` ANL's training comes first, whose tables the field
    compares with; APL's own is `paper:apl`.
    """

    name = "nce+mae"
    summary = "active passive loss: normalised cross-entropy plus mean absolute error"
    source = "Ma et al., ICML 2020, arXiv 2006.13554"
    parameters = term_weights("normalised cross-entropy", "mean absolute error")
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
        *recipe_row(
            SOURCES["anl"],
            "clean validation",
            {
                "mnist": {"alpha": 1.0, "beta": 10.0},
                "cifar10": {"alpha": 1.0, "beta": 1.0},
                "cifar100": {"alpha": 10.0, "beta": 0.1},
            },
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
        """1 - p_y (B,)."""
        return mean_absolute_error(logits, labels)
