"""CORES2, the sample sieve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Generator, Tensor

from methods._published import OTHER_SCALE, cifar_training, published
from methods.interface import Method, Parameter, Pass, Phase, Search, Setting, Step, Steps, Task
from methods.losses import cross_entropy
from methods.pieces.judges import JUDGE, judged_logits, make_judges
from methods.pieces.lengths import epochs_of
from methods.pieces.small_loss import linspace_ramp, mean_over

_CODE = "CORES2, official code (haochenglouis/cores)"
_LOG_FLOOR = math.log(1e-8)
_VALUES = {"beta": 2.0, "delay": 10 / 100, "ramp": 30 / 100, "sieve": 31 / 100}
_TRAINING = cifar_training("resnet34-default", 100, 0.1, 0.0, "step:50@0.1") | {"batch_size": 64, "momentum": 0.0}


def label_costs(logits: Tensor) -> Tensor:
    """-ln(p_j + 1e-8) (B, K) of every label, in [-1e-8, 18.42]; `logits` (B, K).

    The 1e-8 is what keeps a loss that rewards it bounded. Source: official code of CORES2.
    """
    log_p = logits.log_softmax(dim=1)
    return -torch.logaddexp(log_p, log_p.new_full((), _LOG_FLOOR))


class SampleSieve(Method):
    """CORES2, phase 1: cross-entropy minus confidence regularisation, on the samples that pass a sieve.

    l_i = CE_i - b sum_j P(j) c_ij, c_ij = -ln(p_ij + 1e-8), P the distribution of the given labels among the samples
    that passed. A sample passes where CE_i <= mean_j c_ij: its label costs no more than a label drawn uniformly. L =
    mean of l_i over the passing samples of the batch, divided by 1 + b.

    b(e) is 0 for `delay`, rises linearly to `beta` over `ramp` and stays; from `sieve` on only passing samples train
    (10, 30 and 31 epochs of 100, scaled). A sample counts as selected where it passed when it was last visited, and
    always before the sieve is in use. Costs what `ce` costs. Phase 2, consistency training, isn't part of it.

    As in the official code P follows the samples that passed (the paper: the given labels), and the sieve takes the
    uniform mean. Deviations: the code divides the learning rate by 1 + b, here the loss is divided, which is the same
    under SGD; where nothing passes in a whole epoch P stays. ASSUMPTION: lengths count from the first epoch and scale.

    Source: Cheng et al., ICLR 2021, arXiv 2010.02347, and its official code.
    """

    name = "cores2"
    aliases = ("cores",)
    summary = "cross-entropy minus a confidence regulariser, on samples that pass a sieve"
    source = "Cheng et al., ICLR 2021, arXiv 2010.02347"
    parameters = (
        Parameter(
            "beta",
            2.0,
            "weight of the confidence regulariser at the end of its ramp",
            _CODE,
            low=0.0,
            search=Search("uniform", 0.0, 4.0),
        ),
        Parameter("delay", 0.1, "share of the training before the weight rises", _CODE, low=0.0, high=1.0),
        Parameter("ramp", 0.3, "share of the training over which the weight then rises", _CODE, low=0.0, high=1.0),
        Parameter(
            "sieve",
            0.31,
            "share of the training after which only samples that pass train",
            _CODE,
            low=0.0,
            high=1.0,
            search=Search("uniform", 0.1, 0.6),
        ),
        JUDGE,
    )
    recipes = (
        published("cifar10", _VALUES, _CODE, training=_TRAINING, deviation=OTHER_SCALE),
        published("cifar100", _VALUES, _CODE, training=_TRAINING),
    )
    beta: float
    delay: float
    ramp: float
    sieve: float
    judge: str

    def unsuitable(self, setting: Setting) -> str | None:
        """The sieve would never be used."""
        if epochs_of(self.sieve, setting.epochs) < setting.epochs:
            return None
        return f"cores2 sieves after epoch {setting.epochs}, the last: type --epochs 2 or more, or a smaller sieve"

    def start(self, task: Task) -> None:
        """Everything passes at first, and P is the distribution of the given labels."""
        super().start(task)
        self._lengths = tuple(epochs_of(share, task.epochs) for share in (self.delay, self.ramp, self.sieve))
        self.effective = dict(zip(("delay", "ramp", "sieve"), map(float, self._lengths), strict=True))
        counts = torch.bincount(task.labels, minlength=task.classes)
        self.kept = task.state("kept", torch.ones(task.samples, dtype=torch.bool))
        self.prior = task.state("prior", counts / task.samples)
        self.judges = make_judges(task, self.judge, self.networks)

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over everything."""
        return (Pass(draws=partial(self._draws, epoch)),)

    def _draws(self, epoch: int, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """`weight` (steps,): b. `sieving` bool (steps,)."""
        delay, ramp, sieve = self._lengths
        weight = self.beta * linspace_ramp(epoch - delay, ramp) if epoch >= delay else 0.0
        return {"weight": torch.full((steps.count,), weight), "sieving": torch.full((steps.count,), epoch >= sieve)}

    def loss(self, step: Step) -> Tensor:
        """The mean of l_i over what passes, divided by 1 + b."""
        logits, weight = step.logits(), step.draws["weight"]
        own, costs = cross_entropy(logits, step.labels), label_costs(logits)
        with torch.no_grad():
            passing = self._passing(step, logits, own, costs) | ~step.draws["sieving"]
            self.kept.index_copy_(0, step.index, passing)
        return mean_over(own - weight * (costs * self.prior).sum(dim=1), passing) / (1 + weight)

    def _passing(self, step: Step, logits: Tensor, own: Tensor, costs: Tensor) -> Tensor:
        """Samples (B,) whose label costs no more than a uniform one, by the judge; `own`, `costs` are of `logits`."""
        (judged,) = judged_logits(self.judges, step, [logits])
        if judged is not logits:
            own, costs = cross_entropy(judged, step.labels), label_costs(judged)
        return own <= costs.mean(dim=1)

    @torch.no_grad()
    def end_epoch(self, phase: Phase, epoch: int) -> None:
        """P becomes the distribution of the labels that passed, unless none did."""
        counts = torch.bincount(self.task.labels[self.kept], minlength=self.task.classes)
        self.prior.copy_(torch.where(counts.sum() > 0, counts / counts.sum().clamp(min=1), self.prior))

    def selected(self) -> Tensor | None:
        """Samples (samples,) that passed when they were last visited."""
        return self.kept
