"""M-correction: dynamic bootstrapping by a Beta mixture on the losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from methods._published import OTHER_SCALE, cifar_training, on_cifar10, published
from methods.interface import Method, Parameter, Pass, Phase, Search, Setting, Step, Steps, Task
from methods.losses import cross_entropy, soft_cross_entropy
from methods.pieces.judges import JUDGE, judge_of, make_judges
from methods.pieces.lengths import published_epochs, too_short, warm_up_epochs, warm_up_parameter
from methods.pieces.mixing import mix, mixup_draws, one_hot, partners, uniform_prior_penalty
from methods.pieces.mixtures import beta_clean_probability

_CODE = "M-correction, official code (PaulAlbert31/LabelNoiseCorrection), M-DYR-H"
_WARM_UP = 105 / 300
_TRAINING = cifar_training("preact-resnet18", 300, 0.1, 1e-4, "step:100,250@0.1")


class MCorrection(Method):
    """M-correction (M-DYR): mixup on labels that a Beta mixture on the losses bootstraps towards the prediction.

    Warm-up: mixup, x' = l x + (1 - l) x_s, l ~ Beta(alpha, alpha), s a permutation of the batch. Then, after each
    epoch, a two-component Beta mixture on all losses gives w_i, the probability that label i is right, and
    t_i = w_i y_i + (1 - w_i) z_i, z_i the prediction for the unmixed image, hard (its argmax) or soft, without
    gradient: L = CE(x', l t + (1 - l) t_s) + regulariser * KL(uniform || mean prediction of the batch). The last term
    assumes balanced classes. w is clipped to [1e-4, 1 - 1e-4]. Two forwards, one backward and one inference.

    Deviations from the released code: w is of each sample's loss at the end of the last epoch, not of its loss in the
    step, taken by a third forward; losses are of unaugmented images, where its own are of one weak view; soft z are
    weighed by l there too, where the code takes 1/2 each (alpha 32 draws l near 1/2); its soft variant computes the
    uniform prior of 10 classes on any data, which isn't copied. Bootstrapping begins in epoch 106 of 300, as there,
    five epochs after the learning rate's first drop, so that the first mixture is of a network that has settled; a
    shorter training warms up for a third at most, and under the shared protocol the schedule has no such drop. Its
    dynamic mixup (MD-DYR-SH) is another method. Reported to collapse at 90 % noise (40.8 best, 9.9 last).
    ASSUMPTION: samples with w above 1/2 count as selected.

    Source: Arazo et al., ICML 2019, arXiv 1904.11238, and its official code; the same setting for every noise.
    """

    name = "m-correction"
    summary = "mixup on labels bootstrapped by a Beta mixture on the losses"
    source = "Arazo et al., ICML 2019, arXiv 1904.11238"
    parameters = (
        Parameter(
            "alpha",
            32.0,
            "both parameters of the Beta distribution of the mixing weight",
            "official code",
            low=0.01,
            high=1000.0,
            search=Search("log-uniform", 0.3, 64.0),
        ),
        Parameter("z", "hard", "the prediction that replaces a label", "official code", choices=("hard", "soft")),
        Parameter(
            "regulariser",
            1.0,
            "weight of the uniform prior after warm-up",
            "official code",
            low=0.0,
            search=Search("log-uniform", 0.1, 10.0),
        ),
        warm_up_parameter(_WARM_UP, "official code: 105 of 300 epochs", high=_WARM_UP),
        JUDGE,
    )
    recipes = tuple(
        published(
            data_set,
            {"alpha": 32.0, "z": "hard", "regulariser": 1.0},
            _CODE,
            training=_TRAINING,
            deviation=on_cifar10(data_set, OTHER_SCALE),
        )
        for data_set in ("cifar10", "cifar100")
    )
    version = 2
    assumes = ("balanced_classes",)
    units = 4.4
    alpha: float
    z: str
    regulariser: float
    warm_up: float
    judge: str

    def unsuitable(self, setting: Setting) -> str | None:
        """A single epoch has no room for warm-up and bootstrapping."""
        return too_short(self.name, setting)

    def start(self, task: Task) -> None:
        """Every label counts as clean and as its own target until the warm-up ends."""
        super().start(task)
        self.clean = task.state("clean", torch.ones(task.samples))
        self.targets = task.state("targets", one_hot(task.labels, task.classes))
        self.judges = make_judges(task, self.judge, self.networks)
        published = published_epochs(self, "warm_up")
        self.effective = {"warm_up": warm_up_epochs(self.warm_up, task, published)}

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over everything, with its mixing drawn ahead."""
        return (Pass(draws=self._draws),)

    def _draws(self, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """`weight`, `order` of mixup."""
        return mixup_draws(steps, generator, self.alpha)

    def loss(self, step: Step) -> Tensor:
        """Cross-entropy of the mixed images against the mixed targets, and the uniform prior after warm-up."""
        bootstrapping = step.epoch >= self.effective["warm_up"]
        targets = self._bootstrapped(step) if bootstrapping else self.targets[step.index]
        images = step.streams["all"].views[0]
        partner = partners(step.draws["order"], len(images))
        mixed, targets = (mix(values, partner, step.draws["weight"]) for values in (images, targets))
        logits = step.network(0)(mixed)
        total = soft_cross_entropy(logits, targets).mean()
        return total + self.regulariser * uniform_prior_penalty(logits) if bootstrapping else total

    @torch.no_grad()
    def _bootstrapped(self, step: Step) -> Tensor:
        """w y + (1 - w) z (B, K), kept by sample."""
        predicted = step.logits().softmax(dim=1)
        if self.z == "hard":
            predicted = one_hot(predicted.argmax(dim=1), predicted.shape[1])
        given = one_hot(step.labels, predicted.shape[1])
        weight = self.clean[step.index].clamp(1e-4, 1 - 1e-4).unsqueeze(1)
        targets = weight * given + (1 - weight) * predicted
        self.targets.index_copy_(0, step.index, targets)
        return targets

    @torch.no_grad()
    def end_epoch(self, phase: Phase, epoch: int) -> None:
        """Refit the mixture from the warm-up's last epoch on."""
        if epoch + 1 >= self.effective["warm_up"]:
            losses = cross_entropy(self.task.infer(judge_of(self.judges, 0)), self.task.labels)
            self.clean.copy_(beta_clean_probability(losses))

    def clean_probability(self) -> Tensor:
        """The mixture's posterior of each loss; 1 until the warm-up ends."""
        return self.clean

    def selected(self) -> Tensor:
        """Where it is above 1/2."""
        return self.clean > 0.5

    def soft_targets(self) -> Tensor:
        """The bootstrapped targets as last computed; the given label before."""
        return self.targets
