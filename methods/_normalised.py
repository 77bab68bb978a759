"""The shape that the `nce+` and `nfl+` losses share: alpha times a normalised loss plus beta times a second one.

A method names its second loss by `second`, a function of logits (B, K) and labels (B,); its parameters besides alpha
and beta are declared with `asymmetric_parameter` or are `FOCUSING`.
"""

from __future__ import annotations

from torch import Tensor

from methods._weights import term_weight
from methods.interface import Method, Parameter, Search
from methods.losses import normalized_cross_entropy, normalized_focal

FOCUSING = Parameter(
    "gamma",
    0.5,
    "focusing of the focal term, its modulators without gradient",
    "APL, ANL and ALFs codes",
    low=0.0,
    search=Search("uniform", 0.0, 3.0),
)


def term_weights(normalised: str, second: str, beta: float = 1.0) -> tuple[Parameter, Parameter]:
    """The parameters alpha and beta, the weights of the two terms as named; alpha is 1 by default."""
    return term_weight("alpha", 1.0, normalised, 0.1, 50.0), term_weight("beta", beta, second, 0.01, 10.0)


def asymmetric_parameter(name: str, default: float, meaning: str, low: float, search: Search) -> Parameter:
    """A parameter above `low` that shapes an asymmetric loss."""
    return Parameter(name, default, meaning, "official code's CIFAR-10 setting", low=low, open_low=True, search=search)


class NormalizedCrossEntropyAndSecond(Method):
    """L = alpha NCE + beta second, NCE = ln p_y / sum_k ln p_k."""

    compared_source = "anl"
    alpha: float
    beta: float

    def normalised(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Normalised cross-entropy (B,)."""
        return normalized_cross_entropy(logits, labels)

    def second(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The second term's losses (B,), before they are weighted."""
        raise NotImplementedError

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """alpha times the normalised loss plus beta times the second one."""
        return self.alpha * self.normalised(logits, labels) + self.beta * self.second(logits, labels)


class NormalizedFocalAndSecond(NormalizedCrossEntropyAndSecond):
    """L = alpha NFL + beta second, NFL = f_y / sum_k f_k, f_k = -(1 - p_k)^gamma ln p_k."""

    gamma: float

    def normalised(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Normalised focal loss (B,)."""
        return normalized_focal(logits, labels, gamma=self.gamma)
