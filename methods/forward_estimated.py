"""Forward loss correction with a transition matrix estimated from anchor points."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from methods._co_teaching import compared_by_co_teaching
from methods._published import SOURCES, recipe_row
from methods.interface import Method, Parameter, Phase, Task
from methods.losses import cross_entropy, forward_corrected

_PERCENTILES = {"mnist": {"percentile": 97.0}, "cifar10": {"percentile": 97.0}, "cifar100": {"percentile": 100.0}}


def anchor_transition(posteriors: Tensor, percentile: float) -> Tensor:
    """T (K, K) from noisy-label posteriors (n, K): row i is the posterior at class i's anchor point, rows
    summing to 1.

    The anchor is the sample with the highest posterior of class i among those strictly below that posterior's
    `percentile` over all samples (in (0, 100]; the next higher order statistic); at 100 the highest of all.
    Where no sample is below (constant posteriors) it is the highest. Patrini et al. 2017 and their official
    code, whose in-place masking (it zeroes columns that later rows still read) isn't copied.
    """
    samples = len(posteriors)
    allowed = torch.ones_like(posteriors, dtype=torch.bool)
    if percentile < 100:
        rank = math.ceil(percentile / 100 * (samples - 1))
        allowed = posteriors < posteriors.sort(dim=0).values[rank]
    # posteriors are at most 1, so what isn't allowed ranks below all that is
    anchors = torch.where(allowed, posteriors, posteriors - 2).argmax(dim=0)
    rows = posteriors[anchors]
    return rows / rows.sum(dim=1, keepdim=True)


class ForwardEstimated(Method):
    """Forward correction with T estimated by anchor points: train, read T off, start anew with L = -ln sum_i
    p_i T_iy.

    Source: Patrini et al., CVPR 2017, arXiv 1609.03683. Phase "estimate" trains with cross-entropy (the
    correction with T = identity) for the run's epochs; T_ij = p_j(x_i), x_i the sample that looks most like
    class i under the 97th percentile (the highest on CIFAR-100), is read off at the epoch with the lowest loss
    on the noisy hold-out, as the official code chooses both; then the network gets its first weights again and
    phase "train" takes the run's epochs with T. So it costs twice as much as the others.

    Without a hold-out T is read at the last epoch, where a network that has memorised the labels gives T near
    the identity. The authors' own networks aren't ours; recipes train it as Co-teaching's paper compared it.
    """

    name = "forward-estimated"
    aliases = ("f-estimated",)
    summary = "forward correction, the transition matrix estimated from anchor points; trains twice"
    source = "Patrini et al., CVPR 2017, arXiv 1609.03683"
    parameters = (
        Parameter(
            "percentile",
            97.0,
            "anchor points lie just under this percentile of a class's posterior; 100: the highest",
            "official code (giorgiop/loss-correction)",
            low=0.0,
            open_low=True,
            high=100.0,
        ),
    )
    recipes = (
        *recipe_row(SOURCES["forward"], "unknown", _PERCENTILES, trainings={}),
        *compared_by_co_teaching(_PERCENTILES, "percentiles as in the authors' code"),
    )
    uses_held_labels = True
    units = 6.2
    percentile: float

    def start(self, task: Task) -> None:
        """T begins as the identity, under which the correction is cross-entropy."""
        super().start(task)
        self.transition = task.state("transition", torch.eye(task.classes))
        self.estimate = task.state("estimate", torch.eye(task.classes))
        self.lowest = task.state("lowest held-out loss", torch.tensor(math.inf))

    def phases(self) -> tuple[Phase, ...]:
        """Estimation, then training from the first weights, each for the run's epochs."""
        return (Phase("estimate", self.task.epochs), Phase("train", self.task.epochs, initialise=(0,)))

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """-ln sum_i p_i T_iy."""
        return forward_corrected(logits, labels, transition=self.transition)

    def end_epoch(self, phase: Phase, epoch: int) -> None:
        """Read T off where the hold-out's loss is the lowest so far; after the estimation put it to use."""
        if phase.name != "estimate":
            return
        with torch.no_grad():
            held = self.task.held_labels
            loss = cross_entropy(self.task.infer_held(), held).mean() if len(held) else self.lowest
            if loss < self.lowest or (not len(held) and epoch == phase.epochs - 1):
                self.lowest.copy_(loss)
                self.estimate.copy_(anchor_transition(self.task.infer().softmax(dim=1), self.percentile))
            if epoch == phase.epochs - 1:
                self.transition.copy_(self.estimate)
