"""Active passive loss: normalised cross-entropy plus reverse cross-entropy."""

from __future__ import annotations

from torch import Tensor

from methods._normalised import NormalizedCrossEntropyAndSecond, term_weights
from methods._published import APL_DEVIATIONS, APL_TRAINING, SOURCES, recipe_row
from methods.losses import reverse_cross_entropy

_APL = {
    "mnist": {"alpha": 1.0, "beta": 10.0},
    "cifar10": {"alpha": 1.0, "beta": 1.0},
    "cifar100": {"alpha": 10.0, "beta": 0.1},
    "webvision": {"alpha": 50.0, "beta": 0.1},
}
"""The same in the codes of APL and ANL."""


class NormalizedAndReverse(NormalizedCrossEntropyAndSecond):
    """Active passive loss: L = alpha NCE + beta RCE, NCE = ln p_y / sum_k ln p_k, RCE = 9.21 (1 - p_y).

    Source: Ma et al., ICML 2020, arXiv 2006.13554. Both terms are symmetric: over the classes L sums to alpha +
    9.21 beta (K - 1), whatever p. Under `--protocol paper` ANL's training comes first, whose tables the field
    compares with; APL's own is `paper:apl`.
    """

    name = "nce+rce"
    aliases = ("apl",)
    summary = "active passive loss: normalised cross-entropy plus reverse cross-entropy"
    source = "Ma et al., ICML 2020, arXiv 2006.13554"
    parameters = term_weights("normalised cross-entropy", "reverse cross-entropy")
    recipes = (
        *recipe_row(SOURCES["apl"], "unknown", _APL, APL_TRAINING, deviations=APL_DEVIATIONS),
        *recipe_row(SOURCES["anl"], "clean validation", _APL),
        *recipe_row(
            SOURCES["alf"],
            "unknown",
            {
                "mnist": {"alpha": 1.0, "beta": 100.0},
                "cifar10": {"alpha": 1.0, "beta": 1.0},
                "cifar100": {"alpha": 10.0, "beta": 1.0},
            },
        ),
        *recipe_row(SOURCES["eps"], "unknown", {"clothing1m": {"alpha": 10.0, "beta": 1.0}}),
    )

    def second(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Reverse cross-entropy (B,)."""
        return reverse_cross_entropy(logits, labels)
