"""Joint asymmetric loss from cross-entropy."""

from __future__ import annotations

from torch import Tensor

from methods._penalties import weight_magnitude
from methods._published import SOURCES, recipe_row
from methods._weights import term_weight
from methods.interface import Method, Parameter, Search, Step
from methods.losses import asymmetric_squared, normalized_cross_entropy


class JointAsymmetric(Method):
    """Joint asymmetric loss: L = alpha NCE + beta AMSE + delta sum |w|, AMSE = ||a e_y - p||^2 / K.

    NCE = ln p_y / sum_k ln p_k. a = 1 makes AMSE the mean squared error. The last term runs over all parameters and
    replaces weight decay, as ANL's.

    Source: "Joint Asymmetric Loss", arXiv 2507.17692, and its official code 0f9eb7b. None is published for MNIST.
    On WebVision and Clothing1M the source has an L2 of 3e-5 and 1e-3 in place of the L1; since this method's weight
    decay is 0 always, these run here with neither.
    """

    name = "jal-ce"
    aliases = ("jal",)
    summary = "normalised cross-entropy plus asymmetric squared error, with an L1 penalty"
    source = "arXiv 2507.17692 (2025)"
    weight_decay = 0.0
    own_penalty = "delta"
    parameters = (
        term_weight("alpha", 1.0, "normalised cross-entropy", 0.1, 50.0),
        term_weight("beta", 1.0, "the asymmetric squared error", 0.01, 10.0),
        Parameter(
            "a",
            30.0,
            "length of the target; 1: mean squared error",
            "official code's CIFAR-10 setting",
            low=1.0,
            search=Search("log-uniform", 1.0, 100.0),
        ),
        term_weight("delta", 5e-5, "the L1 penalty on all parameters", 1e-7, 1e-3),
    )
    recipes = recipe_row(
        SOURCES["jal"],
        "unknown",
        {
            "cifar10": {"alpha": 1.0, "beta": 1.0, "a": 30.0, "delta": 5e-5},
            "cifar100": {"alpha": 5.0, "beta": 1.0, "a": 20.0, "delta": 5e-6},
        },
        change={"weight_decay": 0.0},
    ) + recipe_row(
        SOURCES["jal"],
        "unknown",
        {
            "webvision": {"alpha": 50.0, "beta": 1.0, "a": 30.0, "delta": 0.0},
            "clothing1m": {"alpha": 5.0, "beta": 0.1, "a": 5.0, "delta": 0.0},
        },
        change={"batch_size": 256},
    )
    alpha: float
    beta: float
    a: float
    delta: float

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """alpha NCE + beta AMSE."""
        asymmetric = asymmetric_squared(logits, labels, a=self.a)
        return self.alpha * normalized_cross_entropy(logits, labels) + self.beta * asymmetric

    def loss(self, step: Step) -> Tensor:
        """The batch mean of `losses`, plus the L1 penalty."""
        return super().loss(step) + self.delta * weight_magnitude(step)
