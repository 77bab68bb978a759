"""Generalised Jensen-Shannon loss of two views."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, stack

from methods import _jensen_shannon
from methods.interface import Method, Pass, Phase, Step, Stream
from methods.losses import generalized_jensen_shannon


class GeneralizedJensenShannon(Method):
    """Generalised Jensen-Shannon loss: L = JS_pi(e_y, p, p') / Z, p and p' of two views of the same image.

    pi = (weight, (1 - weight)/2, (1 - weight)/2), Z = -(1 - weight) ln(1 - weight), JS_pi = sum_i pi_i KL(d_i
    || m), m the weighted mean. It is `js` of the views' mean prediction plus a term that asks the views to
    agree. Twice the cost.

    Source: Englesson and Azizpour, NeurIPS 2021, arXiv 2105.04522, and the configurations of the official code
    1a3c9e0, keyed by noise and rate (its symmetric noise includes the true class, its asymmetric CIFAR-100
    noise stays in the superclass); the plain setting is that of symmetric noise, rate 0.4. There both views are
    strongly augmented (RandAugment N = 1, M = 3, and cutout 16) and the network is a narrow PreActResNet-34; under the
    shared protocol both are drawn from what all methods see. On data without augmentation the views are equal,
    and it is `js`.
    """

    name = "gjs"
    summary = "Jensen-Shannon divergence of label and the predictions of two views"
    source = "Englesson and Azizpour, NeurIPS 2021, arXiv 2105.04522"
    parameters = _jensen_shannon.parameters(weight=0.9)
    recipes = (
        _jensen_shannon.cifar("cifar10", "none", None, 0.5, 0.1, 5e-4),
        _jensen_shannon.cifar("cifar10", "sym-incl", 0.2, 0.3, 0.1, 5e-4),
        _jensen_shannon.cifar("cifar10", "sym-incl", 0.4, 0.9, 0.1, 5e-4),
        _jensen_shannon.cifar("cifar10", "sym-incl", 0.6, 0.1, 0.1, 5e-4),
        _jensen_shannon.cifar("cifar10", "sym-incl", 0.8, 0.1, 0.1, 5e-4),
        _jensen_shannon.cifar("cifar10", "asym", None, 0.3, 0.1, 1e-3),
        _jensen_shannon.cifar("cifar100", "none", None, 0.3, 0.2, 5e-5),
        _jensen_shannon.cifar("cifar100", "sym-incl", 0.2, 0.3, 0.2, 5e-5),
        _jensen_shannon.cifar("cifar100", "sym-incl", 0.4, 0.5, 0.2, 5e-5),
        _jensen_shannon.cifar("cifar100", "sym-incl", 0.6, 0.9, 0.2, 5e-5),
        _jensen_shannon.cifar("cifar100", "sym-incl", 0.8, 0.1, 0.2, 5e-5),
        _jensen_shannon.cifar("cifar100", "asym-superclass", 0.2, 0.5, 0.4, 1e-4),
        _jensen_shannon.cifar("cifar100", "asym-superclass", 0.4, 0.1, 0.4, 1e-4),
        _jensen_shannon.webvision(learning_rate=0.1, batch_size=32),
    )
    units = 6.0
    weight: float
    scaled: bool

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over everything, two views of each image."""
        return (Pass(streams={"all": Stream(views=("weak", "weak"))}),)

    def loss(self, step: Step) -> Tensor:
        """The batch mean of JS / Z, or of JS where `scaled` is false."""
        totals = []
        for number in step.learn:
            views = [step.logits(view=view, network=number) for view in (0, 1)]
            totals.append(generalized_jensen_shannon(views, step.labels, self.weight).mean())
        total = stack(totals).sum()
        return total if self.scaled else total * _jensen_shannon.scale(self.weight)
