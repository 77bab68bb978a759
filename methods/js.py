"""Jensen-Shannon loss of one prediction."""

from __future__ import annotations

from torch import Tensor

from methods import _jensen_shannon
from methods.interface import Method
from methods.losses import jensen_shannon


class JensenShannon(Method):
    """Jensen-Shannon loss: L = JS_pi(e_y, p) / Z, pi = (weight, 1 - weight), Z = -(1 - weight) ln(1 - weight).

    JS_pi = sum_i pi_i KL(d_i || m), m = sum_i pi_i d_i. Bounded; weight -> 0 is cross-entropy, weight -> 1 mean
    absolute error, logarithmically slowly.

    Source: Englesson and Azizpour, NeurIPS 2021, arXiv 2105.04522, and the configurations of the official code
    1a3c9e0, keyed by noise and rate (its symmetric noise includes the true class, its asymmetric CIFAR-100
    noise stays in the superclass); the plain setting is that of symmetric noise, rate 0.4. There every image is
    strongly augmented (RandAugment N = 1, M = 3, and cutout 16) and the network is a narrow PreActResNet-34; under the
    shared protocol this method sees what all see.
    """

    name = "js"
    summary = "Jensen-Shannon divergence of label and prediction"
    source = "Englesson and Azizpour, NeurIPS 2021, arXiv 2105.04522"
    parameters = _jensen_shannon.parameters(weight=0.7)
    recipes = (
        _jensen_shannon.cifar("cifar10", "none", None, 0.1, 0.01, 5e-4),
        _jensen_shannon.cifar("cifar10", "sym-incl", 0.2, 0.7, 0.01, 5e-4),
        _jensen_shannon.cifar("cifar10", "sym-incl", 0.4, 0.7, 0.01, 5e-4),
        _jensen_shannon.cifar("cifar10", "sym-incl", 0.6, 0.9, 0.01, 5e-4),
        _jensen_shannon.cifar("cifar10", "sym-incl", 0.8, 0.9, 0.01, 5e-4),
        _jensen_shannon.cifar("cifar10", "asym", None, 0.3, 0.1, 1e-3),
        _jensen_shannon.cifar("cifar100", "none", None, 0.1, 0.2, 1e-4),
        _jensen_shannon.cifar("cifar100", "sym-incl", 0.2, 0.1, 0.2, 1e-4),
        _jensen_shannon.cifar("cifar100", "sym-incl", 0.4, 0.3, 0.2, 1e-4),
        _jensen_shannon.cifar("cifar100", "sym-incl", 0.6, 0.5, 0.2, 1e-4),
        _jensen_shannon.cifar("cifar100", "sym-incl", 0.8, 0.3, 0.2, 1e-4),
        _jensen_shannon.cifar("cifar100", "asym-superclass", None, 0.5, 0.1, 1e-4),
        _jensen_shannon.webvision(learning_rate=0.2, batch_size=64),
    )
    weight: float
    scaled: bool

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """JS / Z, or JS where `scaled` is false."""
        divergence = jensen_shannon(logits, labels, weight=self.weight)
        return divergence if self.scaled else divergence * _jensen_shannon.scale(self.weight)
