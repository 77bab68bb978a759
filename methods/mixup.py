"""Mixup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Generator, Tensor, stack

from methods._published import cifar_training, published
from methods.interface import Method, Parameter, Pass, Phase, Search, Step, Steps
from methods.losses import cross_entropy
from methods.pieces.mixing import blended, mix, mixup_draws, partners


class Mixup(Method):
    """Mixup: x' = l x + (1 - l) x_s, L = l CE(x', y) + (1 - l) CE(x', y_s), l ~ Beta(alpha, alpha) once per
    batch.

    s is a random permutation of the batch. Networks memorise mixed samples less.

    Source: Zhang et al., ICLR 2018, arXiv 1710.09412, and its official code (facebookresearch/mixup-cifar10),
    alpha = 1. No setting for noisy labels was at hand. ASSUMPTION: the backbone in the recipe's
    training, pre-activation ResNet-18.
    """

    name = "mixup"
    summary = "cross-entropy on random blends of two images and their labels"
    source = "Zhang et al., ICLR 2018, arXiv 1710.09412"
    parameters = (
        Parameter(
            "alpha",
            1.0,
            "both parameters of the Beta distribution of the blend; large: halves",
            "paper and official code",
            low=0.01,
            high=1000.0,
            search=Search("log-uniform", 0.1, 32.0),
        ),
    )
    recipes = (
        published(
            "cifar10",
            {"alpha": 1.0},
            "mixup, official code (facebookresearch/mixup-cifar10)",
            training=cifar_training("preact-resnet18", 200, 0.1, 1e-4, "step:100,150@0.1"),
        ),
    )
    alpha: float

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over everything, with its blends drawn ahead."""
        return (Pass(draws=self._draws),)

    def _draws(self, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """`weight` (steps,): l of each batch. `order` (steps, batch): uniforms whose ranks are the partners."""
        return mixup_draws(steps, generator, self.alpha)

    def loss(self, step: Step) -> Tensor:
        """l CE(x', y) + (1 - l) CE(x', y_s), the batch mean."""
        weight, labels = step.draws["weight"], step.labels
        partner = partners(step.draws["order"], len(labels))
        mixed = mix(step.streams["all"].views[0], partner, weight)
        totals = []
        for number in step.learn:
            logits = step.network(number)(mixed)
            totals.append(blended(cross_entropy, logits, labels, partner, weight).mean())
        return stack(totals).sum()
