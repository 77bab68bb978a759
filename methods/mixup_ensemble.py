"""Control: an ensemble of mixup networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from methods.interface import Method, Parameter, Pass, Phase, Step, Steps
from methods.losses import cross_entropy
from methods.mixup import Mixup
from methods.pieces.mixing import blended, mix, mixup_draws, partners


class MixupEnsemble(Method):
    """Control: several networks trained by `mixup` side by side, each with weights and partners of its own.

    L = sum over the networks of l CE(x', y) + (1 - l) CE(x', y_s), l ~ Beta(alpha, alpha) and the permutation s drawn
    for each network and batch; the prediction is the mean softmax. The first member is trained as `mixup` is, bit for
    bit. It shows what a method that mixes with two networks wins by being an ensemble of mixup. Costs as many times
    `mixup` as it has members: two are 6 units a sample, a forward pass being 1.

    Source: none, a control of this benchmark; mixup is Zhang et al., ICLR 2018, arXiv 1710.09412. ASSUMPTION: two
    members and draws of their own, as DivideMix and its kin have them.
    """

    name = "mixup-ensemble"
    summary = "control: the mean prediction of several mixup networks"
    source = "control of this benchmark; mixup: Zhang et al., ICLR 2018, arXiv 1710.09412"
    control = True
    parameters = (
        *Mixup.parameters,
        Parameter("members", 2, "networks", "ASSUMPTION: as many as DivideMix has", low=2, high=32),
    )
    recipes = Mixup.recipes
    units = 0.0
    units_per = {"members": 3.0}
    alpha: float
    members: int

    @property
    def networks(self) -> int:  # type: ignore[override]
        """As many as members."""
        return self.members

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over everything, in which every member learns."""
        return (Pass(learn=tuple(range(self.members)), draws=self._draws),)

    def _draws(self, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """`weight` (steps, members) and `order` (steps, members, batch), those of `mixup` for each member in turn."""
        drawn = [mixup_draws(steps, generator, self.alpha) for _ in range(self.members)]
        return {name: torch.stack([member[name] for member in drawn], dim=1) for name in ("weight", "order")}

    def loss(self, step: Step) -> Tensor:
        """Each member's l CE(x', y) + (1 - l) CE(x', y_s), the batch mean, summed over the members."""
        labels, images = step.labels, step.streams["all"].views[0]
        totals = []
        for number in step.learn:
            weight = step.draws["weight"][number]
            partner = partners(step.draws["order"][number], len(labels))
            logits = step.network(number)(mix(images, partner, weight))
            totals.append(blended(cross_entropy, logits, labels, partner, weight).mean())
        return torch.stack(totals).sum()
