"""Co-teaching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Generator, Tensor

from methods._co_teaching import (
    CO_TEACHING,
    CO_TEACHING_DEVIATION,
    CO_TEACHING_TRAINING,
    GRADUAL,
    SAME_DEVIATION,
    exponent_parameter,
    gradual_parameter,
)
from methods._published import recipe_row
from methods.interface import Method, Parameter, Pass, Phase, Step, Steps, Task
from methods.losses import cross_entropy
from methods.pieces.judges import JUDGE, judged_logits, make_judges
from methods.pieces.lengths import epochs_of
from methods.pieces.small_loss import forget_rate, keep_counts, mean_over, smallest


class CoTeaching(Method):
    """Co-teaching: two networks, each trained on the samples of the batch that the other one finds easiest.

    In epoch e a share R(e) of each batch is forgotten: R(e) = tau min(e / (T_k - 1), 1)^c, tau the noise rate. Each
    network ranks the batch by its cross-entropy and picks the int((1 - R) B) smallest; L = mean of network 1's losses
    over network 2's picks + mean of network 2's over network 1's.

    The ramp has no least length: where 10 of 200 epochs become 2 of 30, R is tau before the networks have learnt much.
    On digits a ramp of at least 5 epochs was steadier over seeds under asymmetric noise and no better under symmetric
    noise; `gradual` sets it, and `tune` searches it.

    tau is the share of wrong labels that the privilege hands over: the overall one, so that under asymmetric noise
    (0.4 in half of the classes) it is 0.2, as in the codes that halve the rate there. T_k is 10 of 200 epochs, scaled.
    The prediction is the mean softmax of both; the paper reports each network, which the record holds as well. A sample
    counts as selected where both networks picked it when it was last visited. Costs twice as much as `ce`. With
    `judge=ema` (ours) averages of the networks rank the samples, at a further forward pass of each.

    Deviations from the official code: it divides the mean over the picks by their number once more, which only Adam
    doesn't notice; its ramp ends at tau^c and jumps to tau, which falls for c < 1 (the same at c = 1, which all
    published results use); it skips epoch 0. ASSUMPTION: at least one sample of a batch is kept, however high tau.

    Source: Han et al., NeurIPS 2018, arXiv 1804.06872, and its official code, whose network of nine layers, linear
    decay and change of Adam's beta1 the recipes take. Its tables give each network alone.
    """

    name = "co-teaching"
    aliases: ClassVar[tuple[str, ...]] = ("coteaching",)
    summary = "two networks, each trained on what the other finds easiest"
    source = "Han et al., NeurIPS 2018, arXiv 1804.06872"
    needs = ("noise_rate",)
    parameters: ClassVar[tuple[Parameter, ...]] = (
        gradual_parameter(CO_TEACHING),
        exponent_parameter(CO_TEACHING),
        JUDGE,
    )
    recipes = recipe_row(
        CO_TEACHING,
        "unknown",
        {name: {"gradual": GRADUAL, "exponent": 1.0} for name in ("mnist", "cifar10", "cifar100")},
        CO_TEACHING_TRAINING,
        deviations=SAME_DEVIATION | {"mnist": f"{CO_TEACHING_DEVIATION}; its epochs end after 401 batches"},
    )
    networks = 2
    gradual: float
    exponent: float = 1.0
    judge: str

    def start(self, task: Task) -> None:
        """Every sample counts as picked by both networks until it is visited."""
        super().start(task)
        self.effective = {"gradual": float(epochs_of(self.gradual, task.epochs))}
        self.kept = task.state("kept", torch.ones(task.samples, 2, dtype=torch.bool))
        self.judges = make_judges(task, self.judge, self.networks)

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over everything, in which both networks learn."""
        return (Pass(learn=(0, 1), draws=partial(self._draws, epoch)),)

    def _draws(self, epoch: int, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """`keep` int64 (steps, batch + 1): how many are kept of a batch of 0, 1, ... samples."""
        gradual = epochs_of(self.gradual, self.task.epochs)
        rate = forget_rate(epoch, self.task.privileges["noise_rate"], gradual, self.exponent)
        return {"keep": keep_counts(rate, steps.batch).expand(steps.count, -1)}

    def loss(self, step: Step) -> Tensor:
        """Each network's mean cross-entropy over the other's picks, summed."""
        logits = [step.logits(network=number) for number in (0, 1)]
        first, second = losses = [cross_entropy(each, step.labels) for each in logits]
        judged = judged_logits(self.judges, step, logits)
        by_judges = losses if judged is logits else [cross_entropy(each, step.labels) for each in judged]
        count = step.draws["keep"][len(step.labels)]
        picks = smallest(by_judges[0], count), smallest(by_judges[1], count)
        self._remember(step.index, torch.stack(picks, dim=1))
        return mean_over(first, picks[1]) + mean_over(second, picks[0])

    @torch.no_grad()
    def _remember(self, index: Tensor, picks: Tensor) -> None:
        """Keep what both networks (columns) picked of the samples `index`."""
        self.kept.index_copy_(0, index, picks)

    def selected(self) -> Tensor | None:
        """Samples (samples,) that both networks picked when they were last visited."""
        return self.kept.all(dim=1)
