"""DivideMix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from methods import _dividemix
from methods.interface import Method, Pass, Phase, Setting, Step, Steps, Task
from methods.losses import cross_entropy
from methods.pieces import mixmatch
from methods.pieces.judges import judge_of, make_judges
from methods.pieces.lengths import linear_ramp, published_epochs, step_times, too_short, warm_up_epochs
from methods.pieces.mixing import mix, mixup_draws, one_hot, partners, uniform_prior_penalty
from methods.pieces.mixtures import gaussian_clean_probability, normalised


class DivideMix(Method):
    """DivideMix: two networks split the data for each other by their losses and learn by MixMatch.

    Warm-up: cross-entropy, each network on batches and crops of its own, so that the two differ. Then, before each
    epoch, a two-component Gaussian mixture on each network's normalised losses gives w_i, the probability that label i
    is right. Network k trains on the split of the other one: labelled where w > threshold, unlabelled elsewhere, a
    batch of both per step, two views of each image. Refined labels q_x = sharpen(w y + (1 - w) p), p the mean of its
    own two views; guessed labels q_u = sharpen(mean of both networks' two views). All images x are mixed with a
    permutation of themselves, l = max(l', 1 - l'), l' ~ Beta(alpha, alpha): L = CE(x', q') over the labelled half +
    lambda_u(t) mean (p - q')^2 over the other + KL(uniform || mean p). lambda_u(t) grows linearly from 0 over `ramp`
    after the warm-up. KL to uniform assumes balanced classes.

    lambda_u by table 7, CIFAR-10: 0 (sym 0.2, asym), 25 (0.5, 0.8), 50 (0.9); CIFAR-100: 25 (0.2), 150 (0.5, 0.8,
    0.9); Clothing1M and WebVision 0. A wrong one costs up to ten points (asym 0.4 with 25). These are informed
    recipes; the plain setting is that of symmetric noise 0.5, on CIFAR-10 the code's default. CIFAR's code forwards
    the unlabelled half of the mix at lambda_u 0 too, that of the others doesn't: `forward_unlabelled`.

    Deviations from the released code: mixtures are refitted at the end of an epoch instead of before the next, which
    is the same; they start from exact two-means and w never rises with the loss (`methods.pieces.mixtures`); the
    prediction is the mean softmax, not the sum of logits; labelled views are forwarded before unlabelled ones. (Until
    version 2 both networks saw the same batches in warm-up.)
    ASSUMPTION: fewer than two labelled samples: the batch of those most likely clean; fewer than two unlabelled: the
    labelled terms alone. Clean probability and selection, as reported, are by the mean w of both networks.

    Cost in forward passes of an image, labelled share s: about 36 s + 2 an epoch where cross-entropy takes 3.

    Source: Li et al., ICLR 2020, arXiv 2002.07394, and its official code (LiJunnan1992/DivideMix).
    """

    name = "dividemix"
    summary = "two networks split the data for each other by a mixture on losses, then semi-supervised learning"
    source = "Li et al., ICLR 2020, arXiv 2002.07394"
    version = 2
    parameters = _dividemix.PARAMETERS
    recipes = _dividemix.RECIPES
    assumes = ("balanced_classes",)
    networks = 2
    units = 21.0
    lambda_u: float
    threshold: float
    temperature: float
    alpha: float
    warm_up: float
    ramp: float
    history: int
    penalty: float
    forward_unlabelled: bool
    judge: str

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        if self.lambda_u > 0 and not self.forward_unlabelled:
            raise ValueError("forward_unlabelled=false leaves nothing for lambda_u to weigh; set lambda_u=0 with it")

    def unsuitable(self, setting: Setting) -> str | None:
        """A single epoch has no room for warm-up and selection."""
        return too_short(self.name, setting)

    def start(self, task: Task) -> None:
        """Every label counts as clean and as its own target until the warm-up ends."""
        super().start(task)
        self.clean = task.state("clean", torch.ones(self.networks, task.samples))
        self.past = task.state("past", torch.zeros(self.networks, self.history, task.samples))
        self.targets = task.state("targets", one_hot(task.labels, task.classes))
        ramp = max(1.0, self.ramp * task.epochs) if self.ramp > 0 else 0.0
        warm_up = warm_up_epochs(self.warm_up, task, published_epochs(self, "warm_up"))
        self.effective = {"warm_up": warm_up, "ramp": ramp}
        self.judges = make_judges(task, self.judge, self.networks)
        self.half = max(2, task.batch_size // 2)

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One for each network: in warm-up over everything, afterwards over the other's split."""
        if epoch < self.effective["warm_up"]:
            return tuple(Pass(learn=(network,)) for network in range(self.networks))
        draws, judges = partial(self._draws, epoch), (self.clean[1], self.clean[0])
        streams = [mixmatch.split_streams(judge, self.threshold, self.half) for judge in judges]
        return tuple(Pass(each, (network,), draws) for network, each in enumerate(streams))

    def _draws(self, epoch: int, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """`weight`, `order` of mixup over both views of both streams; `lambda_u` (steps,) on its ramp."""
        ramp = linear_ramp(step_times(epoch, steps), self.effective["warm_up"], self.effective["ramp"])
        # half + 1: a last batch of one joins the one before it
        drawn = mixup_draws(Steps(steps.count, self.half + 1), generator, self.alpha, copies=4, dominant=True)
        return drawn | {"lambda_u": (self.lambda_u * ramp).float()}

    def loss(self, step: Step) -> Tensor:
        """Cross-entropy in warm-up, the MixMatch loss of the learning network afterwards."""
        if mixmatch.LABELLED not in step.streams:
            return mixmatch.warm_up_loss(step.logits(network=step.learn[0]), step.labels, self.penalty)
        (network,) = step.learn
        clean = self.clean[1 - network]
        images, targets = mixmatch.co_targets(step, network, clean, self.temperature, self.targets)
        partner = partners(step.draws["order"], len(images))
        mixed, targets = (mix(values, partner, step.draws["weight"]) for values in (images, targets))
        labelled = 2 * len(step.index)
        if not self.forward_unlabelled:
            mixed, targets = mixed[:labelled], targets[:labelled]
        logits = step.network(network)(mixed)
        total = mixmatch.loss(logits, targets, labelled, step.draws["lambda_u"]) + uniform_prior_penalty(logits)
        extra = self.extra(step, network)
        return total if extra is None else total + extra

    def extra(self, step: Step, network: int) -> Tensor | None:
        """A further scalar term of the learning network's loss after warm-up; none. For methods that build on this."""
        return None

    def infer_losses(self, network: int) -> Tensor:
        """Losses (samples,) of the given labels by one network's judge, in eval mode, without augmentation."""
        return cross_entropy(self.task.infer(judge_of(self.judges, network)), self.task.labels)

    def fit(self, network: int, losses: Tensor) -> Tensor:
        """The clean probability (samples,) by one network, of its normalised losses (samples,) in [0, 1]."""
        return gaussian_clean_probability(losses)

    @torch.no_grad()
    def end_epoch(self, phase: Phase, epoch: int) -> None:
        """Refit both mixtures from the warm-up's last epoch on."""
        fits = epoch - max(int(self.effective["warm_up"]), 1) + 1
        if fits < 0:
            return
        for network in range(self.networks):
            self.past[network, fits % self.history] = normalised(self.infer_losses(network))
            recent = self.past[network, : min(fits + 1, self.history)].mean(dim=0)
            self.clean[network].copy_(self.fit(network, recent))

    def clean_probability(self) -> Tensor:
        """The mean of both networks' mixtures."""
        return self.clean.mean(dim=0)

    def selected(self) -> Tensor:
        """Where that mean is above the threshold."""
        return self.clean_probability() > self.threshold

    def soft_targets(self) -> Tensor:
        """Refined or guessed labels as last computed, by whichever network learned last; the given label before."""
        return self.targets
