"""Early-learning regularisation with two networks, averaged teachers and mixup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Generator, Tensor

from methods import _elr_plus
from methods.interface import Method, Pass, Phase, Step, Steps, Task
from methods.losses import soft_cross_entropy
from methods.pieces.early_learning import as_distributions, early_learning_regularizer
from methods.pieces.lengths import sigmoid_ramp, step_times
from methods.pieces.mixing import mix, mixup_draws, one_hot, partners


class EarlyLearningRegularizationPlus(Method):
    """Early-learning regularisation with two networks, each with targets from the other's averaged weights, and mixup.

    Network k trains on batches of its own. The other network's exponential average of weights predicts p~ on the
    batch as it is: t_i <- beta t_i + (1 - beta) p~_i, from 0, without gradient. Then x' = l x + (1 - l) x_s, the label
    y' and target t' mixed alike, l = max(l', 1 - l'), l' ~ Beta(alpha, alpha), s a permutation of the batch:
    L = -<y', ln p(x')> + r lam mean ln(1 - <t', p(x')>), p clamped to [1e-4, 1 - 1e-4] in the second term. r = 1, or
    exp(-5 (1 - time / ramp)^2) until `ramp`. With `refine`, y' is first multiplied by t' and brought to sum 1 (left as
    it is where nothing remains), as the code does with 100 classes.

    An average takes a <- d a + (1 - d) w after each step, d = decay exp(-5 (1 - time / average_ramp)^2) per step of a
    training of `reference_steps`, raised to reference_steps / steps of this one, so that a step weighs the same after
    the same share of any training (in short ones the teacher is nearly the student at first). With average_ramp 0 it is
    the plain mean of the weights until the exponential one would be older.

    The prediction is the mean softmax of the two students; the code evaluates them too, not the averages, by the mean
    of their logits (on two GPUs, by a slip, one student and the other's average). Further deviations: averages hold
    the students' batch statistics and predict in eval mode, where the code's run in training mode on statistics of
    their own; they begin at the students' first weights, not at others. beta is per visit and isn't scaled.
    ASSUMPTION: on WebVision, whose configuration has no ramp of the regulariser, there is none. Clothing1M's
    class-balanced batches are left out.

    Cost: 2 (3 + 1) = 8 units a sample where cross-entropy takes 3, a forward pass being 1. Memory: 2 K numbers a
    sample.

    Source: Liu et al., NeurIPS 2020, arXiv 2007.00151, and its official code (shengliu66/ELR), keyed by noise on
    CIFAR-10 (its symmetric noise includes the true class); the plain setting is that of symmetric noise.
    """

    name = "elr+"
    summary = "elr with mixup and two networks, each regularised by the other's averaged weights"
    source = "Liu et al., NeurIPS 2020, arXiv 2007.00151"
    parameters = _elr_plus.PARAMETERS
    recipes = _elr_plus.RECIPES
    networks = 2
    units = 8.0
    lam: float
    beta: float
    alpha: float
    decay: float
    average_ramp: float
    reference_steps: int
    ramp: float
    refine: bool

    def start(self, task: Task) -> None:
        """Both networks' targets (2, samples, K) begin at 0, and both averages at their network's first weights."""
        super().start(task)
        self.targets = task.state("targets", torch.zeros(self.networks, task.samples, task.classes))
        self.steps = task.epochs * task.steps_per_epoch
        self.teachers = [task.average(network, self.decay_after) for network in range(self.networks)]
        self.effective = {
            "decay": math.pow(self.decay, self.reference_steps / self.steps),
            "average_ramp": self.average_ramp * task.epochs,
            "ramp": self.ramp * task.epochs,
        }

    def decay_after(self, updates: int) -> float:
        """The average's decay, in [0, 1), in the step after so many updates."""
        scale = self.reference_steps / self.steps
        if self.average_ramp == 0:
            return min(1 - 1 / (updates + 2), math.pow(self.decay, scale))
        passed = min(1.0, (updates + 1) / (self.average_ramp * self.steps))
        return math.pow(self.decay * math.exp(-5 * (1 - passed) ** 2), scale)

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One for each network, in an order and crops of its own."""
        return tuple(Pass(learn=(network,), draws=partial(self._draws, epoch)) for network in range(self.networks))

    def _draws(self, epoch: int, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """`weight`, `order` of mixup; `coefficient` (steps,): the regulariser's, on its ramp."""
        ramp = sigmoid_ramp(step_times(epoch, steps), self.effective["ramp"])
        return mixup_draws(steps, generator, self.alpha, dominant=True) | {"coefficient": (self.lam * ramp).float()}

    def loss(self, step: Step) -> Tensor:
        """The learning network's loss, after its targets took their step by the other's teacher."""
        (network,) = step.learn
        images, weight = step.streams["all"].views[0], step.draws["weight"]
        targets = self._visit(network, step.index, images)
        partner = partners(step.draws["order"], len(images))
        labels = one_hot(step.labels, self.targets.shape[2])
        mixed, labels, targets = (mix(values, partner, weight) for values in (images, labels, targets))
        if self.refine:
            agreed = labels * targets
            total = agreed.sum(dim=1, keepdim=True)
            labels = torch.where(total > 0, agreed / total.clamp(min=1e-30), labels)
        logits = step.network(network)(mixed)
        regularizer = early_learning_regularizer(logits.softmax(dim=1), targets)
        return soft_cross_entropy(logits, labels).mean() + step.draws["coefficient"] * regularizer

    @torch.no_grad()
    def _visit(self, network: int, index: Tensor, images: Tensor) -> Tensor:
        """Move one network's targets of a batch towards the other's averaged prediction; returns them (B, K)."""
        latest = self.teachers[1 - network](images).softmax(dim=1)
        targets = self.beta * self.targets[network, index] + (1 - self.beta) * latest
        self.targets[network].index_copy_(0, index, targets)
        return targets

    def soft_targets(self) -> Tensor:
        """The mean of both networks' targets, scaled to sum 1; uniform for a sample that was never visited."""
        return as_distributions(self.targets.mean(dim=0))
