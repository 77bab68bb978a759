"""Mixing each sample with its nearest neighbours, towards gradually corrected targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods import _mixnn
from methods.interface import Method, Pass, Phase, Setting, Step, Stream, Task
from methods.losses import cross_entropy, mean_absolute_error, soft_cross_entropy
from methods.pieces.features import logits_and_features
from methods.pieces.judges import judge_of, make_judges
from methods.pieces.lengths import epochs_of, published_epochs, too_short, warm_up_epochs
from methods.pieces.mixing import blended, mix, mixup_draws, one_hot, partners
from methods.pieces.mixtures import gaussian_clean_probability, normalised
from methods.pieces.neighbours import Metric, mix_neighbours, nearest, nearest_in_batch, neighbour_weights


class NearestNeighbourMixing(Method):
    """MixNN: warm-up, then x'_i = sum_j o_ij x_j and L = -<sum_j o_ij q_j, ln p(x'_i)> over i and its K nearest.

    1. Warm-up: cross-entropy on images without augmentation.
    2. From there, before each epoch: w_i = posterior of the low-loss component of a two-component Gaussian mixture on
       the min-max normalised losses against argmax q_i (mean of the last `history` epochs' losses).
    3. Until `correction_start`: mixup with random partners, l ~ Beta(1, 1), L = l (1 - p_a) + (1 - l) (1 - p_b).
    4. After it: the neighbours of i by the features of its batch, o_ij = w_j / sum_k w_k, where w_i is raised by 1e-10:
       of weights that are all 0 the sample gets all. In `refreshes` epochs, q_i <- m q_i + (1 - m) p(x_i); q_i is the
       given label before. These are the last epochs of the learning rate's periods, where it is lowest: the first may
       be the epoch before step 4 (59 of 300, counted from 0). Without restarts they are spread evenly over the rest.
    m is per visit and doesn't scale with the training; nor does the number of refreshes, one an epoch if they are more.

    ASSUMPTION: K > 1, which the abstract implies and the code lacks. `epsilon=symmetric`: every w_j is raised, so that
    of two weights of 0 the sample gets a half. Refreshes without restarts, which the code always has. `scope=bank`:
    neighbours in the whole set by the features of the last epoch, in views of their own. `metric=cosine`.
    `early_loss=ce`: the linear loss of step 3 is what the code computes by handing probabilities to a function of
    log-probabilities. `clean_probability` is w_i, and 0 where argmax q_i has left the given label, since w_i then
    speaks of another label; `selected` is where it is over 1/2.
    Deviations: the code never shuffles in the warm-up, and asks an approximate index, taking its first answer to be the
    sample itself; here neighbours are exact and never the sample. Its first forward pass of each step, for features
    and q, is left out where neither is used, and takes no gradient (its result never had a use for one).

    Cost after the warm-up: an inference and 3 units, 5 with neighbours in the batch.
    Source: He and Lu, arXiv 2406.16966 (MixNN; Lu and He, IEEE Big Data 2021), whose body wasn't at hand; algorithm
    and settings are those of the official code (MacLLL/MixNN 12c6005).
    """

    name = "mixnn"
    aliases = ("soft-mix",)
    summary = "mixes each sample with its nearest neighbours by how clean they seem, towards corrected targets"
    source = "He and Lu, arXiv 2406.16966"
    parameters = _mixnn.PARAMETERS
    recipes = _mixnn.RECIPES
    version = 2
    units = 4.7
    warm_up: float
    correction_start: float
    refreshes: int
    momentum: float
    neighbours: int
    scope: str
    metric: Metric
    epsilon: str
    early_loss: str
    warm_up_view: str
    history: int
    judge: str

    def unsuitable(self, setting: Setting) -> str | None:
        """Where there is no epoch after the warm-up, or nobody left to be a neighbour."""
        among, what = setting.samples, "training samples"
        if self.scope == "batch" and setting.batch_size < among:
            among, what = setting.batch_size, "samples of a batch"
        if self.neighbours >= among:
            wider = ", or scope=bank" if what.endswith("batch") else ""
            return (
                f"mixnn looks for {self.neighbours} neighbours among {among} {what}, one being the sample itself; "
                f"type mixnn[neighbours={max(among - 1, 1)}] or less{wider}"
            )
        return too_short(self.name, setting)

    def start(self, task: Task) -> None:
        """Targets begin as the given labels, weights at 1."""
        super().start(task)
        self.warm_epochs = warm_up_epochs(self.warm_up, task, published_epochs(self, "warm_up"))
        self.first_corrected = max(epochs_of(self.correction_start, task.epochs), self.warm_epochs)
        self.refreshed = self._refreshed_epochs(task)
        lengths = (self.warm_epochs, self.first_corrected, len(self.refreshed))
        self.effective = dict(zip(("warm_up", "correction_start", "refreshes"), lengths, strict=True))
        self.targets = task.state("targets", one_hot(task.labels, task.classes))
        self.weights = task.state("weights", torch.ones(task.samples))
        self.judges = make_judges(task, self.judge, self.networks)
        self.losses_seen = task.state("losses", torch.zeros(self.history, task.samples))
        if self.scope == "bank":
            # nobody has been looked for yet: everyone beside itself
            itself = torch.arange(task.samples).unsqueeze(1)
            self.found = task.state("neighbours", itself.repeat(1, self.neighbours))

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass; under bank scope the neighbours' images come along once they are mixed in."""
        if epoch < self.warm_epochs:
            return (Pass({"all": Stream(views=(self.warm_up_view,))}),)
        if epoch < self.first_corrected:
            return (Pass(draws=lambda steps, generator: mixup_draws(steps, generator, alpha=1.0)),)
        streams = {"all": Stream()}
        if self.scope == "bank":
            columns = self.found.T.contiguous()
            streams |= {f"neighbour-{j}": Stream(index=column, beside="all") for j, column in enumerate(columns)}
        return (Pass(streams),)

    def loss(self, step: Step) -> Tensor:
        """Warm-up: CE; until the correction starts: random mixing; then neighbour mixing, after q took its step."""
        if step.epoch < self.warm_epochs:
            return cross_entropy(step.logits(), step.labels).mean()
        images, network = step.streams["all"].views[0], step.network(0)
        if step.epoch < self.first_corrected:
            if step.epoch in self.refreshed:
                with torch.no_grad():
                    self._refresh(step.index, network(images))
            weight, partner = step.draws["weight"], partners(step.draws["order"], len(images))
            logits = network(mix(images, partner, weight))
            losses = mean_absolute_error if self.early_loss == "linear" else cross_entropy
            return blended(losses, logits, step.labels, partner, weight).mean()
        with torch.no_grad():
            mixed, target = self._mixed(step, images)
        return soft_cross_entropy(network(mixed), target).mean()

    def _mixed(self, step: Step, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed images (B, C, H, W) and their mixed targets (B, K)."""
        index, refreshes = step.index, step.epoch in self.refreshed
        if refreshes or self.scope == "batch":
            logits, features = step.network(0).with_features(images)
        if refreshes:
            self._refresh(index, logits)
        if self.scope == "bank":
            beside = [step.streams[f"neighbour-{j}"] for j in range(self.neighbours)]
            others = torch.stack([batch.index for batch in beside], dim=1)
            theirs = [batch.views[0] for batch in beside]
        else:
            near = nearest_in_batch(features, self.neighbours, self.metric)
            others, theirs = index[near], [images[column] for column in near.T]
        together = torch.cat([index.unsqueeze(1), others], dim=1)
        shares = neighbour_weights(self.weights[together], symmetric=self.epsilon == "symmetric")
        targets = self.targets[together].unbind(1)
        return mix_neighbours([images, *theirs], shares), mix_neighbours(targets, shares)

    def _refresh(self, index: Tensor, logits: Tensor) -> None:
        """One step of the targets of samples `index` towards the predictions, logits (B, K)."""
        moved = self.momentum * self.targets[index] + (1 - self.momentum) * logits.softmax(dim=1)
        self.targets.index_copy_(0, index, moved)

    def _refreshed_epochs(self, task: Task) -> frozenset[int]:
        """The epochs in which targets take their step, the last of those that are possible among them."""
        possible: Sequence[int] = range(self.first_corrected, task.epochs)
        if task.restart_period is not None:
            earliest = max(self.first_corrected - 1, self.warm_epochs)
            ends = [epoch for epoch in range(earliest, task.epochs) if (epoch + 1) % task.restart_period == 0]
            possible = ends or possible
        count = min(self.refreshes, len(possible))
        return frozenset(possible[-(-number * len(possible) // count) - 1] for number in range(1, count + 1))

    def end_epoch(self, phase: Phase, epoch: int) -> None:
        """From the warm-up's end on: weights for the next epoch, and its neighbours under bank scope."""
        if epoch + 1 < self.warm_epochs:
            return
        classes, judge = self.task.classes, judge_of(self.judges, 0)
        if self.scope == "bank":
            outputs = self.task.infer(judge, output=logits_and_features)
            logits, features = outputs[:, :classes], outputs[:, classes:]
            if epoch + 1 >= self.first_corrected:
                everyone = torch.arange(self.task.samples, device=outputs.device)
                self.found.copy_(nearest(features, features, self.neighbours, self.metric, everyone))
        else:
            logits = self.task.infer(judge)
        fitted = epoch + 1 - max(self.warm_epochs, 1)
        self.losses_seen[fitted % self.history] = normalised(cross_entropy(logits, self.targets.argmax(dim=1)))
        self.weights.copy_(gaussian_clean_probability(self.losses_seen[: fitted + 1].mean(dim=0)))

    def clean_probability(self) -> Tensor:
        """w, and 0 where the corrected label is no longer the given one."""
        return torch.where(self.targets.argmax(dim=1) == self.task.labels, self.weights, 0.0)

    def selected(self) -> Tensor:
        """Samples with a probability over 1/2: a rule of ours, since the method weighs and leaves nothing out."""
        return self.clean_probability() > 0.5

    def soft_targets(self) -> Tensor:
        """q (samples, K)."""
        return self.targets
